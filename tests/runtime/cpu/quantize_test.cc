#include <cmath>
#include <limits>

#include "tests/runtime/cpu/kernel_fixture.h"

namespace nemotron::runtime::cpu {
namespace {

using reference::Quantized;
using reference::Scaling;

class QuantizeTest : public EachIsa {};
INSTANTIATE_TEST_SUITE_P(Isa, QuantizeTest, testing::ValuesIn(Isas()), IsaTestName);

constexpr DType kCodes[] = {DType::kF8E4M3, DType::kI8};
constexpr const char* kScalingNames[] = {"token", "step", "static"};

KernelFixture MakeQuantize(DType dtype, int64_t width, Scaling scaling, float scale, bool relu2,
                           int64_t max_tokens = 64, int threads = 2, Space space = Space::kToken) {
  KernelFixture quantize("cpu.quantize", max_tokens, threads);
  quantize.Input("input", width, DType::kF32, space).Output("output", width, dtype, space);
  quantize.Output("scale", 1, DType::kF32, space);
  quantize.Text("scaling", kScalingNames[static_cast<int>(scaling)]).Text("activation", relu2 ? "relu2" : "none");
  return std::move(quantize.Float("scale", scaling == Scaling::kStatic ? scale : 0));
}

Quantized RunQuantize(KernelFixture& quantize, const Floats& x, int64_t tokens) {
  const Status status = quantize.Prepare();
  EXPECT_TRUE(status.ok()) << status.message();
  quantize.SetInput("input", 0, x);
  TestSequence sequence = quantize.NewSequence();
  quantize.Step({&sequence}, {tokens});
  return {quantize.GetOutput("output", tokens), quantize.GetOutput("scale", tokens)};
}

TEST_P(QuantizeTest, MatchesTheReferenceToTheBit) {
  const auto check = [](DType dtype, int64_t width, int64_t tokens, Scaling scaling, bool relu2) {
    Floats x = Random(tokens * width, 1, 3);
    for (int64_t i = 0; i < width; ++i) {
      x[i] = 0;  // the first row has no maximum
    }
    const Quantized expected = reference::Quantize(x, width, scaling, 0.0123f, relu2, dtype);
    for (int threads : {1, 3}) {
      KernelFixture quantize = MakeQuantize(dtype, width, scaling, 0.0123f, relu2, tokens, threads);
      const Quantized found = RunQuantize(quantize, x, tokens);
      const std::string what =
          fmt::format("{} T {} K {} scaling {} relu2 {} threads {}, NEMOTRON_TEST_SEED={}", DTypeName(dtype), tokens,
                      width, static_cast<int>(scaling), relu2, threads, BaseSeed());
      ASSERT_EQ(found.scales, expected.scales) << what;
      ASSERT_EQ(found.values, expected.values) << what;
    }
  };
  for (DType dtype : kCodes) {
    for (int64_t width : {1, 2, 7, 15, 16, 17, 31, 64, 65, 1030}) {
      for (int64_t tokens : {1, 2, 9, 40}) {
        for (Scaling scaling : {Scaling::kToken, Scaling::kStep, Scaling::kStatic}) {
          for (bool relu2 : {false, true}) {
            check(dtype, width, tokens, scaling, relu2);
          }
        }
      }
    }
  }
}

// With scale 1 and 448 in each row, what comes out is the rounding alone: every code stays what it is, and halfway
// between two codes is the even one.
TEST_P(QuantizeTest, RoundsToNearestEven) {
  Floats x, expected;
  for (int code = 0; code < 256; ++code) {
    const float value = F8E4M3ToF32(static_cast<uint8_t>(code));
    if (std::isnan(value)) {
      continue;
    }
    x.push_back(value);
    expected.push_back(value);
    const float next = F8E4M3ToF32(static_cast<uint8_t>(code + 1));
    if (!std::isnan(next)) {
      x.push_back((value + next) / 2);
      expected.push_back(code % 2 == 0 ? value : next);
    }
  }
  KernelFixture quantize = MakeQuantize(DType::kF8E4M3, static_cast<int64_t>(x.size()), Scaling::kToken, 0, false);
  const Quantized found = RunQuantize(quantize, x, 1);
  EXPECT_EQ(found.scales, Floats{1});
  EXPECT_EQ(found.values, expected);
}

TEST_P(QuantizeTest, RoundsI8ToNearestEven) {
  Floats x, expected;
  for (int code = -127; code < 127; ++code) {
    const auto value = static_cast<float>(code);
    x.insert(x.end(), {value, value + 0.5f, std::nextafter(value + 0.5f, 1e9f)});
    expected.insert(expected.end(), {value, code % 2 == 0 ? value : value + 1, value + 1});
  }
  KernelFixture quantize = MakeQuantize(DType::kI8, static_cast<int64_t>(x.size()), Scaling::kToken, 0, false);
  const Quantized found = RunQuantize(quantize, x, 1);
  EXPECT_EQ(found.scales, Floats{1});
  EXPECT_EQ(found.values, expected);
}

// A NaN stays in its place: it does not count in the maximum, and no other row sees it. Nor does it hide in a tail.
TEST_P(QuantizeTest, NanStaysInItsPlace) {
  constexpr int64_t kTokens = 5, kWidth = 37;
  for (Scaling scaling : {Scaling::kToken, Scaling::kStep, Scaling::kStatic}) {
    for (int64_t at : {int64_t{0}, kWidth - 1, 2 * kWidth + 20, kTokens * kWidth - 1}) {
      Floats x = Random(kTokens * kWidth, 1);
      x[at] = 0;
      KernelFixture quantize = MakeQuantize(DType::kF8E4M3, kWidth, scaling, 0.01f, false);
      const Quantized clean = RunQuantize(quantize, x, kTokens);
      x[at] = std::numeric_limits<float>::quiet_NaN();
      Quantized found = RunQuantize(quantize, x, kTokens);
      EXPECT_EQ(found.scales, clean.scales);
      EXPECT_TRUE(std::isnan(found.values[at]));
      found.values[at] = 0;
      EXPECT_EQ(found.values, clean.values);
    }
  }
}

// I8 has no NaN: it takes the scale, and with it the products of its row, but no other row's.
TEST_P(QuantizeTest, NanMakesAnI8ScaleNan) {
  constexpr int64_t kTokens = 5, kWidth = 37;
  for (Scaling scaling : {Scaling::kToken, Scaling::kStep, Scaling::kStatic}) {
    for (int64_t at : {int64_t{0}, kWidth - 1, 2 * kWidth + 20, kTokens * kWidth - 1}) {
      Floats x = Random(kTokens * kWidth, 1);
      x[at] = 0;
      KernelFixture quantize = MakeQuantize(DType::kI8, kWidth, scaling, 0.01f, false);
      const Quantized clean = RunQuantize(quantize, x, kTokens);
      x[at] = std::numeric_limits<float>::quiet_NaN();
      Quantized found = RunQuantize(quantize, x, kTokens);
      EXPECT_EQ(found.values, clean.values);
      EXPECT_TRUE(std::isnan(found.scales[at / kWidth]));
      found.scales[at / kWidth] = clean.scales[at / kWidth];
      EXPECT_EQ(found.scales, clean.scales);
    }
  }
}

// What no scale fits: infinity makes its scale infinite and itself NaN, beyond a static scale all saturate.
TEST_P(QuantizeTest, InfinityAndSaturation) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  KernelFixture token = MakeQuantize(DType::kF8E4M3, 3, Scaling::kToken, 0, false);
  const Quantized found = RunQuantize(token, {-kInfinity, 1, 2, 1, 448, 2}, 2);
  EXPECT_EQ(found.scales, (Floats{kInfinity, 1}));
  EXPECT_TRUE(std::isnan(found.values[0]));
  EXPECT_EQ(found.values[1], 0);
  EXPECT_EQ(found.values[4], 448);
  KernelFixture fixed = MakeQuantize(DType::kF8E4M3, 4, Scaling::kStatic, 0.5f, false);
  EXPECT_EQ(RunQuantize(fixed, {-kInfinity, 1e30f, -300, 223}, 1).values, (Floats{-448, 448, -448, 448}));
}

TEST_P(QuantizeTest, InfinityAndSaturationOfI8) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  KernelFixture token = MakeQuantize(DType::kI8, 3, Scaling::kToken, 0, false);
  const Quantized found = RunQuantize(token, {-kInfinity, 1, 2, 1, 127, 2}, 2);
  EXPECT_TRUE(std::isnan(found.scales[0]));
  EXPECT_EQ(found.scales[1], 1);
  EXPECT_EQ(found.values, (Floats{0, 0, 0, 1, 127, 2}));
  KernelFixture fixed = MakeQuantize(DType::kI8, 4, Scaling::kStatic, 0.5f, false);
  const Quantized saturated = RunQuantize(fixed, {-kInfinity, 1e30f, -300, 63}, 1);
  EXPECT_EQ(saturated.values, (Floats{-127, 127, -127, 126}));
  EXPECT_EQ(saturated.scales, Floats{0.5f});
}

TEST_P(QuantizeTest, RowsSpace) {
  for (Scaling scaling : {Scaling::kToken, Scaling::kStep}) {
    const Floats x = Random(3 * 20, 1);
    KernelFixture quantize = MakeQuantize(DType::kF8E4M3, 20, scaling, 0, false, 64, 2, Space::kRow);
    ASSERT_TRUE(quantize.Prepare().ok());
    quantize.SetInput("input", 0, x);
    TestSequence sequence = quantize.NewSequence();
    quantize.Step({&sequence}, {5}, {0, 2, 4});
    EXPECT_EQ(quantize.GetOutput("output", 3), reference::Quantize(x, 20, scaling, 0, false).values);
    quantize.Step({&sequence}, {5}, {});  // no rows: nothing to do
  }
}

}  // namespace
}  // namespace nemotron::runtime::cpu
