//===- Passes.h - the passes of this plugin -------------------------------------------------------------*- C++ -*-===//
#ifndef COUNTOPS_PASSES_H
#define COUNTOPS_PASSES_H

#include <cstdint>
#include <memory>
#include <optional>

#include "dialects/Nemotron/IR/Nemotron.h"
#include "mlir/Pass/Pass.h"

namespace example {

/// Reports what each layer computes and reads, and changes nothing.
std::unique_ptr<mlir::Pass> createCountOpsPass();

/// Takes layers out of a model.
std::unique_ptr<mlir::Pass> createDropLayersPass();

/// The layer that `op` belongs to: frontends mark ops with it, and passes keep it.
inline std::optional<int64_t> layerOf(mlir::Operation *op) {
  auto layer = op ? op->getAttrOfType<mlir::IntegerAttr>("nemotron.layer") : mlir::IntegerAttr();
  return layer ? std::optional(layer.getInt()) : std::nullopt;
}

} // namespace example

#endif // COUNTOPS_PASSES_H
