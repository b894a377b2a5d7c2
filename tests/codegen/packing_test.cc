#include "codegen/Packing.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

#include "codegen/Elements.h"
#include "runtime/plan/layout.h"

namespace nemotron::codegen {
namespace {

using runtime::DType;

struct PackCase {
  schema::Layout layout;
  DType from, to;
  int64_t e, n, k;
};

class PackPanelsTest : public testing::TestWithParam<PackCase> {};

/// Packs in runs of several lengths; compares each element, the padding, and guard bytes.
TEST_P(PackPanelsTest, PutsEveryElementInItsPlace) {
  const auto [layout, from, to, e, n, k] = GetParam();
  const bool is_panel = layout == schema::Layout::Panel;
  const int64_t input_size = runtime::SizeOf(from), output_size = runtime::SizeOf(to);
  std::mt19937 random(7);
  std::vector<std::byte> input(e * n * k * input_size);
  for (int64_t i = 0; i < e * n * k; ++i) {
    const float value = static_cast<float>(static_cast<int>(random() % 2001) - 1000) / 64;
    const uint8_t code = static_cast<uint8_t>(random());
    if (runtime::IsCode(from)) {
      input[i] = std::byte{code};
    } else {
      convertElements(DType::kF32, reinterpret_cast<const std::byte*>(&value), from, &input[i * input_size], 1);
    }
  }
  const int64_t panel_elements = is_panel ? runtime::PanelElements(to, k) : runtime::FragmentElements(to, k);
  const int64_t matrix_elements = runtime::NumPanels(n) * panel_elements;
  const int64_t bytes = e * matrix_elements * output_size;
  for (int64_t step : {int64_t{1}, int64_t{2}, int64_t{3}, e * runtime::NumPanels(n)}) {
    std::vector<std::byte> output(bytes + 64, std::byte{0xAB});
    PanelRun run{layout, from, to, n, k, 0, 0};
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
    // I8 is offset by 128, padding too.
    const std::byte flipped = std::byte(to == DType::kI8 ? 0x80 : 0);
    std::vector<std::byte> expected(bytes, flipped);
    for (int64_t matrix = 0; matrix < e; ++matrix) {
      for (int64_t row = 0; row < n; ++row) {
        for (int64_t column = 0; column < k; ++column) {
          const int64_t index =
              matrix * matrix_elements + (is_panel ? runtime::PanelElementIndex(to, k, row, column)
                                                   : runtime::FragmentElementIndex(to, k, row, column));
          convertElements(from, &input[((matrix * n + row) * k + column) * input_size], to,
                          &expected[index * output_size], 1);
          expected[index * output_size] ^= flipped;
        }
      }
    }
    output.resize(bytes);
    ASSERT_EQ(output, expected) << "runs of " << step << " panels";
  }
}

/// Where the matrix kernels of E4M3 look, in numbers.
TEST(PackPanels, FourOfEachRowInRunsOfFourRows) {
  constexpr int64_t kRows = 20, kColumns = 6;
  std::vector<uint8_t> input(kRows * kColumns), output(2 * 2 * 64, 0xAB), expected(2 * 2 * 64);
  std::iota(input.begin(), input.end(), uint8_t{1});
  for (int64_t row = 0; row < kRows; ++row) {
    for (int64_t column = 0; column < kColumns; ++column) {
      const int64_t r = row % 16, j = column % 4;
      expected[row / 16 * 128 + column / 4 * 64 + r / 4 * 16 + j / 2 * 8 + r % 4 * 2 + j % 2] =
          input[row * kColumns + column];
    }
  }
  packPanels({schema::Layout::Panel, DType::kF8E4M3, DType::kF8E4M3, kRows, kColumns, 0, 2},
             reinterpret_cast<const std::byte*>(input.data()), reinterpret_cast<std::byte*>(output.data()));
  EXPECT_EQ(output, expected);
}

std::vector<PackCase> PackCases() {
  std::vector<PackCase> cases;
  const auto add = [&](schema::Layout layout, DType from, DType to) {
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
                           {1, 17, 511},
                           {1, 17, 513},
                           {2, 17, 1026},
                           {2, 32, 64},
                           {5, 20, 33},
                           {3, 16, 301}}) {
      cases.push_back({layout, from, to, e, n, k});
    }
  };
  for (DType from : {DType::kF32, DType::kBF16, DType::kF16}) {
    add(schema::Layout::Panel, from, DType::kF32);
    add(schema::Layout::Panel, from, DType::kBF16);
    add(schema::Layout::Fragment, from, DType::kBF16);
  }
  add(schema::Layout::Panel, DType::kF8E4M3, DType::kF8E4M3);
  add(schema::Layout::Panel, DType::kI8, DType::kI8);
  add(schema::Layout::Fragment, DType::kF8E4M3, DType::kF8E4M3);
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Shapes, PackPanelsTest, testing::ValuesIn(PackCases()), [](const auto& info) {
  const PackCase& c = info.param;
  return fmt::format("{}_{}To{}_{}x{}x{}", schema::EnumNameLayout(c.layout), runtime::DTypeName(c.from),
                     runtime::DTypeName(c.to), c.e, c.n, c.k);
});

}  // namespace
}  // namespace nemotron::codegen
