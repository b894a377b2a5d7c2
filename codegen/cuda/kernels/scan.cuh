// The selective scan of Mamba-2, alone or with skip and gated norm, in chunks of 16 tokens (arXiv:2405.21060, section
// 6).
//
// Chunks begin at positions divisible by 16. With h the state at the start of a chunk, s_j the sum of a * dt up to its
// token j, and i over its tokens up to j,
//   y_j = exp(s_j) (c_j . h) + sum_i exp(s_j - s_i) dt_i (c_j . b_i) x_i,
// and behind its last token h becomes exp(s_15) h + sum_i exp(s_15 - s_i) dt_i b_i x_i. The slot keeps h and, if the
// last chunk is not full, the inputs of its tokens (docs/kernels.md).
//
// A block owns 32 channels of a head of a sequence and goes through the chunks of the step in order; warp w of it owns
// elements 32w to 32w + 31 of the state of these channels, in registers from the first chunk to the last. So the state
// is read once, and written once if a chunk ended. A step of decode is the same with one chunk, of which one token is
// new: the instructions are the same for each token however it comes, and so are the bits.
//
// Three products go to tensor cores: c . b [16, 16] and c . h [16, 32] over the state, each warp over its elements,
// sums added up in order of warps; and b x [32, 32] a warp over the tokens. Activations and state are F32: an operand
// is the sum of two BF16, and high * high + high * low + low * high is off by some 2^-16 of it. The weighted sum over
// the tokens of a chunk is left to F32 multiply-adds: it is some 3% of them, and a weight of 0 must not let a token
// that is no number reach an earlier one.
//
// A lane is to load whole vectors, so rows and columns of an instruction are channels and elements in another order
// (ScanState): lane 4 * g + t has channels 4g to 4g + 3 as rows g and g + 8 of two tiles, and elements 16k + 4t to
// 16k + 4t + 3 as columns 2t and 2t + 1 of two others. The sums of b x are then where c . h wants its left operand.
//
// Decode is bound by memory: the state, 32 * kStateSize elements a block, is asked for at once, 16 bytes a lane (8 of
// BF16), by a warp four elements of 32 channels. Prefill is bound by latency and by the issue of instructions: two
// barriers a chunk; inputs of the next two chunks are on their way meanwhile. Shared memory: 11.4 KiB a warp and 7.6
// KiB.

constexpr int kChunk = 16;    // tokens, kScanChunk of runtime/plan/layout.h
constexpr int kColumns = 32;  // channels of a block, elements of the state of a warp
constexpr int kTile = kChunk * kColumns;

/// A tile of 16 tokens by 32 floats in shared memory. Runs of 4 are permuted within a row so that a quarter of a warp
/// that reads two neighbouring rows by 4 runs, four even (or odd) rows by 2, or one row, meets each bank once.
__device__ inline int TileIndex(int token, int column) {
  return token * kColumns + (((column / 4) ^ (token & 6) ^ (token & 1) << 2) * 4 + column % 4);
}

__device__ inline float4 LoadFour(const float (&tile)[kTile], int token, int column) {
  return *reinterpret_cast<const float4*>(&tile[TileIndex(token, column)]);
}

/// kElements floats into shared memory, asynchronously; zeros if they are not there.
template <int kElements>
__device__ void CopyFloats(float* to, const float* from, bool is_there) {
  if constexpr (kElements == 4) {
    CopyAsync(to, from, is_there ? 16 : 0);
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(SharedAddress(to)), "l"(from),
                 "n"(4 * kElements), "r"(is_there ? 4 * kElements : 0)
                 : "memory");
  }
}

/// Stores four neighbours, as far as `num_there` of them are there.
template <int kVector>
__device__ void StoreFour(float* to, const float4& four, int num_there) {
  if constexpr (kVector == 4) {
    __stwb(reinterpret_cast<float4*>(to), four);  // of an assignment nvcc makes four stores here
  } else {
    const float values[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (i < num_there) {
        to[i] = values[i];
      }
    }
  }
}

__device__ inline float4 MultiplyAdd(float factor, const float4& a, const float4& b) {
  return {__fmaf_rn(factor, a.x, b.x), __fmaf_rn(factor, a.y, b.y), __fmaf_rn(factor, a.z, b.z),
          __fmaf_rn(factor, a.w, b.w)};
}

/// Two floats as the sum of two BF16 each.
struct SplitPair {
  SplitPair() = default;
  __device__ SplitPair(float first, float second) : high(PackBF16(first, second)) {
    low = PackBF16(first - __uint_as_float(high << 16), second - __uint_as_float(high & 0xFFFF0000u));
  }
  unsigned high, low;
};

/// sum += a * b, without low * low. Operands of m16n8k16 as lanes have them.
__device__ inline void MultiplySplit(float (&sum)[4], const SplitPair (&a)[4], const SplitPair (&b)[2]) {
  const uint4 high = {a[0].high, a[1].high, a[2].high, a[3].high}, low = {a[0].low, a[1].low, a[2].low, a[3].low};
  const unsigned b_high[2] = {b[0].high, b[1].high}, b_low[2] = {b[0].low, b[1].low};
  MultiplyBF16(sum, high, b_high);
  MultiplyBF16(sum, high, b_low);
  MultiplyBF16(sum, low, b_high);
}

/// softplus(raw + bias) within [minimum, maximum]; NaN stays.
__device__ inline float TimeStep(float raw, float bias, float minimum, float maximum) {
  const float v = raw + bias, step = v > 20.0f ? v : log1pf(expf(v));
  const float raised = step < minimum ? minimum : step;
  return raised > maximum ? maximum : raised;
}

template <class Config>
struct ScanShape {
  static constexpr int kWarps = (Config::kStateSize + kColumns - 1) / kColumns;
  static constexpr int kThreads = 32 * kWarps;
  static constexpr int kParts = (Config::kHeadDim + kColumns - 1) / kColumns;  // blocks of a head
  static constexpr int kHeadsOfGroup = Config::kHeads / Config::kGroups;

  /// Whether an element of a warp, a channel of a block is there: no question where sizes are multiples of 32.
  static __device__ bool HasElement(int element) {
    return Config::kStateSize % kColumns == 0 || element < Config::kStateSize;
  }
  static __device__ bool HasChannel(int channel) {
    return Config::kHeadDim % kColumns == 0 || channel < Config::kHeadDim;
  }
};

/// Where the inputs of a chunk that is not full lie in a slot: x [H, 16, P], b [G, 16, N], time steps [H, 16].
template <class Config>
struct Recent {
  __device__ float* X(int head, int token) const { return base + (head * kChunk + token) * Config::kHeadDim; }
  __device__ float* B(int group, int token) const {
    return base + kChunk * Config::kHeads * Config::kHeadDim + (group * kChunk + token) * Config::kStateSize;
  }
  __device__ float* TimeStep(int head, int token) const {
    return base + kChunk * (Config::kHeads * Config::kHeadDim + Config::kGroups * Config::kStateSize) + head * kChunk +
           token;
  }
  float* base;
};

/// Tokens [first, end) of a chunk are new, `row` is that of token 0 in the step (before `first`, it may be of another).
struct Chunk {
  __device__ Chunk(const SequenceEntry& sequence, int index) {
    const int begin = static_cast<int>(sequence.position % kChunk), start = index * kChunk - begin;
    first = index == 0 ? begin : 0;
    end = min(kChunk, sequence.num_tokens - start);
    row = sequence.first_token + start;
  }
  __device__ bool IsNew(int token) const { return token >= first && token < end; }
  int first, end, row;
};

/// The chunks that a step of a sequence touches.
__device__ inline int NumChunks(const SequenceEntry& sequence) {
  return (static_cast<int>(sequence.position % kChunk) + sequence.num_tokens + kChunk - 1) / kChunk;
}

/// Whether other blocks read, of the chunk before, what a step of a sequence leaves to keep. If it stays in its chunk,
/// they read the tokens before its own, and each block keeps what it has to; else ScanKeep does.
__device__ inline bool StaysInChunk(const SequenceEntry& sequence) { return NumChunks(sequence) == 1; }

template <class Config>
struct ScanShared {
  static constexpr int kWarps = ScanShape<Config>::kWarps;
  float states_inputs[2][kWarps][2][kTile];  // of two chunks, by warp: b, c
  float x[3][kTile];                         // of three chunks
  float time_steps[3][kChunk];               // of three chunks; of new tokens raw
  float partial[kWarps][kTile];              // c . h of a warp
  // c_j . b_i of a warp: i / 8, j, i % 8. The 16 floats keep the halves of a row in different banks.
  float products[kWarps][2][kChunk * 8 + 16];
  float factors[kChunk][kChunk + 4];  // exp(s_j - s_i) dt_i; behind them exp(s_j)
  float weights[kChunk][kChunk];      // of token i in the output of token j
  float decays[kChunk];               // of the state in the output of token j
};

/// A warp's part of the state, [32 elements][32 channels], as operand and sum of tensor cores: tiles of 16 channels
/// (rows) by 8 elements (columns). Element 16k + 2c + q is column c of tile [k][q], channel 4g + 2m + r row g + 8r of
/// tile [m].
template <class Config>
struct ScanState {
  using State = typename Config::State;
  using Shape = ScanShape<Config>;

  /// From the head's state in the slot: elements from first_element on, channels from first_channel on.
  __device__ void Load(const State* head, int first_element, int first_channel) {
    first_element += threadIdx.x % 4 * 4;
    first_channel += threadIdx.x % 32 / 4 * 4;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int element = first_element + i / 4 * 16 + i % 4;
#pragma unroll
      for (int v = 0; v < 4; v += Config::kVector) {
        Vector<State, Config::kVector> loaded = {};
        if (Shape::HasElement(element) && Shape::HasChannel(first_channel + v)) {
          loaded = LoadVector<Config::kVector>(head + element * Config::kHeadDim + first_channel + v);
        }
#pragma unroll
        for (int j = 0; j < Config::kVector; ++j) {
          At(i, v + j) = ToFloat(loaded.values[j]);
        }
      }
    }
  }

  __device__ void Store(State* head, int first_element, int first_channel) {
    first_element += threadIdx.x % 4 * 4;
    first_channel += threadIdx.x % 32 / 4 * 4;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int element = first_element + i / 4 * 16 + i % 4;
#pragma unroll
      for (int v = 0; v < 4; v += Config::kVector) {
        Vector<State, Config::kVector> stored;
#pragma unroll
        for (int j = 0; j < Config::kVector; ++j) {
          stored.values[j] = FromFloat<State>(At(i, v + j));
        }
        if (Shape::HasElement(element) && Shape::HasChannel(first_channel + v)) {
          StoreVector<Config::kVector>(head + element * Config::kHeadDim + first_channel + v, stored);
        }
      }
    }
  }

  /// Element i / 4 * 16 + 4t + i % 4 of channel 4g + channel.
  __device__ float& At(int i, int channel) { return values[i / 4][i % 2][channel / 2][channel % 2 * 2 + i % 4 / 2]; }

  float values[2][2][2][4];  // [k][q][m][register]
};

/// Where a block finds its channels and a warp its elements in the rows of the step, and in the slot those of the last
/// chunk.
template <class Config>
struct ScanInputs {
  const float *x, *b, *c, *dt;
  const float *recent_x, *recent_b, *recent_time_steps;
};

/// The first column of a tile for a thread of those that fetch it, kVector columns each.
template <int kVector>
__device__ int ColumnOf(int thread) {
  return thread * kVector % kColumns;
}

/// Asks for a tile: tokens [from, first) of `recent`, then those of `rows` up to `end`; zeros elsewhere, and everywhere
/// if this thread's columns are not there. kThreads take part.
template <int kVector, int kThreads, int kRecentStride, int kStride>
__device__ void FetchTile(float (&tile)[kTile], const float* recent, const float* rows, int from, const Chunk& chunk,
                          bool has_column) {
  const int thread = threadIdx.x % kThreads, column = ColumnOf<kVector>(thread);
  const float* first_row = rows + int64{chunk.row} * kStride + column;
#pragma unroll
  for (int i = 0; i < kChunk; i += kThreads * kVector / kColumns) {
    if (const int token = i + thread * kVector / kColumns; token < kChunk) {
      const bool is_there = has_column && token >= from && token < chunk.end;
      const float* row = token < chunk.first ? recent + token * kRecentStride + column : first_row + token * kStride;
      CopyFloats<kVector>(&tile[TileIndex(token, column)], is_there ? row : rows, is_there);
    }
  }
}

/// Asks for the inputs of a chunk. Each warp asks for b and c of its elements and is alone to read them.
template <class Config>
__device__ void FetchChunk(ScanShared<Config>& shared, const ScanInputs<Config>& inputs, const Chunk& chunk,
                           int index) {
  using Shape = ScanShape<Config>;
  constexpr int kSize = Config::kStateSize;
  const int warp = threadIdx.x / 32, part = blockIdx.x % Shape::kParts;
  const bool has_element = Shape::HasElement(warp * kColumns + ColumnOf<Config::kStateVector>(threadIdx.x % 32));
  const bool has_channel = Shape::HasChannel(part * kColumns + ColumnOf<Config::kVector>(threadIdx.x));
  float(&tiles)[2][kTile] = shared.states_inputs[index % 2][warp];
  FetchTile<Config::kStateVector, 32, kSize, Config::kBStride>(tiles[0], inputs.recent_b, inputs.b, 0, chunk,
                                                               has_element);
  FetchTile<Config::kStateVector, 32, kSize, Config::kCStride>(tiles[1], inputs.c, inputs.c, chunk.first, chunk,
                                                               has_element);
  FetchTile<Config::kVector, Shape::kThreads, Config::kHeadDim, Config::kXStride>(shared.x[index % 3], inputs.recent_x,
                                                                                  inputs.x, 0, chunk, has_channel);
  if (const int token = threadIdx.x; token < kChunk) {
    const float* from = token < chunk.first ? inputs.recent_time_steps + token
                                            : inputs.dt + int64{chunk.row + token} * Config::kDtStride;
    CopyFloats<1>(&shared.time_steps[index % 3][token], token < chunk.end ? from : inputs.dt, token < chunk.end);
  }
}

/// The factors of new tokens j: exp(s_j - s_i) dt_i of tokens i up to j, exp(s_j) of the state. A logarithm of decay is
/// summed from one token to the other, ascending, never as a difference of two sums, which would lose digits. Lane i of
/// each warp sums for token i, lane 16 from the start of the chunk; the warps share the tokens j.
template <class Config>
__device__ void ComputeFactors(ScanShared<Config>& shared, const Chunk& chunk, float time_step, float a) {
  constexpr int kWarps = ScanShape<Config>::kWarps;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const float decay = __fmul_rn(a, time_step);
  const int after = lane == kChunk ? -1 : lane;
  float since = 0;
  for (int first = 0; first < chunk.end; first += 4) {
#pragma unroll
    for (int j = first; j < first + 4; ++j) {
      const float added = __shfl_sync(~0u, decay, j);
      since = j > after ? __fadd_rn(since, added) : since;
      if (j % kWarps == warp && chunk.IsNew(j) && after <= j) {
        shared.factors[j][lane] = __fmul_rn(expf(since), lane == kChunk ? 1.0f : time_step);
      }
    }
  }
}

/// c . b and c . h over the elements of this warp: sums of h are [m][n] for tokens 8n to 8n + 7.
template <class Config>
__device__ void MultiplyStates(ScanShared<Config>& shared, const float (&inputs)[2][kTile],
                               const ScanState<Config>& state, float (&sums)[2][2][4]) {
  const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  float products[2][4] = {};
#pragma unroll
  for (int k = 0; k < 2; ++k) {
    SplitPair b[2][2], c[2][2];  // [tokens g or g + 8][q]: elements 16k + 4t + q and + 2
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      const float4 b_four = LoadFour(inputs[0], n * 8 + g, k * 16 + t * 4);
      const float4 c_four = LoadFour(inputs[1], n * 8 + g, k * 16 + t * 4);
      b[n][0] = SplitPair(b_four.x, b_four.z);
      b[n][1] = SplitPair(b_four.y, b_four.w);
      c[n][0] = SplitPair(c_four.x, c_four.z);
      c[n][1] = SplitPair(c_four.y, c_four.w);
    }
    const SplitPair c_rows[4] = {c[0][0], c[1][0], c[0][1], c[1][1]};
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      MultiplySplit(products[n], c_rows, b[n]);
    }
#pragma unroll
    for (int m = 0; m < 2; ++m) {
      const float(&first)[4] = state.values[k][0][m], (&second)[4] = state.values[k][1][m];
      const SplitPair rows[4] = {
          {first[0], first[1]}, {first[2], first[3]}, {second[0], second[1]}, {second[2], second[3]}};
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        MultiplySplit(sums[m][n], rows, c[n]);
      }
    }
  }
#pragma unroll
  for (int n = 0; n < 2; ++n) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      *reinterpret_cast<float2*>(&shared.products[warp][n][(g + half * 8) * 8 + t * 2]) = {products[n][half * 2],
                                                                                           products[n][half * 2 + 1]};
    }
  }
}

/// The sums of c . h of this warp, for StoreOutputs.
template <class Config>
__device__ void StorePartial(ScanShared<Config>& shared, const float (&sums)[2][2][4]) {
  const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
  for (int n = 0; n < 2; ++n) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float4 four = {sums[0][n][i], sums[0][n][i + 2], sums[1][n][i], sums[1][n][i + 2]};
      *reinterpret_cast<float4*>(&shared.partial[warp][TileIndex(n * 8 + 2 * t + i, 4 * g)]) = four;
    }
  }
}

/// The weights of all tokens in the outputs of the new ones, 0 of those behind; c . b added up over warps.
template <class Config>
__device__ void WeighTokens(ScanShared<Config>& shared, const Chunk& chunk) {
  using Shape = ScanShape<Config>;
  for (int i = threadIdx.x; i < kChunk * kChunk; i += Shape::kThreads) {
    const int to = i / kChunk, from = i % kChunk;
    if (!chunk.IsNew(to)) {
      continue;
    }
    float product = 0;
#pragma unroll
    for (int warp = 0; warp < Shape::kWarps; ++warp) {
      product = __fadd_rn(product, shared.products[warp][from / 8][to * 8 + from % 8]);
    }
    shared.weights[to][from] = from <= to ? __fmul_rn(shared.factors[to][from], product) : 0.0f;
    if (from == 0) {
      shared.decays[to] = shared.factors[to][kChunk];
    }
  }
}

/// Keeps b of the new tokens of a chunk, elements of this warp. Blocks of other heads of the group read b of these
/// tokens from the step, and from the slot only rows of the tokens before.
template <class Config>
__device__ void KeepB(const float (&b)[kTile], const Chunk& chunk, const Recent<Config>& recent, int group) {
  const int lane = threadIdx.x % 32, element = static_cast<int>(threadIdx.x);
  if (ScanShape<Config>::HasElement(element)) {
    for (int token = chunk.first; token < chunk.end; ++token) {
      recent.B(group, token)[element] = b[TileIndex(token, lane)];
    }
  }
}

/// What a full chunk does to the state.
template <class Config>
__device__ void UpdateState(const ScanShared<Config>& shared, const float (&b)[kTile], const float (&x)[kTile],
                            ScanState<Config>& state) {
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  const float(&factors)[kChunk + 4] = shared.factors[kChunk - 1];
  float channels[4][4];  // of tokens 2t, 2t + 1, 2t + 8, 2t + 9
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int token = 2 * t + i % 2 + i / 2 * 8;
    const float4 four = LoadFour(x, token, 4 * g);
    channels[i][0] = __fmul_rn(factors[token], four.x);
    channels[i][1] = __fmul_rn(factors[token], four.y);
    channels[i][2] = __fmul_rn(factors[token], four.z);
    channels[i][3] = __fmul_rn(factors[token], four.w);
  }
  SplitPair rows[2][4];
#pragma unroll
  for (int m = 0; m < 2; ++m) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int channel = 2 * m + i % 2, token = i / 2 * 2;
      rows[m][i] = SplitPair(channels[token][channel], channels[token + 1][channel]);
    }
  }
  const float decay = factors[kChunk];
#pragma unroll
  for (int k = 0; k < 2; ++k) {
    float2 elements[4];  // 16k + 2g and + 1, of these tokens
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      elements[i] = *reinterpret_cast<const float2*>(&b[TileIndex(2 * t + i % 2 + i / 2 * 8, k * 16 + 2 * g)]);
    }
#pragma unroll
    for (int q = 0; q < 2; ++q) {
      SplitPair columns[2];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const float2 first = elements[2 * i], second = elements[2 * i + 1];
        columns[i] = q == 0 ? SplitPair(first.x, second.x) : SplitPair(first.y, second.y);
      }
#pragma unroll
      for (int m = 0; m < 2; ++m) {
        float(&sum)[4] = state.values[k][q][m];
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          sum[j] *= decay;
        }
        MultiplySplit(sum, rows[m], columns);
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          sum[j] = ToFloat(FromFloat<typename Config::State>(sum[j]));  // the state is rounded where a chunk ends
        }
      }
    }
  }
}

/// Sums over warps and tokens: outputs of the new tokens of a chunk, with d * x if kSkip. Also keeps x of a chunk that
/// is not full. A thread has 4 channels of a token.
template <class Config>
__device__ void StoreOutputs(const ScanShared<Config>& shared, const Chunk& chunk, const float (&x)[kTile], float d,
                             const Recent<Config>& recent, float* y) {
  using Shape = ScanShape<Config>;
  const int head = blockIdx.x / Shape::kParts, part = blockIdx.x % Shape::kParts;
  for (int i = threadIdx.x; i < kTile / 4; i += Shape::kThreads) {
    const int token = i / 8, column = i % 8 * 4, channel = part * kColumns + column;
    if (!chunk.IsNew(token) || channel >= Config::kHeadDim) {
      continue;
    }
    float4 sum = {};
#pragma unroll
    for (int warp = 0; warp < Shape::kWarps; ++warp) {
      sum = MultiplyAdd(1.0f, LoadFour(shared.partial[warp], token, column), sum);
    }
    const float decay = shared.decays[token];
    sum = {decay * sum.x, decay * sum.y, decay * sum.z, decay * sum.w};
    for (int first = 0; first <= token; first += 4) {  // the tokens of a warp have as many turns
      const float4 weights = *reinterpret_cast<const float4*>(&shared.weights[token][first]);
      const float of_token[4] = {weights.x, weights.y, weights.z, weights.w};
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const float4 longer = MultiplyAdd(of_token[j], LoadFour(x, first + j, column), sum);
        sum = first + j <= token ? longer : sum;  // not even a weight of 0 may let a later token in
      }
    }
    const float4 own = LoadFour(x, token, column);
    if constexpr (Config::kSkip) {
      sum = MultiplyAdd(d, own, sum);
    }
    const int num_there = Config::kHeadDim - channel;
    StoreFour<Config::kVector>(y + int64{chunk.row + token} * Config::kYStride + head * Config::kHeadDim + channel, sum,
                               num_there);
    if (chunk.end < kChunk) {
      StoreFour<Config::kVector>(recent.X(head, token) + channel, own, num_there);
    }
  }
}

/// Grid (H * ceil(P / 32), S). `y` are rows of F32, kYStride apart; `d` is there if kSkip.
template <class Config>
__device__ void Scan(const float* x, const float* b, const float* c, const float* dt, void* y, const float* a_log,
                     const float* dt_bias, const float* d, int64 state_offset, int64 recent_offset, float dt_min,
                     float dt_max, const StepTables& step) {
  using Shape = ScanShape<Config>;
  extern __shared__ __align__(16) char bytes[];
  static_assert(sizeof(ScanShared<Config>) == Config::kSharedBytes, "CudaScan.cpp counts otherwise");
  auto& shared = *reinterpret_cast<ScanShared<Config>*>(bytes);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int head = blockIdx.x / Shape::kParts, part = blockIdx.x % Shape::kParts, group = head / Shape::kHeadsOfGroup;
  const SequenceEntry sequence = step.sequences[blockIdx.y];
  const Recent<Config> recent = {SlotPointer<float>(sequence, recent_offset)};
  auto* kept_state =
      SlotPointer<typename Config::State>(sequence, state_offset) + int64{head} * Config::kStateSize * Config::kHeadDim;
  const int num_chunks = NumChunks(sequence);
  const bool keeps = StaysInChunk(sequence) && part == 0;

  const ScanInputs<Config> from = {x + head * Config::kHeadDim + part * kColumns,
                                   b + group * Config::kStateSize + warp * kColumns,
                                   c + group * Config::kStateSize + warp * kColumns,
                                   dt + head,
                                   recent.X(head, 0) + part * kColumns,
                                   recent.B(group, 0) + warp * kColumns,
                                   recent.TimeStep(head, 0)};

  ScanState<Config> state;
  state.Load(kept_state, warp * kColumns, part * kColumns);
#pragma unroll 1
  for (int index = 0; index < 2; ++index) {
    if (index < num_chunks) {
      FetchChunk(shared, from, Chunk(sequence, index), index);
    }
    CommitCopies();
  }
  const float a = -expf(a_log[head]), bias = dt_bias[head];
  float skip = 0;
  if constexpr (Config::kSkip) {
    skip = d[head];
  }
  WaitForCopies<1>();
  __syncthreads();  // x and time steps of the first chunk

  for (int index = 0; index < num_chunks; ++index) {
    const Chunk chunk(sequence, index);
    float(&inputs)[2][kTile] = shared.states_inputs[index % 2][warp];
    const float(&channels)[kTile] = shared.x[index % 3];

    float time_step = 0;
    if (lane < chunk.end) {
      const float raw = shared.time_steps[index % 3][lane];
      time_step = lane < chunk.first ? raw : TimeStep(raw, bias, dt_min, dt_max);
    }
    if (keeps && warp == 0 && chunk.IsNew(lane)) {
      *recent.TimeStep(head, lane) = time_step;
    }
    ComputeFactors(shared, chunk, time_step, a);
    float sums[2][2][4] = {};
    MultiplyStates(shared, inputs, state, sums);
    __syncthreads();  // products and factors are there; outputs of the chunk before are stored

    StorePartial(shared, sums);
    WeighTokens(shared, chunk);
    if (chunk.end == kChunk) {
      UpdateState(shared, inputs[0], channels, state);
    } else if (keeps && head % Shape::kHeadsOfGroup == 0) {
      KeepB(inputs[0], chunk, recent, group);
    }
    WaitForCopies<0>();
    __syncwarp();  // all lanes have read b
    if (index + 2 < num_chunks) {
      FetchChunk(shared, from, Chunk(sequence, index + 2), index + 2);
    }
    CommitCopies();
    __syncthreads();  // weights and partial sums, x and time steps of the next chunk

    StoreOutputs(shared, chunk, channels, skip, recent, static_cast<float*>(y));
  }
  if (static_cast<int>(sequence.position % kChunk) + sequence.num_tokens >= kChunk) {
    state.Store(kept_state, warp * kColumns, part * kColumns);
  }
}

/// Keeps b and time steps of the last chunk of a step that crosses from chunk to chunk: other blocks of Scan read those
/// of the chunk before. Grid (G, S).
template <class Config>
__device__ void ScanKeep(const float* b, const float* dt, const float* dt_bias, int64 recent_offset, float dt_min,
                         float dt_max, const StepTables& step) {
  constexpr int kHeadsOfGroup = ScanShape<Config>::kHeadsOfGroup;
  const SequenceEntry sequence = step.sequences[blockIdx.y];
  const Chunk last(sequence, NumChunks(sequence) - 1);
  if (StaysInChunk(sequence) || last.end == kChunk) {
    return;
  }
  const Recent<Config> recent = {SlotPointer<float>(sequence, recent_offset)};
  const int group = blockIdx.x;
  for (int i = threadIdx.x * Config::kStateVector; i < last.end * Config::kStateSize;
       i += Config::kKeepThreads * Config::kStateVector) {
    const int token = i / Config::kStateSize, element = i % Config::kStateSize;
    const float* row = b + int64{last.row + token} * Config::kBStride + group * Config::kStateSize;
    StoreVector(recent.B(group, token) + element, LoadVector<Config::kStateVector>(row + element));
  }
  for (int i = threadIdx.x; i < last.end * kHeadsOfGroup; i += Config::kKeepThreads) {
    const int token = i / kHeadsOfGroup, head = group * kHeadsOfGroup + i % kHeadsOfGroup;
    const float raw = dt[int64{last.row + token} * Config::kDtStride + head];
    *recent.TimeStep(head, token) = TimeStep(raw, dt_bias[head], dt_min, dt_max);
  }
}

/// One group of the channels of a row, as the norm has it.
template <class Config>
struct NormShape {
  static constexpr int kColumns = Config::kHeads / Config::kGroups * Config::kHeadDim;
  static constexpr int kVector = Config::kNormVector, kThreads = Config::kNormThreads;
};

/// The gated RMSNorm of one group of y (row.cuh): read once, bound by memory. Grid (T, G).
template <class Config>
__device__ void GatedNorm(const void* y, const float* gate, typename Config::Output* output, const float* weight) {
  using Shape = NormShape<Config>;
  __shared__ float scratch[Shape::kThreads / 32];
  const int64 token = blockIdx.x;
  const int first = blockIdx.y * Shape::kColumns;
  Row<Shape> row;
  row.Load(static_cast<const float*>(y) + token * Config::kYStride + first);
  NormalizeGated(row, gate + token * Config::kGateStride + first, weight + first, Config::kEps, scratch);
  row.Store(output + token * Config::kOutputStride + first);
}

/// The same where y lies in the output.
template <class Config>
__device__ void GatedNormInPlace(float* output, const float* gate, const float* weight) {
  GatedNorm<Config>(output, gate, output, weight);
}
