// Rows of F32 between two products, of which the second quantizes its input as it reads it, up to 8 rows at a time
// (matmul_quantize.cuh, moe_experts_few.cuh): what makes the rows may gather their absolute maxima, NaNs not counted;
// the second product has codes of one slab at a time, made beside the stream of W.

/// The absolute maxima of the rows of a warp's sums.
template <class Tile>
class RowMaxima {
 public:
  /// `value` is what sum i of this lane has become.
  __device__ void Add(float value, int i) {
    float& largest = largest_[i / 4 % Tile::kRowTiles][i % 2];
    largest = fmaxf(largest, fabsf(value));
  }

  /// Gathers that of row i of the block in place_of(i), which is null if there is no such row.
  template <class PlaceOf>
  __device__ void Gather(PlaceOf place_of) const {
    const int lane = threadIdx.x % 32, warp_t = threadIdx.x / 32 / Tile::kWarpsN;
#pragma unroll
    for (int i = 0; i < Tile::kRowTiles * 2; ++i) {
      float largest = largest_[i / 2][i % 2];
#pragma unroll
      for (int distance = 4; distance < 32; distance *= 2) {
        largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, distance));
      }
      float* place = lane < 4 ? place_of((warp_t * Tile::kRowTiles + i / 2) * 8 + lane * 2 + i % 2) : nullptr;
      if (place != nullptr) {
        GatherMaximum(place, largest);
      }
    }
  }

 private:
  float largest_[Tile::kRowTiles][2] = {};
};

/// In place of the scale of a row that is not there.
constexpr float kNoRow = -1;

/// Slabs of up to 8 rows of F32 as they come, and the operands made of them. Beside what SlabCopies takes a Product has
/// kRawStride and kRawActivation, of the rows as they come. Behind the ring, shared memory holds operands of 8 rows of
/// a slab and 8 scales.
template <class Product, class Tile>
class RowQuantizer {
  /// What brings slabs of x and W.
  struct RawProduct {
    using Input = float;
    using Weight = typename Product::Weight;
    static constexpr InputKind kInputKind = InputKind::kRounded;
    static constexpr int kOutputs = Product::kOutputs, kDepth = Product::kDepth, kInputStride = Product::kRawStride;
  };
  using Code = typename Product::Input;
  using Raw = MatmulShape<RawProduct, Tile>;
  using Shape = MatmulShape<Product, Tile>;
  static_assert(Shape::kBlockRows == 8);

 public:
  using Copies = SlabCopies<RawProduct, Tile, MissingRows::kNothing>;
  static constexpr int kStageBytes = Raw::kStageBytes;

  __device__ RowQuantizer(char* ring, int num_rows)
      : operands_(ring + Tile::kStages * kStageBytes),
        scales_(reinterpret_cast<float*>(operands_ + 8 * Shape::kRowPitch)),
        num_rows_(num_rows) {}

  /// The absolute maximum of a row. All lanes of a warp get it.
  static __device__ float LargestOf(const float* row) {
    constexpr int kVector = Product::kDepth % 4 == 0 ? 4 : 1;
    float largest = 0;
    for (int k = threadIdx.x % 32 * kVector; k < Product::kDepth; k += 32 * kVector) {
      const auto x = LoadVector<kVector>(row + k);
      for (int j = 0; j < kVector; ++j) {
        largest = fmaxf(largest, fabsf(Activate<Product::kRawActivation>(x.values[j])));
      }
    }
    return WarpReduce<Max>(largest);
  }

  /// From now on the scale of row i is scale_of(i), which a warp calls; where it is kNoRow, and from the number of rows
  /// on, operands are zero. All threads of the block, after a barrier.
  template <class ScaleOfRow>
  __device__ void FindScales(ScaleOfRow scale_of) {
    for (int i = threadIdx.x * 16; i < 8 * Shape::kRowPitch; i += Shape::kThreads * 16) {
      *reinterpret_cast<uint4*>(operands_ + i) = {};
    }
    for (int row = threadIdx.x / 32; row < num_rows_; row += Shape::kThreads / 32) {
      const float scale = scale_of(row);
      if (threadIdx.x % 32 == 0) {
        scales_[row] = scale;
      }
    }
    __syncthreads();
  }

  __device__ float Scale(int row) const { return scales_[row]; }

  /// Operands of the slab in `stage`. All threads of the block, after a barrier.
  __device__ const char* Operands(const char* stage) {
    constexpr int kFours = Raw::kRowBytes / 16;
    for (int i = threadIdx.x; i < num_rows_ * kFours; i += Shape::kThreads) {
      const int row = i / kFours, column = i % kFours * 4;
      const float scale = scales_[row];
      if (scale == kNoRow) {
        continue;
      }
      const auto four =
          LoadVector<4>(reinterpret_cast<const float*>(stage + Raw::kWeightBytes + row * Raw::kRowPitch) + column);
      Vector<Code, 4> codes;
      for (int j = 0; j < 4; ++j) {
        codes.values[j] = FromFloat<Code>(Activate<Product::kRawActivation>(four.values[j]) / scale);
      }
      constexpr int kOfChunk = 16 / static_cast<int>(sizeof(Code));
      char* to = operands_ + row * Shape::kRowPitch + Shape::Swizzle(row, column / kOfChunk) * 16;
      StoreVector<4>(reinterpret_cast<Code*>(to) + column % kOfChunk, codes);
    }
    __syncthreads();
    return operands_;
  }

 private:
  char* operands_;
  float* scales_;
  int num_rows_;
};

/// Streams all slabs that `copies` asks for through `ring` and multiplies them. `rows`, a RowQuantizer or its like,
/// makes operands of them, with the scales scale_of(i).
template <class Rows, class Copies, class Product, class Tile, class ScaleOfRow>
__device__ void MultiplySlabs(char* ring, Rows& rows, Copies& copies, WarpSums<Product, Tile>& sums,
                              ScaleOfRow scale_of) {
  StreamSlabs<Tile, Rows::kStageBytes, WarpSums<Product, Tile>::kUnrolled>(
      ring, MatmulShape<Product, Tile>::kNumSlabs, [&](char* stage, int slab) { copies.Fetch(stage, slab); },
      [&](const char* stage, int slab) {
        if (slab == 0) {
          rows.FindScales(scale_of);
        }
        sums.Multiply(stage, rows.Operands(stage), slab);
      });
}
