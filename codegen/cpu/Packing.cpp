//===- Packing.cpp - elements and layouts of CPU plans ------------------------------------------------------------===//
#include "codegen/cpu/Packing.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "runtime/plan/layout.h"

using nemotron::runtime::DType;

namespace nemotron::codegen {

//===----------------------------------------------------------------------===//
// Elements. Without branches, so that the loops become vector code.
//===----------------------------------------------------------------------===//

namespace {

template <DType T> struct Element;

template <> struct Element<DType::kF32> {
  using Bits = uint32_t;
  static uint32_t toF32Bits(uint32_t bits) { return bits; }
  static uint32_t fromF32Bits(uint32_t bits) { return bits; }
};

template <> struct Element<DType::kBF16> {
  using Bits = uint16_t;
  static uint32_t toF32Bits(uint16_t bits) { return uint32_t{bits} << 16; }
  static uint16_t fromF32Bits(uint32_t bits) {
    uint32_t rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
    uint32_t quiet = (bits >> 16) | 0x40u;
    return static_cast<uint16_t>((bits & 0x7FFFFFFFu) > 0x7F800000u ? quiet : rounded);
  }
};

template <> struct Element<DType::kF16> {
  using Bits = uint16_t;
  static uint32_t toF32Bits(uint16_t bits) {
    // Multiplying by 2^112 moves the exponent from bias 15 to bias 127 and makes subnormals normal, exactly.
    uint32_t sign = uint32_t{bits & 0x8000u} << 16, magnitude = bits & 0x7FFFu;
    uint32_t scaled = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude << 13) * 0x1p112f);
    uint32_t special = 0x7F800000u | (magnitude << 13); // infinities and NaNs
    return sign | (magnitude >= 0x7C00u ? special : scaled);
  }
  static uint16_t fromF32Bits(uint32_t bits) {
    uint32_t sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7FFFFFFFu;
    // Normal: rebias, round at bit 13; an overflow runs into infinity. Subnormal: adding 0.5 lets the adder round at
    // the last place that a subnormal has.
    uint32_t normal = (magnitude - (112u << 23) + 0xFFFu + ((magnitude >> 13) & 1u)) >> 13;
    uint32_t subnormal = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3F000000u;
    uint32_t result = magnitude < (113u << 23) ? subnormal : normal;
    result = magnitude >= 0x47800000u ? 0x7C00u : result;                               // 2^16 and above
    result = magnitude > 0x7F800000u ? 0x7E00u | ((magnitude >> 13) & 0x3FFu) : result; // NaN
    return static_cast<uint16_t>(sign | result);
  }
};

template <DType From, DType To> void convert(const std::byte *input, std::byte *output, int64_t count) {
  using In = typename Element<From>::Bits;
  using Out = typename Element<To>::Bits;
  for (int64_t i = 0; i < count; ++i) {
    In in;
    std::memcpy(&in, input + i * sizeof(In), sizeof(In));
    Out out = Element<To>::fromF32Bits(Element<From>::toF32Bits(in));
    std::memcpy(output + i * sizeof(Out), &out, sizeof(Out));
  }
}

template <DType From> void convertFrom(const std::byte *input, DType to, std::byte *output, int64_t count) {
  switch (to) {
  case DType::kF32:
    return convert<From, DType::kF32>(input, output, count);
  case DType::kBF16:
    return convert<From, DType::kBF16>(input, output, count);
  default:
    return convert<From, DType::kF16>(input, output, count);
  }
}

} // namespace

void convertElements(DType from, const std::byte *input, DType to, std::byte *output, int64_t count) {
  if (from == to) {
    std::memcpy(output, input, count * runtime::SizeOf(from));
    return;
  }
  switch (from) {
  case DType::kF32:
    return convertFrom<DType::kF32>(input, to, output, count);
  case DType::kBF16:
    return convertFrom<DType::kBF16>(input, to, output, count);
  default:
    return convertFrom<DType::kF16>(input, to, output, count);
  }
}

//===----------------------------------------------------------------------===//
// Panels
//===----------------------------------------------------------------------===//

int64_t PanelRun::panelsPerMatrix() const { return runtime::NumPanels(n); }

int64_t PanelRun::elementOf(int64_t panel) const {
  return panel / panelsPerMatrix() * n * k + panel % panelsPerMatrix() * runtime::kPanelRows * k;
}

int64_t PanelRun::outputBytes() const { return count * runtime::PanelElements(to, k) * runtime::SizeOf(to); }

/// 32-bit words of a row that are packed at once: 16 rows of them are 8 KiB and stay in the first-level cache.
static constexpr int64_t kTileWords = 128;

/// One panel. An F32 is a word, and so is a pair of neighbouring BF16: both layouts are the transposition of a
/// [16, words] matrix.
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
      tile[row][words - 1] = 0; // a missing last element of a pair
      convertElements(run.from, input + (row * run.k + word * perWord) * inputSize, run.to,
                      reinterpret_cast<std::byte *>(tile[row]), elements);
    }
    for (int64_t i = 0; i < words; ++i) {
      uint32_t column[kRows];
      for (int64_t row = 0; row < kRows; ++row) {
        column[row] = tile[row][i];
      }
      std::memcpy(output + (word + i) * sizeof(column), column, sizeof(column));
    }
  }
}

void packPanels(const PanelRun &run, const std::byte *input, std::byte *output) {
  const int64_t panelBytes = runtime::PanelElements(run.to, run.k) * runtime::SizeOf(run.to);
  const int64_t firstElement = run.elementOf(run.first);
  for (int64_t i = 0; i < run.count; ++i) {
    const int64_t panel = run.first + i;
    const int64_t row = panel % run.panelsPerMatrix() * runtime::kPanelRows;
    packPanel(run, input + (run.elementOf(panel) - firstElement) * runtime::SizeOf(run.from),
              std::min(runtime::kPanelRows, run.n - row), output + i * panelBytes);
  }
}

} // namespace nemotron::codegen
