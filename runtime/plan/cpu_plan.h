#ifndef RUNTIME_PLAN_CPU_PLAN_H_
#define RUNTIME_PLAN_CPU_PLAN_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "runtime/base/status.h"
#include "runtime/plan/plan.h"

namespace nemotron::runtime {

/// A plan for the CPU in memory, made of one for GPUs that holds the CPU's program: the same but for the order of its
/// segments as if it had been compiled for the CPU, down to checksums and identity. Takes as much memory as all
/// weights.
class CpuPlan {
 public:
  /// All but the weights, which are zeros, and take no memory, until `Fill`. `source` has `on_cpu` and must live until
  /// then. kResourceExhausted if the system does not give the addresses.
  static StatusOr<CpuPlan> Create(const Plan& source);

  const std::shared_ptr<const Plan>& plan() const { return plan_; }

  /// Lays the weights out for the CPU's kernels, with `num_threads` threads, a few MiB each at a time. Calls
  /// `progress`, which may be empty, on this thread with bytes done and in all; the last call has both equal.
  /// kUnavailable if the disk does not give the bytes of the source any more.
  Status Fill(int num_threads, const std::function<void(int64_t done, int64_t total)>& progress);

 private:
  void Seal(int num_threads);

  const Plan* source_ = nullptr;
  std::shared_ptr<std::byte> image_;  // what plan_ reads
  std::shared_ptr<const Plan> plan_;
};

}  // namespace nemotron::runtime

#endif  // RUNTIME_PLAN_CPU_PLAN_H_
