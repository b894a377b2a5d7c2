#include "runtime/plan/cost.h"

#include <gtest/gtest.h>

#include <string_view>
#include <utility>

#include "tests/runtime/plan/tiny_plan.h"

namespace nemotron::runtime {
namespace {

TEST(CostTest, OfOneToken) {
  const auto plan = testing::LoadTinyPlan();
  const StepCost cost =
      EstimateCost(plan->root(), {.num_tokens = 1, .num_rows = 1, .num_sequences = 1, .mean_context = 10});
  // Matrices [26, 16], [32, 16], [40, 16]; attention 2 heads of 8 over 10 positions; scan 2 x 8 x 4.
  EXPECT_EQ(cost.flops, 2 * 16 * (26 + 32 + 40) + 4 * 2 * 8 * 10 + 4 * 2 * 8 * 4);
  // Panels of 16 rows; one row of the embedding; convolution, its bias, a_log, dt_bias, norm.
  EXPECT_EQ(cost.weight_bytes, 4 * (16 * (32 + 32 + 48) + 16 + 4 * 16 + 16 + 2 + 2 + 16));
  // The convolution's is read and written; the scan's read, and written once in 16 tokens, and half of its recent
  // inputs read in 15 of them.
  EXPECT_EQ(cost.state_bytes, 2 * 192 + 256 * 17 / 16 + 1408 * 15 / 16 / 2);
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

/// The first dispatch of a kernel.
const schema::Dispatch& Find(const schema::Plan& plan, std::string_view kernel) {
  for (const schema::Dispatch* dispatch : *plan.program()->dispatches()) {
    if (plan.program()->kernels()->Get(dispatch->kernel())->name()->string_view() == kernel) {
      return *dispatch;
    }
  }
  ADD_FAILURE() << "no " << kernel;
  return *plan.program()->dispatches()->Get(0);
}

TEST(CostTest, OfEachDispatch) {
  const auto plan = testing::LoadTinyPlan({.with_all_kernels = true});
  const StepShape shape{.num_tokens = 3, .num_rows = 1, .num_sequences = 2, .mean_context = 5};
  const auto expect = [&](std::string_view kernel, const StepCost& expected) {
    const StepCost cost = EstimateCost(plan->root(), Find(plan->root(), kernel), shape);
    EXPECT_EQ(cost.flops, expected.flops) << kernel;
    EXPECT_EQ(cost.weight_bytes, expected.weight_bytes) << kernel;
    EXPECT_EQ(cost.state_bytes, expected.state_bytes) << kernel;
    EXPECT_EQ(cost.kv_bytes, expected.kv_bytes) << kernel;
    EXPECT_EQ(cost.activation_bytes, expected.activation_bytes) << kernel;
  };
  constexpr double kRow = 16 * 4;  // bytes of an activation of a token
  expect("cpu.embedding", {.weight_bytes = 3 * kRow, .activation_bytes = 3 * kRow});
  expect("cpu.causal_conv1d",
         {.weight_bytes = 5 * kRow, .state_bytes = 2 * 2 * 3 * kRow, .activation_bytes = 3 * 2 * kRow});
  expect("cpu.linear",  // [26, 16], panels of 16 rows
         {.flops = 3 * 2 * 26 * 16, .weight_bytes = 32 * kRow, .activation_bytes = 3 * (16 + 26) * 4});
  expect("cpu.ssm_scan", {.flops = 3 * 4 * 2 * 8 * 4,
                          .weight_bytes = (2 + 2) * 4,
                          .state_bytes = 2 * 256 * 17.5 / 16 + 2 * 1408 * 14.5 / 16 / 2,  // 1.5 tokens a sequence
                          .activation_bytes = 3 * (16 + 4 + 4 + 2 + 16) * 4});
  expect("cpu.attention",  // a position of the cache takes a key and a value of 16 floats, 8 of them padding
         {.flops = 3 * 4 * 2 * 8 * 5, .kv_bytes = (2 * 5 + 3) * 2 * kRow, .activation_bytes = 3 * 3 * kRow});
  expect("cpu.add", {.activation_bytes = 3 * 3 * kRow});
  expect("cpu.select_rows", {.activation_bytes = 2 * kRow});    // of the rows it takes
  expect("cpu.moe_experts", {.flops = 3 * 2 * 2 * 2 * 16 * 16,  // 2 of 4 experts a token, 7 in 8 of them in the step
                             .weight_bytes = 0.875 * 2 * 4 * 16 * kRow,
                             .activation_bytes = 3 * (16 + 2 + 2 + 16) * 4});
}

TEST(CostTest, OfAStepIsTheSum) {
  const auto plan = testing::LoadTinyPlan({.with_all_kernels = true});
  const StepShape shape{.num_tokens = 7, .num_rows = 3, .num_sequences = 3, .mean_context = 20};
  StepCost sum;
  for (const schema::Dispatch* dispatch : *plan->root().program()->dispatches()) {
    sum += EstimateCost(plan->root(), *dispatch, shape);
  }
  const StepCost step = EstimateCost(plan->root(), shape);
  EXPECT_EQ(step.flops, sum.flops);
  EXPECT_EQ(step.bytes(), sum.bytes());
  EXPECT_EQ(step.bytes_touched(), step.bytes() + sum.activation_bytes);
  EXPECT_EQ(step.state_bytes, sum.state_bytes);
  EXPECT_EQ(step.kv_bytes, (3 * 20 + 7) * static_cast<double>(plan->root().kv_bytes_per_token()));
}

TEST(CostTest, TellsTheTypeOfProducts) {
  const auto type = [](const testing::PlanDraft& draft, std::string_view kernel) {
    flatbuffers::FlatBufferBuilder builder;
    builder.Finish(schema::Plan::Pack(builder, &draft.plan));
    const auto& plan = *flatbuffers::GetRoot<schema::Plan>(builder.GetBufferPointer());
    return ProductType(plan, Find(plan, kernel));
  };
  testing::PlanDraft draft = testing::MakeTinyPlan({.with_all_kernels = true});
  for (const char* kernel : {"cpu.linear", "cpu.attention", "cpu.ssm_scan", "cpu.moe_experts", "cpu.add"}) {
    EXPECT_EQ(type(draft, kernel), schema::DType::F32) << kernel;
  }
  for (const auto& [dtype, products] :
       {std::pair(schema::DType::BF16, schema::DType::BF16), std::pair(schema::DType::F8E4M3, schema::DType::BF16),
        std::pair(schema::DType::I8, schema::DType::I8)}) {
    for (auto& weight : draft.plan.weights) {
      weight->dtype = weight->layout == schema::Layout::Panel ? dtype : weight->dtype;
    }
    EXPECT_EQ(type(draft, "cpu.linear"), products);
    EXPECT_EQ(type(draft, "cpu.moe_experts"), products);
    EXPECT_EQ(type(draft, "cpu.ssm_scan"), schema::DType::F32);
    EXPECT_EQ(type(draft, "cpu.embedding"), schema::DType::F32);
  }
  for (const schema::DType dtype : {schema::DType::BF16, schema::DType::F8E4M3}) {
    EXPECT_EQ(type(testing::MakeTinyPlan({.cache_dtype = dtype}), "cpu.attention"), schema::DType::BF16);
  }
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
