// AMX: products of tiles of 16 rows. The panels of the layout (runtime/plan/layout.h) are the weights' tiles as they
// lie: 16 vectors of 64 bytes, each with one group of k for 16 outputs. A tile product takes 16 cycles whatever it
// holds, so one row is as good a use of it as 16: bound by memory, 64 bytes a cycle are far more than that delivers.
//
// Up to 16 rows: as many panels side by side as there are tiles of sums, each read as one long stream. More rows: two
// tiles of rows by two of panels, so that each tile that is loaded serves twice; with more than 32, blocks of k whose
// weights stay in L1, and that all rows share.
//
// TDPBF16PS adds, for each output, the products of the first numbers of 16 pairs in one chain and those of the second
// in another, both from zero, then the two sums, then that to the output's sum, and takes denormals for 0 (Intel SDM).
// A last step of fewer pairs does as if the rest were zeros. So the order of a sum follows k alone, here too: blocks
// begin at whole steps. It is another order than that of the other instruction sets.
#include <immintrin.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <type_traits>
#include <utility>

#include "runtime/base/dtype.h"
#include "runtime/cpu/kernels/linear_tile.h"
#include "runtime/plan/layout.h"

namespace nemotron::runtime::cpu {
namespace {

#include "runtime/cpu/kernels/linear_avx512_ops-inl.h"

using Ops = WithVbmi<Avx512DotOps>;

#include "runtime/cpu/kernels/linear_panels-inl.h"

constexpr int kTileRows = 16;
constexpr int64_t kTileBytes = 1024, kTileRowBytes = 64;
/// Rows of a group: two tiles.
constexpr int64_t kGroupRows = 2 * kTileRows;
/// Steps of k a block: its weights, two panels of 16 tiles in all, take 16 KiB of L1, and 32 rows of input as much.
/// Blocks a chunk: 256 rows of its input take 256 KiB of L2.
constexpr int64_t kBlockSteps = 8, kChunkBlocks = 2;
constexpr int64_t kBlockBytes = 2 * kBlockSteps * kTileBytes;

/// How far ahead weights are fetched that few rows are multiplied by, bytes of each panel.
constexpr int64_t kAheadBytes = 2048;

// Tile registers: sums from 0, then two of input and two of weights.
constexpr int kInputs = 4, kWeights = 6;

/// Shapes of the tile registers for `rows`, up to 32, and a step of `depth_bytes` of each row of input.
class TileShapes {
 public:
  ~TileShapes() {
    if (rows_ != 0) {
      _tile_release();
    }
  }
  /// Clears all tiles if it changes the shapes.
  void Set(int64_t rows, int64_t depth_bytes) {
    if (rows == rows_ && depth_bytes == depth_bytes_) {
      return;
    }
    rows_ = rows;
    depth_bytes_ = depth_bytes;
    struct alignas(64) {
      uint8_t palette = 1, start_row = 0, reserved[14] = {};
      uint16_t row_bytes[16] = {};
      uint8_t rows[16] = {};
    } config;
    const bool is_one = rows <= kTileRows;  // then sums are those of one tile of rows and four panels
    const int64_t first = std::min<int64_t>(rows, kTileRows), second = is_one ? first : rows - kTileRows;
    for (int tile = 0; tile < 8; ++tile) {
      const bool is_second = tile == 2 || tile == 3 || tile == kInputs + 1;
      config.rows[tile] = static_cast<uint8_t>(tile >= kWeights ? depth_bytes / 4 : is_second ? second : first);
      config.row_bytes[tile] = static_cast<uint16_t>(
          tile == kInputs || tile == kInputs + 1 ? depth_bytes : static_cast<int64_t>(kTileRowBytes));
    }
    asm volatile("ldtilecfg %0" : : "m"(config));  // GCC 12 takes stores to what the intrinsic loads for dead
  }

 private:
  int64_t rows_ = 0, depth_bytes_ = 0;
};

/// A run of k, whole steps or one shorter one.
struct TileBlock {
  int64_t k_begin, k_end, step;
  const char* weights;   // of the tile's first panel, k_begin
  int64_t panel_bytes;   // from panel to panel
  const char* next;      // what to fetch meanwhile for the first panel
  int64_t next_bytes;    // from panel to panel of these
  int64_t bytes_a_step;  // of each panel
};

/// f(integral_constant<int, i>) for i < kCount: tiles have numbers that the compiler must know.
template <int kCount, typename Function>
NEMOTRON_INLINE void ForEach(const Function& f) {
  [&]<int... kIndex>(std::integer_sequence<int, kIndex...>) {
    (f(std::integral_constant<int, kIndex>()), ...);
  }(std::make_integer_sequence<int, kCount>());
}

constexpr std::integral_constant<int, 0> kFirst;
constexpr std::integral_constant<int, 1> kSecond;

/// Sums of tile kTile plus the products of tiles kInput and kWeight.
template <Format kFormat, int kTile, int kInput, int kWeight>
NEMOTRON_INLINE void MultiplyTile() {
  if constexpr (IsI8(kFormat)) {
    _tile_dpbsud(kTile, kInput, kWeight);
  } else {
    _tile_dpbf16ps(kTile, kInput, kWeight);
  }
}

/// Where element k of the first panel lies, of a tile in parts.
template <Format kFormat>
const char* PartOf(const LinearTile& tile, int64_t k) {
  const int64_t at = k + tile.part_offset;
  return static_cast<const char*>(tile.parts[at / tile.panel_depth]) + at % tile.panel_depth * BytesOf(kFormat);
}

/// Panels panel, panel + apart, ... for kRowTiles tiles of rows from `row` on, whose shapes are set.
template <Format kFormat, int kRowTiles, int kPanels>
void MultiplyBlock(const LinearTile& tile, int64_t row, int64_t num_rows, int64_t panel, int64_t apart,
                   const TileBlock& block) {
  static_assert(kRowTiles * kPanels <= kInputs);
  using Element = ElementOf<kFormat>;
  constexpr int64_t kBytes = BytesOf(kFormat);
  constexpr bool kIsSplit = kFormat == Format::kSplitBF16, kHasGroups = kFormat == Format::kI8Groups;
  const auto* input = static_cast<const Element*>(tile.input) + row * tile.input_stride;
  const int64_t input_bytes = tile.input_stride * static_cast<int64_t>(sizeof(Element));
  const char* next = block.next + panel * block.next_bytes;
  const bool goes_on = !kHasGroups && (block.k_begin != 0 || tile.accumulate);
  alignas(64) char decoded[2][kFormat == Format::kF8 ? kPanels : 1][kTileBytes];  // of this step and the next
  alignas(64) float edge[kTileRows][kPanelRows];                                  // sums of a panel with fewer columns

  // Calls f(tile, first row, panel) of each tile of sums.
  const auto for_sums = [&](const auto& f) {
    ForEach<kRowTiles>([&](auto r) {
      ForEach<kPanels>(
          [&](auto p) { f(std::integral_constant<int, 2 * r + p>(), row + r * kTileRows, panel + p * apart); });
    });
  };
  const auto rows_of = [&](int64_t first) { return std::min<int64_t>(kTileRows, row + num_rows - first); };

  for_sums([&](auto sum, int64_t first, int64_t at) {
    if (!goes_on) {
      _tile_zero(decltype(sum)::value);
    } else if (const int columns = ColumnsOf(tile, at); columns == kPanelRows) {
      _tile_loadd(decltype(sum)::value, OutputOf(tile, first, at), tile.output_row_bytes);
    } else {
      for (int64_t r = 0; r < rows_of(first); ++r) {
        Ops::Store(edge[r], Ops::Load(OutputOf(tile, first + r, at), columns), kPanelRows);
      }
      _tile_loadd(decltype(sum)::value, edge, kTileRowBytes);
    }
  });
  // What a step loads is decoded one step before: a load right behind its stores waits for them.
  const auto weights_of = [&](int64_t k, int64_t p) {
    const char* from = tile.parts == nullptr ? block.weights + (k - block.k_begin) * kBytes : PartOf<kFormat>(tile, k);
    return from + (panel + p * apart) * block.panel_bytes;
  };
  const auto decode = [&](auto p, int64_t k, int64_t step) {
    DecodeBlock<kFormat>(weights_of(k, p), 0, 1, block.step, decoded[step % 2][p]);
  };
  if constexpr (kFormat == Format::kF8) {
    ForEach<kPanels>([&](auto p) { decode(p, block.k_begin, 0); });
  }
  int64_t fetched = 0, due = 0;
  int64_t group = kHasGroups ? block.k_begin / tile.groups.depth : 0, group_end = block.k_begin + tile.groups.depth;
  for (int64_t k = block.k_begin, step = 0; k < block.k_end; k += block.step, ++step) {
    if (tile.parts != nullptr && (k + tile.part_offset) % tile.panel_depth == 0 && k + tile.panel_depth < tile.depth) {
      next = PartOf<kFormat>(tile, k + tile.panel_depth) + panel * block.next_bytes;
      fetched = due = 0;
    }
    for (due += block.bytes_a_step; fetched < due; fetched += 64) {
      ForEach<kPanels>([&](auto p) { Ops::Prefetch(next + fetched + p * apart * block.next_bytes); });
    }
    const auto load_input = [&](auto to, auto r, int64_t offset) {
      _tile_loadd(kInputs + decltype(to)::value, input + k + r * kTileRows * tile.input_stride + offset, input_bytes);
    };
    const auto load_weights = [&](auto p) {
      constexpr int kPanel = decltype(p)::value, kTile = kWeights + kPanel % 2;
      if constexpr (kFormat == Format::kF8) {
        if (k + block.step < block.k_end) {
          decode(p, k + block.step, step + 1);
        }
        _tile_loadd(kTile, decoded[step % 2][kPanel], kTileRowBytes);
      } else {
        _tile_loadd(kTile, weights_of(k, kPanel), kTileRowBytes);
      }
    };
    const auto multiply = [&](auto from, auto r, auto p) {
      MultiplyTile<kFormat, 2 * r + p, kInputs + from, kWeights + p % 2>();
    };
    if constexpr (kRowTiles == 1) {
      load_input(kFirst, kFirst, 0);
      if constexpr (kIsSplit) {
        load_input(kSecond, kFirst, tile.low_offset);
      }
      ForEach<kPanels>([&](auto p) {
        load_weights(p);
        multiply(kFirst, kFirst, p);
        if constexpr (kIsSplit) {
          multiply(kSecond, kFirst, p);
        }
      });
    } else {
      ForEach<kPanels>(load_weights);
      ForEach<kRowTiles>([&](auto r) {
        load_input(r, r, 0);
        ForEach<kPanels>([&](auto p) { multiply(r, r, p); });
        if constexpr (kIsSplit) {
          load_input(r, r, tile.low_offset);
          ForEach<kPanels>([&](auto p) { multiply(r, r, p); });
        }
      });
    }
    if constexpr (kHasGroups) {
      if (k + block.step == group_end) {
        for_sums([&](auto sum, int64_t first, int64_t at) {
          _tile_stored(decltype(sum)::value, edge, kTileRowBytes);
          _tile_zero(decltype(sum)::value);
          for (int64_t r = 0; r < rows_of(first); ++r) {
            AddGroup(tile, first + r, at, group, OffsetOf(tile, first + r, group), Ops::Load(edge[r], kPanelRows));
          }
        });
        ++group;
        group_end += tile.groups.depth;
      }
    }
  }
  if constexpr (kHasGroups) {
    return;
  }
  for_sums([&](auto sum, int64_t first, int64_t at) {
    if (const int columns = ColumnsOf(tile, at); columns == kPanelRows) {
      _tile_stored(decltype(sum)::value, OutputOf(tile, first, at), tile.output_row_bytes);
    } else {
      _tile_stored(decltype(sum)::value, edge, kTileRowBytes);
      for (int64_t r = 0; r < rows_of(first); ++r) {
        Ops::Store(OutputOf(tile, first + r, at), Ops::Load(edge[r], kPanelRows), columns);
      }
    }
  });
}

/// The panels of `tile` from `panel` on that come in whole runs of kPanels, side by side; returns the first after them.
/// `spread`: as far apart as they can be, so that each is read as one long stream with its neighbours.
template <Format kFormat, int kRowTiles, int kPanels>
int64_t MultiplyRuns(const LinearTile& tile, int64_t row, int64_t num_rows, int64_t panel, bool spread,
                     const TileBlock& block) {
  const int64_t runs = (tile.num_panels - panel) / kPanels;
  for (int64_t i = 0; i < runs; ++i) {
    MultiplyBlock<kFormat, kRowTiles, kPanels>(tile, row, num_rows, panel + (spread ? i : i * kPanels),
                                               spread ? runs : 1, block);
  }
  return panel + runs * kPanels;
}

/// All panels of `tile` for rows [row, row + num_rows), at most 32.
template <Format kFormat>
void MultiplyGroup(TileShapes& shapes, const LinearTile& tile, int64_t row, int64_t num_rows, const TileBlock& block) {
  shapes.Set(num_rows, block.step * static_cast<int64_t>(sizeof(ElementOf<kFormat>)));
  if (num_rows <= kTileRows) {
    int64_t panel = MultiplyRuns<kFormat, 1, 4>(tile, row, num_rows, 0, /*spread=*/true, block);
    panel = MultiplyRuns<kFormat, 1, 2>(tile, row, num_rows, panel, /*spread=*/false, block);
    MultiplyRuns<kFormat, 1, 1>(tile, row, num_rows, panel, /*spread=*/false, block);
  } else {
    const int64_t panel = MultiplyRuns<kFormat, 2, 2>(tile, row, num_rows, 0, /*spread=*/true, block);
    MultiplyRuns<kFormat, 2, 1>(tile, row, num_rows, panel, /*spread=*/false, block);
  }
  if (block.k_end == tile.depth && (kFormat == Format::kI8 || !tile.epilogue.is_empty())) {
    Finish<kFormat>(tile, row, num_rows);
  }
}

/// Elements of k of a whole step.
template <Format kFormat>
constexpr int64_t WholeStep() {
  return kTileRowBytes / static_cast<int64_t>(sizeof(ElementOf<kFormat>));
}

/// The block of k from k_begin on, at most `most` elements, but at least a group of I8.
template <Format kFormat>
TileBlock BlockOf(const LinearTile& tile, int64_t k_begin, int64_t most) {
  constexpr bool kHasGroups = kFormat == Format::kI8Groups;
  const int64_t step = kHasGroups && tile.groups.depth % WholeStep<kFormat>() != 0 ? kGroupUnit
                       : IsI8(kFormat)                                             ? WholeStep<kFormat>()
                                       : std::min(WholeStep<kFormat>(), tile.sum_unit);
  const int64_t whole = tile.depth / step * step, unit = kHasGroups ? tile.groups.depth : step;
  TileBlock block = {};
  block.k_begin = k_begin;
  block.k_end = k_begin == whole ? tile.depth : std::min(whole, k_begin + std::max(unit, most / unit * unit));
  block.step = std::min(step, block.k_end - k_begin);
  block.weights = static_cast<const char*>(tile.panels) + k_begin * BytesOf(kFormat);
  block.panel_bytes = PanelBytes<kFormat>(tile);
  return block;
}

template <Format kFormat>
void RunTileOf(const LinearTile& tile) {
  constexpr int64_t kBytes = BytesOf(kFormat);
  constexpr Format kMultiplied = MultipliedOf(kFormat);
  constexpr bool kDecodes = kMultiplied != kFormat;
  TileShapes shapes;
  if (tile.num_rows <= kGroupRows || tile.parts != nullptr) {
    for (int64_t k = 0; k < tile.depth;) {
      TileBlock block = BlockOf<kFormat>(tile, k, tile.depth);
      block.next = tile.parts != nullptr  ? PartOf<kFormat>(tile, k)
                   : tile.next != nullptr ? static_cast<const char*>(tile.next) + k * kBytes
                                          : block.weights + kAheadBytes;
      block.next_bytes = block.panel_bytes;
      block.bytes_a_step = block.step * kBytes;
      for (int64_t row = 0; row < tile.num_rows; row += kGroupRows) {
        MultiplyGroup<kFormat>(shapes, tile, row, std::min(kGroupRows, tile.num_rows - row), block);
      }
      k = block.k_end;
    }
    return;
  }
  alignas(64) char decoded[kDecodes ? kBlockBytes : 64];
  const char* panels = static_cast<const char*>(tile.panels);
  const int64_t groups = (tile.num_rows + kGroupRows - 1) / kGroupRows, panel_bytes = PanelBytes<kFormat>(tile);
  const int64_t block_depth = kBlockSteps * WholeStep<kFormat>();
  for (int64_t chunk = 0, chunk_end = 0; chunk < tile.depth; chunk = chunk_end) {
    chunk_end = BlockOf<kFormat>(tile, chunk, kChunkBlocks * block_depth).k_end;
    for (int64_t panel = 0, count = 0; panel < tile.num_panels; panel += count) {
      count = std::min<int64_t>(2, tile.num_panels - panel);
      const LinearTile part = PanelsOf<kFormat>(tile, panel, count);
      for (int64_t k = chunk, k_end = 0; k < chunk_end; k = k_end) {
        TileBlock block = BlockOf<kFormat>(part, k, block_depth);
        k_end = block.k_end;
        if constexpr (kDecodes) {
          DecodeBlock<kFormat>(block.weights, panel_bytes, count, k_end - k, decoded);
          block.weights = decoded;
          block.panel_bytes = (k_end - k) * BytesOf(kMultiplied);
        }
        // Next come these panels with the next block, then those after them with the first block of the chunk; after
        // the last panels the first with the next chunk, or the next run.
        const char* next = k_end < chunk_end                 ? panels + panel * panel_bytes + k_end * kBytes
                           : panel + count < tile.num_panels ? panels + (panel + count) * panel_bytes + chunk * kBytes
                           : chunk_end < tile.depth          ? panels + chunk_end * kBytes
                           : tile.next != nullptr            ? static_cast<const char*>(tile.next)
                                                             : panels + tile.num_panels * panel_bytes;
        block.next_bytes = panel_bytes;
        block.bytes_a_step = kBytes * block.step / groups;
        for (int64_t group = 0; group < groups; ++group) {
          block.next = next + (k_end - k) * kBytes * group / groups;
          MultiplyGroup<kMultiplied>(shapes, part, group * kGroupRows,
                                     std::min(kGroupRows, tile.num_rows - group * kGroupRows), block);
        }
      }
    }
  }
}

template <Format kFormat>
int64_t MultiplyRegistersOf(int64_t count) {
  alignas(64) char operands[4][kTileBytes];
  for (char& byte : reinterpret_cast<char(&)[sizeof(operands)]>(operands)) {  // numbers: zeros take less power
    byte = static_cast<char>(0x39 + (&byte - operands[0]) % 6);
  }
  TileShapes shapes;
  shapes.Set(kGroupRows, kTileRowBytes);
  ForEach<kInputs>([&](auto tile) { _tile_zero(decltype(tile)::value); });
  ForEach<4>(
      [&](auto tile) { _tile_loadd(kInputs + decltype(tile)::value, operands[decltype(tile)::value], kTileRowBytes); });
  constexpr int64_t kEach = 4 * kTileRows * kPanelRows * WholeStep<kFormat>();
  for (int64_t i = 0; i < count; i += kEach) {
    ForEach<2>(
        [&](auto r) { ForEach<2>([&](auto p) { MultiplyTile<kFormat, 2 * r + p, kInputs + r, kWeights + p>(); }); });
  }
  return (count + kEach - 1) / kEach * kEach;
}
int64_t MultiplyRegisters(DType dtype, int64_t count) {
  return dtype == DType::kI8 ? MultiplyRegistersOf<Format::kI8>(count) : MultiplyRegistersOf<Format::kBF16>(count);
}

void RunF32(const LinearTile& tile) { kLinearAvx512Vbmi.f32(tile); }
void RunBF16(const LinearTile& tile) {
  tile.low_offset != 0 ? RunTileOf<Format::kSplitBF16>(tile) : RunTileOf<Format::kBF16>(tile);
}
void RunF8(const LinearTile& tile) { RunTileOf<Format::kF8>(tile); }
void RunI8(const LinearTile& tile) {
  tile.groups.scales == nullptr ? RunTileOf<Format::kI8>(tile) : RunTileOf<Format::kI8Groups>(tile);
}

}  // namespace

const LinearKernels kLinearAmx = {.f32 = RunF32,
                                  .bf16 = RunBF16,
                                  .f8 = RunF8,
                                  .i8 = RunI8,
                                  .operand = kOperand,
                                  .tile_panels = 4,
                                  .rows_at_once = 256,
                                  .takes_parts = true,
                                  .tasks_each = 3,
                                  .round_to_bf16 = RoundToBF16,
                                  .round_to_operand = RoundToOperand,
                                  .decode_f8 = DecodeF8,
                                  .sum_i8 = SumI8,
                                  .multiply_registers = MultiplyRegisters};

}  // namespace nemotron::runtime::cpu
