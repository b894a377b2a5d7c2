// Causal grouped-query attention over a paged cache, for prompts and single tokens in one step: what blocks do. How
// keys and values come from pages stands in attention_tiles.cuh, what a warp makes of them in attention_rows.cuh, and
// what some of a row's keys come to in attention_parts.cuh.
//
// One chain of operations a row, whatever is computed beside it. Keys go in segments of 512 at absolute positions, each
// from zero; in a segment an online softmax goes over tiles of 64 keys: scores are one chain of mma over head_dim, base
// 2; exponentials are rounded to BF16 and added to the sum as rounded; weighted values continue the chain of mma of the
// tiles before, after these were scaled to the new maximum. Segments are merged in order. A prompt does all that in one
// block (`attention_prefill`). Of a single token each segment has a block (`attention_decode`), and `attention_merge`
// merges them, with the same operations. A tile or a segment of which a row sees nothing changes no bit of it.
//
// Decode reads each key and value once and is bound by memory. Prefill is bound by tensor cores: a tile of 64 keys and
// values is 32 KiB for heads of 128 in BF16, and 128 rows multiply it 2 * 128 * 64 * 128 times.
#include "codegen/cuda/kernels/attention_rows.cuh"

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
