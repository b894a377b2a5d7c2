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

/// One channel of a token: its window, the last of it the token's own input.
template <class Conv>
struct ChannelWindow {
  /// `input` is the token's row, `state` the window in the slot.
  __device__ ChannelWindow(const float* input, const float* state, int channel) {
#pragma unroll
    for (int w = 0; w < Conv::kWindow - 1; ++w) {
      values[w] = state[w * Conv::kChannels + channel];
    }
    values[Conv::kWindow - 1] = input[channel];
  }
  /// As Filter has it.
  __device__ float Convolve(const float* weight, const float* bias, int channel) const {
    float sum = Conv::kBias ? bias[channel] : 0.0f;
#pragma unroll
    for (int w = 0; w < Conv::kWindow; ++w) {
      sum = __fmaf_rn(weight[w * Conv::kChannels + channel], values[w], sum);
    }
    return Activate<Conv::kActivation>(sum);
  }
  __device__ void MoveOn(float* state, int channel) const {
#pragma unroll
    for (int w = 0; w < Conv::kWindow - 1; ++w) {
      state[w * Conv::kChannels + channel] = values[w + 1];
    }
  }
  float values[Conv::kWindow];
};

/// What a block needs to convolve the token of a sequence.
struct TokenConvolution {
  const float* input;  // the token's row
  float* state;
  const float *weight, *bias;
};

/// Puts x, b and c of the new token into its row of the tiles, a lane a column.
template <class Config>
__device__ void ConvolveNewToken(ScanShared<Config>& shared, const TokenConvolution& conv, const Chunk& chunk, int head,
                                 int part, int group) {
  using Shape = ScanShape<Config>;
  using Window = ChannelWindow<typename Config::Conv>;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, to = TileIndex(chunk.first, lane);
  const int element = warp * kColumns + lane, of_group = group * Config::kStateSize + element;
  float(&tiles)[2][kTile] = shared.states_inputs[0][warp];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int channel = (i == 0 ? Config::kBColumn : Config::kCColumn) + of_group;
    tiles[i][to] = Shape::HasElement(element)
                       ? Window(conv.input, conv.state, channel).Convolve(conv.weight, conv.bias, channel)
                       : 0.0f;
  }
  if (warp == 0) {
    float x = 0;
    if (Shape::HasChannel(part * kColumns + lane)) {
      const int channel = Config::kXColumn + head * Config::kHeadDim + part * kColumns + lane;
      const Window window(conv.input, conv.state, channel);
      x = window.Convolve(conv.weight, conv.bias, channel);
      window.MoveOn(conv.state, channel);
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
    ChannelWindow<typename Config::Conv>(conv.input, conv.state, channel).MoveOn(conv.state, channel);
  }
}
