#include "tests/runtime/cpu/kernel_fixture.h"

namespace nemotron::runtime::cpu {
namespace {

using reference::Operand;

class LinearTest : public EachIsa {};
INSTANTIATE_TEST_SUITE_P(Isa, LinearTest, testing::ValuesIn(Isas()), IsaTestName);

struct Shape {
  int64_t tokens, n, k;
};

KernelFixture MakeLinear(const Floats& weight, const Floats& bias, int64_t n, int64_t k, DType dtype, Operand operand,
                         bool relu2, int64_t max_tokens, int threads = 2) {
  KernelFixture linear("cpu.linear", max_tokens, threads);
  linear.Input("input", k).Output("output", n).Weight("weight", {n, k}, weight, dtype, Layout::kPanel);
  linear.Text("activation", relu2 ? "relu2" : "none").Bool("split_input", operand == Operand::kSplitBF16);
  if (!bias.empty()) {
    linear.Vector("bias", bias);
  }
  return linear;
}

// One base shape, one number changed a row; odd sizes, one row, many rows, more than a block of k, more than a task of
// panels.
constexpr Shape kShapes[] = {{5, 48, 64},  {1, 48, 64},   {2, 48, 64},    {3, 48, 64},  {7, 48, 64},   {8, 48, 64},
                             {13, 48, 64}, {130, 48, 64}, {5, 1, 64},     {5, 17, 64},  {5, 1000, 64}, {5, 48, 1},
                             {5, 48, 3},   {5, 48, 2051}, {1, 700, 2051}, {9, 33, 1025}};

TEST_P(LinearTest, MatchesTheReference) {
  for (const auto [tokens, n, k] : kShapes) {
    for (const auto [dtype, operand] : {std::pair(DType::kF32, Operand::kF32), std::pair(DType::kBF16, Operand::kBF16),
                                        std::pair(DType::kBF16, Operand::kSplitBF16)}) {
      for (bool extras : {false, true}) {
        const std::string what = fmt::format("T {} N {} K {} {} operand {} extras {}", tokens, n, k, DTypeName(dtype),
                                             static_cast<int>(operand), extras);
        const Floats x = Random(tokens * k, 1);
        const Floats weight = RoundBF16(Random(n * k, 2, 1 / std::sqrt(static_cast<float>(k))));
        const Floats bias = extras ? Random(n, 3) : Floats();
        KernelFixture linear = MakeLinear(weight, bias, n, k, dtype, operand, extras, tokens);
        const Status status = linear.Prepare();
        ASSERT_TRUE(status.ok()) << status.message();
        linear.SetInput("input", 0, x);
        TestSequence sequence = linear.NewSequence();
        linear.Step({&sequence}, {tokens});
        // A chain of k additions of terms that add up to about 1, each rounded to 2^-24 of the sum, and a square of up
        // to 5.
        const double tolerance = (extras ? 16 : 2) * (8 + k) * 6e-8 + 1e-6;
        ExpectNear(linear.GetOutput("output", tokens), reference::Linear(x, weight, bias, n, k, operand, extras),
                   tolerance, what);
      }
    }
  }
}

TEST_P(LinearTest, RowsDoNotDependOnEachOther) {
  constexpr int64_t kTokens = 130, kN = 90, kK = 1100;
  const Floats x = Random(kTokens * kK, 1), weight = Random(kN * kK, 2), bias = Random(kN, 3);
  for (const auto [dtype, operand] : {std::pair(DType::kF32, Operand::kF32), std::pair(DType::kBF16, Operand::kBF16),
                                      std::pair(DType::kBF16, Operand::kSplitBF16)}) {
    Floats whole;
    for (int threads : {1, 2, 3}) {
      KernelFixture linear = MakeLinear(weight, bias, kN, kK, dtype, operand, true, kTokens, threads);
      ASSERT_TRUE(linear.Prepare().ok());
      linear.SetInput("input", 0, x);
      TestSequence sequence = linear.NewSequence();
      linear.Step({&sequence}, {kTokens});
      const Floats y = linear.GetOutput("output", kTokens);
      ASSERT_TRUE(whole.empty() || y == whole) << threads << " threads";
      whole = y;
      for (int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 11, 20}) {
        for (int64_t first = 0; first + rows <= kTokens; first += 37) {
          linear.SetInput("input", 0, std::span(x).subspan(first * kK, rows * kK));
          linear.Step({&sequence}, {rows});
          ASSERT_EQ(linear.GetOutput("output", rows),
                    Floats(whole.begin() + first * kN, whole.begin() + (first + rows) * kN))
              << rows << " rows from " << first;
        }
      }
    }
  }
}

TEST_P(LinearTest, RowsSpace) {
  KernelFixture linear("cpu.linear");
  const Floats x = Random(3 * 20, 1), weight = Random(10 * 20, 2);
  linear.Input("input", 20, DType::kF32, Space::kRow).Output("output", 10, DType::kF32, Space::kRow);
  linear.Weight("weight", {10, 20}, weight, DType::kF32, Layout::kPanel)
      .Text("activation", "none")
      .Bool("split_input", false);
  ASSERT_TRUE(linear.Prepare().ok());
  linear.SetInput("input", 0, x);
  TestSequence sequence = linear.NewSequence();
  linear.Step({&sequence}, {5}, {0, 2, 4});
  ExpectNear(linear.GetOutput("output", 3), reference::Linear(x, weight, {}, 10, 20, Operand::kF32, false), 2e-5,
             "rows");
  linear.Step({&sequence}, {5}, {});  // no rows: nothing to do
}

}  // namespace
}  // namespace nemotron::runtime::cpu
