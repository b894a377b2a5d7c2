#include "runtime/engine/sampler.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <limits>
#include <numeric>

#include "runtime/plan/sampling.h"

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

/// A logit that is not a number counts as impossible.
float Usable(float logit) { return std::isnan(logit) ? -std::numeric_limits<float>::infinity() : logit; }

/// The lowest id of the largest logit.
int32_t GreedyToken(std::span<const float> logits) {
  float maximum = -std::numeric_limits<float>::infinity();
  size_t token = 0;
  for (size_t id = 0; id < logits.size(); ++id) {
    if (logits[id] > maximum) {
      maximum = logits[id];
      token = id;
    }
  }
  return static_cast<int32_t>(token);
}

float LogProbability(float logit, float maximum, Amount sum) {
  if (std::isinf(maximum)) {  // certain, impossible, or nothing is known
    return Usable(logit) == maximum ? 0.0f : -std::numeric_limits<float>::infinity();
  }
  const double log_sum = std::log(std::ldexp(static_cast<double>(sum), -kWeightBits));
  return static_cast<float>(double{Usable(logit)} - maximum - log_sum);
}

/// Calls `visit` with ids, ascending, and distances of what is kept.
template <class Visit>
void ForEachKept(std::span<const int> distances, Cut cut, Visit visit) {
  for (size_t id = 0; id < distances.size(); ++id) {
    const int distance = distances[id];
    if (distance < cut.distance || (distance == cut.distance && cut.num_ties-- > 0)) {
      visit(id, distance);
    }
  }
}

/// The first of what is kept whose amounts, which their distances tell, reach `wanted_of` the sum of all; all if they
/// do not. Finds the digits of the last one's distance, highest first, from what each value of a digit adds up to.
template <class AmountOf, class WantedOf>
Cut Select(std::span<const int> distances, Cut kept, AmountOf amount_of, WantedOf wanted_of) {
  constexpr int kDigitBits = 10, kDigits = 1 << kDigitBits;
  int found = 0;  // the digits so far
  Amount wanted = 0;
  for (int shift = 2 * kDigitBits; shift >= 0; shift -= kDigitBits) {
    std::array<Amount, kDigits> amounts = {};
    ForEachKept(distances, kept, [&](size_t, int distance) {
      if (distance >> shift >> kDigitBits == found) {
        amounts[static_cast<size_t>(distance >> shift) % kDigits] += amount_of(distance);
      }
    });
    if (shift == 2 * kDigitBits) {
      wanted = wanted_of(std::accumulate(amounts.begin(), amounts.end(), Amount{0}));
    }
    size_t digit = 0;
    while (digit < kDigits && amounts[digit] < wanted) {
      wanted -= amounts[digit++];
    }
    if (digit == kDigits) {
      return kept;
    }
    found = found << kDigitBits | static_cast<int>(digit);
  }
  const Amount each = amount_of(found);
  return {.distance = found, .num_ties = static_cast<int>((wanted + each - 1) / each)};
}

/// The token that `entry` draws; `distances` are those of all logits.
int32_t Draw(std::span<const int> distances, const SampleEntry& entry) {
  Cut cut;
  if (entry.top_k > 0) {
    const auto one = [](int) { return Amount{1}; };
    cut = Select(distances, cut, one, [&](Amount) { return static_cast<Amount>(entry.top_k); });
  }
  if (entry.top_p > 0) {
    cut = Select(distances, cut, Weight, [&](Amount total) { return TopPAmount(entry.top_p, total); });
  }
  const auto weight_of = [&](int distance) {
    const Amount weight = Weight(distance);
    return weight >= entry.min_weight ? weight : 0;
  };
  Amount total = 0;
  ForEachKept(distances, cut, [&](size_t, int distance) { total += weight_of(distance); });
  Amount rest = MultiplyHigh(entry.random, total);
  int32_t token = -1;
  ForEachKept(distances, cut, [&](size_t id, int distance) {
    const Amount weight = weight_of(distance);
    if (token < 0 && rest < weight) {
      token = static_cast<int32_t>(id);
    }
    rest -= weight;
  });
  return token;
}

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

SampleEntry Sampler::NextEntry() {
  SampleEntry entry = {};
  if (options_.temperature > 0) {
    entry.scale = static_cast<float>(std::clamp<double>(
        kScale / options_.temperature, std::numeric_limits<float>::min(), std::numeric_limits<float>::max()));
  }
  entry.top_k = static_cast<int>(std::min<int64_t>(options_.top_k, std::numeric_limits<int>::max()));
  if (options_.top_p < 1) {
    entry.top_p = std::max<Amount>(1, static_cast<Amount>(std::ldexp(options_.top_p, 64)));
  }
  entry.min_weight = static_cast<Amount>(std::ceil(std::ldexp(options_.min_p, kWeightBits)));
  entry.random = NextRandom(&state_);
  return entry;
}

SampledToken Sampler::TokenOf(const SampledRow& row) {
  return {.token = row.token, .logprob = LogProbability(row.logit, row.maximum, row.sum), .top = {}};
}

std::span<const float> Sampler::Penalize(std::span<const float> logits, std::span<const int32_t> history) {
  if (options_.repetition_penalty == 1.0) {
    return logits;
  }
  const auto penalty = static_cast<float>(options_.repetition_penalty);
  penalized_.assign(logits.begin(), logits.end());
  seen_.assign(logits.size(), 0);
  for (const int32_t token : history) {
    const auto index = static_cast<size_t>(token);
    if (index < logits.size() && seen_[index] == 0) {
      seen_[index] = 1;
      float& logit = penalized_[index];
      logit = logit > 0 ? logit / penalty : logit * penalty;
    }
  }
  return penalized_;
}

std::vector<TokenLogprob> Sampler::Likeliest(std::span<const float> logits, const SampledRow& row) {
  const auto count = std::min(logits.size(), static_cast<size_t>(options_.num_logprobs));
  order_.resize(logits.size());
  std::iota(order_.begin(), order_.end(), 0);
  const auto logit_of = [&](int32_t token) { return Usable(logits[static_cast<size_t>(token)]); };
  const auto is_likelier = [&](int32_t a, int32_t b) {
    return logit_of(a) != logit_of(b) ? logit_of(a) > logit_of(b) : a < b;
  };
  std::partial_sort(order_.begin(), order_.begin() + static_cast<ptrdiff_t>(count), order_.end(), is_likelier);
  std::vector<TokenLogprob> likeliest;
  for (size_t i = 0; i < count; ++i) {
    likeliest.push_back({order_[i], LogProbability(logit_of(order_[i]), row.maximum, row.sum)});
  }
  return likeliest;
}

SampledToken Sampler::Sample(std::span<const float> logits, std::span<const int32_t> history) {
  assert(!logits.empty());
  const SampleEntry entry = NextEntry();
  const std::span<const float> penalized = Penalize(logits, history);
  SampledRow row = {};
  row.token = GreedyToken(penalized);
  const float maximum = Usable(penalized[static_cast<size_t>(row.token)]);
  if (entry.scale > 0 && maximum != -std::numeric_limits<float>::infinity()) {
    distances_.resize(penalized.size());
    std::transform(penalized.begin(), penalized.end(), distances_.begin(),
                   [&](float logit) { return Distance(logit, maximum, entry.scale); });
    row.token = Draw(distances_, entry);
  }
  row.logit = logits[static_cast<size_t>(row.token)];
  row.maximum = Usable(logits[static_cast<size_t>(GreedyToken(logits))]);
  for (const float logit : logits) {
    row.sum += Weight(Distance(logit, row.maximum, kScale));
  }
  SampledToken result = TokenOf(row);
  if (options_.num_logprobs > 0) {
    result.top = Likeliest(logits, row);
  }
  return result;
}

}  // namespace nemotron::runtime
