//===- FuseConvActivation.cpp - SiLU as part of a causal convolution ----------------------------------------------===//
#include "mlir/IR/PatternMatch.h"
#include "passes/FusionUtils.h"
#include "passes/Passes.h"

using namespace mlir;

namespace nemotron::passes {

#define GEN_PASS_DEF_FUSECONVACTIVATIONPASS
#include "passes/Passes.h.inc"

namespace {

struct FuseConvActivationPass : public impl::FuseConvActivationPassBase<FuseConvActivationPass> {
  void runOnOperation() override {
    SmallVector<ir::SiluOp> activations;
    getOperation().walk([&](ir::SiluOp silu) { activations.push_back(silu); });
    for (ir::SiluOp silu : activations) {
      auto conv = silu.getInput().getDefiningOp<ir::CausalConv1dOp>();
      if (conv && conv->hasOneUse() && conv.getActivation() == ir::Activation::None) {
        fuse(conv, silu);
        ++numFused;
      }
    }
  }

private:
  void fuse(ir::CausalConv1dOp conv, ir::SiluOp silu) {
    conv->setLoc(fuseLocations({conv, silu}));
    inheritLayer(conv, {conv, silu});
    conv.setActivation(ir::Activation::Silu);
    IRRewriter(&getContext()).replaceOp(silu, conv.getResult());
  }
};

} // namespace
} // namespace nemotron::passes
