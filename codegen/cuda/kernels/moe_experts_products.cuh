// What both ways through experts share (moe_experts_few.cuh, moe_experts_many.cuh): the two products, where their rows
// lie in scratch memory, and what becomes of a sum.
//
// Config::Up and Config::Down are products. Beside what SlabCopies takes they have kWeightScales (0: none, 1: one an
// expert, else one an output) and kScaling, which tells how their rows become codes here: not at all (kNone), by the
// maximum of the row (kToken) or by the scale of the expert (kStatic). Codes that `down` finds, `up` has stored by the
// scale of the expert.

/// Where the launches of a dispatch leave things for each other. Rows are those of picks, t * k + i for pick i of token
/// t; codes of x are those of tokens where no expert has a scale.
template <class Config>
class ExpertScratch {
 public:
  using UpInput = typename Config::Up::Input;
  using DownInput = typename Config::Down::Input;
  using Hidden = typename Config::Hidden;

  __device__ ExpertScratch(char* scratch, const StepTables& step) : scratch_(scratch), num_tokens_(step.num_tokens) {}

  __device__ UpInput* UpCodes() const { return At<UpInput>(Config::kUpCodesOffset); }
  __device__ float* UpScales() const { return At<float>(Config::kUpScalesOffset); }
  __device__ Hidden* HiddenRows() const { return At<Hidden>(Config::kHiddenOffset); }
  __device__ DownInput* DownCodes() const { return At<DownInput>(Config::kDownCodesOffset); }
  __device__ float* DownScales() const { return At<float>(Config::kDownScalesOffset); }
  __device__ float* Results() const { return At<float>(Config::kResultsOffset); }
  __device__ int* Order() const { return At<int>(Config::kOrderOffset); }
  /// The last of all, with room for kExperts more.
  template <class Tile>
  __device__ Tile* Tiles() const {
    return At<Tile>(Config::kTilesOffset);
  }

 private:
  template <class T>
  __device__ T* At(int token_bytes) const {
    return reinterpret_cast<T*>(scratch_ + num_tokens_ * token_bytes);
  }

  char* scratch_;
  int64 num_tokens_;
};

/// The expert of a pick, within range whatever the router says.
template <class Config>
__device__ int ExpertOf(const int* indices, int pick) {
  const int expert = indices[int64{pick / Config::kPicks} * Config::kIndexStride + pick % Config::kPicks];
  return min(max(expert, 0), Config::kExperts - 1);
}

/// The matrices of one of the products, and how their sums are scaled.
template <class Product>
struct ExpertMatrices {
  const char* weight;         // [E, N, K]
  const float* weight_scale;  // [E, 1] or [E, N] if kWeightScales is not 0
  const float* input_scale;   // [E] if the experts have scales for codes

  /// The bands of `expert` from `first_band` on.
  template <class Tile>
  __device__ const char* Bands(int expert, int first_band) const {
    using Shape = MatmulShape<Product, Tile>;
    return weight + (int64{expert} * Shape::kNumBands + first_band) * Shape::kNumTiles * 512;
  }

  /// The product of the scales is rounded, then the sum multiplied by it. `row_scale` counts if rows became codes here.
  __device__ float Scale(float sum, int expert, int output, float row_scale) const {
    if constexpr (Product::kWeightScales == 0) {
      return sum;
    } else {
      float scale = weight_scale[Product::kWeightScales == 1 ? expert : int64{expert} * Product::kOutputs + output];
      if constexpr (Product::kInputKind == InputKind::kCodes) {
        scale = (Product::kScaling == Scaling::kNone ? input_scale[expert] : row_scale) * scale;
      }
      return sum * scale;
    }
  }
};

/// The rows that a product multiplies: codes that were made of its rows, or these as they come.
template <class Product, class T>
__device__ const typename Product::Input* MultipliedRows(const T* rows, const typename Product::Input* codes) {
  if constexpr (Product::kScaling == Scaling::kNone) {
    return rows;
  } else {
    return codes;
  }
}

/// relu2 of a sum of `up`, as `down` finds it: a code where the expert has a scale for them, else BF16 or F32.
template <class Config>
__device__ typename Config::Hidden ToHidden(float sum, int expert, const float* down_input_scale) {
  float value = Relu2(sum);
  if constexpr (Config::Down::kInputKind == InputKind::kCodes && Config::Down::kScaling == Scaling::kNone) {
    value = value / down_input_scale[expert];
  }
  return FromFloat<typename Config::Hidden>(value);
}
