// Runs a plan: generates text, takes in prompts, measures perplexity, tokenizes.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "runtime/base/file_writer.h"
#include "runtime/base/json.h"
#include "runtime/base/safetensors.h"
#include "runtime/cpu/cpu_info.h"
#include "runtime/engine/engine.h"
#include "runtime/engine/generator.h"
#include "runtime/engine/memory.h"
#include "tools/console.h"

namespace nemotron::tools {
namespace {

using namespace nemotron::runtime;  // NOLINT: a tool is made of nothing else
using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr const char* kTool = "nemotron-run";
constexpr int64_t kLogitsBytes = int64_t{64} << 20;  // of logits held at once where every position is asked for

constexpr const char* kFooter = R"(With a prompt, its text is generated to stdout and figures to stderr. Sampling flags that are not given have the
defaults of the plan (greedy if it has none). The same seed, plan and prompt give the same text, however many threads,
chunks or saved sessions.

Examples:
  nemotron-run m.plan --prompt "And it came to pass" -n 60
  nemotron-run m.plan --prompt-file p.txt --temperature 0.8 --top-p 0.95 --seed 7 --stop "\n\n"
  nemotron-run m.plan --interactive                        type, read, type on; Ctrl-D ends
  nemotron-run m.plan --prompt "Once" -n 0 --save-session s.session        take in a prompt, keep its state ...
  nemotron-run m.plan --load-session s.session --prompt " upon" --json     ... and go on from it
  nemotron-run m.plan --perplexity heldout.txt --window 512
  nemotron-run m.plan --prompt-ids ids.json -n 0 --logits-out logits.safetensors
  nemotron-run m.plan --memory                             what it would take, without loading

Exit codes: 0 done; 1 failure; 2 wrong flags; 3 a file that is missing, damaged or does not fit the plan; 4 not enough
memory or context; 130 Ctrl-C (what was generated until then has been printed).)";

struct Options {
  std::string plan;
  std::optional<std::string> prompt, prompt_file, prompt_ids;
  int64_t num_tokens = 128;
  std::optional<double> temperature, top_p, min_p, repetition_penalty;
  std::optional<int64_t> top_k;
  std::optional<uint64_t> seed;
  std::vector<std::string> stop;
  int logprobs = 0;
  bool ignore_eos = false, interactive = false, as_json = false, verify = false, memory = false;
  std::string logits_out, tokenize, perplexity, save_session, load_session;
  int64_t window = 512;
  int threads = 0;
  uint64_t memory_limit = 0;
  int64_t context = 0, max_sequences = 1, chunk = 0;
  std::string device = "auto", cpu_isa;
};

double MillisecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

double Rate(int64_t count, double milliseconds) {
  return milliseconds > 0 ? static_cast<double>(count) * 1000 / milliseconds : 0;
}

StatusOr<std::string> ReadText(const std::string& path) {
  if (path == "-") {
    return std::string(std::istreambuf_iterator<char>(std::cin), {});
  }
  ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  return std::string(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
}

/// JSON text of what may not be UTF-8.
std::string Dump(const json& value, int indent = -1) {
  return value.dump(indent, ' ', false, json::error_handler_t::replace);
}

StatusOr<std::vector<int32_t>> ReadTokenIds(const std::string& path, int64_t vocab_size) {
  ASSIGN_OR_RETURN(const json ids, ReadJsonFile(path));
  if (!ids.is_array()) {
    return InvalidArgument("'{}' holds a JSON {}, expected a list of token ids", path, ids.type_name());
  }
  std::vector<int32_t> tokens;
  for (const json& id : ids) {
    if (!id.is_number_integer() || id < 0 || id >= vocab_size) {
      return InvalidArgument("entry {} of '{}' is {}, expected a token id from 0 to {}", tokens.size(), path, Dump(id),
                             vocab_size - 1);
    }
    tokens.push_back(id.get<int32_t>());
  }
  return tokens;
}

/// --tokenize: one JSON string a line in, one JSON list of ids a line out.
Status Tokenize(const Plan& plan, const std::string& path) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, LoadTokenizer(plan));
  ASSIGN_OR_RETURN(const std::string text, ReadText(path));
  size_t line_number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = std::string_view(text).substr(begin, end - begin);
    begin = end + 1;
    ++line_number;
    if (line.empty()) {
      continue;
    }
    const auto parsed = ParseJson(line);
    if (!parsed.ok() || !parsed->is_string()) {
      return InvalidArgument("line {} of '{}' is no JSON string", line_number, path);
    }
    auto ids = tokenizer->Encode(parsed->get_ref<const std::string&>(), /*add_special_tokens=*/true);
    if (!ids.ok()) {
      return std::move(ids).status().WithContext(fmt::format("in line {} of '{}'", line_number, path));
    }
    fmt::print("{}\n", json(*ids).dump());
  }
  return OkStatus();
}

void PrintMemory(const MemoryReport& report, bool as_json) {
  if (as_json) {
    fmt::print("{}\n", json({{"weight_bytes", report.weight_bytes},
                             {"slot_bytes", report.slot_bytes},
                             {"page_bytes", report.page_bytes},
                             {"workspace_bytes", report.workspace_bytes},
                             {"total_bytes", report.total_bytes()},
                             {"available_bytes", report.available_bytes},
                             {"num_slots", report.num_slots},
                             {"num_pages", report.num_pages},
                             {"page_tokens", report.page_tokens},
                             {"note", report.note}})
                           .dump(2));
    return;
  }
  const auto line = [](const char* name, int64_t bytes, const std::string& detail) {
    fmt::print("{:<10} {:>11}{}{}\n", name, FormatBytes(bytes), detail.empty() ? "" : "  ", detail);
  };
  line("weights", report.weight_bytes, "mapped from the file");
  line("state", report.slot_bytes, fmt::format("{} sequences", report.num_slots));
  line("KV cache", report.page_bytes, fmt::format("{} pages of {} tokens", report.num_pages, report.page_tokens));
  line("workspace", report.workspace_bytes, "");
  line("total", report.total_bytes(), fmt::format("of {}", FormatBytes(report.available_bytes)));
}

/// The run of one command line.
class Runner {
 public:
  explicit Runner(Options options) : options_(std::move(options)), interrupted_(CatchInterrupts()) {}

  int Run() {
    const Status status = RunMode();
    if (!status.ok()) {
      return PrintError(kTool, status);
    }
    return exit_code_;
  }

 private:
  Status RunMode() {
    using Verify = Plan::LoadOptions::VerifyWeights;
    ASSIGN_OR_RETURN(plan_, Plan::Load(options_.plan, {.verify_weights = options_.verify ? Verify::kAlways : Verify::kAuto}));
    if (!options_.cpu_isa.empty()) {
      RETURN_IF_ERROR(cpu::ForceIsa(options_.cpu_isa));
    }
    if (!options_.tokenize.empty()) {
      return Tokenize(*plan_, options_.tokenize);
    }
    if (options_.memory) {
      ASSIGN_OR_RETURN(const MemoryReport report, Engine::PlanMemory(*plan_, MakeEngineOptions()));
      PrintMemory(report, options_.as_json);
      return OkStatus();
    }
    RETURN_IF_ERROR(LoadEngine());
    if (!options_.perplexity.empty()) {
      return RunPerplexity();
    }
    return options_.interactive ? RunInteractive() : RunOnce();
  }

  EngineOptions MakeEngineOptions() const {
    EngineOptions engine;
    engine.device = options_.device;
    engine.num_threads = options_.threads;
    engine.max_tokens_per_step = options_.chunk;
    engine.context_tokens = options_.context;
    engine.memory_limit_bytes = static_cast<int64_t>(std::min<uint64_t>(options_.memory_limit, uint64_t{1} << 60));
    engine.max_sequences = options_.max_sequences;
    if (!options_.logits_out.empty()) {
      engine.max_sequences = std::max<int64_t>(engine.max_sequences, 2);  // one to generate from
    }
    if (!options_.logits_out.empty() || !options_.perplexity.empty()) {
      const auto row_bytes = static_cast<int64_t>(plan_->root().model()->vocab_size()) * 4;
      engine.max_rows_per_step = std::clamp<int64_t>(kLogitsBytes / row_bytes, 1, 512);
    }
    if (!options_.perplexity.empty() && options_.context == 0) {
      engine.context_tokens = options_.window;
    }
    return engine;
  }

  Status LoadEngine() {
    const Clock::time_point start = Clock::now();
    ProgressBar bar("loading weights", ProgressBar::Unit::kBytes);
    EngineOptions engine_options = MakeEngineOptions();
    engine_options.load_progress = [&](int64_t done, int64_t total) { bar.Update(done, total); };
    ASSIGN_OR_RETURN(engine_, Engine::Load(plan_, engine_options));
    bar.Finish();
    load_ms_ = MillisecondsSince(start);
    if (!engine_->memory().note.empty()) {
      PrintNote(kTool, engine_->memory().note);
    }
    return OkStatus();
  }

  StatusOr<const Tokenizer*> NeedTokenizer() const {
    if (engine_->tokenizer() == nullptr) {
      return Error(StatusCode::kInvalidArgument, "'{}' has no tokenizer, so it takes --prompt-ids only", options_.plan);
    }
    return engine_->tokenizer();
  }

  Status RunPerplexity() {
    ASSIGN_OR_RETURN(const Tokenizer* tokenizer, NeedTokenizer());
    ASSIGN_OR_RETURN(const std::string text, ReadText(options_.perplexity));
    ASSIGN_OR_RETURN(const std::vector<int32_t> tokens, tokenizer->Encode(text, /*add_special_tokens=*/true));
    ProgressBar bar("perplexity", ProgressBar::Unit::kTokens);
    const Clock::time_point start = Clock::now();
    ASSIGN_OR_RETURN(const PerplexityResult result,
                     Perplexity(*engine_, tokens, options_.window, [&](int64_t done, int64_t total) {
                       bar.Update(done, total);
                       if (interrupted_) {
                         bar.Finish();
                         std::_Exit(kExitInterrupted);  // nothing to save, and a window takes long
                       }
                     }));
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
      fmt::print("{} tokens, {} predictions in windows of {}\n", result.num_tokens, result.num_predictions, options_.window);
      fmt::print("negative log likelihood {:.6f} nats per token, perplexity {:.4f}\n", result.nll_per_token,
                 result.perplexity);
      std::fflush(stdout);
      fmt::print(stderr, "{:.1f} tokens/s\n", Rate(result.num_predictions, elapsed_ms));
    }
    return OkStatus();
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
    return tokenizer->Encode(text, add_special);
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
    };
    ASSIGN_OR_RETURN(GenerationResult result, Generate(*engine_, sequence, rest, generation));
    bar.Finish();
    result.prompt_tokens = static_cast<int64_t>(prompt.size());
    result.prefill_ms += logits_ms;
    if (!options_.save_session.empty()) {
      RETURN_IF_ERROR(SaveSession(sequence, result));
    }
    if (options_.as_json) {
      PrintJson(prompt, result, generation);
    } else {
      PrintTextEnd(result, generation);
    }
    if (result.finish == FinishReason::kCancelled) {
      exit_code_ = kExitInterrupted;
    }
    return OkStatus();
  }

  /// Feeds all of `prompt` and writes the logits of every position. Returns a sequence that has yet to take the last token.
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
      const StepEntry entry = {.sequence = sequence, .tokens = prompt.subspan(done, count), .logits = StepEntry::Logits::kAll};
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

  static int64_t DecodedTokens(const GenerationResult& result) {
    return std::max<int64_t>(0, static_cast<int64_t>(result.tokens.size()) - 1);
  }

  void PrintTextEnd(const GenerationResult& result, const GenerationOptions& generation) const {
    if (engine_->tokenizer() == nullptr) {
      fmt::print("{}\n", json(result.tokens).dump());  // no text to show: the ids
    } else if (!result.text.empty()) {
      fmt::print("\n");
    }
    std::fflush(stdout);
    if (options_.logprobs > 0) {
      for (const SampledToken& token : result.sampled) {
        fmt::print(stderr, "{}\n", Dump(LogprobJson(token)));
      }
    }
    const std::string seed =
        generation.sampling.temperature > 0 ? fmt::format(", seed {}", generation.sampling.seed) : std::string();
    fmt::print(stderr, "\nprompt {} tokens, {:.1f} tokens/s; generated {} tokens, {:.1f} tokens/s; finish {}{}\n",
               result.prompt_tokens, Rate(result.prompt_tokens, result.prefill_ms), result.tokens.size(),
               Rate(DecodedTokens(result), result.decode_ms), FinishReasonName(result.finish), seed);
  }

  std::string TokenText(int32_t token) const {
    if (engine_->tokenizer() == nullptr) {
      return "";
    }
    const auto bytes = engine_->tokenizer()->TokenBytes(token);
    return bytes.ok() ? *bytes : "";
  }

  json LogprobJson(const SampledToken& token) const {
    json top = json::array();
    for (const TokenLogprob& other : token.top) {
      top.push_back({{"token_id", other.token}, {"text", TokenText(other.token)}, {"logprob", other.logprob}});
    }
    return {{"token_id", token.token}, {"text", TokenText(token.token)}, {"logprob", token.logprob}, {"top", std::move(top)}};
  }

  void PrintJson(std::span<const int32_t> prompt, const GenerationResult& result,
                 const GenerationOptions& generation) const {
    json report = {{"text", result.text},
                   {"token_ids", result.tokens},
                   {"prompt_token_ids", std::vector<int32_t>(prompt.begin(), prompt.end())},
                   {"finish_reason", FinishReasonName(result.finish)},
                   {"seed", generation.sampling.seed},
                   {"timings",
                    {{"load_ms", load_ms_},
                     {"prefill_ms", result.prefill_ms},
                     {"prefill_tokens", result.prompt_tokens},
                     {"prefill_tokens_per_second", Rate(result.prompt_tokens, result.prefill_ms)},
                     {"decode_ms", result.decode_ms},
                     {"decode_tokens", DecodedTokens(result)},
                     {"decode_tokens_per_second", Rate(DecodedTokens(result), result.decode_ms)}}}};
    if (options_.logprobs > 0) {
      for (const SampledToken& token : result.sampled) {
        report["logprobs"].push_back(LogprobJson(token));
      }
    }
    fmt::print("{}\n", Dump(report, 2));
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
      ASSIGN_OR_RETURN(std::vector<int32_t> tokens, tokenizer->Encode(line, /*add_special_tokens=*/length == 0));
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
      if (result.finish == FinishReason::kCancelled) {  // Ctrl-C ends the answer; a second one, at the prompt, the program
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

  Options options_;
  const std::atomic<bool>& interrupted_;
  std::shared_ptr<const Plan> plan_;
  std::unique_ptr<Engine> engine_;
  double load_ms_ = 0;
  int exit_code_ = kExitOk;
};

void AddFlags(CLI::App& app, Options& options) {
  app.add_option("PLAN", options.plan, "plan file")->required();
  const char* const input = "Input";
  app.add_option("-p,--prompt", options.prompt, "text to continue")->group(input);
  app.add_option("-f,--prompt-file", options.prompt_file, "file with the text; - is stdin")->group(input);
  app.add_option("--prompt-ids", options.prompt_ids, "file with a JSON list of token ids, taken as they are")->group(input);
  app.add_flag("-i,--interactive", options.interactive, "read lines from stdin and continue each")->group(input);

  const char* const generation = "Generation";
  app.add_option("-n,--num-tokens", options.num_tokens, "tokens to generate at most; 0: only take in the prompt")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40))
      ->capture_default_str()
      ->group(generation);
  app.add_option("--temperature", options.temperature, "0: greedy, the likeliest token")->group(generation);
  app.add_option("--top-k", options.top_k, "draw from the k likeliest; 0: all")->group(generation);
  app.add_option("--top-p", options.top_p, "draw from the smallest set with this probability")->group(generation);
  app.add_option("--min-p", options.min_p, "drop tokens below this share of the likeliest")->group(generation);
  app.add_option("--repetition-penalty", options.repetition_penalty, "above 1: tokens seen become less likely")
      ->group(generation);
  app.add_option("--seed", options.seed, "of the draws; by default another each time, and printed")->group(generation);
  app.add_option("--stop", options.stop, "text ends before this string; may be given again")
      ->allow_extra_args(false)
      ->group(generation);
  app.add_flag("--ignore-eos", options.ignore_eos, "go on after the end token")->group(generation);
  app.add_option("--logprobs", options.logprobs, "report this many likeliest tokens with each token")
      ->check(CLI::Range(0, 1024))
      ->group(generation);

  const char* const output = "Output and other work";
  app.add_flag("--json", options.as_json, "print one JSON object: text, token_ids, finish_reason, timings")->group(output);
  app.add_option("--logits-out", options.logits_out, "write logits of every prompt position, [T, V] F32 safetensors")
      ->group(output);
  app.add_option("--save-session", options.save_session, "write tokens and state to this file at the end")->group(output);
  app.add_option("--load-session", options.load_session, "go on from a saved session")->group(output);
  app.add_option("--tokenize", options.tokenize, "a JSON string a line in (- is stdin), a JSON list of ids a line out")
      ->group(output);
  app.add_option("--perplexity", options.perplexity, "text file to predict (- is stdin)")->group(output);
  app.add_option("--window", options.window, "tokens a window of --perplexity, each from an empty state")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->capture_default_str()
      ->group(output);
  app.add_flag("--memory", options.memory, "print the memory that is needed, and end")->group(output);

  const char* const resources = "Resources";
  app.add_option("-t,--threads", options.threads, "0: all cores this process may use")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str()
      ->group(resources);
  app.add_option("-c,--context", options.context, "tokens of KV cache; 0: the model's, lowered to what memory allows")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40))
      ->group(resources);
  app.add_option("--max-sequences", options.max_sequences, "sequences to make room for")
      ->check(CLI::Range(1, 65536))
      ->group(resources);
  app.add_option("--prefill-chunk", options.chunk, "most tokens of a step; 0: 512")
      ->check(CLI::Range(0, 65536))
      ->group(resources);
  app.add_option("--memory-limit", options.memory_limit, "most memory to use, e.g. 8G; 0: what is available")
      ->transform(CLI::AsSizeValue(false))
      ->group(resources);
  app.add_option("--device", options.device, "auto or cpu")->capture_default_str()->group(resources);
  app.add_option("--cpu-isa", options.cpu_isa, "use less than the CPU has: portable, avx2, avx512, avx512bf16")
      ->group(resources);
  app.add_flag("--verify", options.verify, "compare the checksums of all weights first")->group(resources);
}

/// What CLI11 cannot say: which flags go together.
std::string FlagConflict(const Options& options) {
  const int prompts = options.prompt.has_value() + options.prompt_file.has_value() + options.prompt_ids.has_value();
  const int modes = options.interactive + options.memory + !options.tokenize.empty() + !options.perplexity.empty();
  if (prompts > 1) {
    return "give one of --prompt, --prompt-file and --prompt-ids";
  }
  if (modes > 1) {
    return "give one of --interactive, --tokenize, --perplexity and --memory";
  }
  if (modes == 0 && prompts == 0) {
    return "nothing to do: give --prompt, --prompt-file, --prompt-ids, --interactive, --tokenize or --perplexity";
  }
  if (prompts > 0 && modes > 0 && !options.interactive) {
    return "a prompt does not go with --tokenize, --perplexity or --memory";
  }
  if (options.interactive && (options.as_json || options.prompt_ids.has_value() || !options.logits_out.empty())) {
    return "--interactive does not go with --json, --prompt-ids or --logits-out";
  }
  SamplingOptions sampling;
  sampling.temperature = options.temperature.value_or(1);
  sampling.top_k = options.top_k.value_or(0);
  sampling.top_p = options.top_p.value_or(1);
  sampling.min_p = options.min_p.value_or(0);
  sampling.repetition_penalty = options.repetition_penalty.value_or(1);
  return sampling.Validate().message();
}

int Main(int argc, char** argv) {
  Options options;
  CLI::App app("Runs a Nemotron plan.", kTool);
  app.footer(kFooter);
  AddFlags(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  if (const std::string conflict = FlagConflict(options); !conflict.empty()) {
    return PrintError(kTool, conflict, kExitUsage);
  }
  return Runner(std::move(options)).Run();
}

}  // namespace
}  // namespace nemotron::tools

int main(int argc, char** argv) { return nemotron::tools::Main(argc, argv); }
