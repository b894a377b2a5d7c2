// Attention and scan on the shapes of Nemotron-H-8B, by the dtype of their state: bytes of state a second, of the
// fastest iteration, and their share of what the machine reads. Sequences take turns, so that none is in a cache when
// its turn comes. Shared machines only ever slow a run down: counters are those of the fastest iteration, times are
// means.
//
//   sequence_bench --benchmark_filter=Attention/f8e4m3
#include <benchmark/benchmark.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <span>
#include <vector>

#include "runtime/cpu/kernel.h"
#include "runtime/cpu/machine_peak.h"
#include "runtime/cpu/thread_pool.h"
#include "runtime/plan/layout.h"

namespace nemotron::runtime::cpu {
namespace {

/// States of all sequences take at least this much together, several times a last-level cache.
constexpr int64_t kStateBytes = int64_t{192} << 20;
constexpr int64_t kPageTokens = 64;

/// Zeros in large pages, as the engine has them.
struct AlignedBytes {
  explicit AlignedBytes(int64_t size_bytes)
      : size(static_cast<size_t>(size_bytes + kLargePage - 1) / kLargePage * kLargePage) {
    data = static_cast<std::byte*>(std::aligned_alloc(kLargePage, size));
    madvise(data, size, MADV_HUGEPAGE);
    std::fill_n(data, size, std::byte{0});
  }
  ~AlignedBytes() { std::free(data); }
  AlignedBytes(const AlignedBytes&) = delete;
  AlignedBytes& operator=(const AlignedBytes&) = delete;

  static constexpr size_t kLargePage = 2 << 20;
  size_t size;
  std::byte* data;
};

/// One dispatch and its buffers.
struct Bench {
  explicit Bench(int64_t max_tokens) : pool(DefaultThreadCount()) {
    arguments.max_tokens = max_tokens;
    arguments.page_tokens = kPageTokens;
    arguments.num_threads = pool.num_threads();
  }

  BufferArgument Buffer(int64_t columns) {
    const BufferArgument buffer{DType::kF32, Space::kToken, columns, columns * 4, arena_bytes};
    arena_bytes += (columns * 4 * arguments.max_tokens + 63) / 64 * 64;
    return buffer;
  }
  void Vector(const char* name, int64_t size) {
    auto& values = vectors.emplace_back(std::make_unique<std::vector<float>>(size, 0.5f));
    arguments.weights[name] = {DType::kF32, Layout::kRowMajor, {size}, std::as_bytes(std::span(*values))};
  }

  /// Runs the dispatch with the sequences in turn, `state_bytes` of which a run reads.
  void Run(benchmark::State& state, const char* kernel, const std::vector<SequenceStep>& sequences,
           std::span<const std::byte> states, int64_t state_bytes) {
    auto prepared = Prepare(kernel, arguments);
    if (!prepared.ok()) {
      return state.SkipWithError(prepared.status().message().c_str());
    }
    AlignedBytes arena(arena_bytes), scratch((*prepared)->ScratchBytes());
    for (int64_t i = 0; i < arena_bytes / 4; ++i) {
      reinterpret_cast<float*>(arena.data)[i] = static_cast<float>(i % 13 - 6) / 8;
    }
    const std::vector<int32_t> tokens(sequences[0].num_tokens);
    const double read_before = MeasureReadBytesPerSecond(pool, states);
    double best = 1e30;
    size_t turn = 0;
    for (auto _ : state) {
      const StepContext step{
          tokens, std::span(&sequences[turn++ % sequences.size()], 1), {}, arena.data, nullptr, scratch.data, &pool};
      const auto start = std::chrono::steady_clock::now();
      (*prepared)->Run(step);
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      state.SetIterationTime(seconds);
      best = std::min(best, seconds);
    }
    const double read_peak = std::max(read_before, MeasureReadBytesPerSecond(pool, states));
    state.counters["best_us"] = best * 1e6;
    state.counters["GB/s"] = static_cast<double>(state_bytes) / best / 1e9;
    state.counters["%read"] = 100 * static_cast<double>(state_bytes) / best / read_peak;
  }

  ThreadPool pool;
  DispatchArguments arguments;
  int64_t arena_bytes = 0;
  std::vector<std::unique_ptr<std::vector<float>>> vectors;
};

void Attention(benchmark::State& state, DType dtype) {
  constexpr int64_t kHeads = 32, kKvHeads = 8, kHeadDim = 128;
  const int64_t depth = state.range(0), tokens = state.range(1);
  Bench bench(tokens);
  bench.arguments.inputs["query"] = bench.Buffer(kHeads * kHeadDim);
  bench.arguments.inputs["key"] = bench.Buffer(kKvHeads * kHeadDim);
  bench.arguments.inputs["value"] = bench.Buffer(kKvHeads * kHeadDim);
  bench.arguments.outputs["output"] = bench.Buffer(kHeads * kHeadDim);
  bench.arguments.states["cache"] = {StateKind::kKvCache, dtype, {2, kKvHeads, kHeadDim}, 0};
  bench.arguments.parameters = {
      {"num_heads", kHeads}, {"num_kv_heads", kKvHeads}, {"head_dim", kHeadDim}, {"scale", 0.088}};
  if (dtype == DType::kF8E4M3) {
    bench.arguments.parameters["key_scale"] = 0.5;
    bench.arguments.parameters["value_scale"] = 0.5;
  }
  const int64_t page_bytes = 2 * kKvHeads * kHeadDim * kPageTokens * SizeOf(dtype);
  const int64_t num_pages = (depth + tokens + kPageTokens - 1) / kPageTokens;
  const int64_t sequence_bytes = page_bytes * num_pages, copies = kStateBytes / sequence_bytes + 1;
  AlignedBytes cache(copies * sequence_bytes);
  std::fill_n(cache.data, copies * sequence_bytes, std::byte{0x3C});  // about 1 in every dtype
  std::vector<std::vector<std::byte*>> pages(copies);
  std::vector<SequenceStep> sequences;
  for (int64_t i = 0; i < copies * num_pages; ++i) {
    pages[i / num_pages].push_back(cache.data + i * page_bytes);
  }
  for (const auto& list : pages) {
    sequences.push_back({0, tokens, depth, nullptr, list});
  }
  bench.Run(state, "cpu.attention", sequences, {cache.data, static_cast<size_t>(copies * sequence_bytes)},
            2 * kKvHeads * kHeadDim * SizeOf(dtype) * (depth + tokens));
}

void Scan(benchmark::State& state, DType dtype) {
  constexpr int64_t kHeads = 128, kHeadDim = 64, kGroups = 8, kStateSize = 128;
  const int64_t tokens = state.range(0);
  Bench bench(tokens);
  bench.arguments.inputs["x"] = bench.Buffer(kHeads * kHeadDim);
  bench.arguments.inputs["b"] = bench.Buffer(kGroups * kStateSize);
  bench.arguments.inputs["c"] = bench.Buffer(kGroups * kStateSize);
  bench.arguments.inputs["dt"] = bench.Buffer(kHeads);
  bench.arguments.outputs["output"] = bench.Buffer(kHeads * kHeadDim);
  bench.Vector("a_log", kHeads);
  bench.Vector("dt_bias", kHeads);
  bench.arguments.states["ssm"] = {StateKind::kSsm, dtype, {kHeads, kHeadDim, kStateSize}, 0};
  const int64_t state_bytes = kHeads * kHeadDim * kStateSize * SizeOf(dtype);
  const int64_t recent_columns = kHeads * (kHeadDim + 1) + kGroups * kStateSize;
  bench.arguments.states["recent"] = {StateKind::kRecent, DType::kF32, {kScanChunk, recent_columns}, state_bytes};
  bench.arguments.parameters = {{"num_heads", kHeads},      {"head_dim", kHeadDim}, {"n_groups", kGroups},
                                {"state_size", kStateSize}, {"dt_min", 0.0},        {"dt_max", 1e30}};
  const int64_t slot_bytes = state_bytes + kScanChunk * recent_columns * 4, copies = kStateBytes / slot_bytes + 1;
  AlignedBytes slots(copies * slot_bytes);
  std::vector<SequenceStep> sequences;
  for (int64_t i = 0; i < copies; ++i) {
    sequences.push_back({0, tokens, 96 + i % (tokens == 1 ? kScanChunk : 1), slots.data + i * slot_bytes, {}});
  }
  bench.Run(state, "cpu.ssm_scan", sequences, {slots.data, static_cast<size_t>(copies * slot_bytes)}, state_bytes);
}

void Depths(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"depth", "T"})->UseManualTime()->Unit(benchmark::kMicrosecond);
  benchmark->Args({4095, 1})->Args({3840, 256});
}
void Lengths(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgName("T")->UseManualTime()->Unit(benchmark::kMicrosecond)->Arg(1)->Arg(512);
}

BENCHMARK_CAPTURE(Attention, f32, DType::kF32)->Apply(Depths);
BENCHMARK_CAPTURE(Attention, bf16, DType::kBF16)->Apply(Depths);
BENCHMARK_CAPTURE(Attention, f8e4m3, DType::kF8E4M3)->Apply(Depths);
BENCHMARK_CAPTURE(Scan, f32, DType::kF32)->Apply(Lengths);
BENCHMARK_CAPTURE(Scan, bf16, DType::kBF16)->Apply(Lengths);

}  // namespace
}  // namespace nemotron::runtime::cpu

BENCHMARK_MAIN();
