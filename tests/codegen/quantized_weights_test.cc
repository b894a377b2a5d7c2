// Weights of codes of 8 bits, from a checkpoint to a plan file, against plain loops, bit for bit.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "codegen/WeightExpression.h"
#include "runtime/base/dtype.h"
#include "runtime/plan/layout.h"
#include "tests/codegen/plan_file_fixture.h"

namespace nemotron::codegen {
namespace {

using runtime::DType;
using testing::HasSubstr;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::vector<float> RandomValues(int64_t count, float deviation = 0.05f) {
  static std::mt19937 random(5);
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> values(count);
  std::generate(values.begin(), values.end(), [&] { return normal(random); });
  return values;
}

/// A scale for each `group` values.
std::vector<float> ScalesOf(std::span<const float> values, int64_t group, DType codes = DType::kF8E4M3) {
  std::vector<float> scales;
  for (size_t first = 0; first < values.size(); first += group) {
    float maximum = 0;
    for (int64_t i = 0; i < group; ++i) {
      maximum = std::max(maximum, std::fabs(values[first + i]));
    }
    scales.push_back(std::max(maximum / (codes == DType::kI8 ? 127.0f : 448.0f), 0x1p-126f));
  }
  return scales;
}

std::vector<uint8_t> Quantize(std::span<const float> values, const std::vector<float>& scales,
                              DType dtype = DType::kF8E4M3) {
  const size_t group = values.size() / scales.size();
  std::vector<uint8_t> codes;
  for (size_t i = 0; i < values.size(); ++i) {
    codes.push_back(runtime::F32ToCode(dtype, values[i] / scales[i / group]));
  }
  return codes;
}

/// A stack of `e` matrices [n, k] in panels, of I8 offset by 128.
std::vector<uint8_t> Panels(int64_t e, int64_t n, int64_t k, const std::vector<uint8_t>& codes,
                            DType dtype = DType::kF8E4M3) {
  const int64_t matrix_bytes = runtime::PanelMatrixBytes(dtype, n, k);
  const uint8_t offset = dtype == DType::kI8 ? 128 : 0;
  std::vector<uint8_t> packed(e * matrix_bytes, offset);
  for (int64_t i = 0; i < e * n * k; ++i) {
    const int64_t matrix = i / (n * k), row = i / k % n;
    packed[matrix * matrix_bytes + runtime::PanelElementIndex(dtype, k, row, i % k)] =
        static_cast<uint8_t>(codes[i] + offset);
  }
  return packed;
}

class QuantizedWeightsTest : public PlanFileTest {
 protected:
  /// Bytes of weight `index` as they lie in the file.
  static std::vector<uint8_t> Codes(const runtime::Plan& plan, int index, DType dtype = DType::kF8E4M3) {
    const schema::Weight& weight = *plan.root().weights()->Get(index);
    EXPECT_EQ(static_cast<DType>(weight.dtype()), dtype);
    const std::span<const std::byte> bytes = plan.SegmentBytes(*weight.segment());
    const auto* begin = reinterpret_cast<const uint8_t*>(bytes.data());
    return {begin, begin + bytes.size()};
  }

  /// A matrix @w and its scales @s, one a matrix ("1") or a row.
  static std::string MatrixAndScale(std::string_view type, std::string_view shape, std::string_view scale, bool packed,
                                    DType dtype = DType::kF8E4M3) {
    const std::string element = dtype == DType::kI8 ? "i8" : "f8E4M3FN";
    const std::string largest = dtype == DType::kI8 ? "{largest = 127.0 : f32} " : "";
    const std::string in = fmt::format("tensor<{}x{}>", shape, type);
    const std::string codes = fmt::format("tensor<{}x{}>", shape, element);
    const std::string out = packed ? fmt::format("tensor<{}x{}, #plan.layout<panel>>", shape, element) : codes;
    const std::string f32 = fmt::format("tensor<{}xf32>", scale);
    const std::string both = fmt::format(
        "%0 = nemotron.get_weight @m : {0}\n"
        "%1 = nemotron.absmax_scale %0 {2}: {0} to {1}\n",
        in, f32, largest);
    return fmt::format("nemotron.weight @m : {} from \"m\"\n", in) +
           fmt::format(
               "plan.weight @w : {4} {{\n {0}"
               "%2 = nemotron.quantize_weight %0, %1 : ({1}, {2}) -> {3}\n",
               both, in, f32, codes, out) +
           (packed ? fmt::format("%3 = plan.pack %2 : {0} to {1}\n plan.yield %3 : {1} }}\n", codes, out)
                   : fmt::format("plan.yield %2 : {0} }}\n", codes)) +
           fmt::format("plan.weight @s : {1} {{\n {0} plan.yield %1 : {1} }}\n", both, f32);
  }
};

/// Several blocks, several threads. The absolute maximum is one pass, whoever needs it, and the rounding is one more.
TEST_F(QuantizedWeightsTest, RoundsAMatrixByItsAbsoluteMaximum) {
  // The type on disk and that of the codes.
  constexpr std::tuple<DType, const char*, DType> kCases[] = {{DType::kF32, "f32", DType::kF8E4M3},
                                                              {DType::kBF16, "bf16", DType::kF8E4M3},
                                                              {DType::kF16, "f16", DType::kF8E4M3},
                                                              {DType::kBF16, "bf16", DType::kI8}};
  constexpr int64_t kRows = 1100, kColumns = 1501;
  const std::vector<float> values = RandomValues(kRows * kColumns);
  arguments_ = "weight = @w, weight_scale = @s";
  for (auto [dtype, type, to] : kCases) {
    source_.Add("m", dtype, {kRows, kColumns}, values);
    for (bool per_row : {false, true}) {
      const auto scales = ScalesOf(source_.values("m"), per_row ? kColumns : kRows * kColumns, to);
      const auto codes = Quantize(source_.values("m"), scales, to);
      for (bool packed : {false, true}) {
        SCOPED_TRACE(fmt::format("{} to {}{}{}", type, runtime::DTypeName(to), per_row ? ", a scale a row" : "",
                                 packed ? ", packed" : ""));
        options_.numThreads = packed ? 3 : 1;
        source_.released.clear();
        source_.bytes_read.clear();
        const auto plan = Write(MatrixAndScale(type, "1100x1501", per_row ? "1100" : "1", packed, to));
        ASSERT_TRUE(plan);
        EXPECT_EQ(Codes(*plan, 0, to), packed ? Panels(1, kRows, kColumns, codes, to) : codes);
        EXPECT_EQ(Elements(*plan, 1), scales);
        EXPECT_EQ(source_.bytes_read["m"], 2 * kRows * kColumns * runtime::SizeOf(dtype));
        EXPECT_THAT(source_.released, testing::ElementsAre("m"));
      }
    }
  }
}

TEST_F(QuantizedWeightsTest, ExpertsHaveAScaleEach) {
  const std::vector<float> values = RandomValues(5 * 20 * 33);
  source_.Add("m", DType::kBF16, {5, 20, 33}, values);
  for (auto [scale, group] : {std::pair("5x1", 20 * 33), {"5x20", 33}}) {
    source_.released.clear();
    const auto scales = ScalesOf(source_.values("m"), group);
    const auto plan = Write(MatrixAndScale("bf16", "5x20x33", scale, /*packed=*/true));
    ASSERT_TRUE(plan);
    EXPECT_EQ(Codes(*plan, 0), Panels(5, 20, 33, Quantize(source_.values("m"), scales)));
    EXPECT_EQ(Elements(*plan, 1), scales);
  }
}

TEST_F(QuantizedWeightsTest, GroupsHaveAScaleEach) {
  source_.Add("m", DType::kBF16, {5, 20, 96}, RandomValues(5 * 20 * 96));
  const auto scales = ScalesOf(source_.values("m"), 32, DType::kI8);
  const auto plan = Write(MatrixAndScale("bf16", "5x20x96", "5x20x3", /*packed=*/true, DType::kI8));
  ASSERT_TRUE(plan);
  EXPECT_EQ(Codes(*plan, 0, DType::kI8),
            Panels(5, 20, 96, Quantize(source_.values("m"), scales, DType::kI8), DType::kI8));
  EXPECT_EQ(Elements(*plan, 1), scales);
}

TEST_F(QuantizedWeightsTest, ZerosHaveTheSmallestScale) {
  source_.Add("m", DType::kBF16, {4, 8}, std::vector<float>(32, 0.0f));
  const auto plan = Write(MatrixAndScale("bf16", "4x8", "4", /*packed=*/false));
  ASSERT_TRUE(plan);
  EXPECT_EQ(Codes(*plan, 0), std::vector<uint8_t>(32, 0));
  EXPECT_EQ(Elements(*plan, 1), std::vector<float>(4, 0x1p-126f));
}

/// As fuse-qkv leaves it: matrices with a scale each become rows with a scale each.
constexpr const char* kJoined = R"(
  nemotron.weight @q : tensor<6x40xbf16> from "q"
  nemotron.weight @k : tensor<4x40xbf16> from "k"
  plan.weight @w : tensor<10x40xf8E4M3FN, #plan.layout<panel>> {
    %q = nemotron.get_weight @q : tensor<6x40xbf16>
    %k = nemotron.get_weight @k : tensor<4x40xbf16>
    %qs = nemotron.absmax_scale %q : tensor<6x40xbf16> to tensor<1xf32>
    %ks = nemotron.absmax_scale %k : tensor<4x40xbf16> to tensor<1xf32>
    %qq = nemotron.quantize_weight %q, %qs : (tensor<6x40xbf16>, tensor<1xf32>) -> tensor<6x40xf8E4M3FN>
    %kq = nemotron.quantize_weight %k, %ks : (tensor<4x40xbf16>, tensor<1xf32>) -> tensor<4x40xf8E4M3FN>
    %j = nemotron.concat %qq, %kq : (tensor<6x40xf8E4M3FN>, tensor<4x40xf8E4M3FN>) -> tensor<10x40xf8E4M3FN>
    %p = plan.pack %j : tensor<10x40xf8E4M3FN> to tensor<10x40xf8E4M3FN, #plan.layout<panel>>
    plan.yield %p : tensor<10x40xf8E4M3FN, #plan.layout<panel>>
  }
  plan.weight @s : tensor<10xf32> {
    %q = nemotron.get_weight @q : tensor<6x40xbf16>
    %k = nemotron.get_weight @k : tensor<4x40xbf16>
    %qs = nemotron.absmax_scale %q : tensor<6x40xbf16> to tensor<1xf32>
    %ks = nemotron.absmax_scale %k : tensor<4x40xbf16> to tensor<1xf32>
    %qb = nemotron.broadcast %qs : tensor<1xf32> to tensor<6xf32>
    %kb = nemotron.broadcast %ks : tensor<1xf32> to tensor<4xf32>
    %j = nemotron.concat %qb, %kb : (tensor<6xf32>, tensor<4xf32>) -> tensor<10xf32>
    plan.yield %j : tensor<10xf32>
  })";

TEST_F(QuantizedWeightsTest, JoinedMatricesKeepTheirScales) {
  source_.Add("q", DType::kBF16, {6, 40}, RandomValues(240));
  source_.Add("k", DType::kBF16, {4, 40}, RandomValues(160, 7));
  const auto plan = Write(kJoined);
  ASSERT_TRUE(plan);
  const auto q = ScalesOf(source_.values("q"), 240), k = ScalesOf(source_.values("k"), 160);
  std::vector<uint8_t> codes = Quantize(source_.values("q"), q);
  const std::vector<uint8_t> more = Quantize(source_.values("k"), k);
  codes.insert(codes.end(), more.begin(), more.end());
  std::vector<float> scales(6, q[0]);
  scales.insert(scales.end(), 4, k[0]);
  EXPECT_EQ(Codes(*plan, 0), Panels(1, 10, 40, codes));
  EXPECT_EQ(Elements(*plan, 1), scales);
  EXPECT_EQ(source_.bytes_read["q"], 2 * 240 * 2);
}

/// All codes but the NaNs, among them -0 and numbers that no rounding of a float32 to this scale would give.
TEST_F(QuantizedWeightsTest, StoredBitsArriveUnchanged) {
  std::vector<float> values;
  for (int code = 0; code < 256; ++code) {
    values.push_back(runtime::F8E4M3ToF32(static_cast<uint8_t>(code % 128 == 127 ? 0x80 : code)));
  }
  source_.Add("m", DType::kF8E4M3, {8, 32}, values);
  source_.Add("s", DType::kBF16, {8, 1}, std::vector<float>(8, 0.0125f));
  arguments_ = "weight = @w, weight_scale = @s";
  const auto plan = Write(R"(
    nemotron.weight @m : tensor<8x32xf8E4M3FN> from "m"
    nemotron.weight @t : tensor<8x1xbf16> from "s"
    plan.weight @w : tensor<8x32xf8E4M3FN, #plan.layout<panel>> {
      %0 = nemotron.get_weight @m : tensor<8x32xf8E4M3FN>
      %1 = plan.pack %0 : tensor<8x32xf8E4M3FN> to tensor<8x32xf8E4M3FN, #plan.layout<panel>>
      plan.yield %1 : tensor<8x32xf8E4M3FN, #plan.layout<panel>>
    }
    plan.weight @s : tensor<8xf32> {
      %0 = nemotron.get_weight @t : tensor<8x1xbf16>
      %1 = nemotron.reshape %0 : tensor<8x1xbf16> to tensor<8xbf16>
      %2 = nemotron.cast %1 : tensor<8xbf16> to tensor<8xf32>
      plan.yield %2 : tensor<8xf32>
    }
    plan.weight @stack : tensor<2x4x32xf8E4M3FN> {
      %0 = nemotron.get_weight @m : tensor<8x32xf8E4M3FN>
      %1 = nemotron.slice %0 from 4 : tensor<8x32xf8E4M3FN> to tensor<4x32xf8E4M3FN>
      %2 = nemotron.slice %0 from 0 : tensor<8x32xf8E4M3FN> to tensor<4x32xf8E4M3FN>
      %3 = nemotron.stack %1, %2 : (tensor<4x32xf8E4M3FN>, tensor<4x32xf8E4M3FN>) -> tensor<2x4x32xf8E4M3FN>
      plan.yield %3 : tensor<2x4x32xf8E4M3FN>
    })");
  ASSERT_TRUE(plan);
  const auto* begin = reinterpret_cast<const uint8_t*>(source_.bytes("m").data());
  std::vector<uint8_t> stored(begin, begin + 256);
  EXPECT_EQ(Codes(*plan, 0), Panels(1, 8, 32, stored));
  EXPECT_EQ(Elements(*plan, 1), std::vector<float>(8, runtime::BF16ToF32(runtime::F32ToBF16(0.0125f))));
  std::rotate(stored.begin(), stored.begin() + 128, stored.end());
  EXPECT_EQ(Codes(*plan, 2), stored);
}

/// Ranges of a tree of all transforms with scales agree with the whole, wherever they are cut.
TEST_F(QuantizedWeightsTest, RangesAreCutAnywhere) {
  source_.Add("m", DType::kF8E4M3, {2, 3, 4});
  source_.Add("s", DType::kF32, {2, 1}, {0.5f, 0.003f});
  auto module = Parse(R"(
    nemotron.weight @m : tensor<2x3x4xf8E4M3FN> from "m"
    nemotron.weight @s : tensor<2x1xf32> from "s"
    plan.weight @w : tensor<7x4xf32> {
      %m = nemotron.get_weight @m : tensor<2x3x4xf8E4M3FN>
      %s = nemotron.get_weight @s : tensor<2x1xf32>
      %f = nemotron.dequantize %m, %s : (tensor<2x3x4xf8E4M3FN>, tensor<2x1xf32>) -> tensor<2x3x4xf32>
      %r = nemotron.absmax_scale %f : tensor<2x3x4xf32> to tensor<2x3xf32>
      %q = nemotron.quantize_weight %f, %r : (tensor<2x3x4xf32>, tensor<2x3xf32>) -> tensor<2x3x4xf8E4M3FN>
      %b = nemotron.broadcast %s : tensor<2x1xf32> to tensor<2x3xf32>
      %d = nemotron.dequantize %q, %b : (tensor<2x3x4xf8E4M3FN>, tensor<2x3xf32>) -> tensor<2x3x4xf32>
      %0 = nemotron.reshape %d : tensor<2x3x4xf32> to tensor<6x4xf32>
      %1 = nemotron.fill 0.0125 : tensor<1x4xf32>
      %2 = nemotron.concat %0, %1 : (tensor<6x4xf32>, tensor<1x4xf32>) -> tensor<7x4xf32>
      plan.yield %2 : tensor<7x4xf32>
    })");
  mlir::SymbolTable symbols(*module);
  SharedScales shared;
  auto expression = WeightExpression::create(symbols.lookup<plan::WeightOp>("w"), source_, symbols, shared);
  ASSERT_TRUE(mlir::succeeded(expression)) << errors_;
  std::vector<float> values = source_.values("m");
  for (int i = 0; i < 24; ++i) {
    values[i] *= source_.values("s")[i / 12];
  }
  const std::vector<uint8_t> codes = Quantize(values, ScalesOf(values, 4));
  std::vector<float> expected(28, 0.0125f);
  for (int i = 0; i < 24; ++i) {
    expected[i] = runtime::F8E4M3ToF32(codes[i]) * source_.values("s")[i / 12];
  }
  for (int64_t first = 0; first < 28; ++first) {
    for (int64_t count = 0; count <= 28 - first; ++count) {
      std::vector<float> found(count);
      ASSERT_TRUE(expression->read(first, count, reinterpret_cast<std::byte*>(found.data())).ok());
      ASSERT_EQ(found, std::vector<float>(expected.begin() + first, expected.begin() + first + count));
      if (count == 5) {
        expression->forget();  // what is asked for again is computed again
      }
    }
  }
}

/// Scales are kept while a weight needs them, and only those of what is equal are shared.
TEST_F(QuantizedWeightsTest, EqualScalesAreShared) {
  auto module = Parse(kJoined);
  source_.Add("q", DType::kBF16, {6, 40}, RandomValues(240));
  source_.Add("k", DType::kBF16, {4, 40}, RandomValues(160));
  mlir::SymbolTable symbols(*module);
  SharedScales shared;
  auto make = [&](const char* name) {
    return WeightExpression::create(symbols.lookup<plan::WeightOp>(name), source_, symbols, shared);
  };
  auto matrix = make("w"), scale = make("s"), again = make("s");
  ASSERT_TRUE(mlir::succeeded(matrix) && mlir::succeeded(scale) && mlir::succeeded(again));
  std::vector<float> scales(10);
  const auto read = [&](WeightExpression& expression) {
    EXPECT_TRUE(expression.read(0, 10, reinterpret_cast<std::byte*>(scales.data())).ok());
  };
  read(*scale);
  EXPECT_EQ(source_.bytes_read["q"], 480);
  scale->forget();
  read(*again);
  EXPECT_EQ(source_.bytes_read["q"], 480);
  again->forget();
  matrix->forget();
  auto later = make("s");
  read(*later);
  EXPECT_EQ(source_.bytes_read["q"], 960);
  EXPECT_EQ(scales.front(), ScalesOf(source_.values("q"), 240)[0]);
  EXPECT_EQ(scales.back(), ScalesOf(source_.values("k"), 160)[0]);
}

//===----------------------------------------------------------------------===//
// Errors
//===----------------------------------------------------------------------===//

TEST_F(QuantizedWeightsTest, WhatIsQuantizedMustBeFinite) {
  for (auto [value, text] : {std::pair(kNaN, "nan"), {kInfinity, "inf"}, {-kInfinity, "-inf"}}) {
    std::vector<float> values = RandomValues(160);
    values[87] = value;
    source_.Add("q", DType::kBF16, {6, 40}, RandomValues(240));
    source_.Add("k", DType::kBF16, {4, 40}, values);
    const std::string error = WriteFails(kJoined);
    EXPECT_THAT(error, HasSubstr(fmt::format(
                           "cannot make weight 'w': tensor 'k' is {} at element 87, expected a finite number", text)));
    errors_.clear();
  }
}

/// The scale is given, so that nothing but the rounding looks at the matrix. The element is found through all
/// transforms.
TEST_F(QuantizedWeightsTest, WhatIsQuantizedByAGivenScaleMustBeFinite) {
  std::vector<float> values = RandomValues(40);
  values[2 * 5 + 3] =
      kInfinity;  // row 2, column 3 of [8, 5]; row 3 of what is turned has column 1 of a slice from row 1
  source_.Add("a", DType::kF32, {3, 5});
  source_.Add("m", DType::kF32, {8, 5}, values);
  EXPECT_THAT(WriteFails(R"(
    nemotron.weight @a : tensor<3x5xf32> from "a"
    nemotron.weight @m : tensor<8x5xf32> from "m"
    plan.weight @w : tensor<8x3xf8E4M3FN> {
      %a = nemotron.get_weight @a : tensor<3x5xf32>
      %m = nemotron.get_weight @m : tensor<8x5xf32>
      %s = nemotron.slice %m from 1 : tensor<8x5xf32> to tensor<3x5xf32>
      %t = nemotron.transpose %s : tensor<3x5xf32> to tensor<5x3xf32>
      %r = nemotron.slice %a from 0 : tensor<3x5xf32> to tensor<3x5xf32>
      %h = nemotron.reshape %r : tensor<3x5xf32> to tensor<5x3xf32>
      %i = nemotron.slice %h from 0 : tensor<5x3xf32> to tensor<3x3xf32>
      %j = nemotron.concat %i, %t : (tensor<3x3xf32>, tensor<5x3xf32>) -> tensor<8x3xf32>
      %f = nemotron.fill 0.5 : tensor<8xf32>
      %q = nemotron.quantize_weight %j, %f : (tensor<8x3xf32>, tensor<8xf32>) -> tensor<8x3xf8E4M3FN>
      plan.yield %q : tensor<8x3xf8E4M3FN>
    })"),
              HasSubstr("cannot make weight 'w': tensor 'm' is inf at element 13, expected a finite number"));
}

TEST_F(QuantizedWeightsTest, StoredCodesMustBeNumbers) {
  for (float value : {kNaN, -kNaN}) {
    std::vector<float> values(300 * 1000);
    values[299001] = value;
    source_.Add("m", DType::kF8E4M3, {300, 1000}, values);
    EXPECT_THAT(WriteFails(R"(
      nemotron.weight @m : tensor<300x1000xf8E4M3FN> from "m"
      plan.weight @w : tensor<200x1000xf8E4M3FN, #plan.layout<panel>> {
        %0 = nemotron.get_weight @m : tensor<300x1000xf8E4M3FN>
        %1 = nemotron.slice %0 from 100 : tensor<300x1000xf8E4M3FN> to tensor<200x1000xf8E4M3FN>
        %2 = plan.pack %1 : tensor<200x1000xf8E4M3FN> to tensor<200x1000xf8E4M3FN, #plan.layout<panel>>
        plan.yield %2 : tensor<200x1000xf8E4M3FN, #plan.layout<panel>>
      })"),
                testing::ContainsRegex("cannot make weight 'w': tensor 'm' is -?nan at element 299001, expected a "
                                       "finite number"));
    errors_.clear();
  }
}

/// What a matrix is divided by, and what a kernel takes as scales.
TEST_F(QuantizedWeightsTest, ScalesMustBePositiveAndFinite) {
  source_.Add("m", DType::kF32, {4, 8});
  source_.Add("c", DType::kF8E4M3, {4, 8});
  const std::string tensors = R"(
    nemotron.weight @m : tensor<4x8xf32> from "m"
    nemotron.weight @c : tensor<4x8xf8E4M3FN> from "c"
    nemotron.weight @t : tensor<2xbf16> from "t"
    plan.weight @w : )";
  const std::string scales = R"({
      %t = nemotron.get_weight @t : tensor<2xbf16>
      %f = nemotron.cast %t : tensor<2xbf16> to tensor<2xf32>
      %1 = nemotron.slice %f from 1 : tensor<2xf32> to tensor<1xf32>
      %b = nemotron.broadcast %1 : tensor<1xf32> to tensor<4xf32>
)";
  const std::string as_divisor = tensors + "tensor<4x8xf8E4M3FN>" + scales + R"(
      %m = nemotron.get_weight @m : tensor<4x8xf32>
      %q = nemotron.quantize_weight %m, %b : (tensor<4x8xf32>, tensor<4xf32>) -> tensor<4x8xf8E4M3FN>
      plan.yield %q : tensor<4x8xf8E4M3FN>
    })";
  const std::string as_factor = tensors + "tensor<4x8xf32>" + scales + R"(
      %c = nemotron.get_weight @c : tensor<4x8xf8E4M3FN>
      %q = nemotron.dequantize %c, %b : (tensor<4x8xf8E4M3FN>, tensor<4xf32>) -> tensor<4x8xf32>
      plan.yield %q : tensor<4x8xf32>
    })";
  const std::string as_weight = tensors + "tensor<4xf32>" + scales + "plan.yield %b : tensor<4xf32> }";
  for (auto [value, text] : {std::pair(0.0f, "0"), {-2.0f, "-2"}, {kNaN, "nan"}, {kInfinity, "inf"}}) {
    source_.Add("t", DType::kBF16, {2}, {1.0f, value});
    for (const std::string& weight : {as_divisor, as_factor, as_weight}) {
      arguments_ = weight == as_weight ? "weight_scale = @w" : "weight = @w";
      EXPECT_THAT(WriteFails(weight), HasSubstr(fmt::format("cannot make weight 'w': tensor 't' is {} at element 1, "
                                                            "expected a scale: a positive, finite number",
                                                            text)));
      errors_.clear();
    }
  }
  arguments_ = "weight = @w";  // not a scale: any number will do
  source_.Add("t", DType::kBF16, {2}, {1.0f, 0.0f});
  EXPECT_TRUE(Write(as_weight));
}

TEST_F(QuantizedWeightsTest, ConstantScalesMustBePositive) {
  arguments_ = "weight = @w, up_input_scale = @s";
  source_.Add("w", DType::kF32, {4});
  EXPECT_THAT(WriteFails(R"(
    nemotron.weight @m : tensor<4xf32> from "w"
    plan.weight @w : tensor<4xf32> {
      %0 = nemotron.get_weight @m : tensor<4xf32>
      plan.yield %0 : tensor<4xf32>
    }
    plan.weight @s : tensor<8xf32> {
      %0 = nemotron.fill -0.5 : tensor<8xf32>
      plan.yield %0 : tensor<8xf32>
    })"),
              HasSubstr("cannot make weight 's': a constant is -0.5, expected a scale: a positive, finite number"));
}

}  // namespace
}  // namespace nemotron::codegen
