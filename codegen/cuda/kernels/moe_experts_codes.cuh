// Inputs of experts as E4M3 codes, in launches of their own: x for `up`, and what `up` gave for `down`. For more than 8
// tokens; for fewer the products make codes themselves.
#include "codegen/cuda/kernels/moe_experts_products.cuh"
#include "codegen/cuda/kernels/rows.cuh"

/// x as codes: a row a token, or where experts have scales a row a pick. Grid (T or T * k).
template <class Config>
__device__ void QuantizeInput(const float* input, const int* indices, const float* expert_scales, char* scratch,
                              const StepTables& step) {
  using Product = typename Config::Up;
  using RowConfig = typename Config::UpRow;
  constexpr bool kOfPick = Product::kScaling == Scaling::kStatic;
  __shared__ float maxima[RowConfig::kThreads / 32];
  const ExpertScratch<Config> to(scratch, step);
  const int64 index = blockIdx.x;
  Row<RowConfig> row;
  row.Load(input + (kOfPick ? index / Config::kPicks : index) * Config::kInputStride);
  StoreRow<RowConfig>(row, to.UpCodes() + index * Product::kInputStride, to.UpScales() + index,
                      kOfPick ? expert_scales[ExpertOf<Config>(indices, index)] : 0.0f, maxima);
}

/// What `up` gave as codes, by the maximum of a row. Grid (T * k).
template <class Config>
__device__ void QuantizeHidden(char* scratch, const StepTables& step) {
  const ExpertScratch<Config> rows(scratch, step);
  Quantize<typename Config::DownRow>(rows.HiddenRows(), rows.DownCodes(), rows.DownScales(), nullptr, 0.0f);
}
