#include "runtime/plan/layout.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "runtime/plan/weight_size.h"

namespace nemotron::runtime {
namespace {

// The examples of the essay in layout.h.
static_assert(PanelElementIndex(DType::kBF16, 3, 17, 2) == 98);
static_assert(PanelElementIndex(DType::kF8E4M3, 3, 17, 2) == 74);
static_assert(PanelElementIndex(DType::kI8, 3, 17, 2) == 70);

// Every element has a place of its own within the matrix, whose size is what the loader expects of a segment.
TEST(Layout, PlacesEveryElementOnce) {
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kF8E4M3, DType::kI8}) {
    for (int64_t n : {1, 15, 16, 17, 40}) {
      for (int64_t k : {1, 2, 3, 4, 5, 8, 30}) {
        const int64_t bytes = PanelMatrixBytes(dtype, n, k);
        std::vector<int> taken(bytes / SizeOf(dtype));
        for (int64_t row = 0; row < n; ++row) {
          for (int64_t column = 0; column < k; ++column) {
            ++taken.at(PanelElementIndex(dtype, k, row, column));
          }
        }
        EXPECT_EQ(std::count(taken.begin(), taken.end(), 1), n * k) << DTypeName(dtype) << " " << n << " " << k;
        EXPECT_EQ(*WeightBytes(dtype, schema::Layout::Panel, std::vector<int64_t>{n, k}), bytes);
        EXPECT_EQ(*WeightBytes(dtype, schema::Layout::Panel, std::vector<int64_t>{3, n, k}), 3 * bytes);
      }
    }
  }
}

// Interleaving the lower halves of each 16 bytes, then the upper ones, gives two vectors of BF16 panels.
TEST(Layout, VectorsOfF8AreTwoOfBF16) {
  constexpr int64_t kDepth = 8;
  for (int64_t row = 0; row < kPanelRows; ++row) {
    for (int64_t column = 0; column < kDepth; ++column) {
      const int64_t f8 = PanelElementIndex(DType::kF8E4M3, kDepth, row, column);
      const int64_t lane = f8 % 64 / 16, half = f8 % 16 / 8, byte = f8 % 8;
      EXPECT_EQ(f8 / 64 * 64 + half * 32 + lane * 8 + byte, PanelElementIndex(DType::kBF16, kDepth, row, column));
    }
  }
}

}  // namespace
}  // namespace nemotron::runtime
