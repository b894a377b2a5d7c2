#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "runtime/cpu/kernels/linear_tile.h"
#include "tests/runtime/cpu/kernel_fixture.h"

namespace nemotron::runtime::cpu {
namespace {

using reference::Quantized;

class ScaledMatmulTest : public EachIsa {};
INSTANTIATE_TEST_SUITE_P(Isa, ScaledMatmulTest, testing::ValuesIn(Isas()), IsaTestName);

/// A product with everything it takes; without `x.scales` only the weights are codes.
struct Product {
  int64_t tokens, n, k;
  Quantized x;
  Floats weight, weight_scales, bias;
  bool relu2 = false;
  DType dtype = DType::kF8E4M3;
  int64_t num_groups = 0;  ///< of I8: weight_scales are [N, num_groups]

  Floats Row(int64_t row) const { return Floats(x.values.begin() + row * k, x.values.begin() + (row + 1) * k); }
};

/// What weights and inputs are of; BF16 inputs are not quantized.
enum class Form { kE4M3, kE4M3ByBF16, kI8 };
constexpr Form kForms[] = {Form::kE4M3, Form::kE4M3ByBF16, Form::kI8};
constexpr const char* NameOf(Form form) {
  return form == Form::kI8 ? "i8" : form == Form::kE4M3 ? "e4m3" : "e4m3 by bf16";
}

/// Random numbers; with `extras` a scale an output, a bias and an activation.
Product MakeProduct(int64_t tokens, int64_t n, int64_t k, Form form, bool extras) {
  const DType dtype = form == Form::kI8 ? DType::kI8 : DType::kF8E4M3;
  Product product{tokens, n, k, {}, {}, {}, {}, extras, dtype};
  const Floats x = Random(tokens * k, 1);
  product.x = form == Form::kE4M3ByBF16 ? Quantized{x, {}}
                                        : reference::Quantize(x, k, reference::Scaling::kToken, 0, false, dtype);
  product.weight = reference::RoundToCodes(Random(n * k, 2, dtype == DType::kI8 ? 50 : 100), dtype);
  product.weight_scales = Random(extras ? n : 1, 3, 0.01f / std::sqrt(static_cast<float>(k)));
  product.bias = extras ? Random(n, 4) : Floats();
  return product;
}

KernelFixture MakeKernel(const Product& product, int64_t max_tokens, int threads = 2, Space space = Space::kToken) {
  KernelFixture matmul("cpu.scaled_matmul", max_tokens, threads);
  const bool weight_only = product.x.scales.empty();
  matmul.Input("input", product.k, weight_only ? DType::kF32 : product.dtype, space);
  if (!weight_only) {
    matmul.Input("input_scale", 1, DType::kF32, space);
  }
  matmul.Output("output", product.n, DType::kF32, space);
  if (product.num_groups > 0) {
    matmul.Weight("weight_scale", {product.n, product.num_groups}, product.weight_scales, DType::kF32, Layout::kPanel);
  } else {
    matmul.Vector("weight_scale", product.weight_scales);
  }
  matmul.Weight("weight", {product.n, product.k}, product.weight, product.dtype, Layout::kPanel);
  matmul.Text("activation", product.relu2 ? "relu2" : "none");
  if (!product.bias.empty()) {
    matmul.Vector("bias", product.bias);
  }
  return matmul;
}

/// Rows [first, first + count) of the product, in one step.
Floats RunRows(KernelFixture& matmul, const Product& product, int64_t first, int64_t count) {
  matmul.SetInput("input", 0, std::span(product.x.values).subspan(first * product.k, count * product.k));
  if (!product.x.scales.empty()) {
    matmul.SetInput("input_scale", 0, std::span(product.x.scales).subspan(first, count));
  }
  TestSequence sequence = matmul.NewSequence();
  matmul.Step({&sequence}, {count});
  return matmul.GetOutput("output", count);
}

Floats RunAll(const Product& product) {
  KernelFixture matmul = MakeKernel(product, product.tokens);
  const Status status = matmul.Prepare();
  EXPECT_TRUE(status.ok()) << status.message();
  return RunRows(matmul, product, 0, product.tokens);
}

/// The kernel's own chain, one rounding after the other. Sums of I8 are exact, and rounded once. Products of E4M3 with
/// E4M3 or BF16 are exact in F32, so it does not matter whether they are fused with the additions. VDPBF16PS adds the
/// second product of a pair first; TDPBF16PS adds up the first products of 16 pairs and the second ones, from zero, and
/// adds both sums before the output's takes them (Intel SDM).
Floats Emulate(const Product& product, Isa isa) {
  const bool second_first = isa == Isa::kAvx512Bf16, weight_only = product.x.scales.empty();
  Floats y;
  for (int64_t t = 0; t < product.tokens; ++t) {
    const Floats x = weight_only ? RoundBF16(product.Row(t)) : product.Row(t);
    for (int64_t i = 0; i < product.n; ++i) {
      const float* w = product.weight.data() + i * product.k;
      float sum = 0;
      if (product.dtype == DType::kI8) {
        sum = static_cast<float>(
            std::inner_product(x.begin(), x.end(), w, int64_t{0}, std::plus<>(),
                               [](float a, float b) { return static_cast<int64_t>(a) * static_cast<int64_t>(b); }));
      }
      float sums[2] = {};  // of TDPBF16PS
      for (int64_t j = 0; product.dtype != DType::kI8 && j < product.k; j += 2) {
        const float first = x[j] * w[j], second = j + 1 < product.k ? x[j + 1] * w[j + 1] : 0;
        if (isa == Isa::kAmx) {
          sums[0] += first;
          sums[1] += second;
          if (j % 32 == 30 || j + 2 >= product.k) {
            sum += sums[0] + sums[1];
            sums[0] = sums[1] = 0;
          }
        } else {
          sum += second_first ? second : first;
          sum += second_first ? first : second;
        }
      }
      const float weight_scale = product.weight_scales[product.weight_scales.size() == 1 ? 0 : i];
      const float scale = weight_only ? weight_scale : product.x.scales[t] * weight_scale;
      sum *= scale;
      sum += product.bias.empty() ? 0 : product.bias[i];
      const float positive = std::max(sum, 0.0f);
      y.push_back(product.relu2 ? positive * positive : sum);
    }
  }
  return y;
}

/// The same for I8 with groups: each sum is exact, rounded, scaled, and added to those before.
Floats EmulateGroups(const Product& product) {
  const int64_t depth = product.k / product.num_groups;
  Floats y;
  for (int64_t t = 0; t < product.tokens; ++t) {
    for (int64_t i = 0; i < product.n; ++i) {
      float total = 0;
      for (int64_t group = 0; group < product.num_groups; ++group) {
        int64_t sum = 0;
        for (int64_t j = group * depth; j < (group + 1) * depth; ++j) {
          sum += static_cast<int64_t>(product.x.values[t * product.k + j] * product.weight[i * product.k + j]);
        }
        const float scaled = static_cast<float>(sum) * product.weight_scales[i * product.num_groups + group];
        total = group == 0 ? scaled : total + scaled;
      }
      total *= product.x.scales[t];
      total += product.bias.empty() ? 0 : product.bias[i];
      const float positive = std::max(total, 0.0f);
      y.push_back(product.relu2 ? positive * positive : total);
    }
  }
  return y;
}

struct Shape {
  int64_t tokens, n, k;
};

// One base shape, one number changed a row: numbers of rows that take other paths, sizes that need padding, more than a
// block of k, more than a task of panels, all odd at once.
constexpr Shape kShapes[] = {{5, 48, 64},   {1, 48, 64},  {2, 48, 64},    {3, 48, 64},   {4, 48, 64},    {6, 48, 64},
                             {7, 48, 64},   {8, 48, 64},  {9, 48, 64},    {17, 48, 64},  {130, 48, 64},  {5, 1, 64},
                             {5, 17, 64},   {5, 1000, 8}, {5, 48, 1},     {5, 48, 2},    {5, 48, 3},     {5, 48, 5},
                             {5, 48, 2051}, {1, 700, 31}, {1, 90, 2050},  {9, 33, 1025}, {17, 21, 1027}, {130, 19, 37},
                             {1, 1, 1},     {9, 1, 1},    {12, 40, 2052}, {1, 64, 4099}};

TEST_P(ScaledMatmulTest, MatchesTheReference) {
  for (const auto [tokens, n, k] : kShapes) {
    for (Form form : kForms) {
      for (bool extras : {false, true}) {
        const std::string what = fmt::format("T {} N {} K {} {} extras {}", tokens, n, k, NameOf(form), extras);
        const Product product = MakeProduct(tokens, n, k, form, extras);
        const Floats y = RunAll(product);
        ASSERT_EQ(y, Emulate(product, GetParam())) << what << ", NEMOTRON_TEST_SEED=" << BaseSeed();
        // A chain of k additions of terms that add up to about 1, each rounded to 2^-24 of the sum; the reference
        // rounds its sum too, and squares are up to 25.
        const double tolerance = (extras ? 16 : 2) * (8 + k) * 6e-8 + 1e-6;
        ExpectNear(
            y, reference::ScaledMatmul(product.x, product.weight, product.weight_scales, product.bias, n, k, extras),
            tolerance, what);
      }
    }
  }
}

TEST_P(ScaledMatmulTest, RowsDoNotDependOnEachOther) {
  constexpr int64_t kTokens = 130, kN = 90, kK = 1102;
  for (Form form : kForms) {
    const Product product = MakeProduct(kTokens, kN, kK, form, /*extras=*/true);
    const Floats whole = RunAll(product);
    for (int threads : {1, 2, 3}) {
      KernelFixture matmul = MakeKernel(product, kTokens, threads);
      ASSERT_TRUE(matmul.Prepare().ok());
      ASSERT_EQ(RunRows(matmul, product, 0, kTokens), whole) << threads << " threads";
      for (int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 17, 20}) {
        for (int64_t first = 0; first + rows <= kTokens; first += 37) {
          ASSERT_EQ(RunRows(matmul, product, first, rows),
                    Floats(whole.begin() + first * kN, whole.begin() + (first + rows) * kN))
              << rows << " rows from " << first;
        }
      }
    }
  }
}

/// Equal, or both NaN.
void ExpectSame(const Floats& found, const Floats& expected, const std::string& what) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_TRUE(found[i] == expected[i] || (std::isnan(found[i]) && std::isnan(expected[i])))
        << what << ", element " << i << ": " << found[i] << ", expected " << expected[i];
  }
}

Floats AllCodes() {
  Floats codes(256);
  for (int code = 0; code < 256; ++code) {
    codes[code] = F8E4M3ToF32(static_cast<uint8_t>(code));
  }
  return codes;
}

// Every code of a weight, in each place of a vector of 4 k, on the path of few rows and on that of many.
TEST_P(ScaledMatmulTest, WeightsDecodeExactly) {
  for (int64_t tokens : {1, 9}) {
    for (int64_t place = 0; place < 4; ++place) {
      Product product{tokens, 256, place + 1, {}, {}, {1}, {}, false};
      product.x = {Floats(tokens * product.k), Floats(tokens, 1.0f)};
      product.weight = Floats(256 * product.k);
      for (int64_t t = 0; t < tokens; ++t) {
        product.x.values[t * product.k + place] = 1;
      }
      Floats expected;
      for (int64_t t = 0; t < tokens; ++t) {
        for (int code = 0; code < 256; ++code) {
          product.weight[code * product.k + place] = AllCodes()[code];
          expected.push_back(AllCodes()[code]);
        }
      }
      ExpectSame(RunAll(product), expected, fmt::format("T {} place {}", tokens, place));
    }
  }
}

// The codes of an input times the identity: each row decodes one, and a NaN stays in its row, as 0 times it is NaN.
TEST_P(ScaledMatmulTest, InputsDecodeExactly) {
  constexpr int64_t kWidth = 20;
  Product product{256, kWidth, kWidth, {Floats(256 * kWidth), Floats(256, 1.0f)}, Floats(kWidth * kWidth),
                  {1}, {},     false};
  for (int64_t i = 0; i < kWidth; ++i) {
    product.weight[i * kWidth + i] = 1;
  }
  Floats expected(256 * kWidth);
  for (int64_t row = 0; row < 256; ++row) {
    const float value = AllCodes()[row];
    product.x.values[row * kWidth + row % kWidth] = value;
    if (std::isnan(value)) {
      std::fill_n(expected.begin() + row * kWidth, kWidth, value);
    }
    expected[row * kWidth + row % kWidth] = value;
  }
  ExpectSame(RunAll(product), expected, "identity");
}

TEST_P(ScaledMatmulTest, NanStaysInItsRow) {
  for (Form form : {Form::kE4M3, Form::kE4M3ByBF16}) {
    Product product = MakeProduct(19, 33, 70, form, /*extras=*/false);
    Floats expected = RunAll(product);
    product.x.values[4 * product.k + 69] = std::numeric_limits<float>::quiet_NaN();
    std::fill_n(expected.begin() + 4 * product.n, product.n, std::numeric_limits<float>::quiet_NaN());
    ExpectSame(RunAll(product), expected, NameOf(form));
  }
}

Product MakeGroups(int64_t tokens, int64_t n, int64_t k, int64_t depth, bool extras) {
  Product product = MakeProduct(tokens, n, k, Form::kI8, extras);
  product.num_groups = k / depth;
  product.weight_scales = Random(n * product.num_groups, 3, 0.01f / std::sqrt(static_cast<float>(k)));
  return product;
}

// Groups that are a block of k, less, more, and do not divide one; one group; rows and columns on all paths.
TEST_P(ScaledMatmulTest, GroupsMatchTheReference) {
  struct GroupShape {
    int64_t tokens, n, k, depth;
  };
  for (const auto [tokens, n, k, depth] : std::vector<GroupShape>{{5, 48, 128, 32},
                                                                  {1, 48, 128, 32},
                                                                  {2, 48, 128, 32},
                                                                  {8, 48, 128, 32},
                                                                  {9, 48, 128, 32},
                                                                  {130, 48, 128, 32},
                                                                  {5, 1, 128, 32},
                                                                  {5, 17, 128, 32},
                                                                  {1, 1000, 64, 32},
                                                                  {5, 48, 32, 32},
                                                                  {5, 48, 128, 128},
                                                                  {5, 48, 192, 64},
                                                                  {1, 90, 2304, 96},
                                                                  {17, 90, 2304, 96},
                                                                  {33, 33, 2304, 1152},
                                                                  {12, 40, 4096, 1024}}) {
    for (bool extras : {false, true}) {
      const std::string what = fmt::format("T {} N {} K {} groups of {} extras {}", tokens, n, k, depth, extras);
      const Product product = MakeGroups(tokens, n, k, depth, extras);
      const Floats y = RunAll(product);
      ASSERT_EQ(y, EmulateGroups(product)) << what << ", NEMOTRON_TEST_SEED=" << BaseSeed();
      // A sum of k / depth terms that add up to about 1, each rounded to 2^-24; squares are up to 25.
      const double tolerance = (extras ? 16 : 2) * (8 + static_cast<double>(product.num_groups)) * 6e-8 + 1e-6;
      ExpectNear(y,
                 reference::ScaledMatmul(product.x, product.weight, product.weight_scales, product.bias, n, k, extras),
                 tolerance, what);
    }
  }
}

// One group is a scale an output.
TEST_P(ScaledMatmulTest, OneGroupIsTheWholeRow) {
  Product product = MakeGroups(9, 48, 2080, 2080, /*extras=*/false);
  product.x.scales.assign(9, 0x1p-3f);  // exact in any order
  const Floats groups = RunAll(product);
  product.num_groups = 0;
  EXPECT_EQ(groups, RunAll(product));
}

TEST_P(ScaledMatmulTest, RowsOfGroupsDoNotDependOnEachOther) {
  constexpr int64_t kTokens = 70, kN = 90, kK = 1152;
  const Product product = MakeGroups(kTokens, kN, kK, 128, /*extras=*/true);
  const Floats whole = RunAll(product);
  for (int threads : {1, 3}) {
    KernelFixture matmul = MakeKernel(product, kTokens, threads);
    ASSERT_TRUE(matmul.Prepare().ok());
    for (int64_t rows : {1, 2, 4, 7, 8, 9, 17}) {
      for (int64_t first = 0; first + rows <= kTokens; first += 23) {
        ASSERT_EQ(RunRows(matmul, product, first, rows),
                  Floats(whole.begin() + first * kN, whole.begin() + (first + rows) * kN))
            << rows << " rows from " << first;
      }
    }
  }
}

// The largest sums that 32 bits must hold, of either sign, and one more input, which is refused.
TEST_P(ScaledMatmulTest, LongestI8Sums) {
  for (float sign : {1.0f, -1.0f}) {
    for (int64_t tokens : {1, 9}) {
      Product product{tokens, 1, kMaxI8Depth, {}, {}, {1}, {}, false, DType::kI8};
      product.x = {Floats(tokens * kMaxI8Depth, 127), Floats(tokens, 1.0f)};
      product.weight = Floats(kMaxI8Depth, 127 * sign);
      EXPECT_EQ(RunAll(product), Floats(tokens, static_cast<float>(sign * 127 * 127 * kMaxI8Depth)));
    }
  }
  Product product{1, 1, kMaxI8Depth + 1, {{}, {1}}, Floats(kMaxI8Depth + 1), {1}, {}, false, DType::kI8};
  EXPECT_EQ(MakeKernel(product, 1).PrepareError(),
            "cpu.scaled_matmul: a matrix of i8 has 132105 inputs, expected at most 132104: sums have 32 bits");
}

// A row that has a NaN has the scale NaN (cpu.quantize).
TEST_P(ScaledMatmulTest, NanScaleOfI8StaysInItsRow) {
  Product product = MakeProduct(19, 33, 70, Form::kI8, /*extras=*/false);
  Floats expected = RunAll(product);
  product.x.scales[4] = std::numeric_limits<float>::quiet_NaN();
  std::fill_n(expected.begin() + 4 * product.n, product.n, std::numeric_limits<float>::quiet_NaN());
  ExpectSame(RunAll(product), expected, "i8");
}

TEST_P(ScaledMatmulTest, RowsSpace) {
  const Product product = MakeProduct(3, 10, 20, Form::kE4M3, /*extras=*/false);
  const Floats expected = RunAll(product);
  KernelFixture matmul = MakeKernel(product, 64, 2, Space::kRow);
  ASSERT_TRUE(matmul.Prepare().ok());
  matmul.SetInput("input", 0, product.x.values);
  matmul.SetInput("input_scale", 0, product.x.scales);
  TestSequence sequence = matmul.NewSequence();
  matmul.Step({&sequence}, {5}, {0, 2, 4});
  EXPECT_EQ(matmul.GetOutput("output", 3), expected);
  matmul.Step({&sequence}, {5}, {});  // no rows: nothing to do
}

/// The kernels that this machine can run; `isa` may have several.
std::vector<std::pair<std::string, const LinearKernels*>> AllLinearKernels() {
  std::vector<std::pair<std::string, const LinearKernels*>> all = {{"portable", &kLinearPortable}};
#if defined(__x86_64__)
  const std::pair<Isa, const LinearKernels*> x86[] = {{Isa::kAvx2, &kLinearAvx2},
                                                      {Isa::kAvx512, &kLinearAvx512},
                                                      {Isa::kAvx512Vnni, &kLinearAvx512Vnni},
                                                      {Isa::kAvx512Bf16, &kLinearAvx512Bf16},
                                                      {Isa::kAmx, &kLinearAmx}};
  for (const auto& [isa, kernels] : x86) {
    if (HasIsa(isa)) {
      all.emplace_back(IsaName(isa), kernels);
    }
  }
  if (HasIsa(Isa::kAvx512Vnni) && &GetLinearKernels(Isa::kAvx512Vnni) == &kLinearAvx512Vbmi) {
    all.emplace_back("avx512vbmi", &kLinearAvx512Vbmi);
  }
#endif
  return all;
}

template <typename Element>
struct AlignedPanels {
  AlignedPanels(DType dtype, int64_t n, int64_t k, const Floats& values)
      : storage(PanelMatrixBytes(dtype, n, k) / sizeof(Element) + 64) {
    data = storage.data();
    while (reinterpret_cast<uintptr_t>(data) % 64 != 0) {
      ++data;
    }
    for (int64_t i = 0; i < n * k; ++i) {
      Element& element = data[PanelElementIndex(dtype, k, i / k, i % k)];
      if constexpr (sizeof(Element) == 1) {
        element = F32ToF8E4M3(values[i]);
      } else {
        element = F32ToBF16(values[i]);
      }
    }
  }
  std::vector<Element> storage;
  Element* data;
};

// Of each set of kernels, also of those that this machine has better ones for: E4M3 panels give the sums of BF16 panels
// of the same numbers, to the bit.
TEST(LinearKernels, SumsOfF8AreThoseOfBF16) {
  constexpr int64_t kN = 40, kK = 1100;
  Floats weight = reference::RoundToCodes(Random(kN * kK, 1, 30));
  for (size_t i = 0; i < 127; ++i) {
    weight[7 * i] = F8E4M3ToF32(static_cast<uint8_t>(i));
  }
  const AlignedPanels<uint8_t> f8(DType::kF8E4M3, kN, kK, weight);
  const AlignedPanels<uint16_t> bf16(DType::kBF16, kN, kK, weight);
  for (const auto& [name, kernels] : AllLinearKernels()) {
    for (int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 33}) {
      std::vector<std::byte> input(rows * kK * SizeOf(kernels->operand));
      kernels->round_to_operand(Random(rows * kK, 2).data(), rows * kK, input.data());
      Floats outputs[2] = {Floats(rows * kN), Floats(rows * kN)};
      for (bool is_f8 : {false, true}) {
        LinearTile tile{};
        tile.input = input.data();
        tile.input_stride = kK;
        tile.panels = is_f8 ? static_cast<const void*>(f8.data) : bf16.data;
        tile.depth = tile.panel_depth = kK;
        tile.num_panels = NumPanels(kN);
        tile.num_rows = rows;
        tile.output = outputs[is_f8].data();
        tile.output_row_bytes = kN * sizeof(float);
        tile.num_columns = kN;
        is_f8 ? kernels->f8(tile) : kernels->bf16(tile);
      }
      EXPECT_EQ(outputs[1], outputs[0]) << name << ", " << rows << " rows, NEMOTRON_TEST_SEED=" << BaseSeed();
    }
  }
}

}  // namespace
}  // namespace nemotron::runtime::cpu
