#include "runtime/engine/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "runtime/engine/generator.h"
#include "tests/runtime/plan/tiny_plan.h"

namespace nemotron::runtime {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// The tiny plan with its first weight, the embedding, changed by up to `noise` of its values.
testing::PlanDraft NoisyDraft(float noise, const testing::TinyPlanOptions& options = {}) {
  testing::PlanDraft draft = testing::MakeTinyPlan(options);
  std::mt19937 random(5);
  std::uniform_real_distribution<float> factor(1 - noise, 1 + noise);
  auto* values = reinterpret_cast<float*>(draft.segments.data());
  for (int i = 0; i < 40 * 16; ++i) {
    values[i] *= factor(random);
  }
  return draft;
}

/// The draft in an engine, whatever the checksums of its weights say.
std::unique_ptr<Engine> Load(const testing::PlanDraft& draft, int64_t max_tokens = 512, int threads = 1) {
  auto bytes = std::make_shared<testing::AlignedBytes>(testing::PackPlan(draft));
  auto plan = Plan::FromBytes(std::as_const(*bytes).span(),
                              {.verify_weights = Plan::LoadOptions::VerifyWeights::kNever}, bytes);
  EXPECT_TRUE(plan.ok()) << plan.status().message();
  auto engine =
      Engine::Load(*plan, {.num_threads = threads, .max_tokens_per_step = max_tokens, .max_rows_per_step = max_tokens});
  EXPECT_TRUE(engine.ok()) << engine.status().message();
  return std::move(engine).value();
}

class CompareTest : public ::testing::Test {
 protected:
  /// Logits of all positions but the last, window by window.
  std::vector<std::vector<float>> Logits(Engine& engine, size_t window) {
    std::vector<std::vector<float>> rows;
    for (size_t begin = 0; begin + 1 < tokens_.size(); begin += window) {
      const SequenceId sequence = *engine.CreateSequence();
      const StepEntry entry = {
          .sequence = sequence,
          .tokens = std::span(tokens_).subspan(begin, std::min(window, tokens_.size() - 1 - begin)),
          .logits = StepEntry::Logits::kAll};
      std::vector<float> logits;
      EXPECT_TRUE(engine.Step({&entry, 1}, &logits).ok());
      EXPECT_TRUE(engine.Release(sequence).ok());
      for (size_t i = 0; i < logits.size(); i += 40) {
        rows.emplace_back(logits.begin() + i, logits.begin() + i + 40);
      }
    }
    return rows;
  }

  std::vector<int32_t> tokens_ = [] {
    std::mt19937 random(9);
    std::vector<int32_t> tokens(151);
    std::generate(tokens.begin(), tokens.end(), [&] { return static_cast<int32_t>(random() % 40); });
    return tokens;
  }();
};

/// In long double, from the definition.
long double KL(const std::vector<float>& a, const std::vector<float>& b) {
  long double sum_a = 0, sum_b = 0, kl = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    sum_a += std::exp(static_cast<long double>(a[i]));
    sum_b += std::exp(static_cast<long double>(b[i]));
  }
  for (size_t i = 0; i < a.size(); ++i) {
    const long double p = std::exp(static_cast<long double>(a[i])) / sum_a;
    const long double q = std::exp(static_cast<long double>(b[i])) / sum_b;
    kl += p * std::log(p / q);
  }
  return kl;
}

TEST_F(CompareTest, AgreesWithTheDefinitions) {
  auto a = Load(NoisyDraft(0)), b = Load(NoisyDraft(0.3f));
  int64_t last = 0;
  const auto found = Compare(*a, *b, tokens_, {.window = 40, .progress = [&](int64_t done, int64_t total) {
                                                 EXPECT_EQ(total, 150);
                                                 last = done;
                                               }});
  ASSERT_TRUE(found.ok()) << found.status().message();
  EXPECT_EQ(last, 150);
  EXPECT_EQ(found->num_tokens, 151);
  EXPECT_EQ(found->num_positions, 150);
  EXPECT_TRUE(found->layers.empty());

  const auto rows_a = Logits(*a, 40), rows_b = Logits(*b, 40);
  ASSERT_EQ(rows_a.size(), 150u);
  std::vector<double> kl;
  int agreed = 0;
  for (size_t i = 0; i < 150; ++i) {
    kl.push_back(static_cast<double>(KL(rows_a[i], rows_b[i])));
    agreed += std::ranges::max_element(rows_a[i]) - rows_a[i].begin() ==
              std::ranges::max_element(rows_b[i]) - rows_b[i].begin();
  }
  EXPECT_GT(agreed, 0);
  EXPECT_LT(agreed, 150);
  EXPECT_DOUBLE_EQ(found->top1_agreement, agreed / 150.0);
  EXPECT_EQ(found->kl_max_token, std::max_element(kl.begin(), kl.end()) - kl.begin() + 1);
  double sum = 0;
  for (const double value : kl) {
    sum += value;
  }
  std::sort(kl.begin(), kl.end());
  EXPECT_NEAR(found->kl_mean / (sum / 150), 1, 1e-10);
  EXPECT_NEAR(found->kl_max / kl[149], 1, 1e-10);
  EXPECT_NEAR(found->kl_p99 / kl[148], 1, 1e-10);  // rank 149 of 150 is the first that 99 % do not exceed
  EXPECT_EQ(found->perplexity_a, Perplexity(*a, tokens_, 40)->perplexity);
  EXPECT_EQ(found->perplexity_b, Perplexity(*b, tokens_, 40)->perplexity);
  EXPECT_EQ(found->perplexity_ratio(), found->perplexity_b / found->perplexity_a);
  EXPECT_NE(found->perplexity_ratio(), 1);
}

TEST_F(CompareTest, APlanIsLikeItself) {
  auto a = Load(NoisyDraft(0)), b = Load(NoisyDraft(0));
  const auto found = Compare(*a, *b, tokens_, {.window = 64, .layers = true});
  ASSERT_TRUE(found.ok()) << found.status().message();
  EXPECT_EQ(found->kl_max, 0);
  EXPECT_EQ(found->top1_agreement, 1);
  EXPECT_EQ(found->perplexity_ratio(), 1);
  ASSERT_EQ(found->layers.size(), 1u);
  EXPECT_EQ(found->layers[0].relative_error, 0);
  EXPECT_EQ(found->layers[0].cosine, 1);
}

TEST_F(CompareTest, DoesNotDependOnStepsAndThreads) {
  const CompareOptions options = {.window = 64, .layers = true};
  const auto whole = Compare(*Load(NoisyDraft(0)), *Load(NoisyDraft(0.3f)), tokens_, options);
  const auto cut = Compare(*Load(NoisyDraft(0), 7, 2), *Load(NoisyDraft(0.3f), 30, 3), tokens_, options);
  ASSERT_TRUE(whole.ok() && cut.ok());
  EXPECT_EQ(whole->kl_mean, cut->kl_mean);
  EXPECT_EQ(whole->perplexity_b, cut->perplexity_b);
  EXPECT_EQ(whole->layers[0].relative_error, cut->layers[0].relative_error);
  EXPECT_GT(whole->layers[0].relative_error, 0);
}

/// The embedding alone on the stream of the first norm; the next one's has another norm's branch.
TEST_F(CompareTest, ComparesResidualStreams) {
  const testing::TinyPlanOptions options = {.with_recurrence = false, .with_attention = false};
  auto a = Load(NoisyDraft(0, options)), b = Load(NoisyDraft(0.3f, options));
  const auto found = Compare(*a, *b, tokens_, {.window = 64, .layers = true});
  ASSERT_TRUE(found.ok()) << found.status().message();
  ASSERT_EQ(found->layers.size(), 1u);
  EXPECT_EQ(found->layers[0].behind, "");
  EXPECT_EQ(found->layers[0].layer, -1);
  EXPECT_EQ(found->layers[0].kind, "");
  // Without layers the stream is twice the embedding of each token.
  const auto table = [](const Engine& engine) {
    return reinterpret_cast<const float*>(
        engine.plan().SegmentBytes(*engine.plan().root().weights()->Get(0)->segment()).data());
  };
  double aa = 0, bb = 0, ab = 0, difference = 0;
  for (size_t i = 0; i + 1 < tokens_.size(); ++i) {
    for (int column = 0; column < 16; ++column) {
      const double x = table(*a)[tokens_[i] * 16 + column], y = table(*b)[tokens_[i] * 16 + column];
      aa += x * x, bb += y * y, ab += x * y, difference += (y - x) * (y - x);
    }
  }
  EXPECT_NEAR(found->layers[0].relative_error, std::sqrt(difference / aa), 1e-9);
  EXPECT_NEAR(found->layers[0].cosine, ab / std::sqrt(aa * bb), 1e-9);
  EXPECT_LT(found->layers[0].cosine, 1);
}

TEST_F(CompareTest, NamesPlacesByTheNormBefore) {
  auto a = Load(testing::MakeTinyPlan({.with_all_kernels = true}));
  auto b = Load(testing::MakeTinyPlan({.with_all_kernels = true}));
  const auto found = Compare(*a, *b, tokens_, {.window = 64, .layers = true});
  ASSERT_TRUE(found.ok()) << found.status().message();
  std::vector<std::string> behind;
  for (const LayerDifference& layer : found->layers) {
    behind.push_back(layer.behind);
  }
  EXPECT_THAT(behind, ElementsAre("", "rms_gain", "layer_gain", "added_gain"));
}

TEST_F(CompareTest, SaysTheLayerAndItsKind) {
  testing::PlanDraft draft = testing::MakeTinyPlan({.with_all_kernels = true});
  for (auto& dispatch : draft.plan.program->dispatches) {
    if (draft.plan.program->kernels[dispatch->kernel]->name == "cpu.rms_norm") {
      dispatch->layer = 1;
    }
  }
  const auto found = Compare(*Load(draft), *Load(draft), tokens_, {.window = 64, .layers = true});
  ASSERT_TRUE(found.ok()) << found.status().message();
  EXPECT_EQ(found->layers[1].behind, "rms_gain");
  EXPECT_EQ(found->layers[1].layer, 1);
  EXPECT_EQ(found->layers[1].kind, "*");
}

TEST_F(CompareTest, RefusesPlansOfOtherModels) {
  auto engine = Load(testing::MakeTinyPlan()), small = Load(testing::MakeTinyPlan({.vocab_size = 30}));
  EXPECT_EQ(Compare(*engine, *small, tokens_, {}).status().message(),
            "the plans have vocabularies of 40 and 30 tokens, expected the same");
  auto other = Load(testing::MakeTinyPlan({.with_all_kernels = true}));
  EXPECT_EQ(Compare(*engine, *other, tokens_, {.window = 64, .layers = true}).status().message(),
            "the layers of the plans differ: norm 0 of the first is 'norm' of 16 columns, of the second 'rms_gain' of "
            "16 columns");
  EXPECT_TRUE(Compare(*engine, *other, tokens_, {.window = 64}).ok());
}

TEST_F(CompareTest, RefusesPlansWithoutNorms) {
  testing::PlanDraft draft = testing::MakeTinyPlan({.with_recurrence = false, .with_attention = false});
  schema::ProgramT& program = *draft.plan.program;
  std::erase_if(program.dispatches,
                [&](const auto& dispatch) { return program.kernels[dispatch->kernel]->name == "cpu.add_rms_norm"; });
  for (auto& dispatch : program.dispatches) {
    if (program.kernels[dispatch->kernel]->name == "cpu.select_rows") {
      dispatch->arguments[0]->index = 0;  // of the embedding, then
    }
  }
  EXPECT_EQ(Compare(*Load(draft), *Load(draft), tokens_, {.window = 64, .layers = true}).status().message(),
            "the plans have no norm, so there are no layers to compare");
}

TEST_F(CompareTest, RefusesOtherTokenizers) {
  const auto plan = [](const std::string& tokenizer) { return testing::LoadTinyPlan({.tokenizer_json = tokenizer}); };
  EXPECT_TRUE(CheckComparable(*plan("one"), *plan("one")).ok());
  EXPECT_TRUE(CheckComparable(*plan("one"), *plan("")).ok());
  EXPECT_EQ(CheckComparable(*plan("one"), *plan("two")).message(),
            "the plans have different tokenizers, expected the same");
  testing::PlanDraft draft = testing::MakeTinyPlan({.tokenizer_json = "one"});
  draft.plan.tokenizer->add_bos = true;
  EXPECT_FALSE(CheckComparable(*plan("one"), *testing::LoadDraft(draft)).ok());
}

TEST_F(CompareTest, RefusesWhatMakesNoSense) {
  auto a = Load(testing::MakeTinyPlan()), b = Load(testing::MakeTinyPlan());
  const std::vector<int32_t> one = {1}, out_of_range = {1, 40};
  EXPECT_EQ(Compare(*a, *b, one, {}).status().message(), "the text has 1 tokens, expected at least 2");
  EXPECT_EQ(Compare(*a, *b, out_of_range, {}).status().message(), "token id 40 is out of range, expected 0 to 39");
  EXPECT_EQ(Compare(*a, *b, tokens_, {.window = 0}).status().message(), "the window is 0 tokens, expected at least 1");
}

TEST_F(CompareTest, RefusesLogitsThatAreNotFinite) {
  testing::PlanDraft draft = testing::MakeTinyPlan();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(draft.segments.data() + 7 * 16 * sizeof(float), &nan, sizeof(nan));  // row 7 of the embedding
  auto good = Load(testing::MakeTinyPlan()), bad = Load(draft);
  const std::vector<int32_t> tokens = {1, 2, 3, 7, 4, 5};
  EXPECT_EQ(Compare(*good, *bad, tokens, {}).status().message(),
            "the logits of the second plan after token 3 are not finite");
  EXPECT_EQ(Compare(*bad, *good, tokens, {}).status().message(),
            "the logits of the first plan after token 3 are not finite");
}

}  // namespace
}  // namespace nemotron::runtime
