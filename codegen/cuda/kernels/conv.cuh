// Depthwise causal convolution with its state. A thread owns kVector neighbouring channels and walks tokens with the
// last kWindow inputs and all weights in registers, so that a step reads and writes each element about once: bound by
// memory. 2 * kWindow flops an element.
//
// The slot keeps the last kWindow - 1 inputs of a sequence, [kWindow - 1, kChannels], oldest first; zeros before its
// start. A step of decode is one launch: a thread reads the columns it then writes. Where a step brings more tokens,
// several blocks read the inputs and the state of a sequence, so the state is written by a launch of its own.
//
// An output is one chain of multiply-adds from the bias on, oldest input first, whatever the step.
// Source: `nemotron.causal_conv1d`.

template <class Config>
using Columns = Vector<float, Config::kVector>;

/// The first channel of this thread; blocks lie along x. Past kChannels there is nothing to do.
template <class Config>
__device__ int FirstColumn() {
  return static_cast<int>(blockIdx.x * Config::kThreads + threadIdx.x) * Config::kVector;
}

/// The weights of a thread's channels, and what they make of a window of inputs.
template <class Config>
struct Filter {
  /// `weight` [kWindow, kChannels], `bias` [kChannels] if kBias.
  __device__ Filter(const float* weight, const float* bias, int column) {
#pragma unroll
    for (int w = 0; w < Config::kWindow; ++w) {
      weights[w] = LoadVector<Config::kVector>(weight + w * Config::kChannels + column);
    }
    if constexpr (Config::kBias) {
      start = LoadVector<Config::kVector>(bias + column);
    }
  }

  __device__ Columns<Config> operator()(const Columns<Config> (&window)[Config::kWindow]) const {
    Columns<Config> sum = start;
#pragma unroll
    for (int j = 0; j < Config::kVector; ++j) {
#pragma unroll
      for (int w = 0; w < Config::kWindow; ++w) {
        sum.values[j] = __fmaf_rn(weights[w].values[j], window[w].values[j], sum.values[j]);
      }
      sum.values[j] = Activate<Config::kActivation>(sum.values[j]);
    }
    return sum;
  }

  Columns<Config> weights[Config::kWindow];
  Columns<Config> start = {};
};

/// The inputs that a sequence brings, and before them, at negative indices, those that its slot keeps.
template <class Config>
struct Inputs {
  __device__ Inputs(const float* input, const SequenceEntry& sequence, int64 state_offset, int column)
      : input(input + int64{sequence.first_token} * Config::kInputStride + column),
        state(SlotPointer<float>(sequence, state_offset) + column) {}

  __device__ Columns<Config> At(int index) const {
    return LoadVector<Config::kVector>(index < 0 ? state + (Config::kWindow - 1 + index) * Config::kChannels
                                                 : input + int64{index} * Config::kInputStride);
  }
  /// Those before `index`, all but the last of a window.
  __device__ void LoadBefore(int index, Columns<Config> (&window)[Config::kWindow]) const {
#pragma unroll
    for (int w = 0; w < Config::kWindow - 1; ++w) {
      window[w] = At(index - (Config::kWindow - 1) + w);
    }
  }
  /// The first one and those before it, and what is kept behind it.
  __device__ void LoadToken(Columns<Config> (&window)[Config::kWindow]) const {
    LoadBefore(0, window);
    window[Config::kWindow - 1] = At(0);
  }
  __device__ void KeepToken(const Columns<Config> (&window)[Config::kWindow]) const {
#pragma unroll
    for (int w = 0; w < Config::kWindow - 1; ++w) {
      Keep(w, window[w + 1]);
    }
  }
  __device__ void Keep(int row, const Columns<Config>& columns) const {
    StoreVector<Config::kVector>(state + row * Config::kChannels, columns);
  }

  const float* input;
  float* state;
};

/// One token of each sequence, state and all. Grid (ceil(kChannels / (kThreads * kVector)), S).
template <class Config>
__device__ void ConvolveToken(const float* input, float* output, const float* weight, const float* bias,
                              int64 state_offset, const StepTables& step) {
  const int column = FirstColumn<Config>();
  if (column >= Config::kChannels) {
    return;
  }
  const SequenceEntry sequence = step.sequences[blockIdx.y];
  const Inputs<Config> inputs(input, sequence, state_offset, column);
  Columns<Config> window[Config::kWindow];
  inputs.LoadToken(window);
  const Filter<Config> filter(weight, bias, column);
  StoreVector<Config::kVector>(output + int64{sequence.first_token} * Config::kOutputStride + column, filter(window));
  inputs.KeepToken(window);
}

/// kRun tokens of the step, whatever sequences they are of; kWindow - 1 inputs before them are read again. Loads of
/// kAhead tokens are under way at once. Grid (ceil(kChannels / (kThreads * kVector)), ceil(T / kRun)).
template <class Config>
__device__ void ConvolveRun(const float* input, float* output, const float* weight, const float* bias,
                            int64 state_offset, const StepTables& step) {
  constexpr int kLast = Config::kWindow - 1;
  const int column = FirstColumn<Config>();
  if (column >= Config::kChannels) {
    return;
  }
  const Filter<Config> filter(weight, bias, column);
  const int first = blockIdx.y * Config::kRun, end = min(first + Config::kRun, step.num_tokens);
  Columns<Config> window[Config::kWindow];
  int sequence_end = first;  // the token behind those of the sequence at hand
  for (int token = first; token < end; token += Config::kAhead) {
    Columns<Config> ahead[Config::kAhead];
#pragma unroll
    for (int i = 0; i < Config::kAhead; ++i) {
      if (token + i < end) {
        ahead[i] = LoadVector<Config::kVector>(input + int64{token + i} * Config::kInputStride + column);
      }
    }
#pragma unroll
    for (int i = 0; i < Config::kAhead; ++i) {
      if (token + i < end) {
        if (token + i == sequence_end) {
          const SequenceEntry sequence = step.sequences[step.token_sequences[token + i]];
          Inputs<Config>(input, sequence, state_offset, column).LoadBefore(token + i - sequence.first_token, window);
          sequence_end = sequence.first_token + sequence.num_tokens;
        }
        window[kLast] = ahead[i];
        StoreVector<Config::kVector>(output + int64{token + i} * Config::kOutputStride + column, filter(window));
#pragma unroll
        for (int w = 0; w < kLast; ++w) {
          window[w] = window[w + 1];
        }
      }
    }
  }
}

/// What the slots keep behind ConvolveRun. Grid (ceil(kChannels / (kThreads * kVector)), S).
template <class Config>
__device__ void KeepInputs(const float* input, int64 state_offset, const StepTables& step) {
  const int column = FirstColumn<Config>();
  if (column >= Config::kChannels) {
    return;
  }
  const SequenceEntry sequence = step.sequences[blockIdx.y];
  const Inputs<Config> inputs(input, sequence, state_offset, column);
  Columns<Config> window[Config::kWindow];
  inputs.LoadBefore(sequence.num_tokens, window);
#pragma unroll
  for (int w = 0; w < Config::kWindow - 1; ++w) {
    inputs.Keep(w, window[w]);
  }
}
