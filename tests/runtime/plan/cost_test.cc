#include "runtime/plan/cost.h"

#include <gtest/gtest.h>

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
  EXPECT_EQ(cost.state_bytes, 2 * 448);
  EXPECT_EQ(cost.kv_bytes, 11 * 64);
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

}  // namespace
}  // namespace nemotron::runtime
