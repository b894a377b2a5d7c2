#include "runtime/engine/generator.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "runtime/engine/stop_strings.h"

namespace nemotron::runtime {
namespace {

using Clock = std::chrono::steady_clock;

double MillisecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

/// Turns tokens into text that is fit to be shown: whole characters, nothing of a stop string.
class TextOutput {
 public:
  /// `tokenizer` may be null: then there is no text. `before` are the tokens in front of the first.
  TextOutput(const Tokenizer* tokenizer, std::span<const int32_t> before, const GenerationOptions& options,
             std::string* text)
      : stop_strings_(options.stop), options_(options), text_(text) {
    if (tokenizer != nullptr) {
      decoder_.emplace(*tokenizer);
      for (size_t i = 0; i < before.size(); ++i) {
        // An id that the tokenizer does not know has no text; that is no reason not to continue the others.
        static_cast<void>(decoder_->Skip(before.subspan(i, 1)));
      }
    }
  }

  /// Returns whether a stop string is complete.
  bool Add(int32_t token) {
    if (decoder_.has_value()) {
      // Models have more rows of logits than tokenizers have tokens; those in excess have no text.
      const StatusOr<std::string> piece = decoder_->Append(token);
      if (piece.ok()) {
        Feed(*piece);
      }
    }
    return stop_strings_.stopped();
  }

  void Finish() {
    if (decoder_.has_value() && !stop_strings_.stopped()) {
      Feed(decoder_->Flush());
      fresh_.clear();
      stop_strings_.Flush(&fresh_);
      Emit();
    }
  }

 private:
  void Feed(std::string_view piece) {
    fresh_.clear();
    stop_strings_.Feed(piece, &fresh_);
    Emit();
  }
  void Emit() {
    if (fresh_.empty()) {
      return;
    }
    text_->append(fresh_);
    if (options_.on_text) {
      options_.on_text(fresh_);
    }
  }

  std::optional<StreamDecoder> decoder_;
  StopStrings stop_strings_;
  const GenerationOptions& options_;
  std::string* text_;
  std::string fresh_;
};

bool IsEndToken(const Plan& plan, int32_t token) {
  const auto* ids = plan.root().model()->eos_token_ids();
  return ids != nullptr && std::find(ids->begin(), ids->end(), token) != ids->end();
}

bool Cancelled(const GenerationOptions& options) { return options.cancel != nullptr && options.cancel->load(); }

/// Steps of one sequence, and the tokens that follow them: drawn on the device if it can and options allow, else from
/// logits on the host.
class TokenSource {
 public:
  TokenSource(Engine& engine, SequenceId sequence, const SamplingOptions& sampling)
      : engine_(engine),
        sequence_(sequence),
        sampler_(sampling),
        on_device_(engine.can_sample() && sampler_.needs_only_row()) {}

  /// Takes in tokens after which none is drawn.
  Status Feed(std::span<const int32_t> tokens) {
    const StepEntry entry = {.sequence = sequence_, .tokens = tokens, .logits = StepEntry::Logits::kNone};
    return engine_.Step({&entry, 1}, &logits_);
  }

  /// Takes in tokens, and draws the one that follows.
  StatusOr<SampledToken> Next(std::span<const int32_t> tokens) {
    const StepEntry entry = {.sequence = sequence_, .tokens = tokens};
    if (on_device_) {
      const SampleEntry sample = sampler_.NextEntry();
      RETURN_IF_ERROR(engine_.Sample({&entry, 1}, {&sample, 1}, &rows_));
      return Sampler::TokenOf(rows_.front());
    }
    RETURN_IF_ERROR(engine_.Step({&entry, 1}, &logits_));
    ASSIGN_OR_RETURN(const std::span<const int32_t> history, engine_.Tokens(sequence_));
    return sampler_.Sample(logits_, history);
  }

 private:
  Engine& engine_;
  SequenceId sequence_;
  Sampler sampler_;
  bool on_device_;
  std::vector<float> logits_;
  std::vector<SampledRow> rows_;
};

/// Feeds the prompt in chunks. Returns the token that follows, or none if it was cancelled on the way.
StatusOr<std::optional<SampledToken>> Prefill(TokenSource& source, size_t chunk, std::span<const int32_t> prompt,
                                              const GenerationOptions& options) {
  std::optional<SampledToken> token;
  for (size_t done = 0; done < prompt.size();) {
    if (Cancelled(options)) {
      return std::optional<SampledToken>();
    }
    const std::span<const int32_t> tokens = prompt.subspan(done, std::min(chunk, prompt.size() - done));
    done += tokens.size();
    if (done < prompt.size()) {
      RETURN_IF_ERROR(source.Feed(tokens));
    } else {
      ASSIGN_OR_RETURN(token, source.Next(tokens));
    }
    if (options.on_prefill) {
      options.on_prefill(static_cast<int64_t>(done), static_cast<int64_t>(prompt.size()));
    }
  }
  return token;
}

}  // namespace

StatusOr<std::vector<int32_t>> EncodePrompt(const Plan& plan, const Tokenizer& tokenizer, std::string_view text) {
  ASSIGN_OR_RETURN(std::vector<int32_t> ids, tokenizer.Encode(text, /*add_special_tokens=*/true));
  const int32_t bos = plan.root().model()->bos_token_id();
  if (ids.size() >= 2 && ids[0] == bos && ids[1] == bos) {
    ids.erase(ids.begin());
  }
  return ids;
}

const char* FinishReasonName(FinishReason reason) {
  switch (reason) {
    case FinishReason::kLength:
      return "length";
    case FinishReason::kEndOfSequence:
      return "eos";
    case FinishReason::kStopString:
      return "stop";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kContextFull:
      return "context";
  }
  return "unknown";
}

SamplingOptions SamplingDefaults(const Plan& plan) {
  SamplingOptions options;
  const schema::Generation* generation = plan.root().generation();
  if (generation != nullptr) {
    options.repetition_penalty = generation->repetition_penalty();
  }
  if (generation == nullptr || !generation->do_sample()) {
    options.temperature = 0;
    return options;
  }
  options.temperature = generation->temperature();
  options.top_k = generation->top_k();
  options.top_p = generation->top_p();
  options.min_p = generation->min_p();
  return options;
}

StatusOr<GenerationResult> Generate(Engine& engine, SequenceId sequence, std::span<const int32_t> prompt,
                                    const GenerationOptions& options) {
  RETURN_IF_ERROR(options.sampling.Validate());
  if (options.max_new_tokens < 0) {
    return InvalidArgument("max_new_tokens is {}, expected 0 or more", options.max_new_tokens);
  }
  if (prompt.empty()) {
    return InvalidArgument("the prompt has no tokens, expected at least one");
  }
  GenerationResult result;
  result.prompt_tokens = static_cast<int64_t>(prompt.size());
  TokenSource source(engine, sequence, options.sampling);
  const Clock::time_point start = Clock::now();
  ASSIGN_OR_RETURN(std::optional<SampledToken> token,
                   Prefill(source, static_cast<size_t>(engine.max_tokens_per_step()), prompt, options));
  result.prefill_ms = MillisecondsSince(start);
  if (!token.has_value()) {
    result.finish = FinishReason::kCancelled;
    return result;
  }

  ASSIGN_OR_RETURN(const std::span<const int32_t> before, engine.Tokens(sequence));
  TextOutput output(engine.tokenizer(), before, options, &result.text);
  const auto reserved = static_cast<size_t>(std::min<int64_t>(options.max_new_tokens, 1 << 16));
  result.tokens.reserve(reserved);
  result.sampled.reserve(reserved);
  result.finish = FinishReason::kLength;
  const Clock::time_point first_token = Clock::now();
  while (static_cast<int64_t>(result.tokens.size()) < options.max_new_tokens) {
    if (!result.tokens.empty()) {
      if (Cancelled(options)) {
        result.finish = FinishReason::kCancelled;
        break;
      }
      StatusOr<SampledToken> next = source.Next({&result.tokens.back(), 1});
      if (next.status().code() == StatusCode::kResourceExhausted) {
        result.finish = FinishReason::kContextFull;
        break;
      }
      ASSIGN_OR_RETURN(token, std::move(next));
    }
    result.tokens.push_back(token->token);
    result.sampled.push_back(*std::move(token));
    const SampledToken& last = result.sampled.back();
    if (options.on_token) {
      options.on_token(last);
    }
    if (!options.ignore_eos && IsEndToken(engine.plan(), last.token)) {
      result.finish = FinishReason::kEndOfSequence;
      break;
    }
    if (output.Add(last.token)) {
      result.finish = FinishReason::kStopString;
      break;
    }
  }
  output.Finish();
  result.decode_ms = MillisecondsSince(first_token);
  return result;
}

}  // namespace nemotron::runtime
