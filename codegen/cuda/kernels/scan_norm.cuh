// The gated RMSNorm behind a scan. A block normalizes one group of a token: in steps that bring a sequence one token
// each, the block of the scan that is the last of its group to have stored its outputs, which the cache still has; else
// a launch of its own, for a block of the scan has outputs of many tokens then. Both have the same threads and so the
// same order of sums.

#include "codegen/cuda/kernels/scan_chunk.cuh"

/// One group of the channels of a row, as the norm has it. If the scan normalizes, kNormThreads are the threads of its
/// blocks.
template <class Config>
struct NormShape {
  static constexpr int kColumns = ScanShape<Config>::kHeadsOfGroup * Config::kHeadDim;
  static constexpr int kVector = Config::kNormVector, kThreads = Config::kNormThreads;
};

/// Whether this block is the last of the group's to come here. Then what the others wrote to global memory before they
/// came lies behind it: the atomic of one thread releases and acquires (PTX ISA, section 8.8), and barriers carry that
/// to and from the rest of its block. As atomicAdd between two __threadfence() would, but these are sequentially
/// consistent, two fences of machine code and slower ones. `counter` is zero when a step begins.
template <class Config>
__device__ bool IsLastOfGroup(int* counter) {
  constexpr int kBlocks = ScanShape<Config>::kHeadsOfGroup * ScanShape<Config>::kParts;
  __shared__ bool is_last;
  __syncthreads();
  if (threadIdx.x == 0) {
    int num_before;
    asm volatile("atom.acq_rel.gpu.global.add.s32 %0, [%1], 1;" : "=r"(num_before) : "l"(counter) : "memory");
    is_last = num_before == kBlocks - 1;
  }
  __syncthreads();
  return is_last;
}

/// The gated RMSNorm of one group of a token's y (row.cuh): read once, bound by memory. y may lie in the output.
/// `maximum` [T, 1] gathers the absolute maximum of a token's row if kGathersMaximum.
template <class Config>
__device__ void NormalizeGroup(const float* y, const float* gate, typename Config::Output* output, float* maximum,
                               const float* weight, int64 token, int group) {
  using Shape = NormShape<Config>;
  __shared__ float scratch[Shape::kThreads / 32];
  const int first = group * Shape::kColumns;
  Row<Shape> row;
  row.Load(y + token * Config::kYStride + first);
  NormalizeGated(row, gate + token * Config::kGateStride + first, weight + first, Config::kEps, scratch);
  row.Store(output + token * Config::kOutputStride + first);
  if constexpr (Config::kGathersMaximum) {
    __shared__ float largest_scratch[Shape::kThreads / 32];
    float largest = 0;
    row.ForEach([&](float& x) { largest = fmaxf(largest, fabsf(x)); });
    largest = BlockReduce<Max, Shape::kThreads>(largest, largest_scratch);
    if (threadIdx.x == 0) {
      GatherMaximum(maximum + token * Config::kGatheredStride, largest);
    }
  }
}

/// The same as a launch of its own. Grid (T, G).
template <class Config>
__device__ void GatedNorm(char* scratch, const float* gate, typename Config::Output* output, float* maximum,
                          const float* weight, const StepTables& step) {
  NormalizeGroup<Config>(ScanOutputs<Config>(scratch, output, step), gate, output, maximum, weight, blockIdx.x,
                         blockIdx.y);
}
