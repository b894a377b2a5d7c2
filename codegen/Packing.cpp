//===- Packing.cpp - layouts of matrices --------------------------------------------------------------------------===//
#include "codegen/Packing.h"

#include <algorithm>
#include <cstring>

#include "codegen/Elements.h"
#include "runtime/plan/layout.h"

using nemotron::runtime::DType;

namespace nemotron::codegen {

int64_t PanelRun::panelsPerMatrix() const { return runtime::NumPanels(n); }

int64_t PanelRun::elementOf(int64_t panel) const {
  return panel / panelsPerMatrix() * n * k + panel % panelsPerMatrix() * runtime::kPanelRows * k;
}

int64_t PanelRun::panelBytes() const {
  const bool isPanel = layout == schema::Layout::Panel;
  return (isPanel ? runtime::PanelElements(to, k) : runtime::FragmentElements(to, k)) * runtime::SizeOf(to);
}

/// 32-bit words of a row that are packed at once: 16 rows of them are 8 KiB and stay in the first-level cache.
static constexpr int64_t kTileWords = 128;

/// The same word of 16 rows as it lies in a panel. An F32 is a word, and so is a pair of neighbouring BF16: the rows
/// in order. So are four neighbouring I8, offset by 128, which flips the upper bit. Of four neighbouring E4M3, each
/// four rows have their first pairs side by side, then their second ones.
static void packWord(DType dtype, const uint32_t (&rows)[runtime::kPanelRows], std::byte *output) {
  if (dtype == DType::kI8) {
    uint32_t biased[runtime::kPanelRows];
    std::transform(rows, rows + runtime::kPanelRows, biased,
                   [](uint32_t word) { return word ^ runtime::kI8PanelOffset * 0x01010101u; });
    std::memcpy(output, biased, sizeof(biased));
    return;
  }
  if (dtype != DType::kF8E4M3) {
    std::memcpy(output, rows, sizeof(rows));
    return;
  }
  uint16_t pairs[2 * runtime::kPanelRows];
  for (int64_t row = 0; row < runtime::kPanelRows; ++row) {
    pairs[row / 4 * 8 + row % 4] = static_cast<uint16_t>(rows[row]);
    pairs[row / 4 * 8 + 4 + row % 4] = static_cast<uint16_t>(rows[row] >> 16);
  }
  std::memcpy(output, pairs, sizeof(pairs));
}

/// One panel: the transposition of a [16, words] matrix.
static void packPanel(const PanelRun &run, const std::byte *input, int64_t numRows, std::byte *output) {
  constexpr int64_t kRows = runtime::kPanelRows;
  const int64_t perWord = runtime::PanelInterleave(run.to);
  const int64_t numWords = runtime::PanelDepth(run.to, run.k) / perWord;
  const int64_t inputSize = runtime::SizeOf(run.from);
  alignas(64) uint32_t tile[kRows][kTileWords] = {}; // missing rows stay zero
  for (int64_t word = 0; word < numWords; word += kTileWords) {
    const int64_t words = std::min(kTileWords, numWords - word);
    const int64_t elements = std::min(words * perWord, run.k - word * perWord);
    for (int64_t row = 0; row < numRows; ++row) {
      tile[row][words - 1] = 0; // missing last elements of a word
      convertElements(run.from, input + (row * run.k + word * perWord) * inputSize, run.to,
                      reinterpret_cast<std::byte *>(tile[row]), elements);
    }
    for (int64_t i = 0; i < words; ++i) {
      uint32_t column[kRows];
      for (int64_t row = 0; row < kRows; ++row) {
        column[row] = tile[row][i];
      }
      packWord(run.to, column, output + (word + i) * sizeof(column));
    }
  }
}

/// One band: 16 words of 4 bytes of each row become a tile of 32 bytes a row, lane by lane.
static void packBand(const PanelRun &run, const std::byte *input, int64_t numRows, std::byte *output) {
  constexpr int64_t kTileWords = 8, kTileBytes = 4 * kTileWords * runtime::kPanelRows;
  const int64_t perTile = runtime::FragmentDepthOfTile(run.to), inputSize = runtime::SizeOf(run.from);
  for (int64_t column = 0; column < run.k; column += perTile, output += kTileBytes) {
    uint32_t rows[runtime::kPanelRows][kTileWords] = {}; // missing rows and columns stay zero
    for (int64_t row = 0; row < numRows; ++row) {
      convertElements(run.from, input + (row * run.k + column) * inputSize, run.to,
                      reinterpret_cast<std::byte *>(rows[row]), std::min(perTile, run.k - column));
    }
    uint32_t lanes[32][4];
    for (int lane = 0; lane < 32; ++lane) {
      const int row = lane / 4, word = lane % 4;
      lanes[lane][0] = rows[row][word];
      lanes[lane][1] = rows[row + 8][word];
      lanes[lane][2] = rows[row][word + 4];
      lanes[lane][3] = rows[row + 8][word + 4];
    }
    std::memcpy(output, lanes, sizeof(lanes));
  }
}

void packPanels(const PanelRun &run, const std::byte *input, std::byte *output) {
  auto *pack = run.layout == schema::Layout::Panel ? packPanel : packBand;
  const int64_t firstElement = run.elementOf(run.first);
  for (int64_t i = 0; i < run.count; ++i) {
    const int64_t panel = run.first + i;
    const int64_t row = panel % run.panelsPerMatrix() * runtime::kPanelRows;
    pack(run, input + (run.elementOf(panel) - firstElement) * runtime::SizeOf(run.from),
         std::min(runtime::kPanelRows, run.n - row), output + i * run.panelBytes());
  }
}

} // namespace nemotron::codegen
