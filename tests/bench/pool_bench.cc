// What a ParallelFor costs: with nothing in it, and with rows as small as those of a norm. Calls follow each other as
// the kernels of a step do, or after a pause in which the workers fell asleep.
//
//   pool_bench --benchmark_filter=Empty
#include <benchmark/benchmark.h>

#include <chrono>
#include <thread>
#include <vector>

#include "runtime/cpu/kernel.h"
#include "runtime/cpu/kernels/for_rows.h"
#include "runtime/cpu/thread_pool.h"

namespace nemotron::runtime::cpu {
namespace {

/// Threads, tasks.
void Empty(benchmark::State& state) {
  ThreadPool pool(static_cast<int>(state.range(0)));
  for (auto _ : state) {
    pool.ParallelFor(state.range(1), [](int64_t task, int) { benchmark::DoNotOptimize(task); });
  }
}
BENCHMARK(Empty)->ArgsProduct({{1, 2, 4}, {1, 2, 64}})->UseRealTime();

/// Threads, microseconds between calls.
void AfterPause(benchmark::State& state) {
  ThreadPool pool(static_cast<int>(state.range(0)));
  for (auto _ : state) {
    std::this_thread::sleep_for(std::chrono::microseconds(state.range(1)));
    const auto start = std::chrono::steady_clock::now();
    pool.ParallelFor(8, [](int64_t task, int) { benchmark::DoNotOptimize(task); });
    state.SetIterationTime(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
}
BENCHMARK(AfterPause)->ArgsProduct({{2}, {20, 1000}})->Iterations(500)->UseManualTime();

/// Threads, rows of 1024 floats that are squared, summed and scaled.
void Rows(benchmark::State& state) {
  constexpr int64_t kColumns = 1024;
  ThreadPool pool(static_cast<int>(state.range(0)));
  StepContext step = {};
  step.pool = &pool;
  std::vector<float> values(static_cast<size_t>(state.range(1) * kColumns), 1.0f);
  for (auto _ : state) {
    ForRows(step, state.range(1), [&](int64_t row) {
      float* x = values.data() + row * kColumns;
      float sums[16] = {};
      for (int64_t i = 0; i < kColumns; ++i) {
        sums[i % 16] += x[i] * x[i];
      }
      const float scale = sums[0] / (sums[0] + 1e-20f);
      for (int64_t i = 0; i < kColumns; ++i) {
        x[i] *= scale;
      }
    });
  }
}
BENCHMARK(Rows)->ArgsProduct({{1, 2}, {1, 2, 4, 8, 16, 512}})->UseRealTime();

}  // namespace
}  // namespace nemotron::runtime::cpu

BENCHMARK_MAIN();
