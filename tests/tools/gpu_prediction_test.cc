#include "tools/gpu_prediction.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/runtime/plan/tiny_plan.h"

namespace nemotron::tools {
namespace {

using namespace nemotron::runtime;  // NOLINT: a tool is made of nothing else
using ::testing::HasSubstr;

/// Round figures: 1 GB/s, 1 GFLOP/s in BF16, all of which is reached, 1 ms a launch.
constexpr GpuFigures kGpu = {"test", "Test", 1e9, 1e9, 2e9, true, 1e9, 1e9, "nowhere"};
constexpr PredictionAssumptions kAll = {.memory_share = 1, .tensor_share = 1, .launch_seconds = 1e-3};

TEST(GpuPredictionTest, KnowsGpusByName) {
  EXPECT_EQ(FindGpu("h100").value().product, "H100 SXM");
  const auto unknown = FindGpu("abacus");
  EXPECT_EQ(unknown.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(unknown.status().message(), HasSubstr("GPU 'abacus', expected one of: a100"));
}

TEST(GpuPredictionTest, AddsUpTheSlowerOfBytesAndProductsAndTheLaunches) {
  const auto plan = runtime::testing::LoadDraft(runtime::testing::MakeCompiledPlan());
  const StepShape shape = {.num_tokens = 2, .num_rows = 1, .num_sequences = 1, .mean_context = 2};
  const StepPrediction step = PredictStep(*plan, shape, kGpu, kAll).value();
  double expected = 0;
  for (const schema::Dispatch* dispatch : *plan->root().program()->dispatches()) {
    const StepCost cost = EstimateCost(plan->root(), *dispatch, shape);
    expected += std::max(cost.bytes() / 1e9, cost.flops / 1e9) + 1e-3;
  }
  EXPECT_EQ(step.launches, static_cast<int64_t>(plan->root().program()->dispatches()->size()));
  EXPECT_NEAR(step.seconds, expected, 1e-12);
  EXPECT_GT(step.memory_bound_seconds, 0);
}

TEST(GpuPredictionTest, LeavesOutLaunchesWithAnEmptyGrid) {
  runtime::testing::PlanDraft draft = runtime::testing::MakeCompiledPlan();
  draft.plan.program->kernels[draft.plan.program->dispatches[0]->kernel]->launches[0]->grid_y = "L<=1 ? 1 : 0";
  const auto plan = runtime::testing::LoadDraft(draft);
  const StepShape decode = {.num_tokens = 4, .num_rows = 4, .num_sequences = 4, .mean_context = 2};
  const StepShape prefill = {.num_tokens = 8, .num_rows = 4, .num_sequences = 4, .mean_context = 2};
  EXPECT_LT(PredictStep(*plan, prefill, kGpu, kAll).value().launches,
            PredictStep(*plan, decode, kGpu, kAll).value().launches);
}

TEST(GpuPredictionTest, WantsAPlanForGpus) {
  const auto plan = runtime::testing::LoadDraft(runtime::testing::MakeTinyPlan());
  const auto step = PredictStep(*plan, {}, kGpu, kAll);
  EXPECT_EQ(step.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(step.status().message(), HasSubstr("the plan is for 'cpu'; compile it with --target"));
}

}  // namespace
}  // namespace nemotron::tools
