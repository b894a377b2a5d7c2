// Runs a plan: generates text, takes in prompts, measures perplexity, tokenizes. Compares two.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "runtime/base/file_writer.h"
#include "runtime/base/safetensors.h"
#include "runtime/cpu/cpu_info.h"
#include "runtime/engine/compare.h"
#include "runtime/engine/engine.h"
#include "runtime/engine/generator.h"
#include "tools/compare_report.h"
#include "tools/console.h"
#include "tools/parse_flags.h"
#include "tools/run_input.h"
#include "tools/run_options.h"
#include "tools/run_profile.h"
#include "tools/run_report.h"

namespace nemotron::tools {
namespace {

using namespace nemotron::runtime;  // NOLINT: a tool is made of nothing else
using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr const char* kTool = "nemotron-run";
constexpr int64_t kLogitsBytes = int64_t{64} << 20;  // of logits held at once where every position is asked for

double MillisecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

/// The run of one command line.
class Runner {
 public:
  explicit Runner(RunOptions options) : options_(std::move(options)), interrupted_(CatchInterrupts()) {}

  int Run() {
    const Status status = RunMode();
    if (!status.ok()) {
      return PrintError(kTool, status);
    }
    return exit_code_;
  }

 private:
  Status RunMode() {
    if (!options_.cpu_isa.empty()) {
      RETURN_IF_ERROR(cpu::ForceIsa(options_.cpu_isa));
    }
    if (!options_.compare.empty()) {
      return RunCompare();
    }
    ASSIGN_OR_RETURN(plan_, LoadPlan(options_.plan));
    if (!options_.tokenize.empty()) {
      return Tokenize(*plan_, options_.tokenize);
    }
    if (options_.memory) {
      ASSIGN_OR_RETURN(const MemoryReport report, Engine::PlanMemory(*plan_, MakeEngineOptions(*plan_)));
      PrintMemory(report, options_.as_json);
      TellNote(report);
      return OkStatus();
    }
    ASSIGN_OR_RETURN(engine_, LoadEngine(plan_));
    if (!options_.perplexity.empty()) {
      return RunPerplexity();
    }
    return options_.interactive ? RunInteractive() : RunOnce();
  }

  StatusOr<std::shared_ptr<const Plan>> LoadPlan(const std::string& path) const {
    using Verify = Plan::LoadOptions::VerifyWeights;
    return Plan::Load(path, {.verify_weights = options_.verify ? Verify::kAlways : Verify::kAuto});
  }

  EngineOptions MakeEngineOptions(const Plan& plan) const {
    EngineOptions engine;
    engine.device = options_.device;
    engine.num_threads = options_.threads;
    engine.pin_threads = options_.pin;
    engine.max_tokens_per_step = options_.chunk;
    engine.context_tokens = options_.context;
    engine.memory_limit_bytes = static_cast<int64_t>(std::min<uint64_t>(options_.memory_limit, uint64_t{1} << 60));
    engine.max_sequences = options_.max_sequences;
    if (!options_.logits_out.empty()) {
      engine.max_sequences = std::max<int64_t>(engine.max_sequences, 2);  // one to generate from
    }
    const bool scores = !options_.perplexity.empty() || !options_.compare.empty();
    if (!options_.logits_out.empty() || scores) {
      const auto row_bytes = static_cast<int64_t>(plan.root().model()->vocab_size()) * 4;
      engine.max_rows_per_step = std::clamp<int64_t>(kLogitsBytes / row_bytes, 1, 512);
    }
    if (scores && options_.context == 0) {
      engine.context_tokens = options_.window;
    }
    return engine;
  }

  StatusOr<std::unique_ptr<Engine>> LoadEngine(std::shared_ptr<const Plan> plan) {
    const Clock::time_point start = Clock::now();
    ProgressBar bar("loading weights", ProgressBar::Unit::kBytes);
    EngineOptions engine_options = MakeEngineOptions(*plan);
    engine_options.load_progress = [&](int64_t done, int64_t total) { bar.Update(done, total); };
    ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, Engine::Load(std::move(plan), engine_options));
    bar.Finish();
    load_ms_ = MillisecondsSince(start);
    TellNote(engine->memory());
    return engine;
  }

  static void TellNote(const MemoryReport& report) {
    if (!report.note.empty()) {
      PrintNote(kTool, report.note);
    }
  }

  /// Draws progress over a text, and ends the process on Ctrl-C: there is nothing to save, and a window takes long.
  std::function<void(int64_t done, int64_t total)> DrawProgress(ProgressBar& bar) const {
    return [&bar, this](int64_t done, int64_t total) {
      bar.Update(done, total);
      if (interrupted_) {
        bar.Finish();
        std::_Exit(kExitInterrupted);
      }
    };
  }

  StatusOr<const Tokenizer*> NeedTokenizer() const {
    if (engine_->tokenizer() == nullptr) {
      return Error(StatusCode::kInvalidArgument, "'{}' has no tokenizer, so it takes --prompt-ids only",
                   engine_->plan().path());
    }
    return engine_->tokenizer();
  }

  Status RunPerplexity() {
    ASSIGN_OR_RETURN(const Tokenizer* tokenizer, NeedTokenizer());
    ASSIGN_OR_RETURN(const std::string text, ReadText(options_.perplexity));
    ASSIGN_OR_RETURN(const std::vector<int32_t> tokens, tokenizer->Encode(text, /*add_special_tokens=*/true));
    ProgressBar bar("perplexity", ProgressBar::Unit::kTokens);
    const Clock::time_point start = Clock::now();
    ASSIGN_OR_RETURN(const PerplexityResult result, Perplexity(*engine_, tokens, options_.window, DrawProgress(bar)));
    bar.Finish();
    const double elapsed_ms = MillisecondsSince(start);
    if (options_.as_json) {
      fmt::print("{}\n", json({{"nll_per_token", result.nll_per_token},
                               {"perplexity", result.perplexity},
                               {"tokens", result.num_tokens},
                               {"predictions", result.num_predictions},
                               {"window", options_.window},
                               {"timings", {{"load_ms", load_ms_}, {"run_ms", elapsed_ms}}}})
                             .dump(2));
    } else {
      fmt::print("{} tokens, {} predictions in windows of {}\n", result.num_tokens, result.num_predictions,
                 options_.window);
      fmt::print("negative log likelihood {:.6f} nats per token, perplexity {:.4f}\n", result.nll_per_token,
                 result.perplexity);
      std::fflush(stdout);
      fmt::print(stderr, "{:.1f} tokens/s\n", Rate(result.num_predictions, elapsed_ms));
    }
    return OkStatus();
  }

  /// --compare: the first plan is the reference, and its tokenizer the one that counts.
  Status RunCompare() {
    ASSIGN_OR_RETURN(const std::shared_ptr<const Plan> first, LoadPlan(options_.compare[0]));
    ASSIGN_OR_RETURN(const std::shared_ptr<const Plan> second, LoadPlan(options_.compare[1]));
    if (Status status = CheckComparable(*first, *second); !status.ok()) {
      return std::move(status).WithContext(fmt::format("in '{}' and '{}'", options_.compare[0], options_.compare[1]));
    }
    ASSIGN_OR_RETURN(engine_, LoadEngine(first));
    ASSIGN_OR_RETURN(const std::vector<int32_t> tokens, ReadComparedTokens());
    ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine_b, LoadEngine(second));
    ProgressBar bar("comparing", ProgressBar::Unit::kTokens);
    ASSIGN_OR_RETURN(const Comparison comparison,
                     Compare(*engine_, *engine_b, tokens,
                             {.window = options_.window, .layers = options_.layers, .progress = DrawProgress(bar)}));
    bar.Finish();
    PrintComparison(comparison, options_.window, options_.as_json);
    return OkStatus();
  }

  StatusOr<std::vector<int32_t>> ReadComparedTokens() const {
    if (options_.prompt_ids.has_value()) {
      return ReadTokenIds(*options_.prompt_ids, engine_->vocab_size());
    }
    ASSIGN_OR_RETURN(const Tokenizer* tokenizer, NeedTokenizer());
    ASSIGN_OR_RETURN(const std::string text, ReadText(options_.text));
    return tokenizer->Encode(text, /*add_special_tokens=*/true);
  }

  /// The tokens to feed; BOS and the like only in front of an empty sequence.
  StatusOr<std::vector<int32_t>> ReadPrompt(bool add_special) const {
    if (options_.prompt_ids.has_value()) {
      return ReadTokenIds(*options_.prompt_ids, engine_->vocab_size());
    }
    ASSIGN_OR_RETURN(const Tokenizer* tokenizer, NeedTokenizer());
    std::string text = options_.prompt.value_or("");
    if (options_.prompt_file.has_value()) {
      ASSIGN_OR_RETURN(text, ReadText(*options_.prompt_file));
    }
    return add_special ? EncodePrompt(*plan_, *tokenizer, text) : tokenizer->Encode(text, /*add_special_tokens=*/false);
  }

  StatusOr<SequenceId> StartSequence() {
    return options_.load_session.empty() ? engine_->CreateSequence() : engine_->Restore(options_.load_session);
  }

  GenerationOptions MakeGenerationOptions() {
    GenerationOptions generation;
    generation.sampling = SamplingDefaults(*plan_);
    SamplingOptions& sampling = generation.sampling;
    sampling.temperature = options_.temperature.value_or(sampling.temperature);
    sampling.top_k = options_.top_k.value_or(sampling.top_k);
    sampling.top_p = options_.top_p.value_or(sampling.top_p);
    sampling.min_p = options_.min_p.value_or(sampling.min_p);
    sampling.repetition_penalty = options_.repetition_penalty.value_or(sampling.repetition_penalty);
    sampling.seed = options_.seed.has_value() ? *options_.seed : std::random_device()();
    sampling.num_logprobs = options_.logprobs;
    generation.max_new_tokens = options_.num_tokens;
    generation.stop = options_.stop;
    generation.ignore_eos = options_.ignore_eos;
    generation.cancel = &interrupted_;
    if (!options_.as_json) {
      generation.on_text = [](std::string_view text) {
        std::fwrite(text.data(), 1, text.size(), stdout);
        std::fflush(stdout);
      };
    }
    return generation;
  }

  Status RunOnce() {
    ASSIGN_OR_RETURN(SequenceId sequence, StartSequence());
    ASSIGN_OR_RETURN(const int64_t length, engine_->Length(sequence));
    ASSIGN_OR_RETURN(const std::vector<int32_t> prompt, ReadPrompt(/*add_special=*/length == 0));
    if (prompt.empty()) {
      return InvalidArgument("the prompt has no tokens, expected at least one");
    }
    std::unique_ptr<RunProfile> profile;
    if (options_.profile) {
      ASSIGN_OR_RETURN(profile, RunProfile::Start(*engine_, options_.trace));
    }
    std::span<const int32_t> rest = prompt;
    double logits_ms = 0;
    if (!options_.logits_out.empty()) {
      const Clock::time_point start = Clock::now();
      ASSIGN_OR_RETURN(sequence, WriteLogits(sequence, prompt));
      logits_ms = MillisecondsSince(start);
      rest = rest.last(1);
    }
    ProgressBar bar("reading the prompt", ProgressBar::Unit::kTokens);
    GenerationOptions generation = MakeGenerationOptions();
    generation.on_prefill = [&](int64_t done, int64_t total) {
      done < total ? bar.Update(done, total) : bar.Finish();
      if (done == total && profile != nullptr) {
        profile->EndPrefill();
      }
    };
    ASSIGN_OR_RETURN(GenerationResult result, Generate(*engine_, sequence, rest, generation));
    bar.Finish();
    result.prompt_tokens = static_cast<int64_t>(prompt.size());
    result.prefill_ms += logits_ms;
    if (profile != nullptr) {
      RETURN_IF_ERROR(profile->Finish(result));
    }
    if (!options_.save_session.empty()) {
      RETURN_IF_ERROR(SaveSession(sequence, result));
    }
    const RunReport report = {.prompt = prompt,
                              .result = result,
                              .sampling = generation.sampling,
                              .tokenizer = engine_->tokenizer(),
                              .load_ms = load_ms_,
                              .profile = profile != nullptr ? profile->ToJson() : json()};
    options_.as_json ? PrintJson(report) : PrintTextEnd(report);
    if (profile != nullptr && !options_.as_json) {
      profile->Print();
    }
    if (result.finish == FinishReason::kCancelled) {
      exit_code_ = kExitInterrupted;
    }
    return OkStatus();
  }

  /// Feeds all of `prompt` and writes the logits of every position. Returns a sequence that has yet to take the last
  /// token.
  StatusOr<SequenceId> WriteLogits(SequenceId sequence, std::span<const int32_t> prompt) {
    const int64_t vocab_size = engine_->vocab_size();
    const SafetensorsTensor tensor = {
        .name = "logits", .dtype = DType::kF32, .shape = {static_cast<int64_t>(prompt.size()), vocab_size}, .data = {}};
    ASSIGN_OR_RETURN(FileWriter file, FileWriter::Create(options_.logits_out));
    const std::string header = SafetensorsHeaderBytes({&tensor, 1});
    RETURN_IF_ERROR(file.Append(std::as_bytes(std::span(header))));
    ProgressBar bar("writing logits", ProgressBar::Unit::kTokens);
    const auto chunk = static_cast<size_t>(std::min(engine_->max_tokens_per_step(), engine_->max_rows_per_step()));
    std::vector<float> logits;
    SequenceId before_last{-1};
    for (size_t done = 0; done < prompt.size();) {
      if (interrupted_) {
        return Error(StatusCode::kCancelled, "interrupted before all logits were written");
      }
      const size_t last = prompt.size() - 1;
      if (done == last) {
        ASSIGN_OR_RETURN(before_last, engine_->Fork(sequence));
      }
      const size_t count = done < last ? std::min(chunk, last - done) : 1;
      const StepEntry entry = {
          .sequence = sequence, .tokens = prompt.subspan(done, count), .logits = StepEntry::Logits::kAll};
      RETURN_IF_ERROR(engine_->Step({&entry, 1}, &logits));
      RETURN_IF_ERROR(file.Append(std::as_bytes(std::span(logits))));
      done += count;
      bar.Update(static_cast<int64_t>(done), static_cast<int64_t>(prompt.size()));
    }
    RETURN_IF_ERROR(file.Commit());
    RETURN_IF_ERROR(engine_->Release(sequence));
    return before_last;
  }

  /// The saved session holds all that was shown: the last generated token is taken in first.
  Status SaveSession(SequenceId sequence, const GenerationResult& result) {
    if (!result.tokens.empty()) {
      const StepEntry entry = {
          .sequence = sequence, .tokens = {&result.tokens.back(), 1}, .logits = StepEntry::Logits::kNone};
      RETURN_IF_ERROR(engine_->Step({&entry, 1}, nullptr));
    }
    return engine_->Save(sequence, options_.save_session);
  }

  /// Lines of stdin are appended to one sequence, each answered with generated text.
  Status RunInteractive() {
    ASSIGN_OR_RETURN(const Tokenizer* tokenizer, NeedTokenizer());
    ASSIGN_OR_RETURN(const SequenceId sequence, StartSequence());
    std::optional<int32_t> pending;  // generated last, and not taken in yet
    std::optional<std::string> first;
    if (options_.prompt.has_value() || options_.prompt_file.has_value()) {
      first = options_.prompt.value_or("");
      if (options_.prompt_file.has_value()) {
        ASSIGN_OR_RETURN(first, ReadText(*options_.prompt_file));
      }
    }
    while (true) {
      std::string line;
      if (first.has_value()) {
        line = *std::exchange(first, std::nullopt);
      } else {
        if (IsTerminal()) {
          fmt::print(stderr, "> ");
          std::fflush(stderr);
        }
        if (!std::getline(std::cin, line)) {
          break;
        }
      }
      ASSIGN_OR_RETURN(const int64_t length, engine_->Length(sequence));
      ASSIGN_OR_RETURN(std::vector<int32_t> tokens, length == 0
                                                        ? EncodePrompt(*plan_, *tokenizer, line)
                                                        : tokenizer->Encode(line, /*add_special_tokens=*/false));
      if (pending.has_value()) {
        tokens.insert(tokens.begin(), *pending);
      }
      if (tokens.empty()) {
        continue;
      }
      GenerationOptions generation = MakeGenerationOptions();
      ASSIGN_OR_RETURN(const GenerationResult result, Generate(*engine_, sequence, tokens, generation));
      pending = result.tokens.empty() ? std::nullopt : std::optional(result.tokens.back());
      fmt::print("\n");
      std::fflush(stdout);
      if (result.finish == FinishReason::kContextFull) {
        return Error(StatusCode::kResourceExhausted, "the context of {} tokens is full (--context)",
                     engine_->memory().num_pages * engine_->memory().page_tokens);
      }
      if (result.finish ==
          FinishReason::kCancelled) {  // Ctrl-C ends the answer; a second one, at the prompt, the program
        ClearInterrupt();
      }
    }
    if (interrupted_) {
      exit_code_ = kExitInterrupted;
    }
    if (!options_.save_session.empty()) {
      if (pending.has_value()) {
        const StepEntry entry = {.sequence = sequence, .tokens = {&*pending, 1}, .logits = StepEntry::Logits::kNone};
        RETURN_IF_ERROR(engine_->Step({&entry, 1}, nullptr));
      }
      RETURN_IF_ERROR(engine_->Save(sequence, options_.save_session));
    }
    return OkStatus();
  }

  RunOptions options_;
  const std::atomic<bool>& interrupted_;
  std::shared_ptr<const Plan> plan_;
  std::unique_ptr<Engine> engine_;
  double load_ms_ = 0;
  int exit_code_ = kExitOk;
};

int Main(int argc, char** argv) {
  RunOptions options;
  CLI::App app("Runs a Nemotron plan.", kTool);
  AddFlags(app, options);
  if (const std::optional<int> code = ParseFlags(app, argc, argv, kTool)) {
    return *code;
  }
  if (const std::string conflict = FlagConflict(options); !conflict.empty()) {
    return PrintError(kTool, conflict, kExitUsage);
  }
  return Runner(std::move(options)).Run();
}

}  // namespace
}  // namespace nemotron::tools

int main(int argc, char** argv) { return nemotron::tools::Main(argc, argv); }
