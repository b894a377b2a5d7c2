#include "codegen/cpu/Packing.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "runtime/plan/layout.h"

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

struct PackCase {
  DType from, to;
  int64_t e, n, k;
};

class PackPanels : public testing::TestWithParam<PackCase> {};

/// Packs in runs of several lengths; compares each element, the padding, and guard bytes.
TEST_P(PackPanels, PutsEveryElementInItsPlace) {
  const auto [from, to, e, n, k] = GetParam();
  std::mt19937 random(7);
  std::vector<std::byte> input(e * n * k * runtime::SizeOf(from));
  std::vector<float> values(e * n * k);
  for (size_t i = 0; i < values.size(); ++i) {
    const float value = static_cast<float>(static_cast<int>(random() % 2001) - 1000) / 64;
    const auto bits = std::bit_cast<uint32_t>(value);
    convertElements(DType::kF32, reinterpret_cast<const std::byte*>(&bits), from,
                    input.data() + i * runtime::SizeOf(from), 1);
    convertElements(from, input.data() + i * runtime::SizeOf(from), DType::kF32,
                    reinterpret_cast<std::byte*>(&values[i]), 1);
  }
  const int64_t matrix_elements = runtime::NumPanels(n) * runtime::PanelElements(to, k);
  const int64_t bytes = e * runtime::PanelMatrixBytes(to, n, k);
  for (int64_t step : {int64_t{1}, int64_t{2}, int64_t{3}, e * runtime::NumPanels(n)}) {
    std::vector<std::byte> output(bytes + 64, std::byte{0xAB});
    PanelRun run{from, to, n, k, 0, 0};
    const int64_t total = e * runtime::NumPanels(n);
    int64_t written = 0;
    for (; run.first < total; run.first += step) {
      run.count = std::min(step, total - run.first);
      packPanels(run, input.data() + run.elementOf(run.first) * runtime::SizeOf(from), output.data() + written);
      written += run.outputBytes();
    }
    ASSERT_EQ(written, bytes);
    for (int64_t i = bytes; i < bytes + 64; ++i) {
      ASSERT_EQ(output[i], std::byte{0xAB}) << "guard byte " << i - bytes;
    }
    std::vector<float> expected(e * matrix_elements, 0.0f), found(e * matrix_elements);
    for (int64_t matrix = 0; matrix < e; ++matrix) {
      for (int64_t row = 0; row < n; ++row) {
        for (int64_t column = 0; column < k; ++column) {
          const float value = values[(matrix * n + row) * k + column];
          expected[matrix * matrix_elements + runtime::PanelElementIndex(to, k, row, column)] =
              to == DType::kF32 ? value : runtime::BF16ToF32(runtime::F32ToBF16(value));
        }
      }
    }
    convertElements(to, output.data(), DType::kF32, reinterpret_cast<std::byte*>(found.data()),
                    static_cast<int64_t>(found.size()));
    ASSERT_EQ(found, expected) << "runs of " << step << " panels";
  }
}

std::vector<PackCase> PackCases() {
  std::vector<PackCase> cases;
  for (DType from : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (DType to : {DType::kF32, DType::kBF16}) {
      // From one base shape, one number changed at a time; then odd ones, and more than a tile of 128 words.
      for (auto [e, n, k] : {std::tuple<int64_t, int64_t, int64_t>{1, 32, 64},
                             {1, 1, 64},
                             {1, 17, 64},
                             {1, 31, 64},
                             {1, 32, 1},
                             {1, 32, 2},
                             {1, 32, 3},
                             {1, 32, 127},
                             {1, 32, 128},
                             {1, 32, 129},
                             {1, 32, 255},
                             {1, 32, 257},
                             {2, 32, 64},
                             {5, 20, 33},
                             {3, 16, 301}}) {
        cases.push_back({from, to, e, n, k});
      }
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Shapes, PackPanels, testing::ValuesIn(PackCases()), [](const auto& info) {
  const PackCase& c = info.param;
  return fmt::format("{}To{}_{}x{}x{}", runtime::DTypeName(c.from), runtime::DTypeName(c.to), c.e, c.n, c.k);
});

}  // namespace
}  // namespace nemotron::codegen
