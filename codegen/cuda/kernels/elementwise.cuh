// Kernels that read and write each element once: bound by memory. A block of kThreads works on one row, kVector
// elements a thread at a time.

/// Stores f of each element of a row of kColumns.
template <class Config, class Input, class Function>
__device__ void MapRow(const Input* from, typename Config::Output* to, Function f) {
  for (int i = threadIdx.x * Config::kVector; i < Config::kColumns; i += Config::kThreads * Config::kVector) {
    const auto loaded = LoadVector<Config::kVector>(from + i);
    Vector<typename Config::Output, Config::kVector> stored;
    for (int j = 0; j < Config::kVector; ++j) {
      stored.values[j] = FromFloat<typename Config::Output>(f(ToFloat(loaded.values[j])));
    }
    StoreVector<Config::kVector>(to + i, stored);
  }
}

/// Rows of the table of embeddings, by token id. Grid (T).
template <class Config>
__device__ void Embedding(typename Config::Output* output, const typename Config::Weight* weight,
                          const StepTables& step) {
  MapRow<Config>(weight + int64{step.tokens[blockIdx.x]} * Config::kColumns,
                 output + int64{blockIdx.x} * Config::kOutputStride, [](float x) { return x; });
}

/// The rows whose logits are asked for. Grid (R).
template <class Config>
__device__ void SelectRows(const typename Config::Input* input, typename Config::Output* output,
                           const StepTables& step) {
  MapRow<Config>(input + int64{step.output_rows[blockIdx.x]} * Config::kInputStride,
                 output + int64{blockIdx.x} * Config::kOutputStride, [](float x) { return x; });
}

/// An activation function of each element. Grid (rows).
template <class Config>
__device__ void ActivateRows(const typename Config::Input* input, typename Config::Output* output) {
  MapRow<Config>(input + int64{blockIdx.x} * Config::kInputStride, output + int64{blockIdx.x} * Config::kOutputStride,
                 [](float x) { return Activate<Config::kActivation>(x); });
}

/// The sum of two activations. Grid (rows).
template <class Config>
__device__ void Add(const float* lhs, const float* rhs, float* output) {
  const float* a = lhs + int64{blockIdx.x} * Config::kLhsStride;
  const float* b = rhs + int64{blockIdx.x} * Config::kRhsStride;
  float* to = output + int64{blockIdx.x} * Config::kOutputStride;
  for (int i = threadIdx.x * Config::kVector; i < Config::kColumns; i += Config::kThreads * Config::kVector) {
    const auto left = LoadVector<Config::kVector>(a + i), right = LoadVector<Config::kVector>(b + i);
    Vector<float, Config::kVector> sum;
    for (int j = 0; j < Config::kVector; ++j) {
      sum.values[j] = left.values[j] + right.values[j];
    }
    StoreVector<Config::kVector>(to + i, sum);
  }
}

/// y + d * x, d a number a head. Grid (T).
template <class Config>
__device__ void SsmSkip(const float* y, const float* x, float* output, const float* d) {
  const float* scanned = y + int64{blockIdx.x} * Config::kYStride;
  const float* input = x + int64{blockIdx.x} * Config::kXStride;
  float* to = output + int64{blockIdx.x} * Config::kOutputStride;
  for (int i = threadIdx.x; i < Config::kColumns; i += Config::kThreads) {
    to[i] = scanned[i] + d[i / Config::kHeadDim] * input[i];
  }
}

/// Rotates the first kRotaryDim elements of each head by angles that grow with the position, in halves as Hugging
/// Face's rotate_half does. RoFormer, arXiv:2104.09864, section 3.4.2. Angles are computed once a token. Grid (T).
template <class Config>
__device__ void RotaryEmbedding(const float* input, float* output, const StepTables& step) {
  constexpr int kHalf = Config::kRotaryDim / 2;
  __shared__ float cosines[kHalf], sines[kHalf];
  const SequenceEntry& sequence = step.sequences[step.token_sequences[blockIdx.x]];
  const float position = static_cast<float>(sequence.position + (static_cast<int>(blockIdx.x) - sequence.first_token));
  for (int i = threadIdx.x; i < kHalf; i += Config::kThreads) {
    sincosf(position * Config::kPositionScale * Config::Frequency(i), &sines[i], &cosines[i]);
  }
  __syncthreads();
  const float* from = input + int64{blockIdx.x} * Config::kInputStride;
  float* to = output + int64{blockIdx.x} * Config::kOutputStride;
  for (int i = threadIdx.x; i < Config::kColumns; i += Config::kThreads) {
    const int in_head = i % Config::kHeadDim, pair = in_head % kHalf;
    float value = from[i];
    if (in_head < kHalf) {
      value = value * cosines[pair] - from[i + kHalf] * sines[pair];
    } else if (in_head < Config::kRotaryDim) {
      value = value * cosines[pair] + from[i - kHalf] * sines[pair];
    }
    to[i] = value;
  }
}
