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

/// Feeds the prompt in chunks. Returns false if it was cancelled on the way.
StatusOr<bool> Prefill(Engine& engine, SequenceId sequence, std::span<const int32_t> prompt,
                       const GenerationOptions& options, std::vector<float>* logits) {
  const auto chunk = static_cast<size_t>(engine.max_tokens_per_step());
  for (size_t done = 0; done < prompt.size();) {
    if (Cancelled(options)) {
      return false;
    }
    const size_t count = std::min(chunk, prompt.size() - done);
    const bool is_last = done + count == prompt.size();
    const StepEntry entry = {.sequence = sequence,
                             .tokens = prompt.subspan(done, count),
                             .logits = is_last ? StepEntry::Logits::kLast : StepEntry::Logits::kNone};
    RETURN_IF_ERROR(engine.Step({&entry, 1}, logits));
    done += count;
    if (options.on_prefill) {
      options.on_prefill(static_cast<int64_t>(done), static_cast<int64_t>(prompt.size()));
    }
  }
  return true;
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
  std::vector<float> logits;
  const Clock::time_point start = Clock::now();
  ASSIGN_OR_RETURN(const bool taken_in, Prefill(engine, sequence, prompt, options, &logits));
  result.prefill_ms = MillisecondsSince(start);
  if (!taken_in) {
    result.finish = FinishReason::kCancelled;
    return result;
  }

  ASSIGN_OR_RETURN(const std::span<const int32_t> before, engine.Tokens(sequence));
  TextOutput output(engine.tokenizer(), before, options, &result.text);
  Sampler sampler(options.sampling);
  const auto reserved = static_cast<size_t>(std::min<int64_t>(options.max_new_tokens, 1 << 16));
  result.tokens.reserve(reserved);
  result.sampled.reserve(reserved);
  result.finish = FinishReason::kLength;
  Clock::time_point first_token = Clock::now();
  while (static_cast<int64_t>(result.tokens.size()) < options.max_new_tokens) {
    if (!result.tokens.empty()) {
      if (Cancelled(options)) {
        result.finish = FinishReason::kCancelled;
        break;
      }
      const StepEntry entry = {.sequence = sequence, .tokens = {&result.tokens.back(), 1}};
      Status stepped = engine.Step({&entry, 1}, &logits);
      if (stepped.code() == StatusCode::kResourceExhausted) {
        result.finish = FinishReason::kContextFull;
        break;
      }
      RETURN_IF_ERROR(std::move(stepped));
    }
    ASSIGN_OR_RETURN(const std::span<const int32_t> history, engine.Tokens(sequence));
    result.sampled.push_back(sampler.Sample(logits, history));
    const int32_t token = result.sampled.back().token;
    result.tokens.push_back(token);
    if (result.tokens.size() == 1) {
      first_token = Clock::now();
    }
    if (options.on_token) {
      options.on_token(result.sampled.back());
    }
    if (!options.ignore_eos && IsEndToken(engine.plan(), token)) {
      result.finish = FinishReason::kEndOfSequence;
      break;
    }
    if (output.Add(token)) {
      result.finish = FinishReason::kStopString;
      break;
    }
  }
  output.Finish();
  result.decode_ms = MillisecondsSince(first_token);
  return result;
}

}  // namespace nemotron::runtime
