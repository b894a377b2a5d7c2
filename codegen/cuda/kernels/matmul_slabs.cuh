// What kernels that multiply rows by a matrix in layout Fragment share (matmul.cuh, moe_experts.cuh): the way of W and
// x through shared memory, and the sums.
//
// W [N, K] lies in layout Fragment (runtime/plan/layout.h): bands of 16 outputs, tiles of 512 bytes that are operand A
// of mma.m16n8k16 (BF16) or m16n8k32 (E4M3) as lanes take it. x [rows, K] is operand B, 8 rows an instruction. A block
// computes kWarpsN * kBands bands for kWarpsT * kRowTiles * 8 rows.
//
// K goes by slabs of kSlabTiles tiles through a ring of kStages stages in shared memory, filled by cp.async so that
// kStages - 1 slabs are on their way while one is multiplied. A lane reads its fragment of W with one 16-byte load,
// that of x with ldmatrix, whose rows are swizzled, or with loads of the lane, whose rows are padded: neither has bank
// conflicts.
//
// Results do not depend on the number of rows: every output is one chain of mma over K in ascending order, whatever the
// tile of a block. E4M3 is multiplied as it is where tensor cores do that for mma.sync, on sm_89 and sm_120; there the
// chain is cut, and sums of 256 products are added up in F32 registers, because these tensor cores keep only some 14
// bits of a sum of E4M3 products (found for wgmma: DeepSeek-V3, arXiv:2412.19437, section 3.5.2). On sm_80, sm_90 and
// sm_100 ptxas makes an mma.sync of E4M3 from F16 products and decodes both operands for each. So plans for these have
// the codes of x as F16, which holds them exactly, and a warp decodes each tile of W once.
//
// A `Product` has the types Input and Weight and the constants kInputKind, kOutputs (N), kDepth (K) and kInputStride.

enum class InputKind {
  kRounded,  // BF16 as it is stored, or F32 rounded to BF16
  kSplit,    // F32 as the sum of two BF16, each multiplied
  kCodes,    // E4M3 with a scale a row, as codes or as F16
};

/// What a block computes and how it moves there; derived from a product and a tile (codegen/cuda/MatmulTile.h).
template <class Product, class Tile>
struct MatmulShape {
  using Input = typename Product::Input;
  static constexpr int kInputBytes = static_cast<int>(sizeof(Input));
  static constexpr bool kIsFloat = kInputBytes == 4;
  /// Operand B by ldmatrix: elements of x are what is multiplied, and lanes take them in its order.
  static constexpr bool kByMatrix = kInputBytes == static_cast<int>(sizeof(typename Product::Weight));
  static constexpr int kPairs = static_cast<int>(sizeof(typename Product::Weight));  // a lane reads x by 4 or 2
  static constexpr int kThreads = 32 * Tile::kWarpsN * Tile::kWarpsT;
  static constexpr int kBlockBands = Tile::kWarpsN * Tile::kBands;
  static constexpr int kBlockRows = Tile::kWarpsT * Tile::kRowTiles * 8;
  static constexpr int kTileDepth = 32 / static_cast<int>(sizeof(typename Product::Weight));  // k of a tile of W
  static constexpr int kNumTiles = (Product::kDepth + kTileDepth - 1) / kTileDepth;           // of a band
  static constexpr int kNumBands = (Product::kOutputs + 15) / 16;
  static constexpr int kNumSlabs = (kNumTiles + Tile::kSlabTiles - 1) / Tile::kSlabTiles;

  static constexpr int kWeightBytes = kBlockBands * Tile::kSlabTiles * 512;
  static constexpr int kRowBytes = Tile::kSlabTiles * kTileDepth * kInputBytes;
  static constexpr int kRowChunks = kRowBytes / 16;
  static constexpr int kRowPitch = kRowBytes + (kByMatrix ? 0 : kIsFloat ? 64 / kPairs : 32);
  static constexpr int kStageBytes = kWeightBytes + kBlockRows * kRowPitch;

  /// Where chunk `chunk`, 16 bytes, of a row stands in it: 8 rows of a chunk lie in different banks, and so do 8
  /// chunks of a row.
  static __device__ int Swizzle(int row, int chunk) {
    if constexpr (!kByMatrix) {
      return chunk;
    } else {
      static_assert(kRowChunks % 8 == 0 || 8 % kRowChunks == 0, "rows are not swizzled");
      return chunk ^ (kRowChunks >= 8 ? row % 8 : row * kRowChunks / 8 % kRowChunks);
    }
  }
};

/// What stands for rows of a block that x does not have: there are none; zeros; nothing, as nobody reads them.
enum class MissingRows { kNone, kZero, kNothing };

/// A thread's copies that bring slabs of W and x, one slab after another. Where they lie from each other, and which
/// rows there are, does not change, so that the loop around them has little to do beside its products.
template <class Product, class Tile, MissingRows kMissing = MissingRows::kZero>
class SlabCopies {
  using Shape = MatmulShape<Product, Tile>;
  using Input = typename Product::Input;

 public:
  /// `weight` begins at this block's first band, of which there are `num_bands`; `row_of(i)` is the row of `input` that
  /// is row i of the block, below 0 if there is none.
  template <class RowOf>
  __device__ SlabCopies(const char* weight, const Input* input, int num_bands, RowOf row_of)
      : weight_(weight + threadIdx.x / kBandChunks * kBandBytes + threadIdx.x % kBandChunks * 16),
        input_(reinterpret_cast<const char*>(input)),
        num_bands_(num_bands) {
#pragma unroll
    for (int i = 0; i < kRowCopies; ++i) {
      const int row = HasRowCopy(i) ? row_of(RowOfCopy(i)) : -1;
      chunks_[i] = kMissing == MissingRows::kNone || row >= 0 ? row * kRowStrideChunks + ChunkOfCopy(i) : 0;
      sizes_[i] = kMissing == MissingRows::kNone || row >= 0 ? 16 : 0;
    }
  }

  /// Asks for slab `slab`; begins with the first, and goes on with the next each time.
  __device__ void Fetch(char* stage, int slab) {
    FetchWeights(stage, slab);
    FetchRows(stage + Shape::kWeightBytes, slab);
    weight_ += Tile::kSlabTiles * 512;
    input_ += Shape::kRowBytes;
  }

 private:
  static constexpr int kThreads = Shape::kThreads;
  static constexpr int kBandChunks = Tile::kSlabTiles * 32, kWeightChunks = Shape::kBlockBands * kBandChunks;
  static_assert(kThreads % kBandChunks == 0 || kBandChunks % kThreads == 0, "copies of a thread are not regular");
  static constexpr int64 kBandBytes = int64{Shape::kNumTiles} * 512;
  static constexpr int kBlockChunks = Shape::kBlockRows * Shape::kRowChunks;
  static constexpr int kRowCopies = (kBlockChunks + kThreads - 1) / kThreads;
  static constexpr unsigned kRowStrideChunks = Product::kInputStride * Shape::kInputBytes / 16;
  static constexpr bool kAllBands = Shape::kNumBands % Shape::kBlockBands == 0;
  static constexpr bool kAllTiles = Shape::kNumTiles % Tile::kSlabTiles == 0;
  static constexpr bool kAllColumns = Product::kDepth * Shape::kInputBytes % Shape::kRowBytes == 0;

  __device__ void FetchWeights(char* weights, int slab) {
    const int thread = threadIdx.x;
#pragma unroll
    for (int i = 0; i < kWeightChunks; i += kThreads) {
      if (kWeightChunks % kThreads == 0 || thread + i < kWeightChunks) {
        const int band = i / kBandChunks, chunk = i % kBandChunks;  // from the thread's first ones
        const int tile = slab * Tile::kSlabTiles + (thread % kBandChunks + chunk) / 32;
        const bool is_there =
            (kAllBands || thread / kBandChunks + band < num_bands_) && (kAllTiles || tile < Shape::kNumTiles);
        CopyAsync(weights + (thread + i) * 16, weight_ + band * kBandBytes + chunk * 16, is_there ? 16 : 0);
      }
    }
  }

  __device__ void FetchRows(char* rows, int slab) {
#pragma unroll
    for (int i = 0; i < kRowCopies; ++i) {
      if (HasRowCopy(i) && (kMissing != MissingRows::kNothing || sizes_[i] > 0)) {
        const int left = Product::kDepth * Shape::kInputBytes - slab * Shape::kRowBytes - ChunkOfCopy(i) * 16;
        CopyAsync(rows + PlaceOfCopy(i), input_ + int64{chunks_[i]} * 16,
                  kAllColumns ? sizes_[i] : max(min(left, sizes_[i]), 0));
      }
    }
  }

  // The copies of x: whether there is one, its row in the block, chunk of the row, and place in the stage.
  static __device__ bool HasRowCopy(int i) {
    return kBlockChunks % kThreads == 0 || static_cast<int>(threadIdx.x) + i * kThreads < kBlockChunks;
  }
  static __device__ int RowOfCopy(int i) {
    return kThreads % Shape::kRowChunks == 0
               ? static_cast<int>(threadIdx.x) / Shape::kRowChunks + i * (kThreads / Shape::kRowChunks)
               : static_cast<int>(threadIdx.x + i * kThreads) / Shape::kRowChunks;
  }
  static __device__ int ChunkOfCopy(int i) {
    return static_cast<int>(threadIdx.x + (kThreads % Shape::kRowChunks == 0 ? 0 : i * kThreads)) % Shape::kRowChunks;
  }
  static __device__ int PlaceOfCopy(int i) {
    if constexpr (kThreads % (8 * Shape::kRowChunks) == 0) {  // rows that are swizzled alike
      return PlaceOf(RowOfCopy(0), ChunkOfCopy(0)) + i * (kThreads / Shape::kRowChunks) * Shape::kRowPitch;
    } else {
      return PlaceOf(RowOfCopy(i), ChunkOfCopy(i));
    }
  }
  static __device__ int PlaceOf(int row, int chunk) { return row * Shape::kRowPitch + Shape::Swizzle(row, chunk) * 16; }

  const char *weight_, *input_;
  int num_bands_;
  unsigned chunks_[kRowCopies];  // from input_ on
  int sizes_[kRowCopies];
};

/// Runs slabs 0 to `num_slabs` - 1 through the ring: fetch(stage, slab) asks for one, multiply(stage, slab) has it.
/// kUnrolled slabs a turn of the loop.
template <class Tile, int kStageBytes, int kUnrolled, class Fetch, class Multiply>
__device__ void StreamSlabs(char* ring, int num_slabs, Fetch fetch, Multiply multiply) {
#pragma unroll
  for (int slab = 0; slab < Tile::kStages - 1; ++slab) {
    if (slab < num_slabs) {
      fetch(ring + slab * kStageBytes, slab);
    }
    CommitCopies();
  }
  constexpr int kLast = (Tile::kStages - 1) * kStageBytes;
  int read = 0, written = kLast;  // stages, in bytes
#pragma unroll kUnrolled
  for (int slab = 0; slab < num_slabs; ++slab) {
    WaitForCopies<Tile::kStages - 2>();
    __syncthreads();  // the slab is there for all, and the one before was read by all
    if (const int next = slab + Tile::kStages - 1; next < num_slabs) {
      fetch(ring + written, next);
    }
    CommitCopies();
    multiply(ring + read, slab);
    written = read;
    read = read == kLast ? 0 : read + kStageBytes;
  }
}

/// Operand A of a tile of W, as products take it. Of E4M3 that is decoded `first` has the first 16 k of the tile,
/// `second` the others: lane t has k 4t to 4t + 3, which are columns 2t, 2t + 1, 2t + 8 and 2t + 9 of the product. The
/// order of k within a product is free, if both operands have it.
struct WeightFragment {
  unsigned first[4], second[4];
};

/// Operand B of a tile for 8 rows, likewise; of split inputs `second` is what rounding left over.
struct RowFragment {
  unsigned first[2], second[2];
};

template <class Product>
__device__ void LoadWeights(WeightFragment& fragment, const uint4& weights) {
  const unsigned words[4] = {weights.x, weights.y, weights.z, weights.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if constexpr (sizeof(typename Product::Weight) == 2 || sizeof(typename Product::Input) == 1) {
      fragment.first[i] = words[i];
    } else {
      unsigned(&half)[4] = i < 2 ? fragment.first : fragment.second;
      DecodeF16(words[i], half[i % 2], half[i % 2 + 2]);
      if constexpr (Product::kInputKind != InputKind::kCodes) {
        half[i % 2] = F16ToBF16(half[i % 2]);
        half[i % 2 + 2] = F16ToBF16(half[i % 2 + 2]);
      }
    }
  }
}

/// What this lane has of tile `tile` of its row.
template <class Product, class Shape>
__device__ void LoadRow(RowFragment& fragment, const char* row, int tile) {
  const int t = threadIdx.x % 4;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    if constexpr (sizeof(typename Product::Weight) == 1) {
      unsigned(&to)[2] = half == 0 ? fragment.first : fragment.second;
      const int k = tile * 32 + half * 16 + t * 4;
      if constexpr (Shape::kInputBytes == 2) {
        const uint2 four = *reinterpret_cast<const uint2*>(row + k * 2);
        to[0] = four.x;
        to[1] = four.y;
      } else {
        const float4 four = *reinterpret_cast<const float4*>(row + k * 4);
        to[0] = PackBF16(four.x, four.y);
        to[1] = PackBF16(four.z, four.w);
      }
    } else {
      const float2 pair = *reinterpret_cast<const float2*>(row + (tile * 16 + half * 8 + t * 2) * 4);
      const unsigned rounded = PackBF16(pair.x, pair.y);
      fragment.first[half] = rounded;
      if constexpr (Product::kInputKind == InputKind::kSplit) {
        fragment.second[half] =
            PackBF16(pair.x - __uint_as_float(rounded << 16), pair.y - __uint_as_float(rounded & 0xFFFF0000u));
      }
    }
  }
}

/// Of tile `tile` of a slab, for kRowTiles runs of 8 rows; `rows` begins at the first.
template <class Product, class Tile>
__device__ void LoadRows(RowFragment (&fragments)[Tile::kRowTiles], const char* rows, int tile, int row_tiles) {
  using Shape = MatmulShape<Product, Tile>;
  const int lane = threadIdx.x % 32;
  if constexpr (Shape::kByMatrix) {
    // Lanes 8i to 8i + 7 name the rows of matrix i: the halves of 8 rows, and those of the next 8.
    const int row = lane % 8 + lane / 16 * 8;
    const char* at = rows + row * Shape::kRowPitch + Shape::Swizzle(lane % 8, tile * 2 + lane / 8 % 2) * 16;
#pragma unroll
    for (int i = 0; i + 1 < Tile::kRowTiles; i += 2) {
      if (i < row_tiles) {
        LoadMatrix4(fragments[i].first, fragments[i + 1].first, at + i * 8 * Shape::kRowPitch);
      }
    }
    if constexpr (Tile::kRowTiles % 2 == 1) {
      constexpr int kLast = Tile::kRowTiles - 1;
      LoadMatrix2(fragments[kLast].first, at - lane / 16 * 8 * Shape::kRowPitch + kLast * 8 * Shape::kRowPitch);
    }
  } else {
#pragma unroll
    for (int i = 0; i < Tile::kRowTiles; ++i) {
      if (i < row_tiles) {
        LoadRow<Product, Shape>(fragments[i], rows + (i * 8 + lane / 4) * Shape::kRowPitch, tile);
      }
    }
  }
}

/// One tile of W times 8 rows.
template <class Product>
__device__ void MultiplyTile(float (&sum)[4], const WeightFragment& weights, const RowFragment& rows) {
  constexpr bool kIsE4M3 = sizeof(typename Product::Weight) == 1;
  if constexpr (Product::kInputKind == InputKind::kCodes) {
    if constexpr (sizeof(typename Product::Input) == 1) {
      MultiplyE4M3(sum, weights.first, rows.first);
    } else {
      MultiplyF16(sum, weights.first, rows.first);
      MultiplyF16(sum, weights.second, rows.second);
    }
  } else {
    MultiplyBF16(sum, weights.first, rows.first);
    if constexpr (kIsE4M3) {
      MultiplyBF16(sum, weights.second, rows.second);
    } else if constexpr (Product::kInputKind == InputKind::kSplit) {
      MultiplyBF16(sum, weights.first, rows.second);
    }
  }
}

/// The sums of a warp: kBands bands for kRowTiles * 8 rows.
template <class Product, class Tile>
struct WarpSums {
  using Shape = MatmulShape<Product, Tile>;
  static constexpr bool kCutsChain = sizeof(typename Product::Input) == 1;
  static constexpr int kChainTiles = 8;  // of E4M3, then the chain goes to F32 registers
  /// For StreamSlabs: so that a turn of the loop knows where it cuts.
  static constexpr int kUnrolled = kCutsChain && Tile::kSlabTiles < kChainTiles ? kChainTiles / Tile::kSlabTiles : 1;

  /// Multiplies slab `slab`: `weights` and `rows` of a stage. `row_tiles`, at most kRowTiles, are those with rows in
  /// them.
  __device__ void Multiply(const char* weights, const char* rows, int slab, int row_tiles = Tile::kRowTiles) {
    const int lane = threadIdx.x % 32, warp_n = threadIdx.x / 32 % Tile::kWarpsN,
              warp_t = threadIdx.x / 32 / Tile::kWarpsN;
    rows += warp_t * Tile::kRowTiles * 8 * Shape::kRowPitch;
    const int num_tiles =
        Shape::kNumTiles % Tile::kSlabTiles == 0 ? Tile::kSlabTiles : Shape::kNumTiles - slab * Tile::kSlabTiles;
#pragma unroll
    for (int tile = 0; tile < Tile::kSlabTiles; ++tile) {
      if (tile < num_tiles) {
        RowFragment inputs[Tile::kRowTiles];
        LoadRows<Product, Tile>(inputs, rows, tile, row_tiles);
#pragma unroll
        for (int band = 0; band < Tile::kBands; ++band) {
          const int in_block = warp_n * Tile::kBands + band;
          WeightFragment fragment;
          LoadWeights<Product>(fragment, *reinterpret_cast<const uint4*>(
                                             weights + (in_block * Tile::kSlabTiles + tile) * 512 + lane * 16));
#pragma unroll
          for (int i = 0; i < Tile::kRowTiles; ++i) {
            if (i < row_tiles) {
              MultiplyTile<Product>(chain[band][i], fragment, inputs[i]);
            }
          }
        }
      }
      if (kCutsChain && (slab * Tile::kSlabTiles + tile + 1) % kChainTiles == 0) {
        AddChains();
      }
    }
  }

  /// Calls body(sum, row, output, i) for the sums of this lane, row and output being those of the block, and starts
  /// anew.
  template <class Body>
  __device__ void Take(Body body) {
    if constexpr (kCutsChain) {
      AddChains();
    }
    ForEach([&](int row, int output, int i) {
      float& sum = (kCutsChain ? sums : chain)[i / 4 / Tile::kRowTiles][i / 4 % Tile::kRowTiles][i % 4];
      body(sum, row, output, i);
      sum = 0;
    });
  }

  /// Calls body(row, output, i). Lane 4 * g + t holds outputs g and g + 8 of rows 2t and 2t + 1: a warp stores whole
  /// sectors of 8 outputs of F32.
  template <class Body>
  static __device__ void ForEach(Body body) {
    const int lane = threadIdx.x % 32, warp_n = threadIdx.x / 32 % Tile::kWarpsN,
              warp_t = threadIdx.x / 32 / Tile::kWarpsN;
#pragma unroll
    for (int i = 0; i < Tile::kBands * Tile::kRowTiles * 4; ++i) {
      const int band = i / 4 / Tile::kRowTiles, row_tile = i / 4 % Tile::kRowTiles, j = i % 4;
      body((warp_t * Tile::kRowTiles + row_tile) * 8 + lane % 4 * 2 + j % 2,
           (warp_n * Tile::kBands + band) * 16 + lane / 4 + j / 2 * 8, i);
    }
  }

  __device__ void AddChains() {
#pragma unroll
    for (int band = 0; band < Tile::kBands; ++band) {
#pragma unroll
      for (int i = 0; i < Tile::kRowTiles; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          sums[band][i][j] += chain[band][i][j];
          chain[band][i][j] = 0;
        }
      }
    }
  }

  float chain[Tile::kBands][Tile::kRowTiles][4] = {};
  float sums[Tile::kBands][Tile::kRowTiles][4] = {};  // of cut chains
};
