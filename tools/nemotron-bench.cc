// Measures the speed of prompts and of generation, as llama-bench names them. Random tokens; needs no tokenizer.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "runtime/base/dtype.h"
#include "runtime/cpu/machine_peak.h"
#include "runtime/engine/cpu_device.h"
#include "runtime/engine/engine.h"
#include "runtime/engine/memory.h"
#include "runtime/engine/profiler.h"
#include "runtime/plan/cost.h"
#include "tools/console.h"
#include "tools/gpu_prediction.h"
#include "tools/parse_flags.h"
#include "tools/profile_report.h"

namespace nemotron::tools {
namespace {

using namespace nemotron::runtime;  // NOLINT: a tool is made of nothing else

constexpr const char* kTool = "nemotron-bench";
constexpr int64_t kPageTokens = 64;
/// Tokens of a depth that are computed; speed does not depend on what those after them hold.
constexpr int64_t kComputedDepth = 64 * kPageTokens;

struct Options {
  std::string plan;
  std::vector<int64_t> prompts = {512}, generations = {64}, depths = {0}, batches = {1};
  int repetitions = 5;
  int threads = 0;
  bool pin = false;
  int64_t chunk = 512;
  uint64_t memory_limit = 0;
  uint64_t seed = 1;
  std::string predict;  // a GPU; empty: measure
  bool json = false, no_peak = false, profile = false;
};

/// One line of the table.
struct Test {
  bool is_prompt;
  int64_t num_tokens, depth, num_sequences;

  /// "pp512", "tg64@d4096", "tg64@b8".
  std::string Name() const {
    std::string name = fmt::format("{}{}", is_prompt ? "pp" : "tg", num_tokens);
    if (depth != 0) {
      name += fmt::format("@d{}", depth);
    }
    if (num_sequences != 1) {
      name += fmt::format("@b{}", num_sequences);
    }
    return name;
  }
  StepShape Shape() const {
    StepShape shape;
    shape.num_sequences = num_sequences;
    shape.num_rows = num_sequences;
    shape.num_tokens = num_sequences * (is_prompt ? num_tokens : 1);
    shape.mean_context = static_cast<double>(depth) + static_cast<double>(num_tokens + 1) / 2;
    return shape;
  }
  int64_t NumSteps() const { return is_prompt ? 1 : num_tokens; }
  /// What one repetition computes and moves.
  StepCost Cost(const schema::Plan& plan) const {
    const StepCost step = EstimateCost(plan, Shape());
    StepCost cost;
    for (int64_t i = 0; i < NumSteps(); ++i) {
      cost += step;
    }
    return cost;
  }
  /// What one repetition would take if every dispatch multiplied at the peak of its type.
  double SecondsAtPeak(const schema::Plan& plan, const cpu::MachinePeak& peak) const {
    double seconds = 0;
    for (const schema::Dispatch* dispatch : *plan.program()->dispatches()) {
      const auto products = static_cast<DType>(ProductType(plan, *dispatch));
      seconds += EstimateCost(plan, *dispatch, Shape()).flops / cpu::PeakFlops(peak, products);
    }
    return seconds * static_cast<double>(NumSteps());
  }
  int64_t Pages() const {
    const int64_t shared = depth / kPageTokens;
    return shared + 1 + num_sequences * ((depth + num_tokens + kPageTokens - 1) / kPageTokens - shared);
  }
};

struct Measurement {
  Test test;
  std::vector<double> seconds;          // sorted
  std::optional<Profile> profile = {};  // of the median run, the faster one of two
  cpu::MachinePeak peak = {};           // the better of before and after

  double Rate(double time) const { return static_cast<double>(test.num_tokens * test.num_sequences) / time; }
  double MedianSeconds() const {
    const size_t half = seconds.size() / 2;
    return seconds.size() % 2 == 1 ? seconds[half] : (seconds[half - 1] + seconds[half]) / 2;
  }
  double MedianRate() const { return Rate(MedianSeconds()); }
  double SlowestRate() const { return Rate(seconds.back()); }
  double FastestRate() const { return Rate(seconds.front()); }
};

class Bench {
 public:
  Bench(Engine& engine, uint64_t seed, bool profile) : engine_(engine), random_(seed), profiles_(profile) {}

  /// The same tokens at once and one by one must give the same bits: what is measured is right.
  Status CheckInvariance() {
    const std::vector<int32_t> tokens = RandomTokens(7);
    ASSIGN_OR_RETURN(const SequenceId whole, engine_.CreateSequence());
    ASSIGN_OR_RETURN(const SequenceId single, engine_.CreateSequence());
    std::vector<float> expected, found;
    const StepEntry all = {.sequence = whole, .tokens = tokens};
    RETURN_IF_ERROR(engine_.Step({&all, 1}, &expected));
    for (const int32_t& token : tokens) {
      const StepEntry one = {.sequence = single, .tokens = {&token, 1}};
      RETURN_IF_ERROR(engine_.Step({&one, 1}, &found));
    }
    RETURN_IF_ERROR(engine_.Release(whole));
    RETURN_IF_ERROR(engine_.Release(single));
    for (const float logit : expected) {
      if (!std::isfinite(logit)) {
        return Error(StatusCode::kInternal, "the model gives a logit of {}", logit);
      }
    }
    if (expected != found) {
      return Error(StatusCode::kInternal,
                   "7 tokens at once and one by one give different logits: a kernel is at fault");
    }
    return OkStatus();
  }

  /// Lets a sequence take in `count` random tokens, which may be 0.
  Status TakeIn(SequenceId sequence, int64_t count) {
    if (count == 0) {
      return OkStatus();
    }
    const std::vector<int32_t> tokens = RandomTokens(count);
    const StepEntry entry = {.sequence = sequence, .tokens = tokens, .logits = StepEntry::Logits::kNone};
    return engine_.Step({&entry, 1}, nullptr);
  }

  /// Fills an empty sequence up to `depth`: by the model, but from kComputedDepth on in whole pages that repeat the
  /// first.
  Status Deepen(SequenceId sequence, int64_t depth) {
    const int64_t whole = depth / kPageTokens * kPageTokens, computed = std::min(whole, kComputedDepth);
    RETURN_IF_ERROR(TakeIn(sequence, computed));
    if (computed < whole) {
      RETURN_IF_ERROR(engine_.Repeat(sequence, whole));
    }
    return TakeIn(sequence, depth - whole);
  }

  StatusOr<Measurement> Run(const Test& test, int repetitions, const std::atomic<bool>& interrupted) {
    Measurement measurement = {.test = test, .seconds = {}};
    std::vector<Profile> profiles;
    ASSIGN_OR_RETURN(const SequenceId base, engine_.CreateSequence());
    RETURN_IF_ERROR(Deepen(base, test.depth));
    for (int i = -1; i < repetitions; ++i) {  // the first only warms up
      if (interrupted) {
        return Error(StatusCode::kCancelled, "interrupted");
      }
      StepProfiler profiler;
      const ProfilerScope scope(engine_, profiles_ ? &profiler : nullptr);
      ASSIGN_OR_RETURN(const double seconds, RunOnce(test, base));
      if (i < 0) {
        continue;
      }
      measurement.seconds.push_back(seconds);
      if (profiles_) {
        profiles.push_back(
            SummarizeProfile(engine_.plan().root(), profiler.steps(), 0, profiler.steps().size(), seconds));
      }
    }
    RETURN_IF_ERROR(engine_.Release(base));
    std::sort(measurement.seconds.begin(), measurement.seconds.end());
    if (profiles_) {
      std::sort(profiles.begin(), profiles.end(),
                [](const Profile& a, const Profile& b) { return a.seconds < b.seconds; });
      measurement.profile = profiles[(profiles.size() - 1) / 2];
    }
    return measurement;
  }

 private:
  std::vector<int32_t> RandomTokens(int64_t count) {
    std::vector<int32_t> tokens(static_cast<size_t>(count));
    for (int32_t& token : tokens) {
      token = static_cast<int32_t>(random_() % static_cast<uint64_t>(engine_.vocab_size()));
    }
    return tokens;
  }

  /// A step as Generate takes it: greedy tokens come back where the device draws them, else logits.
  Status Advance(std::span<const StepEntry> entries) {
    if (!engine_.can_sample()) {
      return engine_.Step(entries, &logits_);
    }
    const std::vector<SampleEntry> greedy(entries.size());
    return engine_.Sample(entries, greedy, &rows_);
  }

  /// Seconds of one repetition, on forks of `base`.
  StatusOr<double> RunOnce(const Test& test, SequenceId base) {
    const std::vector<int32_t> tokens = RandomTokens(test.num_tokens * test.num_sequences);
    std::vector<StepEntry> entries;
    for (int64_t i = 0; i < test.num_sequences; ++i) {
      ASSIGN_OR_RETURN(const SequenceId sequence, engine_.Fork(base));
      entries.push_back({.sequence = sequence, .tokens = {}});
    }
    const int64_t num_steps = test.is_prompt ? 1 : test.num_tokens;
    const auto tokens_per_step = static_cast<size_t>(test.num_tokens / num_steps);
    const auto start = std::chrono::steady_clock::now();
    for (int64_t step = 0; step < num_steps; ++step) {
      for (size_t i = 0; i < entries.size(); ++i) {
        const size_t first = (static_cast<size_t>(step) * entries.size() + i) * tokens_per_step;
        entries[i].tokens = std::span(tokens).subspan(first, tokens_per_step);
      }
      RETURN_IF_ERROR(Advance(entries));
    }
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    for (const StepEntry& entry : entries) {
      RETURN_IF_ERROR(engine_.Release(entry.sequence));
    }
    return elapsed.count();
  }

  Engine& engine_;
  std::mt19937_64 random_;
  bool profiles_;
  std::vector<float> logits_;
  std::vector<SampledRow> rows_;
};

/// Shares of the machine's limits, or 0 if they were not measured.
struct Shares {
  double bytes_per_second, flops_per_second, read_share, flop_share;
};

Shares SharesOf(const Measurement& measurement, const schema::Plan& plan) {
  const cpu::MachinePeak& peak = measurement.peak;
  const StepCost cost = measurement.test.Cost(plan);
  const double seconds = measurement.MedianSeconds();
  Shares shares = {.bytes_per_second = cost.bytes() / seconds,
                   .flops_per_second = cost.flops / seconds,
                   .read_share = 0,
                   .flop_share = 0};
  shares.read_share = peak.read_bytes_per_second > 0 ? shares.bytes_per_second / peak.read_bytes_per_second : 0;
  shares.flop_share = peak.f32_flops > 0 ? measurement.test.SecondsAtPeak(plan, peak) / seconds : 0;
  return shares;
}

void PrintHeader(const Engine& engine, const cpu::MachinePeak& peak) {
  const Plan& plan = engine.plan();
  const schema::Model& model = *plan.root().model();
  fmt::print("{} {} ({:.3f} B parameters, {} of weights), {}\n", model.architecture()->string_view(),
             DTypeName(static_cast<DType>(model.dtype())), static_cast<double>(model.num_parameters()) * 1e-9,
             FormatBytes(plan.weight_bytes()),
             engine.device_name() == "cpu" ? fmt::format("cpu, {} threads", engine.num_threads())
                                           : std::string(engine.device_name()));
  if (peak.read_bytes_per_second > 0) {
    fmt::print("machine: {}\n", PeakText(peak));
  }
  fmt::print("\n| {:<14} | {:>10} | {:>19} | {:>9} | {:>7} | {:>9} | {:>7} |\n", "test", "tokens/s",
             "slowest to fastest", "GB/s", "of read", "GFLOP/s", "of peak");
  fmt::print("|:{:-<14}-|-{:->10}:|-{:->19}:|-{:->9}:|-{:->7}:|-{:->9}:|-{:->7}:|\n", "", "", "", "", "", "", "");
  std::fflush(stdout);
}

void PrintRow(const Measurement& measurement, const Shares& shares) {
  fmt::print("| {:<14} | {:>10.2f} | {:>19} | {:>9.1f} | {:>7} | {:>9.1f} | {:>7} |\n", measurement.test.Name(),
             measurement.MedianRate(),
             fmt::format("{:.2f} to {:.2f}", measurement.SlowestRate(), measurement.FastestRate()),
             shares.bytes_per_second * 1e-9, Percent(shares.read_share), shares.flops_per_second * 1e-9,
             Percent(shares.flop_share));
  std::fflush(stdout);
}

nlohmann::json ToJson(const Measurement& measurement, const Shares& shares) {
  const Test& test = measurement.test;
  nlohmann::json object = {{"test", test.Name()},
                           {"kind", test.is_prompt ? "pp" : "tg"},
                           {"tokens", test.num_tokens},
                           {"depth", test.depth},
                           {"sequences", test.num_sequences},
                           {"tokens_per_second", measurement.MedianRate()},
                           {"tokens_per_second_slowest", measurement.SlowestRate()},
                           {"tokens_per_second_fastest", measurement.FastestRate()},
                           {"seconds", measurement.seconds},
                           {"bytes_per_second", shares.bytes_per_second},
                           {"flops_per_second", shares.flops_per_second},
                           {"share_of_read_bandwidth", shares.read_share},
                           {"share_of_dot_peak", shares.flop_share},
                           {"peak", PeakJson(measurement.peak)}};
  if (measurement.profile.has_value()) {
    object["profile"] = ProfileJson(*measurement.profile, measurement.peak);
  }
  return object;
}

std::vector<Test> MakeTests(const Options& options) {
  std::vector<Test> tests;
  for (const int64_t depth : options.depths) {
    for (const int64_t batch : options.batches) {
      for (const bool is_prompt : {true, false}) {
        for (const int64_t count : is_prompt ? options.prompts : options.generations) {
          if (count > 0) {
            tests.push_back({is_prompt, count, depth, batch});
          }
        }
      }
    }
  }
  return tests;
}

/// Bytes on the device: weights, states and keys and values of the test's sequences, activations of its largest step.
int64_t MemoryNeeded(const Plan& plan, const Test& test, int64_t chunk) {
  const schema::Plan& root = plan.root();
  const int64_t tokens = test.num_sequences * (test.depth + test.num_tokens);
  const int64_t step_tokens = std::min(chunk, test.Shape().num_tokens);
  return plan.weight_bytes() + test.num_sequences * static_cast<int64_t>(root.slot_bytes()) +
         tokens * static_cast<int64_t>(root.kv_bytes_per_token()) +
         step_tokens * static_cast<int64_t>(root.program()->token_arena_bytes() + root.program()->zeroed_bytes()) +
         test.num_sequences * static_cast<int64_t>(root.program()->row_arena_bytes());
}

/// What the plan would do on a GPU that is not here.
int Predict(const Options& options, std::span<const Test> tests) {
  const auto gpu = FindGpu(options.predict);
  if (!gpu.ok()) {
    return PrintError(kTool, "--predict: " + gpu.status().message(), kExitUsage);
  }
  const auto plan = Plan::Load(options.plan);
  if (!plan.ok()) {
    return PrintError(kTool, plan.status());
  }
  const PredictionAssumptions assumptions;
  nlohmann::json results = nlohmann::json::array();
  constexpr const char* kRow = "| {:<14} | {:>10} | {:>10} | {:>8} | {:>9} | {:>9} | {:>10} |\n";
  if (!options.json) {
    fmt::print("{}\n", DescribeModel(*gpu, assumptions));
    fmt::print(fmt::runtime(kRow), "test", "tokens/s", "ms a step", "launches", "memory", "tensor", "needs");
  }
  for (const Test& test : tests) {
    const auto step = PredictStep(**plan, test.Shape(), *gpu, assumptions);
    if (!step.ok()) {
      return PrintError(kTool, step.status());
    }
    const double rate = static_cast<double>(test.Shape().num_tokens) / step->seconds;
    const int64_t needed = MemoryNeeded(**plan, test, options.chunk);
    if (options.json) {
      results.push_back({{"test", test.Name()},
                         {"tokens_per_second", rate},
                         {"seconds_per_step", step->seconds},
                         {"launches", step->launches},
                         {"memory_bound_seconds", step->memory_bound_seconds},
                         {"tensor_bound_seconds", step->tensor_bound_seconds},
                         {"bytes", step->cost.bytes()},
                         {"flops", step->cost.flops},
                         {"memory_needed", needed},
                         {"fits", static_cast<double>(needed) <= gpu->memory_bytes}});
      continue;
    }
    fmt::print(fmt::runtime(kRow), test.Name(), fmt::format("{:.0f}", rate), fmt::format("{:.3f}", step->seconds * 1e3),
               step->launches, Percent(step->memory_bound_seconds / step->seconds),
               Percent(step->tensor_bound_seconds / step->seconds),
               fmt::format("{}{}", FormatBytes(needed), static_cast<double>(needed) > gpu->memory_bytes ? "!" : ""));
  }
  if (options.json) {
    const nlohmann::json report = {{"plan", options.plan},
                                   {"gpu", gpu->product},
                                   {"model", DescribeModel(*gpu, assumptions)},
                                   {"results", std::move(results)}};
    fmt::print("{}\n", report.dump(2));
  }
  return kExitOk;
}

int Measure(const Options& options, std::span<const Test> tests) {
  const std::atomic<bool>& interrupted = CatchInterrupts();
  const auto plan = Plan::Load(options.plan);
  if (!plan.ok()) {
    return PrintError(kTool, plan.status());
  }
  ProgressBar load_bar("loading weights", ProgressBar::Unit::kBytes);
  EngineOptions engine_options;
  engine_options.num_threads = options.threads;
  engine_options.pin_threads = options.pin;
  engine_options.max_tokens_per_step = options.chunk;
  engine_options.page_tokens = kPageTokens;
  engine_options.memory_limit_bytes = static_cast<int64_t>(std::min<uint64_t>(options.memory_limit, uint64_t{1} << 60));
  engine_options.load_progress = [&](int64_t done, int64_t total) { load_bar.Update(done, total); };
  engine_options.max_sequences = 2;
  for (const Test& test : tests) {
    engine_options.max_sequences = std::max(engine_options.max_sequences, test.num_sequences + 1);
    engine_options.context_tokens = std::max(engine_options.context_tokens, (test.Pages() + 1) * kPageTokens);
  }
  const auto engine = Engine::Load(*plan, engine_options);
  load_bar.Finish();
  if (!engine.ok()) {
    return PrintError(kTool, engine.status());
  }
  if (const std::string& note = (*engine)->memory().note; !note.empty()) {
    PrintNote(kTool, note);
  }
  Bench bench(**engine, options.seed, options.profile);
  if (const Status status = bench.CheckInvariance(); !status.ok()) {
    return PrintError(kTool, status);
  }
  CpuDevice threads((*engine)->num_threads(), options.pin);
  std::optional<cpu::PeakMeter> meter;
  if (!options.no_peak && (*engine)->device_name() == "cpu") {
    const auto pool = threads.StartThreads();
    if (!pool.ok()) {
      return PrintError(kTool, pool.status());
    }
    meter.emplace(**pool);
  }
  const auto measure_peak = [&] { return meter.has_value() ? meter->Measure() : cpu::MachinePeak(); };
  cpu::MachinePeak before = measure_peak(), best = before;
  nlohmann::json results = nlohmann::json::array();
  std::vector<Measurement> profiled;
  if (!options.json) {
    PrintHeader(**engine, before);
  }
  for (const Test& test : tests) {
    auto measurement = bench.Run(test, options.repetitions, interrupted);
    if (!measurement.ok()) {
      return PrintError(kTool, measurement.status());
    }
    const cpu::MachinePeak after = measure_peak();
    measurement->peak = cpu::BetterOf(before, after);
    best = cpu::BetterOf(best, after);
    before = after;
    const Shares shares = SharesOf(*measurement, (*engine)->plan().root());
    if (options.json) {
      results.push_back(ToJson(*measurement, shares));
      continue;
    }
    PrintRow(*measurement, shares);
    if (options.profile) {
      profiled.push_back(*std::move(measurement));
    }
  }
  for (const Measurement& measurement : profiled) {
    PrintProfile(stdout, measurement.test.Name(), *measurement.profile, measurement.peak);
  }
  if (options.json) {
    const schema::Model& model = *(*engine)->plan().root().model();
    const nlohmann::json report = {{"plan", options.plan},
                                   {"architecture", model.architecture()->str()},
                                   {"dtype", DTypeName(static_cast<DType>(model.dtype()))},
                                   {"num_parameters", model.num_parameters()},
                                   {"weight_bytes", (*engine)->plan().weight_bytes()},
                                   {"device", (*engine)->device_name()},
                                   {"threads", (*engine)->num_threads()},
                                   {"read_bytes_per_second", best.read_bytes_per_second},
                                   {"bf16_flops_per_second", best.bf16_flops},
                                   {"int8_ops_per_second", best.int8_ops},
                                   {"f32_flops_per_second", best.f32_flops},
                                   {"results", results}};
    fmt::print("{}\n", report.dump(2));
  }
  return kExitOk;
}

int Main(int argc, char** argv) {
  Options options;
  CLI::App app("Measures how fast a plan takes in prompts (pp) and generates tokens (tg).", kTool);
  app.footer(
      R"(Each test is run once to warm up and -r times for the figures: median, slowest, fastest. Tests at a depth
start from sequences that already hold that many tokens: up to 4096 are computed, further ones repeat
their keys and values. Bytes are weights, states and KV cache that a run must move, flops those of
matrices, attention and scan; shares are of what this machine was measured to reach beside the tests.

Examples:
  nemotron-bench m.plan                          pp512 and tg64
  nemotron-bench m.plan -p 128,512 -n 0          prompts only
  nemotron-bench m.plan -p 0 -d 0,4096,16384     generation at depth
  nemotron-bench m.plan -p 0 --profile           where the time of generation goes, kernel by kernel
  nemotron-bench m.plan -p 0 -b 1,4,16 --json    several sequences at once, as JSON
  nemotron-bench gpu.plan --predict h100         a model of an H100, not a measurement; ! does not fit its memory

Exit codes: 0 done, 1 failure, 2 wrong flags, 3 a plan that cannot be used, 4 not enough memory, 130 Ctrl-C.)");
  const auto list = [&](const char* name, std::vector<int64_t>& values, const char* text, int64_t minimum) {
    app.add_option(name, values, text)
        ->delimiter(',')
        ->check(CLI::Range(minimum, int64_t{1} << 24).description(""))
        ->capture_default_str();
  };
  app.add_option("PLAN", options.plan, "plan file")->required();
  list("-p,--prompt", options.prompts, "tokens of prompts, a list; 0: none", 0);
  list("-n,--generate", options.generations, "tokens to generate, a list; 0: none", 0);
  list("-d,--depth", options.depths, "tokens that sequences hold before, a list", 0);
  list("-b,--batch", options.batches, "sequences at once, a list", 1);
  app.add_option("-r,--repetitions", options.repetitions, "runs of each test")
      ->check(CLI::Range(1, 10000).description(""))
      ->capture_default_str();
  app.add_option("-t,--threads", options.threads, "threads; 0: all cores this process may use")
      ->check(CLI::Range(0, 4096).description(""))
      ->capture_default_str();
  app.add_flag("--pin", options.pin, "bind each thread to a core");
  app.add_option("--prefill-chunk", options.chunk, "most tokens of a step")
      ->check(CLI::Range(1, 65536).description(""))
      ->capture_default_str();
  app.add_option("--memory-limit", options.memory_limit, "most memory to use, e.g. 8G; 0: what is available")
      ->transform(CLI::AsSizeValue(false).description(""));
  app.add_option("--seed", options.seed, "of the random tokens")->capture_default_str();
  app.add_flag("--no-peak", options.no_peak, "do not measure the machine");
  app.add_flag("--profile", options.profile, "time, bytes and flops of each kernel, in a table a test");
  app.add_option("--predict", options.predict,
                 "GPU that is not here: what its published figures let expect of a plan for GPUs (a100, l40s, rtx4090, "
                 "h100, h200, b200, rtx5090)");
  app.add_flag("--json", options.json, "print JSON");
  if (const std::optional<int> code = ParseFlags(app, argc, argv, kTool)) {
    return *code;
  }
  const std::vector<Test> tests = MakeTests(options);
  if (tests.empty()) {
    return PrintError(kTool, "nothing to measure: both -p and -n are 0", kExitUsage);
  }
  return options.predict.empty() ? Measure(options, tests) : Predict(options, tests);
}

}  // namespace
}  // namespace nemotron::tools

int main(int argc, char** argv) { return nemotron::tools::Main(argc, argv); }
