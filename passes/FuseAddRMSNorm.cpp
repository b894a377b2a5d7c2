//===- FuseAddRMSNorm.cpp - residual add and RMSNorm in one -------------------------------------------------------===//
#include "passes/FuseAddNorm.h"
#include "passes/Passes.h"

using namespace mlir;

namespace nemotron::passes {

#define GEN_PASS_DEF_FUSEADDRMSNORMPASS
#include "passes/Passes.h.inc"

namespace {

struct FuseAddRMSNormPass : public impl::FuseAddRMSNormPassBase<FuseAddRMSNormPass> {
  void runOnOperation() override {
    auto &dominance = getAnalysis<DominanceInfo>();
    SmallVector<ir::RMSNormOp> norms;
    getOperation().walk([&](ir::RMSNormOp norm) { norms.push_back(norm); });
    for (ir::RMSNormOp norm : norms) {
      auto create = [&](OpBuilder &builder, Location loc, ir::AddOp add) {
        Type type = add.getType();
        return builder.create<ir::AddRMSNormOp>(loc, type, type, add.getLhs(), add.getRhs(), norm.getWeight(),
                                                norm.getEpsAttr());
      };
      numFused += fuseAddNorm<ir::AddRMSNormOp>(norm, norm.getWeight(), dominance, create);
    }
  }
};

} // namespace
} // namespace nemotron::passes
