#include "codegen/Elements.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

namespace nemotron::codegen {
namespace {

using runtime::DType;

template <typename T>
std::vector<T> ConvertAll(DType from, DType to, const auto& values) {
  std::vector<T> result(values.size());
  convertElements(from, reinterpret_cast<const std::byte*>(values.data()), to,
                  reinterpret_cast<std::byte*>(result.data()), static_cast<int64_t>(values.size()));
  return result;
}

/// Bit patterns of all kinds: random ones, and those around the limits of the 16-bit types.
std::vector<uint32_t> InterestingF32() {
  std::mt19937 random(1);
  std::vector<uint32_t> bits;
  for (int i = 0; i < 200000; ++i) {
    bits.push_back(random());
  }
  for (uint32_t high = 0; high < 0x10000; ++high) {
    for (uint32_t low : {0x0000u, 0x0001u, 0x0FFFu, 0x1000u, 0x1001u, 0x7FFFu, 0x8000u, 0x8001u, 0xFFFFu}) {
      bits.push_back(high << 16 | low);
    }
  }
  return bits;
}

TEST(ConvertElements, WidensEvery16BitValueExactly) {
  std::vector<uint16_t> all(0x10000);
  for (size_t i = 0; i < all.size(); ++i) {
    all[i] = static_cast<uint16_t>(i);
  }
  const auto from_f16 = ConvertAll<uint32_t>(DType::kF16, DType::kF32, all);
  const auto from_bf16 = ConvertAll<uint32_t>(DType::kBF16, DType::kF32, all);
  for (uint16_t bits : all) {
    const float expected = runtime::F16ToF32(bits);
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(std::bit_cast<float>(from_f16[bits]))) << bits;
    } else {
      ASSERT_EQ(from_f16[bits], std::bit_cast<uint32_t>(expected)) << bits;
    }
    ASSERT_EQ(from_bf16[bits], uint32_t{bits} << 16);
  }
}

TEST(ConvertElements, RoundsToNearestEven) {
  const std::vector<uint32_t> values = InterestingF32();
  const auto bf16 = ConvertAll<uint16_t>(DType::kF32, DType::kBF16, values);
  const auto f16 = ConvertAll<uint16_t>(DType::kF32, DType::kF16, values);
  for (size_t i = 0; i < values.size(); ++i) {
    const float value = std::bit_cast<float>(values[i]);
    ASSERT_EQ(bf16[i], runtime::F32ToBF16(value)) << std::hex << values[i];
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(runtime::F16ToF32(f16[i]))) << std::hex << values[i];
    } else {
      ASSERT_EQ(f16[i], std::bit_cast<uint16_t>(static_cast<_Float16>(value))) << std::hex << values[i];
    }
  }
}

TEST(ConvertElements, F16ToBF16RoundsOnce) {
  std::vector<uint16_t> all(0x7C01);
  for (size_t i = 0; i < all.size(); ++i) {
    all[i] = static_cast<uint16_t>(i);
  }
  const auto converted = ConvertAll<uint16_t>(DType::kF16, DType::kBF16, all);
  for (uint16_t bits : all) {
    ASSERT_EQ(converted[bits], runtime::F32ToBF16(runtime::F16ToF32(bits))) << bits;
  }
}

TEST(ConvertElements, TakesMisalignedPointers) {
  const std::vector<uint16_t> values{0x3F80, 0x4000, 0x4040};
  std::vector<std::byte> input(7), output(13);
  std::memcpy(input.data() + 1, values.data(), 6);
  convertElements(DType::kBF16, input.data() + 1, DType::kF32, output.data() + 1, 3);
  float result[3];
  std::memcpy(result, output.data() + 1, 12);
  EXPECT_EQ(result[0], 1.0f);
  EXPECT_EQ(result[2], 3.0f);
}

/// `values` rounded to `dtype`, as bytes that begin at an odd address.
std::vector<std::byte> BytesOf(DType dtype, const std::vector<float>& values) {
  std::vector<std::byte> bytes(1 + values.size() * runtime::SizeOf(dtype));
  convertElements(DType::kF32, reinterpret_cast<const std::byte*>(values.data()), dtype, bytes.data() + 1,
                  static_cast<int64_t>(values.size()));
  return bytes;
}

std::vector<float> RandomValues(size_t count) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0, 0.05f);
  std::vector<float> values(count);
  std::generate(values.begin(), values.end(), [&] { return normal(random); });
  return values;
}

constexpr DType kFloats[] = {DType::kF32, DType::kBF16, DType::kF16};

void expectPlainLoop(DType to) {
  const std::vector<float> values = RandomValues(997);
  for (DType dtype : kFloats) {
    for (auto [first, group] : {std::pair<int64_t, int64_t>{0, 997}, {0, 7}, {5, 7}, {3, 1000}, {0, 1}}) {
      RunScales scales{{}, first, group};
      for (int64_t i = 0; i <= (first + 996) / group; ++i) {
        scales.scales.push_back(0.0001f * static_cast<float>(1 + i % 5));
      }
      const std::vector<std::byte> input = BytesOf(dtype, values);
      std::vector<uint8_t> found(values.size() + 1, 0xAB), expected(values.size());
      quantizeElements(dtype, input.data() + 1, scales, to, reinterpret_cast<std::byte*>(found.data()), 997);
      for (int64_t i = 0; i < 997; ++i) {
        const float value = loadElement(dtype, input.data() + 1 + i * runtime::SizeOf(dtype));
        expected[i] = runtime::F32ToCode(to, value / scales.scales[(first + i) / group]);
      }
      EXPECT_EQ(found.back(), 0xAB) << "guard byte";
      found.pop_back();
      EXPECT_EQ(found, expected) << runtime::DTypeName(dtype) << " first " << first << " group " << group;
    }
  }
}

TEST(QuantizeElements, DividesAndRoundsAsAPlainLoop) {
  expectPlainLoop(DType::kF8E4M3);
  expectPlainLoop(DType::kI8);
}

TEST(QuantizeElements, SaturatesAndRoundsI8ToEven) {
  const std::vector<float> values{254, 1e6f, -1e6f, 1, 3, -1, -3, 0.0f, -0.0f, 1.01f};  // of scale 2
  std::vector<int8_t> found(values.size());
  quantizeElements(DType::kF32, BytesOf(DType::kF32, values).data() + 1, {{2.0f}, 0, 10}, DType::kI8,
                   reinterpret_cast<std::byte*>(found.data()), 10);
  EXPECT_EQ(found, (std::vector<int8_t>{127, 127, -127, 0, 2, 0, -2, 0, 0, 1}));
}

TEST(QuantizeElements, SaturatesAndRoundsToEven) {
  // Of scale 2: the largest number, above it, half a step between two numbers, and below the smallest number.
  const std::vector<float> values{896, 1e6f, -1e6f, 2 * 17.0f, 2 * 19.0f, 0.0f, -0.0f, 0x1p-9f, 0x1.8p-8f};
  std::vector<uint8_t> found(values.size());
  quantizeElements(DType::kF32, BytesOf(DType::kF32, values).data() + 1, {{2.0f}, 0, 9}, DType::kF8E4M3,
                   reinterpret_cast<std::byte*>(found.data()), 9);
  EXPECT_EQ(found, (std::vector<uint8_t>{0x7E, 0x7E, 0xFE, 0x58, 0x5A, 0x00, 0x80, 0x00, 0x02}));
}

TEST(DequantizeElements, IsOneProductInF32) {
  std::vector<uint8_t> codes(256);
  std::iota(codes.begin(), codes.end(), uint8_t{0});
  const RunScales scales{{0.1f, 3e-39f, 0.7f}, 1, 100};
  std::vector<float> found(256);
  dequantizeElements(reinterpret_cast<const std::byte*>(codes.data()), scales,
                     reinterpret_cast<std::byte*>(found.data()), 256);
  for (int i = 0; i < 256; ++i) {
    const float expected = runtime::F8E4M3ToF32(codes[i]) * scales.scales[(1 + i) / 100];
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(found[i])) << i;
    } else {
      EXPECT_EQ(std::bit_cast<uint32_t>(found[i]), std::bit_cast<uint32_t>(expected)) << i;
    }
  }
}

TEST(AbsoluteMaximum, IsFoundAtEveryPlace) {
  for (DType dtype : kFloats) {
    EXPECT_EQ(absoluteMaximum(dtype, nullptr, 0), 0.0f);
    for (int64_t place = 0; place < 100; ++place) {
      std::vector<float> values = RandomValues(100);
      values[place] = place % 2 == 0 ? 17.5f : -17.5f;
      EXPECT_EQ(absoluteMaximum(dtype, BytesOf(dtype, values).data() + 1, 100), 17.5f) << place;
    }
  }
}

TEST(FindNotFinite, FindsTheFirst) {
  const float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  for (DType dtype : kFloats) {
    EXPECT_EQ(findNotFinite(dtype, nullptr, 0), -1);
    for (float bad : {infinity, -infinity, nan, -nan}) {
      for (int64_t place : {0, 1, 50, 98}) {
        std::vector<float> values = RandomValues(100);
        EXPECT_EQ(findNotFinite(dtype, BytesOf(dtype, values).data() + 1, 100), -1);
        values[place] = values[99] = bad;
        EXPECT_EQ(findNotFinite(dtype, BytesOf(dtype, values).data() + 1, 100), place);
      }
    }
  }
  // The largest finite numbers, of which an infinity differs in one bit.
  const std::vector<uint16_t> bf16{0xFF7F, 0x7F7F, 0x7F80}, f16{0xFBFF, 0x7BFF, 0x7C00};
  EXPECT_EQ(findNotFinite(DType::kBF16, reinterpret_cast<const std::byte*>(bf16.data()), 3), 2);
  EXPECT_EQ(findNotFinite(DType::kF16, reinterpret_cast<const std::byte*>(f16.data()), 3), 2);
}

TEST(FindNotFinite, KnowsTheTwoNaNsOf8Bits) {
  std::vector<uint8_t> codes(1024);
  for (size_t i = 0; i < codes.size(); ++i) {
    codes[i] = i % 128 == 127 ? 0x7E : static_cast<uint8_t>(i);
  }
  const auto* bytes = reinterpret_cast<const std::byte*>(codes.data());
  EXPECT_EQ(findNotFinite(DType::kF8E4M3, bytes, 1024), -1);
  for (uint8_t nan : {0x7F, 0xFF}) {
    codes[1000] = nan;
    EXPECT_EQ(findNotFinite(DType::kF8E4M3, bytes, 1024), 1000);
  }
}

}  // namespace
}  // namespace nemotron::codegen
