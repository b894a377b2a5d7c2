#include "runtime/engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <random>
#include <stdexcept>

#include "tests/runtime/plan/tiny_plan.h"

namespace nemotron::runtime {
namespace {

using ::testing::HasSubstr;
using Logits = StepEntry::Logits;

/// The first two logits after Tokens(20) of each plan in kept.
constexpr float kKeptLogits[] = {-0.0176826f, -0.2787243f};

/// The tiny plan in an engine; tokens are random but the same each time.
class EngineTest : public ::testing::Test {
 protected:
  static std::unique_ptr<Engine> Load(EngineOptions options = {}, const testing::TinyPlanOptions& plan = {}) {
    if (options.num_threads == 0) {
      options.num_threads = 2;
    }
    auto engine = Engine::Load(testing::LoadTinyPlan(plan), options);
    if (!engine.ok()) {
      throw std::runtime_error(engine.status().message());
    }
    return std::move(engine).value();
  }

  static std::vector<int32_t> Tokens(int64_t count, uint32_t seed = 1) {
    std::mt19937 random(seed);
    std::vector<int32_t> tokens(static_cast<size_t>(count));
    std::generate(tokens.begin(), tokens.end(), [&] { return static_cast<int32_t>(random() % 40); });
    return tokens;
  }

  static SequenceId NewSequence(Engine& engine) {
    auto sequence = engine.CreateSequence();
    EXPECT_TRUE(sequence.ok()) << sequence.status().message();
    return *sequence;
  }

  /// Logits after `tokens`, which must be taken.
  static std::vector<float> Step(Engine& engine, SequenceId sequence, std::span<const int32_t> tokens,
                                 Logits logits = Logits::kLast) {
    std::vector<float> rows;
    const StepEntry entry = {sequence, tokens, logits};
    const Status status = engine.Step({&entry, 1}, &rows);
    EXPECT_TRUE(status.ok()) << status.message();
    return rows;
  }

  /// What a fresh engine of its own says to `tokens`, all rows.
  static std::vector<float> Reference(std::span<const int32_t> tokens) {
    auto engine = Load();
    return Step(*engine, NewSequence(*engine), tokens, Logits::kAll);
  }
  static std::vector<float> LastRow(const std::vector<float>& rows) { return {rows.end() - 40, rows.end()}; }

  std::string path_ = ::testing::TempDir() + "/engine_test.session";
};

TEST_F(EngineTest, TellsWhatItIs) {
  auto engine = Load({.max_sequences = 3, .context_tokens = 200});
  EXPECT_EQ(engine->vocab_size(), 40);
  EXPECT_EQ(engine->num_threads(), 2);
  EXPECT_EQ(engine->free_slots(), 3);
  EXPECT_EQ(engine->free_pages(), 4);
  EXPECT_EQ(engine->memory().num_slots, 3);
  EXPECT_EQ(engine->tokenizer(), nullptr);
}

TEST_F(EngineTest, PlanMemoryEqualsWhatLoadTakes) {
  const auto plan = testing::LoadTinyPlan();
  const EngineOptions options = {.num_threads = 1};
  const auto report = Engine::PlanMemory(*plan, options);
  ASSERT_TRUE(report.ok()) << report.status().message();
  const auto engine = Engine::Load(plan, options);
  EXPECT_EQ(report->total_bytes(), (*engine)->memory().total_bytes());
  EXPECT_GT(report->workspace_bytes, 0);
}

TEST_F(EngineTest, RefusesWhatDoesNotFit) {
  const auto engine = Engine::Load(testing::LoadTinyPlan(), {.memory_limit_bytes = 1000});
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.status().code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(engine.status().message(), HasSubstr("--memory-limit"));
}

TEST_F(EngineTest, PlansForGpusRunOnTheCpu) {
  const auto plan = testing::LoadDraft(testing::MakePlanForBoth());
  const std::vector<int32_t> tokens = {3, 1, 4, 1, 5, 9, 2, 6, 5, 35};
  std::vector<int64_t> calls;
  EngineOptions options = {.device = "cpu", .num_threads = 2};
  options.load_progress = [&](int64_t done, int64_t total) { calls.push_back(total - done); };
  const auto report = Engine::PlanMemory(*plan, options);
  ASSERT_TRUE(report.ok()) << report.status().message();
  EXPECT_TRUE(calls.empty());
  auto engine = Engine::Load(plan, options);
  ASSERT_TRUE(engine.ok()) << engine.status().message();
  EXPECT_EQ(calls.back(), 0);
  EXPECT_EQ((*engine)->device_name(), "cpu");
  EXPECT_EQ(Step(**engine, NewSequence(**engine), tokens, Logits::kAll), Reference(tokens));

  const auto other = Load();
  EXPECT_EQ((*engine)->memory().weight_bytes, other->memory().weight_bytes);
  EXPECT_EQ((*engine)->memory().total_bytes(), report->total_bytes());
  EXPECT_FALSE((*engine)->memory().maps_weights);
  EXPECT_TRUE(other->memory().maps_weights);
}

TEST_F(EngineTest, PlansForGpusAloneDoNot) {
  const auto plan = testing::LoadDraft(testing::MakeCompiledPlan());
  const auto engine = Engine::Load(plan, {.device = "cpu"});
  EXPECT_EQ(engine.status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(engine.status().message(),
            "the plan is for target cuda, which device 'cpu' does not run; compile it with --target cpu");
}

TEST_F(EngineTest, RefusesUnknownDevices) {
  EXPECT_THAT(Engine::Load(testing::LoadTinyPlan(), {.device = "abacus"}).status().message(), HasSubstr("'abacus'"));
  EXPECT_EQ(Engine::Load(nullptr, {}).status().code(), StatusCode::kInvalidArgument);
}

TEST_F(EngineTest, NamesTheDispatchThatNoKernelTakes) {
  testing::PlanDraft draft = testing::MakeTinyPlan();
  draft.plan.program->kernels[1]->name = "cpu.no_such_kernel";
  const auto engine = Engine::Load(testing::LoadDraft(draft), {});
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.status().code(), StatusCode::kUnimplemented);
  EXPECT_THAT(engine.status().message(), HasSubstr("in program.dispatches[1] 'cpu.no_such_kernel' of layer 0"));
}

TEST_F(EngineTest, ReportsLoadProgress) {
  int64_t last = 0, total = 0;
  EngineOptions options;
  options.load_progress = [&](int64_t done, int64_t all) { last = done, total = all; };
  Load(options);
  EXPECT_GT(total, 0);
  EXPECT_EQ(last, total);
}

TEST_F(EngineTest, PinsThreadsUntilItGoes) {
  const auto num_cpus = [] {
    cpu_set_t set;
    EXPECT_EQ(sched_getaffinity(0, sizeof(set), &set), 0);
    return CPU_COUNT(&set);
  };
  const int before = num_cpus();
  const std::vector<int32_t> tokens = Tokens(20);
  const std::vector<float> expected = Reference(tokens);
  auto engine = Load({.pin_threads = true, .context_tokens = 1024, .page_tokens = 16});
  EXPECT_EQ(num_cpus(), 1);
  EXPECT_EQ(Step(*engine, NewSequence(*engine), tokens, Logits::kAll), expected);
  engine.reset();
  EXPECT_EQ(num_cpus(), before);
}

TEST_F(EngineTest, EveryCutGivesTheSameBits) {
  const std::vector<int32_t> tokens = Tokens(150);
  const std::vector<float> expected = Reference(tokens);
  std::mt19937 random(9);
  for (const int64_t max_tokens : {1, 7, 64, 512}) {
    auto engine = Load({.max_tokens_per_step = max_tokens, .context_tokens = 1024, .page_tokens = 16});
    ASSERT_EQ(Step(*engine, NewSequence(*engine), tokens, Logits::kAll), expected) << max_tokens;
    ASSERT_EQ(Step(*engine, NewSequence(*engine), tokens), LastRow(expected)) << max_tokens;
    const SequenceId sequence = NewSequence(*engine);
    std::vector<float> rows;
    for (size_t i = 0; i < tokens.size();) {
      const size_t count = std::min<size_t>(1 + random() % 40, tokens.size() - i);
      const std::vector<float> part = Step(*engine, sequence, std::span(tokens).subspan(i, count), Logits::kAll);
      rows.insert(rows.end(), part.begin(), part.end());
      i += count;
    }
    ASSERT_EQ(rows, expected) << max_tokens;
  }
}

TEST_F(EngineTest, EveryKernelGivesTheSameBitsForEveryCut) {
  const testing::TinyPlanOptions all = {.with_all_kernels = true};
  const std::vector<int32_t> tokens = Tokens(90);
  auto engine = Load({}, all);
  const std::vector<float> expected = Step(*engine, NewSequence(*engine), tokens, Logits::kAll);
  auto narrow = Load({.num_threads = 1, .max_tokens_per_step = 5, .page_tokens = 16}, all);
  EXPECT_EQ(Step(*narrow, NewSequence(*narrow), tokens, Logits::kAll), expected);
}

TEST_F(EngineTest, RefusesExpertsThatTheirRouterDoesNotKnow) {
  testing::PlanDraft draft = testing::MakeTinyPlan({.with_all_kernels = true});
  for (auto& weight : draft.plan.weights) {
    if (weight->name == "up" || weight->name == "down") {  // half of the experts
      weight->shape[0] = 2;
      *weight->segment = schema::Segment(weight->segment->offset_bytes(), weight->segment->size_bytes() / 2, 0);
    }
  }
  const testing::AlignedBytes bytes(testing::PackPlan(draft));
  const auto plan = Plan::FromBytes(bytes.span(), {.verify_weights = Plan::LoadOptions::VerifyWeights::kNever});
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  EXPECT_THAT(Engine::Load(*plan, {}).status().message(),
              HasSubstr("has 2 experts, but its indices come from a router of 4"));
}

TEST_F(EngineTest, SequencesDoNotSeeEachOther) {
  auto engine = Load({.max_tokens_per_step = 32, .context_tokens = 2048});
  constexpr size_t kCount = 8;
  std::vector<std::vector<int32_t>> tokens;
  std::vector<std::vector<float>> expected, found(kCount);
  std::vector<SequenceId> sequences;
  for (uint32_t i = 0; i < kCount; ++i) {
    tokens.push_back(Tokens(40 + 10 * i, i));
    expected.push_back(Reference(tokens.back()));
    sequences.push_back(NewSequence(*engine));
  }
  std::vector<size_t> done(kCount, 0);
  std::mt19937 random(4);
  while (true) {
    std::vector<StepEntry> entries;
    std::vector<size_t> order(kCount);
    std::iota(order.begin(), order.end(), size_t{0});
    std::shuffle(order.begin(), order.end(), random);
    std::vector<size_t> named;
    for (const size_t i : order) {
      const size_t count = std::min<size_t>(random() % 12, tokens[i].size() - done[i]);
      if (count > 0) {
        entries.push_back({sequences[i], std::span(tokens[i]).subspan(done[i], count), Logits::kAll});
        named.push_back(i);
      }
    }
    if (std::equal(done.begin(), done.end(), tokens.begin(), [](size_t n, const auto& t) { return n == t.size(); })) {
      break;
    }
    std::vector<float> rows;
    ASSERT_TRUE(engine->Step(entries, &rows).ok());
    auto row = rows.begin();
    for (size_t e = 0; e < entries.size(); ++e) {
      const auto size = static_cast<ptrdiff_t>(entries[e].tokens.size() * 40);
      found[named[e]].insert(found[named[e]].end(), row, row + size);
      row += size;
      done[named[e]] += entries[e].tokens.size();
    }
  }
  EXPECT_EQ(found, expected);
}

TEST_F(EngineTest, GivesRowsInTheOrderOfTheEntries) {
  auto engine = Load();
  const std::vector<int32_t> a = Tokens(5, 1), b = Tokens(3, 2), c = Tokens(4, 3);
  const std::vector<StepEntry> entries = {{NewSequence(*engine), a, Logits::kLast},
                                          {NewSequence(*engine), b, Logits::kNone},
                                          {NewSequence(*engine), c, Logits::kAll}};
  std::vector<float> rows;
  ASSERT_TRUE(engine->Step(entries, &rows).ok());
  std::vector<float> expected = LastRow(Reference(a));
  const std::vector<float> of_c = Reference(c);
  expected.insert(expected.end(), of_c.begin(), of_c.end());
  EXPECT_EQ(rows, expected);
}

TEST_F(EngineTest, AReusedSlotIsReset) {
  auto engine = Load({.max_sequences = 1});
  const std::vector<int32_t> tokens = Tokens(20);
  const SequenceId first = NewSequence(*engine);
  const std::vector<float> rows = Step(*engine, first, tokens);
  ASSERT_TRUE(engine->Release(first).ok());
  const SequenceId second = NewSequence(*engine);
  EXPECT_NE(first, second);
  EXPECT_EQ(*engine->Length(second), 0);
  EXPECT_EQ(Step(*engine, second, tokens), rows);
}

TEST_F(EngineTest, ReleasedSequencesAreGone) {
  auto engine = Load();
  const SequenceId sequence = NewSequence(*engine);
  ASSERT_TRUE(engine->Release(sequence).ok());
  EXPECT_EQ(engine->Release(sequence).code(), StatusCode::kNotFound);
  EXPECT_EQ(engine->Length(sequence).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(engine->Tokens(sequence).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(engine->Fork(sequence).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(engine->Save(sequence, path_).code(), StatusCode::kNotFound);
  EXPECT_EQ(engine->Release(SequenceId{-1}).code(), StatusCode::kNotFound);
  EXPECT_EQ(engine->Release(SequenceId{1000}).code(), StatusCode::kNotFound);
  const std::vector<int32_t> tokens = {1};
  const StepEntry entry = {sequence, tokens};
  std::vector<float> rows;
  EXPECT_EQ(engine->Step({&entry, 1}, &rows).code(), StatusCode::kNotFound);
}

TEST_F(EngineTest, SlotsRunOut) {
  auto engine = Load({.max_sequences = 2});
  NewSequence(*engine);
  NewSequence(*engine);
  const auto third = engine->CreateSequence();
  EXPECT_EQ(third.status().code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(third.status().message(), HasSubstr("--max-sequences"));
}

TEST_F(EngineTest, AStepThatFailsChangesNothing) {
  auto engine = Load({.context_tokens = 128, .page_tokens = 16});  // 8 pages
  const SequenceId a = NewSequence(*engine), b = NewSequence(*engine);
  const std::vector<int32_t> tokens = Tokens(100), more = Tokens(40, 2), bad = {3, 40}, negative = {-1};
  Step(*engine, a, std::span(tokens).first(60));
  Step(*engine, b, std::span(tokens).first(20));
  const int64_t free_pages = engine->free_pages();
  EXPECT_EQ(free_pages, 8 - 4 - 2);
  std::vector<float> rows;
  const auto step = [&](const std::vector<StepEntry>& entries) { return engine->Step(entries, &rows); };
  const Status full = step({{a, std::span(tokens).subspan(60, 20)}, {b, more}});
  EXPECT_EQ(full.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(full.message(), HasSubstr("--context"));
  EXPECT_EQ(step({{a, std::span(tokens).subspan(60, 1)}, {a, more}}).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(step({{a, std::span(tokens).subspan(60, 1)}, {b, {}}}).code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(step({{a, std::span(tokens).subspan(60, 1)}, {b, bad}}).message(), HasSubstr("token 1 of entry 1"));
  EXPECT_EQ(step({{b, negative}}).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(step({{a, std::span(tokens).subspan(60, 1)}, {SequenceId{99}, more}}).code(), StatusCode::kNotFound);
  const StepEntry wants_rows = {a, std::span(tokens).subspan(60, 1)};
  EXPECT_EQ(engine->Step({&wants_rows, 1}, nullptr).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(engine->free_pages(), free_pages);
  EXPECT_EQ(*engine->Length(a), 60);
  EXPECT_EQ(*engine->Length(b), 20);
  // Both go on as if nothing had been.
  EXPECT_EQ(Step(*engine, a, std::span(tokens).subspan(60, 10)), LastRow(Reference(std::span(tokens).first(70))));
  EXPECT_EQ(Step(*engine, b, std::span(tokens).subspan(20, 10)), LastRow(Reference(std::span(tokens).first(30))));
}

TEST_F(EngineTest, PagesComeBack) {
  auto engine = Load({.context_tokens = 64, .page_tokens = 16});
  for (int i = 0; i < 10; ++i) {
    const SequenceId sequence = NewSequence(*engine);
    Step(*engine, sequence, Tokens(64));
    EXPECT_EQ(engine->free_pages(), 0);
    ASSERT_TRUE(engine->Release(sequence).ok());
    EXPECT_EQ(engine->free_pages(), 4);
  }
}

TEST_F(EngineTest, TokensTellsWhatWasTakenIn) {
  auto engine = Load();
  const SequenceId sequence = NewSequence(*engine);
  const std::vector<int32_t> tokens = Tokens(70);
  Step(*engine, sequence, std::span(tokens).first(50));
  Step(*engine, sequence, std::span(tokens).subspan(50));
  EXPECT_TRUE(std::ranges::equal(*engine->Tokens(sequence), tokens));
}

TEST_F(EngineTest, AForkGoesItsOwnWay) {
  const std::vector<int32_t> prompt = Tokens(37), left = Tokens(20, 2), right = Tokens(20, 3);
  auto engine = Load({.page_tokens = 16});
  const SequenceId parent = NewSequence(*engine);
  Step(*engine, parent, prompt);
  const int64_t free_pages = engine->free_pages();
  const auto fork = engine->Fork(parent);
  ASSERT_TRUE(fork.ok());
  EXPECT_EQ(engine->free_pages(), free_pages - 1);  // two full pages are shared, the third is copied
  EXPECT_TRUE(std::ranges::equal(*engine->Tokens(*fork), prompt));
  const auto joined = [&](const std::vector<int32_t>& tail) {
    std::vector<int32_t> all = prompt;
    all.insert(all.end(), tail.begin(), tail.end());
    return LastRow(Reference(all));
  };
  // Both write to the same position of what was one page.
  EXPECT_EQ(Step(*engine, parent, left), joined(left));
  EXPECT_EQ(Step(*engine, *fork, right), joined(right));
  // The fork outlives its parent.
  ASSERT_TRUE(engine->Release(parent).ok());
  NewSequence(*engine);
  std::vector<int32_t> longer = right;
  longer.push_back(5);
  EXPECT_EQ(Step(*engine, *fork, std::span(longer).last(1)), joined(longer));
}

TEST_F(EngineTest, AForkAtAPageBoundarySharesAll) {
  auto engine = Load({.context_tokens = 32, .page_tokens = 16});
  const SequenceId parent = NewSequence(*engine);
  Step(*engine, parent, Tokens(32));
  EXPECT_EQ(engine->free_pages(), 0);
  const auto fork = engine->Fork(parent);
  ASSERT_TRUE(fork.ok()) << fork.status().message();
  ASSERT_TRUE(engine->Release(parent).ok());
  EXPECT_EQ(engine->free_pages(), 0);
  ASSERT_TRUE(engine->Release(*fork).ok());
  EXPECT_EQ(engine->free_pages(), 2);
}

TEST_F(EngineTest, AForkWithoutAPageForItsCopyFailsAlone) {
  auto engine = Load({.context_tokens = 32, .page_tokens = 16});
  const SequenceId parent = NewSequence(*engine);
  Step(*engine, parent, Tokens(20));
  const int64_t free_slots = engine->free_slots();
  EXPECT_EQ(engine->Fork(parent).status().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(engine->free_slots(), free_slots);
  EXPECT_EQ(Step(*engine, parent, std::vector<int32_t>{7}).size(), 40u);
}

TEST_F(EngineTest, ARepeatedSequenceHoldsItsPagesAgain) {
  auto engine = Load({.context_tokens = 96, .page_tokens = 16});
  const std::vector<int32_t> prompt = Tokens(32), tail = {7};
  const SequenceId sequence = NewSequence(*engine);
  EXPECT_EQ(engine->Repeat(sequence, 64).code(), StatusCode::kInvalidArgument);  // nothing to repeat
  Step(*engine, sequence, prompt);
  EXPECT_EQ(engine->Repeat(sequence, 40).message(),
            "cannot repeat 32 tokens up to 40: expected whole pages of 16 tokens, at least one");
  EXPECT_EQ(engine->Repeat(sequence, 16).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(engine->Repeat(sequence, 112).message(),
            "112 tokens take 5 more pages of 16 tokens, but 4 are left (--context)");
  EXPECT_EQ(*engine->Length(sequence), 32);
  ASSERT_TRUE(engine->Repeat(sequence, 80).ok());
  EXPECT_EQ(engine->free_pages(), 1);
  const std::span<const int32_t> tokens = *engine->Tokens(sequence);
  ASSERT_EQ(tokens.size(), 80u);
  for (size_t i = 0; i < tokens.size(); ++i) {
    EXPECT_EQ(tokens[i], prompt[i % 32]) << i;
  }
  for (const float logit : Step(*engine, sequence, tail)) {
    EXPECT_TRUE(std::isfinite(logit));
  }
  ASSERT_TRUE(engine->Release(sequence).ok());
  EXPECT_EQ(engine->free_pages(), 6);
}

TEST_F(EngineTest, ARestoredSequenceGoesOnWithTheSameBits) {
  const std::vector<int32_t> tokens = Tokens(90);
  const std::vector<float> expected = Reference(tokens);
  for (const size_t at : {0, 1, 3, 16, 37, 64, 89}) {
    auto engine = Load({.page_tokens = 16});
    const SequenceId sequence = NewSequence(*engine);
    if (at > 0) {
      Step(*engine, sequence, std::span(tokens).first(at));
    }
    const Status saved = engine->Save(sequence, path_);
    ASSERT_TRUE(saved.ok()) << saved.message();
    // Another process, other pages, other threads.
    auto other = Load({.num_threads = 1, .page_tokens = 48});
    Step(*other, NewSequence(*other), Tokens(33, 8));
    const auto restored = other->Restore(path_);
    ASSERT_TRUE(restored.ok()) << restored.status().message();
    EXPECT_EQ(*other->Length(*restored), static_cast<int64_t>(at));
    EXPECT_EQ(Step(*other, *restored, std::span(tokens).subspan(at)), LastRow(expected)) << at;
  }
  std::filesystem::remove(path_);
}

TEST_F(EngineTest, ASessionHoldsNothingOfOthers) {
  // The same tokens on a page that held something else before give the same file.
  const auto bytes_of_session = [&](bool dirty) {
    auto engine = Load({.max_sequences = 1, .context_tokens = 64});
    if (dirty) {
      const SequenceId other = NewSequence(*engine);
      Step(*engine, other, Tokens(60, 5));
      EXPECT_TRUE(engine->Release(other).ok());
    }
    const SequenceId sequence = NewSequence(*engine);
    Step(*engine, sequence, Tokens(10));
    EXPECT_TRUE(engine->Save(sequence, path_).ok());
    std::ifstream file(path_, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  EXPECT_EQ(bytes_of_session(false), bytes_of_session(true));
  std::filesystem::remove(path_);
}

TEST_F(EngineTest, DamagedSessionsAreRefused) {
  auto engine = Load();
  const SequenceId sequence = NewSequence(*engine);
  Step(*engine, sequence, Tokens(10));
  ASSERT_TRUE(engine->Save(sequence, path_).ok());
  std::ifstream in(path_, std::ios::binary);
  const std::string good(std::istreambuf_iterator<char>(in), {});
  const auto restore = [&](const std::string& bytes) {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << bytes;
    return engine->Restore(path_).status();
  };
  const int64_t free_slots = engine->free_slots(), free_pages = engine->free_pages();
  for (size_t size = 0; size < good.size(); size += 16) {
    ASSERT_EQ(restore(good.substr(0, size)).code(), StatusCode::kDataLoss) << size;
  }
  for (size_t byte = 0; byte < good.size(); byte += 5) {
    std::string bad = good;
    bad[byte] = static_cast<char>(bad[byte] ^ 0x20);
    ASSERT_EQ(restore(bad).code(), StatusCode::kDataLoss) << byte;
  }
  EXPECT_EQ(restore(good + "x").code(), StatusCode::kDataLoss);
  EXPECT_EQ(engine->Restore("/nonexistent/session").status().code(), StatusCode::kNotFound);
  EXPECT_EQ(engine->free_slots(), free_slots);
  EXPECT_EQ(engine->free_pages(), free_pages);
  std::filesystem::remove(path_);
}

TEST_F(EngineTest, SessionsOfOtherPlansAreRefused) {
  auto engine = Load();
  const SequenceId sequence = NewSequence(*engine);
  Step(*engine, sequence, Tokens(10));
  ASSERT_TRUE(engine->Save(sequence, path_).ok());
  auto other = Load({}, {.seed = 2});
  const Status status = other->Restore(path_).status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("belongs to another plan"));
  std::filesystem::remove(path_);
}

TEST_F(EngineTest, ASessionThatIsTooLongChangesNothing) {
  auto engine = Load();
  const SequenceId sequence = NewSequence(*engine);
  Step(*engine, sequence, Tokens(100));
  ASSERT_TRUE(engine->Save(sequence, path_).ok());
  auto small = Load({.context_tokens = 64});
  EXPECT_EQ(small->Restore(path_).status().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(small->free_slots(), 8);
  EXPECT_EQ(small->free_pages(), 1);
  std::filesystem::remove(path_);
}

TEST_F(EngineTest, NeedsNoPagesWithoutAttention) {
  auto engine = Load({}, {.with_attention = false});
  EXPECT_EQ(engine->free_pages(), 0);
  const SequenceId sequence = NewSequence(*engine);
  const std::vector<int32_t> tokens = Tokens(2000);
  const std::vector<float> rows = Step(*engine, sequence, tokens);
  const auto fork = engine->Fork(sequence);
  ASSERT_TRUE(fork.ok());
  ASSERT_TRUE(engine->Save(sequence, path_).ok());
  const auto restored = engine->Restore(path_);
  ASSERT_TRUE(restored.ok()) << restored.status().message();
  const std::vector<int32_t> next = {3};
  const std::vector<float> expected = Step(*engine, sequence, next);
  EXPECT_EQ(Step(*engine, *fork, next), expected);
  EXPECT_EQ(Step(*engine, *restored, next), expected);
  std::filesystem::remove(path_);
}

TEST_F(EngineTest, NeedsNoSlotsWithoutRecurrence) {
  auto engine = Load({.page_tokens = 16}, {.with_recurrence = false});
  const SequenceId sequence = NewSequence(*engine);
  const std::vector<int32_t> tokens = Tokens(50);
  const std::vector<float> whole = Step(*engine, sequence, tokens, Logits::kAll);
  const SequenceId other = NewSequence(*engine);
  Step(*engine, other, std::span(tokens).first(20));
  const auto fork = engine->Fork(other);
  ASSERT_TRUE(fork.ok());
  EXPECT_EQ(Step(*engine, *fork, std::span(tokens).subspan(20)), LastRow(whole));
}

TEST_F(EngineTest, PlansOfEveryVersionRun) {
  for (const char* name : {"version-3.bin", "version-4.bin"}) {
    const auto plan = Plan::Load(std::string(KEPT_PLANS) + "/" + name);
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    auto engine = Engine::Load(*plan, {.num_threads = 1});
    ASSERT_TRUE(engine.ok()) << engine.status().message();
    const std::vector<float> row = Step(**engine, NewSequence(**engine), Tokens(20));
    // What it gave when it was kept, up to what the order of sums may change.
    EXPECT_NEAR(row[0], kKeptLogits[0], 1e-3f);
    EXPECT_NEAR(row[1], kKeptLogits[1], 1e-3f);
  }
}

TEST_F(EngineTest, TheCpuLeavesTokensToTheHost) {
  auto engine = Load();
  EXPECT_FALSE(engine->can_sample());
  const std::vector<int32_t> tokens = Tokens(3);
  const StepEntry entry = {NewSequence(*engine), tokens};
  const SampleEntry sample = {};
  std::vector<SampledRow> rows;
  const Status status = engine->Sample({&entry, 1}, {&sample, 1}, &rows);
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.message(), "the plan draws no tokens on device cpu, expected a call of Step");
  EXPECT_EQ(*engine->Length(entry.sequence), 0);
}

TEST_F(EngineTest, AnEmptyStepIsFine) {
  auto engine = Load();
  std::vector<float> rows(5);
  EXPECT_TRUE(engine->Step({}, &rows).ok());
  EXPECT_TRUE(rows.empty());
}

}  // namespace
}  // namespace nemotron::runtime
