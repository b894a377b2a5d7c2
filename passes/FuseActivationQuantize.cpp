//===- FuseActivationQuantize.cpp - squared ReLU as part of a quantize --------------------------------------------===//
#include "mlir/IR/PatternMatch.h"
#include "passes/FusionUtils.h"
#include "passes/Passes.h"

using namespace mlir;

namespace nemotron::passes {

#define GEN_PASS_DEF_FUSEACTIVATIONQUANTIZEPASS
#include "passes/Passes.h.inc"

namespace {

struct FuseActivationQuantizePass : public impl::FuseActivationQuantizePassBase<FuseActivationQuantizePass> {
  void runOnOperation() override {
    SmallVector<ir::QuantizeOp> ops;
    getOperation().walk([&](ir::QuantizeOp op) { ops.push_back(op); });
    for (ir::QuantizeOp quantize : ops) {
      auto relu2 = quantize.getInput().getDefiningOp<ir::Relu2Op>();
      if (relu2 && relu2->hasOneUse() && quantize.getActivation() == ir::Activation::None) {
        quantize->setLoc(fuseLocations({relu2, quantize}));
        inheritLayer(quantize, {relu2, quantize});
        quantize.setActivation(ir::Activation::Relu2);
        quantize.getInputMutable().assign(relu2.getInput());
        relu2->erase();
        ++numFused;
      }
    }
  }
};

} // namespace
} // namespace nemotron::passes
