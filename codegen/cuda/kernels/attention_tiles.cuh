// Pages of the cache: how keys and values get into them, and from them to shared memory as tiles in BF16. Bound by
// memory where a token reads them, by the cache of the GPU where the rows of a prompt do.
//
// The room of a page and a layer is planes of [page_tokens, head_dim padded to a multiple of 16] elements, row major:
// one a key/value head with its keys, then one a head with its values. Padding holds zeros. A page is a whole number of
// runs of 16 tokens, so 16 tokens of a plane are one run of bytes, its rows begin at multiples of 16 bytes, and a tile
// of 64 keys is at most 4 such runs: single tokens read whole sectors.
#include "codegen/cuda/kernels/attention_parts.cuh"

constexpr int kRunTokens = 16, kSegmentRuns = kSegmentKeys / kRunTokens;

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

/// Tiles of a key/value head on their way into shared memory: keys of a tile of positions, its values, keys of the
/// next. A ring of kStages stages is filled by cp.async, kStages - 1 tiles ahead.
///
/// Tiles of E4M3 are widened to BF16 by the threads that copied them, each its own 16 codes, so that no barrier is
/// needed in between. kWideTiles of BF16, 2 or (with another barrier) 1, take turns.
template <class Config, class Tile>
class KeyValueTiles {
  using Shape = AttentionShape<Config>;

 public:
  static constexpr int kThreads = 32 * Tile::kRowWarps * Tile::kColumnWarps;
  static constexpr int kRunAddresses = 2 * 2 * kSegmentRuns;
  static constexpr int kTileBytes = kTileKeys * Shape::kDim * 2;
  static constexpr int kStageBytes = kTileKeys * Shape::kRowBytes;
  static constexpr int kSharedBytes =
      Tile::kStages * kStageBytes + (Shape::kIsCodes ? Tile::kWideTiles * kTileBytes : 0);

  /// Where chunk `chunk`, 16 bytes, of key `key` stands in a tile of BF16. Chunks of a row trade places, by the row:
  /// 8 rows of a chunk, as ldmatrix takes them, meet all banks, and so do 8 chunks that follow one another.
  __device__ static int Offset(int key, int chunk) {
    constexpr int kChunks = Shape::kDim / 8, kTrading = kChunks % 8 == 0 ? 8 : kChunks % 4 == 0 ? 4 : 2;
    return key * kChunks * 16 + (chunk ^ key % 8 * kTrading / 8) * 16;
  }

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
    const unsigned step = step_++;
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
  /// Calls `copy` with each 16 bytes of a tile in the cache that are the thread's: their key in the tile, which they
  /// are of the key's row, which of the tile.
  template <class Copy>
  __device__ static void ForOwnCopies(Copy copy) {
    constexpr unsigned kOfRow = Shape::kRowBytes / 16, kOfTile = kTileKeys * kOfRow;
    const unsigned thread = threadIdx.x;
    __builtin_assume(thread < kThreads);
#pragma unroll
    for (unsigned first = 0; first < kOfTile; first += kThreads) {
      // Where a thread's copies are whole rows apart, what they differ by is constant; the compiler is shown that.
      const unsigned i = first + thread;
      const unsigned key = kThreads % kOfRow == 0 ? first / kOfRow + thread / kOfRow : i / kOfRow;
      if (first + kThreads <= kOfTile || i < kOfTile) {
        copy(key, i % kOfRow, i);
      }
    }
  }

  __device__ void Load(unsigned step) {
    if (step < num_steps_) {
      char* stage = shared_ + step % Tile::kStages * kStageBytes;
      const unsigned tile = first_tile_ + step / 2;
      const char* const* runs = runs_ + tile * (kTileKeys / kRunTokens) % (2 * kSegmentRuns) * 2 + step % 2;
      const int num_keys = num_keys_ - static_cast<int>(tile) * kTileKeys;  // from the tile on
      ForOwnCopies([&](int key, int part, int i) {
        const char* run = runs[key / kRunTokens * 2];
        CopyAsync(stage + (Shape::kIsCodes ? i * 16 : Offset(key, part)),
                  run + key % kRunTokens * Shape::kRowBytes + part * 16, key < num_keys ? 16 : 0);
      });
    }
    CommitCopies();
  }

  /// 16 codes make two chunks. 4 of 8 lanes store the one at the even place first and 4 the odd one, so that they meet
  /// all banks.
  __device__ static void Widen(const char* codes, char* tile) {
    ForOwnCopies([&](int key, int part, int i) {
      const uint4 loaded = *reinterpret_cast<const uint4*>(codes + i * 16);
      uint4 wide[2];
      WidenEight(loaded.x, loaded.y, wide[0]);
      WidenEight(loaded.z, loaded.w, wide[1]);
      const bool odd_first = i / 4 % 2;
      const int places[2] = {Offset(key, 2 * part), Offset(key, 2 * part + 1)};
      const bool swap = odd_first != (places[0] > places[1]);
      *reinterpret_cast<uint4*>(tile + (swap ? places[1] : places[0])) = swap ? wide[1] : wide[0];
      *reinterpret_cast<uint4*>(tile + (swap ? places[0] : places[1])) = swap ? wide[0] : wide[1];
    });
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
  unsigned first_tile_, num_steps_, step_ = 0;
  int num_keys_;
};
