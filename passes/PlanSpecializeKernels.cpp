//===- PlanSpecializeKernels.cpp - kernels made for the dispatches of a plan
//---------------------------------------===//
#include "passes/PlanPasses.h"

#include "dialects/Plan/IR/Target.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;

namespace nemotron::passes {

#define GEN_PASS_DEF_PLANSPECIALIZEKERNELSPASS
#include "passes/PlanPasses.h.inc"

namespace {

struct PlanSpecializeKernelsPass : public impl::PlanSpecializeKernelsPassBase<PlanSpecializeKernelsPass> {
  using Base::Base;

  void runOnOperation() override {
    FailureOr<const plan::Target *> target = plan::TargetRegistry::targetOf(getOperation());
    if (failed(target)) {
      return signalPassFailure();
    }
    if (!(*target)->specializes()) {
      return markAllAnalysesPreserved();
    }
    for (auto kernel : getOperation().getOps<plan::KernelOp>()) {
      kernels[kernel.getName()] = kernel;
    }
    for (auto program : getOperation().getOps<plan::ProgramOp>()) {
      for (auto dispatch : program.getBody().getOps<plan::DispatchOp>()) {
        if (!kernels.contains(dispatch.getKernel()) && failed(specialize(**target, program, dispatch))) {
          return signalPassFailure();
        }
      }
    }
  }

private:
  LogicalResult specialize(const plan::Target &target, plan::ProgramOp program, plan::DispatchOp dispatch) {
    FailureOr<plan::KernelSpec> spec = target.specialize(dispatch);
    if (failed(spec)) {
      return failure();
    }
    OpBuilder builder(program);
    ArrayAttr launches = builder.getArrayAttr(spec->launches);
    StringAttr scratch = spec->scratch.empty() ? StringAttr() : builder.getStringAttr(spec->scratch);
    // Names tell shapes and types; what else differs gives them a number.
    std::string name = spec->name;
    for (unsigned i = 2;; ++i) {
      plan::KernelOp &kernel = kernels[name];
      if (!kernel) {
        kernel = builder.create<plan::KernelOp>(dispatch.getLoc(), builder.getStringAttr(name),
                                                builder.getStringAttr(spec->body), builder.getStringAttr(spec->config),
                                                launches, scratch);
        ++numKernels;
      }
      if (kernel.getBody() == spec->body && kernel.getConfig() == spec->config && kernel.getLaunches() == launches &&
          kernel.getScratchAttr() == scratch) {
        break;
      }
      name = spec->name + "." + std::to_string(i);
    }
    dispatch.setKernel(name);
    return success();
  }

  llvm::StringMap<plan::KernelOp> kernels;
};

} // namespace
} // namespace nemotron::passes
