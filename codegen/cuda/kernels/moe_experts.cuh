// Experts: for each pick of a token, down_e * relu2(up_e * x), added up with the weights of the picks. Two products,
// with the slabs and sums of matmul_slabs.cuh; rows of x are gathered, so that a block multiplies the rows of one
// expert. All intermediate rows lie in scratch memory by pick, t * k + i for pick i of token t: nothing is moved to be
// sorted.
//
// Up to 8 tokens: tokens are the 8 columns of operand B, those that did not pick the expert zero. Each block finds for
// itself which experts are picked; one launch multiplies by `up`, one by `down` and adds. The chosen experts are read,
// each byte once: bound by memory.
//
// More tokens: a launch sorts the picks by expert into tiles of at most 32 or 64 rows, then come `up`, `down` and the
// sum. 32 rows as long as an expert has not more of them on average: then one block a band reads nearly all experts
// once.
//
// Sums are chains over K that do not depend on the tile (matmul_slabs.cuh), and a token's picks are added one after
// another in the order of experts, with the same multiply-adds either way: results do not depend on the step.
//
// Config::Up and Config::Down are products: beside what SlabCopies takes, kWeightScales (0: none, 1: one an expert,
// else one an output) and kInputScale. Config::k...Offset tell where in scratch, in bytes a token.

enum class InputScale { kNone, kRow, kExpert };  // of codes

/// The expert of a pick, within range whatever the router says.
template <class Config>
__device__ int ExpertOf(const int* indices, int pick) {
  const int expert = indices[int64{pick / Config::kPicks} * Config::kIndexStride + pick % Config::kPicks];
  return min(max(expert, 0), Config::kExperts - 1);
}

//===---- Codes ---------------------------------------------------------------------------------------------------===//

/// A row of F32 as E4M3 codes: x is stored as e4m3(x / scale). `scale` is that of the expert, or if kScale is kRow
/// max(m / 448, 2^-126), m the absolute maximum of the row, NaNs not counted, and is stored. A block a row.
template <int kColumns, int kVector, int kThreads, InputScale kScale, class Code>
__device__ void QuantizeExpertRow(const float* from, Code* to, float scale, float* scale_to) {
  if constexpr (kScale == InputScale::kRow) {
    __shared__ float scratch[kThreads / 32];
    float largest = 0;
    for (int i = threadIdx.x * kVector; i < kColumns; i += kThreads * kVector) {
      const auto x = LoadVector<kVector>(from + i);
      for (int j = 0; j < kVector; ++j) {
        largest = fmaxf(largest, fabsf(x.values[j]));
      }
    }
    scale = fmaxf(BlockReduce<Max, kThreads>(largest, scratch) / 448.0f, 0x1p-126f);
    if (threadIdx.x == 0) {
      *scale_to = scale;
    }
  }
  for (int i = threadIdx.x * kVector; i < kColumns; i += kThreads * kVector) {
    const auto x = LoadVector<kVector>(from + i);
    Vector<Code, kVector> codes;
    for (int j = 0; j < kVector; ++j) {
      codes.values[j] = FromFloat<Code>(x.values[j] / scale);
    }
    StoreVector<kVector>(to + i, codes);
  }
}

/// The input as codes: a row a token, or where experts have scales a row a pick. Grid (T or T * k).
template <class Config>
__device__ void QuantizeInput(const float* input, const int* indices, const float* expert_scales, char* scratch,
                              const StepTables& step) {
  constexpr bool kOfPick = Config::Up::kInputScale == InputScale::kExpert;
  const int64 row = blockIdx.x, num_tokens = step.num_tokens;
  auto* codes = reinterpret_cast<typename Config::Up::Input*>(scratch + num_tokens * Config::kUpInputOffset);
  auto* scales = reinterpret_cast<float*>(scratch + num_tokens * Config::kUpScalesOffset);
  QuantizeExpertRow<Config::Up::kDepth, Config::kUpVector, Config::kQuantizeThreads, Config::Up::kInputScale>(
      input + (kOfPick ? row / Config::kPicks : row) * Config::kInputStride, codes + row * Config::Up::kInputStride,
      kOfPick ? expert_scales[ExpertOf<Config>(indices, row)] : 0.0f, scales + row);
}

/// What `up` gave as codes, with a scale a row. Grid (T * k).
template <class Config>
__device__ void QuantizeHidden(char* scratch, const StepTables& step) {
  const int64 row = blockIdx.x, num_tokens = step.num_tokens;
  const auto* hidden = reinterpret_cast<const float*>(scratch + num_tokens * Config::kHiddenOffset);
  auto* codes = reinterpret_cast<typename Config::Down::Input*>(scratch + num_tokens * Config::kDownInputOffset);
  auto* scales = reinterpret_cast<float*>(scratch + num_tokens * Config::kDownScalesOffset);
  QuantizeExpertRow<Config::Down::kDepth, Config::kDownVector, Config::kQuantizeThreads, InputScale::kRow>(
      hidden + row * Config::kHiddenStride, codes + row * Config::Down::kInputStride, 0.0f, scales + row);
}

//===---- The products --------------------------------------------------------------------------------------------===//

/// The matrices of one of the products, what it multiplies and how that is scaled.
template <class Product>
struct ExpertMatrices {
  const char* weight;                    // [E, N, K]
  const float* weight_scale;             // [E, 1] or [E, N] if kWeightScales is not 0
  const float* input_scale;              // [E] or a row, as kInputScale says
  const typename Product::Input* input;  // [rows, K]

  /// The bands of `expert` from `first_band` on.
  template <class Tile>
  __device__ const char* Bands(int expert, int first_band) const {
    using Shape = MatmulShape<Product, Tile>;
    return weight + (int64{expert} * Shape::kNumBands + first_band) * Shape::kNumTiles * 512;
  }

  /// The product of the scales is rounded, then the sum multiplied by it.
  __device__ float Scale(float sum, int expert, int output, int row) const {
    if constexpr (Product::kWeightScales == 0) {
      return sum;
    } else {
      float scale = weight_scale[Product::kWeightScales == 1 ? expert : int64{expert} * Product::kOutputs + output];
      if constexpr (Product::kInputScale != InputScale::kNone) {
        scale = input_scale[Product::kInputScale == InputScale::kRow ? row : expert] * scale;
      }
      return sum * scale;
    }
  }
};

/// `input` is that of the dispatch if no codes were made of it.
template <class Config>
__device__ ExpertMatrices<typename Config::Up> UpMatrices(const void* input, const char* up, const float* scale,
                                                          const float* expert_scale, const char* scratch,
                                                          int64 num_tokens) {
  using Product = typename Config::Up;
  const void* codes = scratch + num_tokens * Config::kUpInputOffset;
  const auto* row_scales = reinterpret_cast<const float*>(scratch + num_tokens * Config::kUpScalesOffset);
  const bool is_codes = Product::kInputKind == InputKind::kCodes;
  return {up, scale, Product::kInputScale == InputScale::kRow ? row_scales : expert_scale,
          static_cast<const typename Product::Input*>(is_codes ? codes : input)};
}

template <class Config>
__device__ ExpertMatrices<typename Config::Down> DownMatrices(const char* down, const float* scale,
                                                              const float* expert_scale, const char* scratch,
                                                              int64 num_tokens) {
  using Product = typename Config::Down;
  const auto* row_scales = reinterpret_cast<const float*>(scratch + num_tokens * Config::kDownScalesOffset);
  return {down, scale, Product::kInputScale == InputScale::kRow ? row_scales : expert_scale,
          reinterpret_cast<const typename Product::Input*>(scratch + num_tokens * Config::kDownInputOffset)};
}

/// The row of up's input that a pick multiplies.
template <class Config>
__device__ int InputRow(int pick) {
  return Config::Up::kInputScale == InputScale::kExpert ? pick : pick / Config::kPicks;
}

/// relu2 of a sum of `up`, as `down` takes it: a code where the expert has a scale for them, else BF16 or F32.
template <class Config>
__device__ typename Config::Hidden ToHidden(float sum, int expert, const float* down_input_scale) {
  float value = Relu2(sum);
  if constexpr (Config::Down::kInputScale == InputScale::kExpert) {
    value = value / down_input_scale[expert];
  }
  return FromFloat<typename Config::Hidden>(value);
}

//===---- Up to 8 tokens ------------------------------------------------------------------------------------------===//

/// The experts that up to 8 tokens pick, ascending, in shared memory. Picks of a token are of different experts.
template <class Config>
struct PickedExperts {
  static constexpr int kMost = Config::kExperts < 8 * Config::kPicks ? Config::kExperts : 8 * Config::kPicks;
  static constexpr int kWords = (Config::kExperts + 31) / 32;
  unsigned present[kWords];  // a bit an expert
  int before[kWords];        // experts of earlier words
  int experts[kMost];
  short picks[kMost][8];  // of each token the pick that is this expert's, -1: none

  /// Returns how many they are. All threads of the block.
  template <int kThreads>
  __device__ int Find(const int* indices, int num_tokens) {
    for (int i = threadIdx.x; i < kWords; i += kThreads) {
      present[i] = 0;
    }
    for (int i = threadIdx.x; i < kMost * 8; i += kThreads) {
      picks[i / 8][i % 8] = -1;
    }
    __syncthreads();
    for (int pick = threadIdx.x; pick < num_tokens * Config::kPicks; pick += kThreads) {
      const int expert = ExpertOf<Config>(indices, pick);
      atomicOr(&present[expert / 32], 1u << expert % 32);
    }
    __syncthreads();
    for (int word = threadIdx.x; word < kWords; word += kThreads) {
      int count = 0;
      for (int i = 0; i < word; ++i) {
        count += __popc(present[i]);
      }
      before[word] = count;
      for (unsigned bits = present[word]; bits != 0; bits &= bits - 1) {
        experts[count++] = word * 32 + __ffs(bits) - 1;
      }
    }
    __syncthreads();
    for (int pick = threadIdx.x; pick < num_tokens * Config::kPicks; pick += kThreads) {
      const int expert = ExpertOf<Config>(indices, pick);
      const int index = before[expert / 32] + __popc(present[expert / 32] & ((1u << expert % 32) - 1));
      picks[index][pick / Config::kPicks] = static_cast<short>(pick % Config::kPicks);
    }
    __syncthreads();
    return before[kWords - 1] + __popc(present[kWords - 1]);
  }

  /// The pick of expert `index` by a token, counted over all tokens; -1 if there is none.
  __device__ int PickOf(int index, int token) const {
    const int pick = picks[index][token];
    return pick < 0 ? -1 : token * Config::kPicks + pick;
  }
};

/// hidden = relu2(up * x). A block has kBlockBands bands of one expert. Grid (ceil(bands / kBlockBands), T * k), of
/// which blocks beyond the picked experts have nothing to do.
template <class Config, class Tile>
__device__ void UpFewTokens(const typename Config::Input* input, const int* indices, const char* up,
                            const float* up_scale, const float* up_input_scale, const float* down_input_scale,
                            char* scratch, const StepTables& step) {
  using Product = typename Config::Up;
  using Shape = MatmulShape<Product, Tile>;
  extern __shared__ __align__(16) char shared[];
  __shared__ PickedExperts<Config> picked;
  const int index = blockIdx.y;
  if (index >= picked.template Find<Shape::kThreads>(indices, step.num_tokens)) {
    return;
  }
  const int expert = picked.experts[index], first_band = blockIdx.x * Shape::kBlockBands;
  const auto matrices = UpMatrices<Config>(input, up, up_scale, up_input_scale, scratch, step.num_tokens);
  const char* bands = matrices.template Bands<Tile>(expert, first_band);
  SlabCopies<Product, Tile> copies(bands, matrices.input, Shape::kNumBands - first_band, [&](int token) {
    const int pick = picked.PickOf(index, token);
    return pick < 0 ? -1 : InputRow<Config>(pick);
  });
  WarpSums<Product, Tile> sums;
  StreamSlabs<Tile, Shape::kStageBytes, sums.kUnrolled>(
      shared, Shape::kNumSlabs, [&](char* stage, int slab) { copies.Fetch(stage, slab); },
      [&](const char* stage, int slab) { sums.Multiply(stage, stage + Shape::kWeightBytes, slab); });
  auto* hidden = reinterpret_cast<typename Config::Hidden*>(scratch + int64{step.num_tokens} * Config::kHiddenOffset);
  sums.Take([&](float sum, int token, int output_of_block, int) {
    const int pick = picked.PickOf(index, token), output = first_band * 16 + output_of_block;
    if (pick >= 0 && output < Product::kOutputs) {
      sum = matrices.Scale(sum, expert, output, InputRow<Config>(pick));
      hidden[int64{pick} * Config::kHiddenStride + output] = ToHidden<Config>(sum, expert, down_input_scale);
    }
  });
}

/// output = sum of weight * (down * hidden) over the picks of a token. A block has kBlockBands bands of all picked
/// experts, one after another through one ring. Grid (ceil(bands / kBlockBands)).
template <class Config, class Tile>
__device__ void DownFewTokens(const int* indices, const float* weights, float* output, const char* down,
                              const float* down_scale, const float* down_input_scale, const char* scratch,
                              const StepTables& step) {
  using Product = typename Config::Down;
  using Shape = MatmulShape<Product, Tile>;
  extern __shared__ __align__(16) char shared[];
  __shared__ PickedExperts<Config> picked;
  const int num_picked = picked.template Find<Shape::kThreads>(indices, step.num_tokens);
  const int first_band = blockIdx.x * Shape::kBlockBands;
  const auto matrices = DownMatrices<Config>(down, down_scale, down_input_scale, scratch, step.num_tokens);
  const auto copies_of = [&](int index) {
    return SlabCopies<Product, Tile>(matrices.template Bands<Tile>(picked.experts[index], first_band), matrices.input,
                                     Shape::kNumBands - first_band,
                                     [&](int token) { return picked.PickOf(index, token); });
  };
  SlabCopies<Product, Tile> copies = copies_of(0);
  float totals[Tile::kBands * Tile::kRowTiles * 4] = {};
  WarpSums<Product, Tile> sums;
  StreamSlabs<Tile, Shape::kStageBytes, sums.kUnrolled>(
      shared, num_picked * Shape::kNumSlabs,
      [&](char* stage, int slab) {
        if (slab > 0 && slab % Shape::kNumSlabs == 0) {
          copies = copies_of(slab / Shape::kNumSlabs);
        }
        copies.Fetch(stage, slab % Shape::kNumSlabs);
      },
      [&](const char* stage, int slab) {
        sums.Multiply(stage, stage + Shape::kWeightBytes, slab % Shape::kNumSlabs);
        if ((slab + 1) % Shape::kNumSlabs != 0) {
          return;
        }
        const int index = slab / Shape::kNumSlabs, expert = picked.experts[index];
        sums.Take([&](float sum, int token, int output_of_block, int i) {
          const int pick = picked.PickOf(index, token), n = first_band * 16 + output_of_block;
          if (pick >= 0 && n < Product::kOutputs) {
            const float weight = weights[int64{token} * Config::kWeightStride + (pick - token * Config::kPicks)];
            totals[i] = fmaf(weight, matrices.Scale(sum, expert, n, pick), totals[i]);
          }
        });
      });
  sums.ForEach([&](int token, int output_of_block, int i) {
    const int n = first_band * 16 + output_of_block;
    if (token < step.num_tokens && n < Product::kOutputs) {
      output[int64{token} * Config::kOutputStride + n] = totals[i];
    }
  });
}

//===---- More tokens ---------------------------------------------------------------------------------------------===//

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
  auto* order = reinterpret_cast<int*>(scratch + int64{step.num_tokens} * Config::kOrderOffset);
  auto* tiles = reinterpret_cast<PickTile*>(scratch + int64{step.num_tokens} * Config::kTilesOffset);

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

/// A tile of picks times bands of its expert's matrix. row_of(pick) is the row of the input, convert(sum, expert) what
/// is stored at `outputs`, rows by pick. Elements of less than 4 bytes go through shared memory, so that whole sectors
/// are stored; rows are 16 bytes longer there, against bank conflicts. Grid (ceil(bands / kBlockBands), tiles).
template <class Config, class Product, class Tile, int kStride, class Output, class RowOf, class Convert>
__device__ void MultiplyPicks(const ExpertMatrices<Product>& matrices, Output* outputs, const char* scratch,
                              int64 num_tokens, RowOf row_of, Convert convert) {
  using Shape = MatmulShape<Product, Tile>;
  constexpr int kBlockOutputs = Shape::kBlockBands * 16, kVector = 16 / static_cast<int>(sizeof(Output));
  extern __shared__ __align__(16) char shared[];
  __shared__ int picks[Shape::kBlockRows];
  const auto* order = reinterpret_cast<const int*>(scratch + num_tokens * Config::kOrderOffset);
  const PickTile tile = reinterpret_cast<const PickTile*>(scratch + num_tokens * Config::kTilesOffset)[blockIdx.y];
  if (tile.count == 0) {
    return;
  }
  for (int i = threadIdx.x; i < Shape::kBlockRows; i += Shape::kThreads) {
    picks[i] = i < tile.count ? order[tile.first + i] : -1;
  }
  __syncthreads();
  const int first_band = blockIdx.x * Shape::kBlockBands, row_tiles = (tile.count + 7) / 8;
  const int first_row_tile = threadIdx.x / 32 / Tile::kWarpsN * Tile::kRowTiles;  // of this warp
  const char* bands = matrices.template Bands<Tile>(tile.expert, first_band);
  SlabCopies<Product, Tile> copies(bands, matrices.input, Shape::kNumBands - first_band,
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
      const Output value = convert(matrices.Scale(sum, tile.expert, output, row_of(pick)), tile.expert);
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
  const int64 num_tokens = step.num_tokens;
  MultiplyPicks<Config, typename Config::Up, Tile, Config::kHiddenStride>(
      UpMatrices<Config>(input, up, up_scale, up_input_scale, scratch, num_tokens),
      reinterpret_cast<typename Config::Hidden*>(scratch + num_tokens * Config::kHiddenOffset), scratch, num_tokens,
      [](int pick) { return InputRow<Config>(pick); },
      [&](float sum, int expert) { return ToHidden<Config>(sum, expert, down_input_scale); });
}

/// down * hidden of the picks of a tile.
template <class Config, class Tile>
__device__ void DownPicks(const char* down, const float* down_scale, const float* down_input_scale, char* scratch,
                          const StepTables& step) {
  const int64 num_tokens = step.num_tokens;
  MultiplyPicks<Config, typename Config::Down, Tile, Config::kResultStride>(
      DownMatrices<Config>(down, down_scale, down_input_scale, scratch, num_tokens),
      reinterpret_cast<float*>(scratch + num_tokens * Config::kResultsOffset), scratch, num_tokens,
      [](int pick) { return pick; }, [](float sum, int) { return sum; });
}

/// output = sum of weight * result over the picks of a token. Grid (T).
template <class Config>
__device__ void AddPicks(const float* weights, float* output, const char* scratch, const StepTables& step) {
  constexpr int kVector = Config::kOutputVector;
  const int64 token = blockIdx.x;
  const auto* results = reinterpret_cast<const float*>(scratch + int64{step.num_tokens} * Config::kResultsOffset) +
                        token * Config::kPicks * Config::kResultStride;
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
