#include "runtime/cpu/machine_peak.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <vector>

#include "runtime/cpu/cpu_info.h"
#include "runtime/cpu/kernels/linear.h"

namespace nemotron::runtime::cpu {
namespace {

double Seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// The best of several tries, since neighbours only ever slow a try down.
double BestSeconds(const std::function<void()>& work) {
  work();
  double best = Seconds(work);
  for (int i = 0; i < 4; ++i) {
    best = std::min(best, Seconds(work));
  }
  return best;
}

/// Four runs side by side a thread, prefetched: one run alone reaches 85 to 92% of it (Zen 5, 2 cores, 512 MiB), and
/// wider vectors or more runs no more.
double MeasureRead(ThreadPool& pool) {
  constexpr int64_t kBytes = int64_t{512} << 20, kTaskBytes = int64_t{1} << 20, kTasks = kBytes / kTaskBytes;
  constexpr int64_t kRuns = 4, kRunWords = kTaskBytes / sizeof(uint64_t) / kRuns, kLine = 8, kPrefetchWords = 128;
  std::vector<uint64_t> buffer(kBytes / sizeof(uint64_t), 1);
  std::vector<uint64_t> sums(kTasks);
  const double seconds = BestSeconds([&] {
    pool.ParallelFor(kTasks, [&](int64_t task, int) {
      const uint64_t* words = buffer.data() + task * kRuns * kRunWords;
      uint64_t sum[kRuns][kLine] = {};
      for (int64_t i = 0; i < kRunWords; i += kLine) {
        for (int64_t run = 0; run < kRuns; ++run) {
          __builtin_prefetch(words + run * kRunWords + i + kPrefetchWords);
          for (int64_t j = 0; j < kLine; ++j) {
            sum[run][j] += words[run * kRunWords + i + j];
          }
        }
      }
      for (const auto& run : sum) {
        for (uint64_t s : run) {
          sums[task] += s;
        }
      }
    });
  });
  return static_cast<double>(kBytes) / seconds;
}

/// Multiply-adds of a matrix tile whose operands stay in L1: the register tile at its best.
double MeasureDot(ThreadPool& pool, DType dtype) {
  constexpr int64_t kRows = 24, kColumns = 48, kDepth = 96, kTasks = 64, kRepeats = 200;
  std::vector<std::byte> weights(PanelMatrixBytes(dtype, kColumns, kDepth) + 64);
  const auto aligned = [](std::byte* p) { return p + (64 - reinterpret_cast<uintptr_t>(p) % 64) % 64; };
  const PackedMatrix matrix(dtype, aligned(weights.data()), kColumns, kDepth);
  const int64_t row_bytes = matrix.InputRowBytes();
  std::vector<std::byte> inputs(kRows * row_bytes + 64);
  std::vector<float> outputs(pool.num_threads() * kRows * kColumns + 16);
  const double seconds = BestSeconds([&] {
    pool.ParallelFor(kTasks, [&](int64_t, int thread) {
      float* output = outputs.data() + thread * kRows * kColumns;
      for (int i = 0; i < kRepeats; ++i) {
        matrix.Multiply(aligned(inputs.data()), kRows, 0, matrix.num_panels(), nullptr, false, output, kColumns * 4);
      }
    });
  });
  return 2.0 * kRows * kColumns * kDepth * kTasks * kRepeats / seconds;
}

}  // namespace

MachinePeak MeasureMachinePeak(ThreadPool& pool) {
  MachinePeak peak;
  peak.read_bytes_per_second = MeasureRead(pool);
  peak.f32_flops = MeasureDot(pool, DType::kF32);
  peak.bf16_flops = CurrentIsa() == Isa::kAvx512Bf16 ? MeasureDot(pool, DType::kBF16) : 0;
  return peak;
}

}  // namespace nemotron::runtime::cpu
