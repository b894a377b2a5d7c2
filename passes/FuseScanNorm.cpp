//===- FuseScanNorm.cpp - scan, skip and gated norm in one --------------------------------------------------------===//
#include "mlir/IR/PatternMatch.h"
#include "passes/FusionUtils.h"
#include "passes/Passes.h"

using namespace mlir;

namespace nemotron::passes {

#define GEN_PASS_DEF_FUSESCANNORMPASS
#include "passes/Passes.h.inc"

namespace {

/// The ops of one fusion, in their order.
struct ScanNorm {
  ir::SsmScanOp scan;
  ir::SsmSkipOp skip;
  ir::GatedRMSNormOp norm;

  SmallVector<Operation *, 3> group() { return {scan, skip, norm}; }
};

/// The scan and skip that end in `norm`, if nobody else sees what is between them and their sizes agree.
std::optional<ScanNorm> match(ir::GatedRMSNormOp norm) {
  auto skip = norm.getInput().getDefiningOp<ir::SsmSkipOp>();
  if (!skip || !skip->hasOneUse() || skip->getBlock() != norm->getBlock()) {
    return std::nullopt;
  }
  auto scan = skip.getY().getDefiningOp<ir::SsmScanOp>();
  if (!scan || !scan->hasOneUse() || scan->getBlock() != norm->getBlock()) {
    return std::nullopt;
  }
  if (skip.getX() != scan.getX() || skip.getHeadDim() != scan.getHeadDim() || norm.getNGroups() != scan.getNGroups()) {
    return std::nullopt;
  }
  return ScanNorm{scan, skip, norm};
}

struct FuseScanNormPass : public impl::FuseScanNormPassBase<FuseScanNormPass> {
  void runOnOperation() override {
    auto &dominance = getAnalysis<DominanceInfo>();
    SmallVector<ir::GatedRMSNormOp> norms;
    getOperation().walk([&](ir::GatedRMSNormOp norm) { norms.push_back(norm); });
    for (ir::GatedRMSNormOp norm : norms) {
      std::optional<ScanNorm> found = match(norm);
      if (!found) {
        continue;
      }
      Operation *point = findPlace(found->scan, norm.getGate(), dominance);
      numFused += point && fuse(*found, point, dominance);
    }
  }

private:
  /// Before which op the fused one may stand: the scan, or the first op after the gate if nothing that may touch the
  /// state is on the way. Null if there is no such op.
  static Operation *findPlace(ir::SsmScanOp scan, Value gate, DominanceInfo &dominance) {
    Operation *point = scan;
    if (dominance.properlyDominates(gate, scan)) {
      return point;
    }
    Operation *last = gate.getDefiningOp();
    if (!last || last->getBlock() != scan->getBlock()) {
      return nullptr;
    }
    while (point != last) {
      point = point->getNextNode();
      if (!point || mayTouchState(point, scan.getStateAttr())) {
        return nullptr;
      }
    }
    return point->getNextNode();
  }

  static bool fuse(ScanNorm ops, Operation *point, DominanceInfo &dominance) {
    auto [scan, skip, norm] = ops;
    auto transforms = transformsToHoist({skip.getD(), norm.getWeight()}, point, dominance);
    if (!transforms) {
      return false;
    }
    IRRewriter rewriter(scan.getContext());
    for (Operation *transform : *transforms) {
      rewriter.moveOpBefore(transform, point);
    }
    rewriter.setInsertionPoint(point);
    auto fused = rewriter.create<ir::SsmScanGatedNormOp>(
        fuseLocations(ops.group()), norm.getType(), scan.getX(), scan.getB(), scan.getC(), scan.getDt(), scan.getALog(),
        scan.getDtBias(), norm.getGate(), skip.getD(), norm.getWeight(), scan.getBatch(), scan.getStateAttr(),
        scan.getNumHeadsAttr(), scan.getHeadDimAttr(), scan.getNGroupsAttr(), scan.getStateSizeAttr(),
        scan.getDtMinAttr(), scan.getDtMaxAttr(), norm.getEpsAttr());
    inheritLayer(fused, ops.group());
    rewriter.replaceOp(norm, fused);
    rewriter.eraseOp(skip);
    rewriter.eraseOp(scan);
    return true;
  }
};

} // namespace
} // namespace nemotron::passes
