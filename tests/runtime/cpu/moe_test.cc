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

/// Tokens [first, first + count) in one step.
Floats RunTokens(KernelFixture& kernel, const Floats& x, const reference::Routing& routing, int64_t width,
                 int64_t picks, int64_t first, int64_t count) {
  kernel.SetInput("input", 0, std::span(x).subspan(first * width, count * width));
  kernel.SetInput("indices", 0,
                  Floats(routing.indices.begin() + first * picks, routing.indices.begin() + (first + count) * picks));
  kernel.SetInput("weights", 0, std::span(routing.weights).subspan(first * picks, count * picks));
  TestSequence sequence = kernel.NewSequence();
  kernel.Step({&sequence}, {count});
  return kernel.GetOutput("output", count);
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
        return RunTokens(kernel, x, routing, width, picks, first, count);
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

using reference::ScaledExperts;

/// How experts are quantized: what their matrices are of, and whether their inputs are.
struct Quantization {
  DType dtype;
  bool inputs;
  bool groups = false;  ///< scales for each 32 inputs
};
constexpr Quantization kQuantizations[] = {{DType::kF8E4M3, false}, {DType::kF8E4M3, true}, {DType::kI8, true}};

/// Experts with random matrices; with `rich` a scale an output (or more), and inputs have static scales.
ScaledExperts MakeScaledExperts(int64_t experts, int64_t width, int64_t expert_width, Quantization quantization,
                                bool rich) {
  const auto positive = [](int64_t size, uint32_t seed, float mean) {
    Floats values = Random(size, seed, 0.1f);
    for (float& value : values) {
      value = mean * (1 + std::abs(value));
    }
    return values;
  };
  const auto [dtype, quantize, groups] = quantization;
  const int64_t up_groups = groups ? width / 32 : 1, down_groups = groups ? expert_width / 32 : 1;
  ScaledExperts made{experts, width, expert_width, {}, {}, {}, {}, quantize, {}, {}, dtype};
  made.up = reference::RoundToCodes(Random(experts * expert_width * width, 2, 100), dtype);
  made.down = reference::RoundToCodes(Random(experts * expert_width * width, 3, 100), dtype);
  made.up_scales =
      positive(experts * (rich ? expert_width * up_groups : 1), 4, 0.01f / std::sqrt(static_cast<float>(width)));
  made.down_scales =
      positive(experts * (rich ? width * down_groups : 1), 5, 0.01f / std::sqrt(static_cast<float>(expert_width)));
  if (quantize && rich) {
    made.up_input_scales = positive(experts, 6, 0.01f);
    made.down_input_scales = positive(experts, 7, 0.02f);
  }
  return made;
}

KernelFixture MakeKernel(const ScaledExperts& experts, int64_t picks, int64_t max_tokens, int threads) {
  const int64_t e = experts.experts, k = experts.width, f = experts.expert_width;
  KernelFixture kernel("cpu.scaled_moe_experts", max_tokens, threads);
  kernel.Input("input", k).Input("indices", picks, DType::kI32).Input("weights", picks).Output("output", k);
  kernel.Weight("up", {e, f, k}, experts.up, experts.dtype, Layout::kPanel);
  kernel.Weight("down", {e, k, f}, experts.down, experts.dtype, Layout::kPanel);
  const auto scales = [&](const std::string& name, const Floats& values, int64_t n) {
    const int64_t each = static_cast<int64_t>(values.size()) / e;
    if (each > n) {
      kernel.Weight(name, {e, n, each / n}, values, DType::kF32, Layout::kPanel);
    } else {
      kernel.Weight(name, {e, each}, values, DType::kF32, Layout::kRowMajor);
    }
  };
  scales("up_scale", experts.up_scales, f);
  scales("down_scale", experts.down_scales, k);
  if (!experts.up_input_scales.empty()) {
    kernel.Vector("up_input_scale", experts.up_input_scales);
  }
  if (!experts.down_input_scales.empty()) {
    kernel.Vector("down_input_scale", experts.down_input_scales);
  }
  return std::move(kernel.Text("activations", experts.dtype == DType::kI8 ? "i8" : experts.quantize ? "e4m3" : "bf16"));
}

TEST_P(MoeTest, ScaledExperts) {
  struct Shape {
    int64_t tokens, experts, picks, width, expert_width;
  };
  for (const auto [tokens, count, picks, width, expert_width] : std::vector<Shape>{{20, 8, 2, 48, 32},
                                                                                   {1, 8, 2, 48, 32},
                                                                                   {20, 1, 1, 48, 32},
                                                                                   {20, 8, 8, 48, 32},
                                                                                   {20, 8, 2, 47, 32},
                                                                                   {20, 8, 2, 48, 33},
                                                                                   {3, 64, 2, 48, 32},
                                                                                   {40, 2, 1, 35, 1041}}) {
    for (Quantization quantization : kQuantizations) {
      for (bool rich : {false, true}) {
        const bool quantize = quantization.inputs;
        const std::string what = fmt::format("T {} E {} k {} K {} F {} {} quantize {} rich {}", tokens, count, picks,
                                             width, expert_width, DTypeName(quantization.dtype), quantize, rich);
        const Floats x = Random(tokens * width, 1);
        const ScaledExperts experts = MakeScaledExperts(count, width, expert_width, quantization, rich);
        const reference::Routing routing =
            reference::MoeRoute(x, Random(count * width, 8), Floats(count, 0.0f), width, {count, picks});
        KernelFixture kernel = MakeKernel(experts, picks, tokens, 2);
        const Status status = kernel.Prepare();
        ASSERT_TRUE(status.ok()) << status.message();
        const Floats whole = RunTokens(kernel, x, routing, width, picks, 0, tokens);
        // A hidden value near a border may be rounded to the other side after sums in F32: of values up to 10, 2^-3 in
        // E4M3 and 2^-8 in BF16, times one of expert_width weights of about 1 / sqrt(expert_width).
        const double tolerance = (quantize ? 2 : 0.1) * 3 / std::sqrt(static_cast<double>(expert_width));
        ExpectNear(whole, reference::ScaledMoeExperts(x, routing, experts), tolerance, what);
        for (int64_t part : {int64_t{1}, tokens / 3 + 1}) {
          Floats parts;
          for (int64_t first = 0; first < tokens; first += part) {
            const Floats some = RunTokens(kernel, x, routing, width, picks, first, std::min(part, tokens - first));
            parts.insert(parts.end(), some.begin(), some.end());
          }
          ASSERT_EQ(parts, whole) << what << ", " << part << " at a time";
        }
        for (int threads : {1, 3}) {
          KernelFixture other = MakeKernel(experts, picks, tokens, threads);
          ASSERT_TRUE(other.Prepare().ok());
          ASSERT_EQ(RunTokens(other, x, routing, width, picks, 0, tokens), whole)
              << what << ", " << threads << " threads";
        }
      }
    }
  }
}

/// One row through cpu.quantize (if experts do) and cpu.scaled_matmul with the matrix of expert `e`.
Floats MultiplyAlone(const ScaledExperts& experts, const Floats& row, int64_t e, bool up) {
  const auto k = static_cast<int64_t>(row.size()), n = up ? experts.expert_width : experts.width;
  const auto part = [&](const Floats& stack) {
    const int64_t size = static_cast<int64_t>(stack.size()) / experts.experts;
    return Floats(stack.begin() + e * size, stack.begin() + (e + 1) * size);
  };
  const auto run = [](KernelFixture& kernel) {
    const Status status = kernel.Prepare();
    EXPECT_TRUE(status.ok()) << status.message();
  };
  KernelFixture matmul("cpu.scaled_matmul", 1);
  matmul.Input("input", k, experts.quantize ? experts.dtype : DType::kF32).Output("output", n);
  matmul.Weight("weight", {n, k}, part(up ? experts.up : experts.down), experts.dtype, Layout::kPanel);
  const Floats weight_scales = part(up ? experts.up_scales : experts.down_scales);
  const auto num_scales = static_cast<int64_t>(weight_scales.size());
  if (num_scales > n) {
    matmul.Weight("weight_scale", {n, num_scales / n}, weight_scales, DType::kF32, Layout::kPanel);
  } else {
    matmul.Vector("weight_scale", weight_scales);
  }
  matmul.Text("activation", up ? "relu2" : "none");
  TestSequence sequence = matmul.NewSequence();
  if (!experts.quantize) {
    run(matmul);
    matmul.SetInput("input", 0, row);
  } else {
    const Floats& scales = up ? experts.up_input_scales : experts.down_input_scales;
    KernelFixture quantize("cpu.quantize", 1);
    quantize.Input("input", k).Output("output", k, experts.dtype).Output("scale", 1).Text("activation", "none");
    quantize.Text("scaling", scales.empty() ? "token" : "static").Float("scale", scales.empty() ? 0 : scales[e]);
    run(quantize);
    quantize.SetInput("input", 0, row);
    quantize.Step({&sequence}, {1});
    matmul.Input("input_scale", 1);
    run(matmul);
    matmul.SetInput("input", 0, quantize.GetOutput("output", 1));
    matmul.SetInput("input_scale", 0, quantize.GetOutput("scale", 1));
  }
  matmul.Step({&sequence}, {1});
  return matmul.GetOutput("output", 1);
}

// To the bit: experts are quantize, scaled_matmul with relu2, quantize, scaled_matmul and a sum. What lies between is
// shown to who asks, expert after expert, tokens in order.
TEST_P(MoeTest, ScaledExpertsAreTheirParts) {
  constexpr int64_t kTokens = 7, kExperts = 4, kPicks = 2;
  std::vector<Quantization> quantizations(std::begin(kQuantizations), std::end(kQuantizations));
  quantizations.push_back({DType::kI8, true, /*groups=*/true});
  for (Quantization quantization : quantizations) {
    const int64_t width = quantization.groups ? 64 : 35, expert_width = quantization.groups ? 96 : 50;
    const Floats x = Random(kTokens * width, 1);
    const reference::Routing routing =
        reference::MoeRoute(x, Random(kExperts * width, 8), Floats(kExperts, 0.0f), width, {kExperts, kPicks});
    for (bool rich : {false, true}) {
      const ScaledExperts experts = MakeScaledExperts(kExperts, width, expert_width, quantization, rich);
      std::vector<std::vector<Floats>> expected_hidden(kExperts), hidden(kExperts);
      Floats expected(kTokens * width);
      for (int64_t pick = 0; pick < kTokens * kPicks; ++pick) {
        const int64_t t = pick / kPicks, e = routing.indices[pick];
        const Floats row(x.begin() + t * width, x.begin() + (t + 1) * width);
        expected_hidden[e].push_back(MultiplyAlone(experts, row, e, /*up=*/true));
        const Floats out = MultiplyAlone(experts, expected_hidden[e].back(), e, /*up=*/false);
        for (int64_t i = 0; i < width; ++i) {
          const float term = routing.weights[pick] * out[i];
          expected[t * width + i] += term;
        }
      }
      KernelFixture kernel = MakeKernel(experts, kPicks, kTokens, 2);
      ASSERT_TRUE(kernel.Prepare().ok());
      EXPECT_EQ(RunTokens(kernel, x, routing, width, kPicks, 0, kTokens), expected);
      int64_t last = 0;
      const std::function<void(int64_t, std::span<const float>)> see = [&](int64_t e, std::span<const float> row) {
        EXPECT_GE(e, last);
        last = e;
        hidden.at(e).emplace_back(row.begin(), row.end());
      };
      kernel.expert_hidden = &see;
      EXPECT_EQ(RunTokens(kernel, x, routing, width, kPicks, 0, kTokens), expected);
      EXPECT_EQ(hidden, expected_hidden) << DTypeName(quantization.dtype) << " quantize " << quantization.inputs
                                         << " rich " << rich;
    }
  }
}

TEST_P(MoeTest, HiddenRowsAreShown) {
  constexpr int64_t kWidth = 9, kExpertWidth = 21;
  const Floats x = Random(2 * kWidth, 1), up = Random(2 * kExpertWidth * kWidth, 2), down = Random(up.size(), 3);
  KernelFixture kernel("cpu.moe_experts", 2);
  kernel.Input("input", kWidth).Input("indices", 1, DType::kI32).Input("weights", 1).Output("output", kWidth);
  kernel.Weight("up", {2, kExpertWidth, kWidth}, up, DType::kF32, Layout::kPanel);
  kernel.Weight("down", {2, kWidth, kExpertWidth}, down, DType::kF32, Layout::kPanel).Bool("split_input", false);
  ASSERT_TRUE(kernel.Prepare().ok());
  std::vector<int64_t> order;
  Floats rows;
  const std::function<void(int64_t, std::span<const float>)> see = [&](int64_t e, std::span<const float> row) {
    order.push_back(e);
    rows.insert(rows.end(), row.begin(), row.end());
  };
  kernel.expert_hidden = &see;
  RunTokens(kernel, x, {{1, 0}, {1, 1}}, kWidth, 1, 0, 2);
  EXPECT_EQ(order, (std::vector<int64_t>{0, 1}));
  const auto hidden = [&](int64_t token, int64_t expert) {
    const int64_t size = kExpertWidth * kWidth;
    return reference::Linear(Floats(x.begin() + token * kWidth, x.begin() + (token + 1) * kWidth),
                             Floats(up.begin() + expert * size, up.begin() + (expert + 1) * size), {}, kExpertWidth,
                             kWidth, Operand::kF32, /*relu2=*/true);
  };
  Floats expected = hidden(1, 0);
  const Floats second = hidden(0, 1);
  expected.insert(expected.end(), second.begin(), second.end());
  ExpectNear(rows, expected, 1e-4, "hidden");
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
