//===- ConvertNemotronToPlan.cpp - from a step to a program of dispatches -----------------------------------------===//
#include "passes/PlanPasses.h"

#include "dialects/Plan/IR/Target.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;

namespace nemotron::passes {

#define GEN_PASS_DEF_CONVERTNEMOTRONTOPLANPASS
#include "passes/PlanPasses.h.inc"

namespace {

constexpr StringLiteral kStep = "step";

struct ConvertNemotronToPlanPass : public impl::ConvertNemotronToPlanPassBase<ConvertNemotronToPlanPass> {
  using Base::Base;

  void runOnOperation() override {
    FailureOr<const plan::Target *> device = findTarget();
    FailureOr<func::FuncOp> step = findStep();
    if (failed(device) || failed(step) || failed(convert(**device, *step))) {
      return signalPassFailure();
    }
    step->erase();
    Builder builder(&getContext());
    getOperation()->setAttr("plan.target", builder.getStringAttr(target));
    if (!architectures.empty()) {
      SmallVector<StringRef> names(architectures.begin(), architectures.end());
      getOperation()->setAttr("plan.architectures", builder.getStrArrayAttr(names));
    }
  }

private:
  FailureOr<const plan::Target *> findTarget() {
    if (const plan::Target *found = plan::TargetRegistry::lookup(target)) {
      return found;
    }
    return getOperation().emitError() << "no target '" << target
                                      << "', expected one of: " << llvm::join(plan::TargetRegistry::names(), ", ");
  }

  /// The only function, with one block that returns one value.
  FailureOr<func::FuncOp> findStep() {
    func::FuncOp step;
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      if (function.getName() != kStep) {
        return function.emitError() << "function @" << function.getName() << " cannot be converted, expected only @"
                                    << kStep;
      }
      step = function;
    }
    if (!step) {
      return getOperation().emitError() << "has no function @" << kStep << " to convert";
    }
    if (!step.getBody().hasOneBlock() || step.getNumResults() != 1) {
      return step.emitError() << "function @" << kStep << " has " << step.getBody().getBlocks().size() << " blocks and "
                              << step.getNumResults()
                              << " results, expected one each: the logits of a straight line of ops";
    }
    return step;
  }

  LogicalResult convert(const plan::Target &device, func::FuncOp step) {
    plan::PlanBuilder builder(getOperation(), step, kStep);
    Block &block = step.getBody().front();
    for (Operation &op : block.without_terminator()) {
      if (op.hasTrait<ir::WeightTransform>()) {
        continue; // cloned into plan.weights where a kernel reads it
      }
      auto split = dyn_cast<ir::SplitOp>(op);
      if (failed(split ? builder.split(split, split.getInput(), split.getResults()) : device.lower(&op, builder))) {
        return failure();
      }
    }
    Operation *end = block.getTerminator();
    if (failed(builder.finish(end, end->getOperand(0), device.sampler()))) {
      return failure();
    }
    numDispatches += llvm::range_size(builder.getProgram().getBody().getOps<plan::DispatchOp>());
    numWeights += llvm::range_size(getOperation().getOps<plan::WeightOp>());
    return success();
  }
};

} // namespace
} // namespace nemotron::passes
