#ifndef RUNTIME_CPU_KERNELS_KERNELS_H_
#define RUNTIME_CPU_KERNELS_KERNELS_H_

#include <memory>

#include "runtime/cpu/kernel.h"

namespace nemotron::runtime::cpu {

using PreparedOr = StatusOr<std::unique_ptr<PreparedDispatch>>;

// One function a kernel of docs/kernels.md; registry.cc knows their names.
PreparedOr PrepareEmbedding(const DispatchArguments& arguments);
PreparedOr PrepareSelectRows(const DispatchArguments& arguments);
PreparedOr PrepareAdd(const DispatchArguments& arguments);
PreparedOr PrepareRelu2(const DispatchArguments& arguments);
PreparedOr PrepareSilu(const DispatchArguments& arguments);
PreparedOr PrepareRMSNorm(const DispatchArguments& arguments);
PreparedOr PrepareRMSNormQuantize(const DispatchArguments& arguments);
PreparedOr PrepareAddRMSNorm(const DispatchArguments& arguments);
PreparedOr PrepareAddRMSNormQuantize(const DispatchArguments& arguments);
PreparedOr PrepareLayerNorm(const DispatchArguments& arguments);
PreparedOr PrepareLayerNormQuantize(const DispatchArguments& arguments);
PreparedOr PrepareAddLayerNorm(const DispatchArguments& arguments);
PreparedOr PrepareAddLayerNormQuantize(const DispatchArguments& arguments);
PreparedOr PrepareGatedRMSNorm(const DispatchArguments& arguments);
PreparedOr PrepareLinear(const DispatchArguments& arguments);
PreparedOr PrepareQuantize(const DispatchArguments& arguments);
PreparedOr PrepareScaledMatmul(const DispatchArguments& arguments);
PreparedOr PrepareRotaryEmbedding(const DispatchArguments& arguments);
PreparedOr PrepareAttention(const DispatchArguments& arguments);
PreparedOr PrepareCausalConv1d(const DispatchArguments& arguments);
PreparedOr PrepareSsmScan(const DispatchArguments& arguments);
PreparedOr PrepareSsmSkip(const DispatchArguments& arguments);
PreparedOr PrepareSsmScanGatedNorm(const DispatchArguments& arguments);
PreparedOr PrepareMoeRoute(const DispatchArguments& arguments);
PreparedOr PrepareMoeExperts(const DispatchArguments& arguments);
PreparedOr PrepareScaledMoeExperts(const DispatchArguments& arguments);

}  // namespace nemotron::runtime::cpu

#endif  // RUNTIME_CPU_KERNELS_KERNELS_H_
