//===- FusionUtils.h - what fusions have in common ------------------------------------------------------*- C++ -*-===//
#ifndef PASSES_FUSIONUTILS_H
#define PASSES_FUSIONUTILS_H

#include <optional>

#include "dialects/Nemotron/IR/Nemotron.h"
#include "mlir/IR/Dominance.h"

namespace nemotron::passes {

/// The attribute that says which layer an op is of.
inline constexpr llvm::StringLiteral kLayer = "nemotron.layer";

/// The location of an op that takes the place of `group`: all of theirs.
mlir::Location fuseLocations(llvm::ArrayRef<mlir::Operation *> group);

/// Gives `fused` the attribute `nemotron.layer` of the last op in `group` that has it. An add and the norm of the next
/// layer thus become part of the next layer, which the weight of the norm belongs to.
void inheritLayer(mlir::Operation *fused, llvm::ArrayRef<mlir::Operation *> group);

/// The ops that have to move above `point` for `weights` to be known there, in their order; null values are skipped.
/// Nothing if one cannot be known there: only weight transforms, which depend on no step, may move. Operands of a
/// fused op that are read at `point` anyway need not be among `weights`.
std::optional<llvm::SmallVector<mlir::Operation *>> transformsToHoist(mlir::ValueRange weights, mlir::Operation *point,
                                                                      mlir::DominanceInfo &dominance);

/// Whether `op`, or an op in its regions, may read or write `state`. Ops that do not tell their effects may.
bool mayTouchState(mlir::Operation *op, mlir::FlatSymbolRefAttr state);

} // namespace nemotron::passes

#endif // PASSES_FUSIONUTILS_H
