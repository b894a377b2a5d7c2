#include "runtime/plan/packing.h"

#include <algorithm>
#include <cstring>

namespace nemotron::runtime {
namespace {

using Words = uint32_t[kPanelRows];
constexpr int64_t kVectorBytes = sizeof(Words);

/// The same word of 16 rows as it lies in a panel. An F32 is a word, and so is a pair of neighbouring BF16: the rows in
/// order. So are four neighbouring I8, offset by 128, which flips the upper bit. Of four neighbouring E4M3, each four
/// rows have their first pairs side by side, then their second ones.
void PackVector(DType dtype, const Words& rows, std::byte* vector) {
  if (dtype == DType::kI8) {
    Words biased;
    std::transform(rows, rows + kPanelRows, biased, [](uint32_t word) { return word ^ kI8PanelOffset * 0x01010101u; });
    std::memcpy(vector, biased, sizeof(biased));
    return;
  }
  if (dtype != DType::kF8E4M3) {
    std::memcpy(vector, rows, sizeof(rows));
    return;
  }
  uint16_t pairs[2 * kPanelRows];
  for (int64_t row = 0; row < kPanelRows; ++row) {
    pairs[row / 4 * 8 + row % 4] = static_cast<uint16_t>(rows[row]);
    pairs[row / 4 * 8 + 4 + row % 4] = static_cast<uint16_t>(rows[row] >> 16);
  }
  std::memcpy(vector, pairs, sizeof(pairs));
}

/// Calls `visit(word of the rows, word of the tile)` for all words of a tile, lane by lane.
template <typename Rows, typename Visitor>
void ForEachWord(Rows& rows, const Visitor& visit) {
  for (int64_t lane = 0; lane < 32; ++lane) {
    const int64_t row = lane / 4, word = lane % 4;
    visit(rows[row][word], lane * 4);
    visit(rows[row + 8][word], lane * 4 + 1);
    visit(rows[row][word + 4], lane * 4 + 2);
    visit(rows[row + 8][word + 4], lane * 4 + 3);
  }
}

}  // namespace

void PackPanelVectors(DType dtype, const uint32_t* rows, int64_t stride, int64_t num_words, std::byte* panel) {
  for (int64_t i = 0; i < num_words; ++i) {
    Words words;
    for (int64_t row = 0; row < kPanelRows; ++row) {
      words[row] = rows[row * stride + i];
    }
    PackVector(dtype, words, panel + i * kVectorBytes);
  }
}

void PackFragmentTile(const TileRows& rows, std::byte* tile) {
  uint32_t packed[kTileBytes / 4];
  ForEachWord(rows, [&](uint32_t word, int64_t index) { packed[index] = word; });
  std::memcpy(tile, packed, sizeof(packed));
}

void UnpackFragmentTile(const std::byte* tile, TileRows& rows) {
  uint32_t packed[kTileBytes / 4];
  std::memcpy(packed, tile, sizeof(packed));
  ForEachWord(rows, [&](uint32_t& word, int64_t index) { word = packed[index]; });
}

void RepackAsPanel(schema::Layout layout, DType dtype, int64_t k, int64_t num_rows, const std::byte* source,
                   std::byte* panel) {
  const int64_t num_words = PanelDepth(dtype, k) / PanelInterleave(dtype), row_bytes = k * SizeOf(dtype);
  TileRows rows = {};  // missing rows stay zero
  for (int64_t word = 0; word < num_words; word += kTileWords) {
    const int64_t words = std::min(kTileWords, num_words - word);
    if (layout == schema::Layout::Fragment) {
      UnpackFragmentTile(source + word / kTileWords * kTileBytes, rows);
    } else {
      for (int64_t row = 0; row < num_rows; ++row) {
        rows[row][words - 1] = 0;  // missing last elements of a word
        std::memcpy(rows[row], source + row * row_bytes + word * 4,
                    static_cast<size_t>(std::min(words * 4, row_bytes - word * 4)));
      }
    }
    PackPanelVectors(dtype, &rows[0][0], kTileWords, words, panel + word * kVectorBytes);
  }
}

}  // namespace nemotron::runtime
