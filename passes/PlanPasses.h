//===- PlanPasses.h - passes that make and place a plan --------------------------------------------------------*- C++
//-*-===//
#ifndef PASSES_PLANPASSES_H
#define PASSES_PLANPASSES_H

#include "dialects/Plan/IR/Plan.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace nemotron::passes {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/PlanPasses.h.inc"

} // namespace nemotron::passes

#endif // PASSES_PLANPASSES_H
