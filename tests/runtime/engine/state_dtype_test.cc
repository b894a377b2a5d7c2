// States of each type that a plan may ask for: the same bits however a sequence is cut, forked, saved or restored, and
// memory in proportion to the bytes of an element.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "runtime/engine/engine.h"
#include "tests/runtime/plan/tiny_plan.h"

namespace nemotron::runtime {
namespace {

using ::testing::HasSubstr;
using Logits = StepEntry::Logits;
using schema::DType;

struct StateTypes {
  DType ssm, cache;
  int64_t slot_bytes;   // 192 of the convolution, 2 * 8 * 4 elements of the scan, 16 * 22 * 4 of its recent inputs
  int64_t token_bytes;  // 2 * 8 elements
};

class StateDTypeTest : public ::testing::TestWithParam<StateTypes> {
 protected:
  static std::unique_ptr<Engine> Load(EngineOptions options, const StateTypes& types = GetParam()) {
    options.num_threads = options.num_threads == 0 ? 2 : options.num_threads;
    auto engine = Engine::Load(testing::LoadTinyPlan({.ssm_dtype = types.ssm, .cache_dtype = types.cache}), options);
    EXPECT_TRUE(engine.ok()) << engine.status().message();
    return std::move(engine).value();
  }
  static std::vector<float> Step(Engine& engine, SequenceId sequence, std::span<const int32_t> tokens) {
    std::vector<float> rows;
    const StepEntry entry = {sequence, tokens, Logits::kAll};
    const Status status = engine.Step({&entry, 1}, &rows);
    EXPECT_TRUE(status.ok()) << status.message();
    return rows;
  }
  static std::vector<float> Rows(const std::vector<float>& rows, size_t first) {
    return {rows.begin() + static_cast<int64_t>(first) * 40, rows.end()};
  }
  /// The logits of all rows in one step.
  static std::vector<float> Whole(const StateTypes& types = GetParam()) {
    auto engine = Load({}, types);
    return Step(*engine, *engine->CreateSequence(), Tokens());
  }
  static std::vector<int32_t> Tokens() {
    std::mt19937 random(7);
    std::vector<int32_t> tokens(90);
    std::generate(tokens.begin(), tokens.end(), [&] { return static_cast<int32_t>(random() % 40); });
    return tokens;
  }

  std::string path_ = ::testing::TempDir() + "/state_dtype_test.session";
};

constexpr StateTypes kTypes[] = {
    {DType::F32, DType::F32, 1856, 128},
    {DType::F32, DType::BF16, 1856, 64},
    {DType::BF16, DType::F32, 1728, 128},
    {DType::BF16, DType::F8E4M3, 1728, 32},
};
INSTANTIATE_TEST_SUITE_P(Types, StateDTypeTest, ::testing::ValuesIn(kTypes), [](const auto& info) {
  return std::string(schema::EnumNameDType(info.param.ssm)) + "_" + schema::EnumNameDType(info.param.cache);
});

TEST_P(StateDTypeTest, CutsChangeNothing) {
  const std::vector<int32_t> tokens = Tokens();
  const std::vector<float> whole = Whole();
  for (const EngineOptions& options : {EngineOptions{.num_threads = 1, .page_tokens = 16},
                                       EngineOptions{.max_tokens_per_step = 7, .page_tokens = 48}}) {
    for (const size_t size : {1, 2, 13, 33}) {
      auto engine = Load(options);
      const SequenceId sequence = *engine->CreateSequence();
      std::vector<float> rows;
      for (size_t at = 0; at < tokens.size(); at += size) {
        const auto more = Step(*engine, sequence, std::span(tokens).subspan(at, std::min(size, tokens.size() - at)));
        rows.insert(rows.end(), more.begin(), more.end());
      }
      EXPECT_EQ(rows, whole) << size;
    }
  }
}

TEST_P(StateDTypeTest, RestoresAndForksWithTheSameBits) {
  const std::vector<int32_t> tokens = Tokens();
  const std::vector<float> whole = Whole();
  for (const size_t at : {1, 3, 16, 37, 64, 89}) {
    auto engine = Load({.page_tokens = 16});
    const SequenceId sequence = *engine->CreateSequence();
    Step(*engine, sequence, std::span(tokens).first(at));
    ASSERT_TRUE(engine->Save(sequence, path_).ok());
    // Behind the header: tokens, the slot and the cache in whole panels of 16, without what fills pages up.
    EXPECT_EQ(std::filesystem::file_size(path_),
              64 + at * 4 + GetParam().slot_bytes + (at + 15) / 16 * 16 * GetParam().token_bytes);
    // Other pages, with what another sequence left in them.
    auto other = Load({.num_threads = 1, .max_sequences = 2, .context_tokens = 192, .page_tokens = 48});
    const SequenceId before = *other->CreateSequence();
    Step(*other, before, tokens);
    ASSERT_TRUE(other->Release(before).ok());
    const auto restored = other->Restore(path_);
    ASSERT_TRUE(restored.ok()) << restored.status().message();
    const auto fork = other->Fork(*restored);
    ASSERT_TRUE(fork.ok()) << fork.status().message();
    EXPECT_EQ(Step(*other, *restored, std::span(tokens).subspan(at)), Rows(whole, at)) << at;
    EXPECT_EQ(Step(*other, *fork, std::span(tokens).subspan(at)), Rows(whole, at)) << at;
  }
  std::filesystem::remove(path_);
}

TEST_P(StateDTypeTest, TakesMemoryByTheByte) {
  const auto engine = Load({.max_sequences = 3, .context_tokens = 320, .page_tokens = 64});
  const MemoryReport& report = engine->memory();
  EXPECT_EQ(report.slot_bytes, 3 * GetParam().slot_bytes);
  EXPECT_EQ(report.num_pages, 5);
  EXPECT_EQ(report.page_bytes, 320 * GetParam().token_bytes);
}

TEST_P(StateDTypeTest, RefusesSessionsOfOtherTypes) {
  auto engine = Load({});
  const SequenceId sequence = *engine->CreateSequence();
  Step(*engine, sequence, Tokens());
  ASSERT_TRUE(engine->Save(sequence, path_).ok());
  for (const StateTypes& types : kTypes) {
    if (types.ssm != GetParam().ssm || types.cache != GetParam().cache) {
      EXPECT_THAT(Load({}, types)->Restore(path_).status().message(), HasSubstr("belongs to another plan"));
    }
  }
  std::filesystem::remove(path_);
}

// Fewer digits show in the logits, and by little: else a type would not be what it says.
TEST_P(StateDTypeTest, RoundsALittle) {
  const std::vector<float> exact = Whole(kTypes[0]), found = Whole();
  double error = 0, size = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    error += std::abs(double{found[i]} - exact[i]);
    size += std::abs(double{exact[i]});
  }
  const bool rounds = GetParam().ssm != DType::F32 || GetParam().cache != DType::F32;
  EXPECT_EQ(error > 0, rounds);
  EXPECT_LT(error, size * 0.02);
}

}  // namespace
}  // namespace nemotron::runtime
