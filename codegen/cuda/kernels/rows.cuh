// Norms and quantization: kernels that need a whole row before they write it. A block works on one row, which its
// threads keep in registers, kVector neighbours each kThreads * kVector apart, so that it is read once: bound by
// memory. Sums are F32, in an order that depends on the row's width alone.

enum class Scaling { kNone, kToken, kStatic };

/// The scale of a row whose absolute maximum is `largest`.
__device__ inline float ScaleOf(float largest) { return fmaxf(largest / 448.0f, 0x1p-126f); }

/// Stores a row as numbers, or as E4M3 codes and their scale: the constant, or max(m / 448, 2^-126), m the absolute
/// maximum of the row, NaNs not counted. x is stored as e4m3(x / scale).
template <class Config>
__device__ void StoreRow(Row<Config>& row, typename Config::Output* to, float* scale_to, float constant,
                         float* scratch) {
  if constexpr (Config::kScaling == Scaling::kNone) {
    row.Store(to);
  } else {
    float scale = constant;
    if constexpr (Config::kScaling == Scaling::kToken) {
      float largest = 0;
      row.ForEach([&](float& x) { largest = fmaxf(largest, fabsf(x)); });
      scale = ScaleOf(BlockReduce<Max, Config::kThreads>(largest, scratch));
    }
    row.ForEach([&](float& x) { x = x / scale; });
    row.Store(to);
    if (threadIdx.x == 0) {
      *scale_to = scale;
    }
  }
}

/// RMSNorm (arXiv:1910.07467) or LayerNorm (arXiv:1607.06450) of a row, perhaps of a sum, perhaps quantized. `residual`
/// and `sum` are there if kAdd, `bias` if kBias, `scale` if kScaling is not kNone. Gains are `weight`, plus 1 if
/// kUnitOffset. Grid (rows).
template <class Config>
__device__ void Norm(const typename Config::Input* input, const float* residual, float* sum,
                     typename Config::Output* output, float* scale, const float* weight, const float* bias,
                     float constant) {
  __shared__ float scratch[3][Config::kThreads / 32];
  const int64 index = blockIdx.x;
  Row<Config> row;
  row.Load(input + index * Config::kInputStride);
  if constexpr (Config::kAdd) {
    Row<Config> other;
    other.Load(residual + index * Config::kResidualStride);
    row.ForEachWith(other, [](float& x, float before) { x = before + x; });
    row.Store(sum + index * Config::kSumStride);
  }
  if constexpr (Config::kLayerNorm) {
    float total = 0;
    row.ForEach([&](float& x) { total += x; });
    const float mean = BlockReduce<Sum, Config::kThreads>(total, scratch[0]) / Config::kColumns;
    row.ForEach([&](float& x) { x -= mean; });
  }
  float squares = 0;
  row.ForEach([&](float& x) { squares += x * x; });
  squares = BlockReduce<Sum, Config::kThreads>(squares, scratch[1]);
  const float factor = 1.0f / sqrtf(squares / Config::kColumns + Config::kEps);
  Row<Config> gains, offsets;
  gains.Load(weight);
  if constexpr (Config::kBias) {
    offsets.Load(bias);
  }
  row.ForEachWith(gains, [&](float& x, float gain) { x = x * factor * (Config::kUnitOffset ? gain + 1.0f : gain); });
  if constexpr (Config::kBias) {
    row.ForEachWith(offsets, [](float& x, float offset) { x += offset; });
  }
  StoreRow<Config>(row, output + index * Config::kOutputStride, scale + index * Config::kScaleStride, constant,
                   scratch[2]);
}

/// A row, its activation function applied, as E4M3 codes. Grid (rows).
template <class Config>
__device__ void Quantize(const typename Config::Input* input, typename Config::Output* output, float* scale,
                         float constant) {
  __shared__ float scratch[Config::kThreads / 32];
  const int64 index = blockIdx.x;
  Row<Config> row;
  row.Load(input + index * Config::kInputStride);
  row.ForEach([&](float& x) { x = Activate<Config::kActivation>(x); });
  StoreRow<Config>(row, output + index * Config::kOutputStride, scale + index * Config::kScaleStride, constant,
                   scratch);
}

/// RMSNorm of one group of the channels of a gated row: u = input * silu(gate), divided by the group's root mean
/// square, times `weight`. Mamba-2, arXiv:2405.21060, section 7.1. kColumns is the width of a group. Grid (T, groups).
template <class Config>
__device__ void GatedRMSNorm(const float* input, const float* gate, typename Config::Output* output,
                             const float* weight) {
  __shared__ float scratch[Config::kThreads / 32];
  const int64 index = blockIdx.x, first = int64{blockIdx.y} * Config::kColumns;
  Row<Config> row;
  row.Load(input + index * Config::kInputStride + first);
  NormalizeGated(row, gate + index * Config::kGateStride + first, weight + first, Config::kEps, scratch);
  row.Store(output + index * Config::kOutputStride + first);
}
