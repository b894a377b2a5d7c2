//===- CudaTarget.h - the kernels of target "cuda" -------------------------------------------------------------*- C++
//-*-===//
#ifndef CODEGEN_CUDA_CUDATARGET_H
#define CODEGEN_CUDA_CUDATARGET_H

#include "dialects/Plan/IR/Target.h"

namespace nemotron::codegen {

/// CUDA C++ kernels, specialised for the dispatches of a plan (codegen/cuda/kernels). They have the arguments,
/// parameters and meaning of the CPU's (docs/kernels.md, docs/cuda.md). Matrices are bf16 or f8E4M3FN in layout
/// Fragment; activations f32, bf16 where only products read them, and between an op that quantizes and its product
/// f8E4M3FN, or f16 if an architecture of the plan does not multiply that.
class CudaTarget : public plan::Target {
public:
  llvm::StringRef getName() const override { return "cuda"; }
  llvm::LogicalResult lower(mlir::Operation *op, plan::PlanBuilder &builder) const override;
  void fuse(plan::ProgramOp program) const override; ///< CudaFusions.cpp
  mlir::Type preferredInput(plan::DispatchOp dispatch, llvm::StringRef input, mlir::Type type) const override;
  bool storesAs(plan::DispatchOp dispatch, llvm::StringRef output, mlir::Type type) const override;
  plan::SamplerSpec sampler() const override;
  bool specializes() const override { return true; }
  mlir::FailureOr<plan::KernelSpec> specialize(plan::DispatchOp dispatch) const override;
};

} // namespace nemotron::codegen

#endif // CODEGEN_CUDA_CUDATARGET_H
