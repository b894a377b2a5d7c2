#include "tools/run_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/cpu/cpu_info.h"
#include "runtime/engine/device.h"
#include "runtime/engine/sampler.h"

namespace nemotron::tools {
namespace {

constexpr const char* kFooter =
    R"(With a prompt, its text is generated to stdout and figures to stderr. Sampling flags that are not given have the
defaults of the plan (greedy if it has none). The same seed, plan and prompt give the same text, however many threads,
chunks or saved sessions.

Examples:
  nemotron-run m.plan --prompt "And it came to pass" -n 60
  nemotron-run m.plan --prompt-file p.txt --temperature 0.8 --top-p 0.95 --seed 7 --stop $'\n\n'
  nemotron-run m.plan --interactive                        type, read, type on; Ctrl-D ends
  nemotron-run m.plan --prompt "Once" -n 0 --save-session s.session        take in a prompt, keep its state ...
  nemotron-run m.plan --load-session s.session --prompt " upon" --json     ... and go on from it
  nemotron-run m.plan --perplexity heldout.txt --window 512
  nemotron-run --compare bf16.plan fp8.plan --text heldout.txt --layers    how far the second is from the first
  nemotron-run m.plan --prompt-ids ids.json -n 0 --logits-out logits.safetensors
  nemotron-run m.plan --prompt "Once" --profile --trace t.json             where the time goes; for chrome://tracing
  nemotron-run m.plan --memory                             what it would take, without loading

Exit codes: 0 done; 1 failure; 2 wrong flags; 3 a file that is missing, damaged or does not fit the plan; 4 not enough
memory or context; 130 Ctrl-C (what was generated until then has been printed).)";

/// CLI::Range, without its limits in --help.
CLI::Validator Between(int64_t minimum, int64_t maximum) { return CLI::Range(minimum, maximum).description(""); }

std::string CheckDevice(const std::string& name) { return runtime::CheckDeviceName(name).message(); }

}  // namespace

void AddFlags(CLI::App& app, RunOptions& options) {
  app.footer(kFooter);
  app.add_option("PLAN", options.plan, "plan file");  // required without --compare
  const char* const input = "Input";
  app.add_option("-p,--prompt", options.prompt, "text to continue")->group(input);
  app.add_option("-f,--prompt-file", options.prompt_file, "file with the text; - is stdin")->group(input);
  app.add_option("--prompt-ids", options.prompt_ids, "file with a JSON list of token ids, taken as they are")
      ->group(input);
  app.add_flag("-i,--interactive", options.interactive, "read lines from stdin and continue each")->group(input);

  const char* const generation = "Generation";
  app.add_option("-n,--num-tokens", options.num_tokens, "tokens to generate at most; 0: only take in the prompt")
      ->check(Between(0, int64_t{1} << 40))
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
      ->check(Between(0, 1024))
      ->group(generation);

  const char* const output = "Output and other work";
  app.add_flag("--json", options.as_json, "print one JSON object: text, token_ids, finish_reason, timings")
      ->group(output);
  app.add_option("--logits-out", options.logits_out, "write logits of every prompt position, [T, V] F32 safetensors")
      ->group(output);
  app.add_option("--save-session", options.save_session, "write tokens and state to this file at the end")
      ->group(output);
  app.add_option("--load-session", options.load_session, "go on from a saved session")->group(output);
  app.add_option("--tokenize", options.tokenize, "a JSON string a line in (- is stdin), a JSON list of ids a line out")
      ->group(output);
  app.add_option("--perplexity", options.perplexity, "text file to predict (- is stdin)")->group(output);
  app.add_option("--compare", options.compare, "two plans of a model: divergence, agreement, perplexities, over --text")
      ->expected(2)
      ->type_name("PLAN PLAN")
      ->group(output);
  app.add_option("--text", options.text, "text file for --compare (- is stdin); or give --prompt-ids")->group(output);
  app.add_flag("--layers", options.layers, "with --compare: how far the residual streams are apart, layer by layer")
      ->group(output);
  app.add_option("--window", options.window, "tokens a window of --perplexity and --compare, each from an empty state")
      ->check(Between(1, int64_t{1} << 30))
      ->capture_default_str()
      ->group(output);
  app.add_flag("--profile", options.profile, "time, bytes and share of the machine's peak of each kernel, to stderr")
      ->group(output);
  app.add_option("--trace", options.trace, "with --profile: write a Chrome trace of every dispatch to this file")
      ->type_name("FILE")
      ->group(output);
  app.add_flag("--memory", options.memory, "print the memory that is needed, and end")->group(output);

  const char* const resources = "Resources";
  app.add_option("-t,--threads", options.threads, "0: all cores this process may use")
      ->check(Between(0, 4096))
      ->capture_default_str()
      ->group(resources);
  app.add_flag("--pin", options.pin, "bind each thread to a core")->group(resources);
  app.add_option("-c,--context", options.context, "tokens of KV cache; 0: the model's, lowered to what memory allows")
      ->check(Between(0, int64_t{1} << 40))
      ->group(resources);
  app.add_option("--max-sequences", options.max_sequences, "sequences to make room for")
      ->check(Between(1, 65536))
      ->group(resources);
  app.add_option("--prefill-chunk", options.chunk, "most tokens of a step; 0: 512")
      ->check(Between(0, 65536))
      ->group(resources);
  app.add_option("--memory-limit", options.memory_limit, "most memory to use, e.g. 8G; 0: what is available")
      ->transform(CLI::AsSizeValue(false).description(""))
      ->group(resources);
  app.add_option("--device", options.device,
                 "cpu, cuda, cuda:N for GPU N; auto: what the plan is for, or the CPU where there is no GPU")
      ->check(CLI::Validator(CheckDevice, ""))
      ->capture_default_str()
      ->group(resources);
  const std::span<const std::string_view> isas = runtime::cpu::IsaNames();
  app.add_option("--cpu-isa", options.cpu_isa,
                 fmt::format("instead of the fastest that the CPU has: {}", fmt::join(isas, ", ")))
      ->check(CLI::IsMember(std::vector<std::string>(isas.begin(), isas.end())).description(""))
      ->group(resources);
  app.add_flag("--verify", options.verify, "compare the checksums of all weights first")->group(resources);
}

namespace {

/// What FlagConflict says of --compare and the flags that go with it alone.
std::string CompareConflict(const RunOptions& options) {
  if (options.compare.empty()) {
    return !options.text.empty() ? "--text goes with --compare only"
           : options.layers      ? "--layers goes with --compare only"
                                 : "";
  }
  if (!options.plan.empty()) {
    return "--compare names both plans, another one does not go with it";
  }
  if (options.text.empty() != options.prompt_ids.has_value()) {
    return "--compare needs a text: give one of --text and --prompt-ids";
  }
  return "";
}

}  // namespace

std::string FlagConflict(const RunOptions& options) {
  const bool compares = !options.compare.empty();
  const int prompts =
      options.prompt.has_value() + options.prompt_file.has_value() + (options.prompt_ids.has_value() && !compares);
  const int modes =
      options.interactive + options.memory + !options.tokenize.empty() + !options.perplexity.empty() + compares;
  if (options.plan.empty() && !compares) {
    return "PLAN is required";
  }
  if (prompts > 1) {
    return "give one of --prompt, --prompt-file and --prompt-ids";
  }
  if (modes > 1) {
    return "give one of --interactive, --tokenize, --perplexity, --compare and --memory";
  }
  if (const std::string conflict = CompareConflict(options); !conflict.empty()) {
    return conflict;
  }
  if (modes == 0 && prompts == 0) {
    return "nothing to do: give --prompt, --prompt-file, --prompt-ids, --interactive, --tokenize, --perplexity or "
           "--compare";
  }
  if (prompts > 0 && modes > 0 && !options.interactive) {
    return "a prompt does not go with --tokenize, --perplexity, --compare or --memory";
  }
  if (options.interactive && (options.as_json || options.prompt_ids.has_value() || !options.logits_out.empty())) {
    return "--interactive does not go with --json, --prompt-ids or --logits-out";
  }
  if (!options.trace.empty() && !options.profile) {
    return "--trace goes with --profile only";
  }
  if (options.profile && modes > 0) {
    return "--profile does not go with --interactive, --tokenize, --perplexity, --compare or --memory";
  }
  runtime::SamplingOptions sampling;
  sampling.temperature = options.temperature.value_or(1);
  sampling.top_k = options.top_k.value_or(0);
  sampling.top_p = options.top_p.value_or(1);
  sampling.min_p = options.min_p.value_or(0);
  sampling.repetition_penalty = options.repetition_penalty.value_or(1);
  return sampling.Validate().message();
}

}  // namespace nemotron::tools
