#ifndef RUNTIME_ENGINE_SAMPLER_H_
#define RUNTIME_ENGINE_SAMPLER_H_

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/base/status.h"
#include "runtime/plan/step_tables.h"

namespace nemotron::runtime {

/// How the next token is chosen. Steps in this order: repetition penalty, temperature, top-k, top-p, min-p, draw.
struct SamplingOptions {
  double temperature = 1.0;  ///< 0: greedy (the lowest id among equals)
  int64_t top_k = 0;         ///< keep the k likeliest; 0: all
  double top_p = 1.0;        ///< keep the smallest set whose probability reaches p, in (0, 1]
  double min_p = 0.0;        ///< drop tokens less likely than min_p times the likeliest, in [0, 1]
  double repetition_penalty =
      1.0;               ///< > 0; logits of tokens already seen are divided (if positive) or multiplied by it
  uint64_t seed = 0;     ///< the same seed, plan and prompt give the same text
  int num_logprobs = 0;  ///< how many alternatives to report with each token

  /// kInvalidArgument naming the field and its range.
  Status Validate() const;
};

struct TokenLogprob {
  int32_t token;
  float logprob;  ///< natural logarithm of the model's probability, before any sampling option
};

struct SampledToken {
  int32_t token;
  float logprob;
  std::vector<TokenLogprob> top;  ///< num_logprobs likeliest, descending
};

/// A random stream and options. Not thread-safe. The generator is SplitMix64 counter-based, one number a token, and
/// what is drawn is a matter of integers (runtime/plan/sampling.h): the same on every platform, and on a GPU.
class Sampler {
 public:
  explicit Sampler(const SamplingOptions& options) : options_(options), state_(options.seed) {}
  /// `logits` [V]; `history` are the tokens the repetition penalty looks at.
  SampledToken Sample(std::span<const float> logits, std::span<const int32_t> history);

  /// Whether a token depends on its row of logits alone and alternatives are not asked for: a device may sample then,
  /// with the same result (Engine::Sample).
  bool needs_only_row() const { return options_.repetition_penalty == 1.0 && options_.num_logprobs == 0; }
  /// What a device samples the next token by.
  SampleEntry NextEntry();
  /// What it found.
  static SampledToken TokenOf(const SampledRow& row);

 private:
  /// The logits with the repetition penalty, if there is one.
  std::span<const float> Penalize(std::span<const float> logits, std::span<const int32_t> history);
  std::vector<TokenLogprob> Likeliest(std::span<const float> logits, const SampledRow& row);

  SamplingOptions options_;
  uint64_t state_;
  std::vector<float> penalized_;
  std::vector<int> distances_;
  std::vector<int32_t> order_;
  std::vector<uint8_t> seen_;
};

}  // namespace nemotron::runtime

#endif  // RUNTIME_ENGINE_SAMPLER_H_
