//===- FuseNormQuantize.cpp - norms that quantize what they give --------------------------------------------------===//
#include "mlir/IR/PatternMatch.h"
#include "passes/FusionUtils.h"
#include "passes/Passes.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace nemotron::passes {

#define GEN_PASS_DEF_FUSENORMQUANTIZEPASS
#include "passes/Passes.h.inc"

namespace {

// The fused op of each norm.

ir::RMSNormQuantizeOp create(OpBuilder &b, Location loc, ir::RMSNormOp norm, ir::QuantizeOp q) {
  return b.create<ir::RMSNormQuantizeOp>(loc, q.getResultTypes(), norm.getInput(), norm.getWeight(), norm.getEpsAttr(),
                                         q.getScalingAttr(), q.getStaticScaleAttr());
}

ir::LayerNormQuantizeOp create(OpBuilder &b, Location loc, ir::LayerNormOp norm, ir::QuantizeOp q) {
  return b.create<ir::LayerNormQuantizeOp>(loc, q.getResult().getType(), q.getScale().getType(), norm.getInput(),
                                           norm.getWeight(), norm.getBias(), norm.getEpsAttr(),
                                           norm.getUnitOffsetAttr(), q.getScalingAttr(), q.getStaticScaleAttr());
}

ir::AddRMSNormQuantizeOp create(OpBuilder &b, Location loc, ir::AddRMSNormOp norm, ir::QuantizeOp q) {
  return b.create<ir::AddRMSNormQuantizeOp>(
      loc, norm.getSum().getType(), q.getResult().getType(), q.getScale().getType(), norm.getResidual(),
      norm.getDelta(), norm.getWeight(), norm.getEpsAttr(), q.getScalingAttr(), q.getStaticScaleAttr());
}

ir::AddLayerNormQuantizeOp create(OpBuilder &b, Location loc, ir::AddLayerNormOp norm, ir::QuantizeOp q) {
  return b.create<ir::AddLayerNormQuantizeOp>(loc, norm.getSum().getType(), q.getResult().getType(),
                                              q.getScale().getType(), norm.getResidual(), norm.getDelta(),
                                              norm.getWeight(), norm.getBias(), norm.getEpsAttr(),
                                              norm.getUnitOffsetAttr(), q.getScalingAttr(), q.getStaticScaleAttr());
}

struct FuseNormQuantizePass : public impl::FuseNormQuantizePassBase<FuseNormQuantizePass> {
  void runOnOperation() override {
    SmallVector<ir::QuantizeOp> ops;
    getOperation().walk([&](ir::QuantizeOp op) { ops.push_back(op); });
    for (ir::QuantizeOp quantize : ops) {
      Operation *producer = quantize.getInput().getDefiningOp();
      if (!producer || producer->getBlock() != quantize->getBlock() || !quantize.getInput().hasOneUse() ||
          quantize.getScaling() == ir::Scaling::Step || quantize.getActivation() != ir::Activation::None) {
        continue;
      }
      numFused += llvm::TypeSwitch<Operation *, bool>(producer)
                      .Case<ir::RMSNormOp, ir::LayerNormOp>([&](auto norm) {
                        fuse(norm, quantize);
                        return true;
                      })
                      .Case<ir::AddRMSNormOp, ir::AddLayerNormOp>([&](auto norm) {
                        if (quantize.getInput() != norm.getResult()) {
                          return false; // of the sum
                        }
                        auto fused = fuse(norm, quantize);
                        norm.getSum().replaceAllUsesWith(fused.getSum());
                        return true;
                      })
                      .Default(false);
    }
    for (Operation *op : dead) {
      op->erase();
    }
    dead.clear();
  }

private:
  /// The fused op stands where the norm stood.
  template <typename NormOp> auto fuse(NormOp norm, ir::QuantizeOp quantize) {
    OpBuilder builder(norm);
    auto fused = create(builder, fuseLocations({norm, quantize}), norm, quantize);
    inheritLayer(fused, {norm, quantize});
    quantize.getResult().replaceAllUsesWith(fused.getResult());
    quantize.getScale().replaceAllUsesWith(fused.getScale());
    dead.append({quantize, norm});
    return fused;
  }

  SmallVector<Operation *> dead;
};

} // namespace
} // namespace nemotron::passes
