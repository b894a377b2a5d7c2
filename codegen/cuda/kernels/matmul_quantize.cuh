// y = activation(scale * (codes(x) * W^T) + bias): a product that quantizes its own input, x of F32, to E4M3. Up to 8
// rows each block does so slab by slab, beside the stream of W, which is what bounds it; a launch for it alone would
// take as long as a tenth of a small product. More rows: a launch stores codes and scales in scratch memory, for the
// products of matmul.cuh.
//
// The scale of a row is a constant, or max(m / 448, 2^-126), m its absolute maximum, NaNs not counted. What made x may
// have gathered m in a buffer; else each block finds it.
//
// Config is that of matmul.cuh with the type Raw and the constants kRawStride and kRawActivation of x as it comes, and
// kScaling; QuantizeConfig that of Quantize (rows.cuh).

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
  Quantize<QuantizeConfig>(input, Rows::Codes(scratch), Rows::Scales(scratch, NumRows<Config>(step)), nullptr, constant);
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

/// Up to 8 rows: slabs of x as they come, and the operands made of them.
template <class Config, class Tile>
class RowQuantizer {
  /// What brings slabs of x and W.
  struct RawProduct {
    using Input = float;
    using Weight = typename Config::Weight;
    static constexpr InputKind kInputKind = InputKind::kRounded;
    static constexpr int kOutputs = Config::kOutputs, kDepth = Config::kDepth, kInputStride = Config::kRawStride;
  };
  using Code = typename Config::Input;

 public:
  using Raw = MatmulShape<RawProduct, Tile>;
  using Copies = SlabCopies<RawProduct, Tile>;
  using Shape = MatmulShape<Config, Tile>;
  static_assert(Shape::kBlockRows == 8);

  /// `operands` has room for 8 rows of a slab. All threads of the block.
  __device__ RowQuantizer(char* operands, int num_rows) : operands_(operands), num_rows_(num_rows) {
    for (int i = threadIdx.x * 16; i < 8 * Shape::kRowPitch; i += Shape::kThreads * 16) {
      *reinterpret_cast<uint4*>(operands_ + i) = {};
    }
  }

  /// The scales of the block's rows, into shared memory; a warp a row. A barrier must follow.
  __device__ void FindScales(float (&scales)[8], const float* input, const float* maxima, float constant) {
    const int lane = threadIdx.x % 32;
    for (int row = threadIdx.x / 32; row < num_rows_; row += Shape::kThreads / 32) {
      float scale = constant;
      if constexpr (Config::kScaling == Scaling::kToken) {
        float largest = 0;
        if (maxima != nullptr) {
          largest = maxima[row * Config::kMaximumStride];
        } else {
          for (int k = lane * 4; k < Config::kDepth; k += 128) {
            const auto four = LoadVector<4>(input + int64{row} * Config::kRawStride + k);
            for (int j = 0; j < 4; ++j) {
              largest = fmaxf(largest, fabsf(Activate<Config::kRawActivation>(four.values[j])));
            }
          }
          largest = WarpReduce<Max>(largest);
        }
        scale = ScaleOf(largest);
      }
      if (lane == 0) {
        scales[row] = scale;
      }
    }
  }

  /// Operands of the slab in `stage`. Barriers must stand around it.
  __device__ void Convert(const char* stage, const float (&scales)[8]) {
    constexpr int kFours = Raw::kRowBytes / 16;
    for (int i = threadIdx.x; i < num_rows_ * kFours; i += Shape::kThreads) {
      const int row = i / kFours, column = i % kFours * 4;
      const auto four =
          LoadVector<4>(reinterpret_cast<const float*>(stage + Raw::kWeightBytes + row * Raw::kRowPitch) + column);
      Vector<Code, 4> codes;
      for (int j = 0; j < 4; ++j) {
        codes.values[j] = FromFloat<Code>(Activate<Config::kRawActivation>(four.values[j]) / scales[row]);
      }
      constexpr int kOfChunk = 16 / static_cast<int>(sizeof(Code));
      char* to = operands_ + row * Shape::kRowPitch + Shape::Swizzle(row, column / kOfChunk) * 16;
      StoreVector<4>(reinterpret_cast<Code*>(to) + column % kOfChunk, codes);
    }
  }

 private:
  char* operands_;
  int num_rows_;
};

/// Grid (ceil(bands / kBlockBands), ceil(rows / 8)).
template <class Config, class Tile>
__device__ void MatmulQuantizing(const float* input, const float* maxima, const float* residual,
                                 typename Config::Output* output, float* scale, float* maximum, const char* weight,
                                 const float* weight_scale, const float* bias, float input_scale, float output_scale,
                                 const StepTables& step) {
  using Quantizer = RowQuantizer<Config, Tile>;
  using Shape = typename Quantizer::Shape;
  const Epilogue<Config> epilogue = {output, weight_scale, bias, residual, scale, maximum, output_scale};
  extern __shared__ __align__(16) char shared[];
  __shared__ float scales[8];
  const int first_band = blockIdx.x * Shape::kBlockBands, first_row = blockIdx.y * 8;
  const int num_bands = min(Shape::kBlockBands, Shape::kNumBands - first_band);
  const int num_rows = min(8, NumRows<Config>(step) - first_row);
  weight += int64{first_band} * Shape::kNumTiles * 512;
  input += int64{first_row} * Config::kRawStride;
  if (maxima != nullptr) {
    maxima += first_row * Config::kMaximumStride;
  }

  char* const operands = shared + Tile::kStages * Quantizer::Raw::kStageBytes;
  Quantizer quantizer(operands, num_rows);
  typename Quantizer::Copies copies(weight, input, num_bands, [&](int row) { return row < num_rows ? row : -1; });
  WarpSums<Config, Tile> sums;
  StreamSlabs<Tile, Quantizer::Raw::kStageBytes, sums.kUnrolled>(
      shared, Shape::kNumSlabs, [&](char* stage, int slab) { copies.Fetch(stage, slab); },
      [&](const char* stage, int slab) {
        if (slab == 0) {
          quantizer.FindScales(scales, input, maxima, input_scale);
          __syncthreads();
        }
        quantizer.Convert(stage, scales);
        __syncthreads();
        sums.Multiply(stage, operands, slab);
      });
  StoreSums(sums, epilogue, first_row, num_rows, first_band, [&](int row) { return scales[row]; });
}
