// How a block of the scan comes by the inputs of a chunk: which of its tokens are new, where those before lie in the
// slot, and what lies where in shared memory. It owns ScanShared; scan.cuh explains the chunks.

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

/// Where rows of y, F32, lie kYStride apart: in the output where that is F32, else in scratch memory, behind those of a
/// convolution.
template <class Config>
__device__ float* ScanOutputs(char* scratch, typename Config::Output* output, const StepTables& step) {
  if constexpr (Config::kInPlace) {
    return output;
  } else {
    return reinterpret_cast<float*>(scratch + int64{step.num_tokens} * Config::kConvolvedBytes);
  }
}

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
/// if this thread's columns are not there. Leaves token `skipped` as it is. kThreads take part.
template <int kVector, int kThreads, int kRecentStride, int kStride>
__device__ void FetchTile(float (&tile)[kTile], const float* recent, const float* rows, int from, const Chunk& chunk,
                          bool has_column, int skipped) {
  const int thread = threadIdx.x % kThreads, column = ColumnOf<kVector>(thread);
  const float* first_row = rows + int64{chunk.row} * kStride + column;
#pragma unroll
  for (int i = 0; i < kChunk; i += kThreads * kVector / kColumns) {
    if (const int token = i + thread * kVector / kColumns; token < kChunk && token != skipped) {
      const bool is_there = has_column && token >= from && token < chunk.end;
      const float* row = token < chunk.first ? recent + token * kRecentStride + column : first_row + token * kStride;
      CopyFloats<kVector>(&tile[TileIndex(token, column)], is_there ? row : rows, is_there);
    }
  }
}

/// Asks for the inputs of a chunk, but for x, b and c of token `skipped`. Each warp asks for b and c of its elements
/// and is alone to read them.
template <class Config>
__device__ void FetchChunk(ScanShared<Config>& shared, const ScanInputs<Config>& inputs, const Chunk& chunk, int index,
                           int skipped = -1) {
  using Shape = ScanShape<Config>;
  constexpr int kSize = Config::kStateSize;
  const int warp = threadIdx.x / 32, part = blockIdx.x % Shape::kParts;
  const bool has_element = Shape::HasElement(warp * kColumns + ColumnOf<Config::kStateVector>(threadIdx.x % 32));
  const bool has_channel = Shape::HasChannel(part * kColumns + ColumnOf<Config::kVector>(threadIdx.x));
  float(&tiles)[2][kTile] = shared.states_inputs[index % 2][warp];
  FetchTile<Config::kStateVector, 32, kSize, Config::kBStride>(tiles[0], inputs.recent_b, inputs.b, 0, chunk,
                                                               has_element, skipped);
  FetchTile<Config::kStateVector, 32, kSize, Config::kCStride>(tiles[1], inputs.c, inputs.c, chunk.first, chunk,
                                                               has_element, skipped);
  FetchTile<Config::kVector, Shape::kThreads, Config::kHeadDim, Config::kXStride>(
      shared.x[index % 3], inputs.recent_x, inputs.x, 0, chunk, has_channel, skipped);
  if (const int token = threadIdx.x; token < kChunk) {
    const float* from = token < chunk.first ? inputs.recent_time_steps + token
                                            : inputs.dt + int64{chunk.row + token} * Config::kDtStride;
    CopyFloats<1>(&shared.time_steps[index % 3][token], token < chunk.end ? from : inputs.dt, token < chunk.end);
  }
}
