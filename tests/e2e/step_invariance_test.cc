// Step invariance on whole models: however a prompt is cut into steps, whatever shares its steps, and wherever it is
// saved and restored, the logits are equal bit for bit and so are the tokens. One test a way of cutting, over all
// plans.
//
// Each test also stands for a bug that other engines had; its name says which.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "runtime/engine/engine.h"

namespace nemotron::runtime {
namespace {

using Logits = StepEntry::Logits;
using Ids = std::vector<int32_t>;

/// The plans of the folder in the environment's NEMOTRON_STEP_PLANS, else those for the CPU.
std::vector<std::string> PlanPaths() {
  const char* const folder = std::getenv("NEMOTRON_STEP_PLANS");
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder != nullptr ? folder : NEMOTRON_PLANS)) {
    if (entry.path().extension() == ".plan") {
      paths.push_back(entry.path().string());
    }
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::unique_ptr<Engine> LoadEngine(const std::string& path, int64_t max_tokens_per_step = 96, int threads = 2) {
  auto plan = Plan::Load(path);
  EXPECT_TRUE(plan.ok()) << plan.status().message();
  EngineOptions options;
  options.num_threads = threads;
  options.max_sequences = 9;
  options.max_tokens_per_step = max_tokens_per_step;
  options.context_tokens = 4096;
  options.page_tokens = 16;
  auto engine = Engine::Load(*plan, options);
  EXPECT_TRUE(engine.ok()) << engine.status().message();
  return std::move(engine).value();
}

Ids RandomPrompt(const Engine& engine, int64_t length, uint32_t seed) {
  std::mt19937 random(seed);
  Ids ids(length);
  for (int32_t& id : ids) {
    id = static_cast<int32_t>(random() % engine.vocab_size());
  }
  return ids;
}

/// Feeds `ids` in pieces of the given sizes (the last takes the rest); returns the logits of every position.
std::vector<float> Feed(Engine& engine, SequenceId sequence, const Ids& ids, const std::vector<int64_t>& pieces) {
  std::vector<float> all, rows;
  size_t at = 0;
  for (size_t piece = 0; at < ids.size(); ++piece) {
    const size_t left = ids.size() - at;
    const size_t count = piece < pieces.size() ? std::min<size_t>(pieces[piece], left) : left;
    const StepEntry entry{sequence, std::span(ids).subspan(at, count), Logits::kAll};
    const Status status = engine.Step({&entry, 1}, &rows);
    EXPECT_TRUE(status.ok()) << status.message();
    all.insert(all.end(), rows.begin(), rows.end());
    at += count;
  }
  return all;
}

SequenceId Create(Engine& engine) {
  auto sequence = engine.CreateSequence();
  EXPECT_TRUE(sequence.ok()) << sequence.status().message();
  return *sequence;
}

class StepInvariance : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    engine_ = LoadEngine(GetParam());
    prompt_ = RandomPrompt(*engine_, 150, 7);
    const SequenceId sequence = Create(*engine_);
    whole_ = Feed(*engine_, sequence, prompt_, {});
    ASSERT_TRUE(engine_->Release(sequence).ok());
    ASSERT_EQ(whole_.size(), prompt_.size() * engine_->vocab_size());
  }

  void ExpectEqual(const std::vector<float>& logits, const std::string& how) {
    ASSERT_EQ(logits.size(), whole_.size()) << how;
    for (size_t i = 0; i < logits.size(); ++i) {
      ASSERT_EQ(logits[i], whole_[i]) << how << ": position " << i / engine_->vocab_size() << ", token "
                                      << i % engine_->vocab_size();
    }
  }

  std::unique_ptr<Engine> engine_;
  Ids prompt_;
  std::vector<float> whole_;
};

TEST_P(StepInvariance, TokenByToken) {
  ExpectEqual(Feed(*engine_, Create(*engine_), prompt_, std::vector<int64_t>(prompt_.size(), 1)), "token by token");
}

TEST_P(StepInvariance, RandomChunks) {
  std::mt19937 random(11);
  for (int round = 0; round < 3; ++round) {
    std::vector<int64_t> pieces;
    for (int64_t sum = 0; sum < static_cast<int64_t>(prompt_.size()); sum += pieces.back()) {
      pieces.push_back(1 + random() % 40);
    }
    const SequenceId sequence = Create(*engine_);
    ExpectEqual(Feed(*engine_, sequence, prompt_, pieces), "random chunks, round " + std::to_string(round));
    ASSERT_TRUE(engine_->Release(sequence).ok());
  }
}

// Pieces shorter than the convolution window (1, 2, 3) and pieces that end one before, at and after the chunk sizes of
// the configs (16, 32, 64) and the page size (16).
TEST_P(StepInvariance, PromptShorterThanWindowOrChunk) {
  for (const std::vector<int64_t>& pieces : std::vector<std::vector<int64_t>>{
           {1, 2, 3, 1, 1, 2}, {2, 2}, {3, 3, 3}, {15, 1, 16, 17}, {31, 33, 32}, {63, 1, 65}, {64, 64}}) {
    const SequenceId sequence = Create(*engine_);
    ExpectEqual(Feed(*engine_, sequence, prompt_, pieces), testing::PrintToString(pieces));
    ASSERT_TRUE(engine_->Release(sequence).ok());
  }
}

TEST_P(StepInvariance, SeveralTokensWithACache) {
  ExpectEqual(Feed(*engine_, Create(*engine_), prompt_, {1, 5, 1, 60, 2, 2}), "several tokens after a cache");
}

// A prompt of 150 in steps of at most 40 rows: boundaries of chunks fall inside one request's tokens.
TEST_P(StepInvariance, ChunkBoundaryInsideARequest) {
  auto small = LoadEngine(GetParam(), /*max_tokens_per_step=*/40);
  ExpectEqual(Feed(*small, Create(*small), prompt_, {}), "max_tokens_per_step 40");
}

TEST_P(StepInvariance, AnyNumberOfThreads) {
  for (int threads : {1, 3}) {
    auto other = LoadEngine(GetParam(), 96, threads);
    ExpectEqual(Feed(*other, Create(*other), prompt_, {}), std::to_string(threads) + " threads");
  }
}

TEST_P(StepInvariance, ReusedSlotIsReset) {
  std::vector<SequenceId> others;
  while (engine_->free_slots() > 0) {
    others.push_back(Create(*engine_));
    Feed(*engine_, others.back(), RandomPrompt(*engine_, 37, 100 + others.size()), {});
  }
  for (SequenceId other : others) {
    ASSERT_TRUE(engine_->Release(other).ok());
  }
  for (int i = 0; i < 9; ++i) {  // every slot once
    const SequenceId sequence = Create(*engine_);
    if (i % 4 == 0) {
      ExpectEqual(Feed(*engine_, sequence, prompt_, {}), "reused slot");
    }
  }
}

// Eight sequences in one ragged batch, mixing prefill and decode, with different lengths; sequence 3 is the one
// compared.
TEST_P(StepInvariance, AmongSevenOtherSequences) {
  constexpr int kSequences = 8, kMine = 3;
  std::mt19937 random(23);
  std::vector<SequenceId> sequences;
  std::vector<Ids> prompts;
  std::vector<size_t> at(kSequences, 0);
  for (int s = 0; s < kSequences; ++s) {
    sequences.push_back(Create(*engine_));
    prompts.push_back(s == kMine ? prompt_ : RandomPrompt(*engine_, 20 + 30 * s, 200 + s));
  }
  std::vector<float> mine, rows;
  const int64_t vocab = engine_->vocab_size();
  while (at[kMine] < prompt_.size()) {
    std::vector<StepEntry> entries;
    int64_t first_row = 0, my_rows = 0, row = 0;
    for (int s = 0; s < kSequences; ++s) {
      const size_t left = prompts[s].size() - at[s];
      const size_t count = std::min<size_t>(left, random() % 3 == 0 ? 1 : random() % 20);
      if (count == 0) {
        continue;
      }
      const Logits logits = s == kMine ? Logits::kAll : (s % 2 == 0 ? Logits::kLast : Logits::kNone);
      if (s == kMine) {
        first_row = row;
        my_rows = static_cast<int64_t>(count);
      }
      row += logits == Logits::kAll ? static_cast<int64_t>(count) : (logits == Logits::kLast ? 1 : 0);
      entries.push_back({sequences[s], std::span(prompts[s]).subspan(at[s], count), logits});
      at[s] += count;
    }
    if (entries.empty()) {
      continue;
    }
    const Status status = engine_->Step(entries, &rows);
    ASSERT_TRUE(status.ok()) << status.message();
    ASSERT_EQ(static_cast<int64_t>(rows.size()), row * vocab);
    mine.insert(mine.end(), rows.begin() + first_row * vocab, rows.begin() + (first_row + my_rows) * vocab);
  }
  ExpectEqual(mine, "among seven others");
}

TEST_P(StepInvariance, SavedAndRestoredMidway) {
  const std::string file = testing::TempDir() + "/session." + std::to_string(getpid());
  for (size_t cut : {1u, 2u, 16u, 71u}) {
    const SequenceId first = Create(*engine_);
    std::vector<float> logits = Feed(*engine_, first, Ids(prompt_.begin(), prompt_.begin() + cut), {});
    ASSERT_TRUE(engine_->Save(first, file).ok());
    auto other = LoadEngine(GetParam());
    auto restored = other->Restore(file);
    ASSERT_TRUE(restored.ok()) << restored.status().message();
    EXPECT_EQ(*other->Length(*restored), static_cast<int64_t>(cut));
    const std::vector<float> rest = Feed(*other, *restored, Ids(prompt_.begin() + cut, prompt_.end()), {9, 1, 30});
    logits.insert(logits.end(), rest.begin(), rest.end());
    ExpectEqual(logits, "restored at " + std::to_string(cut));
    ASSERT_TRUE(engine_->Release(first).ok());
  }
  std::filesystem::remove(file);
}

TEST_P(StepInvariance, ForkMidway) {
  const SequenceId first = Create(*engine_);
  std::vector<float> logits = Feed(*engine_, first, Ids(prompt_.begin(), prompt_.begin() + 71), {});
  auto fork = engine_->Fork(first);
  ASSERT_TRUE(fork.ok()) << fork.status().message();
  Feed(*engine_, first, RandomPrompt(*engine_, 50, 5), {});  // the original goes another way
  const std::vector<float> rest = Feed(*engine_, *fork, Ids(prompt_.begin() + 71, prompt_.end()), {3});
  logits.insert(logits.end(), rest.begin(), rest.end());
  ExpectEqual(logits, "fork");
}

TEST_P(StepInvariance, TwoSequencesOfTheSamePromptInOneBatch) {
  const SequenceId a = Create(*engine_), b = Create(*engine_);
  std::vector<float> rows, mine;
  const size_t half = 70;
  for (size_t at : {size_t{0}, half}) {
    const auto piece = std::span<const int32_t>(prompt_).subspan(at, at == 0 ? half : prompt_.size() - half);
    const StepEntry entries[] = {{a, piece, Logits::kAll}, {b, piece, Logits::kAll}};
    ASSERT_TRUE(engine_->Step(entries, &rows).ok());
    const size_t size = piece.size() * engine_->vocab_size();
    ASSERT_EQ(rows.size(), 2 * size);
    EXPECT_TRUE(std::equal(rows.begin(), rows.begin() + size, rows.begin() + size)) << "the two differ";
    mine.insert(mine.end(), rows.begin(), rows.begin() + size);
  }
  ExpectEqual(mine, "two in one batch");
}

INSTANTIATE_TEST_SUITE_P(Plans, StepInvariance, testing::ValuesIn(PlanPaths()),
                         [](const testing::TestParamInfo<std::string>& info) {
                           std::string name = std::filesystem::path(info.param).stem().string();
                           std::replace_if(name.begin(), name.end(), [](char c) { return !isalnum(c); }, '_');
                           return name;
                         });

}  // namespace
}  // namespace nemotron::runtime
