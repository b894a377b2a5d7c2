#ifndef RUNTIME_CPU_MACHINE_PEAK_H_
#define RUNTIME_CPU_MACHINE_PEAK_H_

#include <cstddef>
#include <span>
#include <vector>

#include "runtime/base/dtype.h"
#include "runtime/cpu/thread_pool.h"

namespace nemotron::runtime::cpu {

/// What the machine can do right now with the threads of a pool, measured. Shared machines drift, so measure beside
/// what is compared.
struct MachinePeak {
  double read_bytes_per_second = 0;  ///< streaming reads of a buffer far larger than the caches
  double bf16_flops =
      0;  ///< multiply-adds of BF16 pairs in registers, two operations each; 0: no such instruction in use
  double int8_ops = 0;   ///< products of four bytes with their sums (VNNI), two operations each; 0 as for BF16
  double f32_flops = 0;  ///< F32 multiply-adds in registers, two operations each
};

/// How fast the threads stream `buffer`, of which whole runs of 4 MiB are read; make it far larger than the caches to
/// mean memory. On virtual machines memory differs from place to place, by half on one we saw: to judge a kernel,
/// stream the very bytes that it reads.
double MeasureReadBytesPerSecond(ThreadPool& pool, std::span<const std::byte> buffer);

/// Measures one machine again and again, beside what is compared with it. The 512 MiB that are streamed are kept: the
/// first time takes 0.3 s, the others 0.12 s (2 cores, Zen 5).
class PeakMeter {
 public:
  explicit PeakMeter(ThreadPool& pool) : pool_(pool) {}
  MachinePeak Measure();

 private:
  ThreadPool& pool_;
  std::vector<uint64_t> buffer_;
};

/// Measures once.
MachinePeak MeasureMachinePeak(ThreadPool& pool);

/// The better of each figure: others on the machine only ever slow a measurement down.
MachinePeak BetterOf(const MachinePeak& a, const MachinePeak& b);

/// The peak that limits products of `dtype`, F32, BF16 or I8: without an instruction for BF16 pairs, BF16 matrices are
/// multiplied in F32; I8 matrices without one for them are not, but at no better speed.
double PeakFlops(const MachinePeak& peak, DType dtype);

}  // namespace nemotron::runtime::cpu

#endif  // RUNTIME_CPU_MACHINE_PEAK_H_
