#include "runtime/cpu/machine_peak.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <vector>

#include "runtime/cpu/cpu_info.h"
#include "runtime/cpu/kernels/linear.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/machine_peak.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "runtime/cpu/kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nemotron::runtime::cpu {
namespace HWY_NAMESPACE {

/// Reads `size` bytes, a multiple of 256, as four runs side by side, prefetched. Of what we tried this is the fastest,
/// on Zen 5 with 2 cores and memory of 100 GB/s: 16-byte vectors reach 63 of them, one run 90, eight runs 85.
uint32_t SumBytes(const std::byte* bytes, int64_t size) {
  constexpr int64_t kRuns = 4, kLine = 64, kAhead = 1024;
  const hn::ScalableTag<uint32_t> words;
  hn::Vec<decltype(words)> sums[kRuns] = {hn::Zero(words), hn::Zero(words), hn::Zero(words), hn::Zero(words)};
  const int64_t run_bytes = size / kRuns;
  for (int64_t i = 0; i < run_bytes; i += kLine) {
    for (int64_t run = 0; run < kRuns; ++run) {
      const std::byte* line = bytes + run * run_bytes + i;
      __builtin_prefetch(line + kAhead);
      for (int64_t at = 0; at < kLine; at += kLanes * 4) {
        sums[run] = hn::Add(sums[run], hn::LoadU(words, reinterpret_cast<const uint32_t*>(line + at)));
      }
    }
  }
  return hn::GetLane(hn::SumOfLanes(words, hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3]))));
}

}  // namespace HWY_NAMESPACE
}  // namespace nemotron::runtime::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nemotron::runtime::cpu {
namespace {

HWY_EXPORT(SumBytes);

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

/// Multiply-adds in registers, or of a register tile whose operands, 28 KiB, stay in L1, for so many k that little is
/// spent before and after them. Each thread has operands and a result of its own: on cores that share no cache, threads
/// that write one line take twice as long.
double MeasureDot(ThreadPool& pool, DType dtype) {
  constexpr int64_t kRows = 8, kColumns = 48, kTasks = 64, kRepeats = 200;
  constexpr int64_t kOutputBytes = kRows * kColumns * static_cast<int64_t>(sizeof(float));
  const int64_t depth = 512 / SizeOf(dtype), task_products = kRows * kColumns * depth * kRepeats;
  const PackedMatrix any(dtype, nullptr, kColumns, depth);
  if (const auto multiply = any.kernels().multiply_registers; multiply != nullptr && dtype != DType::kF32) {
    int64_t products = 0;
    const double seconds = BestSeconds([&] {
      pool.ParallelFor(kTasks, [&](int64_t task, int) {
        const int64_t done = multiply(dtype, 16 * task_products);
        if (task == 0) {
          products = done * kTasks;
        }
      });
    });
    return 2.0 * static_cast<double>(products) / seconds;
  }
  const int64_t weight_bytes = any.size_bytes(), row_bytes = any.InputRowBytes();
  const int64_t thread_bytes = RoundUp64(weight_bytes + kRows * row_bytes + kOutputBytes) + 4096;
  std::vector<std::byte> memory(static_cast<size_t>(pool.num_threads() * thread_bytes + 64));
  std::byte* aligned = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) % 64;
  const double seconds = BestSeconds([&] {
    pool.ParallelFor(kTasks, [&](int64_t, int thread) {
      std::byte* weights = aligned + thread * thread_bytes;
      std::byte* inputs = weights + weight_bytes;
      auto* output = reinterpret_cast<float*>(inputs + kRows * row_bytes);
      const PackedMatrix matrix(dtype, weights, kColumns, depth);
      for (int i = 0; i < kRepeats; ++i) {
        matrix.Multiply(inputs, kRows, 0, matrix.num_panels(), {}, output, kColumns * 4);
      }
    });
  });
  return 2.0 * static_cast<double>(task_products) * kTasks / seconds;
}

}  // namespace

double MeasureReadBytesPerSecond(ThreadPool& pool, std::span<const std::byte> buffer) {
  constexpr int64_t kTaskBytes = int64_t{4} << 20;
  const int64_t tasks = static_cast<int64_t>(buffer.size()) / kTaskBytes;
  std::vector<uint32_t> sums(tasks);  // kept, so that the reads are not for nothing
  const double seconds = BestSeconds([&] {
    pool.ParallelFor(tasks, [&](int64_t task, int) {
      sums[task] = HWY_DYNAMIC_DISPATCH(SumBytes)(buffer.data() + task * kTaskBytes, kTaskBytes);
    });
  });
  return static_cast<double>(tasks * kTaskBytes) / seconds;
}

MachinePeak PeakMeter::Measure() {
  if (buffer_.empty()) {
    buffer_.assign((int64_t{512} << 20) / sizeof(uint64_t), 1);
  }
  MachinePeak peak;
  peak.read_bytes_per_second = MeasureReadBytesPerSecond(pool_, std::as_bytes(std::span(buffer_)));
  peak.f32_flops = MeasureDot(pool_, DType::kF32);
  if (CurrentIsa() >= Isa::kAvx512Vnni) {
    peak.int8_ops = MeasureDot(pool_, DType::kI8);
  }
  if (CurrentIsa() >= Isa::kAvx512Bf16) {
    peak.bf16_flops = MeasureDot(pool_, DType::kBF16);
  }
  return peak;
}

MachinePeak MeasureMachinePeak(ThreadPool& pool) { return PeakMeter(pool).Measure(); }

MachinePeak BetterOf(const MachinePeak& a, const MachinePeak& b) {
  return {.read_bytes_per_second = std::max(a.read_bytes_per_second, b.read_bytes_per_second),
          .bf16_flops = std::max(a.bf16_flops, b.bf16_flops),
          .int8_ops = std::max(a.int8_ops, b.int8_ops),
          .f32_flops = std::max(a.f32_flops, b.f32_flops)};
}

double PeakFlops(const MachinePeak& peak, DType dtype) {
  const double own = dtype == DType::kBF16 ? peak.bf16_flops : dtype == DType::kI8 ? peak.int8_ops : 0;
  return own > 0 ? own : peak.f32_flops;
}

}  // namespace nemotron::runtime::cpu
#endif  // HWY_ONCE
