// The loops of the matrix kernels, shared by all instruction sets. A file an instruction set defines `Ops` (a vector of
// 16 outputs and its multiply-adds) and includes this inside its anonymous namespace; no include guard, since each file
// needs its own copy.
//
// One row (decode): bound by memory. A thread walks a few panels side by side, each from start to end, so that every
// weight byte is read once, in order, and enough sums are in flight to hide the latency of the multiply-add.
//
// Some rows, as many as a register tile has: the same with each loaded vector of weights used for all rows.
//
// Many rows (prefill): bound by the multiply-add units. Groups of rows take turns on a tile of panels; k is cut into
// blocks so that the panels of a tile stay in L2 meanwhile. Only the first group of rows would wait for memory, so all
// of them fetch a share of the tile that comes next. Between blocks the sums are stored to and reloaded from the output
// in F32, which changes no bit.

/// Elements of k a block: 3 panels of BF16 take 96 KiB, 8 rows of input 16 KiB.
constexpr int64_t kBlockDepth = 1024;

/// Weights to fetch while a register tile is computed. Zen 5, N = 18560, K = 4096, BF16, 2 cores, against none: T = 24
/// 1.45 times as fast, T = 32 1.3, T = 128 1.07. A prefetch beside every load, most of them of lines already there,
/// takes 1.7 times as long.
struct Ahead {
  const char* weights = nullptr;  // of the first panel; those of the others lie a panel apart
  int64_t bytes = 0;              // of each panel, every kAheadSteps steps of k; 0: nothing
};
constexpr int64_t kAheadSteps = 16;

// All loops over rows and panels are unrolled, the first and last too: the compiler keeps `sums` in registers only if
// no index into it is variable.

template <bool kBF16, bool kSplit, int kRows, int kPanels>
inline __attribute__((always_inline)) void RegisterTile(const LinearTile& tile, int64_t row, int64_t panel,
                                                        int64_t k_begin, int64_t k_end, const Ahead& ahead) {
  using Element = std::conditional_t<kBF16, uint16_t, float>;
  constexpr int64_t kStep = kBF16 ? 2 : 1;
  const int64_t panel_elements = kPanelRows * tile.depth;
  const auto* input = static_cast<const Element*>(tile.input) + row * tile.input_stride;
  const auto* weights = static_cast<const Element*>(tile.panels) + panel * panel_elements + k_begin * kPanelRows;
  const auto output = [&](int r) {
    return reinterpret_cast<float*>(reinterpret_cast<char*>(tile.output) + (row + r) * tile.output_row_bytes) +
           panel * kPanelRows;
  };
  const auto columns = [&](int p) {
    return static_cast<int>(std::min<int64_t>(kPanelRows, tile.num_columns - (panel + p) * kPanelRows));
  };
  typename Ops::Vector sums[kRows][kPanels];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int p = 0; p < kPanels; ++p) {
      sums[r][p] = k_begin == 0 ? Ops::Zero() : Ops::Load(output(r) + p * kPanelRows, columns(p));
    }
  }
  int64_t fetched = 0, due = 0;
  for (int64_t k_chunk = k_begin; k_chunk < k_end; k_chunk += kAheadSteps * kStep) {
    for (due += ahead.bytes; fetched < due; fetched += 64) {
#pragma GCC unroll 16
      for (int p = 0; p < kPanels; ++p) {
        Ops::Prefetch(ahead.weights + fetched + p * panel_elements * static_cast<int64_t>(sizeof(Element)));
      }
    }
    const int64_t chunk_end = std::min(k_end, k_chunk + kAheadSteps * kStep);
    for (int64_t k = k_chunk; k < chunk_end; k += kStep) {
      if constexpr (kBF16) {
        typename Ops::BF16Vector w[kPanels];
#pragma GCC unroll 16
        for (int p = 0; p < kPanels; ++p) {
          w[p] = Ops::LoadBF16(weights + p * panel_elements);
        }
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) {
          const auto x = Ops::BroadcastBF16(input + r * tile.input_stride + k);
#pragma GCC unroll 16
          for (int p = 0; p < kPanels; ++p) {
            sums[r][p] = Ops::MultiplyAddBF16(sums[r][p], x, w[p]);
          }
          if constexpr (kSplit) {
            const auto low = Ops::BroadcastBF16(input + r * tile.input_stride + tile.low_offset + k);
#pragma GCC unroll 16
            for (int p = 0; p < kPanels; ++p) {
              sums[r][p] = Ops::MultiplyAddBF16(sums[r][p], low, w[p]);
            }
          }
        }
      } else {
        typename Ops::Vector w[kPanels];
#pragma GCC unroll 16
        for (int p = 0; p < kPanels; ++p) {
          w[p] = Ops::Load(weights + p * panel_elements, kPanelRows);
        }
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) {
          const auto x = Ops::Broadcast(input[r * tile.input_stride + k]);
#pragma GCC unroll 16
          for (int p = 0; p < kPanels; ++p) {
            sums[r][p] = Ops::MultiplyAdd(sums[r][p], x, w[p]);
          }
        }
      }
      weights += kPanelRows * kStep;
    }
  }
  const bool last = k_end == tile.depth;
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int p = 0; p < kPanels; ++p) {
      auto sum = sums[r][p];
      if (last && tile.bias != nullptr) {
        sum = Ops::Add(sum, Ops::Load(tile.bias + (panel + p) * kPanelRows, columns(p)));
      }
      if (last && tile.relu2) {
        sum = Ops::Relu2(sum);
      }
      Ops::Store(output(r) + p * kPanelRows, sum, columns(p));
    }
  }
}

/// All panels of `tile` for rows [row, row + kRows).
template <bool kBF16, bool kSplit, int kRows, int kPanels>
void RowTile(const LinearTile& tile, int64_t row, int64_t k_begin, int64_t k_end, const Ahead& ahead) {
  int64_t panel = 0;
  for (; panel + kPanels <= tile.num_panels; panel += kPanels) {
    RegisterTile<kBF16, kSplit, kRows, kPanels>(tile, row, panel, k_begin, k_end, ahead);
  }
  for (; panel < tile.num_panels; ++panel) {
    RegisterTile<kBF16, kSplit, kRows, 1>(tile, row, panel, k_begin, k_end, ahead);
  }
}

/// The same for rows [row, row + num_rows), at most kMost.
template <bool kBF16, bool kSplit, int kMost>
void UpToRows(const LinearTile& tile, int64_t row, int64_t num_rows, int64_t k_begin, int64_t k_end,
              const Ahead& ahead) {
  if (num_rows == kMost) {
    return RowTile<kBF16, kSplit, kMost, Ops::kTilePanels>(tile, row, k_begin, k_end, ahead);
  }
  if constexpr (kMost > 1) {
    UpToRows<kBF16, kSplit, kMost - 1>(tile, row, num_rows, k_begin, k_end, ahead);
  }
}

/// Panels [panel, panel + num_panels) of `tile`.
template <bool kBF16>
LinearTile PanelsOf(const LinearTile& tile, int64_t panel, int64_t num_panels) {
  LinearTile part = tile;
  part.panels = static_cast<const char*>(tile.panels) + panel * kPanelRows * tile.depth * (kBF16 ? 2 : 4);
  part.num_panels = std::min(num_panels, tile.num_panels - panel);
  part.output = tile.output + panel * kPanelRows;
  part.num_columns = std::min(tile.num_columns - panel * kPanelRows, part.num_panels * kPanelRows);
  part.bias = tile.bias == nullptr ? nullptr : tile.bias + panel * kPanelRows;
  return part;
}

template <bool kBF16, bool kSplit>
void RunTileOf(const LinearTile& tile) {
  constexpr int kRows = Ops::kTileRows, kPanels = Ops::kTilePanels;
  if (tile.num_rows == 1) {
    return RowTile<kBF16, kSplit, 1, Ops::kStreamPanels>(tile, 0, 0, tile.depth, {});
  }
  if (tile.num_rows <= kRows) {
    return UpToRows<kBF16, kSplit, kRows>(tile, 0, tile.num_rows, 0, tile.depth, {});
  }
  const int64_t groups = (tile.num_rows + kRows - 1) / kRows;
  const int64_t k_bytes = kPanelRows * (kBF16 ? 2 : 4);  // of a panel, one k
  for (int64_t k_begin = 0; k_begin < tile.depth; k_begin += kBlockDepth) {
    const int64_t k_end = std::min(tile.depth, k_begin + kBlockDepth);
    // Panels outside, rows inside: the panels of a tile are read from memory once a block and serve all rows.
    for (int64_t panel = 0; panel < tile.num_panels; panel += kPanels) {
      const LinearTile part = PanelsOf<kBF16>(tile, panel, kPanels);
      // Next come the panels after these; after the last the first again with the next block of k, or the next task.
      const bool is_last = panel + kPanels >= tile.num_panels;
      const int64_t next_k = !is_last             ? (panel + kPanels) * tile.depth + k_begin
                             : k_end < tile.depth ? k_end
                                                  : tile.num_panels * tile.depth;
      const char* next = static_cast<const char*>(tile.panels) + next_k * k_bytes;
      for (int64_t group = 0; group < groups; ++group) {
        const Ahead ahead{next + (k_end - k_begin) * k_bytes * group / groups, 64 * kAheadSteps / groups};
        UpToRows<kBF16, kSplit, kRows>(part, group * kRows, std::min<int64_t>(kRows, tile.num_rows - group * kRows),
                                       k_begin, k_end, ahead);
      }
    }
  }
}

void RunF32(const LinearTile& tile) { RunTileOf<false, false>(tile); }
void RunBF16(const LinearTile& tile) {
  tile.low_offset == 0 ? RunTileOf<true, false>(tile) : RunTileOf<true, true>(tile);
}

void RoundToBF16(const float* input, int64_t size, uint16_t* output) {
  for (int64_t i = 0; i < size; ++i) {
    output[i] = F32ToBF16(input[i]);
  }
}
