#include "runtime/engine/sampler.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>

namespace nemotron::runtime {
namespace {

constexpr int kMaxLogprobs = 1024;

/// The next number of SplitMix64 (Steele, Lea, Flood 2014, figure 17).
uint64_t NextRandom(uint64_t* state) {
  uint64_t z = (*state += 0x9E3779B97F4A7C15u);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

/// Uniform in [0, 1), a multiple of 2^-53.
double NextUniform(uint64_t* state) { return static_cast<double>(NextRandom(state) >> 11) * 0x1.0p-53; }

/// A logit that is not a number counts as impossible.
float Usable(float logit) { return std::isnan(logit) ? -std::numeric_limits<float>::infinity() : logit; }

/// log(sum(exp(logits))). With an infinite maximum, the maximum.
double LogSumExp(std::span<const float> logits) {
  float maximum = -std::numeric_limits<float>::infinity();
  for (const float logit : logits) {
    maximum = std::max(maximum, Usable(logit));
  }
  if (std::isinf(maximum)) {
    return maximum;
  }
  double sum = 0;
  for (const float logit : logits) {
    sum += std::exp(Usable(logit) - maximum);
  }
  return maximum + std::log(sum);
}

float LogProbability(float logit, double log_sum_exp) {
  if (std::isinf(log_sum_exp)) {  // certain, impossible, or nothing is known
    return Usable(logit) == log_sum_exp ? 0.0f : -std::numeric_limits<float>::infinity();
  }
  return static_cast<float>(Usable(logit) - log_sum_exp);
}

/// Descending by value, ascending by id among equals: a total order, so that results are the same everywhere.
struct Likelier {
  const float* values;
  bool operator()(int32_t a, int32_t b) const { return values[a] != values[b] ? values[a] > values[b] : a < b; }
};
struct LessLikely {  // for heaps, whose top is the greatest
  const float* values;
  bool operator()(int32_t a, int32_t b) const { return Likelier{values}(b, a); }
};

}  // namespace

Status SamplingOptions::Validate() const {
  if (!(temperature >= 0 && std::isfinite(temperature))) {
    return InvalidArgument("temperature is {}, expected 0 (greedy) or more", temperature);
  }
  if (top_k < 0) {
    return InvalidArgument("top_k is {}, expected 0 (off) or more", top_k);
  }
  if (!(top_p > 0 && top_p <= 1)) {
    return InvalidArgument("top_p is {}, expected above 0 and at most 1", top_p);
  }
  if (!(min_p >= 0 && min_p <= 1)) {
    return InvalidArgument("min_p is {}, expected 0 to 1", min_p);
  }
  if (!(repetition_penalty > 0 && std::isfinite(repetition_penalty))) {
    return InvalidArgument("repetition_penalty is {}, expected above 0", repetition_penalty);
  }
  if (num_logprobs < 0 || num_logprobs > kMaxLogprobs) {
    return InvalidArgument("num_logprobs is {}, expected 0 to {}", num_logprobs, kMaxLogprobs);
  }
  return OkStatus();
}

SampledToken Sampler::Sample(std::span<const float> logits, std::span<const int32_t> history) {
  assert(!logits.empty());
  const size_t vocab_size = logits.size();
  // All weights of the draw are relative to the likeliest token, which has weight 1.
  scratch_.resize(vocab_size);
  std::transform(logits.begin(), logits.end(), scratch_.begin(), Usable);
  if (options_.repetition_penalty != 1.0) {
    const auto penalty = static_cast<float>(options_.repetition_penalty);
    seen_.assign(vocab_size, 0);
    for (const int32_t token : history) {
      const auto index = static_cast<size_t>(token);
      if (index < vocab_size && seen_[index] == 0) {
        seen_[index] = 1;
        scratch_[index] = scratch_[index] > 0 ? scratch_[index] / penalty : scratch_[index] * penalty;
      }
    }
  }

  SampledToken result;
  const float* values = scratch_.data();
  const auto likeliest = static_cast<int32_t>(std::max_element(scratch_.begin(), scratch_.end()) - scratch_.begin());
  const float maximum = values[likeliest];
  if (options_.temperature == 0 || maximum == -std::numeric_limits<float>::infinity()) {
    result.token = likeliest;
  } else {
    const double inverse_temperature = 1.0 / options_.temperature;
    for (float& value : scratch_) {
      value = value == maximum ? 1.0f : static_cast<float>(std::exp((double{value} - maximum) * inverse_temperature));
    }
    order_.resize(vocab_size);
    for (size_t i = 0; i < vocab_size; ++i) {
      order_[i] = static_cast<int32_t>(i);
    }
    if (options_.top_k > 0 && static_cast<size_t>(options_.top_k) < vocab_size) {
      std::nth_element(order_.begin(), order_.begin() + (options_.top_k - 1), order_.end(), Likelier{values});
      order_.resize(static_cast<size_t>(options_.top_k));
    }
    double total = 0;
    for (const int32_t token : order_) {
      total += values[token];
    }
    if (options_.top_p < 1.0) {
      // The kept tokens gather at the end of the heap's range, likeliest last.
      const double wanted = options_.top_p * total;
      std::make_heap(order_.begin(), order_.end(), LessLikely{values});
      auto end = order_.end();
      total = 0;
      while (end != order_.begin() && total < wanted) {
        std::pop_heap(order_.begin(), end, LessLikely{values});
        --end;
        total += values[*end];
      }
      order_.erase(order_.begin(), end);
    }
    if (options_.min_p > 0) {
      const auto is_rare = [&](int32_t token) { return values[token] < options_.min_p; };
      order_.erase(std::remove_if(order_.begin(), order_.end(), is_rare), order_.end());
    }
    std::sort(order_.begin(), order_.end());  // one order of addition, whatever the filters left it in
    total = 0;
    for (const int32_t token : order_) {
      total += values[token];
    }
    double rest = NextUniform(&state_) * total;
    result.token = order_.back();
    for (const int32_t token : order_) {
      rest -= values[token];
      if (rest < 0) {
        result.token = token;
        break;
      }
    }
    if (values[result.token] == 0) {  // rounding left a rest at the end of the list
      result.token = likeliest;
    }
  }

  const double log_sum_exp = LogSumExp(logits);
  result.logprob = LogProbability(logits[static_cast<size_t>(result.token)], log_sum_exp);
  if (options_.num_logprobs > 0) {
    const auto count = std::min(vocab_size, static_cast<size_t>(options_.num_logprobs));
    std::transform(logits.begin(), logits.end(), scratch_.begin(), Usable);
    order_.resize(vocab_size);
    for (size_t i = 0; i < vocab_size; ++i) {
      order_[i] = static_cast<int32_t>(i);
    }
    std::partial_sort(order_.begin(), order_.begin() + static_cast<ptrdiff_t>(count), order_.end(),
                      Likelier{scratch_.data()});
    result.top.reserve(count);
    for (size_t i = 0; i < count; ++i) {
      result.top.push_back({order_[i], LogProbability(logits[static_cast<size_t>(order_[i])], log_sum_exp)});
    }
  }
  return result;
}

}  // namespace nemotron::runtime
