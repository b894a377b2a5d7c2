// y = activation(scale * (codes(x) * W^T) + bias): a product that quantizes its own input, x of F32, to E4M3. Up to 8
// rows each block does so slab by slab, beside the stream of W, which is what bounds it; a launch for it alone would
// take as long as a tenth of a small product. More rows: a launch stores codes and scales in scratch memory, for the
// products of matmul.cuh.
//
// The scale of a row is a constant, or max(m / 448, 2^-126), m its absolute maximum, NaNs not counted. What made x may
// have gathered m in a buffer; else each block finds it.
//
// Config is that of matmul.cuh with kScaling, and kRawStride and kRawActivation of x as it comes; QuantizeConfig that
// of Quantize (rows.cuh).
#include "codegen/cuda/kernels/matmul.cuh"
#include "codegen/cuda/kernels/rows.cuh"

/// Codes and then scales of all rows, in scratch memory.
template <class Config>
struct QuantizedRows {
  using Code = typename Config::Input;
  static __device__ Code* Codes(char* scratch) { return reinterpret_cast<Code*>(scratch); }
  static __device__ float* Scales(char* scratch, int num_rows) {
    return reinterpret_cast<float*>(scratch + int64{num_rows} * Config::kInputStride * sizeof(Code));
  }
};

/// A row as codes. Grid (rows).
template <class Config, class QuantizeConfig>
__device__ void QuantizeRows(const float* input, char* scratch, float constant, const StepTables& step) {
  using Rows = QuantizedRows<Config>;
  Quantize<QuantizeConfig>(input, Rows::Codes(scratch), Rows::Scales(scratch, NumRows<Config>(step)), nullptr,
                           constant);
}

/// Matmul of these codes. Grid (ceil(bands / kBlockBands), ceil(rows / kBlockRows)).
template <class Config, class Tile>
__device__ void MatmulOfCodes(char* scratch, const float* residual, typename Config::Output* output, float* scale,
                              float* maximum, const char* weight, const float* weight_scale, const float* bias,
                              float output_scale, const StepTables& step) {
  using Rows = QuantizedRows<Config>;
  Matmul<Config, Tile>(Rows::Codes(scratch), Rows::Scales(scratch, NumRows<Config>(step)), residual, output, scale,
                       maximum, weight, weight_scale, bias, output_scale, step);
}

/// Grid (ceil(bands / kBlockBands), ceil(rows / 8)).
template <class Config, class Tile>
__device__ void MatmulQuantizing(const float* input, const float* maxima, const float* residual,
                                 typename Config::Output* output, float* scale, float* maximum, const char* weight,
                                 const float* weight_scale, const float* bias, float input_scale, float output_scale,
                                 const StepTables& step) {
  using Rows = RowQuantizer<Config, Tile>;
  using Shape = MatmulShape<Config, Tile>;
  const Epilogue<Config> epilogue = {output, weight_scale, bias, residual, scale, maximum, output_scale};
  extern __shared__ __align__(16) char shared[];
  const int first_band = blockIdx.x * Shape::kBlockBands, first_row = blockIdx.y * 8;
  const int num_bands = min(Shape::kBlockBands, Shape::kNumBands - first_band);
  const int num_rows = min(8, NumRows<Config>(step) - first_row);
  weight += int64{first_band} * Shape::kNumTiles * 512;
  input += int64{first_row} * Config::kRawStride;
  const auto scale_of = [&](int row) {
    if constexpr (Config::kScaling != Scaling::kToken) {
      return input_scale;
    } else {
      return ScaleOf(maxima != nullptr ? maxima[(first_row + row) * Config::kMaximumStride]
                                       : Rows::LargestOf(input + int64{row} * Config::kRawStride));
    }
  };

  Rows rows(shared, num_rows);
  typename Rows::Copies copies(weight, input, num_bands, [&](int row) { return row < num_rows ? row : -1; });
  WarpSums<Config, Tile> sums;
  MultiplySlabs(shared, rows, copies, sums, scale_of);
  StoreSums(sums, epilogue, first_row, num_rows, first_band, [&](int row) { return rows.Scale(row); });
}
