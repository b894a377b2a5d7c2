#ifndef RUNTIME_ENGINE_SCORING_H_
#define RUNTIME_ENGINE_SCORING_H_

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "runtime/engine/engine.h"

/// Running a text to score it: what perplexity, the comparison of plans and calibration share.
namespace nemotron::runtime {

/// Some tokens of a text that have been run, and what each engine says after each of them.
struct ScoredStep {
  int64_t first = 0;                       ///< index of the first token in the text
  int64_t count = 0;                       ///< tokens
  std::vector<std::vector<float>> logits;  ///< of each engine, [count, vocab_size]

  /// [vocab_size], after token `first + index`.
  std::span<const float> row(size_t engine, int64_t index) const {
    const size_t columns = logits[engine].size() / static_cast<size_t>(count);
    return std::span(logits[engine]).subspan(static_cast<size_t>(index) * columns, columns);
  }
};

/// Whether each of `tokens` but the first can be predicted: kInvalidArgument if there are fewer than two, or if the
/// last, which no step sees, is none of the vocabulary.
Status CheckPredictable(std::span<const int32_t> tokens, int64_t vocab_size);

/// Runs `tokens` through all engines, step by step one engine after the other, in windows of `window` tokens that each
/// begin with an empty state; the last may be shorter. Steps have the largest size that all engines take, so that no
/// more than their rows of logits are held. `visit` is called after each step and may end the run with an error.
/// kInvalidArgument if `window` is below 1; else the errors of Engine::Step.
Status RunInWindows(std::span<Engine* const> engines, std::span<const int32_t> tokens, int64_t window,
                    const std::function<Status(const ScoredStep& step)>& visit);

/// log(sum(exp(logits))), in double: logit - LogSumExp is the log probability of a token, in nats.
double LogSumExp(std::span<const float> logits);

}  // namespace nemotron::runtime

#endif  // RUNTIME_ENGINE_SCORING_H_
