#ifndef TOOLS_GPU_PREDICTION_H_
#define TOOLS_GPU_PREDICTION_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/status.h"
#include "runtime/plan/cost.h"
#include "runtime/plan/plan.h"

/// How long a step of a plan would take on a GPU that is not there: a model, not a measurement.
namespace nemotron::tools {

/// What a vendor publishes of a GPU. Rates are without sparsity.
struct GpuFigures {
  std::string_view name;     ///< as of --predict
  std::string_view product;  ///< in full
  double memory_bytes_per_second, bf16_flops, fp8_flops;
  bool has_fp8_mma;  ///< tensor cores multiply FP8 for mma.sync; elsewhere our kernels decode it and multiply F16
  double memory_bytes, l2_bytes;
  std::string_view source;
};

std::span<const GpuFigures> KnownGpus();
/// kInvalidArgument lists the known ones.
runtime::StatusOr<GpuFigures> FindGpu(std::string_view name);

/// The assumptions of the model, beside the published figures.
struct PredictionAssumptions {
  double memory_share = 0.85;      ///< of the bandwidth that streaming kernels reach
  double tensor_share = 0.60;      ///< of the tensor cores' rate that mma.sync reaches
  double launch_seconds = 2.0e-6;  ///< from the end of a kernel to the full work of the next, in a CUDA graph
};

/// One step.
struct StepPrediction {
  double seconds = 0;
  int64_t launches = 0;
  double memory_bound_seconds = 0;  ///< of `seconds`, dispatches that wait for memory
  double tensor_bound_seconds = 0;  ///< dispatches that wait for tensor cores
  runtime::StepCost cost;
};

/// Each dispatch takes as long as the slower of its bytes and its products, one after another, and a launch each.
/// Weights, states, keys and values come from memory, activations too if those of a dispatch do not fit L2. `plan` must
/// be for target cuda, whose launches are counted: kFailedPrecondition.
runtime::StatusOr<StepPrediction> PredictStep(const runtime::Plan& plan, const runtime::StepShape& shape,
                                              const GpuFigures& gpu, const PredictionAssumptions& assumptions);

/// "a model, not a measurement: ...", one line, for people.
std::string DescribeModel(const GpuFigures& gpu, const PredictionAssumptions& assumptions);

}  // namespace nemotron::tools

#endif  // TOOLS_GPU_PREDICTION_H_
