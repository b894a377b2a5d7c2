#include "runtime/engine/step_builder.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>

namespace nemotron::runtime {
namespace {

using Logits = StepEntry::Logits;

/// Entries over sequences that already hold `lengths` tokens, bringing `counts` tokens 0, 1, 2, ... each.
class StepBuilderTest : public ::testing::Test {
 protected:
  void Make(const std::vector<int64_t>& lengths, const std::vector<int64_t>& counts,
            const std::vector<Logits>& logits) {
    sequences_.assign(lengths.size(), {});
    tokens_.assign(lengths.size(), {});
    for (size_t i = 0; i < lengths.size(); ++i) {
      sequences_[i].tokens.resize(static_cast<size_t>(lengths[i]));
      tokens_[i].resize(static_cast<size_t>(counts[i]));
      std::iota(tokens_[i].begin(), tokens_[i].end(), static_cast<int32_t>(100 * i));
      entries_.push_back({SequenceId{static_cast<int64_t>(i)}, tokens_[i], logits[i]});
      pointers_.push_back(&sequences_[i]);
    }
  }

  std::vector<Sequence> sequences_;
  std::vector<std::vector<int32_t>> tokens_;
  std::vector<StepEntry> entries_;
  std::vector<Sequence*> pointers_;
};

TEST_F(StepBuilderTest, CutsAsItsExampleSays) {
  Make({0, 7}, {5, 2}, {Logits::kLast, Logits::kAll});
  StepBuilder builder({.max_tokens = 4, .max_rows = 2, .max_sequences = 2, .page_tokens = 16});
  builder.Begin(entries_, pointers_);
  const DeviceStep* step = builder.Next();
  ASSERT_NE(step, nullptr);
  EXPECT_EQ(step->tokens.size(), 4u);
  EXPECT_TRUE(step->output_rows.empty());
  step = builder.Next();
  ASSERT_NE(step, nullptr);
  EXPECT_EQ(std::vector<int32_t>(step->tokens.begin(), step->tokens.end()), (std::vector<int32_t>{4, 100}));
  EXPECT_EQ(std::vector<int64_t>(step->output_rows.begin(), step->output_rows.end()), (std::vector<int64_t>{0, 1}));
  ASSERT_EQ(step->sequences.size(), 2u);
  EXPECT_EQ(step->sequences[0].position, 4);
  EXPECT_EQ(step->sequences[1].position, 7);
  EXPECT_EQ(step->sequences[1].first_token, 1);
  step = builder.Next();
  ASSERT_NE(step, nullptr);
  EXPECT_EQ(step->sequences[0].position, 8);
  EXPECT_EQ(step->output_rows.size(), 1u);
  EXPECT_EQ(builder.Next(), nullptr);
}

TEST_F(StepBuilderTest, EveryTokenAndRowComesOnce) {
  std::mt19937 random(3);
  for (int round = 0; round < 500; ++round) {
    entries_.clear();
    pointers_.clear();
    const ProgramLimits limits = {.max_tokens = 1 + static_cast<int64_t>(random() % 9),
                                  .max_rows = 1 + static_cast<int64_t>(random() % 4),
                                  .max_sequences = 5,
                                  .page_tokens = 16};
    std::vector<int64_t> lengths, counts;
    std::vector<Logits> logits;
    for (uint32_t i = 0; i < random() % 6; ++i) {
      lengths.push_back(random() % 20);
      counts.push_back(1 + random() % 20);
      logits.push_back(static_cast<Logits>(random() % 3));
    }
    Make(lengths, counts, logits);
    std::vector<int32_t> expected_tokens, expected_rows, found_tokens, found_rows;
    for (const StepEntry& entry : entries_) {
      expected_tokens.insert(expected_tokens.end(), entry.tokens.begin(), entry.tokens.end());
      if (entry.logits == Logits::kAll) {
        expected_rows.insert(expected_rows.end(), entry.tokens.begin(), entry.tokens.end());
      } else if (entry.logits == Logits::kLast) {
        expected_rows.push_back(entry.tokens.back());
      }
    }
    StepBuilder builder(limits);
    // What a row is sampled by comes with the row: its number tells.
    std::vector<SampleEntry> samples(round % 2 == 0 ? 0 : expected_rows.size());
    for (size_t i = 0; i < samples.size(); ++i) {
      samples[i].random = i;
    }
    builder.Begin(entries_, pointers_, samples);
    while (const DeviceStep* step = builder.Next()) {
      ASSERT_EQ(step->samples.size(), samples.empty() ? 0 : step->output_rows.size());
      for (size_t i = 0; i < step->samples.size(); ++i) {
        ASSERT_EQ(step->samples[i].random, found_rows.size() + i);
      }
      ASSERT_LE(static_cast<int64_t>(step->tokens.size()), limits.max_tokens);
      ASSERT_LE(static_cast<int64_t>(step->output_rows.size()), limits.max_rows);
      ASSERT_TRUE(std::is_sorted(step->output_rows.begin(), step->output_rows.end()));
      found_tokens.insert(found_tokens.end(), step->tokens.begin(), step->tokens.end());
      for (const int64_t row : step->output_rows) {
        found_rows.push_back(step->tokens[static_cast<size_t>(row)]);
      }
      int64_t next = 0;
      for (const DeviceSequence& sequence : step->sequences) {
        ASSERT_EQ(sequence.first_token, next);
        next += sequence.num_tokens;
      }
      ASSERT_EQ(next, static_cast<int64_t>(step->tokens.size()));
    }
    ASSERT_EQ(found_tokens, expected_tokens);
    ASSERT_EQ(found_rows, expected_rows);
  }
}

}  // namespace
}  // namespace nemotron::runtime
