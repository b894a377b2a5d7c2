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

double MeasureRead(ThreadPool& pool) {
  constexpr int64_t kBytes = int64_t{512} << 20, kTaskBytes = int64_t{1} << 20, kTasks = kBytes / kTaskBytes;
  std::vector<uint64_t> buffer(kBytes / sizeof(uint64_t), 1);
  std::vector<uint64_t> sums(kTasks);
  const double seconds = BestSeconds([&] {
    pool.ParallelFor(kTasks, [&](int64_t task, int) {
      const uint64_t* words = buffer.data() + task * (kTaskBytes / sizeof(uint64_t));
      uint64_t sum[32] = {};
      for (size_t i = 0; i < kTaskBytes / sizeof(uint64_t); i += 32) {
        for (size_t j = 0; j < 32; ++j) {
          sum[j] += words[i + j];
        }
      }
      for (uint64_t s : sum) {
        sums[task] += s;
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
