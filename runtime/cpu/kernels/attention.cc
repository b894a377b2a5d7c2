// Causal grouped-query attention over a paged cache.
//
// The cache of a page and a key/value head are two packed matrices (runtime/plan/layout.h) of the cache's dtype: keys
// [page_tokens, head_dim] and values, transposed, [head_dim, page_tokens], with head_dim padded to whole panels. Scores
// and weighted sums are then products of the matrix kernels, whose sums are one chain whatever is multiplied beside:
// over head_dim, and over the positions of a segment.
//
// Work is cut twice. *Tiles* are runs of query rows that share a key/value head: (token, head in group) pairs of one
// sequence. *Segments* are 512 absolute positions: scores, maximum, exponentials, their sum, the weighted sum of
// values; then the segments of a tile are merged in order. All orders depend on the query's position alone. With many
// tiles (prefill) a task is a tile of 64 rows and all its segments; with few (decode at depth) a task is one segment of
// a tile of 16, and parts are merged after. Both give the same bits.
//
// With a BF16 or E4M3 cache, queries and weights are rounded to BF16 (maybe held as F32, LinearKernels::operand),
// scores, exponentials and sums are F32; with an F32 cache all is F32. An E4M3 cache holds keys and values divided by a
// scale each. The keys' goes into the query, the values' is applied to the output.
//
// Moves each key and value once a tile: bound by memory for one token, by the multiply-add units for full tiles.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numbers>

#include "runtime/cpu/kernels/argument_reader.h"
#include "runtime/cpu/kernels/kernels.h"
#include "runtime/cpu/kernels/linear.h"
#include "runtime/cpu/kernels/quantize.h"
#include "runtime/cpu/thread_pool.h"
#include "runtime/plan/layout.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/kernels/attention.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "runtime/cpu/kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nemotron::runtime::cpu {
namespace HWY_NAMESPACE {

/// -inf of nothing.
float Maximum(const float* values, int64_t count) {
  FloatVector maxima = hn::Set(kFloats, -std::numeric_limits<float>::infinity());
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    maxima = hn::Max(maxima, hn::LoadU(kFloats, values + i));
  }
  float maximum = hn::GetLane(hn::MaxOfLanes(kFloats, maxima));
  for (; i < count; ++i) {
    maximum = std::max(maximum, values[i]);
  }
  return maximum;
}

/// 2^x for x up to 0, three units in the last place off at most; 0 below -125, NaN stays. Half the operations of
/// Highway's exponential, which are a fifth of what a tile of prefill computes.
HWY_INLINE FloatVector PowerOfTwo(FloatVector x) {
  constexpr Words words;
  const FloatVector shift = hn::Set(kFloats, 0x1.8p23f);  // in a sum with it, the integer nearest to x is the low bits
  const FloatVector shifted = hn::Add(x, shift);
  const FloatVector r = hn::Sub(x, hn::Sub(shifted, shift));
  // The series of e^(r ln 2), |r| at most 1/2: the next term is below 1.2e-7.
  constexpr float kSeries[] = {1.0f, 0.693147181f, 0.240226507f, 0.0555041087f, 0.00961812911f, 0.00133335581f};
  FloatVector power = hn::Set(kFloats, 0.000154035304f);
  for (int i = 5; i >= 0; --i) {
    power = hn::MulAdd(power, r, hn::Set(kFloats, kSeries[i]));
  }
  const auto exponent = hn::ShiftLeft<23>(hn::BitCast(words, shifted));
  const FloatVector scaled = hn::BitCast(kFloats, hn::Add(hn::BitCast(words, power), exponent));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(kFloats, -125.0f)), scaled);
}

/// weights[i] = 2^(scores[i] - maximum) for i < count, 0 up to `padded`; returns their sum. Weights may be scores.
/// kRounds: to BF16, before they are added.
template <bool kRounds, typename Weight>
float Exponentials(const float* scores, float maximum, int64_t count, int64_t padded, Weight* weights) {
  const FloatVector top = hn::Set(kFloats, maximum);
  const float sum = SumVectors(count, [&](int64_t i, int64_t n) {
    FloatVector weight = PowerOfTwo(hn::Sub(LoadUpTo(scores + i, n), top));
    if (n < kLanes) {
      weight = hn::IfThenElseZero(hn::FirstN(kFloats, n), weight);
    }
    if constexpr (kRounds) {
      weight = RoundToBF16(weight);
    }
    if constexpr (sizeof(Weight) == sizeof(float)) {
      StoreUpTo(weight, weights + i, n);
    } else {
      StoreBF16UpTo(weight, weights + i, n);
    }
    return weight;
  });
  std::fill(weights + count, weights + padded, Weight{0});
  return sum;
}

float ExponentialsF32(const float* scores, float maximum, int64_t count, int64_t padded, float* weights) {
  return Exponentials<false>(scores, maximum, count, padded, weights);
}
float ExponentialsRounded(const float* scores, float maximum, int64_t count, int64_t padded, float* weights) {
  return Exponentials<true>(scores, maximum, count, padded, weights);
}
float ExponentialsBF16(const float* scores, float maximum, int64_t count, int64_t padded, uint16_t* weights) {
  return Exponentials<true>(scores, maximum, count, padded, weights);
}

/// y = y * old_scale + x * scale.
void ScaledAdd(float* y, float old_scale, const float* x, float scale, int64_t size) {
  const FloatVector a = hn::Set(kFloats, old_scale), b = hn::Set(kFloats, scale);
  ForVectors(size, [&](int64_t i, int64_t n) {
    StoreUpTo(hn::MulAdd(LoadUpTo(x + i, n), b, hn::Mul(LoadUpTo(y + i, n), a)), y + i, n);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace nemotron::runtime::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nemotron::runtime::cpu {
namespace {

HWY_EXPORT(Maximum);
HWY_EXPORT(ExponentialsF32);
HWY_EXPORT(ExponentialsRounded);
HWY_EXPORT(ExponentialsBF16);
HWY_EXPORT(ScaledAdd);

constexpr int64_t kSegmentKeys = 512;
/// Keys whose weighted values may be added up before a sum takes them: a page is a whole number of them, whatever its
/// size.
constexpr int64_t kUnitKeys = kPanelRows;
constexpr int64_t kManyRows = 64, kFewRows = 16;  // of a tile
constexpr int64_t kPartRows = 4096;               // of parts that are kept at once
/// Tiles of few rows that may be under way at once: those of a run of parts and the one that began in the run before.
constexpr int64_t kTilesAtOnce = kPartRows / kFewRows + 1;

/// Query rows [first_row, first_row + num_rows) of a key/value head.
struct Tile {
  const SequenceStep* sequence;
  int64_t kv_head, first_row, num_rows;
};

/// What a segment, or several, have come to: [rows] maxima, [rows] sums, [rows][head_dim, padded] mixtures.
struct Part {
  float* maximum;
  float* sum;
  float* mixed;
};

class Attention : public PreparedDispatch {
 public:
  BufferArgument query, key, value, output;
  StateArgument cache;
  int64_t num_heads = 1, num_kv_heads = 1, head_dim = 1, page_tokens = 1;
  float key_scale = 1, value_scale = 1;  // what the cache holds is to be multiplied by them
  float query_scale = 1;                 // scale * key_scale * log2(e): weights are powers of two
  int num_threads = 1;
  const LinearKernels* kernels = nullptr;

  int64_t ScratchBytes() const override {
    return num_threads * ThreadBytes() + (kPartRows + kTilesAtOnce * kFewRows) * PartRowBytes();
  }

  void Run(const StepContext& step) const override {
    StoreKeysAndValues(step);
    int64_t many = 0;
    for (const SequenceStep& sequence : step.sequences) {
      many += num_kv_heads * (Rows(sequence) / kManyRows);
    }
    many >= 4 * step.pool->num_threads() ? RunTiles(step) : RunSegments(step);
  }

 private:
  /// A task: `tile` of number `tile_index`, one segment or all.
  struct Item {
    Tile tile;
    int64_t tile_index, segment, num_segments;
  };

  /// Keys [key, key + count) of a segment, `count` a multiple of 16 or up to the last; they begin at `slot` of a page.
  struct PageRun {
    const std::byte* page;
    int64_t key_bytes, value_bytes;  // from the page to keys and values of the head
    int64_t key, count, slot;
    const std::byte* Keys(const Attention& attention) const {
      return page + key_bytes + slot * attention.PaddedDim() * SizeOf(attention.cache.dtype);
    }
    const std::byte* Values(const Attention& attention) const {
      return page + value_bytes + slot * kPanelRows * SizeOf(attention.cache.dtype);
    }
  };

  /// Walks all tiles of a step, of at most `tile_rows`, and their segments.
  class Cursor {
   public:
    Cursor(const Attention& attention, const StepContext& step, int64_t tile_rows)
        : attention_(&attention), step_(&step), tile_rows_(tile_rows) {}
    bool Done() const { return sequence_ == step_->sequences.size(); }
    Item item() const {
      const SequenceStep& sequence = step_->sequences[sequence_];
      const int64_t rows = std::min(tile_rows_, attention_->Rows(sequence) - row_);
      const int64_t last_token = (row_ + rows - 1) / attention_->GroupSize();
      return {{&sequence, kv_head_, row_, rows}, tile_, segment_, (sequence.position + last_token) / kSegmentKeys + 1};
    }
    void NextSegment() {
      if (++segment_ == item().num_segments) {
        NextTile();
      }
    }
    void NextTile() {
      segment_ = 0;
      ++tile_;
      row_ += tile_rows_;
      if (row_ < attention_->Rows(step_->sequences[sequence_])) {
        return;
      }
      row_ = 0;
      if (++kv_head_ == attention_->num_kv_heads) {
        kv_head_ = 0;
        ++sequence_;
      }
    }

   private:
    const Attention* attention_;
    const StepContext* step_;
    int64_t tile_rows_;
    size_t sequence_ = 0;
    int64_t tile_ = 0, kv_head_ = 0, row_ = 0, segment_ = 0;
  };

  int64_t GroupSize() const { return num_heads / num_kv_heads; }
  int64_t Rows(const SequenceStep& sequence) const { return sequence.num_tokens * GroupSize(); }
  bool InBF16() const { return cache.dtype != DType::kF32; }
  int64_t PaddedDim() const { return KvCacheHeadDim(head_dim); }
  int64_t OperandBytes() const { return InBF16() ? SizeOf(kernels->operand) : 4; }

  // Scratch of a thread: queries, scores, weights in BF16, the part of a segment, a group of k of values.
  int64_t QueryBytes() const { return kManyRows * PaddedDim() * OperandBytes(); }
  int64_t ScoreBytes() const { return kManyRows * std::max(kSegmentKeys, PaddedDim()) * 4; }
  /// Whether weights take the place of their scores: operands of F32 do.
  bool WeightsInScores() const { return OperandBytes() == static_cast<int64_t>(sizeof(float)); }
  int64_t RoundedWeightBytes() const { return WeightsInScores() ? 0 : kManyRows * kSegmentKeys * 2; }
  int64_t TailBytes() const { return InBF16() ? PaddedDim() * kUnitKeys * SizeOf(cache.dtype) : 0; }
  int64_t PartRowBytes() const { return (2 + PaddedDim()) * static_cast<int64_t>(sizeof(float)); }
  int64_t ThreadBytes() const {
    return RoundUp64(QueryBytes() + ScoreBytes() + RoundedWeightBytes() + kManyRows * PartRowBytes() + TailBytes());
  }
  std::byte* ThreadScratch(const StepContext& step, int thread) const { return step.scratch + thread * ThreadBytes(); }
  Part MakePart(std::byte* at, int64_t rows) const {
    auto* floats = reinterpret_cast<float*>(at);
    return {floats, floats + rows, floats + 2 * rows};
  }
  Part ThreadPart(const StepContext& step, int thread) const {
    return MakePart(ThreadScratch(step, thread) + QueryBytes() + ScoreBytes() + RoundedWeightBytes(), kManyRows);
  }
  /// Part `i` of those of tiles of `rows` rows.
  Part KeptPart(const StepContext& step, int64_t i, int64_t rows) const {
    return MakePart(step.scratch + num_threads * ThreadBytes() + i * rows * PartRowBytes(), rows);
  }
  Part TileResult(const StepContext& step, int64_t tile) const {
    return KeptPart(step, kPartRows / kFewRows + tile % kTilesAtOnce, kFewRows);
  }

  /// Bytes from the start of a page to the keys (values) of a head.
  int64_t KeyBytes(int64_t kv_head) const {
    return (cache.offset_bytes + kv_head * PaddedDim() * SizeOf(cache.dtype)) * page_tokens;
  }
  int64_t ValueBytes(int64_t kv_head) const { return KeyBytes(num_kv_heads + kv_head); }

  /// Rounds a head's keys or values to the type of the cache, nearest even; for E4M3 they are divided by `scale` first.
  void Narrow(const float* from, float scale, uint8_t* to) const {
    QuantizeRow(from, head_dim, scale, DType::kF8E4M3, to);
  }
  void Narrow(const float* from, float, uint16_t* to) const { kernels->round_to_bf16(from, head_dim, to); }
  void Narrow(const float* from, float, float* to) const { std::copy_n(from, head_dim, to); }

  /// `narrow`: room for a head's keys, head_dim elements. The first token of a panel clears it: a matrix product reads
  /// whole groups of k, and nothing of a sequence that used the page before may stay.
  template <typename Element>
  void StoreToken(const StepContext& step, const SequenceStep& sequence, int64_t i, Element* narrow) const {
    const int64_t position = sequence.position + i, slot = position % page_tokens, padded = PaddedDim();
    std::byte* page = sequence.pages[position / page_tokens];
    for (int64_t h = 0; h < num_kv_heads; ++h) {
      auto* keys = reinterpret_cast<Element*>(page + KeyBytes(h));
      auto* values = reinterpret_cast<Element*>(page + ValueBytes(h));
      if (slot % kPanelRows == 0) {
        std::fill_n(keys + slot * padded, kPanelRows * padded, Element{0});
        for (int64_t d = 0; d < padded; d += kPanelRows) {
          std::fill_n(values + d * page_tokens + slot * kPanelRows, kPanelRows * kPanelRows, Element{0});
        }
      }
      const auto store = [&](const BufferArgument& from, float scale, const auto& to) {
        Narrow(step.At<const float>(from, sequence.first_token + i) + h * head_dim, scale, narrow);
        for (int64_t d = 0; d < head_dim; ++d) {
          to(d) = narrow[d];
        }
      };
      store(key, key_scale,
            [&](int64_t d) -> Element& { return keys[PanelElementIndex(cache.dtype, padded, slot, d)]; });
      store(value, value_scale,
            [&](int64_t d) -> Element& { return values[PanelElementIndex(cache.dtype, page_tokens, d, slot)]; });
    }
  }

  /// A task has the tokens of one panel.
  void StoreKeysAndValues(const StepContext& step) const {
    for (const SequenceStep& sequence : step.sequences) {
      const int64_t first_run = sequence.position / kPanelRows;
      const int64_t last_run = (sequence.position + sequence.num_tokens - 1) / kPanelRows;
      step.pool->ParallelFor(last_run - first_run + 1, [&](int64_t task, int thread) {
        std::byte* narrow = ThreadScratch(step, thread);
        const int64_t run = (first_run + task) * kPanelRows - sequence.position;
        for (int64_t i = std::max<int64_t>(run, 0); i < std::min(sequence.num_tokens, run + kPanelRows); ++i) {
          if (cache.dtype == DType::kF8E4M3) {
            StoreToken(step, sequence, i, reinterpret_cast<uint8_t*>(narrow));
          } else if (cache.dtype == DType::kBF16) {
            StoreToken(step, sequence, i, reinterpret_cast<uint16_t*>(narrow));
          } else {
            StoreToken(step, sequence, i, reinterpret_cast<float*>(narrow));
          }
        }
      });
    }
  }

  /// Calls f(items, count) for runs of tiles of kRows rows, as many as there is room for parts; `advance` moves the
  /// cursor to the next item.
  template <int64_t kRows, typename Function>
  void ForRuns(const StepContext& step, void (Cursor::*advance)(), const Function& f) const {
    constexpr int64_t kAtOnce = kPartRows / kRows;
    Cursor cursor(*this, step, kRows);
    while (!cursor.Done()) {
      Item items[kAtOnce];
      int64_t count = 0;
      for (; count < kAtOnce && !cursor.Done(); (cursor.*advance)()) {
        items[count++] = cursor.item();
      }
      f(items, count);
    }
  }

  /// Many tiles: a task does all of a tile.
  void RunTiles(const StepContext& step) const {
    ForRuns<kManyRows>(step, &Cursor::NextTile, [&](const Item* items, int64_t count) {
      step.pool->ParallelFor(count, [&](int64_t i, int thread) {
        const Item& item = items[i];
        const Part result = KeptPart(step, i, kManyRows), next = ThreadPart(step, thread);
        LoadQueries(step, item.tile, ThreadScratch(step, thread));
        RunSegment(step, item.tile, 0, thread, result);
        for (int64_t segment = 1; segment < item.num_segments; ++segment) {
          RunSegment(step, item.tile, segment, thread, next);
          Merge(result, next, item.tile.num_rows);
        }
        WriteOutput(step, item.tile, result);
      });
    });
  }

  /// Few tiles: a task does one segment. Pairs of tile and segment are done in runs; after a run its parts are merged.
  void RunSegments(const StepContext& step) const {
    ForRuns<kFewRows>(step, &Cursor::NextSegment, [&](const Item* items, int64_t count) {
      step.pool->ParallelFor(count, [&](int64_t i, int thread) {
        LoadQueries(step, items[i].tile, ThreadScratch(step, thread));
        RunSegment(step, items[i].tile, items[i].segment, thread, KeptPart(step, i, kFewRows));
      });
      // One task a tile; a task starts where the pair is the first of its tile in this run.
      step.pool->ParallelFor(count, [&](int64_t i, int) {
        if (i > 0 && items[i].tile_index == items[i - 1].tile_index) {
          return;
        }
        for (int64_t j = i; j < count && items[j].tile_index == items[i].tile_index; ++j) {
          MergeKept(step, items[j], KeptPart(step, j, kFewRows));
        }
      });
    });
  }

  void MergeKept(const StepContext& step, const Item& item, const Part& part) const {
    const Part result = TileResult(step, item.tile_index);
    const int64_t rows = item.tile.num_rows;
    if (item.segment == 0) {
      std::copy_n(part.maximum, rows, result.maximum);
      std::copy_n(part.sum, rows, result.sum);
      std::copy_n(part.mixed, rows * PaddedDim(), result.mixed);
    } else {
      Merge(result, part, rows);
    }
    if (item.segment == item.num_segments - 1) {
      WriteOutput(step, item.tile, result);
    }
  }

  /// Rows of queries, scaled, as operands of the matrix kernels.
  void LoadQueries(const StepContext& step, const Tile& tile, std::byte* scratch) const {
    const int64_t padded = PaddedDim();
    auto* scaled = reinterpret_cast<float*>(InBF16() ? scratch + QueryBytes() : scratch);  // scores come later
    for (int64_t r = 0; r < tile.num_rows; ++r) {
      const float* from = step.At<const float>(query, TokenOf(tile, r)) + HeadOf(tile, r) * head_dim;
      float* row = scaled + r * padded;
      for (int64_t i = 0; i < head_dim; ++i) {
        row[i] = from[i] * query_scale;
      }
      std::fill(row + head_dim, row + padded, 0.0f);
    }
    if (InBF16()) {
      kernels->round_to_operand(scaled, tile.num_rows * padded, scratch);
    }
  }
  int64_t TokenOf(const Tile& tile, int64_t r) const {
    return tile.sequence->first_token + (tile.first_row + r) / GroupSize();
  }
  int64_t HeadOf(const Tile& tile, int64_t r) const {
    return tile.kv_head * GroupSize() + (tile.first_row + r) % GroupSize();
  }

  /// One segment of all rows of `tile`, whose queries the thread has loaded.
  void RunSegment(const StepContext& step, const Tile& tile, int64_t segment, int thread, const Part& part) const {
    int64_t limits[kManyRows];  // keys of this segment that the row may see, at least 0
    for (int64_t r = 0; r < tile.num_rows; ++r) {
      const int64_t position = tile.sequence->position + (tile.first_row + r) / GroupSize();
      limits[r] = std::clamp<int64_t>(position + 1 - segment * kSegmentKeys, 0, kSegmentKeys);
    }
    // Of keys that a row may not see, the scores are dropped, but the values are multiplied by 0. Where that gives no 0
    // each token goes alone, and with a copy of the last values.
    const bool finite = limits[0] == kSegmentKeys || HiddenValuesAreFinite(step, tile);
    for (int64_t row = 0, count = 0; row < tile.num_rows; row += count) {
      count =
          finite ? tile.num_rows : std::min(tile.num_rows - row, GroupSize() - (tile.first_row + row) % GroupSize());
      RunRows(tile, segment, limits, row, count, finite, ThreadScratch(step, thread), part);
    }
  }

  /// Whether the values are numbers, of which BF16 makes no infinity, of all tokens that rows of the tile may not see
  /// but are multiplied by: those of the tile after its first, and those that share a group of k with its last.
  bool HiddenValuesAreFinite(const StepContext& step, const Tile& tile) const {
    const SequenceStep& sequence = *tile.sequence;
    const int64_t last = TokenOf(tile, tile.num_rows - 1), interleave = PanelInterleave(cache.dtype);
    const int64_t position = sequence.position + last - sequence.first_token;
    const int64_t end = std::min(sequence.first_token + sequence.num_tokens, last + interleave - position % interleave);
    bool finite = true;
    for (int64_t token = TokenOf(tile, 0) + 1; token < end; ++token) {
      const float* from = step.At<const float>(value, token) + tile.kv_head * head_dim;
      for (int64_t i = 0; i < head_dim; ++i) {
        finite = finite && std::abs(from[i]) < 0x1.FFp127f;
      }
    }
    return finite;
  }

  /// Rows [row, row + count) of `tile`. `limits` ascend. `finite`: see RunSegment.
  void RunRows(const Tile& tile, int64_t segment, const int64_t* limits, int64_t row, int64_t count, bool finite,
               std::byte* scratch, const Part& part) const {
    const int64_t keys = limits[row + count - 1], padded = PaddedDim();
    auto* scores = reinterpret_cast<float*>(scratch + QueryBytes());
    auto* weights = reinterpret_cast<uint16_t*>(scratch + QueryBytes() + ScoreBytes());
    LinearTile product = {};
    product.num_rows = count;
    product.depth = product.panel_depth = product.input_stride = padded;
    product.input = scratch + row * padded * OperandBytes();
    product.output_row_bytes = kSegmentKeys * static_cast<int64_t>(sizeof(float));
    const std::byte* first_values = nullptr;
    ForPages(tile, segment, keys, [&](const PageRun& run, const PageRun& next) {
      first_values = first_values == nullptr ? run.Values(*this) : first_values;
      product.num_panels = NumPanels(run.count);
      product.num_columns = product.num_panels * kPanelRows;
      product.panels = run.Keys(*this);
      product.next = next.page != nullptr ? next.Keys(*this) : first_values;
      product.output = scores + run.key;
      kernels->Run(cache.dtype, product);
    });
    const int64_t whole = PanelDepth(cache.dtype, keys);
    for (int64_t r = 0; r < count; ++r) {
      const int64_t limit = limits[row + r];
      float* of_row = scores + r * kSegmentKeys;
      const float maximum = HWY_DYNAMIC_DISPATCH(Maximum)(of_row, limit);
      part.maximum[row + r] = maximum;
      part.sum[row + r] = !WeightsInScores() ? HWY_DYNAMIC_DISPATCH(ExponentialsBF16)(of_row, maximum, limit, whole,
                                                                                      weights + r * kSegmentKeys)
                          : InBF16() ? HWY_DYNAMIC_DISPATCH(ExponentialsRounded)(of_row, maximum, limit, whole, of_row)
                                     : HWY_DYNAMIC_DISPATCH(ExponentialsF32)(of_row, maximum, limit, whole, of_row);
    }
    product.num_panels = padded / kPanelRows;
    product.num_columns = padded;
    product.input_stride = kSegmentKeys;
    product.output = part.mixed + row * padded;
    product.output_row_bytes = padded * static_cast<int64_t>(sizeof(float));
    std::fill_n(product.output, count * padded, 0.0f);
    product.accumulate = true;
    product.sum_unit = kUnitKeys;
    if (finite && count > kFewRows && InBF16() && kernels->takes_parts) {
      return MixPages(tile, segment, keys, weights, product);
    }
    ForPages(tile, segment, keys, [&](const PageRun& run, const PageRun& next) {
      const auto weights_of = [&](int64_t key) {
        return WeightsInScores() ? static_cast<const void*>(scores + key) : weights + key;
      };
      const int64_t depth = std::min(run.count, whole - run.key), visible = std::min(run.count, keys - run.key);
      product.depth = finite ? depth : InBF16() ? visible / kUnitKeys * kUnitKeys : visible;
      product.panel_depth = page_tokens;
      product.panels = run.Values(*this);
      product.next = next.page != nullptr ? next.Values(*this) : nullptr;
      product.input = weights_of(run.key);
      kernels->Run(cache.dtype, product);
      if (!finite && product.depth < depth) {
        product.input = weights_of(run.key + product.depth);
        product.panels = CopyTail(run, product.depth, visible, scratch + ThreadBytes() - TailBytes());
        product.depth = depth - product.depth;
        product.panel_depth = kUnitKeys;
        kernels->Run(cache.dtype, product);
      }
    });
  }

  /// The weighted values of the segment's first `keys` keys, in one product over its pages: sums stay in tiles.
  void MixPages(const Tile& tile, int64_t segment, int64_t keys, const uint16_t* weights, LinearTile& product) const {
    constexpr int64_t kMostPages = kSegmentKeys / kPanelRows + 1;
    const void* pages[kMostPages];
    int64_t num_pages = 0;
    ForPages(tile, segment, keys, [&](const PageRun& run, const PageRun&) {
      product.part_offset = num_pages == 0 ? run.slot : product.part_offset;
      pages[num_pages++] = run.page + run.value_bytes;
    });
    product.parts = pages;
    product.panel_depth = page_tokens;
    product.depth = PanelDepth(cache.dtype, keys);
    product.input = weights;
    kernels->Run(cache.dtype, product);
  }

  /// Values [first, end) of the run, zero after them, as panels of kUnitKeys.
  const std::byte* CopyTail(const PageRun& run, int64_t first, int64_t end, std::byte* tail) const {
    const int64_t size = SizeOf(cache.dtype);
    std::fill_n(tail, TailBytes(), std::byte{0});
    for (int64_t d = 0; d < head_dim; ++d) {
      for (int64_t j = 0; first + j < end; ++j) {
        std::memcpy(tail + PanelElementIndex(cache.dtype, kUnitKeys, d, j) * size,
                    run.Values(*this) + PanelElementIndex(cache.dtype, page_tokens, d, first + j) * size, size);
      }
    }
    return tail;
  }

  /// Calls f(run, next run) for the pages of the segment's first `keys` keys; the run after the last has no page.
  template <typename Function>
  void ForPages(const Tile& tile, int64_t segment, int64_t keys, const Function& f) const {
    const int64_t position = segment * kSegmentKeys;
    const auto run_at = [&](int64_t key) {
      const int64_t slot = (position + key) % page_tokens, in_page = page_tokens - slot;
      return PageRun{key < keys ? tile.sequence->pages[(position + key) / page_tokens] : nullptr,
                     KeyBytes(tile.kv_head),
                     ValueBytes(tile.kv_head),
                     key,
                     std::min(in_page, RoundUpToPanels(keys) - key),  // pages hold whole panels
                     slot};
    };
    for (PageRun run = run_at(0); run.page != nullptr;) {
      const PageRun next = run_at(run.key + run.count);
      f(run, next);
      run = next;
    }
  }

  /// Adds a segment to those before it.
  void Merge(const Part& result, const Part& part, int64_t rows) const {
    const int64_t padded = PaddedDim();
    for (int64_t r = 0; r < rows; ++r) {
      if (part.sum[r] == 0) {
        continue;  // a row that sees nothing of this segment stays as it is; a NaN is no nothing
      }
      const float top = std::max(result.maximum[r], part.maximum[r]);
      const float old_scale = std::exp2(result.maximum[r] - top), part_scale = std::exp2(part.maximum[r] - top);
      result.maximum[r] = top;
      result.sum[r] = result.sum[r] * old_scale + part.sum[r] * part_scale;
      HWY_DYNAMIC_DISPATCH(ScaledAdd)
      (result.mixed + r * padded, old_scale, part.mixed + r * padded, part_scale, padded);
    }
  }

  void WriteOutput(const StepContext& step, const Tile& tile, const Part& result) const {
    for (int64_t r = 0; r < tile.num_rows; ++r) {
      const float* mixed = result.mixed + r * PaddedDim();
      float* to = step.At<float>(output, TokenOf(tile, r)) + HeadOf(tile, r) * head_dim;
      std::transform(mixed, mixed + head_dim, to, [&](float x) { return x / result.sum[r] * value_scale; });
    }
  }
};

/// What the keys or values of an E4M3 cache were divided by.
float CacheScale(ArgumentReader& args, std::string_view name) {
  const double scale = args.Float(name);
  args.Check(std::isfinite(static_cast<float>(scale)) && static_cast<float>(scale) > 0,
             "parameter '{}' is {}, expected a finite number above 0", name, scale);
  return static_cast<float>(scale);
}

}  // namespace

PreparedOr PrepareAttention(const DispatchArguments& arguments) {
  ArgumentReader args("cpu.attention", arguments);
  auto attention = std::make_unique<Attention>();
  attention->num_heads = args.Size("num_heads");
  attention->num_kv_heads = args.Size("num_kv_heads");
  attention->head_dim = args.Size("head_dim");
  args.Check(attention->num_heads % attention->num_kv_heads == 0, "{} heads are not a multiple of {} kv heads",
             attention->num_heads, attention->num_kv_heads);
  const int64_t query_columns = attention->num_heads * attention->head_dim;
  const int64_t key_columns = attention->num_kv_heads * attention->head_dim;
  attention->query = args.Input("query", query_columns);
  attention->key = args.Input("key", key_columns);
  attention->value = args.Input("value", key_columns);
  attention->output = args.Output("output", query_columns);
  for (const BufferArgument* buffer : {&attention->query, &attention->key, &attention->value, &attention->output}) {
    args.Check(buffer->space == Space::kToken, "inputs and outputs must count tokens");
  }
  attention->cache = args.State("cache", StateKind::kKvCache, {2, attention->num_kv_heads, attention->head_dim},
                                {DType::kF32, DType::kBF16, DType::kF8E4M3});
  if (attention->cache.dtype == DType::kF8E4M3) {
    attention->key_scale = CacheScale(args, "key_scale");
    attention->value_scale = CacheScale(args, "value_scale");
  }
  const auto scale = static_cast<float>(args.Float("scale"));
  attention->query_scale = scale * attention->key_scale * std::numbers::log2e_v<float>;
  args.Check(std::isfinite(scale), "scale is {}, expected a finite number", scale);
  args.Check(std::isfinite(attention->query_scale), "scale {} times key_scale {} exceeds F32", scale,
             attention->key_scale);
  args.Check(arguments.page_tokens > 0 && arguments.page_tokens % kPanelRows == 0,
             "pages of {} tokens, expected a multiple of {}", arguments.page_tokens, kPanelRows);
  RETURN_IF_ERROR(args.Finish());
  attention->page_tokens = arguments.page_tokens;
  attention->num_threads = arguments.num_threads;
  attention->kernels = &GetLinearKernels(CurrentIsa());
  return attention;
}

}  // namespace nemotron::runtime::cpu
#endif  // HWY_ONCE
