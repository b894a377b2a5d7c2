//===- Packing.cpp - layouts of matrices --------------------------------------------------------------------------===//
#include "codegen/Packing.h"

#include <algorithm>

#include "codegen/Elements.h"
#include "runtime/plan/packing.h"

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
static constexpr int64_t kBlockWords = 128;

/// One panel: the transposition of a [16, words] matrix.
static void packPanel(const PanelRun &run, const std::byte *input, int64_t numRows, std::byte *output) {
  constexpr int64_t kRows = runtime::kPanelRows;
  const int64_t perWord = runtime::PanelInterleave(run.to);
  const int64_t numWords = runtime::PanelDepth(run.to, run.k) / perWord;
  const int64_t inputSize = runtime::SizeOf(run.from);
  alignas(64) uint32_t tile[kRows][kBlockWords] = {}; // missing rows stay zero
  for (int64_t word = 0; word < numWords; word += kBlockWords) {
    const int64_t words = std::min(kBlockWords, numWords - word);
    const int64_t elements = std::min(words * perWord, run.k - word * perWord);
    for (int64_t row = 0; row < numRows; ++row) {
      tile[row][words - 1] = 0; // missing last elements of a word
      convertElements(run.from, input + (row * run.k + word * perWord) * inputSize, run.to,
                      reinterpret_cast<std::byte *>(tile[row]), elements);
    }
    runtime::PackPanelVectors(run.to, &tile[0][0], kBlockWords, words, output + word * 4 * kRows);
  }
}

/// One band, tile by tile.
static void packBand(const PanelRun &run, const std::byte *input, int64_t numRows, std::byte *output) {
  const int64_t perTile = runtime::FragmentDepthOfTile(run.to), inputSize = runtime::SizeOf(run.from);
  for (int64_t column = 0; column < run.k; column += perTile, output += runtime::kTileBytes) {
    runtime::TileRows rows = {}; // missing rows and columns stay zero
    for (int64_t row = 0; row < numRows; ++row) {
      convertElements(run.from, input + (row * run.k + column) * inputSize, run.to,
                      reinterpret_cast<std::byte *>(rows[row]), std::min(perTile, run.k - column));
    }
    runtime::PackFragmentTile(rows, output);
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
