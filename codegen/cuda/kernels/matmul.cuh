// y = activation(scale * (x * W^T) + bias) on tensor cores, for one token as for thousands. What a block computes, and
// how W and x get there, stands in matmul_slabs.cuh: for a few rows many blocks stream W, each byte once; for many the
// tile is as square as registers allow.
//
// Bound by memory up to some 200 rows (FP8 on an H100: 990 TFLOP/s of mma.sync's reach over 3.35 TB/s, halved by
// padding of small tiles), then by tensor cores.

/// What is done to sums, and where they go; null where a Config has no such thing.
template <class Config>
struct Epilogue {
  using Output = typename Config::Output;
  Output* outputs;            // [rows, N]
  const float* input_scale;   // [rows, 1] if kInputKind is kCodes
  const float* weight_scale;  // if kWeightScales is not 0: one, or one an output
  const float* bias;          // [N] if kBias
  const float* residual;      // [rows, N] if kResidual, added to the output
  float* scale_to;            // [rows, 1] if kStoresCodes: they are e4m3(y / output_scale)
  float output_scale;

  __device__ void Store(float sum, int64 row, int output) const {
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
    float y = Activate<Config::kActivation>(sum);
    if constexpr (Config::kResidual) {
      y = __fadd_rn(residual[row * Config::kResidualStride + output], y);
    }
    if constexpr (Config::kStoresCodes) {
      y = y / output_scale;
      if (output == 0) {
        scale_to[row * Config::kScaleStride] = output_scale;
      }
    }
    outputs[row * Config::kOutputStride + output] = FromFloat<Output>(y);
  }
};

/// Grid (ceil(bands / kBlockBands), ceil(rows / kBlockRows)).
template <class Config, class Tile>
__device__ void Matmul(const typename Config::Input* input, const float* input_scale, const float* residual,
                       typename Config::Output* output, float* scale, const char* weight, const float* weight_scale,
                       const float* bias, float output_scale, const StepTables& step) {
  const Epilogue<Config> epilogue = {output, input_scale, weight_scale, bias, residual, scale, output_scale};
  using Shape = MatmulShape<Config, Tile>;
  extern __shared__ __align__(16) char shared[];
  const int first_band = blockIdx.x * Shape::kBlockBands, first_row = blockIdx.y * Shape::kBlockRows;
  const int num_bands = min(Shape::kBlockBands, Shape::kNumBands - first_band);
  const int num_rows = min(Shape::kBlockRows, NumRows<Config>(step) - first_row);
  weight += int64{first_band} * Shape::kNumTiles * 512;
  input += int64{first_row} * Config::kInputStride;

  // Beyond the last row of x: zeros where few rows stream W, which costs no reads; else that row, which costs no test.
  constexpr bool kRepeats = Shape::kBlockRows > 32;
  SlabCopies<Config, Tile, kRepeats> copies(weight, input, num_bands, [&](int row) {
    return row < num_rows ? row : kRepeats ? num_rows - 1 : -1;
  });
  WarpSums<Config, Tile> sums;
  StreamSlabs<Tile, Shape::kStageBytes>(
      shared, Shape::kNumSlabs, [&](char* stage, int slab) { copies.Fetch(stage, slab); },
      [&](const char* stage, int slab) { sums.Multiply(stage, slab); });

  sums.Take([&](float sum, int row, int output_of_block, int) {
    const int n = first_band * 16 + output_of_block;
    if (row < num_rows && n < Config::kOutputs) {
      epilogue.Store(sum, first_row + row, n);
    }
  });
}
