#include "runtime/plan/cost.h"

#include <gtest/gtest.h>

#include <utility>

#include "tests/runtime/plan/tiny_plan.h"

namespace nemotron::runtime {
namespace {

TEST(CostTest, OfOneToken) {
  const auto plan = testing::LoadTinyPlan();
  const StepCost cost =
      EstimateCost(plan->root(), {.num_tokens = 1, .num_rows = 1, .num_sequences = 1, .mean_context = 10});
  // Matrices [26, 16], [32, 16], [40, 16]; attention 2 heads of 8 over 10 positions; scan 2 x 8 x 4.
  EXPECT_EQ(cost.flops, 2 * 16 * (26 + 32 + 40) + 4 * 2 * 8 * 10 + 5 * 2 * 8 * 4);
  // Panels of 16 rows; one row of the embedding; convolution, its bias, a_log, dt_bias, norm.
  EXPECT_EQ(cost.weight_bytes, 4 * (16 * (32 + 32 + 48) + 16 + 4 * 16 + 16 + 2 + 2 + 16));
  EXPECT_EQ(cost.state_bytes, 2 * 1856);
  EXPECT_EQ(cost.kv_bytes, 11 * 128);
}

TEST(CostTest, ReadsWeightsOnceAStep) {
  const auto plan = testing::LoadTinyPlan();
  const StepCost one =
      EstimateCost(plan->root(), {.num_tokens = 1, .num_rows = 1, .num_sequences = 1, .mean_context = 0});
  const StepCost many =
      EstimateCost(plan->root(), {.num_tokens = 8, .num_rows = 8, .num_sequences = 8, .mean_context = 0});
  EXPECT_EQ(many.flops, 8 * one.flops);
  EXPECT_EQ(many.weight_bytes, one.weight_bytes + 7 * 64);  // more rows of the embedding
  EXPECT_EQ(many.state_bytes, 8 * one.state_bytes);
}

// Kernels of 8-bit floats multiply as much as those of floats; what they read is what their segments take.
TEST(CostTest, OfScaledKernels) {
  testing::PlanDraft draft = testing::MakeTinyPlan({.with_all_kernels = true});
  const StepShape shape{.num_tokens = 3, .num_rows = 2, .num_sequences = 1, .mean_context = 5};
  const StepCost floats = EstimateCost(testing::LoadDraft(draft)->root(), shape);
  int renamed = 0;
  for (auto& kernel : draft.plan.program->kernels) {
    for (const auto& [from, to] :
         {std::pair("cpu.linear", "cpu.scaled_matmul"), std::pair("cpu.moe_experts", "cpu.scaled_moe_experts")}) {
      if (kernel->name == from) {
        kernel->name = to;
        ++renamed;
      }
    }
  }
  ASSERT_EQ(renamed, 2);
  const StepCost scaled = EstimateCost(testing::LoadDraft(draft)->root(), shape);
  EXPECT_EQ(scaled.flops, floats.flops);
  EXPECT_EQ(scaled.weight_bytes, floats.weight_bytes);
}

}  // namespace
}  // namespace nemotron::runtime
