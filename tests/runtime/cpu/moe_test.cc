#include <cmath>

#include "tests/runtime/cpu/kernel_fixture.h"

namespace nemotron::runtime::cpu {
namespace {

using reference::Operand;

class MoeTest : public EachIsa {};
INSTANTIATE_TEST_SUITE_P(Isa, MoeTest, testing::ValuesIn(Isas()), IsaTestName);

KernelFixture MakeRoute(const Floats& weight, const Floats& bias, int64_t width, const reference::RouteShape& shape,
                        int threads = 2) {
  KernelFixture route("cpu.moe_route", 64, threads);
  route.Input("input", width).Output("indices", shape.picks, DType::kI32).Output("weights", shape.picks);
  route.Weight("weight", {shape.experts, width}, weight, DType::kF32, Layout::kPanel).Vector("correction_bias", bias);
  route.Int("num_experts_per_tok", shape.picks).Int("n_group", shape.n_group).Int("topk_group", shape.topk_group);
  route.Bool("norm_topk_prob", shape.normalize).Float("routed_scaling_factor", shape.scaling);
  return route;
}

TEST_P(MoeTest, Route) {
  for (const reference::RouteShape& shape : std::vector<reference::RouteShape>{{8, 2},
                                                                               {8, 1},
                                                                               {8, 8},
                                                                               {128, 6},
                                                                               {1, 1},
                                                                               {12, 5, 1, 1, false, 2.5},
                                                                               {16, 3, 4, 2},
                                                                               {16, 2, 16, 3},
                                                                               {17, 3}}) {
    const int64_t tokens = 33, width = 50;
    const Floats x = Random(tokens * width, 1), weight = Random(shape.experts * width, 2, 0.2f),
                 bias = Random(shape.experts, 3, 0.1f);
    KernelFixture route = MakeRoute(weight, bias, width, shape);
    const Status status = route.Prepare();
    ASSERT_TRUE(status.ok()) << status.message();
    route.SetInput("input", 0, x);
    TestSequence sequence = route.NewSequence();
    route.Step({&sequence}, {tokens});
    const reference::Routing expected = reference::MoeRoute(x, weight, bias, width, shape);
    const std::string what = fmt::format("E {} k {} groups {}", shape.experts, shape.picks, shape.n_group);
    EXPECT_EQ(route.GetOutput("indices", tokens), Floats(expected.indices.begin(), expected.indices.end())) << what;
    const Floats whole = route.GetOutput("weights", tokens);
    ExpectNear(whole, expected.weights, 1e-5, what);
    for (int threads : {1, 3}) {  // and each row alone, to the bit
      route.UseThreads(threads);
      for (int64_t t = 0; t < tokens; ++t) {
        route.SetInput("input", 0, std::span(x).subspan(t * width, width));
        route.Step({&sequence}, {1});
        const auto first = whole.begin() + t * shape.picks;
        ASSERT_EQ(route.GetOutput("weights", 1), Floats(first, first + shape.picks)) << what << ", row " << t;
      }
    }
  }
}

// Of equal choices the lower index wins, and what is NaN still gives valid indices.
TEST_P(MoeTest, RouteOfEqualAndOfBadScores) {
  const reference::RouteShape shape{6, 3};
  for (float value : {0.0f, NAN}) {
    KernelFixture route = MakeRoute(Floats(6 * 4, 1.0f), Floats(6, 0.0f), 4, shape);
    ASSERT_TRUE(route.Prepare().ok());
    route.SetInput("input", 0, Floats(4, value));
    TestSequence sequence = route.NewSequence();
    route.Step({&sequence}, {1});
    EXPECT_EQ(route.GetOutput("indices", 1), (Floats{0, 1, 2}));
  }
}

TEST_P(MoeTest, Experts) {
  struct Shape {
    int64_t tokens, experts, picks, width, expert_width;
  };
  for (const auto [tokens, experts, picks, width, expert_width] : std::vector<Shape>{{20, 8, 2, 48, 32},
                                                                                     {1, 8, 2, 48, 32},
                                                                                     {20, 1, 1, 48, 32},
                                                                                     {20, 8, 8, 48, 32},
                                                                                     {20, 8, 2, 47, 32},
                                                                                     {20, 8, 2, 48, 33},
                                                                                     {3, 64, 2, 48, 32}}) {
    for (const auto [dtype, operand] : {std::pair(DType::kF32, Operand::kF32), std::pair(DType::kBF16, Operand::kBF16),
                                        std::pair(DType::kBF16, Operand::kSplitBF16)}) {
      const std::string what = fmt::format("T {} E {} k {} K {} F {} operand {}", tokens, experts, picks, width,
                                           expert_width, static_cast<int>(operand));
      const Floats x = Random(tokens * width, 1);
      const Floats up = RoundBF16(Random(experts * expert_width * width, 2, 1 / std::sqrt(static_cast<float>(width))));
      const Floats down =
          RoundBF16(Random(experts * expert_width * width, 3, 1 / std::sqrt(static_cast<float>(expert_width))));
      const reference::Routing routing =
          reference::MoeRoute(x, Random(experts * width, 4), Floats(experts, 0.0f), width, {experts, picks});
      const auto make = [&, tokens = tokens, experts = experts, picks = picks, width = width,
                         expert_width = expert_width, dtype = dtype, operand = operand](int threads) {
        KernelFixture kernel("cpu.moe_experts", tokens, threads);
        kernel.Input("input", width)
            .Input("indices", picks, DType::kI32)
            .Input("weights", picks)
            .Output("output", width);
        kernel.Weight("up", {experts, expert_width, width}, up, dtype, Layout::kPanel);
        kernel.Weight("down", {experts, width, expert_width}, down, dtype, Layout::kPanel);
        kernel.Bool("split_input", operand == Operand::kSplitBF16);
        return kernel;
      };
      const auto run = [&, picks = picks, width = width](KernelFixture& kernel, int64_t first, int64_t count) {
        kernel.SetInput("input", 0, std::span(x).subspan(first * width, count * width));
        const Floats indices(routing.indices.begin() + first * picks,
                             routing.indices.begin() + (first + count) * picks);
        kernel.SetInput("indices", 0, indices);
        kernel.SetInput("weights", 0, std::span(routing.weights).subspan(first * picks, count * picks));
        TestSequence sequence = kernel.NewSequence();
        kernel.Step({&sequence}, {count});
        return kernel.GetOutput("output", count);
      };
      KernelFixture kernel = make(2);
      const Status status = kernel.Prepare();
      ASSERT_TRUE(status.ok()) << status.message();
      const Floats whole = run(kernel, 0, tokens);
      // In BF16 the hidden values are rounded again after sums in F32, so one may fall on the other side of a rounding
      // border: 2^-8 of one of expert_width terms of about 1. In F32 (and split) only the sums' own errors remain.
      const double tolerance = operand == Operand::kBF16 ? 2e-2 : 2e-4;
      ExpectNear(whole, reference::MoeExperts(x, routing, up, down, experts, width, expert_width, operand), tolerance,
                 what);
      for (int64_t count : {int64_t{1}, tokens / 3 + 1}) {
        Floats parts;
        for (int64_t first = 0; first < tokens; first += count) {
          const Floats part = run(kernel, first, std::min(count, tokens - first));
          parts.insert(parts.end(), part.begin(), part.end());
        }
        ASSERT_EQ(parts, whole) << what << ", " << count << " at a time";
      }
      for (int threads : {1, 3}) {
        KernelFixture other = make(threads);
        ASSERT_TRUE(other.Prepare().ok());
        ASSERT_EQ(run(other, 0, tokens), whole) << what << ", " << threads << " threads";
      }
    }
  }
}

// A plan is untrusted: indices that no router of this layer wrote must stay within the experts.
TEST(MoeExperts, IndicesOutOfRangeAreClamped) {
  KernelFixture kernel("cpu.moe_experts");
  kernel.Input("input", 4).Input("indices", 1, DType::kI32).Input("weights", 1).Output("output", 4);
  kernel.Weight("up", {2, 3, 4}, Random(24, 1), DType::kF32, Layout::kPanel);
  kernel.Weight("down", {2, 4, 3}, Random(24, 2), DType::kF32, Layout::kPanel).Bool("split_input", false);
  ASSERT_TRUE(kernel.Prepare().ok());
  const auto run = [&](Floats indices) {
    kernel.SetInput("input", 0, Random(8, 3));
    kernel.SetInput("indices", 0, indices);
    kernel.SetInput("weights", 0, Floats{1, 1});
    TestSequence sequence = kernel.NewSequence();
    kernel.Step({&sequence}, {2});
    return kernel.GetOutput("output", 2);
  };
  EXPECT_EQ(run({-7, 1000000}), run({0, 1}));
}

}  // namespace
}  // namespace nemotron::runtime::cpu
