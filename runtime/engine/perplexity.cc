#include <algorithm>
#include <cmath>
#include <vector>

#include "runtime/engine/generator.h"

namespace nemotron::runtime {
namespace {

/// -log(softmax(logits)[target]), in nats.
double NegativeLogLikelihood(std::span<const float> logits, int32_t target) {
  const float maximum = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) {
    sum += std::exp(logit - maximum);
  }
  return maximum + std::log(sum) - logits[static_cast<size_t>(target)];
}

}  // namespace

StatusOr<PerplexityResult> Perplexity(Engine& engine, std::span<const int32_t> tokens, int64_t window,
                                      const std::function<void(int64_t done, int64_t total)>& progress) {
  if (window < 1) {
    return InvalidArgument("the window is {} tokens, expected at least 1", window);
  }
  if (tokens.size() < 2) {
    return InvalidArgument("the text has {} tokens, expected at least 2", tokens.size());
  }
  const auto vocab_size = static_cast<size_t>(engine.vocab_size());
  if (tokens.back() < 0 || tokens.back() >= engine.vocab_size()) {  // the step checks all others
    return InvalidArgument("token id {} is out of range, expected 0 to {}", tokens.back(), engine.vocab_size() - 1);
  }
  PerplexityResult result;
  result.num_tokens = static_cast<int64_t>(tokens.size());
  const int64_t num_predictions = result.num_tokens - 1;
  const int64_t chunk = std::min(engine.max_tokens_per_step(), engine.max_rows_per_step());
  std::vector<float> logits;
  double sum = 0;
  for (int64_t begin = 0; begin < num_predictions; begin += window) {
    ASSIGN_OR_RETURN(const SequenceId sequence, engine.CreateSequence());
    const int64_t end = std::min(begin + window, num_predictions);
    Status status;
    for (int64_t first = begin; first < end && status.ok(); first += chunk) {
      const int64_t count = std::min(chunk, end - first);
      const StepEntry entry = {
          .sequence = sequence,
          .tokens = tokens.subspan(static_cast<size_t>(first), static_cast<size_t>(count)),
          .logits = StepEntry::Logits::kAll,
      };
      status = engine.Step({&entry, 1}, &logits);
      for (int64_t i = 0; i < count && status.ok(); ++i) {
        sum += NegativeLogLikelihood(std::span(logits).subspan(static_cast<size_t>(i) * vocab_size, vocab_size),
                                     tokens[static_cast<size_t>(first + i + 1)]);
      }
      if (status.ok() && progress) {
        progress(first + count, num_predictions);
      }
    }
    RETURN_IF_ERROR(engine.Release(sequence));
    if (!status.ok()) {
      return status;
    }
  }
  result.num_predictions = num_predictions;
  result.nll_per_token = sum / static_cast<double>(num_predictions);
  result.perplexity = std::exp(result.nll_per_token);
  return result;
}

}  // namespace nemotron::runtime
