// Draws a token for each row of logits. What is drawn is said in runtime/plan/sampling.h, which stands above; the host
// does the same in a loop (runtime/engine/sampler.cc), and finds the same token.
//
// A block has a row, and passes over it once for each thing that it has to know: the largest logit; the three digits of
// a cut, top-k's and top-p's; the sum of what is drawn from, and that again in a part of the row; the sum of all
// weights. Reads V * 4 bytes 2 times (greedy) to 9 times, from L2, where the output head has just written them. Bound
// by instructions, 5 to 42 a logit and pass, 150 in all with one cut: 154000 clocks of a multiprocessor for V = 131072.
// Sums are of integers, so their order is free.

using nemotron::runtime::Amount;
using nemotron::runtime::Cut;
using nemotron::runtime::Distance;
using nemotron::runtime::kImpossible;
using nemotron::runtime::kScale;
using nemotron::runtime::MultiplyHigh;
using nemotron::runtime::SampledRow;
using nemotron::runtime::SampleEntry;
using nemotron::runtime::TopPAmount;
using nemotron::runtime::Weight;

constexpr int kSampleThreads = 1024, kSampleWarps = kSampleThreads / 32;
constexpr int kSampleUnroll = 4;  // loads of a thread that are on their way: 64 KiB hide the latency of L2
constexpr int kDigitBits = 10;    // of a distance, which has three digits; a thread has one value of a digit
static_assert(kSampleThreads == 1 << kDigitBits && kImpossible <= 1 << 3 * kDigitBits, "");

__device__ inline float MinusInfinity() { return __uint_as_float(0xFF800000u); }

/// Ids from `first` to before `end`.
struct Run {
  int first, end;

  /// Part `warp` of kSampleWarps that follow each other, each of whole vectors of a warp.
  __device__ Run Part(int warp) const {
    const int size = (end - first + 128 * kSampleWarps - 1) / (128 * kSampleWarps) * 128;
    const int begin = min(first + warp * size, end);
    return {begin, min(begin + size, end)};
  }
};

struct Likeliest {
  float logit;
  int id;

  /// The larger of two logits, the lower id of equals.
  __device__ void Meet(Likeliest other) {
    if (other.logit > logit || (other.logit == logit && other.id < id)) {
      *this = other;
    }
  }
  __device__ void MeetLanes() {
    for (int distance = 16; distance > 0; distance /= 2) {
      Meet({__shfl_xor_sync(~0u, logit, distance), __shfl_xor_sync(~0u, id, distance)});
    }
  }
};

__device__ inline Amount WarpSum(Amount value) {
  for (int distance = 16; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(~0u, value, distance);
  }
  return value;
}

/// The sum of the values of this lane and all before.
template <class T>
__device__ T WarpScan(T value) {
  for (int distance = 1; distance < 32; distance *= 2) {
    const T before = __shfl_up_sync(~0u, value, distance);
    value += threadIdx.x % 32 >= distance ? before : 0;
  }
  return value;
}

/// A run of ids that a lane stands for: what is kept of it weighs `through - before`, where `before` is what the runs
/// of the lanes before weigh.
struct LaneRun {
  Amount before, through;
  int ties_before;  // of the row
};

template <class Config>
struct RowSampler {
  const float* __restrict__ row;  // [kColumns]
  float maximum, scale;
  Amount min_weight;

  struct Shared {
    unsigned low[kSampleThreads], high[kSampleThreads];  // halves of what each value of a digit adds up to
    Amount amounts[kSampleWarps];
    Likeliest likeliest[kSampleWarps];
    int ties[kSampleWarps];
    Amount wanted;
    int digit;
  };
  Shared& shared;

  static constexpr Run kRow = {0, Config::kColumns};

  /// 4 logits from `id` on, a multiple of 4; -infinity from `end` on, which is one too or the end of the row.
  __device__ Vector<float, 4> Load(int id, int end) const {
    if (id + 4 <= end) {
      return LoadVector<4>(row + id);
    }
    Vector<float, 4> logits;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      logits.values[j] = Config::kColumns % 4 != 0 && id + j < end ? row[id + j] : MinusInfinity();
    }
    return logits;
  }

  /// Calls `visit` with ids, ascending in a thread, and logits of this warp's part of `run`; also with ids past the
  /// end, whose logits are -infinity.
  template <class Visit>
  __device__ void ForEach(Run run, Visit visit) const {
    const Run part = run.Part(threadIdx.x / 32);
    for (int base = part.first; base < part.end; base += 128 * kSampleUnroll) {
      const int id = base + threadIdx.x % 32 * 4;
      Vector<float, 4> logits[kSampleUnroll];
#pragma unroll
      for (int u = 0; u < kSampleUnroll; ++u) {
        logits[u] = Load(id + 128 * u, part.end);
      }
#pragma unroll
      for (int u = 0; u < kSampleUnroll; ++u) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          visit(id + 128 * u + j, logits[u].values[j]);
        }
      }
    }
  }

  __device__ Likeliest FindLikeliest() {
    Likeliest best = {MinusInfinity(), 0};
    ForEach(kRow, [&](int id, float logit) {
      if (logit > best.logit) {
        best = {logit, id};
      }
    });
    best.MeetLanes();
    if (threadIdx.x % 32 == 0) {
      shared.likeliest[threadIdx.x / 32] = best;
    }
    __syncthreads();
    best = shared.likeliest[threadIdx.x % 32];
    best.MeetLanes();
    return best;
  }

  /// The sum of the values of this thread and all before; `total`: of all.
  __device__ Amount BlockScan(Amount value, Amount& total) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const Amount in_warp = WarpScan(value);
    __syncthreads();  // of the call before
    if (lane == 31) {
      shared.amounts[warp] = in_warp;
    }
    __syncthreads();
    const Amount warps = WarpScan(shared.amounts[lane]);
    total = __shfl_sync(~0u, warps, 31);
    const Amount before = __shfl_sync(~0u, warps, (warp + 31) % 32);
    return in_warp + (warp > 0 ? before : 0);
  }

  /// Of all weights at temperature 1.
  __device__ Amount SumAll() {
    Amount sum = 0, total;
    ForEach(kRow, [&](int, float logit) { sum += Weight(Distance(logit, maximum, kScale)); });
    BlockScan(sum, total);
    return total;
  }

  __device__ Amount DrawnWeight(int distance) const {
    const Amount weight = Weight(distance);
    return weight >= min_weight ? weight : 0;
  }

  /// What a cut keeps of the runs of lanes that follow each other: `nearer` weighs what lies before the cut's distance,
  /// `ties` lie at it, and `ties_before` of the row stand before the first lane's run.
  __device__ LaneRun KeptOfLanes(Cut cut, Amount nearer, int ties, int ties_before) const {
    LaneRun run;
    run.ties_before = ties_before + WarpScan(ties) - ties;
    const int kept = min(max(cut.num_ties - run.ties_before, 0), ties);
    const Amount amount = nearer + kept * DrawnWeight(cut.distance);
    run.through = WarpScan(amount);
    run.before = run.through - amount;
    return run;
  }

  /// The same of the parts of `run`, one a lane, in all warps.
  __device__ LaneRun KeptOfParts(Run run, Cut cut, int ties_before) {
    Amount nearer = 0;
    int ties = 0;
    ForEach(run, [&](int, float logit) {
      const int distance = Distance(logit, maximum, scale);
      const Amount weight = DrawnWeight(distance);
      nearer += distance < cut.distance ? weight : 0;
      ties += distance == cut.distance;
    });
    nearer = WarpSum(nearer);
    ties = __reduce_add_sync(~0u, ties);
    __syncthreads();
    if (threadIdx.x % 32 == 0) {
      shared.amounts[threadIdx.x / 32] = nearer;
      shared.ties[threadIdx.x / 32] = ties;
    }
    __syncthreads();
    return KeptOfLanes(cut, shared.amounts[threadIdx.x % 32], shared.ties[threadIdx.x % 32], ties_before);
  }

  /// Adds to what a value of a digit adds up to, in halves: an atomic addition of 64 bits in shared memory is a loop.
  __device__ void AddToDigit(int digit, Amount amount) {
    const unsigned low = static_cast<unsigned>(amount), before = atomicAdd(&shared.low[digit], low);
    if (const unsigned high = static_cast<unsigned>(amount >> 32) + (before + low < before); high > 0) {
      atomicAdd(&shared.high[digit], high);
    }
  }

  /// The first of what is kept: `limit` of them if `kCounts` (all if they are fewer), else those that reach the share
  /// `limit` of the sum of their weights. Finds the digits of the last one's distance, highest first.
  template <bool kCounts>
  __device__ Cut Select(Cut kept, Amount limit) {
    const auto amount_of = [](int distance) { return kCounts ? 1 : Weight(distance); };
    int found = 0;          // the digits so far
    Amount wanted = limit;  // of what has them
#pragma unroll 1
    for (int shift = 2 * kDigitBits; shift >= 0; shift -= kDigitBits) {
      shared.low[threadIdx.x] = 0;
      shared.high[threadIdx.x] = 0;
      __syncthreads();
      // Distances with the digits so far are `first` and those up to `size` behind; the cut may end there.
      const int first = found << kDigitBits << shift;
      const unsigned size = 1u << kDigitBits << shift, cut = kept.distance - first, nearer = min(size, cut);
      ForEach(kRow, [&](int, float logit) {
        const int distance = Distance(logit, maximum, scale);
        if (const unsigned behind = distance - first; behind < nearer) {
          AddToDigit(behind >> shift, amount_of(distance));
        }
      });
      if (threadIdx.x == 0 && cut < size) {
        AddToDigit(cut >> shift, kept.num_ties * amount_of(kept.distance));
      }
      __syncthreads();
      const Amount amount = Amount{shared.high[threadIdx.x]} << 32 | shared.low[threadIdx.x];
      Amount total;
      const Amount through = BlockScan(amount, total);
      if (kCounts && wanted > total) {
        return kept;
      }
      if (!kCounts && shift == 2 * kDigitBits) {
        wanted = TopPAmount(limit, total);
      }
      if (through >= wanted && through - amount < wanted) {
        shared.digit = threadIdx.x;
        shared.wanted = wanted - (through - amount);
      }
      __syncthreads();
      found = found << kDigitBits | shared.digit;
      wanted = shared.wanted;
    }
    const Amount each = amount_of(found);
    return {found, static_cast<int>((wanted + each - 1) / each)};
  }

  /// The token in whose weight `random` falls, a share of what the cut keeps: found in a part of the row, in a part of
  /// that, and there among 32 ids at a time, which all warps do alike.
  __device__ int Draw(Cut cut, Amount random) {
    Run run = kRow;
    LaneRun kept = KeptOfParts(run, cut, 0);
    Amount rest = MultiplyHigh(random, __shfl_sync(~0u, kept.through, 31));
    int ties_before = 0;
    const auto enter = [&] {
      const int part = __ffs(__ballot_sync(~0u, rest < kept.through)) - 1;
      rest -= __shfl_sync(~0u, kept.before, part);
      ties_before = __shfl_sync(~0u, kept.ties_before, part);
      run = run.Part(part);
    };
    enter();
    kept = KeptOfParts(run, cut, ties_before);
    enter();
    for (int id = run.first + threadIdx.x % 32;; id += 32) {
      const int distance = id < run.end ? Distance(row[id], maximum, scale) : kImpossible;
      const int is_tie = distance == cut.distance;
      kept = KeptOfLanes(cut, distance < cut.distance ? DrawnWeight(distance) : 0, is_tie, ties_before);
      if (const unsigned lanes = __ballot_sync(~0u, rest < kept.through); lanes != 0) {
        return __shfl_sync(~0u, id, __ffs(lanes) - 1);
      }
      rest -= __shfl_sync(~0u, kept.through, 31);
      ties_before = __shfl_sync(~0u, kept.ties_before + is_tie, 31);
    }
  }
};

/// Grid (R). `rows`: SampledRow [R].
template <class Config>
__device__ void Sample(const float* __restrict__ logits, int* rows, const StepTables& step) {
  __shared__ typename RowSampler<Config>::Shared shared;
  const SampleEntry entry = step.samples[blockIdx.x];
  const float* row = logits + int64{blockIdx.x} * Config::kStride;
  RowSampler<Config> sampler = {row, 0, entry.scale, entry.min_weight, shared};
  const Likeliest likeliest = sampler.FindLikeliest();
  sampler.maximum = likeliest.logit;
  int token = likeliest.id;
  if (entry.scale > 0 && likeliest.logit > MinusInfinity()) {
    Cut cut;
    if (entry.top_k > 0) {
      cut = sampler.template Select<true>(cut, entry.top_k);
    }
    if (entry.top_p > 0) {
      cut = sampler.template Select<false>(cut, entry.top_p);
    }
    token = sampler.Draw(cut, entry.random);
  }
  const Amount sum = sampler.SumAll();
  if (threadIdx.x == 0) {
    reinterpret_cast<SampledRow*>(rows)[blockIdx.x] = {sum, likeliest.logit, row[token], token};
  }
}
