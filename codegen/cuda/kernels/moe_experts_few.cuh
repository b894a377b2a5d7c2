// Experts of up to 8 tokens. Tokens are the 8 columns of operand B, those that did not pick the expert zero. Each block
// finds for itself which experts are picked; one launch multiplies by `up`, one by `down` and adds. The chosen experts
// are read, each byte once: bound by memory. Blocks make codes of the rows that they multiply, slab by slab.
#include "codegen/cuda/kernels/moe_experts_products.cuh"
#include "codegen/cuda/kernels/quantized_rows.cuh"

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

/// Up to 8 rows that are multiplied as they come, where RowQuantizer has others. Its scales are not asked for.
template <class Product, class Tile>
class PlainRows {
  using Shape = MatmulShape<Product, Tile>;

 public:
  using Copies = SlabCopies<Product, Tile>;
  static constexpr int kStageBytes = Shape::kStageBytes;
  __device__ PlainRows(char*, int) {}
  template <class ScaleOfRow>
  __device__ void FindScales(ScaleOfRow) {}
  __device__ float Scale(int) const { return 1.0f; }
  __device__ const char* Operands(const char* stage) const { return stage + Shape::kWeightBytes; }
};

template <class Product, class Tile, bool kQuantizes = Product::kScaling != Scaling::kNone>
struct FewRows {
  using Type = PlainRows<Product, Tile>;
};
template <class Product, class Tile>
struct FewRows<Product, Tile, true> {
  using Type = RowQuantizer<Product, Tile>;
};

/// hidden = relu2(up * x). A block has kBlockBands bands of one expert. Where `down` makes codes by the maximum of a
/// row, the maxima of hidden are gathered, zero at first. Grid (ceil(bands / kBlockBands), T * k), of which blocks
/// beyond the picked experts have nothing to do.
template <class Config, class Tile>
__device__ void UpFewTokens(const typename Config::Input* input, const int* indices, const char* up,
                            const float* up_scale, const float* up_input_scale, const float* down_input_scale,
                            float* hidden_maxima, char* scratch, const StepTables& step) {
  using Product = typename Config::Up;
  using Shape = MatmulShape<Product, Tile>;
  using Rows = typename FewRows<Product, Tile>::Type;
  extern __shared__ __align__(16) char shared[];
  __shared__ PickedExperts<Config> picked;
  const int index = blockIdx.y;
  if (index >= picked.template Find<Shape::kThreads>(indices, step.num_tokens)) {
    return;
  }
  const int expert = picked.experts[index], first_band = blockIdx.x * Shape::kBlockBands;
  const ExpertMatrices<Product> matrices = {up, up_scale, up_input_scale};
  const auto scale_of = [&](int token) {
    if (picked.PickOf(index, token) < 0) {
      return kNoRow;
    }
    if constexpr (Product::kScaling == Scaling::kToken) {
      return ScaleOf(Rows::LargestOf(input + int64{token} * Config::kInputStride));
    } else {
      return up_input_scale[expert];
    }
  };
  Rows rows(shared, step.num_tokens);
  typename Rows::Copies copies(matrices.template Bands<Tile>(expert, first_band), input, Shape::kNumBands - first_band,
                               [&](int token) { return picked.PickOf(index, token) < 0 ? -1 : token; });
  WarpSums<Product, Tile> sums;
  MultiplySlabs(shared, rows, copies, sums, scale_of);
  auto* hidden = ExpertScratch<Config>(scratch, step).HiddenRows();
  RowMaxima<Tile> maxima;
  sums.Take([&](float sum, int token, int output_of_block, int i) {
    const int pick = picked.PickOf(index, token), output = first_band * 16 + output_of_block;
    if (pick >= 0 && output < Product::kOutputs) {
      sum = matrices.Scale(sum, expert, output, rows.Scale(token));
      const typename Config::Hidden value = ToHidden<Config>(sum, expert, down_input_scale);
      hidden[int64{pick} * Config::kHiddenStride + output] = value;
      if constexpr (Config::Down::kScaling == Scaling::kToken) {
        maxima.Add(value, i);
      }
    }
  });
  if constexpr (Config::Down::kScaling == Scaling::kToken) {
    maxima.Gather([&](int token) {
      const int pick = picked.PickOf(index, token);
      return pick < 0 ? nullptr : hidden_maxima + pick;
    });
  }
}

/// output = sum of weight * (down * hidden) over the picks of a token. A block has kBlockBands bands of all picked
/// experts, one after another through one ring. Grid (ceil(bands / kBlockBands)).
template <class Config, class Tile>
__device__ void DownFewTokens(const int* indices, const float* weights, float* output, const char* down,
                              const float* down_scale, const float* down_input_scale, const float* hidden_maxima,
                              char* scratch, const StepTables& step) {
  using Product = typename Config::Down;
  using Shape = MatmulShape<Product, Tile>;
  using Rows = typename FewRows<Product, Tile>::Type;
  extern __shared__ __align__(16) char shared[];
  __shared__ PickedExperts<Config> picked;
  const int num_picked = picked.template Find<Shape::kThreads>(indices, step.num_tokens);
  const int first_band = blockIdx.x * Shape::kBlockBands;
  const ExpertMatrices<Product> matrices = {down, down_scale, down_input_scale};
  const auto* hidden = ExpertScratch<Config>(scratch, step).HiddenRows();
  const auto copies_of = [&](int index) {
    return typename Rows::Copies(matrices.template Bands<Tile>(picked.experts[index], first_band), hidden,
                                 Shape::kNumBands - first_band, [&](int token) { return picked.PickOf(index, token); });
  };
  typename Rows::Copies copies = copies_of(0);
  Rows rows(shared, step.num_tokens);
  float totals[Tile::kBands * Tile::kRowTiles * 4] = {};
  WarpSums<Product, Tile> sums;
  StreamSlabs<Tile, Rows::kStageBytes, sums.kUnrolled>(
      shared, num_picked * Shape::kNumSlabs,
      [&](char* stage, int slab) {
        if (slab > 0 && slab % Shape::kNumSlabs == 0) {
          copies = copies_of(slab / Shape::kNumSlabs);
        }
        copies.Fetch(stage, slab % Shape::kNumSlabs);
      },
      [&](const char* stage, int slab) {
        const int index = slab / Shape::kNumSlabs, of_expert = slab % Shape::kNumSlabs;
        if (of_expert == 0) {
          rows.FindScales([&](int token) {
            const int pick = picked.PickOf(index, token);
            return pick < 0 ? kNoRow : ScaleOf(hidden_maxima[pick]);
          });
        }
        sums.Multiply(stage, rows.Operands(stage), of_expert);
        if (of_expert + 1 < Shape::kNumSlabs) {
          return;
        }
        const int expert = picked.experts[index];
        sums.Take([&](float sum, int token, int output_of_block, int i) {
          const int pick = picked.PickOf(index, token), n = first_band * 16 + output_of_block;
          if (pick >= 0 && n < Product::kOutputs) {
            const float weight = weights[int64{token} * Config::kWeightStride + (pick - token * Config::kPicks)];
            totals[i] = fmaf(weight, matrices.Scale(sum, expert, n, rows.Scale(token)), totals[i]);
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
