// The convolution in front of a scan, where one dispatch does both. In steps that bring a sequence one token each, a
// block of the scan convolves what it reads of that token, channels of x and elements of b and c, from the window in
// the slot; blocks of a group do so for the same b and c. The window of x is moved on by the block that owns the
// channels, that of b and c by the last block of the group, when all have read it. In other steps the launches of
// conv.cuh come first, with the same multiply-adds, and leave their outputs in scratch memory.
//
// Config::Conv is the Config of conv.cuh; kXColumn, kBColumn and kCColumn are where x, b and c begin in its channels.

#include "codegen/cuda/kernels/conv.cuh"
#include "codegen/cuda/kernels/scan_chunk.cuh"

/// ConvolveRun into scratch memory, [T, kOutputStride]. Grid as there.
template <class Conv>
__device__ void ConvolveRunToScratch(const float* input, char* scratch, const float* weight, const float* bias,
                                     int64 state_offset, const StepTables& step) {
  ConvolveRun<Conv>(input, reinterpret_cast<float*>(scratch), weight, bias, state_offset, step);
}

/// What a block needs to convolve the token of a sequence.
struct TokenConvolution {
  const float* input;  // of the step
  SequenceEntry sequence;
  int64 state_offset;
  const float *weight, *bias;
};

/// One channel of it (conv.cuh).
template <class Conv>
class ConvolvedChannel {
  struct OneChannel : Conv {
    static constexpr int kVector = 1;
  };

 public:
  __device__ ConvolvedChannel(const TokenConvolution& conv, int channel)
      : inputs_(conv.input, conv.sequence, conv.state_offset, channel), filter_(conv.weight, conv.bias, channel) {
    inputs_.LoadToken(window_);
  }
  __device__ float Value() const { return filter_(window_).values[0]; }
  /// Moves the window in the slot on.
  __device__ void MoveOn() const { inputs_.KeepToken(window_); }

 private:
  Inputs<OneChannel> inputs_;
  Filter<OneChannel> filter_;
  Columns<OneChannel> window_[Conv::kWindow];
};

/// Puts x, b and c of the new token into its row of the tiles, a lane a column.
template <class Config>
__device__ void ConvolveNewToken(ScanShared<Config>& shared, const TokenConvolution& conv, const Chunk& chunk, int head,
                                 int part, int group) {
  using Shape = ScanShape<Config>;
  using Channel = ConvolvedChannel<typename Config::Conv>;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, to = TileIndex(chunk.first, lane);
  const int element = warp * kColumns + lane, of_group = group * Config::kStateSize + element;
  float(&tiles)[2][kTile] = shared.states_inputs[0][warp];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int channel = (i == 0 ? Config::kBColumn : Config::kCColumn) + of_group;
    tiles[i][to] = Shape::HasElement(element) ? Channel(conv, channel).Value() : 0.0f;
  }
  if (warp == 0) {
    float x = 0;
    if (Shape::HasChannel(part * kColumns + lane)) {
      const int channel = Config::kXColumn + head * Config::kHeadDim + part * kColumns + lane;
      const Channel convolved(conv, channel);
      x = convolved.Value();
      convolved.MoveOn();
    }
    shared.x[0][to] = x;
  }
}

/// Moves the window of b and c of a group on. By its last block alone.
template <class Config>
__device__ void MoveGroupOn(const TokenConvolution& conv, int group) {
  for (int i = threadIdx.x; i < 2 * Config::kStateSize; i += ScanShape<Config>::kThreads) {
    const int channel = (i < Config::kStateSize ? Config::kBColumn : Config::kCColumn - Config::kStateSize) +
                        group * Config::kStateSize + i;
    ConvolvedChannel<typename Config::Conv>(conv, channel).MoveOn();
  }
}
