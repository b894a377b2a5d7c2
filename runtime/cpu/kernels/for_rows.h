#ifndef RUNTIME_CPU_KERNELS_FOR_ROWS_H_
#define RUNTIME_CPU_KERNELS_FOR_ROWS_H_

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "runtime/cpu/kernel.h"
#include "runtime/cpu/thread_pool.h"

namespace nemotron::runtime::cpu {

/// Calls function(row), or function(row, thread) if it takes both, for each row of [0, num_rows), in parallel. A task
/// takes a few rows, so that claiming it costs little beside a row of some thousand elements, but only where that
/// leaves four tasks a thread: eight rows are eight tasks for two threads (docs/performance.md, Threads).
template <typename Function>
void ForRows(const StepContext& step, int64_t num_rows, const Function& function) {
  const int64_t rows_per_task = std::clamp<int64_t>(num_rows / (4 * step.pool->num_threads()), 1, 8);
  step.pool->ParallelFor((num_rows + rows_per_task - 1) / rows_per_task, [&](int64_t task, int thread) {
    for (int64_t row = task * rows_per_task; row < std::min(num_rows, (task + 1) * rows_per_task); ++row) {
      if constexpr (std::is_invocable_v<Function, int64_t, int>) {
        function(row, thread);
      } else {
        function(row);
      }
    }
  });
}

}  // namespace nemotron::runtime::cpu

#endif  // RUNTIME_CPU_KERNELS_FOR_ROWS_H_
