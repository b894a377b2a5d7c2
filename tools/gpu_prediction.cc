#include "tools/gpu_prediction.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "runtime/plan/find.h"
#include "runtime/plan/grid_expression.h"

namespace nemotron::tools {
namespace {

using namespace nemotron::runtime;  // NOLINT: a tool is made of nothing else

constexpr double kTera = 1e12, kGiga = 1e9, kMega = 1e6;

// Dense rates of tensor cores with F32 sums.
constexpr GpuFigures kGpus[] = {
    {"a100", "A100 SXM 80 GB", 2.039 * kTera, 312 * kTera, 312 * kTera, false, 80 * kGiga, 40 * kMega,
     "NVIDIA A100 datasheet, 2021"},
    {"l40s", "L40S", 0.864 * kTera, 362 * kTera, 733 * kTera, true, 48 * kGiga, 96 * kMega,
     "NVIDIA L40S datasheet, 2023"},
    {"rtx4090", "GeForce RTX 4090", 1.008 * kTera, 165.2 * kTera, 330.3 * kTera, true, 24 * kGiga, 72 * kMega,
     "NVIDIA Ada GPU architecture whitepaper, appendix A"},
    {"h100", "H100 SXM", 3.35 * kTera, 989 * kTera, 1979 * kTera, false, 80 * kGiga, 50 * kMega,
     "NVIDIA H100 datasheet, 2023"},
    {"h200", "H200 SXM", 4.8 * kTera, 989 * kTera, 1979 * kTera, false, 141 * kGiga, 50 * kMega,
     "NVIDIA H200 datasheet, 2024"},
    {"b200", "B200 (HGX)", 7.7 * kTera, 2250 * kTera, 4500 * kTera, false, 180 * kGiga, 126 * kMega,
     "NVIDIA Blackwell HGX datasheet, 2025"},
    {"rtx5090", "GeForce RTX 5090", 1.792 * kTera, 209.5 * kTera, 419 * kTera, true, 32 * kGiga, 96 * kMega,
     "NVIDIA RTX Blackwell GPU architecture whitepaper, appendix A"},
};

int64_t CountLaunches(const schema::Kernel& kernel, const GridShape& shape) {
  int64_t count = 0;
  for (const schema::Launch* launch : *kernel.launches()) {
    const auto is_there = [&](const flatbuffers::String* grid) {
      const StatusOr<GridExpression> expression = GridExpression::Parse(grid->string_view());
      return expression.ok() && expression->Evaluate(shape) > 0;
    };
    count += is_there(launch->grid_x()) && is_there(launch->grid_y()) && is_there(launch->grid_z()) ? 1 : 0;
  }
  return count;
}

/// Whether both operands are E4M3, which tensor cores of FP8 multiply.
bool MultipliesCodes(const schema::Plan& plan, const schema::Dispatch& dispatch) {
  const schema::Argument* input = FindArgument(dispatch, schema::ArgumentKind::Input, "input");
  return input != nullptr && plan.program()->buffers()->Get(input->index())->dtype() == schema::DType::F8E4M3;
}

}  // namespace

std::span<const GpuFigures> KnownGpus() { return kGpus; }

StatusOr<GpuFigures> FindGpu(std::string_view name) {
  std::vector<std::string_view> names;
  for (const GpuFigures& gpu : kGpus) {
    if (gpu.name == name) {
      return gpu;
    }
    names.push_back(gpu.name);
  }
  return InvalidArgument("there are no figures of a GPU '{}', expected one of: {}", name, fmt::join(names, ", "));
}

StatusOr<StepPrediction> PredictStep(const Plan& plan, const StepShape& shape, const GpuFigures& gpu,
                                     const PredictionAssumptions& assumptions) {
  const schema::Plan& root = plan.root();
  if (root.target()->string_view() != "cuda") {
    return Error(
        StatusCode::kFailedPrecondition,
        "a prediction counts the launches of a plan for GPUs, but the plan is for '{}'; compile it with --target "
        "sm_90a or the like",
        root.target()->string_view());
  }
  const GridShape grid = {.tokens = shape.num_tokens,
                          .sequences = shape.num_sequences,
                          .rows = shape.num_rows,
                          .sampled = shape.num_rows,
                          .longest = (shape.num_tokens + shape.num_sequences - 1) / shape.num_sequences,
                          .context = static_cast<int64_t>(shape.mean_context) + 1};
  StepPrediction prediction;
  for (const schema::Dispatch* dispatch : *root.program()->dispatches()) {
    const StepCost cost = EstimateCost(root, *dispatch, shape);
    const double bytes = cost.bytes() + (cost.activation_bytes > gpu.l2_bytes ? cost.activation_bytes : 0);
    const double memory = bytes / (gpu.memory_bytes_per_second * assumptions.memory_share);
    const double rate = gpu.has_fp8_mma && MultipliesCodes(root, *dispatch) ? gpu.fp8_flops : gpu.bf16_flops;
    const double tensor = cost.flops / (rate * assumptions.tensor_share);
    const int64_t launches = CountLaunches(*root.program()->kernels()->Get(dispatch->kernel()), grid);
    (memory >= tensor ? prediction.memory_bound_seconds : prediction.tensor_bound_seconds) += std::max(memory, tensor);
    prediction.seconds += std::max(memory, tensor) + static_cast<double>(launches) * assumptions.launch_seconds;
    prediction.launches += launches;
    prediction.cost += cost;
  }
  return prediction;
}

std::string DescribeModel(const GpuFigures& gpu, const PredictionAssumptions& assumptions) {
  return fmt::format(
      "a model, not a measurement: {} with {:.2f} TB/s, {:.0f} TFLOP/s in BF16 and {:.0f} in FP8 ({}), of which "
      "kernels "
      "are assumed to reach {:.0f} and {:.0f} %; {:.1f} us a launch; nothing overlaps",
      gpu.product, gpu.memory_bytes_per_second / kTera, gpu.bf16_flops / kTera, gpu.fp8_flops / kTera, gpu.source,
      100 * assumptions.memory_share, 100 * assumptions.tensor_share, assumptions.launch_seconds * 1e6);
}

}  // namespace nemotron::tools
