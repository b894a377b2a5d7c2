// The loops of the matrix kernels, shared by all instruction sets. A file an instruction set defines `Ops` (a vector of
// 16 outputs and its multiply-adds) and includes this inside its anonymous namespace; no include guard, since each file
// needs its own copy.
//
// Few rows (decode): bound by memory. A thread walks several panels side by side, each from start to end, so that every
// weight byte is read once, in order, and enough sums are in flight to hide the latency of the multiply-add. Many rows
// (prefill): bound by the multiply-add units. A register tile of rows x panels reuses each loaded vector of weights for
// all its rows and each broadcast input for all its panels; k is cut into blocks so that the panels of a tile stay in
// L2 while all rows pass by. Between blocks the sums are stored to and reloaded from the output in F32, which changes
// no bit.

/// Elements of k a block: 3 panels of BF16 take 96 KiB, 8 rows of input 16 KiB.
constexpr int64_t kBlockDepth = 1024;

// All loops over rows and panels are unrolled, the first and last too: the compiler keeps `sums` in registers only if
// no index into it is variable.

template <bool kBF16, bool kSplit, int kRows, int kPanels>
inline __attribute__((always_inline)) void RegisterTile(const LinearTile& tile, int64_t row, int64_t panel,
                                                        int64_t k_begin, int64_t k_end) {
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
  for (int64_t k = k_begin; k < k_end; k += kStep) {
    if constexpr (kBF16) {
      typename Ops::BF16Vector w[kPanels];
#pragma GCC unroll 16
      for (int p = 0; p < kPanels; ++p) {
        w[p] = Ops::LoadBF16(weights + p * panel_elements);
        if constexpr (kRows <= 2) {
          Ops::Prefetch(weights + p * panel_elements + kPrefetchElements);
        }
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
        if constexpr (kRows <= 2) {
          Ops::Prefetch(weights + p * panel_elements + kPrefetchElements);
        }
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

/// All panels for rows [row, row + kRows).
template <bool kBF16, bool kSplit, int kRows, int kPanels>
void RowTile(const LinearTile& tile, int64_t row, int64_t k_begin, int64_t k_end) {
  int64_t panel = 0;
  for (; panel + kPanels <= tile.num_panels; panel += kPanels) {
    RegisterTile<kBF16, kSplit, kRows, kPanels>(tile, row, panel, k_begin, k_end);
  }
  for (; panel < tile.num_panels; ++panel) {
    RegisterTile<kBF16, kSplit, kRows, 1>(tile, row, panel, k_begin, k_end);
  }
}

template <bool kBF16, bool kSplit>
void RunTileOf(const LinearTile& tile) {
  constexpr int kRows = Ops::kTileRows, kPanels = Ops::kTilePanels;
  if (tile.num_rows == 1) {
    return RowTile<kBF16, kSplit, 1, Ops::kStreamPanels>(tile, 0, 0, tile.depth);
  }
  for (int64_t k_begin = 0; k_begin < tile.depth; k_begin += kBlockDepth) {
    const int64_t k_end = std::min(tile.depth, k_begin + kBlockDepth);
    // Panels outside, rows inside: the panels of a tile are read from memory once a block and serve all rows.
    for (int64_t panel = 0; panel < tile.num_panels; panel += kPanels) {
      LinearTile part = tile;
      part.panels = static_cast<const char*>(tile.panels) + panel * kPanelRows * tile.depth * (kBF16 ? 2 : 4);
      part.num_panels = std::min<int64_t>(kPanels, tile.num_panels - panel);
      part.output = tile.output + panel * kPanelRows;
      part.num_columns = std::min(tile.num_columns - panel * kPanelRows, part.num_panels * kPanelRows);
      part.bias = tile.bias == nullptr ? nullptr : tile.bias + panel * kPanelRows;
      int64_t row = 0;
      for (; row + kRows <= tile.num_rows; row += kRows) {
        RowTile<kBF16, kSplit, kRows, kPanels>(part, row, k_begin, k_end);
      }
      if (row + kRows / 2 <= tile.num_rows) {
        RowTile<kBF16, kSplit, kRows / 2, kPanels>(part, row, k_begin, k_end);
        row += kRows / 2;
      }
      for (; row + 2 <= tile.num_rows; row += 2) {
        RowTile<kBF16, kSplit, 2, kPanels>(part, row, k_begin, k_end);
      }
      if (row < tile.num_rows) {
        RowTile<kBF16, kSplit, 1, kPanels>(part, row, k_begin, k_end);
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
