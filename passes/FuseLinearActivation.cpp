//===- FuseLinearActivation.cpp - squared ReLU as part of a linear ------------------------------------------------===//
#include "mlir/IR/PatternMatch.h"
#include "passes/FusionUtils.h"
#include "passes/Passes.h"

using namespace mlir;

namespace nemotron::passes {

#define GEN_PASS_DEF_FUSELINEARACTIVATIONPASS
#include "passes/Passes.h.inc"

namespace {

struct FuseLinearActivationPass : public impl::FuseLinearActivationPassBase<FuseLinearActivationPass> {
  void runOnOperation() override {
    SmallVector<ir::Relu2Op> activations;
    getOperation().walk([&](ir::Relu2Op relu2) { activations.push_back(relu2); });
    for (ir::Relu2Op relu2 : activations) {
      numFused += fuse<ir::LinearOp>(relu2) || fuse<ir::ScaledMatmulOp>(relu2);
    }
  }

private:
  template <typename LinearOp> bool fuse(ir::Relu2Op relu2) {
    auto linear = relu2.getInput().template getDefiningOp<LinearOp>();
    if (!linear || !linear->hasOneUse() || linear.getActivation() != ir::Activation::None) {
      return false;
    }
    linear->setLoc(fuseLocations({linear, relu2}));
    inheritLayer(linear, {linear, relu2});
    linear.setActivation(ir::Activation::Relu2);
    IRRewriter(&getContext()).replaceOp(relu2, linear.getResult());
    return true;
  }
};

} // namespace
} // namespace nemotron::passes
