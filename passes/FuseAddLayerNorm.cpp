//===- FuseAddLayerNorm.cpp - residual add and LayerNorm in one ---------------------------------------------------===//
#include "passes/FuseAddNorm.h"
#include "passes/Passes.h"

using namespace mlir;

namespace nemotron::passes {

#define GEN_PASS_DEF_FUSEADDLAYERNORMPASS
#include "passes/Passes.h.inc"

namespace {

struct FuseAddLayerNormPass : public impl::FuseAddLayerNormPassBase<FuseAddLayerNormPass> {
  void runOnOperation() override {
    auto &dominance = getAnalysis<DominanceInfo>();
    SmallVector<ir::LayerNormOp> norms;
    getOperation().walk([&](ir::LayerNormOp norm) { norms.push_back(norm); });
    for (ir::LayerNormOp norm : norms) {
      auto create = [&](OpBuilder &builder, Location loc, ir::AddOp add) {
        Type type = add.getType();
        return builder.create<ir::AddLayerNormOp>(loc, type, type, add.getLhs(), add.getRhs(), norm.getWeight(),
                                                  norm.getBias(), norm.getEpsAttr(), norm.getUnitOffsetAttr());
      };
      numFused += fuseAddNorm<ir::AddLayerNormOp>(norm, {norm.getWeight(), norm.getBias()}, dominance, create);
    }
  }
};

} // namespace
} // namespace nemotron::passes
