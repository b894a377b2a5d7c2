// Causal grouped-query attention over a paged cache, for prompts and single tokens in one step.
//
// The room of a page and a layer is planes of [page_tokens, head_dim padded to a multiple of 16] elements, row major:
// one a key/value head with its keys, then one a head with its values. Padding holds zeros. A page is a whole number of
// runs of 16 tokens, so 16 tokens of a plane are one run of bytes, its rows begin at multiples of 16 bytes, and a tile
// of 64 keys is at most 4 such runs: single tokens read whole sectors, and rows go to shared memory as ldmatrix wants
// them.
//
// Rows are pairs (token, query head) of a sequence and a key/value head: row r is token r / kGroup, head r % kGroup of
// the group. They all share keys and values; 16 of them are an mma tile, which a single token with 16 heads fills.
//
// One chain of operations a row, whatever is computed beside it. Keys go in segments of 512 at absolute positions, each
// from zero; in a segment an online softmax (FlashAttention-2, arXiv:2307.08691, section 3.1) goes over tiles of 64
// keys: scores are one chain of mma over head_dim, base 2; exponentials are rounded to BF16 and added to the sum as
// rounded; weighted values continue the chain of mma of the tiles before, after these were scaled to the new maximum.
// Segments are merged in order. A prompt does all that in one block (`attention_prefill`). Of a single token each
// segment has a block (`attention_decode`), and `attention_merge` merges them, with the same operations. A tile or a
// segment of which a row sees nothing changes no bit of it.
//
// Scores of keys that a row may not see yet are dropped, but their values are multiplied by 0. Where a value is no
// number that makes no 0, and MixVisible takes each row alone.
//
// Decode reads each key and value once and is bound by memory. Prefill is bound by tensor cores: a tile of 64 keys and
// values is 32 KiB for heads of 128 in BF16, and 128 rows multiply it 2 * 128 * 64 * 128 times.

constexpr int kSegmentKeys = 512, kTileKeys = 64, kRunTokens = 16;
constexpr int kSegmentTiles = kSegmentKeys / kTileKeys, kSegmentRuns = kSegmentKeys / kRunTokens;

/// How heads lie in the cache and in parts.
template <class Config>
struct AttentionShape {
  static constexpr bool kIsCodes = sizeof(typename Config::Cache) == 1;
  static constexpr int kGroup = Config::kNumHeads / Config::kNumKvHeads;
  static constexpr int kDim = (Config::kHeadDim + 15) / 16 * 16;
  static constexpr int kDimTiles = kDim / 16;
  static constexpr int kRowBytes = kDim * static_cast<int>(sizeof(typename Config::Cache));
  /// Floats of what a segment of a token has come to: mixed values [kNumHeads][kDim], maximum and sum [kNumHeads][2].
  static constexpr int kPartFloats = (Config::kNumHeads * (kDim + 2) + 31) / 32 * 32;
};

//===---- Softmax in parts ----------------------------------------------------------------------------------------===//

__device__ inline float MinusInfinity() { return __uint_as_float(0xFF800000u); }

/// Two units in the last place off at most; 0 below 2^-126.
__device__ inline float PowerOfTwo(float x) {
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
  return power;
}

/// What exponents are relative to: the maximum, or 0 where that is minus infinity, of which no difference is a number.
__device__ inline float BaseOf(float maximum) { return maximum == MinusInfinity() ? 0.0f : maximum; }

/// Maximum of scores and sum of their weights, of some of the keys of a row.
struct Softmax {
  float maximum = MinusInfinity();
  float sum = 0;

  /// Adds a later part. Mixed values become mixed * old_scale + part * part_scale. False if the part is of no key: then
  /// all stays as it is.
  __device__ bool Merge(const Softmax& part, float& old_scale, float& part_scale) {
    if (part.sum == 0) {
      return false;
    }
    const float top = fmaxf(maximum, part.maximum), base = BaseOf(top);
    old_scale = PowerOfTwo(maximum - base);
    part_scale = PowerOfTwo(part.maximum - base);
    maximum = top;
    sum = __fmaf_rn(part.sum, part_scale, __fmul_rn(sum, old_scale));
    return true;
  }
};

__device__ inline float MergeMixed(float mixed, float old_scale, float part, float part_scale) {
  return __fmaf_rn(part, part_scale, __fmul_rn(mixed, old_scale));
}

/// What mixed values are to be multiplied by: those of the cache were divided by `value_scale`.
template <class Config>
__device__ float MeanFactor(float sum, float value_scale) {
  return (AttentionShape<Config>::kIsCodes ? value_scale : 1.0f) / sum;
}

//===---- Storing -------------------------------------------------------------------------------------------------===//

/// Keys and values of the step, rounded to the type of the cache and stored in its pages, padding too; E4M3 are codes
/// of x / scale. A block stores one token. Grid (T). Bound by memory, and by its launch where tokens are few.
template <class Config>
__device__ void StoreKeysAndValues(const float* key, const float* value, int64 cache, float key_scale,
                                   float value_scale, const StepTables& step) {
  using Cache = typename Config::Cache;
  constexpr int kDim = AttentionShape<Config>::kDim, kVector = Config::kStoreVector;
  const int token = blockIdx.x;
  const SequenceEntry& sequence = step.sequences[step.token_sequences[token]];
  const int64 position = sequence.position + (token - sequence.first_token);
  Cache* page = reinterpret_cast<Cache*>(sequence.pages[position / step.page_tokens] + cache);
  const int slot = static_cast<int>(position % step.page_tokens);
  key += int64{token} * Config::kKeyStride;
  value += int64{token} * Config::kValueStride;
  for (int i = threadIdx.x * kVector; i < 2 * Config::kNumKvHeads * kDim; i += Config::kStoreThreads * kVector) {
    const int plane = i / kDim, column = i % kDim;
    const bool is_key = plane < Config::kNumKvHeads;
    Vector<Cache, kVector> stored = {};
    if (column < Config::kHeadDim) {
      const auto loaded =
          LoadVector<kVector>(is_key ? key + plane * Config::kHeadDim + column
                                     : value + (plane - Config::kNumKvHeads) * Config::kHeadDim + column);
#pragma unroll
      for (int j = 0; j < kVector; ++j) {
        float x = loaded.values[j];
        if constexpr (AttentionShape<Config>::kIsCodes) {
          x = x / (is_key ? key_scale : value_scale);
        }
        stored.values[j] = FromFloat<Cache>(x);
      }
    }
    StoreVector(page + (int64{plane} * step.page_tokens + slot) * kDim + column, stored);
  }
}

//===---- Tiles of keys and values --------------------------------------------------------------------------------===//

/// Tiles of a key/value head on their way into shared memory: keys of a tile of positions, its values, keys of the
/// next. A ring of kStages stages is filled by cp.async, kStages - 1 tiles ahead. Rows of a tile are padded by 16
/// bytes: an odd number of 16 bytes apart, so that ldmatrix has no bank conflicts.
///
/// Tiles of E4M3 are widened to BF16 by the threads that copied them, each its own 16 codes, so that no barrier is
/// needed in between: a stage holds codes as threads copied them. kWideTiles of BF16, 2 or (with another barrier) 1,
/// take turns.
template <class Config, class Tile>
class KeyValueTiles {
  using Shape = AttentionShape<Config>;

 public:
  static constexpr int kThreads = 32 * Tile::kRowWarps * Tile::kColumnWarps;
  static constexpr int kRunAddresses = 2 * 2 * kSegmentRuns;
  static constexpr int kRowPitch = Shape::kDim * 2 + 16;
  static constexpr int kTileBytes = kTileKeys * kRowPitch;
  static constexpr int kStageBytes = Shape::kIsCodes ? kTileKeys * Shape::kRowBytes : kTileBytes;
  static constexpr int kSharedBytes =
      Tile::kStages * kStageBytes + (Shape::kIsCodes ? Tile::kWideTiles * kTileBytes : 0);

  /// Tiles [first_tile, end_tile) of keys [0, num_keys); there is at least one. `runs`: room in shared memory
  /// for kRunAddresses. Tiles of the first segment are asked for.
  __device__ KeyValueTiles(char* shared, const char** runs, const SequenceEntry& sequence, const StepTables& step,
                           int64 cache, int kv_head, int first_tile, int end_tile, int num_keys)
      : shared_(shared),
        runs_(runs),
        sequence_(sequence),
        tables_(step),
        head_(cache + int64{kv_head} * step.page_tokens * Shape::kRowBytes),
        first_tile_(first_tile),
        num_steps_(2 * (end_tile - first_tile)),
        num_keys_(num_keys) {
    FindRuns(first_tile / kSegmentTiles);
    __syncthreads();
#pragma unroll
    for (int ahead = 0; ahead < Tile::kStages - 1; ++ahead) {
      Load(ahead);
    }
  }

  /// Looks up where the keys of a segment lie; to be called after the first Next of the segment before.
  __device__ void FindRuns(int segment) {
    if (threadIdx.x < kSegmentRuns) {
      const int run = segment * kSegmentRuns + static_cast<int>(threadIdx.x);
      const int token =
          min(run, (num_keys_ - 1) / kRunTokens) * kRunTokens;  // of none the last, so that all are addresses
      const char* keys =
          sequence_.pages[token / tables_.page_tokens] + head_ + int64{token % tables_.page_tokens} * Shape::kRowBytes;
      const char** addresses = runs_ + run % (2 * kSegmentRuns) * 2;
      addresses[0] = keys;
      addresses[1] = keys + int64{Config::kNumKvHeads} * tables_.page_tokens * Shape::kRowBytes;
    }
  }

  /// The next tile, in BF16, until the next call; the block calls it together. What a thread wrote to shared
  /// memory before is seen by all after it.
  __device__ const char* Next() {
    const int step = step_++;
    WaitForCopies<Tile::kStages - 2>();
    if constexpr (Shape::kIsCodes) {
      Load(step + Tile::kStages - 1);
      if constexpr (Tile::kWideTiles == 1) {
        __syncthreads();
      }
      char* tile = shared_ + Tile::kStages * kStageBytes + step % Tile::kWideTiles * kTileBytes;
      Widen(shared_ + step % Tile::kStages * kStageBytes, tile);
      __syncthreads();
      return tile;
    } else {
      __syncthreads();
      Load(step + Tile::kStages - 1);  // over the tile that all have done with
      return shared_ + step % Tile::kStages * kStageBytes;
    }
  }

 private:
  static constexpr int kChunks = Shape::kRowBytes / 16;  // of 16 bytes, a row of the cache

  __device__ void Load(int step) {
    if (step < num_steps_) {
      char* stage = shared_ + step % Tile::kStages * kStageBytes;
      const int first_key = (first_tile_ + step / 2) * kTileKeys;
#pragma unroll
      for (int i = threadIdx.x; i < kTileKeys * kChunks; i += kThreads) {
        const int row = i / kChunks, chunk = i % kChunks, key = first_key + row;
        const char* run = runs_[key / kRunTokens % (2 * kSegmentRuns) * 2 + step % 2];
        CopyAsync(stage + (Shape::kIsCodes ? i * 16 : row * kRowPitch + chunk * 16),
                  run + key % kRunTokens * Shape::kRowBytes + chunk * 16, key < num_keys_ ? 16 : 0);
      }
    }
    CommitCopies();
  }

  __device__ static void Widen(const char* codes, char* tile) {
#pragma unroll
    for (int i = threadIdx.x; i < kTileKeys * kChunks; i += kThreads) {
      const int row = i / kChunks, chunk = i % kChunks;
      const uint4 loaded = *reinterpret_cast<const uint4*>(codes + i * 16);
      uint4 low, high;
      WidenEight(loaded.x, loaded.y, low);
      WidenEight(loaded.z, loaded.w, high);
      // Rows are an odd number of 16 bytes apart: 4 lanes store even ones and 4 odd ones, so that 8 lanes meet all
      // banks.
      const bool high_first = (row + i / 4) % 2;
      char* to = tile + row * kRowPitch + chunk * 32;
      *reinterpret_cast<uint4*>(to + (high_first ? 16 : 0)) = high_first ? high : low;
      *reinterpret_cast<uint4*>(to + (high_first ? 0 : 16)) = high_first ? low : high;
    }
  }
  __device__ static void WidenEight(unsigned first, unsigned second, uint4& to) {
    unsigned pairs[4];
    DecodeF16(first, pairs[0], pairs[1]);
    DecodeF16(second, pairs[2], pairs[3]);
    to = {F16ToBF16(pairs[0]), F16ToBF16(pairs[1]), F16ToBF16(pairs[2]), F16ToBF16(pairs[3])};
  }

  char* shared_;
  const char** runs_;  // keys and values of positions [16 * r, 16 * r + 16), r modulo 2 * kSegmentRuns
  const SequenceEntry& sequence_;
  const StepTables& tables_;
  int64 head_;  // bytes from the start of a page to the head's keys
  int first_tile_, num_steps_, num_keys_;
  int step_ = 0;
};

/// Four 8x8 matrices of 16-bit elements, one row an address of all lanes.
__device__ inline void LoadMatrix4(unsigned (&fragment)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
               : "r"(SharedAddress(row))
               : "memory");
}
__device__ inline void LoadMatrix4Transposed(unsigned (&fragment)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
               : "r"(SharedAddress(row))
               : "memory");
}
__device__ inline void LoadMatrix2Transposed(unsigned (&fragment)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(fragment[0]), "=r"(fragment[1])
               : "r"(SharedAddress(row))
               : "memory");
}

//===---- Rows ----------------------------------------------------------------------------------------------------===//

/// Two neighbours in one access; the compiler splits those of a float2 or uint2 now and then.
__device__ inline void StorePair(void* to, unsigned first, unsigned second) {
  unsigned long long pair;
  asm("mov.b64 %0, {%1, %2};" : "=l"(pair) : "r"(first), "r"(second));
  *static_cast<unsigned long long*>(to) = pair;
}
__device__ inline void StorePair(void* to, float first, float second) {
  StorePair(to, __float_as_uint(first), __float_as_uint(second));
}

/// 16 rows of a warp, which mixes kWarpDimTiles of 16 columns of the values; kColumnWarps warps share the rows. Lane 4
/// * g + t holds of rows g and g + 8 what C of an mma tile has: columns 2t and 2t + 1 of 8.
template <class Config, class Tile>
class AttentionRows {
  using Shape = AttentionShape<Config>;
  using Tiles = KeyValueTiles<Config, Tile>;

 public:
  static constexpr int kWarpDimTiles = (Shape::kDimTiles + Tile::kColumnWarps - 1) / Tile::kColumnWarps;
  static constexpr int kWarpKeyPairs = 4 / Tile::kColumnWarps;  // of 2 * 8 keys of a tile
  static constexpr int kScorePitch = kTileKeys + 8;             // floats; 8 rows of it meet all banks

  using Scores = float[kTileKeys / 8][4];

  struct Mixed {
    Softmax rows[2];
    float values[kWarpDimTiles][2][4] = {};
  };

  /// Bytes of shared memory for the rows: queries as operand A, and scores if warps share them.
  static constexpr int kQueryBytes = Shape::kDimTiles * 512;
  static constexpr int kSharedBytes = kQueryBytes + (Tile::kColumnWarps > 1 ? 16 * kScorePitch * 4 : 0);

  /// Rows from `first_row` on of the `num_rows` that the sequence has for the key/value head.
  __device__ AttentionRows(char* shared, const SequenceEntry& sequence, int kv_head, int first_row, int num_rows,
                           int column_warp)
      : queries_(reinterpret_cast<uint4*>(shared) + Lane()),
        exchange_(reinterpret_cast<float*>(shared + kQueryBytes)),
        kv_head_(kv_head),
        first_token_(sequence.first_token),
        row_(first_row + static_cast<int>(threadIdx.x) % 32 / 4),
        num_rows_(num_rows),
        column_warp_(column_warp) {
    const int position = static_cast<int>(sequence.position);
    first_position_ = position + first_row / Shape::kGroup;
    last_position_ = first_row < num_rows ? position + (min(first_row + 16, num_rows) - 1) / Shape::kGroup : -1;
    positions_[0] = position + row_ / Shape::kGroup;
    positions_[1] = position + (row_ + 8) / Shape::kGroup;
  }

  __device__ bool Sees(int key) const { return key <= last_position_; }

  /// Queries, times `scale`, rounded to BF16; zeros for rows and columns that are not there. A barrier is to follow.
  __device__ void LoadQueries(const float* query, float scale) {
    const float* rows[2];
    for (int r = 0; r < 2; ++r) {
      rows[r] = row_ + 8 * r < num_rows_ ? query + int64{Token(r)} * Config::kQueryStride + Head(r) * Config::kHeadDim
                                         : nullptr;
    }
#pragma unroll
    for (int k = column_warp_; k < Shape::kDimTiles; k += Tile::kColumnWarps) {
      const int column = k * 16 + Lane() % 4 * 2;
      queries_[k * 32] = {LoadPair(rows[0], column, scale), LoadPair(rows[1], column, scale),
                          LoadPair(rows[0], column + 8, scale), LoadPair(rows[1], column + 8, scale)};
    }
  }

  /// Scores of the warp's share of a tile of keys; they stay with the warp, or go to all that share the rows.
  __device__ void Multiply(const char* keys, Scores& scores) const {
    keys += (column_warp_ * kWarpKeyPairs * 16 + Lane() % 8 + Lane() / 16 * 8) * Tiles::kRowPitch + Lane() / 8 % 2 * 16;
    float products[2 * kWarpKeyPairs][4] = {};
#pragma unroll
    for (int k = 0; k < Shape::kDimTiles; ++k) {
      const uint4 queries = queries_[k * 32];
#pragma unroll
      for (int pair = 0; pair < kWarpKeyPairs; ++pair) {
        unsigned fragment[4];
        LoadMatrix4(fragment, keys + pair * 16 * Tiles::kRowPitch + k * 32);
        MultiplyBF16(products[2 * pair], queries, {fragment[0], fragment[1]});
        MultiplyBF16(products[2 * pair + 1], queries, {fragment[2], fragment[3]});
      }
    }
#pragma unroll
    for (int j = 0; j < 2 * kWarpKeyPairs; ++j) {
      if constexpr (Tile::kColumnWarps == 1) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          scores[j][i] = products[j][i];
        }
      } else {
        float* to = Exchanged(column_warp_ * 2 * kWarpKeyPairs + j);
        StorePair(to, products[j][0], products[j][1]);
        StorePair(to + 8 * kScorePitch, products[j][2], products[j][3]);
      }
    }
  }

  /// Adds the tile of keys from `first_key` on to `mixed`. Multiply came before, and a barrier if kColumnWarps is
  /// not 1.
  __device__ void Mix(Scores& scores, const char* values, int first_key, Mixed& mixed) const {
    if constexpr (Tile::kColumnWarps != 1) {
#pragma unroll
      for (int j = 0; j < kTileKeys / 8; ++j) {
        const float2 upper = *reinterpret_cast<const float2*>(Exchanged(j));
        const float2 lower = *reinterpret_cast<const float2*>(Exchanged(j) + 8 * kScorePitch);
        scores[j][0] = upper.x, scores[j][1] = upper.y, scores[j][2] = lower.x, scores[j][3] = lower.y;
      }
    }
    const bool hides = first_key + kTileKeys - 1 > first_position_;
    if (hides) {
#pragma unroll
      for (int j = 0; j < kTileKeys / 8; ++j) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int key = first_key + j * 8 + Lane() % 4 * 2 + i % 2;
          scores[j][i] = key <= positions_[i / 2] ? scores[j][i] : MinusInfinity();
        }
      }
    }
    uint4 weights[kTileKeys / 16];
    Weigh(scores, weights, mixed);

    values += Lane() % 16 * Tiles::kRowPitch + column_warp_ * kWarpDimTiles * 32 + Lane() / 16 * 16;
    if (hides && HasNonFinite(values)) {
      MixVisible(weights, values, first_key, mixed);
      return;
    }
#pragma unroll
    for (int k = 0; k < kTileKeys / 16; ++k) {
#pragma unroll
      for (int d = 0; d < kWarpDimTiles; ++d) {
        if (HasColumns(d)) {
          unsigned fragment[4];
          LoadMatrix4Transposed(fragment, values + k * 16 * Tiles::kRowPitch + d * 32);
          MultiplyBF16(mixed.values[d][0], weights[k], {fragment[0], fragment[1]});
          MultiplyBF16(mixed.values[d][1], weights[k], {fragment[2], fragment[3]});
        }
      }
    }
  }

  /// The end of a segment: sums of lanes become those of rows.
  __device__ static void FinishSegment(Mixed& mixed) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      mixed.rows[r].sum = QuadReduce<Sum>(mixed.rows[r].sum);
    }
  }

  __device__ static void Merge(Mixed& total, const Mixed& part) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float old_scale, part_scale;
      if (total.rows[r].Merge(part.rows[r], old_scale, part_scale)) {
#pragma unroll
        for (int d = 0; d < kWarpDimTiles; ++d) {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            float& value = total.values[d][i / 2][2 * r + i % 2];
            value = MergeMixed(value, old_scale, part.values[d][i / 2][2 * r + i % 2], part_scale);
          }
        }
      }
    }
  }

  __device__ void Store(const Mixed& mixed, float value_scale, typename Config::Output* output) const {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      typename Config::Output* to = output + int64{Token(r)} * Config::kOutputStride + Head(r) * Config::kHeadDim;
      const bool exists = row_ + 8 * r < num_rows_;
      const float factor = MeanFactor<Config>(mixed.rows[r].sum, value_scale);
#pragma unroll
      for (int d = 0; d < kWarpDimTiles; ++d) {
        float mean[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          mean[i] = mixed.values[d][i / 2][2 * r + i % 2] * factor;
        }
        if (HasColumns(d)) {
          StoreColumns(mean, exists, to, (column_warp_ * kWarpDimTiles + d) * 16);
        }
      }
    }
  }

  /// As a part of the sequence's one token.
  __device__ void StorePart(const Mixed& mixed, float* part) const {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      if (row_ + 8 * r < num_rows_) {
        float* to = part + Head(r) * Shape::kDim + column_warp_ * kWarpDimTiles * 16 + Lane() % 4 * 2;
#pragma unroll
        for (int d = 0; d < kWarpDimTiles; ++d) {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            if (HasColumns(d)) {
              StorePair(to + d * 16 + half * 8, mixed.values[d][half][2 * r], mixed.values[d][half][2 * r + 1]);
            }
          }
        }
        if (column_warp_ == 0 && Lane() % 4 == 0) {
          StorePair(part + Config::kNumHeads * Shape::kDim + Head(r) * 2, mixed.rows[r].maximum, mixed.rows[r].sum);
        }
      }
    }
  }

 private:
  __device__ static int Lane() { return threadIdx.x % 32; }
  __device__ int Token(int r) const { return first_token_ + (row_ + 8 * r) / Shape::kGroup; }
  __device__ int Head(int r) const { return kv_head_ * Shape::kGroup + (row_ + 8 * r) % Shape::kGroup; }
  __device__ bool HasColumns(int d) const {
    return Shape::kDimTiles % Tile::kColumnWarps == 0 || column_warp_ * kWarpDimTiles + d < Shape::kDimTiles;
  }
  /// Row g, columns 2t and 2t + 1 of 8 keys of a tile.
  __device__ float* Exchanged(int eight) const {
    return exchange_ + Lane() / 4 * kScorePitch + eight * 8 + Lane() % 4 * 2;
  }

  /// Over the four lanes that hold a row.
  template <class Op>
  __device__ static float QuadReduce(float value) {
    value = Op::Of(value, __shfl_xor_sync(~0u, value, 1));
    return Op::Of(value, __shfl_xor_sync(~0u, value, 2));
  }

  __device__ static unsigned LoadPair(const float* row, int column, float scale) {
    float2 pair = {0, 0};
    if constexpr (Config::kQueryVector >= 2) {
      if (row != nullptr && column < Config::kHeadDim) {
        pair = *reinterpret_cast<const float2*>(row + column);
      }
    } else if (row != nullptr) {
      pair.x = column < Config::kHeadDim ? row[column] : 0;
      pair.y = column + 1 < Config::kHeadDim ? row[column + 1] : 0;
    }
    return PackBF16(pair.x * scale, pair.y * scale);
  }

  /// Weights of scores, as operand A; maximum, sum and values of before are brought up to the new maximum. A sum is
  /// that of the lane's keys alone until FinishSegment.
  __device__ static void Weigh(const Scores& scores, uint4 (&weights)[kTileKeys / 16], Mixed& mixed) {
    unsigned pairs[kTileKeys / 8][2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      Softmax& row = mixed.rows[r];
      float top = scores[0][2 * r];
#pragma unroll
      for (int j = 0; j < kTileKeys / 8; ++j) {
        top = fmaxf(top, fmaxf(scores[j][2 * r], scores[j][2 * r + 1]));
      }
      top = fmaxf(row.maximum, QuadReduce<Max>(top));
      const float base = BaseOf(top), scale = PowerOfTwo(row.maximum - base);
      float sum = 0;
#pragma unroll
      for (int j = 0; j < kTileKeys / 8; ++j) {
        pairs[j][r] = PackBF16(PowerOfTwo(scores[j][2 * r] - base), PowerOfTwo(scores[j][2 * r + 1] - base));
        sum += __uint_as_float(pairs[j][r] << 16);
        sum += __uint_as_float(pairs[j][r] & 0xFFFF0000u);
      }
      row.maximum = top;
      row.sum = __fmaf_rn(row.sum, scale, sum);
#pragma unroll
      for (int d = 0; d < kWarpDimTiles; ++d) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          mixed.values[d][i / 2][2 * r + i % 2] *= scale;
        }
      }
    }
#pragma unroll
    for (int k = 0; k < kTileKeys / 16; ++k) {
      weights[k] = {pairs[2 * k][0], pairs[2 * k][1], pairs[2 * k + 1][0], pairs[2 * k + 1][1]};
    }
  }

  /// Whether one of the tile's values that the warp mixes is infinite or no number.
  __device__ bool HasNonFinite(const char* values) const {
    bool found = false;
#pragma unroll 1
    for (int i = 0; i < kTileKeys / 16 * kWarpDimTiles; ++i) {
      const int k = i % (kTileKeys / 16), d = i / (kTileKeys / 16);
      if (HasColumns(d)) {
        unsigned fragment[4];
        LoadMatrix4(fragment, values + k * 16 * Tiles::kRowPitch + d * 32);
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          found |= (fragment[j] & 0x7F80u) == 0x7F80u || (fragment[j] & 0x7F800000u) == 0x7F800000u;
        }
      }
    }
    return __any_sync(~0u, found);
  }

  /// The sums of Mix, row after row, each with 0 for the values that it may not see: 16 times the work, and seldom.
  /// Sums and weights go through local memory, so that the loops stay loops and take no registers from Mix.
  __device__ void MixVisible(const uint4 (&weights)[kTileKeys / 16], const char* values, int first_key,
                             Mixed& mixed) const {
    float4 sums[2 * kWarpDimTiles];
    uint4 operands[kTileKeys / 16];
#pragma unroll
    for (int i = 0; i < 2 * kWarpDimTiles; ++i) {
      const float(&from)[4] = mixed.values[i / 2][i % 2];
      sums[i] = {from[0], from[1], from[2], from[3]};
    }
#pragma unroll
    for (int k = 0; k < kTileKeys / 16; ++k) {
      operands[k] = weights[k];
    }
#pragma unroll 1
    for (int i = 0; i < 16 * 2 * kWarpDimTiles; ++i) {
      const int row = i % 16, eight = i / 16;
      if (!HasColumns(eight / 2)) {
        continue;
      }
      const int position = __shfl_sync(~0u, row < 8 ? positions_[0] : positions_[1], row % 8 * 4);
      const bool is_own[2] = {row == Lane() / 4, row == Lane() / 4 + 8};
      float products[4] = {sums[eight].x, sums[eight].y, sums[eight].z, sums[eight].w};
#pragma unroll 1
      for (int k = 0; k < kTileKeys / 16; ++k) {
        unsigned fragment[2];
        LoadMatrix2Transposed(fragment, values + k * 16 * Tiles::kRowPitch + eight * 16);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int key = first_key + k * 16 + half * 8 + Lane() % 4 * 2;
          fragment[half] &= (key <= position ? 0xFFFFu : 0u) | (key < position ? 0xFFFF0000u : 0u);
        }
        MultiplyBF16(products, operands[k], fragment);
      }
      const float4 old = sums[eight];
      sums[eight] = {is_own[0] ? products[0] : old.x, is_own[0] ? products[1] : old.y, is_own[1] ? products[2] : old.z,
                     is_own[1] ? products[3] : old.w};
    }
#pragma unroll
    for (int i = 0; i < 2 * kWarpDimTiles; ++i) {
      float(&to)[4] = mixed.values[i / 2][i % 2];
      to[0] = sums[i].x, to[1] = sums[i].y, to[2] = sums[i].z, to[3] = sums[i].w;
    }
  }

  /// Columns column + 2t, + 1, and 8 further, of one row; all lanes call it.
  __device__ static void StoreColumns(const float (&mean)[4], bool exists, typename Config::Output* to, int column) {
    using Output = typename Config::Output;
    const int t = Lane() % 4;
    if constexpr (sizeof(Output) == 2 && Config::kOutputVector >= 4) {
      // Lanes exchange pairs, so that each has 4 neighbours and 4 lanes fill a sector.
      const unsigned pairs[2] = {PackBF16(mean[0], mean[1]), PackBF16(mean[2], mean[3])};
      const int from = Lane() / 4 * 4 + t % 2 * 2;
      unsigned four[2];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const unsigned low = __shfl_sync(~0u, pairs[0], from + i), high = __shfl_sync(~0u, pairs[1], from + i);
        four[i] = t < 2 ? low : high;
      }
      if (exists && column + 4 * t < Config::kHeadDim) {
        StorePair(to + column + 4 * t, four[0], four[1]);
      }
    } else if (exists) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int first = column + half * 8 + t * 2;
        if constexpr (sizeof(Output) == 4 && Config::kOutputVector >= 2) {
          if (first < Config::kHeadDim) {
            StorePair(to + first, mean[2 * half], mean[2 * half + 1]);
          }
        } else {
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            if (first + i < Config::kHeadDim) {
              to[first + i] = FromFloat<Output>(mean[2 * half + i]);
            }
          }
        }
      }
    }
  }

  uint4* queries_;  // the lane's, of 16 columns every 32
  float* exchange_;
  int kv_head_, first_token_, row_, num_rows_, column_warp_;
  int first_position_, last_position_;  // that rows of the warp have; the last is -1 if there are none
  int positions_[2];
};

//===---- Blocks --------------------------------------------------------------------------------------------------===//

/// Sequences with several new tokens: a block does 16 * kRowWarps rows of a key/value head. Sequences with one, if
/// kIsDecode: it does one segment of them, and is done with it if there is no other. The last tokens of a prompt see
/// most keys, and go first.
///
/// Grid of prefill (ceil(L * kGroup / rows), kNumKvHeads, S), of decode (ceil(C / 512), kNumKvHeads * ceil(kGroup /
/// rows), S). Shared memory: that of KeyValueTiles, and of AttentionRows for each row of warps.
template <class Config, class Tile>
__device__ void Attention(const float* query, typename Config::Output* output, int64 cache, float key_scale,
                          float value_scale, char* scratch, const StepTables& step) {
  using Shape = AttentionShape<Config>;
  using Tiles = KeyValueTiles<Config, Tile>;
  using Rows = AttentionRows<Config, Tile>;
  constexpr int kRows = 16 * Tile::kRowWarps;
  extern __shared__ __align__(16) char shared[];
  __shared__ const char* runs[Tiles::kRunAddresses];

  const SequenceEntry& sequence = step.sequences[blockIdx.z];
  if ((sequence.num_tokens == 1) != Tile::kIsDecode) {
    return;
  }
  const int num_rows = sequence.num_tokens * Shape::kGroup, num_blocks = (num_rows + kRows - 1) / kRows;
  const int kv_head = Tile::kIsDecode ? blockIdx.y % Config::kNumKvHeads : blockIdx.y;
  const int block = Tile::kIsDecode ? blockIdx.y / Config::kNumKvHeads : num_blocks - 1 - static_cast<int>(blockIdx.x);
  if (block < 0) {
    return;
  }
  const int last_row = min((block + 1) * kRows, num_rows) - 1;
  const int num_keys = static_cast<int>(sequence.position) + last_row / Shape::kGroup + 1;
  const int num_segments = (num_keys + kSegmentKeys - 1) / kSegmentKeys;
  const int first_segment = Tile::kIsDecode ? blockIdx.x : 0;
  const int end_segment = Tile::kIsDecode ? first_segment + 1 : num_segments;
  if (first_segment >= num_segments) {
    return;
  }
  const int end_tile = min((num_keys + kTileKeys - 1) / kTileKeys, end_segment * kSegmentTiles);
  Tiles tiles(shared, runs, sequence, step, cache, kv_head, first_segment * kSegmentTiles, end_tile, num_keys);

  const int warp = threadIdx.x / 32, row_warp = warp / Tile::kColumnWarps;
  Rows rows(shared + Tiles::kSharedBytes + row_warp * Rows::kSharedBytes, sequence, kv_head,
            block * kRows + row_warp * 16, num_rows, warp % Tile::kColumnWarps);
  // Weights are powers of two, and what the keys of the cache are to be multiplied by goes into the queries.
  constexpr float kLog2E = 0x1.715476p0f;
  rows.LoadQueries(query, (Shape::kIsCodes ? Config::kScale * key_scale : Config::kScale) * kLog2E);

  typename Rows::Mixed total, part;
  for (int segment = first_segment; segment < end_segment; ++segment) {
    part = {};
    const int end = min(end_tile, (segment + 1) * kSegmentTiles);
    for (int tile = segment * kSegmentTiles; tile < end; ++tile) {
      typename Rows::Scores scores;
      const bool sees = rows.Sees(tile * kTileKeys);
      const char* keys = tiles.Next();
      if (tile == segment * kSegmentTiles && segment + 1 < end_segment) {
        tiles.FindRuns(segment + 1);
      }
      if (sees) {
        rows.Multiply(keys, scores);
      }
      const char* values = tiles.Next();
      if (sees) {
        rows.Mix(scores, values, tile * kTileKeys, part);
      }
    }
    Rows::FinishSegment(part);
    if (Tile::kIsDecode && gridDim.x > 1) {
      const int64 index = int64{segment} * step.num_sequences + blockIdx.z;
      rows.StorePart(part, reinterpret_cast<float*>(scratch) + index * Shape::kPartFloats);
      return;
    }
    Rows::Merge(total, part);
  }
  rows.Store(total, value_scale, output);
}

/// Merges the segments of single tokens. A block does one head, a thread a column of it. Grid (kNumHeads, S). Reads one
/// part a segment, 1/128 of the keys and values that it came from if four heads share them in BF16: bound by latency,
/// so parts are loaded kAhead at a time.
template <class Config>
__device__ void MergeSegments(typename Config::Output* output, const char* scratch, float value_scale,
                              const StepTables& step) {
  using Shape = AttentionShape<Config>;
  constexpr int kAhead = 16;
  const SequenceEntry& sequence = step.sequences[blockIdx.y];
  const int head = blockIdx.x, column = threadIdx.x;
  if (sequence.num_tokens != 1 || column >= Config::kHeadDim) {
    return;
  }
  const int num_segments = static_cast<int>(sequence.position / kSegmentKeys) + 1;
  Softmax total;
  float mixed = 0;
  for (int first = 0; first < num_segments; first += kAhead) {
    Softmax parts[kAhead];
    float values[kAhead] = {};
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      if (first + i < num_segments) {
        const int64 index = int64{first + i} * step.num_sequences + blockIdx.y;
        const float* part = reinterpret_cast<const float*>(scratch) + index * Shape::kPartFloats;
        const float2 row = *reinterpret_cast<const float2*>(part + Config::kNumHeads * Shape::kDim + head * 2);
        parts[i].maximum = row.x;
        parts[i].sum = row.y;
        values[i] = part[head * Shape::kDim + column];
      }
    }
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      float old_scale, part_scale;
      if (total.Merge(parts[i], old_scale, part_scale)) {
        mixed = MergeMixed(mixed, old_scale, values[i], part_scale);
      }
    }
  }
  output[int64{sequence.first_token} * Config::kOutputStride + head * Config::kHeadDim + column] =
      FromFloat<typename Config::Output>(mixed * MeanFactor<Config>(total.sum, value_scale));
}
