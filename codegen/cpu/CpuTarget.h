//===- CpuTarget.h - the kernels of target "cpu" --------------------------------------------------------------*- C++
//-*-===//
#ifndef CODEGEN_CPU_CPUTARGET_H
#define CODEGEN_CPU_CPUTARGET_H

#include "dialects/Plan/IR/Target.h"

namespace nemotron::codegen {

/// The CPU kernels of the runtime, docs/kernels.md. Activations are f32, or codes of 8 bits between an op
/// that quantizes and its product. Matrices are f32, bf16, f8E4M3FN or i8 in panels (f16 is widened to f32); vectors,
/// scales, the router and the convolution are f32.
class CpuTarget : public plan::Target {
public:
  llvm::StringRef getName() const override { return "cpu"; }
  llvm::LogicalResult lower(mlir::Operation *op, plan::PlanBuilder &builder) const override;
};

} // namespace nemotron::codegen

#endif // CODEGEN_CPU_CPUTARGET_H
