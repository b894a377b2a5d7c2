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
// barriers a chunk; inputs of the next two chunks are on their way meanwhile. Shared memory: 11.1 KiB a warp and 8.5
// KiB.
//
// Here are the kernels and what they keep; scan_chunk.cuh has the inputs of a chunk, scan_state.cuh the state and the
// products with it, scan_conv.cuh the convolution in front, scan_norm.cuh the norm behind.

#include "codegen/cuda/kernels/scan_conv.cuh"
#include "codegen/cuda/kernels/scan_norm.cuh"
#include "codegen/cuda/kernels/scan_state.cuh"

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

/// softplus(raw + bias) within [minimum, maximum]; NaN stays.
__device__ inline float TimeStep(float raw, float bias, float minimum, float maximum) {
  const float v = raw + bias, step = v > 20.0f ? v : log1pf(expf(v));
  const float raised = step < minimum ? minimum : step;
  return raised > maximum ? maximum : raised;
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

/// Grid (H * ceil(P / 32), S). `d` is there if kSkip; `gate`, `weight` and `counters`, [T, G], if kNormalizes. If
/// kConvolves, x, b and c are made of `conv_input` (scan_conv.cuh).
template <class Config>
__device__ void Scan(const float* x, const float* b, const float* c, const float* dt, const float* conv_input,
                     const float* conv_weight, const float* conv_bias, int64 conv_offset, char* scratch,
                     typename Config::Output* output, const float* a_log, const float* dt_bias, const float* d,
                     int64 state_offset, int64 recent_offset, float dt_min, float dt_max, const float* gate,
                     const float* weight, int* counters, float* maximum, const StepTables& step) {
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
  float* const y = ScanOutputs<Config>(scratch, output, step);
  // Each sequence brings at least one token, so that these are steps of decode.
  const bool is_decode = step.num_tokens == step.num_sequences;
  const TokenConvolution conv = {conv_input, sequence, conv_offset, conv_weight, conv_bias};
  if constexpr (Config::kConvolves) {
    const auto* convolved = reinterpret_cast<const float*>(scratch);
    x = convolved + Config::kXColumn;
    b = convolved + Config::kBColumn;
    c = convolved + Config::kCColumn;
  }

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
      const Chunk chunk(sequence, index);
      FetchChunk(shared, from, chunk, index, Config::kConvolves && is_decode ? chunk.first : -1);
    }
    CommitCopies();
  }
  if constexpr (Config::kConvolves) {
    if (is_decode) {
      ConvolveNewToken(shared, conv, Chunk(sequence, 0), head, part, group);
    }
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

    StoreOutputs(shared, chunk, channels, skip, recent, y);
  }
  bool normalizes = false;
  if constexpr (Config::kNormalizes) {
    // In other steps a launch of the norm follows.
    normalizes = is_decode && IsLastOfGroup<Config>(&counters[sequence.first_token * Config::kGroups + group]);
  }
  if (static_cast<int>(sequence.position % kChunk) + sequence.num_tokens >= kChunk) {
    state.Store(kept_state, warp * kColumns, part * kColumns);
  }
  if constexpr (Config::kNormalizes) {
    if (normalizes) {
      if constexpr (Config::kConvolves) {
        MoveGroupOn<Config>(conv, group);
      }
      NormalizeGroup<Config>(y, gate, output, maximum, weight, sequence.first_token, group);
    }
  }
}

/// Keeps b and time steps of the last chunk of a step that crosses from chunk to chunk: other blocks of Scan read those
/// of the chunk before. Grid (G, S).
template <class Config>
__device__ void ScanKeep(const float* b, const float* dt, const float* dt_bias, int64 recent_offset, float dt_min,
                         float dt_max, const char* scratch, const StepTables& step) {
  if constexpr (Config::kConvolves) {
    b = reinterpret_cast<const float*>(scratch) + Config::kBColumn;
  }
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
