// The matrix kernel on the shapes of real models: bytes of weights and multiply-adds a second, and their shares of what
// the machine gave just before and after (runtime/cpu/machine_peak.h): reads of these very weights, multiply-adds in
// registers. Weights take turns with copies of themselves, so
// that none is in a cache when its turn comes. Shared machines only ever slow a run down: counters are those of the
// fastest iteration, times are means.
//
//   linear_bench --benchmark_filter=bf16/N:18560
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <span>
#include <vector>

#include "runtime/cpu/kernel.h"
#include "runtime/cpu/machine_peak.h"
#include "runtime/cpu/thread_pool.h"
#include "runtime/plan/layout.h"

namespace nemotron::runtime::cpu {
namespace {

/// Copies of a matrix take at least this much together, several times a last-level cache.
constexpr int64_t kWeightBytes = int64_t{640} << 20;

struct AlignedBytes {
  explicit AlignedBytes(int64_t size) : storage(size + 64) {
    data = storage.data() + (64 - reinterpret_cast<uintptr_t>(storage.data()) % 64) % 64;
  }
  std::vector<std::byte> storage;
  std::byte* data;
};

/// Fills with numbers of about 1; the values do not matter, but denormals or NaN would.
void Fill(DType dtype, std::byte* data, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const float value = static_cast<float>(i % 13 - 6) / 8;
    if (dtype == DType::kBF16) {
      reinterpret_cast<uint16_t*>(data)[i] = F32ToBF16(value);
    } else if (IsCode(dtype)) {
      reinterpret_cast<uint8_t*>(data)[i] = F32ToCode(dtype, value * 8);
    } else {
      reinterpret_cast<float*>(data)[i] = value;
    }
  }
}

/// A dispatch of T tokens without its weights: cpu.linear, or of codes cpu.scaled_matmul with an input of codes.
DispatchArguments Arguments(DType dtype, int64_t n, int64_t k, int64_t tokens) {
  const bool is_code = IsCode(dtype);
  const int64_t input_bytes = (tokens * k * 4 + 63) / 64 * 64, output_bytes = (tokens * n * 4 + 63) / 64 * 64;
  DispatchArguments arguments;
  arguments.inputs["input"] = {is_code ? dtype : DType::kF32, Space::kToken, k, is_code ? k : k * 4, 0};
  arguments.outputs["output"] = {DType::kF32, Space::kToken, n, n * 4, input_bytes};
  arguments.parameters["activation"] = std::string("none");
  if (is_code) {
    static constexpr float kScale = 1;
    arguments.inputs["input_scale"] = {DType::kF32, Space::kToken, 1, 4, input_bytes + output_bytes};
    arguments.weights["weight_scale"] = {DType::kF32, Layout::kRowMajor, {1}, std::as_bytes(std::span(&kScale, 1))};
  } else {
    arguments.parameters["split_input"] = false;
  }
  arguments.max_tokens = tokens;
  return arguments;
}

/// `group`: inputs to a weight scale, 0: one scale for all.
void Linear(benchmark::State& state, DType dtype, int64_t group = 0) {
  const int64_t n = state.range(0), k = state.range(1), tokens = state.range(2);
  ThreadPool pool(DefaultThreadCount());
  const int64_t matrix_bytes = PanelMatrixBytes(dtype, n, k);
  const int64_t copies = (kWeightBytes + matrix_bytes - 1) / matrix_bytes;
  AlignedBytes weights(copies * matrix_bytes), arena(tokens * (n + k + 33) * 4);
  Fill(dtype, weights.data, copies * matrix_bytes / SizeOf(dtype));
  Fill(IsCode(dtype) ? dtype : DType::kF32, arena.data, tokens * k);

  DispatchArguments arguments = Arguments(dtype, n, k, tokens);
  const int64_t num_groups = group == 0 ? 1 : k / group;
  std::vector<float> scales(static_cast<size_t>(PanelMatrixBytes(DType::kF32, n, num_groups)) / sizeof(float), 0.5f);
  if (group > 0) {
    const std::span<const std::byte> bytes = std::as_bytes(std::span(scales));
    arguments.weights["weight_scale"] = {DType::kF32, Layout::kPanel, {n, num_groups}, bytes};
  }
  arguments.num_threads = pool.num_threads();
  std::vector<std::unique_ptr<PreparedDispatch>> dispatches;
  for (int64_t copy = 0; copy < copies; ++copy) {
    arguments.weights["weight"] = {
        dtype, Layout::kPanel, {n, k}, {weights.data + copy * matrix_bytes, static_cast<size_t>(matrix_bytes)}};
    auto prepared = Prepare(IsCode(dtype) ? "cpu.scaled_matmul" : "cpu.linear", arguments);
    if (!prepared.ok()) {
      return state.SkipWithError(prepared.status().message().c_str());
    }
    dispatches.push_back(std::move(*prepared));
  }
  AlignedBytes scratch(dispatches[0]->ScratchBytes());
  const std::vector<int32_t> token_ids(tokens);
  const StepContext step{token_ids, {}, {}, arena.data, nullptr, scratch.data, &pool};

  const std::span<const std::byte> all(weights.data, static_cast<size_t>(copies * matrix_bytes));
  const MachinePeak before = MeasureMachinePeak(pool);
  const double read_before = MeasureReadBytesPerSecond(pool, all);
  double best = 1e30;
  size_t turn = 0;
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    dispatches[turn++ % dispatches.size()]->Run(step);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    state.SetIterationTime(seconds);
    best = std::min(best, seconds);
  }
  const double read_peak = std::max(read_before, MeasureReadBytesPerSecond(pool, all));
  const MachinePeak after = MeasureMachinePeak(pool);
  const double bytes = static_cast<double>(matrix_bytes) / best, flops = 2.0 * tokens * n * k / best;
  const auto peak_of = [&](double MachinePeak::* flops) { return std::max(before.*flops, after.*flops); };
  const double dot_peak = peak_of(dtype == DType::kF32  ? &MachinePeak::f32_flops
                                  : dtype == DType::kI8 ? &MachinePeak::int8_ops
                                                        : &MachinePeak::bf16_flops);
  const double peak_flops = dot_peak > 0 ? dot_peak : peak_of(&MachinePeak::f32_flops);
  state.counters["GB/s"] = bytes / 1e9;
  state.counters["GFLOP/s"] = flops / 1e9;
  state.counters["%read"] = 100 * bytes / read_peak;
  state.counters["%peak"] = 100 * flops / peak_flops;
}

void Shapes(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"N", "K", "T"})->UseManualTime()->Unit(benchmark::kMillisecond);
  for (const auto& [n, k] :
       {std::pair(18560, 4096), std::pair(4096, 21504), std::pair(5376, 1024), std::pair(1024, 5376)}) {
    for (int tokens : {1, 2, 4, 8, 16, 32, 128, 512}) {
      benchmark->Args({n, k, tokens});
    }
  }
}

BENCHMARK_CAPTURE(Linear, bf16, DType::kBF16)->Apply(Shapes);
BENCHMARK_CAPTURE(Linear, f8, DType::kF8E4M3)->Apply(Shapes);
BENCHMARK_CAPTURE(Linear, i8, DType::kI8)->Apply(Shapes);
BENCHMARK_CAPTURE(Linear, i8_groups_of_128, DType::kI8, 128)->Apply(Shapes);
BENCHMARK_CAPTURE(Linear, i8_groups_of_32, DType::kI8, 32)->Apply(Shapes);
BENCHMARK_CAPTURE(Linear, f32, DType::kF32)->Apply(Shapes);

}  // namespace
}  // namespace nemotron::runtime::cpu

BENCHMARK_MAIN();
