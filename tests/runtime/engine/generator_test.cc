#include "runtime/engine/generator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "tests/runtime/plan/tiny_plan.h"

namespace nemotron::runtime {
namespace {

using ::testing::HasSubstr;

/// The tiny plan with a real tokenizer: nonsense comes out, but always the same.
class GeneratorTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    std::ifstream file(NEMOTRON_TEST_DATA "/goldens/tokenizers/byte-level-bpe.json", std::ios::binary);
    testing::TinyPlanOptions options;
    options.tokenizer_json.assign(std::istreambuf_iterator<char>(file), {});
    options.vocab_size = 4096;
    plan_ = testing::LoadTinyPlan(options);
  }
  static void TearDownTestSuite() { plan_.reset(); }

  static std::unique_ptr<Engine> Load(EngineOptions options = {}) {
    options.num_threads = 2;
    auto engine = Engine::Load(plan_, options);
    if (!engine.ok()) {
      throw std::runtime_error(engine.status().message());
    }
    return std::move(engine).value();
  }
  static GenerationResult Run(Engine& engine, const GenerationOptions& options,
                              const std::vector<int32_t>& prompt = {1, 300, 500}) {
    const auto sequence = engine.CreateSequence();
    EXPECT_TRUE(sequence.ok());
    auto result = Generate(engine, *sequence, prompt, options);
    EXPECT_TRUE(result.ok()) << result.status().message();
    EXPECT_TRUE(engine.Release(*sequence).ok());
    return std::move(result).value();
  }
  static GenerationOptions Greedy(int64_t count) {
    GenerationOptions options;
    options.sampling.temperature = 0;
    options.max_new_tokens = count;
    options.ignore_eos = true;
    return options;
  }

  static std::shared_ptr<const Plan> plan_;
};
std::shared_ptr<const Plan> GeneratorTest::plan_;

TEST_F(GeneratorTest, TextIsThatOfTheTokens) {
  auto engine = Load();
  GenerationOptions options = Greedy(40);
  std::string streamed;
  std::vector<int32_t> tokens;
  options.on_text = [&](std::string_view text) { streamed += text; };
  options.on_token = [&](const SampledToken& token) { tokens.push_back(token.token); };
  const GenerationResult result = Run(*engine, options);
  EXPECT_EQ(result.finish, FinishReason::kLength);
  EXPECT_EQ(result.tokens.size(), 40u);
  EXPECT_EQ(result.tokens, tokens);
  EXPECT_EQ(result.prompt_tokens, 3);
  EXPECT_EQ(streamed, result.text);
  EXPECT_EQ(result.text, *engine->tokenizer()->Decode(result.tokens, true));
}

TEST_F(GeneratorTest, TheSameSeedGivesTheSameTokens) {
  auto engine = Load();
  GenerationOptions options = Greedy(30);
  options.sampling = {.temperature = 1.0, .top_k = 50, .seed = 5};
  const GenerationResult a = Run(*engine, options), b = Run(*engine, options);
  EXPECT_EQ(a.tokens, b.tokens);
  options.sampling.seed = 6;
  EXPECT_NE(Run(*engine, options).tokens, a.tokens);
}

TEST_F(GeneratorTest, StopsBeforeAStopStringThatSpansTokens) {
  auto engine = Load();
  const GenerationResult whole = Run(*engine, Greedy(40));
  ASSERT_GT(whole.text.size(), 12u);
  // From the middle of the text, so that it begins and ends within tokens.
  const std::string stop = whole.text.substr(whole.text.size() / 2, 5);
  const size_t at = whole.text.find(stop);
  GenerationOptions options = Greedy(40);
  options.stop = {"never to be found", stop};
  std::string streamed;
  options.on_text = [&](std::string_view text) { streamed += text; };
  const GenerationResult stopped = Run(*engine, options);
  EXPECT_EQ(stopped.finish, FinishReason::kStopString);
  EXPECT_EQ(stopped.text, whole.text.substr(0, at));
  EXPECT_EQ(streamed, stopped.text);
  EXPECT_LT(stopped.tokens.size(), whole.tokens.size());
}

TEST_F(GeneratorTest, EndsAtTheEndToken) {
  // Penalties cannot force a token, so the end token is made of what greedy draws third.
  auto engine = Load();
  const GenerationResult whole = Run(*engine, Greedy(10));
  testing::TinyPlanOptions tiny;
  tiny.vocab_size = 4096;
  testing::PlanDraft draft = testing::MakeTinyPlan(tiny);
  draft.plan.model->eos_token_ids = {whole.tokens[2], 0};
  auto with_end = Engine::Load(testing::LoadDraft(draft), {.num_threads = 1});
  ASSERT_TRUE(with_end.ok()) << with_end.status().message();
  GenerationOptions options = Greedy(10);
  options.ignore_eos = false;
  const GenerationResult result = Run(**with_end, options);
  EXPECT_EQ(result.finish, FinishReason::kEndOfSequence);
  EXPECT_EQ(result.tokens, std::vector<int32_t>(whole.tokens.begin(), whole.tokens.begin() + 3));
  EXPECT_EQ(result.text, "");  // this one has no tokenizer
  EXPECT_EQ(Run(**with_end, Greedy(10)).tokens, whole.tokens);
}

TEST_F(GeneratorTest, CancelsBetweenTokensAndChunks) {
  auto engine = Load({.max_tokens_per_step = 16});
  std::atomic<bool> cancel = false;
  GenerationOptions options = Greedy(100);
  options.cancel = &cancel;
  int count = 0;
  options.on_token = [&](const SampledToken&) { cancel = ++count == 5; };
  const GenerationResult during = Run(*engine, options);
  EXPECT_EQ(during.finish, FinishReason::kCancelled);
  EXPECT_EQ(during.tokens.size(), 5u);
  cancel = false;
  options.on_prefill = [&](int64_t done, int64_t total) {
    EXPECT_EQ(total, 64);
    cancel = done >= 32;
  };
  const GenerationResult before = Run(*engine, options, std::vector<int32_t>(64, 7));
  EXPECT_EQ(before.finish, FinishReason::kCancelled);
  EXPECT_TRUE(before.tokens.empty());
}

TEST_F(GeneratorTest, EndsWhenTheContextIsFull) {
  auto engine = Load({.context_tokens = 32, .page_tokens = 16});
  const GenerationResult result = Run(*engine, Greedy(100));
  EXPECT_EQ(result.finish, FinishReason::kContextFull);
  EXPECT_EQ(result.tokens.size(), 30u);  // 3 + 29 were taken in, and one more drawn
}

TEST_F(GeneratorTest, GoesOnWhereItWas) {
  auto engine = Load();
  const GenerationResult whole = Run(*engine, Greedy(20));
  const auto sequence = engine->CreateSequence();
  auto first = Generate(*engine, *sequence, std::vector<int32_t>{1, 300, 500}, Greedy(8));
  ASSERT_TRUE(first.ok());
  auto second = Generate(*engine, *sequence, std::vector<int32_t>{first->tokens.back()}, Greedy(12));
  ASSERT_TRUE(second.ok());
  first->tokens.insert(first->tokens.end(), second->tokens.begin(), second->tokens.end());
  EXPECT_EQ(first->tokens, whole.tokens);
  EXPECT_EQ(first->text + second->text, whole.text);
}

TEST_F(GeneratorTest, TakesInAPromptAlone) {
  auto engine = Load();
  const GenerationResult result = Run(*engine, Greedy(0));
  EXPECT_EQ(result.finish, FinishReason::kLength);
  EXPECT_TRUE(result.tokens.empty());
}

TEST_F(GeneratorTest, RefusesWhatMakesNoSense) {
  auto engine = Load();
  const auto sequence = engine->CreateSequence();
  const std::vector<int32_t> prompt = {1};
  GenerationOptions options = Greedy(5);
  EXPECT_THAT(Generate(*engine, *sequence, {}, options).status().message(), HasSubstr("the prompt has no tokens"));
  options.max_new_tokens = -1;
  EXPECT_THAT(Generate(*engine, *sequence, prompt, options).status().message(), HasSubstr("max_new_tokens is -1"));
  options = Greedy(5);
  options.sampling.top_p = 0;
  EXPECT_THAT(Generate(*engine, *sequence, prompt, options).status().message(), HasSubstr("top_p is 0"));
  EXPECT_EQ(*engine->Length(*sequence), 0);
  EXPECT_EQ(Generate(*engine, SequenceId{77}, prompt, Greedy(1)).status().code(), StatusCode::kNotFound);
}

TEST_F(GeneratorTest, SamplingDefaultsAreThoseOfThePlan) {
  testing::PlanDraft draft = testing::MakeTinyPlan();
  EXPECT_EQ(SamplingDefaults(*testing::LoadDraft(draft)).temperature, 0);
  draft.plan.generation->do_sample = true;
  draft.plan.generation->temperature = 0.7;
  draft.plan.generation->top_k = 30;
  draft.plan.generation->top_p = 0.9;
  draft.plan.generation->min_p = 0.1;
  draft.plan.generation->repetition_penalty = 1.1;
  const SamplingOptions options = SamplingDefaults(*testing::LoadDraft(draft));
  EXPECT_EQ(options.temperature, 0.7);
  EXPECT_EQ(options.top_k, 30);
  EXPECT_EQ(options.top_p, 0.9);
  EXPECT_EQ(options.min_p, 0.1);
  EXPECT_EQ(options.repetition_penalty, 1.1);
  draft.plan.generation.reset();
  EXPECT_EQ(SamplingDefaults(*testing::LoadDraft(draft)).temperature, 0);
}

class PerplexityTest : public ::testing::Test {
 protected:
  static std::unique_ptr<Engine> Load(EngineOptions options = {}) {
    options.num_threads = 1;
    return std::move(Engine::Load(testing::LoadTinyPlan(), options)).value();
  }

  /// The definition, window by window and token by token.
  static double Expected(Engine& engine, std::span<const int32_t> tokens, size_t window) {
    double sum = 0;
    std::vector<float> logits;
    for (size_t begin = 0; begin + 1 < tokens.size(); begin += window) {
      const SequenceId sequence = *engine.CreateSequence();
      for (size_t i = begin; i < std::min(begin + window, tokens.size() - 1); ++i) {
        const StepEntry entry = {sequence, tokens.subspan(i, 1)};
        EXPECT_TRUE(engine.Step({&entry, 1}, &logits).ok());
        double total = 0;
        for (const float logit : logits) {
          total += std::exp(double{logit});
        }
        sum += std::log(total) - logits[static_cast<size_t>(tokens[i + 1])];
      }
      EXPECT_TRUE(engine.Release(sequence).ok());
    }
    return sum / static_cast<double>(tokens.size() - 1);
  }
};

TEST_F(PerplexityTest, PredictsEveryTokenButTheFirstOnce) {
  std::vector<int32_t> tokens;
  for (int i = 0; i < 101; ++i) {
    tokens.push_back(i * 7 % 40);
  }
  for (const size_t window : {1, 10, 33, 99, 100, 101, 1000}) {
    for (const int64_t max_rows : {3, 32}) {
      auto engine = Load({.max_tokens_per_step = 16, .max_rows_per_step = max_rows});
      int64_t last = 0;
      const auto result =
          Perplexity(*engine, tokens, static_cast<int64_t>(window), [&](int64_t done, int64_t) { last = done; });
      ASSERT_TRUE(result.ok()) << result.status().message();
      EXPECT_EQ(result->num_tokens, 101);
      EXPECT_EQ(result->num_predictions, 100);
      EXPECT_EQ(last, 100);
      EXPECT_NEAR(result->nll_per_token, Expected(*engine, tokens, window), 1e-5) << window;
      EXPECT_DOUBLE_EQ(result->perplexity, std::exp(result->nll_per_token));
      EXPECT_EQ(engine->free_slots(), 8);
    }
  }
}

TEST_F(PerplexityTest, RefusesWhatMakesNoSense) {
  auto engine = Load({.context_tokens = 16, .page_tokens = 16});
  const std::vector<int32_t> one = {1}, out_of_range = {1, 99}, longer(40, 3);
  EXPECT_THAT(Perplexity(*engine, one, 10).status().message(), HasSubstr("1 tokens, expected at least 2"));
  EXPECT_THAT(Perplexity(*engine, longer, 0).status().message(), HasSubstr("window is 0"));
  EXPECT_EQ(Perplexity(*engine, out_of_range, 10).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Perplexity(*engine, longer, 30).status().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(engine->free_slots(), 8);
  EXPECT_EQ(engine->free_pages(), 1);
}

}  // namespace
}  // namespace nemotron::runtime
