//===- FusionUtils.cpp - what fusions have in common --------------------------------------------------------------===//
#include "passes/FusionUtils.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace nemotron::passes {

Location fuseLocations(ArrayRef<Operation *> group) {
  SmallVector<Location> locations = llvm::map_to_vector(group, [](Operation *op) { return op->getLoc(); });
  return FusedLoc::get(group.front()->getContext(), locations);
}

void inheritLayer(Operation *fused, ArrayRef<Operation *> group) {
  for (Operation *op : llvm::reverse(group)) {
    if (Attribute layer = op->getDiscardableAttr(kLayer)) {
      fused->setDiscardableAttr(kLayer, layer);
      return;
    }
  }
}

/// Appends what `transformsToHoist` returns for one value. `seen` ends cycles, which unreachable code may have.
static bool collectTransforms(Value value, Operation *point, DominanceInfo &dominance, DenseSet<Operation *> &seen,
                              SmallVector<Operation *> &transforms) {
  if (dominance.properlyDominates(value, point)) {
    return true;
  }
  Operation *op = value.getDefiningOp();
  if (!op || op->getBlock() != point->getBlock() || !op->hasTrait<ir::WeightTransform>()) {
    return false;
  }
  if (!seen.insert(op).second) {
    return true;
  }
  for (Value operand : op->getOperands()) {
    if (!collectTransforms(operand, point, dominance, seen, transforms)) {
      return false;
    }
  }
  transforms.push_back(op);
  return true;
}

std::optional<SmallVector<Operation *>> transformsToHoist(ValueRange weights, Operation *point,
                                                          DominanceInfo &dominance) {
  SmallVector<Operation *> transforms;
  DenseSet<Operation *> seen;
  for (Value weight : weights) {
    if (weight && !collectTransforms(weight, point, dominance, seen, transforms)) {
      return std::nullopt;
    }
  }
  return transforms;
}

bool mayTouchState(Operation *op, FlatSymbolRefAttr state) {
  std::optional<SmallVector<MemoryEffects::EffectInstance>> effects = getEffectsRecursively(op);
  return !effects || llvm::any_of(*effects, [&](const MemoryEffects::EffectInstance &effect) {
    bool isState = effect.getResource() == ir::StateResource::get();
    return isState && (!effect.getSymbolRef() || effect.getSymbolRef() == state);
  });
}

} // namespace nemotron::passes
