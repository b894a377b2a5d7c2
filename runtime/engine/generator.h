#ifndef RUNTIME_ENGINE_GENERATOR_H_
#define RUNTIME_ENGINE_GENERATOR_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "runtime/engine/engine.h"
#include "runtime/engine/sampler.h"

namespace nemotron::runtime {

/// Token ids of a prompt, with the special tokens of the tokenizer's template. A text that itself begins with the BOS
/// token, as one from a chat template does, gets no second one: two would change the answer.
StatusOr<std::vector<int32_t>> EncodePrompt(const Plan& plan, const Tokenizer& tokenizer, std::string_view text);

enum class FinishReason { kLength, kEndOfSequence, kStopString, kCancelled, kContextFull };
/// "length", "eos", "stop", "cancelled", "context".
const char* FinishReasonName(FinishReason reason);

struct GenerationOptions {
  SamplingOptions sampling;
  int64_t max_new_tokens = 128;
  std::vector<std::string> stop = {};  ///< text ends before the first of these; it may span tokens
  bool ignore_eos = false;
  const std::atomic<bool>* cancel = nullptr;  ///< looked at between steps and chunks; may be null
  /// New text, complete UTF-8, never any part of a stop string. May be empty (no tokenizer: never called).
  std::function<void(std::string_view text)> on_text = {};
  std::function<void(const SampledToken&)> on_token = {};
  std::function<void(int64_t done, int64_t total)> on_prefill = {};  ///< prompt tokens taken in
};

/// How the plan's makers want tokens to be drawn: by its generation section; greedy if that does not ask for sampling,
/// or is not there.
SamplingOptions SamplingDefaults(const Plan& plan);

struct GenerationResult {
  std::vector<int32_t> tokens;        ///< generated, the end token included if one was drawn
  std::vector<SampledToken> sampled;  ///< with log probabilities, one a token
  std::string text;                   ///< empty without a tokenizer
  FinishReason finish = FinishReason::kLength;
  int64_t prompt_tokens = 0;
  double prefill_ms = 0, decode_ms = 0;  ///< decode: after the first token
};

/// Feeds `prompt` to `sequence` (which may already hold tokens) and generates. The last generated token is not fed
/// back, so a caller who continues passes it in front of the next prompt; `Engine::Tokens` says what the sequence has
/// taken in.
///
/// Tokens are drawn on the device if it can (`Engine::can_sample`) and a token depends on its row of logits alone: with
/// a repetition penalty or num_logprobs the logits are copied and the host draws. The tokens are the same.
StatusOr<GenerationResult> Generate(Engine& engine, SequenceId sequence, std::span<const int32_t> prompt,
                                    const GenerationOptions& options);

struct PerplexityResult {
  double nll_per_token = 0;  ///< nats
  double perplexity = 0;
  int64_t num_tokens = 0, num_predictions = 0;
};

/// Negative log likelihood of `tokens` in windows of `window` tokens, each from an empty state: window w holds tokens
/// [w * window, (w + 1) * window] and predicts all but its first, so that every token but the first is predicted once.
StatusOr<PerplexityResult> Perplexity(Engine& engine, std::span<const int32_t> tokens, int64_t window,
                                      const std::function<void(int64_t done, int64_t total)>& progress = {});

}  // namespace nemotron::runtime

#endif  // RUNTIME_ENGINE_GENERATOR_H_
