//===- PlanFuseDispatches.cpp - dispatches that one kernel carries out --------------------------------------------===//
#include "passes/PlanPasses.h"

#include "dialects/Plan/IR/Target.h"

using namespace mlir;

namespace nemotron::passes {

#define GEN_PASS_DEF_PLANFUSEDISPATCHESPASS
#include "passes/PlanPasses.h.inc"

namespace {

struct PlanFuseDispatchesPass : public impl::PlanFuseDispatchesPassBase<PlanFuseDispatchesPass> {
  using Base::Base;

  void runOnOperation() override {
    FailureOr<const plan::Target *> target = plan::TargetRegistry::targetOf(getOperation());
    if (failed(target)) {
      return signalPassFailure();
    }
    for (auto program : getOperation().getOps<plan::ProgramOp>()) {
      (*target)->fuse(program);
    }
  }
};

} // namespace
} // namespace nemotron::passes
