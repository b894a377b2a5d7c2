#include "runtime/engine/scoring.h"

#include <algorithm>
#include <cmath>

namespace nemotron::runtime {
namespace {

/// A sequence in each engine, released at the end.
class Sequences {
 public:
  explicit Sequences(std::span<Engine* const> engines) : engines_(engines) {}
  Sequences(const Sequences&) = delete;
  Sequences& operator=(const Sequences&) = delete;
  ~Sequences() {
    for (size_t i = 0; i < ids_.size(); ++i) {
      (void)engines_[i]->Release(ids_[i]);  // it is there
    }
  }

  Status Create() {
    for (Engine* engine : engines_) {
      ASSIGN_OR_RETURN(const SequenceId id, engine->CreateSequence());
      ids_.push_back(id);
    }
    return OkStatus();
  }

  Status Step(std::span<const int32_t> tokens, std::vector<std::vector<float>>* logits) {
    for (size_t i = 0; i < ids_.size(); ++i) {
      const StepEntry entry = {.sequence = ids_[i], .tokens = tokens, .logits = StepEntry::Logits::kAll};
      RETURN_IF_ERROR(engines_[i]->Step({&entry, 1}, &(*logits)[i]));
    }
    return OkStatus();
  }

 private:
  std::span<Engine* const> engines_;
  std::vector<SequenceId> ids_;
};

}  // namespace

Status CheckPredictable(std::span<const int32_t> tokens, int64_t vocab_size) {
  if (tokens.size() < 2) {
    return InvalidArgument("the text has {} tokens, expected at least 2", tokens.size());
  }
  if (tokens.back() < 0 || tokens.back() >= vocab_size) {  // the step checks all others
    return InvalidArgument("token id {} is out of range, expected 0 to {}", tokens.back(), vocab_size - 1);
  }
  return OkStatus();
}

Status RunInWindows(std::span<Engine* const> engines, std::span<const int32_t> tokens, int64_t window,
                    const std::function<Status(const ScoredStep& step)>& visit) {
  if (window < 1) {
    return InvalidArgument("the window is {} tokens, expected at least 1", window);
  }
  int64_t step_tokens = window;
  for (const Engine* engine : engines) {
    step_tokens = std::min({step_tokens, engine->max_tokens_per_step(), engine->max_rows_per_step()});
  }
  const auto num_tokens = static_cast<int64_t>(tokens.size());
  ScoredStep step;
  step.logits.resize(engines.size());
  for (int64_t begin = 0; begin < num_tokens; begin += window) {
    const int64_t end = std::min(begin + window, num_tokens);
    Sequences sequences(engines);
    RETURN_IF_ERROR(sequences.Create());
    for (step.first = begin; step.first < end; step.first += step.count) {
      step.count = std::min(step_tokens, end - step.first);
      RETURN_IF_ERROR(sequences.Step(tokens.subspan(static_cast<size_t>(step.first), static_cast<size_t>(step.count)),
                                     &step.logits));
      RETURN_IF_ERROR(visit(step));
    }
  }
  return OkStatus();
}

double LogSumExp(std::span<const float> logits) {
  const double maximum = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) {
    sum += std::exp(logit - maximum);
  }
  return maximum + std::log(sum);
}

}  // namespace nemotron::runtime
