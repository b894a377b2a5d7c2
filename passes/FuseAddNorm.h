//===- FuseAddNorm.h - the decision that both add + norm fusions make -----------------------------------*- C++ -*-===//
#ifndef PASSES_FUSEADDNORM_H
#define PASSES_FUSEADDNORM_H

#include "mlir/IR/PatternMatch.h"
#include "passes/FusionUtils.h"

namespace nemotron::passes {

/// Fuses `norm` with the add whose sum it reads, if there is one and the norm's weights can be known where the add
/// stands. `create` makes the fused op, whose results are the sum and the norm, from an add at a location.
template <typename FusedOp, typename NormOp, typename Create>
bool fuseAddNorm(NormOp norm, mlir::ValueRange weights, mlir::DominanceInfo &dominance, Create &&create) {
  auto add = norm.getInput().template getDefiningOp<ir::AddOp>();
  if (!add || add->getBlock() != norm->getBlock()) {
    return false;
  }
  auto transforms = transformsToHoist(weights, add, dominance);
  if (!transforms) {
    return false;
  }
  mlir::IRRewriter rewriter(norm->getContext());
  for (mlir::Operation *transform : *transforms) {
    rewriter.moveOpBefore(transform, add);
  }
  rewriter.setInsertionPoint(add);
  FusedOp fused = create(rewriter, fuseLocations({add, norm}), add);
  inheritLayer(fused, {add, norm});
  rewriter.replaceOp(norm, fused.getResult());
  rewriter.replaceOp(add, fused.getSum());
  return true;
}

} // namespace nemotron::passes

#endif // PASSES_FUSEADDNORM_H
