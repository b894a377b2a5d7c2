// Inputs of experts as E4M3 codes, in launches of their own: x for `up`, and what `up` gave for `down`.
#include "codegen/cuda/kernels/moe_experts_products.cuh"

/// A row of F32 as E4M3 codes: x is stored as e4m3(x / scale). `scale` is that of the expert, or if kScale is kRow
/// max(m / 448, 2^-126), m the absolute maximum of the row, NaNs not counted, and is stored. A block a row.
template <int kColumns, int kVector, int kThreads, InputScale kScale, class Code>
__device__ void QuantizeExpertRow(const float* from, Code* to, float scale, float* scale_to) {
  if constexpr (kScale == InputScale::kRow) {
    __shared__ float scratch[kThreads / 32];
    float largest = 0;
    for (int i = threadIdx.x * kVector; i < kColumns; i += kThreads * kVector) {
      const auto x = LoadVector<kVector>(from + i);
      for (int j = 0; j < kVector; ++j) {
        largest = fmaxf(largest, fabsf(x.values[j]));
      }
    }
    scale = fmaxf(BlockReduce<Max, kThreads>(largest, scratch) / 448.0f, 0x1p-126f);
    if (threadIdx.x == 0) {
      *scale_to = scale;
    }
  }
  for (int i = threadIdx.x * kVector; i < kColumns; i += kThreads * kVector) {
    const auto x = LoadVector<kVector>(from + i);
    Vector<Code, kVector> codes;
    for (int j = 0; j < kVector; ++j) {
      codes.values[j] = FromFloat<Code>(x.values[j] / scale);
    }
    StoreVector<kVector>(to + i, codes);
  }
}

/// The input as codes: a row a token, or where experts have scales a row a pick. Grid (T or T * k).
template <class Config>
__device__ void QuantizeInput(const float* input, const int* indices, const float* expert_scales, char* scratch,
                              const StepTables& step) {
  constexpr bool kOfPick = Config::Up::kInputScale == InputScale::kExpert;
  const int64 row = blockIdx.x, num_tokens = step.num_tokens;
  auto* codes = reinterpret_cast<typename Config::Up::Input*>(scratch + num_tokens * Config::kUpInputOffset);
  auto* scales = reinterpret_cast<float*>(scratch + num_tokens * Config::kUpScalesOffset);
  QuantizeExpertRow<Config::Up::kDepth, Config::kUpVector, Config::kQuantizeThreads, Config::Up::kInputScale>(
      input + (kOfPick ? row / Config::kPicks : row) * Config::kInputStride, codes + row * Config::Up::kInputStride,
      kOfPick ? expert_scales[ExpertOf<Config>(indices, row)] : 0.0f, scales + row);
}

/// What `up` gave as codes, with a scale a row. Grid (T * k).
template <class Config>
__device__ void QuantizeHidden(char* scratch, const StepTables& step) {
  const int64 row = blockIdx.x, num_tokens = step.num_tokens;
  const auto* hidden = reinterpret_cast<const float*>(scratch + num_tokens * Config::kHiddenOffset);
  auto* codes = reinterpret_cast<typename Config::Down::Input*>(scratch + num_tokens * Config::kDownInputOffset);
  auto* scales = reinterpret_cast<float*>(scratch + num_tokens * Config::kDownScalesOffset);
  QuantizeExpertRow<Config::Down::kDepth, Config::kDownVector, Config::kQuantizeThreads, InputScale::kRow>(
      hidden + row * Config::kHiddenStride, codes + row * Config::Down::kInputStride, 0.0f, scales + row);
}
