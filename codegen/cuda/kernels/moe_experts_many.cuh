// Experts of more than 8 tokens. A launch sorts the picks by expert into tiles of at most 32 or 64 rows, then come
// `up`, `down` and the sum. 32 rows as long as an expert has not more of them on average: then one block a band reads
// nearly all experts once.
#include "codegen/cuda/kernels/moe_experts_products.cuh"

/// Up to kTileRows picks of one expert: `count` of the order from `first` on. Loaded at once, hence the padding.
struct alignas(16) PickTile {
  int expert, first, count, padding;
};

/// The order of picks by expert, and within an expert by token, and the tiles of it. A block an expert: it reads all
/// picks twice, once to count those of earlier experts and its own, once to write down the latter. Tiles of expert e
/// begin at tile floor(first pick / kTileRows) + e, which leaves room for those of the experts before it, whatever
/// their sizes; a block writes the empty ones up to the next expert's too. Grid (E).
template <class Config, int kTileRows>
__device__ void SortPicks(const int* indices, char* scratch, const StepTables& step) {
  constexpr int kWarps = Config::kSortThreads / 32;
  __shared__ int2 counts[kWarps];  // picks of earlier experts, picks of this expert
  const int expert = blockIdx.x, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int num_picks = step.num_tokens * Config::kPicks;
  int* order = ExpertScratch<Config>(scratch, step).Order();
  PickTile* tiles = ExpertScratch<Config>(scratch, step).template Tiles<PickTile>();

  const int of_warp = (num_picks + Config::kSortThreads - 1) / Config::kSortThreads * 32;
  const int begin = min(warp * of_warp, num_picks), end = min(begin + of_warp, num_picks);
  int less = 0, equal = 0;
#pragma unroll 4
  for (int pick = begin + lane; pick < end; pick += 32) {
    const int other = ExpertOf<Config>(indices, pick);
    less += other < expert;
    equal += other == expert;
  }
  less = __reduce_add_sync(~0u, less);
  equal = __reduce_add_sync(~0u, equal);
  if (lane == 0) {
    counts[warp] = {less, equal};
  }
  __syncthreads();
  int first = 0, count = 0, before = 0;
  for (int i = 0; i < kWarps; ++i) {
    first += counts[i].x;
    count += counts[i].y;
    before += i < warp ? counts[i].y : 0;
  }
  if (count > 0) {
#pragma unroll 4
    for (int base = begin; base < end; base += 32) {
      const int pick = base + lane;
      const bool is_mine = pick < end && ExpertOf<Config>(indices, pick) == expert;
      const unsigned mine = __ballot_sync(~0u, is_mine);
      if (is_mine) {
        order[first + before + __popc(mine & ((1u << lane) - 1))] = pick;
      }
      before += __popc(mine);
    }
  }
  const int first_tile = first / kTileRows + expert;
  const int next_tile = expert + 1 < Config::kExperts ? (first + count) / kTileRows + expert + 1
                                                      : (num_picks + kTileRows - 1) / kTileRows + Config::kExperts;
  for (int i = threadIdx.x; i < next_tile - first_tile; i += Config::kSortThreads) {
    tiles[first_tile + i] = {expert, first + i * kTileRows, min(max(count - i * kTileRows, 0), kTileRows), 0};
  }
}

/// A tile of picks times bands of its expert's matrix. row_of(pick) is the row of `input` and its scale, convert(sum,
/// expert) what is stored at `outputs`, rows by pick. Elements of less than 4 bytes go through shared memory, so that
/// whole sectors are stored; rows are 16 bytes longer there, against bank conflicts. Grid (ceil(bands / kBlockBands),
/// tiles).
template <class Config, class Product, class Tile, int kStride, class Output, class RowOf, class Convert>
__device__ void MultiplyPicks(const ExpertMatrices<Product>& matrices, const typename Product::Input* input,
                              const float* row_scales, Output* outputs, const ExpertScratch<Config>& scratch,
                              RowOf row_of, Convert convert) {
  using Shape = MatmulShape<Product, Tile>;
  constexpr int kBlockOutputs = Shape::kBlockBands * 16, kVector = 16 / static_cast<int>(sizeof(Output));
  extern __shared__ __align__(16) char shared[];
  __shared__ int picks[Shape::kBlockRows];
  __shared__ float scales[Shape::kBlockRows];  // if there are any: of rows that became codes
  const int* order = scratch.Order();
  const PickTile tile = scratch.template Tiles<PickTile>()[blockIdx.y];
  if (tile.count == 0) {
    return;
  }
  for (int i = threadIdx.x; i < Shape::kBlockRows; i += Shape::kThreads) {
    picks[i] = i < tile.count ? order[tile.first + i] : -1;
    if (Product::kScaling != Scaling::kNone && i < tile.count) {
      scales[i] = row_scales[row_of(picks[i])];
    }
  }
  __syncthreads();
  const int first_band = blockIdx.x * Shape::kBlockBands, row_tiles = (tile.count + 7) / 8;
  const int first_row_tile = threadIdx.x / 32 / Tile::kWarpsN * Tile::kRowTiles;  // of this warp
  const char* bands = matrices.template Bands<Tile>(tile.expert, first_band);
  SlabCopies<Product, Tile> copies(bands, input, Shape::kNumBands - first_band,
                                   [&](int row) { return picks[row] < 0 ? -1 : row_of(picks[row]); });
  WarpSums<Product, Tile> sums;
  StreamSlabs<Tile, Shape::kStageBytes, sums.kUnrolled>(
      shared, Shape::kNumSlabs, [&](char* stage, int slab) { copies.Fetch(stage, slab); },
      [&](const char* stage, int slab) {
        sums.Multiply(stage, stage + Shape::kWeightBytes, slab, row_tiles - first_row_tile);
      });

  constexpr bool kStaged = sizeof(Output) < 4;
  constexpr int kPitch = kBlockOutputs + kVector;
  static_assert(!kStaged || Shape::kBlockRows * kPitch * sizeof(Output) <= Tile::kStages * Shape::kStageBytes);
  auto* staged = reinterpret_cast<Output*>(shared);
  if constexpr (kStaged) {
    __syncthreads();  // the ring was read by all
  }
  sums.Take([&](float sum, int row, int output_of_block, int) {
    const int output = first_band * 16 + output_of_block;
    if (const int pick = picks[row]; pick >= 0 && output < Product::kOutputs) {
      const Output value = convert(matrices.Scale(sum, tile.expert, output, scales[row]), tile.expert);
      if constexpr (kStaged) {
        staged[row * kPitch + output_of_block] = value;
      } else {
        outputs[int64{pick} * kStride + output] = value;
      }
    }
  });
  if constexpr (kStaged) {
    __syncthreads();
    constexpr int kChunks = kBlockOutputs / kVector;
    for (int i = threadIdx.x; i < tile.count * kChunks; i += Shape::kThreads) {
      const int row = i / kChunks, chunk = i % kChunks * kVector, output = first_band * 16 + chunk;
      Output* to = outputs + int64{picks[row]} * kStride + output;
      if (output + kVector <= Product::kOutputs) {
        StoreVector<kVector>(to, LoadVector<kVector>(staged + row * kPitch + chunk));
      } else {
        for (int j = 0; j < Product::kOutputs - output; ++j) {
          to[j] = staged[row * kPitch + chunk + j];
        }
      }
    }
  }
}

/// hidden = relu2(up * x) of the picks of a tile.
template <class Config, class Tile>
__device__ void UpPicks(const typename Config::Input* input, const char* up, const float* up_scale,
                        const float* up_input_scale, const float* down_input_scale, char* scratch,
                        const StepTables& step) {
  using Product = typename Config::Up;
  const ExpertScratch<Config> rows(scratch, step);
  MultiplyPicks<Config, Product, Tile, Config::kHiddenStride>(
      {up, up_scale, up_input_scale}, MultipliedRows<Product>(input, rows.UpCodes()), rows.UpScales(),
      rows.HiddenRows(), rows,
      [](int pick) { return Product::kScaling == Scaling::kStatic ? pick : pick / Config::kPicks; },
      [&](float sum, int expert) { return ToHidden<Config>(sum, expert, down_input_scale); });
}

/// down * hidden of the picks of a tile.
template <class Config, class Tile>
__device__ void DownPicks(const char* down, const float* down_scale, const float* down_input_scale, char* scratch,
                          const StepTables& step) {
  using Product = typename Config::Down;
  const ExpertScratch<Config> rows(scratch, step);
  MultiplyPicks<Config, Product, Tile, Config::kResultStride>(
      {down, down_scale, down_input_scale}, MultipliedRows<Product>(rows.HiddenRows(), rows.DownCodes()),
      rows.DownScales(), rows.Results(), rows, [](int pick) { return pick; }, [](float sum, int) { return sum; });
}

/// output = sum of weight * result over the picks of a token. Grid (T).
template <class Config>
__device__ void AddPicks(const float* weights, float* output, char* scratch, const StepTables& step) {
  constexpr int kVector = Config::kOutputVector;
  const int64 token = blockIdx.x;
  const float* results =
      ExpertScratch<Config>(scratch, step).Results() + token * Config::kPicks * Config::kResultStride;
  for (int i = threadIdx.x * kVector; i < Config::Down::kOutputs; i += Config::kAddThreads * kVector) {
    Vector<float, kVector> total = {};
#pragma unroll 8
    for (int pick = 0; pick < Config::kPicks; ++pick) {
      const auto result = LoadVector<kVector>(results + pick * Config::kResultStride + i);
      const float weight = weights[token * Config::kWeightStride + pick];
#pragma unroll
      for (int j = 0; j < kVector; ++j) {
        total.values[j] = fmaf(weight, result.values[j], total.values[j]);
      }
    }
    StoreVector<kVector>(output + token * Config::kOutputStride + i, total);
  }
}
