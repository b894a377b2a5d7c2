//===- CudaTarget.h - the kernels of target "cuda" -------------------------------------------------------------*- C++
//-*-===//
#ifndef CODEGEN_CUDA_CUDATARGET_H
#define CODEGEN_CUDA_CUDATARGET_H

#include "dialects/Plan/IR/Target.h"

namespace nemotron::codegen {

/// CUDA C++ kernels, specialised for the dispatches of a plan (codegen/cuda/kernels). They have the arguments,
/// parameters and meaning of the CPU's (docs/kernels.md, docs/cuda.md). Matrices are bf16 or f8E4M3FN in layout
/// Fragment; activations f32, f8E4M3FN between an op that quantizes and its product, or bf16 where only products read
/// them.
class CudaTarget : public plan::Target {
public:
  llvm::StringRef getName() const override { return "cuda"; }
  llvm::LogicalResult lower(mlir::Operation *op, plan::PlanBuilder &builder) const override;
  bool roundsInput(plan::DispatchOp dispatch, llvm::StringRef input) const override;
  bool storesBF16(plan::DispatchOp dispatch, llvm::StringRef output) const override;
  bool specializes() const override { return true; }
  mlir::FailureOr<plan::KernelSpec> specialize(plan::DispatchOp dispatch) const override;
};

} // namespace nemotron::codegen

#endif // CODEGEN_CUDA_CUDATARGET_H
