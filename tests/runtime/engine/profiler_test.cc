#include "runtime/engine/profiler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "runtime/engine/observer.h"
#include "tests/runtime/plan/tiny_plan.h"

namespace nemotron::runtime {
namespace {

std::unique_ptr<Engine> Load(int64_t max_tokens = 0) {
  auto engine = Engine::Load(testing::LoadTinyPlan(), {.num_threads = 2, .max_tokens_per_step = max_tokens});
  EXPECT_TRUE(engine.ok()) << engine.status().message();
  return std::move(engine).value();
}

std::vector<float> Step(Engine& engine, const std::vector<StepEntry>& entries) {
  std::vector<float> logits;
  const Status status = engine.Step(entries, &logits);
  EXPECT_TRUE(status.ok()) << status.message();
  return logits;
}

TEST(ProfilerTest, TimesEachDispatchOncePerStep) {
  auto engine = Load();
  const std::vector<int32_t> tokens = {5, 6, 7};
  const std::vector<float> expected = Step(*engine, {{*engine->CreateSequence(), tokens}});
  StepProfiler profiler;
  const auto before = StepProfiler::Clock::now();
  {
    const ProfilerScope scope(*engine, &profiler);
    EXPECT_EQ(Step(*engine, {{*engine->CreateSequence(), tokens}}), expected);
    EXPECT_EQ(Step(*engine, {{*engine->CreateSequence(), tokens}}), expected);
  }
  const auto after = StepProfiler::Clock::now();
  Step(*engine, {{*engine->CreateSequence(), tokens}});  // nobody looks any more
  ASSERT_EQ(profiler.steps().size(), 2);
  auto last = before;
  for (const ProfiledStep& step : profiler.steps()) {
    ASSERT_EQ(step.times.size(), engine->plan().root().program()->dispatches()->size() + 1);
    EXPECT_LE(last, step.begin());
    EXPECT_TRUE(std::is_sorted(step.times.begin(), step.times.end()));
    EXPECT_LT(step.begin(), step.end());
    double sum = 0;
    for (size_t i = 0; i + 1 < step.times.size(); ++i) {
      sum += step.seconds(i);
    }
    EXPECT_NEAR(sum, step.seconds(), 1e-12);
    last = step.end();
  }
  EXPECT_LE(last, after);
  profiler.Clear();
  EXPECT_TRUE(profiler.steps().empty());
}

TEST(ProfilerTest, KnowsTheShapeOfEachDeviceStep) {
  auto engine = Load(/*max_tokens=*/4);
  StepProfiler profiler;
  const ProfilerScope scope(*engine, &profiler);
  const std::vector<int32_t> six(6, 3), one = {4};
  const SequenceId a = *engine->CreateSequence(), b = *engine->CreateSequence();
  Step(*engine, {{a, six}});
  Step(*engine, {{b, one}});
  Step(*engine, {{a, one}, {b, one, StepEntry::Logits::kNone}});
  ASSERT_EQ(profiler.steps().size(), 4);  // six tokens are two device steps
  const auto expect = [&](size_t step, int64_t tokens, int64_t sequences, int64_t rows, double context) {
    const StepShape& shape = profiler.steps()[step].shape;
    EXPECT_EQ(shape.num_tokens, tokens) << step;
    EXPECT_EQ(shape.num_sequences, sequences) << step;
    EXPECT_EQ(shape.num_rows, rows) << step;
    EXPECT_DOUBLE_EQ(shape.mean_context, context) << step;
  };
  expect(0, 4, 1, 0, 2.5);  // tokens attend to 1, 2, 3, 4 positions
  expect(1, 2, 1, 1, 5.5);  // 5, 6
  expect(2, 1, 1, 1, 1);
  expect(3, 2, 2, 1, 4.5);  // 7, 2
}

class Counter final : public ActivationObserver {
 public:
  bool Wants(const ActivationInfo&) override { return true; }
  void See(const ActivationInfo&, const ActivationRows&) override { ++seen; }
  int seen = 0;
};

TEST(ProfilerTest, GoesWithAnObserver) {
  auto engine = Load();
  StepProfiler profiler;
  Counter counter;
  const ProfilerScope profiled(*engine, &profiler);
  const ObserverScope observed(*engine, &counter);
  const std::vector<int32_t> tokens = {5, 6, 7};
  Step(*engine, {{*engine->CreateSequence(), tokens}});
  ASSERT_EQ(profiler.steps().size(), 1);
  EXPECT_GT(profiler.steps()[0].seconds(), 0);
  EXPECT_GT(counter.seen, 0);
}

}  // namespace
}  // namespace nemotron::runtime
