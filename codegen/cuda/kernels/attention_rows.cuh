// Rows of attention in the registers of a warp: scores of a tile of keys, their softmax, weighted sums of a tile of
// values, and where the sums go. Bound by tensor cores in a prompt, and then by registers: of heads of 128 a lane holds
// 128 sums and 32 scores.
//
// Rows are pairs (token, query head) of a sequence and a key/value head: row r is token r / kGroup, head r % kGroup of
// the group. They all share keys and values; 16 of them are an mma tile, which a single token with 16 heads fills.
//
// Scores of keys that a row may not see yet are dropped, but their values are multiplied by 0. Where a value is no
// number that makes no 0, and MixVisible takes each row alone.
#include "codegen/cuda/kernels/attention_tiles.cuh"

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
        first_row_(first_row),
        num_rows_(num_rows),
        column_warp_(column_warp),
        position_(static_cast<int>(sequence.position)),
        last_position_(first_row < num_rows ? Position(min(first_row + 16, num_rows) - 1) : -1) {}

  __device__ bool Sees(int key) const { return key <= last_position_; }

  /// Queries, times `scale`, rounded to BF16; zeros for rows and columns that are not there. A barrier is to follow.
  __device__ void LoadQueries(const float* query, float scale) {
    const float* rows[2];
    for (int r = 0; r < 2; ++r) {
      rows[r] = Exists(r) ? query + int64{Token(r)} * Config::kQueryStride + Head(r) * Config::kHeadDim : nullptr;
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
    const int key = column_warp_ * kWarpKeyPairs * 16 + Lane() % 8 + Lane() / 16 * 8, half = Lane() / 8 % 2;
    float products[2 * kWarpKeyPairs][4] = {};
#pragma unroll
    for (int k = 0; k < Shape::kDimTiles; ++k) {
      const uint4 queries = queries_[k * 32];
#pragma unroll
      for (int pair = 0; pair < kWarpKeyPairs; ++pair) {
        unsigned fragment[4];
        LoadMatrix4(fragment, keys + Tiles::Offset(key + pair * 16, k * 2 + half));
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
    const bool hides = first_key + kTileKeys - 1 > Position(first_row_);
    if (hides) {
#pragma unroll
      for (int j = 0; j < kTileKeys / 8; ++j) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int key = first_key + j * 8 + Lane() % 4 * 2 + i % 2;
          scores[j][i] = key <= Position(Row(i / 2)) ? scores[j][i] : MinusInfinity();
        }
      }
    }
    uint4 weights[kTileKeys / 16];
    Weigh(scores, weights, mixed);

    // Of a single token no row hides what another sees, and beyond the last key are zeros.
    if (!Tile::kIsDecode && hides && HasNonFinite(values)) {
      MixVisible(weights, values, first_key, mixed);
      return;
    }
#pragma unroll
    for (int k = 0; k < kTileKeys / 16; ++k) {
#pragma unroll
      for (int d = 0; d < kWarpDimTiles; ++d) {
        if (HasColumns(d)) {
          MixKeys(weights[k], values + ValueOffset(k, d), ~0u, ~0u, mixed.values[d]);
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
      const bool exists = Exists(r);
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
      if (Exists(r)) {
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
  /// Of the lane's two rows.
  __device__ int Row(int r) const { return first_row_ + Lane() / 4 + 8 * r; }
  __device__ bool Exists(int r) const { return Row(r) < num_rows_; }
  __device__ int Token(int r) const { return first_token_ + Row(r) / Shape::kGroup; }
  __device__ int Head(int r) const { return kv_head_ * Shape::kGroup + Row(r) % Shape::kGroup; }

  __device__ int Position(int row) const { return position_ + row / Shape::kGroup; }
  __device__ bool HasColumns(int d) const {
    return Shape::kDimTiles % Tile::kColumnWarps == 0 || column_warp_ * kWarpDimTiles + d < Shape::kDimTiles;
  }
  /// The lane's address for ldmatrix of values: keys 16 * k + (0 to 15), the warp's columns 16 * d + (0 to 15).
  __device__ int ValueOffset(int k, int d) const {
    return Tiles::Offset(k * 16 + Lane() % 16, (column_warp_ * kWarpDimTiles + d) * 2 + Lane() / 16);
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
        LoadMatrix4(fragment, values + ValueOffset(k, d));
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          found |= (fragment[j] & 0x7F80u) == 0x7F80u || (fragment[j] & 0x7F800000u) == 0x7F800000u;
        }
      }
    }
    return __any_sync(~0u, found);
  }

  /// Adds weights times values of 16 keys and 16 columns. `kept` and `kept_after`: the bits to keep of the lane's
  /// values of keys 2t and 2t + 1, and of those 8 further.
  __device__ static void MixKeys(const uint4& weights, const char* values, unsigned kept, unsigned kept_after,
                                 float (&sums)[2][4]) {
    unsigned fragment[4];
    LoadMatrix4Transposed(fragment, values);
    MultiplyBF16(sums[0], weights, {fragment[0] & kept, fragment[1] & kept_after});
    MultiplyBF16(sums[1], weights, {fragment[2] & kept, fragment[3] & kept_after});
  }

  /// The sums of Mix, row after row, each with 0 for the values that it may not see: 16 times the work, and seldom. All
  /// 16 rows are multiplied and one is kept, so that registers have constant indices; one d after another, because they
  /// would not do for the sums of two.
  __device__ void MixVisible(const uint4 (&weights)[kTileKeys / 16], const char* values, int first_key,
                             Mixed& mixed) const {
#pragma unroll
    for (int d = 0; d < kWarpDimTiles; ++d) {
      if (HasColumns(d)) {
#pragma unroll 1
        for (int row = 0; row < 16; ++row) {
          const int last = Position(first_row_ + row) - first_key - Lane() % 4 * 2;
          const auto kept = [&](int key) { return (key <= last ? 0xFFFFu : 0u) | (key < last ? 0xFFFF0000u : 0u); };
          float sums[2][4];
          memcpy(sums, mixed.values[d], sizeof(sums));
#pragma unroll
          for (int k = 0; k < kTileKeys / 16; ++k) {
            MixKeys(weights[k], values + ValueOffset(k, d), kept(k * 16), kept(k * 16 + 8), sums);
          }
#pragma unroll
          for (int i = 0; i < 8; ++i) {
            const bool is_own = row == Lane() / 4 + i % 4 / 2 * 8;
            mixed.values[d][i / 4][i % 4] = is_own ? sums[i / 4][i % 4] : mixed.values[d][i / 4][i % 4];
          }
        }
      }
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
  int kv_head_, first_token_, first_row_, num_rows_, column_warp_;
  int position_, last_position_;  // of the sequence's first row, and of the warp's last, which is -1 if it has none
};
