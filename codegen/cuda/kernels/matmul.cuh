// y = activation(scale * (x * W^T) + bias) on tensor cores, for one token as for thousands. What a block computes, and
// how W and x get there, stands in matmul_slabs.cuh: for a few rows many blocks stream W, each byte once; for many the
// tile is as square as registers allow.
//
// Bound by memory up to some 200 rows (FP8 on an H100: 990 TFLOP/s of mma.sync's reach over 3.35 TB/s, halved by
// padding of small tiles), then by tensor cores.

/// Scales, bias and activation function of a sum, stored. `input_scale` is there if kInputKind is kCodes,
/// `weight_scale` if kWeightScales is not 0: one, or one an output.
template <class Config>
__device__ void StoreOutput(float sum, int64 row, int output, typename Config::Output* outputs,
                            const float* input_scale, const float* weight_scale, const float* bias) {
  if constexpr (Config::kWeightScales != 0) {
    float scale = weight_scale[Config::kWeightScales == 1 ? 0 : output];
    if constexpr (Config::kInputKind == InputKind::kCodes) {
      scale = input_scale[row * Config::kInputScaleStride] * scale;
    }
    sum *= scale;
  }
  if constexpr (Config::kBias) {
    sum += bias[output];
  }
  outputs[row * Config::kOutputStride + output] =
      FromFloat<typename Config::Output>(Activate<Config::kActivation>(sum));
}

/// Grid (ceil(bands / kBlockBands), ceil(rows / kBlockRows)).
template <class Config, class Tile>
__device__ void Matmul(const typename Config::Input* input, const float* input_scale, typename Config::Output* output,
                       const char* weight, const float* weight_scale, const float* bias, const StepTables& step) {
  using Shape = MatmulShape<Config, Tile>;
  extern __shared__ __align__(16) char shared[];
  const int first_band = blockIdx.x * Shape::kBlockBands, first_row = blockIdx.y * Shape::kBlockRows;
  const int num_bands = min(Shape::kBlockBands, Shape::kNumBands - first_band);
  const int num_rows = min(Shape::kBlockRows, NumRows<Config>(step) - first_row);
  weight += int64{first_band} * Shape::kNumTiles * 512;
  input += int64{first_row} * Config::kInputStride;

  WarpSums<Config, Tile> sums;
  StreamSlabs<Tile, Shape::kStageBytes>(
      shared, Shape::kNumSlabs,
      [&](char* stage, int slab) {
        FetchSlab<Config, Tile>(stage, weight, input, slab, num_bands, Shape::kBlockRows,
                                [&](int row) { return row < num_rows ? row : -1; });
      },
      [&](const char* stage, int slab) { sums.Multiply(stage, slab); });

  sums.Take([&](float sum, int row, int output_of_block, int) {
    const int n = first_band * 16 + output_of_block;
    if (row < num_rows && n < Config::kOutputs) {
      StoreOutput<Config>(sum, first_row + row, n, output, input_scale, weight_scale, bias);
    }
  });
}
