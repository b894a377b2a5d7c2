//===- CudaKernels.h - how the larger kernels are specialised ---------------------------------------*- C++ -*-===//
#ifndef CODEGEN_CUDA_CUDAKERNELS_H
#define CODEGEN_CUDA_CUDAKERNELS_H

#include "codegen/cuda/KernelText.h"

namespace nemotron::codegen {

/// Whether tensor cores multiply E4M3 for `mma.sync` on all architectures of the plan that `op` is of: QMMA in the
/// machine code of sm_89 and sm_120. Else codes are kept as f16.
bool multipliesE4M3(mlir::Operation *op);

// Each gives the kernel of a dispatch of target "cuda"; a type or shape that it is not there for is an error at the
// dispatch. One file each, beside the body in codegen/cuda/kernels.

mlir::FailureOr<plan::KernelSpec> specializeMatmul(plan::DispatchOp dispatch); ///< linear, scaled_matmul
mlir::FailureOr<plan::KernelSpec> specializeAttention(plan::DispatchOp dispatch);
mlir::FailureOr<plan::KernelSpec> specializeConv(plan::DispatchOp dispatch); ///< causal_conv1d
mlir::FailureOr<plan::KernelSpec> specializeScan(plan::DispatchOp dispatch); ///< ssm_scan, ssm_scan_gated_norm
mlir::FailureOr<plan::KernelSpec> specializeSample(plan::DispatchOp dispatch);
mlir::FailureOr<plan::KernelSpec> specializeMoeRoute(plan::DispatchOp dispatch);
mlir::FailureOr<plan::KernelSpec> specializeMoeExperts(plan::DispatchOp dispatch); ///< also scaled_moe_experts

/// Whether blocks of ssm_scan_gated_norm can normalize what they have scanned, groups of so many channels: then the
/// dispatch has an output "counters", [T, n_groups] of i32, zeroed (kernels/scan_norm.cuh).
bool scanNormalizes(int64_t groupWidth, int64_t stateSize);

} // namespace nemotron::codegen

#endif // CODEGEN_CUDA_CUDAKERNELS_H
