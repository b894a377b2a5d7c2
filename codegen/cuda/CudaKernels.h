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
/// Whether a convolution with this window fits the registers of kernels/conv.cuh.
bool hasConvKernel(int64_t window);

/// How blocks of a convolution are cut, for this dispatch or another that convolves.
struct ConvTile {
  /// `alignments` of its input and output, in elements.
  ConvTile(int64_t channels, llvm::ArrayRef<int64_t> alignments);
  /// Members of the Config of kernels/conv.cuh.
  std::string members(int64_t channels, int64_t window, bool hasBias, llvm::StringRef activation, int64_t inputStride,
                      int64_t outputStride) const;
  std::string runGrid() const; ///< y of ConvolveRun
  int64_t vector = 4, threads;
  std::string blocks; ///< x of all grids
};

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
