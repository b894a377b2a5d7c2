// Kernels that treat each row alone: norms, elementwise ops, embedding, selection of rows.

#include <algorithm>
#include <cmath>

#include "tests/runtime/cpu/kernel_fixture.h"

namespace nemotron::runtime::cpu {
namespace {

class RowwiseTest : public EachIsa {
 protected:
  /// Runs a kernel on `tokens` rows, and row after row, on 1 and on 3 threads: the same bits. Outputs of the whole step
  /// are left in `kernel`.
  void Run(KernelFixture& kernel, const std::map<std::string, Floats>& inputs, int64_t tokens) {
    const Status status = kernel.Prepare();
    ASSERT_TRUE(status.ok()) << status.message();
    TestSequence sequence = kernel.NewSequence();
    const auto run = [&](int64_t first, int64_t count) {
      for (const auto& [name, values] : inputs) {
        const int64_t columns = kernel.arguments.inputs.at(name).columns;
        kernel.SetInput(name, 0, std::span(values).subspan(first * columns, count * columns));
      }
      kernel.Step({&sequence}, {count});
      std::map<std::string, Floats> outputs;
      for (const auto& [name, buffer] : kernel.arguments.outputs) {
        outputs[name] = kernel.GetOutput(name, count);
      }
      return outputs;
    };
    std::map<std::string, Floats> rows;
    for (int64_t t = 0; t < tokens; ++t) {
      for (const auto& [name, row] : run(t, 1)) {
        rows[name].insert(rows[name].end(), row.begin(), row.end());
      }
    }
    EXPECT_EQ(run(0, tokens), rows);
    for (int threads : {1, 3}) {
      kernel.UseThreads(threads);
      ASSERT_TRUE(kernel.Prepare().ok());
      EXPECT_EQ(run(0, tokens), rows) << threads << " threads";
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Isa, RowwiseTest, testing::ValuesIn(Isas()), IsaTestName);

constexpr int64_t kWidths[] = {1, 2, 15, 16, 17, 63, 64, 65, 200, 1024, 1030};

// Sums over D terms in F32: relative error D * 2^-24 of outputs of up to 5.
double NormTolerance(int64_t width) { return (width + 16) * 6e-8 * 5 + 1e-6; }

TEST_P(RowwiseTest, Norms) {
  for (int64_t width : kWidths) {
    for (int64_t tokens : {1, 9}) {
      const std::string what = fmt::format("T {} D {}", tokens, width);
      const Floats x = Random(tokens * width, 1), delta = Random(tokens * width, 2), weight = Random(width, 3),
                   bias = Random(width, 4);
      Floats sum(x.size());
      std::transform(x.begin(), x.end(), delta.begin(), sum.begin(), std::plus<>());
      KernelFixture rms("cpu.rms_norm");
      rms.Input("input", width).Output("output", width).Vector("weight", weight).Float("eps", 1e-5);
      Run(rms, {{"input", x}}, tokens);
      ExpectNear(rms.GetOutput("output", tokens), reference::RMSNorm(x, weight, 1e-5), NormTolerance(width), what);

      KernelFixture add("cpu.add_rms_norm");
      add.Input("residual", width).Input("delta", width).Output("sum", width).Output("output", width);
      add.Vector("weight", weight).Float("eps", 1e-5);
      Run(add, {{"residual", x}, {"delta", delta}}, tokens);
      EXPECT_EQ(add.GetOutput("sum", tokens), sum) << what;
      ExpectNear(add.GetOutput("output", tokens), reference::RMSNorm(sum, weight, 1e-5), NormTolerance(width), what);

      for (bool offset : {false, true}) {
        KernelFixture layer("cpu.layer_norm");
        layer.Input("input", width)
            .Output("output", width)
            .Vector("weight", weight)
            .Float("eps", 1e-3)
            .Bool("unit_offset", offset);
        Run(layer, {{"input", x}}, tokens);
        ExpectNear(layer.GetOutput("output", tokens), reference::LayerNorm(x, weight, {}, 1e-3, offset),
                   2 * NormTolerance(width), what);

        KernelFixture add_layer("cpu.add_layer_norm");
        add_layer.Input("residual", width).Input("delta", width).Output("sum", width).Output("output", width);
        add_layer.Vector("weight", weight).Vector("bias", bias).Float("eps", 1e-3).Bool("unit_offset", offset);
        Run(add_layer, {{"residual", x}, {"delta", delta}}, tokens);
        EXPECT_EQ(add_layer.GetOutput("sum", tokens), sum) << what;
        ExpectNear(add_layer.GetOutput("output", tokens), reference::LayerNorm(sum, weight, bias, 1e-3, offset),
                   2 * NormTolerance(width), what);
      }
    }
  }
}

// The same bits as the norm alone and then cpu.quantize, which have their own references.
TEST_P(RowwiseTest, NormsThatQuantize) {
  constexpr int64_t kTokens = 9;
  for (int64_t width : {1, 17, 64, 1030}) {
    const Floats x = Random(kTokens * width, 1), delta = Random(kTokens * width, 2), bias = Random(width, 4);
    for (const std::string name : {"rms_norm", "add_rms_norm", "layer_norm", "add_layer_norm"}) {
      const bool add = name.starts_with("add_"), layer = name.ends_with("layer_norm");
      const auto make = [&](const std::string& kernel_name, DType output) {
        KernelFixture kernel(kernel_name);
        kernel.Output("output", width, output).Vector("weight", Random(width, 3)).Float("eps", 1e-5);
        if (add) {
          kernel.Input("residual", width).Input("delta", width).Output("sum", width);
        } else {
          kernel.Input("input", width);
        }
        if (layer) {
          kernel.Vector("bias", bias).Bool("unit_offset", true);
        }
        return kernel;
      };
      const std::map<std::string, Floats> inputs =
          add ? std::map<std::string, Floats>{{"residual", x}, {"delta", delta}}
              : std::map<std::string, Floats>{{"input", x}};
      KernelFixture norm = make("cpu." + name, DType::kF32);
      Run(norm, inputs, kTokens);
      const std::pair<DType, std::string> cases[] = {
          {DType::kF8E4M3, "token"}, {DType::kF8E4M3, "static"}, {DType::kI8, "token"}, {DType::kI8, "static"}};
      for (const auto& [dtype, scaling] : cases) {
        const double scale = scaling == "static" ? 0.0071 : 0;
        KernelFixture quantize("cpu.quantize");
        quantize.Input("input", width).Output("output", width, dtype).Output("scale", 1);
        quantize.Text("scaling", scaling).Float("scale", scale).Text("activation", "none");
        Run(quantize, {{"input", norm.GetOutput("output", kTokens)}}, kTokens);
        KernelFixture fused = make("cpu." + name + "_quantize", dtype);
        fused.Output("scale", 1).Text("scaling", scaling).Float("scale", scale);
        Run(fused, inputs, kTokens);
        const std::string what = fmt::format("{} {} {} D {}", name, DTypeName(dtype), scaling, width);
        EXPECT_EQ(fused.GetOutput("output", kTokens), quantize.GetOutput("output", kTokens)) << what;
        EXPECT_EQ(fused.GetOutput("scale", kTokens), quantize.GetOutput("scale", kTokens)) << what;
        if (add) {
          EXPECT_EQ(fused.GetOutput("sum", kTokens), norm.GetOutput("sum", kTokens)) << what;
        }
      }
    }
  }
}

TEST_P(RowwiseTest, GatedRMSNorm) {
  for (int64_t groups : {1, 2, 8}) {
    for (int64_t width : kWidths) {
      const int64_t columns = groups * width, tokens = 5;
      const Floats x = Random(tokens * columns, 1), gate = Random(tokens * columns, 2, 3), weight = Random(columns, 3);
      KernelFixture norm("cpu.gated_rms_norm");
      norm.Input("input", columns).Input("gate", columns).Output("output", columns).Vector("weight", weight);
      norm.Int("n_groups", groups).Float("eps", 1e-5);
      Run(norm, {{"input", x}, {"gate", gate}}, tokens);
      ExpectNear(norm.GetOutput("output", tokens), reference::GatedRMSNorm(x, gate, weight, groups, 1e-5),
                 4 * NormTolerance(width), fmt::format("G {} width {}", groups, width));
    }
  }
}

TEST_P(RowwiseTest, Elementwise) {
  for (int64_t width : kWidths) {
    const int64_t tokens = 11;
    const Floats a = Random(tokens * width, 1, 3), b = Random(tokens * width, 2);
    Floats sum(a.size()), relu2(a.size()), silu(a.size());
    for (size_t i = 0; i < a.size(); ++i) {
      sum[i] = a[i] + b[i];
      relu2[i] = std::max(a[i], 0.0f) * std::max(a[i], 0.0f);
      silu[i] = static_cast<float>(a[i] / (1 + std::exp(-double{a[i]})));
    }
    KernelFixture add("cpu.add");
    add.Input("lhs", width).Input("rhs", width).Output("output", width);
    Run(add, {{"lhs", a}, {"rhs", b}}, tokens);
    EXPECT_EQ(add.GetOutput("output", tokens), sum);
    KernelFixture square("cpu.relu2");
    square.Input("input", width).Output("output", width);
    Run(square, {{"input", a}}, tokens);
    EXPECT_EQ(square.GetOutput("output", tokens), relu2);
    KernelFixture sigmoid("cpu.silu");
    sigmoid.Input("input", width).Output("output", width);
    Run(sigmoid, {{"input", a}}, tokens);
    ExpectNear(sigmoid.GetOutput("output", tokens), silu, 2e-6, "silu");
    KernelFixture skip("cpu.ssm_skip");
    skip.Input("y", 3 * width).Input("x", 3 * width).Output("output", 3 * width).Vector("d", {0.5f, -1, 2});
    skip.Int("num_heads", 3).Int("head_dim", width);
    const Floats y = Random(tokens * 3 * width, 3), x = Random(tokens * 3 * width, 4);
    Run(skip, {{"y", y}, {"x", x}}, tokens);
    ExpectNear(skip.GetOutput("output", tokens), reference::SsmSkip(y, x, {0.5f, -1, 2}, width), 2e-6, "skip");
  }
}

// SiLU of what overflows exp must be finite or the input itself.
TEST_P(RowwiseTest, SiluOfLargeValues) {
  KernelFixture sigmoid("cpu.silu");
  sigmoid.Input("input", 4).Output("output", 4);
  Run(sigmoid, {{"input", {-200.0f, -90.0f, 90.0f, 200.0f}}}, 1);
  const Floats y = sigmoid.GetOutput("output", 1);
  EXPECT_NEAR(y[0], 0, 1e-30);
  EXPECT_NEAR(y[1], 0, 1e-30);
  EXPECT_EQ(y[2], 90);
  EXPECT_EQ(y[3], 200);
}

TEST(Embedding, ReadsRows) {
  const Floats table = RoundBF16(Random(7 * 19, 1));
  for (DType dtype : {DType::kF32, DType::kBF16}) {
    KernelFixture embedding("cpu.embedding");
    embedding.arguments.vocab_size = 7;
    embedding.Output("output", 19).Weight("weight", {7, 19}, table, dtype, Layout::kRowMajor);
    ASSERT_TRUE(embedding.Prepare().ok());
    TestSequence sequence = embedding.NewSequence();
    embedding.Step({&sequence}, {3}, {}, {6, 0, 3});
    const Floats y = embedding.GetOutput("output", 3);
    for (int64_t i = 0; i < 3; ++i) {
      const int64_t row = std::array{6, 0, 3}[i];
      EXPECT_TRUE(std::equal(y.begin() + i * 19, y.begin() + (i + 1) * 19, table.begin() + row * 19)) << i;
    }
  }
}

TEST(SelectRows, CopiesTheAskedFor) {
  KernelFixture select("cpu.select_rows");
  select.Input("input", 5).Output("output", 5, DType::kF32, Space::kRow);
  ASSERT_TRUE(select.Prepare().ok());
  const Floats x = Random(6 * 5, 1);
  select.SetInput("input", 0, x);
  TestSequence sequence = select.NewSequence();
  select.Step({&sequence}, {6}, {1, 5});
  EXPECT_EQ(select.GetOutput("output", 2), (Floats{x[5], x[6], x[7], x[8], x[9], x[25], x[26], x[27], x[28], x[29]}));
}

}  // namespace
}  // namespace nemotron::runtime::cpu
