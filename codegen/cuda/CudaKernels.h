//===- CudaKernels.h - how the larger kernels are specialised ---------------------------------------------------*- C++
//-*-===//
#ifndef CODEGEN_CUDA_CUDAKERNELS_H
#define CODEGEN_CUDA_CUDAKERNELS_H

#include "codegen/cuda/KernelText.h"

namespace nemotron::codegen {

// Each gives the kernel of a dispatch of target "cuda"; a type or shape that it is not there for is an error at the
// dispatch. One file each, beside the body in codegen/cuda/kernels.

mlir::FailureOr<plan::KernelSpec> specializeMatmul(plan::DispatchOp dispatch); ///< linear, scaled_matmul
mlir::FailureOr<plan::KernelSpec> specializeAttention(plan::DispatchOp dispatch);
mlir::FailureOr<plan::KernelSpec> specializeConv(plan::DispatchOp dispatch); ///< causal_conv1d
mlir::FailureOr<plan::KernelSpec> specializeScan(plan::DispatchOp dispatch); ///< ssm_scan, ssm_scan_gated_norm
mlir::FailureOr<plan::KernelSpec> specializeMoeRoute(plan::DispatchOp dispatch);
mlir::FailureOr<plan::KernelSpec> specializeMoeExperts(plan::DispatchOp dispatch); ///< also scaled_moe_experts

} // namespace nemotron::codegen

#endif // CODEGEN_CUDA_CUDAKERNELS_H
