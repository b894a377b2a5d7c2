#ifndef TOOLS_RUN_OPTIONS_H_
#define TOOLS_RUN_OPTIONS_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace nemotron::tools {

/// The command line of nemotron-run; zeros and absent values have the meanings that --help gives.
struct RunOptions {
  std::string plan;
  std::optional<std::string> prompt, prompt_file, prompt_ids;
  int64_t num_tokens = 128;
  std::optional<double> temperature, top_p, min_p, repetition_penalty;
  std::optional<int64_t> top_k;
  std::optional<uint64_t> seed;
  std::vector<std::string> stop;
  int logprobs = 0;
  bool ignore_eos = false, interactive = false, as_json = false, verify = false, memory = false, layers = false;
  bool profile = false;
  std::string logits_out, tokenize, perplexity, save_session, load_session, trace;
  std::vector<std::string> compare;  ///< two plans, or none
  std::string text;
  int64_t window = 512;
  int threads = 0;
  bool pin = false;
  uint64_t memory_limit = 0;
  int64_t context = 0, max_sequences = 1, chunk = 0;
  std::string device = "auto", cpu_isa;
};

/// Declares all flags, their help and the examples.
void AddFlags(CLI::App& app, RunOptions& options);

/// What CLI11 cannot say: which flags go together, and the ranges of sampling options. Empty if all is well.
std::string FlagConflict(const RunOptions& options);

}  // namespace nemotron::tools

#endif  // TOOLS_RUN_OPTIONS_H_
