// The loops of the matrix kernels, shared by the instruction sets that multiply vectors. Included as
// linear_panels-inl.h is; `Ops` has multiply-adds too.
//
// One row (decode): bound by memory. A thread walks a few panels side by side, each from start to end, so that every
// weight byte is read once, in order, and enough sums are in flight to hide the latency of the multiply-add. Those side
// by side are as far apart as they can be: each belongs to a run of neighbours, which is read as one long stream.
//
// Some rows, as many as a register tile has: the same with each loaded vector of weights used for all rows.
//
// Many rows (prefill): bound by the multiply-add units. Groups of rows take turns on a tile of panels; k is cut into
// blocks so that the panels of a tile stay in L2 meanwhile. Only the first group of rows would wait for memory, so all
// of them fetch a share of the tile that comes next. Between blocks the sums are stored to and reloaded from the output
// in F32, which changes no bit.
//
// F8E4M3: up to a register tile of rows, vectors of weights are decoded in registers, once for all rows. Many rows
// would decode them once a group; they decode a block of a tile's panels to a buffer of BF16 panels, and multiply
// those.
//
// Without a dot product of BF16 (kWidens), pairs of BF16 are widened to F32 in the same places, and rows of input are
// F32 already: a pair's first product is added, then its second, which is the chain of F32 panels.
//
// I8: a vector of sums holds int32, in its bits, until they are finished; so do the sums in the output between blocks.
// The weights are offset by 128 (runtime/plan/layout.h), which is taken off with the sum of the row. With scales for
// groups, sums end with their group: scaled, they are added to the output, which is F32 then.

#include "runtime/cpu/kernels/linear_panels-inl.h"

/// Elements of k a block: 3 panels of BF16 take 96 KiB, 8 rows of input 16 KiB.
constexpr int64_t kBlockDepth = 1024;

/// Weights to fetch while a register tile is computed. Zen 5, N = 18560, K = 4096, BF16, 2 cores, against none: T = 24
/// 1.45 times as fast, T = 32 1.3, T = 128 1.07. A prefetch beside every load, most of them of lines already there,
/// takes 1.7 times as long.
struct Ahead {
  const char* weights = nullptr;  // of the first panel
  int64_t panel_bytes = 0;        // from panel to panel
  int64_t bytes = 0;              // of each panel, every AheadSteps steps of k; 0: nothing
};
/// A group is a whole number of these.
constexpr int64_t AheadSteps(Format format) { return format == Format::kI8Groups ? kGroupUnit / 4 : 16; }

/// How far ahead weights are fetched that few rows are multiplied by, elements of k over all panels side by side.
/// F8E4M3 decoded in registers waits for memory without it: Zen 5, N = 18560, K = 4096, a core, of 43 GB/s: T = 1 34
/// without, 35 with 64 elements, 37 with 128, 32 with 256. One row of BF16: Emerald Rapids, 2 cores, 1.2 times as fast
/// as without.
constexpr int64_t kAheadDepth = 512;

/// A run of k and where its weights are.
struct Block {
  int64_t k_begin, k_end;
  const char* weights;  // of the tile's first panel, k_begin
  int64_t panel_bytes;  // from panel to panel
  Ahead ahead;
};

// All loops over rows and panels are unrolled, the first and last too: the compiler keeps `sums` in registers only if
// no index into it is variable.

/// multiply_add(sum, x, w) of each sum, x the input of its row, input_of(row), and w the weights of its panel.
template <int kRows, int kPanels, typename Weights, typename InputOf, typename MultiplyAdd>
NEMOTRON_INLINE void AddProducts(typename Ops::Vector (&sums)[kRows][kPanels], const Weights (&weights)[kPanels],
                                 const InputOf& input_of, const MultiplyAdd& multiply_add) {
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    const auto x = input_of(r);
#pragma GCC unroll 16
    for (int p = 0; p < kPanels; ++p) {
      sums[r][p] = multiply_add(sums[r][p], x, weights[p]);
    }
  }
}

/// All sums plus their products with one k of F32.
template <int kRows, int kPanels>
NEMOTRON_INLINE void MultiplyF32(typename Ops::Vector (&sums)[kRows][kPanels], const float* input, int64_t stride,
                                 const typename Ops::Vector (&weights)[kPanels]) {
  AddProducts(
      sums, weights, [=](int r) { return Ops::Broadcast(input[r * stride]); },
      [](const auto& sum, const auto& x, const auto& w) { return Ops::MultiplyAdd(sum, x, w); });
}

/// All sums plus their products with a pair of k. `Set` is Ops: of a parameter only the branch that is taken must
/// compile.
template <int kRows, int kPanels, typename Set = Ops>
NEMOTRON_INLINE void MultiplyPair(typename Ops::Vector (&sums)[kRows][kPanels], const Ops::Operand* input,
                                  int64_t stride, const typename Ops::WordVector (&weights)[kPanels]) {
  if constexpr (kWidens) {
    typename Ops::Vector even[kPanels], odd[kPanels];
#pragma GCC unroll 16
    for (int p = 0; p < kPanels; ++p) {
      Set::Widen(weights[p], even[p], odd[p]);
    }
    MultiplyF32(sums, input, stride, even);
    MultiplyF32(sums, input + 1, stride, odd);
  } else {
    AddProducts(
        sums, weights, [=](int r) { return Set::BroadcastBF16(input + r * stride); },
        [](const auto& sum, const auto& x, const auto& w) { return Set::MultiplyAddBF16(sum, x, w); });
  }
}

/// Fetches what comes after `weights` in each panel. Without it decoding waits for memory, and one row may; with more
/// rows that decode nothing each vector serves for long enough.
template <Format kFormat, int kRows, int kPanels>
NEMOTRON_INLINE void PrefetchAhead(const char* weights, int64_t panel_bytes) {
  if constexpr (kFormat == Format::kF8 || kRows == 1) {
#pragma GCC unroll 16
    for (int p = 0; p < kPanels; ++p) {
      Ops::Prefetch(weights + p * panel_bytes + kAheadDepth / kPanels * BytesOf(kFormat));
    }
  }
}

/// All sums plus their products with StepOf(kFormat) elements of k.
template <Format kFormat, int kRows, int kPanels>
  requires(kFormat == Format::kBF16 || kFormat == Format::kSplitBF16 || kFormat == Format::kF8)
NEMOTRON_INLINE void MultiplyStep(typename Ops::Vector (&sums)[kRows][kPanels], const Ops::Operand* input,
                                  int64_t stride, int64_t low_offset, const char* weights, int64_t panel_bytes) {
  PrefetchAhead<kFormat, kRows, kPanels>(weights, panel_bytes);
  typename Ops::WordVector first[kPanels], second[kPanels];  // pairs of k; BF16 has one
#pragma GCC unroll 16
  for (int p = 0; p < kPanels; ++p) {
    if constexpr (kFormat == Format::kF8) {
      Ops::DecodeF8(weights + p * panel_bytes, first[p], second[p]);
    } else {
      first[p] = Ops::LoadWords(weights + p * panel_bytes);
    }
  }
  MultiplyPair(sums, input, stride, first);
  if constexpr (kFormat == Format::kF8) {
    MultiplyPair(sums, input + 2, stride, second);
  } else if constexpr (kFormat == Format::kSplitBF16) {
    MultiplyPair(sums, input + low_offset, stride, first);
  }
}

/// The same of I8.
template <Format kFormat, int kRows, int kPanels>
  requires(IsI8(kFormat))
NEMOTRON_INLINE void MultiplyStep(typename Ops::Vector (&sums)[kRows][kPanels], const int8_t* input, int64_t stride,
                                  int64_t, const char* weights, int64_t panel_bytes) {
  PrefetchAhead<kFormat, kRows, kPanels>(weights, panel_bytes);
  typename Ops::WordVector w[kPanels];
#pragma GCC unroll 16
  for (int p = 0; p < kPanels; ++p) {
    w[p] = Ops::LoadWords(weights + p * panel_bytes);
  }
  AddProducts(
      sums, w, [=](int r) { return Ops::BroadcastI8(input + r * stride); },
      [](const auto& sum, const auto& x, const auto& words) { return Ops::MultiplyAddI8(sum, x, words); });
}

/// The same of F32.
template <Format kFormat, int kRows, int kPanels>
  requires(kFormat == Format::kF32)
NEMOTRON_INLINE void MultiplyStep(typename Ops::Vector (&sums)[kRows][kPanels], const float* input, int64_t stride,
                                  int64_t, const char* weights, int64_t panel_bytes) {
  typename Ops::Vector w[kPanels];
#pragma GCC unroll 16
  for (int p = 0; p < kPanels; ++p) {
    w[p] = Ops::Load(reinterpret_cast<const float*>(weights + p * panel_bytes), kPanelRows);
  }
  MultiplyF32(sums, input, stride, w);
}

/// Adds the sums of a group, scaled, to the output, and begins anew.
template <int kRows, int kPanels>
NEMOTRON_INLINE void EndGroup(const LinearTile& tile, int64_t row, int64_t panel, int64_t apart, int64_t group,
                              typename Ops::Vector (&sums)[kRows][kPanels]) {
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    const int32_t offset = OffsetOf(tile, row + r, group);
#pragma GCC unroll 16
    for (int p = 0; p < kPanels; ++p) {
      AddGroup(tile, row + r, panel + p * apart, group, offset, sums[r][p]);
      sums[r][p] = Ops::Zero();
    }
  }
}

/// Panels panel, panel + apart, ... for rows [row, row + kRows).
template <Format kFormat, int kRows, int kPanels>
NEMOTRON_INLINE void RegisterTile(const LinearTile& tile, int64_t row, int64_t panel, int64_t apart,
                                  const Block& block) {
  // A few rows leave little time between two loads: what comes next is fetched in small bites.
  constexpr int64_t kSteps = kFormat != Format::kI8Groups && kRows < Ops::kTileRows ? 4 : AheadSteps(kFormat);
  constexpr int64_t kStep = StepOf(kFormat), kChunk = kSteps * kStep;
  constexpr bool kHasGroups = kFormat == Format::kI8Groups;
  const auto* input = static_cast<const ElementOf<kFormat>*>(tile.input) + row * tile.input_stride;
  const char* weights = block.weights + panel * block.panel_bytes;
  const bool goes_on = !kHasGroups && (block.k_begin != 0 || tile.accumulate);
  typename Ops::Vector sums[kRows][kPanels];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int p = 0; p < kPanels; ++p) {
      const int64_t at = panel + p * apart;
      sums[r][p] = goes_on ? Ops::Load(OutputOf(tile, row + r, at), ColumnsOf(tile, at)) : Ops::Zero();
    }
  }
  const Ahead& ahead = block.ahead;
  int64_t fetched = 0, due = 0;
  int64_t group = kHasGroups ? block.k_begin / tile.groups.depth : 0, group_end = block.k_begin + tile.groups.depth;
  for (int64_t k_chunk = block.k_begin; k_chunk < block.k_end; k_chunk += kChunk) {
    for (due += ahead.bytes * kSteps / AheadSteps(kFormat); fetched < due; fetched += 64) {
#pragma GCC unroll 16
      for (int p = 0; p < kPanels; ++p) {
        Ops::Prefetch(ahead.weights + fetched + (panel + p * apart) * ahead.panel_bytes);
      }
    }
    const int64_t chunk_end = std::min(block.k_end, k_chunk + kChunk);
    for (int64_t k = k_chunk; k < chunk_end; k += kStep) {
      MultiplyStep<kFormat, kRows, kPanels>(sums, input + k, tile.input_stride, tile.low_offset, weights,
                                            apart * block.panel_bytes);
      weights += 64;
    }
    if constexpr (kHasGroups) {
      if (chunk_end == group_end) {
        EndGroup(tile, row, panel, apart, group++, sums);
        group_end += tile.groups.depth;
      }
    }
  }
  if constexpr (kHasGroups) {
    return;
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int p = 0; p < kPanels; ++p) {
      const int64_t at = panel + p * apart;
      Ops::Store(OutputOf(tile, row + r, at), sums[r][p], ColumnsOf(tile, at));
    }
  }
}

/// Panels that a register tile of at most `most` takes of those that remain: not 3 of 4, for one panel alone gives too
/// few sums to hide the latency of the multiply-add.
inline int64_t PanelsOfTile(int64_t remaining, int64_t most) {
  return most == 3 && remaining == 4 ? 2 : std::min(remaining, most);
}

/// All panels of `tile` for rows [row, row + kRows).
template <Format kFormat, int kRows, int kPanels>
void RowTile(const LinearTile& tile, int64_t row, const Block& block) {
  int64_t run = tile.num_panels / kPanels;  // panels of each stream
  run -= run > 0 && PanelsOfTile(tile.num_panels - (run - 1) * kPanels, kPanels) < kPanels ? 1 : 0;
  for (int64_t panel = 0; panel < run; ++panel) {
    RegisterTile<kFormat, kRows, kPanels>(tile, row, panel, run, block);
  }
  int64_t panel = run * kPanels;
  if constexpr (kPanels > 2) {
    for (; panel + 2 <= tile.num_panels; panel += 2) {
      RegisterTile<kFormat, kRows, 2>(tile, row, panel, 1, block);
    }
  }
  for (; panel < tile.num_panels; ++panel) {
    RegisterTile<kFormat, kRows, 1>(tile, row, panel, 1, block);
  }
  if (block.k_end == tile.depth && (kFormat == Format::kI8 || !tile.epilogue.is_empty())) {
    Finish<kFormat>(tile, row, kRows);
  }
}

/// The same for rows [row, row + num_rows), at most kMost.
template <Format kFormat, int kMost>
void UpToRows(const LinearTile& tile, int64_t row, int64_t num_rows, const Block& block) {
  // Decoding E4M3 takes registers for tables and for twice the vectors of weights.
  constexpr int kPanels = kFormat == Format::kF8 && kMost > 5 ? std::min(Ops::kTilePanels, 2) : Ops::kTilePanels;
  if (num_rows == kMost) {
    return RowTile<kFormat, kMost, kPanels>(tile, row, block);
  }
  if constexpr (kMost > 1) {
    UpToRows<kFormat, kMost - 1>(tile, row, num_rows, block);
  }
}

template <Format kFormat>
void RunTileOf(const LinearTile& tile) {
  constexpr int kRows = Ops::kTileRows, kPanels = Ops::kTilePanels;
  constexpr int64_t kBytes = BytesOf(kFormat);
  constexpr Format kMultiplied = MultipliedOf(kFormat);
  constexpr bool kDecodes = kMultiplied != kFormat;
  const char* panels = static_cast<const char*>(tile.panels);
  const int64_t panel_bytes = PanelBytes<kFormat>(tile);
  if (tile.num_rows <= kRows) {
    // Each vector in use fetches its like of the next run.
    const Ahead ahead = {static_cast<const char*>(tile.next), panel_bytes,
                         tile.next == nullptr ? 0 : 64 * AheadSteps(kFormat)};
    const Block all = {0, tile.depth, panels, panel_bytes, ahead};
    return tile.num_rows == 1 ? RowTile<kFormat, 1, Ops::kStreamPanels>(tile, 0, all)
                              : UpToRows<kFormat, kRows>(tile, 0, tile.num_rows, all);
  }
  alignas(64) char decoded[kDecodes ? kPanels * kBlockDepth * BytesOf(kMultiplied) : 64];
  const int64_t groups = (tile.num_rows + kRows - 1) / kRows;
  int64_t block_depth = kBlockDepth;
  if constexpr (kFormat == Format::kI8Groups) {  // whole groups
    block_depth = std::max<int64_t>(1, kBlockDepth / tile.groups.depth) * tile.groups.depth;
  }
  for (int64_t k_begin = 0; k_begin < tile.depth; k_begin += block_depth) {
    const int64_t k_end = std::min(tile.depth, k_begin + block_depth);
    // Panels outside, rows inside: the panels of a tile are read from memory once a block and serve all rows.
    for (int64_t panel = 0, count = 0; panel < tile.num_panels; panel += count) {
      count = PanelsOfTile(tile.num_panels - panel, kPanels);
      const LinearTile part = PanelsOf<kFormat>(tile, panel, count);
      Block block{k_begin, k_end, static_cast<const char*>(part.panels) + k_begin * kBytes, panel_bytes, {}};
      if constexpr (kDecodes) {
        DecodeBlock<kFormat>(block.weights, panel_bytes, part.num_panels, k_end - k_begin, decoded);
        block.weights = decoded;
        block.panel_bytes = (k_end - k_begin) * BytesOf(kMultiplied);
      }
      // Next come the panels after these; after the last the first again with the next block of k, or the next run.
      const char* next = panel + count < tile.num_panels ? panels + (panel + count) * panel_bytes + k_begin * kBytes
                         : k_end < tile.depth            ? panels + k_end * kBytes
                         : tile.next != nullptr          ? static_cast<const char*>(tile.next)
                                                         : panels + tile.num_panels * panel_bytes;
      for (int64_t group = 0; group < groups; ++group) {
        block.ahead = {next + (k_end - k_begin) * kBytes * group / groups, panel_bytes,
                       kBytes * StepOf(kMultiplied) * AheadSteps(kMultiplied) / groups};
        UpToRows<kMultiplied, kRows>(part, group * kRows, std::min<int64_t>(kRows, tile.num_rows - group * kRows),
                                     block);
      }
    }
  }
}

void RunF32(const LinearTile& tile) { RunTileOf<Format::kF32>(tile); }
void RunBF16(const LinearTile& tile) {
  if constexpr (!kWidens) {
    if (tile.low_offset != 0) {
      return RunTileOf<Format::kSplitBF16>(tile);
    }
  }
  RunTileOf<Format::kBF16>(tile);
}
void RunF8(const LinearTile& tile) { RunTileOf<Format::kF8>(tile); }
void RunI8(const LinearTile& tile) {
  tile.groups.scales == nullptr ? RunTileOf<Format::kI8>(tile) : RunTileOf<Format::kI8Groups>(tile);
}

constexpr LinearKernels kKernels = {.f32 = RunF32,
                                    .bf16 = RunBF16,
                                    .f8 = RunF8,
                                    .i8 = RunI8,
                                    .operand = kOperand,
                                    .tile_panels = 3,
                                    .rows_at_once = 128,
                                    .takes_parts = false,
                                    .tasks_each = 6,
                                    .round_to_bf16 = RoundToBF16,
                                    .round_to_operand = RoundToOperand,
                                    .decode_f8 = DecodeF8,
                                    .sum_i8 = SumI8};
