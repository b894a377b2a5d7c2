// Tokens that a device draws beside those of Sampler, which must be the same, from the same logits. Runs on the GPU or
// the simulator whose driver NEMOTRON_LIBCUDA names; skipped where there is none.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <numeric>
#include <random>

#include "runtime/cuda/driver.h"
#include "runtime/engine/sampler.h"
#include "tests/codegen/cuda/device_conformance.h"

namespace nemotron::codegen {
namespace {

using runtime::Engine;
using runtime::SampledRow;
using runtime::SampledToken;
using runtime::SampleEntry;
using runtime::Sampler;
using runtime::SamplingOptions;
using runtime::SequenceId;
using runtime::StepEntry;
using ::testing::HasSubstr;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
/// A prime, so that no vector, warp or part of a row is full.
constexpr int64_t kColumns = 1031;

/// A table of which twice row i is row i of `rows`.
std::vector<float> TableOfRows(const std::vector<std::vector<float>>& rows) {
  std::vector<float> table(kColumns * kColumns);
  for (size_t i = 0; i < rows.size(); ++i) {
    std::transform(rows[i].begin(), rows[i].end(), table.begin() + i * kColumns, [](float x) { return x / 2; });
  }
  return table;
}

std::vector<std::vector<float>> Rows() {
  std::mt19937 random(11);
  std::normal_distribution<float> normal;
  const auto row = [&](auto logit) {
    std::vector<float> logits(kColumns);
    std::generate(logits.begin(), logits.end(), logit);
    return logits;
  };
  const auto with = [&](std::vector<float> logits, size_t id, float logit) {
    logits[id] = logit;
    return logits;
  };
  const auto flat = row([] { return 1.5f; }), narrow = row([&] { return normal(random); });
  const auto nothing = row([] { return -kInfinity; }), no_numbers = row([] { return std::nanf(""); });
  std::vector<std::vector<float>> rows = {
      narrow,
      row([&] { return 4 * normal(random); }),
      row([&] { return 30 * normal(random); }),
      row([&] { return std::round(2 * normal(random)); }),  // ties at each distance
      row([&] { return random() % 3 == 0 ? -kInfinity : normal(random); }),
      row([&] { return random() % 3 == 0 ? std::nanf("") : normal(random); }),
      flat,
      with(flat, kColumns - 1, 2),
      with(flat, 700, std::nextafter(1.5f, 2.0f)),
      with(narrow, 128, kInfinity),
      with(with(narrow, 1030, kInfinity), 517, kInfinity),
      with(nothing, 640, -3),
      with(no_numbers, 3, 1e38f),
      nothing,
      no_numbers,
      with(narrow, 5, 3e38f),
  };
  return rows;
}

std::vector<SamplingOptions> Options() {
  return {
      {.temperature = 0},
      {.temperature = 1},
      {.temperature = 0.7, .top_k = 40},
      {.temperature = 1, .top_p = 0.9},
      {.temperature = 1.3, .top_k = 100, .top_p = 0.5, .min_p = 0.02},
      {.temperature = 1, .min_p = 0.2},
      {.temperature = 2, .top_k = 1},
      {.temperature = 1, .top_p = 1e-12},
      {.temperature = 1, .top_k = 1000, .top_p = 0.999},
      {.temperature = 1, .top_k = 100000},
      {.temperature = 100, .top_k = 3, .min_p = 1},
      {.temperature = 1e-310},
      {.temperature = 1e300, .top_p = 0.3},
  };
}

class SampleTest : public testing::Test {
 protected:
  /// Compiles `test` and loads it into engine_; skips the test where there is no GPU.
  void Load(const ConformanceCase& test) {
    folder_ = std::filesystem::path(testing::TempDir()) / fmt::format("sample_{}", getpid());
    std::filesystem::create_directories(folder_);
    ASSERT_NO_FATAL_FAILURE(CompileCase(test, "cuda", {"sm_90a", "sm_80"}, folder_ / "cuda.plan"));
    if (const auto driver = runtime::cuda::Driver::Open(); !driver.ok()) {
      GTEST_SKIP() << driver.status().message();
    }
    auto plan = runtime::Plan::Load(folder_ / "cuda.plan");
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    auto engine = Engine::Load(plan.value(), {.device = "cuda", .max_sequences = 4, .max_rows_per_step = 7});
    ASSERT_TRUE(engine.ok()) << engine.status().message();
    engine_ = std::move(engine).value();
    ASSERT_TRUE(engine_->can_sample());
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::vector<float> Logits(SequenceId sequence, std::span<const int32_t> tokens) {
    const StepEntry entry = {.sequence = sequence, .tokens = tokens, .logits = StepEntry::Logits::kAll};
    std::vector<float> logits;
    const runtime::Status status = engine_->Step({&entry, 1}, &logits);
    EXPECT_TRUE(status.ok()) << status.message();
    return logits;
  }
  std::vector<SampledRow> Sample(SequenceId sequence, std::span<const int32_t> tokens,
                                 std::span<const SampleEntry> samples) {
    const StepEntry entry = {.sequence = sequence, .tokens = tokens, .logits = StepEntry::Logits::kAll};
    std::vector<SampledRow> rows;
    const runtime::Status status = engine_->Sample({&entry, 1}, samples, &rows);
    EXPECT_TRUE(status.ok()) << status.message();
    return rows;
  }

  /// In each of `rounds` all rows of `tokens` are drawn with other options, and compared with what the host draws.
  void CompareWithHost(std::span<const int32_t> tokens, size_t rounds) {
    const std::vector<SamplingOptions> options = Options();
    const auto columns = static_cast<size_t>(engine_->vocab_size());
    const std::vector<float> logits = Logits(engine_->CreateSequence().value(), tokens);
    const SequenceId sequence = engine_->CreateSequence().value();
    for (size_t round = 0; round < rounds; ++round) {
      std::vector<SampledToken> expected;
      std::vector<SampleEntry> samples;
      for (size_t i = 0; i < tokens.size(); ++i) {
        SamplingOptions option = options[(i + round) % options.size()];
        option.seed = 100 * round + i;
        samples.push_back(Sampler(option).NextEntry());
        expected.push_back(Sampler(option).Sample(std::span(logits).subspan(i * columns, columns), {}));
      }
      const std::vector<SampledRow> found = Sample(sequence, tokens, samples);
      ASSERT_EQ(found.size(), expected.size());
      for (size_t i = 0; i < found.size(); ++i) {
        EXPECT_EQ(found[i].token, expected[i].token) << "row " << i << ", options " << (i + round) % options.size();
        EXPECT_EQ(Sampler::TokenOf(found[i]).logprob, expected[i].logprob) << "row " << i;
      }
    }
  }

  std::filesystem::path folder_;
  std::unique_ptr<Engine> engine_;
};

/// Rows() as logits: token i gives twice row i of a table.
class SampleOfRowsTest : public SampleTest {
 protected:
  void SetUp() override {
    Load({"rows",
          kColumns,
          kColumns,
          {},
          "",
          fmt::format("%y = nemotron.add %x, %x : tensor<?x{}xf32>", kColumns),
          0,
          /*entries=*/{},
          TableOfRows(Rows())});
    tokens_.resize(Rows().size());
    std::iota(tokens_.begin(), tokens_.end(), 0);
  }

  std::vector<int32_t> tokens_;
};

/// Rows of different options share steps, of at most 7 rows.
TEST_F(SampleOfRowsTest, DrawsWhatTheHostDoes) { CompareWithHost(tokens_, Options().size()); }

/// Each warp has more than it loads at once, and the last one less.
TEST_F(SampleTest, DrawsFromLongRows) {
  ASSERT_NO_FATAL_FAILURE(
      Load({"long_rows",
            16,
            20011,
            {{"w", "bf16", {20011, 16}}},
            "",
            "%y = nemotron.linear %x, %w : (tensor<?x16xf32>, tensor<20011x16xbf16>) -> tensor<?x20011xf32>",
            0}));
  if (engine_ == nullptr) {
    return;  // skipped
  }
  std::vector<int32_t> tokens(Options().size());
  std::iota(tokens.begin(), tokens.end(), 0);
  CompareWithHost(tokens, 1);
}

/// Each token of a row in its turn: the random number goes through the whole range.
TEST_F(SampleOfRowsTest, EveryTokenIsDrawnAtItsPlace) {
  const std::vector<int32_t> flat = {6};
  const SequenceId sequence = engine_->CreateSequence().value();
  for (const uint64_t share : {0, 1, 127, 128, 129, 511, 512, 1029, 1030}) {
    SampleEntry entry = Sampler({.temperature = 1}).NextEntry();
    entry.random = static_cast<uint64_t>(std::ldexp((static_cast<double>(share) + 0.5) / kColumns, 64));
    EXPECT_EQ(Sample(sequence, flat, {&entry, 1}).front().token, share);
  }
}

/// Steps of decode are graphs, and those with samples others than those with logits.
TEST_F(SampleOfRowsTest, TakesTurnsWithLogits) {
  const SequenceId sequence = engine_->CreateSequence().value();
  Sampler on_device({.temperature = 0.8, .top_k = 20, .seed = 3}),
      on_host({.temperature = 0.8, .top_k = 20, .seed = 3});
  for (int round = 0; round < 8; ++round) {
    const std::span<const int32_t> token = std::span(tokens_).subspan(round % 4, 1);
    const std::vector<float> logits = Logits(sequence, token);
    const SampleEntry entry = on_device.NextEntry();
    EXPECT_EQ(Sample(sequence, token, {&entry, 1}).front().token, on_host.Sample(logits, {}).token);
  }
}

TEST_F(SampleOfRowsTest, WantsAnEntryForEachRow) {
  const SequenceId sequence = engine_->CreateSequence().value();
  const StepEntry entry = {.sequence = sequence, .tokens = tokens_};
  const std::vector<SampleEntry> samples(2);
  std::vector<SampledRow> rows;
  const runtime::Status status = engine_->Sample({&entry, 1}, samples, &rows);
  EXPECT_EQ(status.code(), runtime::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("the step asks for 1 tokens, but says of 2 how they are drawn"));
  EXPECT_EQ(engine_->Length(sequence).value(), 0);
}

}  // namespace
}  // namespace nemotron::codegen
