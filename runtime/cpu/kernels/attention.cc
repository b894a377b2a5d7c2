// Causal grouped-query attention over a paged cache.
//
// Cache pages hold keys transposed, [num_kv_heads][head_dim][page_tokens], so that a vector of scores needs no sum
// across lanes, and values as [num_kv_heads][page_tokens][head_dim].
//
// Work is cut twice. *Tiles* are up to 16 query rows that share a key/value head: (token, head in group) pairs of one
// sequence. *Segments* are 512 absolute positions. A (tile, segment) pair is a task: scores, maximum, exponentials,
// their sum, and the weighted sum of values, each in an order that depends on the query's position alone. The segments
// of a tile are then merged in order. Prefill has many tiles and few segments, decode at depth one tile and many
// segments: both keep all threads busy and give the same bits.
//
// An E4M3 cache holds keys and values divided by a scale each. The keys' goes into the query, the values' is applied to
// the output, so that a key or value costs its conversion and nothing else, and the chain has one form for all dtypes.
//
// Moves each key and value once a tile: bound by memory for one token, by the multiply-add units for full tiles.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "runtime/cpu/kernels/argument_reader.h"
#include "runtime/cpu/kernels/kernels.h"
#include "runtime/cpu/thread_pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/kernels/attention.cc"
#include "hwy/cache_control.h"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "runtime/cpu/kernels/vector-inl.h"

#ifndef RUNTIME_CPU_KERNELS_ATTENTION_ONCE_
#define RUNTIME_CPU_KERNELS_ATTENTION_ONCE_
namespace nemotron::runtime::cpu {

constexpr int64_t kTileRows = 16;
constexpr int64_t kSegmentKeys = 512;
constexpr int64_t kKeyBlock = 16;      // page_tokens is a multiple of it
constexpr int64_t kPrefetchKeys = 32;  // ahead of those in use; the best of 16, 32, 48, 64 and 128

/// One segment of keys for one tile of queries.
struct SegmentRun {
  const float* queries;   // [rows][head_dim], scaled
  const int64_t* limits;  // [rows], keys of this segment that the row may see, at least 0
  int64_t num_rows, head_dim, page_tokens;
  DType dtype;                     // of the cache
  std::byte* const* pages;         // of the segment's first position
  int64_t first_offset;            // of the segment's first position in that page, a multiple of kKeyBlock
  int64_t key_bytes, value_bytes;  // from the start of a page to keys and values of this head
  float* scores;                   // [rows][kSegmentKeys]
  float* maximum;                  // [rows] result: -inf where the row sees no key
  float* sum;                      // [rows] result
  float* mixed;                    // [rows][head_dim] result
};

}  // namespace nemotron::runtime::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace nemotron::runtime::cpu {
namespace HWY_NAMESPACE {

/// How the cache is read, exactly.
struct F32Cache {
  using Element = float;
  static HWY_INLINE FloatVector Load(const float* p, int64_t n) { return LoadUpTo(p, n); }
};
struct BF16Cache {
  using Element = uint16_t;
  static HWY_INLINE FloatVector Load(const uint16_t* p, int64_t n) { return LoadBF16UpTo(p, n); }
};
struct E4M3Cache {
  using Element = uint8_t;
  static HWY_INLINE FloatVector Load(const uint8_t* p, int64_t n) { return LoadE4M3UpTo(p, n); }
};

/// Scores of kRows queries against 16 keys, whose dimension i lies at keys + i * stride.
template <typename Cache, int kRows>
void ScoreRows(const float* queries, const typename Cache::Element* keys, int64_t stride, int64_t head_dim,
               float* scores) {
  constexpr int kVectors = kKeyBlock / kLanes;
  FloatVector sums[kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      sums[r][v] = hn::Zero(kFloats);
    }
  }
  for (int64_t i = 0; i < head_dim; ++i) {
    for (int v = 0; v < kVectors; ++v) {
      const FloatVector key = Cache::Load(keys + i * stride + v * kLanes, kLanes);
      for (int r = 0; r < kRows; ++r) {
        sums[r][v] = hn::MulAdd(hn::Set(kFloats, queries[r * head_dim + i]), key, sums[r][v]);
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      hn::StoreU(sums[r][v], kFloats, scores + r * kSegmentKeys + v * kLanes);
    }
  }
}

/// mixed [kRows][head_dim] += weights[r][first .. last) * values [last][head_dim], key after key; an element's chain is
/// the same for any kRows.
template <typename Cache, int kRows>
void MixRows(const float* weights, const typename Cache::Element* values, int64_t first, int64_t last, int64_t head_dim,
             float* mixed) {
  const auto mix = [&]<int kVectors>(int64_t i, int64_t n) HWY_ATTR {  // the last vector has n elements
    FloatVector sums[kRows][kVectors];
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < kVectors; ++v) {
        sums[r][v] = LoadUpTo(mixed + r * head_dim + i + v * kLanes, n);
      }
    }
    for (int64_t j = first; j < last; ++j) {
      for (int v = 0; v < kVectors; ++v) {
        const FloatVector value = Cache::Load(values + j * head_dim + i + v * kLanes, n);
        for (int r = 0; r < kRows; ++r) {
          sums[r][v] = hn::MulAdd(hn::Set(kFloats, weights[r * kSegmentKeys + j]), value, sums[r][v]);
        }
      }
    }
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < kVectors; ++v) {
        StoreUpTo(sums[r][v], mixed + r * head_dim + i + v * kLanes, n);
      }
    }
  };
  int64_t i = 0;
  for (; i + 2 * kLanes <= head_dim; i += 2 * kLanes) {
    mix.template operator()<2>(i, kLanes);
  }
  for (; i < head_dim; i += kLanes) {
    mix.template operator()<1>(i, head_dim - i);
  }
}

/// Rounds a run to the type of the cache, nearest even; for E4M3 it is divided by `scale` first.
void Narrow(const float* from, DType dtype, float scale, int64_t size, std::byte* to) {
  if (dtype == DType::kF8E4M3) {
    const FloatVector divisor = hn::Set(kFloats, scale);
    ForVectors(size, [&](int64_t i, int64_t n) {
      uint8_t codes[kLanes];
      EncodeE4M3(hn::Div(LoadUpTo(from + i, n), divisor), codes);
      std::memcpy(to + i, codes, n);
    });
  } else if (dtype == DType::kBF16) {
    auto* bits = reinterpret_cast<uint16_t*>(to);
    for (int64_t i = 0; i < size; ++i) {
      bits[i] = F32ToBF16(from[i]);
    }
  } else {
    std::memcpy(to, from, size * sizeof(float));
  }
}

/// Calls f.operator()<kRows>(row) for runs of rows that share what they read.
template <typename Function>
void ForRowRuns(int64_t num_rows, const Function& f) {
  constexpr int kMost = kLanes >= 16 ? 8 : 4;  // 8 x 2 vectors of sums fit the 32 registers of AVX-512
  int64_t row = 0;
  for (; row + kMost <= num_rows; row += kMost) {
    f.template operator()<kMost>(row);
  }
  for (; row + 4 <= num_rows; row += 4) {
    f.template operator()<4>(row);
  }
  for (; row < num_rows; ++row) {
    f.template operator()<1>(row);
  }
}

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

template <typename Cache>
void RunSegmentOf(const SegmentRun& run) {
  using Element = typename Cache::Element;
  const int64_t head_dim = run.head_dim, keys = *std::max_element(run.limits, run.limits + run.num_rows);
  const auto element_at = [&](int64_t key, int64_t bytes) {
    return reinterpret_cast<const Element*>(run.pages[(run.first_offset + key) / run.page_tokens] + bytes);
  };
  const auto slot_of = [&](int64_t key) { return (run.first_offset + key) % run.page_tokens; };
  // A page holds 8 KiB or so of a head in one place: too little for the machine to guess the next. Blocks are counted
  // over the keys and then the values.
  const int64_t end = (keys + kKeyBlock - 1) / kKeyBlock * kKeyBlock;
  const auto prefetch = [&](int64_t block) {
    if (block < end) {
      const Element* row = element_at(block, run.key_bytes) + slot_of(block);
      for (int64_t i = 0; i < head_dim; ++i) {
        hwy::Prefetch(row + i * run.page_tokens);
      }
    } else if (block < end * 2) {
      block -= end;
      const Element* row = element_at(block, run.value_bytes) + slot_of(block) * head_dim;
      for (int64_t i = 0; i < kKeyBlock * head_dim; i += 64 / sizeof(Element)) {
        hwy::Prefetch(row + i);
      }
    }
  };
  for (int64_t key = 0; key < keys; key += kKeyBlock) {
    const Element* block = element_at(key, run.key_bytes) + slot_of(key);
    prefetch(key + kPrefetchKeys);
    ForRowRuns(run.num_rows, [&]<int kRows>(int64_t row) {
      ScoreRows<Cache, kRows>(run.queries + row * head_dim, block, run.page_tokens, head_dim,
                              run.scores + row * kSegmentKeys + key);
    });
  }
  for (int64_t r = 0; r < run.num_rows; ++r) {
    float* scores = run.scores + r * kSegmentKeys;
    const int64_t count = run.limits[r];
    const float maximum = Maximum(scores, count);
    const FloatVector top = hn::Set(kFloats, maximum);
    run.maximum[r] = maximum;
    run.sum[r] = SumVectors(count, [&](int64_t j, int64_t n) {
      const FloatVector x = hn::Sub(LoadUpTo(scores + j, n), top);
      FloatVector p = hn::IfThenElse(hn::IsNaN(x), x, hn::Exp(kFloats, x));  // Exp alone makes 0 of a NaN
      if (n < kLanes) {
        p = hn::IfThenElseZero(hn::FirstN(kFloats, n), p);
      }
      StoreUpTo(p, scores + j, n);
      return p;
    });
    std::fill_n(run.mixed + r * run.head_dim, run.head_dim, 0.0f);
  }
  for (int64_t key = 0; key < keys; key += kKeyBlock) {
    const Element* block = element_at(key, run.value_bytes) + slot_of(key) * head_dim;
    prefetch(end + key + kPrefetchKeys);
    ForRowRuns(run.num_rows, [&]<int kRows>(int64_t row) {
      const auto count = [&](int64_t r) { return std::clamp<int64_t>(run.limits[r] - key, 0, kKeyBlock); };
      const float* weights = run.scores + row * kSegmentKeys + key;
      float* mixed = run.mixed + row * head_dim;
      const int64_t common = count(row);  // a later row sees as many or more
      MixRows<Cache, kRows>(weights, block, 0, common, head_dim, mixed);
      for (int r = 1; r < kRows; ++r) {
        MixRows<Cache, 1>(weights + r * kSegmentKeys, block, common, count(row + r), head_dim, mixed + r * head_dim);
      }
    });
  }
}

void RunSegment(const SegmentRun& run) {
  switch (run.dtype) {
    case DType::kF8E4M3:
      return RunSegmentOf<E4M3Cache>(run);
    case DType::kBF16:
      return RunSegmentOf<BF16Cache>(run);
    default:
      return RunSegmentOf<F32Cache>(run);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace nemotron::runtime::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nemotron::runtime::cpu {
namespace {

HWY_EXPORT(Narrow);
HWY_EXPORT(RunSegment);

/// Pairs of tile and segment whose results are kept at once.
constexpr int64_t kPairsAtOnce = 256;
/// Tiles that may be under way at once: those of a run and the one that began in the run before.
constexpr int64_t kTilesAtOnce = kPairsAtOnce + 1;

class Attention : public PreparedDispatch {
 public:
  BufferArgument query, key, value, output;
  StateArgument cache;
  int64_t num_heads = 1, num_kv_heads = 1, head_dim = 1, page_tokens = 1;
  float key_scale = 1, value_scale = 1;  // what the cache holds is to be multiplied by them
  float query_scale = 1;                 // scale * key_scale
  int num_threads = 1;

  int64_t ScratchBytes() const override {
    return (num_threads * ThreadFloats() + (kPairsAtOnce + kTilesAtOnce) * PartFloats()) *
           static_cast<int64_t>(sizeof(float));
  }

  void Run(const StepContext& step) const override {
    StoreKeysAndValues(step);
    // Pairs are numbered tile by tile, segment by segment, and done in runs of kPairsAtOnce; after a run its parts are
    // merged in order.
    Cursor cursor(*this, step);
    while (!cursor.Done()) {
      Cursor next = cursor;
      Pair pairs[kPairsAtOnce];
      int64_t count = 0;
      for (; count < kPairsAtOnce && !next.Done(); ++count, next.Advance()) {
        pairs[count] = next.pair();
      }
      step.pool->ParallelFor(count, [&](int64_t i, int thread) { RunPair(step, pairs[i], Part(step, i), thread); });
      // One task a tile; a task starts where the pair is the first of its tile in this run.
      step.pool->ParallelFor(count, [&](int64_t i, int) {
        if (i > 0 && pairs[i].tile == pairs[i - 1].tile) {
          return;
        }
        for (int64_t j = i; j < count && pairs[j].tile == pairs[i].tile; ++j) {
          Merge(step, pairs[j], Part(step, j));
        }
      });
      cursor = next;
    }
  }

 private:
  struct Pair {
    const SequenceStep* sequence;
    int64_t tile;  // number over the step
    int64_t kv_head;
    int64_t first_row;  // of the tile: rows are (token, head in group) pairs of the sequence
    int64_t num_rows;
    int64_t segment, num_segments;
  };

  /// Walks all pairs of a step.
  class Cursor {
   public:
    Cursor(const Attention& attention, const StepContext& step) : attention_(&attention), step_(&step) {}
    bool Done() const { return sequence_ == step_->sequences.size(); }
    Pair pair() const {
      const SequenceStep& sequence = step_->sequences[sequence_];
      return {&sequence, tile_, kv_head_, row_, std::min(kTileRows, Rows() - row_), segment_, NumSegments()};
    }
    void Advance() {
      if (++segment_ < NumSegments()) {
        return;
      }
      segment_ = 0;
      ++tile_;
      row_ += kTileRows;
      if (row_ < Rows()) {
        return;
      }
      row_ = 0;
      if (++kv_head_ == attention_->num_kv_heads) {
        kv_head_ = 0;
        ++sequence_;
      }
    }

   private:
    int64_t Rows() const { return step_->sequences[sequence_].num_tokens * attention_->GroupSize(); }
    int64_t NumSegments() const {
      const int64_t last_row = std::min(row_ + kTileRows, Rows()) - 1;
      return (step_->sequences[sequence_].position + last_row / attention_->GroupSize()) / kSegmentKeys + 1;
    }
    const Attention* attention_;
    const StepContext* step_;
    size_t sequence_ = 0;
    int64_t tile_ = 0, kv_head_ = 0, row_ = 0, segment_ = 0;
  };

  int64_t GroupSize() const { return num_heads / num_kv_heads; }
  int64_t PartFloats() const { return kTileRows * (2 + (head_dim + 15) / 16 * 16); }  // maximum, sum, mixed
  int64_t ThreadFloats() const { return kTileRows * (head_dim + kSegmentKeys); }      // queries, scores
  float* Part(const StepContext& step, int64_t i) const {
    return reinterpret_cast<float*>(step.scratch) + num_threads * ThreadFloats() + i * PartFloats();
  }
  float* TileResult(const StepContext& step, int64_t tile) const {
    return Part(step, kPairsAtOnce + tile % kTilesAtOnce);
  }

  /// Bytes from the start of a page to the keys (values) of a head.
  int64_t KeyBytes(int64_t kv_head) const {
    return cache.offset_bytes * page_tokens + kv_head * head_dim * page_tokens * SizeOf(cache.dtype);
  }
  int64_t ValueBytes(int64_t kv_head) const { return KeyBytes(num_kv_heads + kv_head); }

  /// `narrow`: room for a head's keys, head_dim elements.
  template <typename Element>
  void StoreToken(const StepContext& step, const SequenceStep& sequence, int64_t i, Element* narrow) const {
    const int64_t position = sequence.position + i, slot = position % page_tokens;
    std::byte* page = sequence.pages[position / page_tokens];
    const float* keys = step.At<const float>(key, sequence.first_token + i);
    const float* values = step.At<const float>(value, sequence.first_token + i);
    for (int64_t h = 0; h < num_kv_heads; ++h) {
      HWY_DYNAMIC_DISPATCH(Narrow)
      (keys + h * head_dim, cache.dtype, key_scale, head_dim, reinterpret_cast<std::byte*>(narrow));
      Element* cached_keys = reinterpret_cast<Element*>(page + KeyBytes(h)) + slot;
      for (int64_t d = 0; d < head_dim; ++d) {
        cached_keys[d * page_tokens] = narrow[d];
      }
      HWY_DYNAMIC_DISPATCH(Narrow)
      (values + h * head_dim, cache.dtype, value_scale, head_dim,
       page + ValueBytes(h) + slot * head_dim * static_cast<int64_t>(sizeof(Element)));
    }
  }

  void StoreKeysAndValues(const StepContext& step) const {
    constexpr int64_t kTokensPerTask = 16;
    for (const SequenceStep& sequence : step.sequences) {
      step.pool->ParallelFor((sequence.num_tokens + kTokensPerTask - 1) / kTokensPerTask, [&](int64_t task,
                                                                                              int thread) {
        float* narrow = reinterpret_cast<float*>(step.scratch) + thread * ThreadFloats();
        for (int64_t i = task * kTokensPerTask; i < std::min(sequence.num_tokens, (task + 1) * kTokensPerTask); ++i) {
          if (cache.dtype == DType::kF8E4M3) {
            StoreToken(step, sequence, i, reinterpret_cast<uint8_t*>(narrow));
          } else if (cache.dtype == DType::kBF16) {
            StoreToken(step, sequence, i, reinterpret_cast<uint16_t*>(narrow));
          } else {
            StoreToken(step, sequence, i, narrow);
          }
        }
      });
    }
  }

  void RunPair(const StepContext& step, const Pair& pair, float* part, int thread) const {
    const SequenceStep& sequence = *pair.sequence;
    float* queries = reinterpret_cast<float*>(step.scratch) + thread * ThreadFloats();
    int64_t limits[kTileRows];
    for (int64_t r = 0; r < pair.num_rows; ++r) {
      const int64_t token = (pair.first_row + r) / GroupSize();
      const int64_t head = pair.kv_head * GroupSize() + (pair.first_row + r) % GroupSize();
      const float* from = step.At<const float>(query, sequence.first_token + token) + head * head_dim;
      std::transform(from, from + head_dim, queries + r * head_dim, [&](float q) { return q * query_scale; });
      limits[r] = std::clamp<int64_t>(sequence.position + token + 1 - pair.segment * kSegmentKeys, 0, kSegmentKeys);
    }
    SegmentRun run;
    run.queries = queries;
    run.limits = limits;
    run.num_rows = pair.num_rows;
    run.head_dim = head_dim;
    run.page_tokens = page_tokens;
    run.dtype = cache.dtype;
    run.pages = sequence.pages.data() + pair.segment * kSegmentKeys / page_tokens;
    run.first_offset = pair.segment * kSegmentKeys % page_tokens;
    run.key_bytes = KeyBytes(pair.kv_head);
    run.value_bytes = ValueBytes(pair.kv_head);
    run.scores = queries + kTileRows * head_dim;
    run.maximum = part;
    run.sum = part + kTileRows;
    run.mixed = part + 2 * kTileRows;
    HWY_DYNAMIC_DISPATCH(RunSegment)(run);
  }

  /// Adds one segment to the tile's result, and writes the output after the last.
  void Merge(const StepContext& step, const Pair& pair, const float* part) const {
    float* result = TileResult(step, pair.tile);
    for (int64_t r = 0; r < pair.num_rows; ++r) {
      float &maximum = result[r], &sum = result[kTileRows + r];
      float* mixed = result + 2 * kTileRows + r * head_dim;
      const float* part_mixed = part + 2 * kTileRows + r * head_dim;
      const float part_maximum = part[r], part_sum = part[kTileRows + r];
      if (pair.segment == 0) {
        maximum = part_maximum;
        sum = part_sum;
        std::copy(part_mixed, part_mixed + head_dim, mixed);
      } else if (part_sum != 0) {  // a row that sees nothing of this segment stays as it is; a NaN is no nothing
        const float top = std::max(maximum, part_maximum);
        const float old_scale = std::exp(maximum - top), part_scale = std::exp(part_maximum - top);
        maximum = top;
        sum = sum * old_scale + part_sum * part_scale;
        for (int64_t d = 0; d < head_dim; ++d) {
          mixed[d] = mixed[d] * old_scale + part_mixed[d] * part_scale;
        }
      }
      if (pair.segment == pair.num_segments - 1) {
        const int64_t token = (pair.first_row + r) / GroupSize();
        const int64_t head = pair.kv_head * GroupSize() + (pair.first_row + r) % GroupSize();
        float* to = step.At<float>(output, pair.sequence->first_token + token) + head * head_dim;
        std::transform(mixed, mixed + head_dim, to, [&](float x) { return x / sum * value_scale; });
      }
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
  attention->query_scale = scale * attention->key_scale;
  args.Check(std::isfinite(scale), "scale is {}, expected a finite number", scale);
  args.Check(std::isfinite(attention->query_scale), "scale {} times key_scale {} exceeds F32", scale,
             attention->key_scale);
  args.Check(arguments.page_tokens > 0 && arguments.page_tokens % kKeyBlock == 0,
             "pages of {} tokens, expected a multiple of {}", arguments.page_tokens, kKeyBlock);
  RETURN_IF_ERROR(args.Finish());
  attention->page_tokens = arguments.page_tokens;
  attention->num_threads = arguments.num_threads;
  return attention;
}

}  // namespace nemotron::runtime::cpu
#endif  // HWY_ONCE
