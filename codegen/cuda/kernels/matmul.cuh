// y = activation(scale * (x * W^T) + bias) on tensor cores, for one token as for thousands. What a block computes, and
// how W and x get there, stands in matmul_slabs.cuh: for a few rows many blocks stream W, each byte once; for many the
// tile is as square as registers allow.
//
// Bound by memory up to some 200 rows (FP8 on an H100: 990 TFLOP/s of mma.sync's reach over 3.35 TB/s, halved by
// padding of small tiles), then by tensor cores.
#include "codegen/cuda/kernels/quantized_rows.cuh"

/// What is done to sums, and where they go; null where a Config has no such thing.
template <class Config>
struct Epilogue {
  typename Config::Output* outputs;  // [rows, N]
  const float* weight_scale;         // if kWeightScales is not 0: one, or one an output
  const float* bias;                 // [N] if kBias
  const float* residual;             // [rows, N] if kResidual, added to the output
  float* scale_to;                   // [rows, 1] if kStoresCodes: outputs are e4m3(y / output_scale)
  float* maximum;                    // [rows, 1] if kGathersMaximum: of |y|
  float output_scale;

  /// y. `input_scale` counts if kInputKind is kCodes.
  __device__ float Value(float sum, int64 row, int output, float input_scale) const {
    if constexpr (Config::kWeightScales != 0) {
      float scale = weight_scale[Config::kWeightScales == 1 ? 0 : output];
      if constexpr (Config::kInputKind == InputKind::kCodes) {
        scale = input_scale * scale;
      }
      sum *= scale;
    }
    if constexpr (Config::kBias) {
      sum += bias[output];
    }
    const float y = Activate<Config::kActivation>(sum);
    if constexpr (Config::kResidual) {
      return __fadd_rn(residual[row * Config::kResidualStride + output], y);
    }
    return y;
  }

  __device__ void Store(float y, int64 row, int output) const {
    if constexpr (Config::kStoresCodes) {
      y = y / output_scale;
      if (output == 0) {
        scale_to[row * Config::kScaleStride] = output_scale;
      }
    }
    outputs[row * Config::kOutputStride + output] = FromFloat<typename Config::Output>(y);
  }
};

/// Stores what the sums of a block come to; `input_scale(i)` is that of its row i.
template <class Config, class Tile, class InputScale>
__device__ void StoreSums(WarpSums<Config, Tile>& sums, const Epilogue<Config>& epilogue, int64 first_row, int num_rows,
                          int first_band, InputScale input_scale) {
  RowMaxima<Tile> maxima;
  sums.Take([&](float sum, int row, int output_of_block, int i) {
    const int n = first_band * 16 + output_of_block;
    if (row < num_rows && n < Config::kOutputs) {
      const float y = epilogue.Value(sum, first_row + row, n, input_scale(row));
      epilogue.Store(y, first_row + row, n);
      maxima.Add(y, i);
    }
  });
  if constexpr (Config::kGathersMaximum) {
    maxima.Gather([&](int row) {
      return row < num_rows ? epilogue.maximum + (first_row + row) * Config::kGatheredStride : nullptr;
    });
  }
}

/// Grid (ceil(bands / kBlockBands), ceil(rows / kBlockRows)).
template <class Config, class Tile>
__device__ void Matmul(const typename Config::Input* input, const float* input_scale, const float* residual,
                       typename Config::Output* output, float* scale, float* maximum, const char* weight,
                       const float* weight_scale, const float* bias, float output_scale, const StepTables& step) {
  using Shape = MatmulShape<Config, Tile>;
  const Epilogue<Config> epilogue = {output, weight_scale, bias, residual, scale, maximum, output_scale};
  extern __shared__ __align__(16) char shared[];
  const int first_band = blockIdx.x * Shape::kBlockBands, first_row = blockIdx.y * Shape::kBlockRows;
  const int num_bands = min(Shape::kBlockBands, Shape::kNumBands - first_band);
  const int num_rows = min(Shape::kBlockRows, NumRows<Config>(step) - first_row);
  weight += int64{first_band} * Shape::kNumTiles * 512;
  input += int64{first_row} * Config::kInputStride;

  // Beyond the last row of x: zeros where few rows stream W, which costs no reads; else that row, which costs no test.
  constexpr bool kRepeats = Shape::kBlockRows > 32;
  constexpr MissingRows kMissing = kRepeats ? MissingRows::kNone : MissingRows::kZero;
  SlabCopies<Config, Tile, kMissing> copies(weight, input, num_bands, [&](int row) {
    return row < num_rows ? row : kRepeats ? num_rows - 1 : -1;
  });
  WarpSums<Config, Tile> sums;
  StreamSlabs<Tile, Shape::kStageBytes, sums.kUnrolled>(
      shared, Shape::kNumSlabs, [&](char* stage, int slab) { copies.Fetch(stage, slab); },
      [&](const char* stage, int slab) { sums.Multiply(stage, stage + Shape::kWeightBytes, slab); });
  StoreSums(sums, epilogue, first_row, num_rows, first_band, [&](int row) {
    return Config::kInputKind == InputKind::kCodes ? input_scale[int64{first_row + row} * Config::kInputScaleStride]
                                                   : 1.0f;
  });
}
