// What both ways through experts share (moe_experts_few.cuh, moe_experts_many.cuh): which rows and matrices the two
// products have, where these lie in scratch memory, and what becomes of a sum.
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
