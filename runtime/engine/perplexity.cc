#include <cmath>

#include "runtime/engine/generator.h"
#include "runtime/engine/scoring.h"

namespace nemotron::runtime {

StatusOr<PerplexityResult> Perplexity(Engine& engine, std::span<const int32_t> tokens, int64_t window,
                                      const std::function<void(int64_t done, int64_t total)>& progress) {
  RETURN_IF_ERROR(CheckPredictable(tokens, engine.vocab_size()));
  PerplexityResult result;
  result.num_tokens = static_cast<int64_t>(tokens.size());
  result.num_predictions = result.num_tokens - 1;
  Engine* const engines[] = {&engine};
  double sum = 0;
  RETURN_IF_ERROR(RunInWindows(engines, tokens.first(tokens.size() - 1), window, [&](const ScoredStep& step) {
    for (int64_t i = 0; i < step.count; ++i) {
      const std::span<const float> logits = step.row(0, i);
      const auto target = static_cast<size_t>(tokens[static_cast<size_t>(step.first + i + 1)]);
      sum += LogSumExp(logits) - logits[target];
    }
    if (progress) {
      progress(step.first + step.count, result.num_predictions);
    }
    return OkStatus();
  }));
  result.nll_per_token = sum / static_cast<double>(result.num_predictions);
  result.perplexity = std::exp(result.nll_per_token);
  return result;
}

}  // namespace nemotron::runtime
