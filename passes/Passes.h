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

/// Makes every pass known by name: those of Passes.td and those of PlanPasses.td. Once per process, before pipelines
/// are parsed.
void registerPasses();

} // namespace nemotron::passes

#endif // PASSES_PASSES_H
