#include "runtime/engine/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <random>

#include "runtime/plan/sampling.h"

namespace nemotron::runtime {
namespace {

using ::testing::HasSubstr;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// How often each token comes in `count` draws.
std::map<int32_t, int> Draw(const SamplingOptions& options, const std::vector<float>& logits, int count,
                            const std::vector<int32_t>& history = {}) {
  Sampler sampler(options);
  std::map<int32_t, int> counts;
  for (int i = 0; i < count; ++i) {
    ++counts[sampler.Sample(logits, history).token];
  }
  return counts;
}

std::vector<float> LogitsOf(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) {
    logits.push_back(static_cast<float>(std::log(p)) + 3);
  }
  return logits;
}

TEST(SamplerTest, GreedyTakesTheLowestOfEqualIds) {
  Sampler sampler({.temperature = 0});
  EXPECT_EQ(sampler.Sample(std::vector<float>{1, 5, 5, 2}, {}).token, 1);
}

TEST(SamplerTest, DrawsFollowTheDistribution) {
  const std::vector<double> probabilities = {0.5, 0.25, 0.15, 0.1};
  const int n = 40000;
  auto counts = Draw({.seed = 3}, LogitsOf(probabilities), n);
  double chi_squared = 0;
  for (int32_t i = 0; i < 4; ++i) {
    const double expected = probabilities[static_cast<size_t>(i)] * n;
    chi_squared += (counts[i] - expected) * (counts[i] - expected) / expected;
  }
  EXPECT_LT(chi_squared, 16.3);  // 3 degrees of freedom, p = 0.001
}

TEST(SamplerTest, TemperatureSharpensAndFlattens) {
  const std::vector<float> logits = LogitsOf({0.8, 0.2});  // odds 4; at temperature 0.5 16, at 2 2
  EXPECT_NEAR(Draw({.temperature = 0.5}, logits, 20000)[0] / 20000.0, 16.0 / 17, 0.01);
  EXPECT_NEAR(Draw({.temperature = 2}, logits, 20000)[0] / 20000.0, 2.0 / 3, 0.015);
}

TEST(SamplerTest, TopKKeepsTheLikeliest) {
  const auto counts = Draw({.top_k = 2}, LogitsOf({0.1, 0.4, 0.2, 0.3}), 10000);
  ASSERT_EQ(counts.size(), 2u);
  EXPECT_NEAR(counts.at(1) / 10000.0, 4.0 / 7, 0.02);
  EXPECT_NEAR(counts.at(3) / 10000.0, 3.0 / 7, 0.02);
}

TEST(SamplerTest, TopKBeyondTheVocabularyKeepsAll) {
  EXPECT_EQ(Draw({.top_k = 100}, LogitsOf({0.5, 0.5}), 1000).size(), 2u);
}

TEST(SamplerTest, TopPKeepsTheSmallestSetThatReachesP) {
  const std::vector<float> logits = LogitsOf({0.2, 0.5, 0.3});
  EXPECT_EQ(Draw({.top_p = 0.4}, logits, 1000).size(), 1u);
  EXPECT_EQ(Draw({.top_p = 0.6}, logits, 1000).size(), 2u);
  EXPECT_EQ(Draw({.top_p = 0.9}, logits, 1000).size(), 3u);
  EXPECT_EQ(Draw({.top_p = 1e-300}, logits, 1000).size(), 1u);
}

TEST(SamplerTest, TopPCountsWhatTopKLeft) {
  // Of 0.4 and 0.3 the first alone has 0.57.
  EXPECT_EQ(Draw({.top_k = 2, .top_p = 0.55}, LogitsOf({0.4, 0.3, 0.2, 0.1}), 1000).size(), 1u);
}

TEST(SamplerTest, MinPDropsWhatIsRareBesideTheLikeliest) {
  const std::vector<float> logits = LogitsOf({0.5, 0.3, 0.15, 0.05});
  EXPECT_EQ(Draw({.min_p = 0.2}, logits, 2000).size(), 3u);
  EXPECT_EQ(Draw({.min_p = 1.0}, logits, 1000).size(), 1u);
}

TEST(SamplerTest, RepetitionPenaltyDividesOrMultiplies) {
  // 2 / 1.5 < 1.5 once seen; a negative logit is pushed further down.
  Sampler sampler({.temperature = 0, .repetition_penalty = 1.5});
  EXPECT_EQ(sampler.Sample(std::vector<float>{2, 1.5f}, {}).token, 0);
  const std::vector<int32_t> seen_first = {0, 0, 0};
  EXPECT_EQ(sampler.Sample(std::vector<float>{2, 1.5f}, seen_first).token, 1);
  EXPECT_EQ(sampler.Sample(std::vector<float>{-1, -1.2f}, seen_first).token, 1);
  // Once, however often it was seen: 2 / 1.5 > 1.
  EXPECT_EQ(sampler.Sample(std::vector<float>{2, 1}, seen_first).token, 0);
}

TEST(SamplerTest, TheSameSeedGivesTheSameDraws) {
  const std::vector<float> logits(100, 0.0f);
  Sampler a({.seed = 42}), b({.seed = 42}), c({.seed = 43});
  std::vector<int32_t> from_a, from_b, from_c;
  for (int i = 0; i < 50; ++i) {
    from_a.push_back(a.Sample(logits, {}).token);
    from_b.push_back(b.Sample(logits, {}).token);
    from_c.push_back(c.Sample(logits, {}).token);
  }
  EXPECT_EQ(from_a, from_b);
  EXPECT_NE(from_a, from_c);
}

/// The stream is part of what a seed promises, on every platform: SplitMix64 from state 0 begins with e220a8397b1dcdaf.
TEST(SamplerTest, TheStreamIsSplitMix64) {
  const std::vector<float> logits(1000, 0.0f);
  Sampler sampler({.seed = 0});
  EXPECT_EQ(sampler.Sample(logits, {}).token,
            static_cast<int32_t>(static_cast<double>(0xe220a8397b1dcdafull >> 11) * 0x1p-53 * 1000));
}

/// The definition by other means: tokens are sorted, and all filters are lists.
int32_t Expected(const std::vector<float>& logits, const SamplingOptions& options) {
  const SampleEntry entry = Sampler(options).NextEntry();
  const float maximum = *std::max_element(logits.begin(), logits.end());
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto distance = [&](int32_t id) { return Distance(logits[static_cast<size_t>(id)], maximum, entry.scale); };
  std::sort(order.begin(), order.end(),
            [&](int32_t a, int32_t b) { return std::pair(distance(a), a) < std::pair(distance(b), b); });
  std::erase_if(order, [&](int32_t id) { return distance(id) >= kImpossible; });
  const auto sum = [&](size_t count) {
    return std::accumulate(order.begin(), order.begin() + static_cast<ptrdiff_t>(count), Amount{0},
                           [&](Amount total, int32_t id) { return total + Weight(distance(id)); });
  };
  if (options.top_k > 0 && static_cast<size_t>(options.top_k) < order.size()) {
    order.resize(static_cast<size_t>(options.top_k));
  }
  if (options.top_p < 1) {
    size_t count = 1;
    while (static_cast<double>(sum(count)) < std::floor(options.top_p * static_cast<double>(sum(order.size())))) {
      ++count;
    }
    order.resize(count);
  }
  std::erase_if(order, [&](int32_t id) {
    return static_cast<double>(Weight(distance(id))) < options.min_p * std::ldexp(1, kWeightBits);
  });
  std::sort(order.begin(), order.end());
  const auto drawn = static_cast<Amount>(static_cast<unsigned __int128>(entry.random) * sum(order.size()) >> 64);
  size_t count = 1;
  while (sum(count) <= drawn) {
    ++count;
  }
  return order[count - 1];
}

TEST(SamplerTest, DrawsWhatSortingDoes) {
  std::mt19937 random(7);
  const auto one_of = [&](auto values) { return *(values.begin() + random() % values.size()); };
  for (uint64_t round = 0; round < 3000; ++round) {
    // Few values: tokens at one distance, of which a filter keeps some.
    const auto step = one_of(std::initializer_list<float>{0, 0.001f, 0.5f, 8});
    std::vector<float> logits(1 + random() % 60);
    for (float& logit : logits) {
      logit = random() % 10 == 0 ? -kInfinity : step * static_cast<float>(random() % 12) - 20;
    }
    logits[random() % logits.size()] = 3;
    const SamplingOptions options = {.temperature = one_of(std::initializer_list<double>{0.1, 0.7, 1, 3}),
                                     .top_k = one_of(std::initializer_list<int64_t>{0, 1, 2, 7, 20}),
                                     .top_p = one_of(std::initializer_list<double>{1e-9, 0.25, 0.5, 0.9, 1}),
                                     .min_p = one_of(std::initializer_list<double>{0, 0.01, 0.25, 1}),
                                     .seed = round};
    ASSERT_EQ(Sampler(options).Sample(logits, {}).token, Expected(logits, options)) << "round " << round;
  }
}

TEST(SamplerTest, EntriesForADeviceSayWhatOptionsDo) {
  const SampleEntry all = Sampler({.seed = 0}).NextEntry();
  EXPECT_EQ(all.scale, kScale);
  EXPECT_EQ(all.top_k, 0);
  EXPECT_EQ(all.top_p, 0);
  EXPECT_EQ(all.min_weight, 0);
  EXPECT_EQ(all.random, 0xe220a8397b1dcdaf);
  const SampleEntry some = Sampler({.temperature = 0.5, .top_k = 40, .top_p = 0.75, .min_p = 0.5}).NextEntry();
  EXPECT_EQ(some.scale, 2 * kScale);
  EXPECT_EQ(some.top_k, 40);
  EXPECT_EQ(some.top_p, 0xC000000000000000);
  EXPECT_EQ(some.min_weight, uint64_t{1} << (kWeightBits - 1));
  const SampleEntry extreme = Sampler({.temperature = 1e-310, .top_k = int64_t{1} << 40, .top_p = 1e-300}).NextEntry();
  EXPECT_EQ(extreme.scale, std::numeric_limits<float>::max());
  EXPECT_EQ(extreme.top_k, std::numeric_limits<int>::max());
  EXPECT_EQ(extreme.top_p, 1);
  EXPECT_EQ(Sampler({.temperature = 0}).NextEntry().scale, 0);
  EXPECT_GT(Sampler({.temperature = 1e300}).NextEntry().scale, 0);
  EXPECT_TRUE(Sampler({.top_k = 3}).needs_only_row());
  EXPECT_FALSE(Sampler({.repetition_penalty = 1.1}).needs_only_row());
  EXPECT_FALSE(Sampler({.num_logprobs = 1}).needs_only_row());
}

TEST(SamplerTest, ReportsLogProbabilitiesBeforeAnyOption) {
  Sampler sampler({.temperature = 0, .repetition_penalty = 100, .num_logprobs = 2});
  const std::vector<int32_t> history = {1};
  const SampledToken token = sampler.Sample(LogitsOf({0.2, 0.5, 0.3}), history);
  EXPECT_EQ(token.token, 2);
  EXPECT_NEAR(token.logprob, std::log(0.3), 1e-5);
  ASSERT_EQ(token.top.size(), 2u);
  EXPECT_EQ(token.top[0].token, 1);
  EXPECT_NEAR(token.top[0].logprob, std::log(0.5), 1e-5);
  EXPECT_EQ(token.top[1].token, 2);
}

TEST(SamplerTest, SurvivesInfinitiesAndNaN) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const double temperature : {0.0, 1e-310, 1.0}) {
    EXPECT_EQ(Draw({.temperature = temperature}, {nan, 1, -kInfinity}, 100).size(), 1u);
    EXPECT_EQ(Draw({.temperature = temperature}, {0, kInfinity, 1}, 100).begin()->first, 1);
    EXPECT_EQ(Draw({.temperature = temperature, .top_p = 0.5}, {-kInfinity, -kInfinity}, 10).begin()->first, 0);
    EXPECT_EQ(Draw({.temperature = temperature, .top_k = 1, .min_p = 0.5}, {nan, nan}, 10).begin()->first, 0);
  }
  Sampler sampler({.num_logprobs = 3});
  const SampledToken token = sampler.Sample(std::vector<float>{kInfinity, 0, nan}, {});
  EXPECT_EQ(token.logprob, 0);
  EXPECT_EQ(token.top[1].logprob, -kInfinity);
}

TEST(SamplerTest, IgnoresHistoryOutsideTheVocabulary) {
  Sampler sampler({.temperature = 0, .repetition_penalty = 2});
  const std::vector<int32_t> history = {-1, 7};
  EXPECT_EQ(sampler.Sample(std::vector<float>{2, 1}, history).token, 0);
}

TEST(SamplingOptionsTest, ValidateNamesTheField) {
  EXPECT_TRUE(SamplingOptions().Validate().ok());
  const std::pair<SamplingOptions, const char*> cases[] = {
      {{.temperature = -0.1}, "temperature is -0.1"},
      {{.temperature = std::nan("")}, "temperature is nan"},
      {{.temperature = INFINITY}, "temperature is inf"},
      {{.top_k = -1}, "top_k is -1"},
      {{.top_p = 0}, "top_p is 0"},
      {{.top_p = 1.5}, "top_p is 1.5"},
      {{.min_p = -1}, "min_p is -1"},
      {{.min_p = 1.1}, "min_p is 1.1"},
      {{.repetition_penalty = 0}, "repetition_penalty is 0"},
      {{.num_logprobs = -1}, "num_logprobs is -1"},
      {{.num_logprobs = 5000}, "num_logprobs is 5000"},
  };
  for (const auto& [options, message] : cases) {
    const Status status = options.Validate();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(status.message(), HasSubstr(message));
  }
}

}  // namespace
}  // namespace nemotron::runtime
