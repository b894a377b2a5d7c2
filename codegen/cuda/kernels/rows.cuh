// Norms and quantization: kernels that need a whole row before they write it. A block works on one row, which its
// threads keep in registers, kVector neighbours each kThreads * kVector apart, so that it is read once: bound by
// memory. Scaling by the maximum of a step reads rows once more, in a launch before. Sums are F32, in an order that
// depends on the row's width alone.

/// The absolute maximum of a row, NaNs not counted; 0 of nothing else. All threads of the block get it.
template <class Config>
__device__ float LargestOf(Row<Config>& row, float* scratch) {
  float largest = 0;
  row.ForEach([&](float& x) { largest = fmaxf(largest, fabsf(x)); });
  return BlockReduce<Max, Config::kThreads>(largest, scratch);
}

/// Stores a row as numbers, or as E4M3 codes and their scale: that of its absolute maximum if kScaling is kToken, else
/// `given`. x is stored as e4m3(x / scale).
template <class Config>
__device__ void StoreRow(Row<Config>& row, typename Config::Output* to, float* scale_to, float given, float* scratch) {
  if constexpr (Config::kScaling == Scaling::kNone) {
    row.Store(to);
  } else {
    float scale = given;
    if constexpr (Config::kScaling == Scaling::kToken) {
      scale = ScaleOf(LargestOf(row, scratch));
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

/// The row that a block quantizes, its activation function applied.
template <class Config>
__device__ Row<Config> ActivatedRow(const typename Config::Input* input) {
  Row<Config> row;
  row.Load(input + int64{blockIdx.x} * Config::kInputStride);
  row.ForEach([](float& x) { x = Activate<Config::kActivation>(x); });
  return row;
}

/// The absolute maximum of all rows, gathered in one number, which is zero when the step begins. Grid (rows).
template <class Config>
__device__ void StepMaximum(const typename Config::Input* input, float* maximum) {
  __shared__ float scratch[Config::kThreads / 32];
  Row<Config> row = ActivatedRow<Config>(input);
  const float largest = LargestOf(row, scratch);
  if (threadIdx.x == 0) {
    GatherMaximum(maximum, largest);
  }
}

/// A row, its activation function applied, as E4M3 codes. `maximum` is that of the step if kScaling is kStep. Grid
/// (rows).
template <class Config>
__device__ void Quantize(const typename Config::Input* input, typename Config::Output* output, float* scale,
                         const float* maximum, float constant) {
  __shared__ float scratch[Config::kThreads / 32];
  const int64 index = blockIdx.x;
  Row<Config> row = ActivatedRow<Config>(input);
  if constexpr (Config::kScaling == Scaling::kStep) {
    constant = ScaleOf(*maximum);
  }
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
