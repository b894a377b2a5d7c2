// What kernels that multiply rows by a matrix in layout Fragment share (matmul.cuh, moe_experts.cuh): the way of W and
// x through shared memory, and the sums.
//
// W [N, K] lies in layout Fragment (runtime/plan/layout.h): bands of 16 outputs, tiles of 512 bytes that are operand A
// of mma.m16n8k16 (BF16) or m16n8k32 (E4M3) as lanes take it. x [rows, K] is operand B, 8 rows an instruction. A block
// computes kWarpsN * kBands bands for kWarpsT * kRowTiles * 8 rows.
//
// K goes by slabs of kSlabTiles tiles through a ring of kStages stages in shared memory, filled by cp.async so that
// kStages - 1 slabs are on their way while one is multiplied. A lane reads its fragment of W with one 16-byte load,
// that of x with ldmatrix; rows of x are padded by 16 bytes (32 or 64 of F32), so neither has bank conflicts.
//
// Results do not depend on the number of rows: every output is one chain of mma over K in ascending order, whatever the
// tile of a block. E4M3 is multiplied as it is where tensor cores do that for mma.sync, on sm_89 and sm_120; there the
// chain is cut, and sums of 128 products are added up in F32 registers, because these tensor cores keep only some 14
// bits of a sum of E4M3 products (found for wgmma: DeepSeek-V3, arXiv:2412.19437, section 3.5.2). On sm_80, sm_90 and
// sm_100 tiles are decoded to F16, exactly: ptxas makes an mma.sync of E4M3 from F16 products there, and would decode
// both operands for each.
//
// A `Product` has the types Input and Weight and the constants kInputKind, kOutputs (N), kDepth (K) and kInputStride.

enum class InputKind {
  kRounded,  // BF16 as it is stored, or F32 rounded to BF16
  kSplit,    // F32 as the sum of two BF16, each multiplied
  kCodes,    // E4M3 with a scale a row
};

/// What a block computes and how it moves there; derived from a product and a tile (codegen/cuda/MatmulTile.h).
template <class Product, class Tile>
struct MatmulShape {
  using Input = typename Product::Input;
  static constexpr bool kIsFloat = sizeof(Input) == 4;
  static constexpr int kPairs = static_cast<int>(sizeof(typename Product::Weight));  // a lane reads F32 by 4 or 2
  static constexpr int kThreads = 32 * Tile::kWarpsN * Tile::kWarpsT;
  static constexpr int kBlockBands = Tile::kWarpsN * Tile::kBands;
  static constexpr int kBlockRows = Tile::kWarpsT * Tile::kRowTiles * 8;
  static constexpr int kTileDepth = 32 / static_cast<int>(sizeof(typename Product::Weight));  // k of a tile of W
  static constexpr int kNumTiles = (Product::kDepth + kTileDepth - 1) / kTileDepth;           // of a band
  static constexpr int kNumBands = (Product::kOutputs + 15) / 16;
  static constexpr int kNumSlabs = (kNumTiles + Tile::kSlabTiles - 1) / Tile::kSlabTiles;

  static constexpr int kWeightBytes = kBlockBands * Tile::kSlabTiles * 512;
  static constexpr int kRowBytes = Tile::kSlabTiles * kTileDepth * static_cast<int>(sizeof(Input));
  static constexpr int kRowPitch = kRowBytes + (kIsFloat ? 64 / kPairs : 16);
  static constexpr int kStageBytes = kWeightBytes + kBlockRows * kRowPitch;
};

/// Asks for slab `slab` of W and x. `weight` begins at this block's first band; `row_of(i)` is the row of `input` that
/// is row i of the block, below 0 if there is none: zeros stand for it. `num_rows`, whole runs of 8, are asked for.
///
/// A thread's copies are kThreads apart. Where they lie from its first one is known when this is compiled, and what
/// need not be checked for these shapes is not: the loop around it has little to do beside its products.
template <class Product, class Tile, class RowOf>
__device__ void FetchSlab(char* stage, const char* weight, const typename Product::Input* input, int slab,
                          int num_bands, int num_rows, RowOf row_of) {
  using Shape = MatmulShape<Product, Tile>;
  constexpr int kThreads = Shape::kThreads;
  const int thread = threadIdx.x;

  constexpr int kBandChunks = Tile::kSlabTiles * 32, kWeightChunks = Shape::kBlockBands * kBandChunks;  // of 16 bytes
  static_assert(kThreads % kBandChunks == 0 || kBandChunks % kThreads == 0, "copies of a thread are not regular");
  constexpr bool kAllBands = Shape::kNumBands % Shape::kBlockBands == 0;
  constexpr bool kAllTiles = Shape::kNumTiles % Tile::kSlabTiles == 0;
  const int first_band = thread / kBandChunks, first_chunk = thread % kBandChunks;
  const char* const from =
      weight + (int64{first_band} * Shape::kNumTiles + slab * Tile::kSlabTiles) * 512 + first_chunk * 16;
#pragma unroll
  for (int i = 0; i < kWeightChunks; i += kThreads) {
    if (kWeightChunks % kThreads == 0 || thread + i < kWeightChunks) {
      const int band = i / kBandChunks, chunk = i % kBandChunks;  // from the thread's first ones
      const bool valid = (kAllBands || first_band + band < num_bands) &&
                         (kAllTiles || slab * Tile::kSlabTiles + (first_chunk + chunk) / 32 < Shape::kNumTiles);
      CopyAsync(stage + thread * 16 + i * 16, valid ? from + int64{band} * Shape::kNumTiles * 512 + chunk * 16 : weight,
                valid ? 16 : 0);
    }
  }

  constexpr int kRowChunks = Shape::kRowBytes / 16;
  constexpr int kPerChunk = 16 / static_cast<int>(sizeof(typename Product::Input));
  constexpr int kSlabDepth = Tile::kSlabTiles * Shape::kTileDepth;
  constexpr bool kAllColumns = Product::kDepth % kSlabDepth == 0;
  constexpr bool kSameChunk = kThreads % kRowChunks == 0;  // of all of a thread's copies
#pragma unroll
  for (int i = 0; i < Shape::kBlockRows * kRowChunks; i += kThreads) {
    if (thread + i < num_rows * kRowChunks) {
      const int row = kSameChunk ? thread / kRowChunks + i / kRowChunks : (thread + i) / kRowChunks;
      const int chunk = kSameChunk ? thread % kRowChunks : (thread + i) % kRowChunks;
      const int column = slab * kSlabDepth + chunk * kPerChunk, from_row = row_of(row);
      const bool valid = from_row >= 0 && (kAllColumns || column < Product::kDepth);
      const int left = (Product::kDepth - column) * static_cast<int>(sizeof(typename Product::Input));
      CopyAsync(stage + Shape::kWeightBytes + row * Shape::kRowPitch + chunk * 16,
                valid ? input + int64{from_row} * Product::kInputStride + column : input,
                !valid        ? 0
                : kAllColumns ? 16
                              : min(left, 16));
    }
  }
}

/// Runs slabs 0 to `num_slabs` - 1 through the ring: fetch(stage, slab) asks for one, multiply(stage, slab) has it.
template <class Tile, int kStageBytes, class Fetch, class Multiply>
__device__ void StreamSlabs(char* ring, int num_slabs, Fetch fetch, Multiply multiply) {
#pragma unroll
  for (int slab = 0; slab < Tile::kStages - 1; ++slab) {
    if (slab < num_slabs) {
      fetch(ring + slab * kStageBytes, slab);
    }
    CommitCopies();
  }
  for (int slab = 0; slab < num_slabs; ++slab) {
    WaitForCopies<Tile::kStages - 2>();
    __syncthreads();  // the slab is there for all, and the one before was read by all
    if (const int next = slab + Tile::kStages - 1; next < num_slabs) {
      fetch(ring + next % Tile::kStages * kStageBytes, next);
    }
    CommitCopies();
    multiply(ring + slab % Tile::kStages * kStageBytes, slab);
  }
}

/// Operand A of a tile of W, as products take it. E4M3 that is decoded has `first` with k 0 and 1 of each four,
/// `second` with k 2 and 3: the order of k within a product is free, if both operands have it.
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
    if constexpr (sizeof(typename Product::Weight) == 2 ||
                  (Product::kInputKind == InputKind::kCodes && kMultipliesE4M3)) {
      fragment.first[i] = words[i];
    } else {
      DecodeF16(words[i], fragment.first[i], fragment.second[i]);
      if constexpr (Product::kInputKind != InputKind::kCodes) {
        fragment.first[i] = F16ToBF16(fragment.first[i]);
        fragment.second[i] = F16ToBF16(fragment.second[i]);
      }
    }
  }
}

/// Of tile `tile` of a slab; `rows` begins at the first of the 8 rows.
template <class Product, class Tile>
__device__ void LoadRows(RowFragment& fragment, const char* rows, int tile) {
  using Shape = MatmulShape<Product, Tile>;
  const int lane = threadIdx.x % 32;
  if constexpr (!Shape::kIsFloat) {
    LoadMatrix2(fragment.first, rows + lane % 8 * Shape::kRowPitch + tile * 32 + lane / 8 % 2 * 16);
    if constexpr (Product::kInputKind == InputKind::kCodes && !kMultipliesE4M3) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        DecodeF16(fragment.first[half], fragment.first[half], fragment.second[half]);
      }
    }
  } else if constexpr (sizeof(typename Product::Weight) == 1) {
    // A register of W has four k from 4t on in order; of x they are taken so too.
    const char* row = rows + lane / 4 * Shape::kRowPitch + (tile * 32 + lane % 4 * 4) * 4;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float4 four = *reinterpret_cast<const float4*>(row + half * 64);
      fragment.first[half] = PackBF16(four.x, four.y);
      fragment.second[half] = PackBF16(four.z, four.w);
    }
  } else {
    const char* row = rows + lane / 4 * Shape::kRowPitch + (tile * 16 + lane % 4 * 2) * 4;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float2 pair = *reinterpret_cast<const float2*>(row + half * 32);
      const unsigned rounded = PackBF16(pair.x, pair.y);
      fragment.first[half] = rounded;
      if constexpr (Product::kInputKind == InputKind::kSplit) {
        fragment.second[half] =
            PackBF16(pair.x - __uint_as_float(rounded << 16), pair.y - __uint_as_float(rounded & 0xFFFF0000u));
      }
    }
  }
}

/// One tile of W times 8 rows.
template <class Product>
__device__ void MultiplyTile(float (&sum)[4], const WeightFragment& weights, const RowFragment& rows) {
  constexpr bool kIsE4M3 = sizeof(typename Product::Weight) == 1;
  if constexpr (Product::kInputKind == InputKind::kCodes) {
    if constexpr (kMultipliesE4M3) {
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
  static constexpr bool kCutsChain = Product::kInputKind == InputKind::kCodes && kMultipliesE4M3;
  static constexpr int kChainTiles = 4;  // of E4M3, then the chain goes to F32 registers

  /// Multiplies slab `slab`. `row_tiles`, at most kRowTiles, are those with rows in them.
  __device__ void Multiply(const char* stage, int slab, int row_tiles = Tile::kRowTiles) {
    const int lane = threadIdx.x % 32, warp_n = threadIdx.x / 32 % Tile::kWarpsN,
              warp_t = threadIdx.x / 32 / Tile::kWarpsN;
    const char* rows = stage + Shape::kWeightBytes + warp_t * Tile::kRowTiles * 8 * Shape::kRowPitch;
    const int num_tiles = min(Tile::kSlabTiles, Shape::kNumTiles - slab * Tile::kSlabTiles);
#pragma unroll
    for (int tile = 0; tile < Tile::kSlabTiles; ++tile) {
      if (tile < num_tiles) {
        RowFragment inputs[Tile::kRowTiles];
#pragma unroll
        for (int i = 0; i < Tile::kRowTiles; ++i) {
          if (i < row_tiles) {
            LoadRows<Product, Tile>(inputs[i], rows + i * 8 * Shape::kRowPitch, tile);
          }
        }
#pragma unroll
        for (int band = 0; band < Tile::kBands; ++band) {
          const int in_block = warp_n * Tile::kBands + band;
          WeightFragment weights;
          LoadWeights<Product>(
              weights, *reinterpret_cast<const uint4*>(stage + (in_block * Tile::kSlabTiles + tile) * 512 + lane * 16));
#pragma unroll
          for (int i = 0; i < Tile::kRowTiles; ++i) {
            if (i < row_tiles) {
              MultiplyTile<Product>(chain[band][i], weights, inputs[i]);
            }
          }
        }
      }
      if (kCutsChain && (tile + 1) % kChainTiles == 0) {
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
