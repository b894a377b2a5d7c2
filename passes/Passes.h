//===- Passes.h - all passes, and how a tool makes them known -------------------------------------------*- C++ -*-===//
#ifndef PASSES_PASSES_H
#define PASSES_PASSES_H

#include "dialects/Nemotron/IR/Nemotron.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

#include "passes/Pipelines.h"
#include "passes/PlanPasses.h"

namespace nemotron::passes {

#define GEN_PASS_DECL
#include "passes/Passes.h.inc"

// Numbers of a calibration that `nemotron-quantize` finds at an op and uses as static scales: of what enters a matrix,
// of what enters the second matrix of experts, of the keys and values of an attention.
inline constexpr llvm::StringLiteral kInputScale = "nemotron.input_scale", kHiddenScale = "nemotron.hidden_scale",
                                     kKeyScale = "nemotron.key_scale", kValueScale = "nemotron.value_scale";

/// Makes every pass known by name: those of Passes.td and those of PlanPasses.td. Once per process, before pipelines
/// are parsed.
void registerPasses();

} // namespace nemotron::passes

#endif // PASSES_PASSES_H
