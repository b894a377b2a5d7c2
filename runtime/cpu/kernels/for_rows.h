#ifndef RUNTIME_CPU_KERNELS_FOR_ROWS_H_
#define RUNTIME_CPU_KERNELS_FOR_ROWS_H_

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "runtime/cpu/kernel.h"
#include "runtime/cpu/thread_pool.h"

namespace nemotron::runtime::cpu {

/// Calls function(row), or function(row, thread) if it takes both, for each row of [0, num_rows), in parallel; a task
/// takes a few, so that claiming it costs little beside a row of some thousand elements.
template <typename Function>
void ForRows(const StepContext& step, int64_t num_rows, const Function& function) {
  constexpr int64_t kRowsPerTask = 8;
  step.pool->ParallelFor((num_rows + kRowsPerTask - 1) / kRowsPerTask, [&](int64_t task, int thread) {
    for (int64_t row = task * kRowsPerTask; row < std::min(num_rows, (task + 1) * kRowsPerTask); ++row) {
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
