#include "runtime/plan/packing.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace nemotron::runtime {
namespace {

using schema::Layout;

struct RepackCase {
  Layout from;
  DType dtype;
  int64_t n, k;
};

class RepackTest : public ::testing::TestWithParam<RepackCase> {};

/// A matrix of random bytes in its first layout comes out with each element where the other one has it.
TEST_P(RepackTest, PutsEveryElementInItsPlace) {
  const auto [from, dtype, n, k] = GetParam();
  const int64_t size = SizeOf(dtype);
  const bool is_fragment = from == Layout::Fragment;
  const int64_t source_elements = is_fragment ? NumPanels(n) * FragmentElements(dtype, k) : n * k;
  // I8 is offset by 128, padding too.
  const std::byte flipped = std::byte(dtype == DType::kI8 ? 0x80 : 0);
  std::vector<std::byte> source(source_elements * size), expected(PanelMatrixBytes(dtype, n, k), flipped);
  std::mt19937 random(7);
  for (int64_t row = 0; row < n; ++row) {
    for (int64_t column = 0; column < k; ++column) {
      const int64_t at = is_fragment ? FragmentElementIndex(dtype, k, row, column) : row * k + column;
      const int64_t to = PanelElementIndex(dtype, k, row, column);
      for (int64_t byte = 0; byte < size; ++byte) {
        source[at * size + byte] = std::byte(random());
        expected[to * size + byte] = source[at * size + byte] ^ flipped;
      }
    }
  }
  std::vector<std::byte> panel(PanelElements(dtype, k) * size + 64, std::byte{0xAB}), packed;
  for (int64_t i = 0; i < NumPanels(n); ++i) {
    const int64_t first = is_fragment ? i * FragmentElements(dtype, k) : i * kPanelRows * k;
    RepackAsPanel(from, dtype, k, std::min(kPanelRows, n - i * kPanelRows), source.data() + first * size, panel.data());
    packed.insert(packed.end(), panel.begin(), panel.end() - 64);
    ASSERT_EQ(std::vector(panel.end() - 64, panel.end()), std::vector(64, std::byte{0xAB})) << "panel " << i;
  }
  EXPECT_EQ(packed, expected);
}

std::vector<RepackCase> RepackCases() {
  std::vector<RepackCase> cases;
  for (const auto& [from, dtype] : {std::pair(Layout::Fragment, DType::kBF16),
                                    {Layout::Fragment, DType::kF8E4M3},
                                    {Layout::RowMajor, DType::kF32},
                                    {Layout::RowMajor, DType::kBF16},
                                    {Layout::RowMajor, DType::kF8E4M3},
                                    {Layout::RowMajor, DType::kI8}}) {
    // From one base shape, one number changed at a time: part of a word, of a tile, of a panel; more than one of each.
    for (const auto& [n, k] : {std::pair<int64_t, int64_t>{32, 64},
                               {1, 64},
                               {15, 64},
                               {17, 64},
                               {32, 1},
                               {32, 2},
                               {32, 3},
                               {32, 15},
                               {32, 33},
                               {32, 63},
                               {32, 65},
                               {20, 131}}) {
      cases.push_back({from, dtype, n, k});
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Shapes, RepackTest, ::testing::ValuesIn(RepackCases()), [](const auto& info) {
  const RepackCase& c = info.param;
  return fmt::format("{}_{}_{}x{}", schema::EnumNameLayout(c.from), DTypeName(c.dtype), c.n, c.k);
});

}  // namespace
}  // namespace nemotron::runtime
