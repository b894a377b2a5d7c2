//===- PlanMetadata.h - what a plan file says about its bytes --------------------------------------------------*- C++
//-*-===//
#ifndef CODEGEN_PLANMETADATA_H
#define CODEGEN_PLANMETADATA_H

#include "dialects/Nemotron/Checkpoint.h"
#include "dialects/Plan/IR/Plan.h"
#include "mlir/IR/BuiltinOps.h"
#include "runtime/plan/plan_generated.h"

namespace nemotron::codegen {

/// The flatbuffer of a module that passed `verify-plan`: weights (without their segments) and states in the order of
/// the module, the program, and the facts of `info`. The tokenizer's bytes and the provenance are left to the caller.
mlir::FailureOr<schema::PlanT> buildMetadata(mlir::ModuleOp module, const ir::ModelInfo &info, runtime::DType dtype);

/// Adds the program of `cpuModule`, the same model compiled for the CPU, to a plan that was built of `module`. An error
/// if a weight or a state of one name differs in more than its layout.
mlir::LogicalResult addCpuProgram(schema::PlanT &plan, mlir::ModuleOp module, mlir::ModuleOp cpuModule);

} // namespace nemotron::codegen

#endif // CODEGEN_PLANMETADATA_H
