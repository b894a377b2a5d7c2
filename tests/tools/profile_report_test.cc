#include "tools/profile_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <string>

#include "runtime/base/json.h"
#include "tests/runtime/base/temporary_folder.h"
#include "tests/runtime/plan/tiny_plan.h"
#include "tools/trace_file.h"

namespace nemotron::tools {
namespace {

using namespace nemotron::runtime;  // NOLINT: a tool is made of nothing else
using ::testing::HasSubstr;
using Microseconds = std::chrono::microseconds;

/// A prompt of 4 tokens and two tokens after it: dispatch i takes 1 + i us, and 5 us lie between two steps.
std::deque<ProfiledStep> MakeSteps(const Plan& plan) {
  std::deque<ProfiledStep> steps;
  ProfiledStep::Clock::time_point now(std::chrono::hours(100));
  for (const int64_t tokens : {4, 1, 1}) {
    ProfiledStep& step = steps.emplace_back();
    step.shape = {.num_tokens = tokens, .num_rows = 1, .num_sequences = 1, .mean_context = 3};
    step.times.push_back(now);
    for (uint32_t i = 0; i < plan.root().program()->dispatches()->size(); ++i) {
      step.times.push_back(now += Microseconds(1 + i));
    }
    now += Microseconds(5);
  }
  return steps;
}

const KernelProfile& Find(const Profile& profile, std::string_view kernel) {
  for (const KernelProfile& found : profile.kernels) {
    if (found.kernel == kernel) {
      return found;
    }
  }
  ADD_FAILURE() << "no " << kernel;
  return profile.kernels.front();
}

constexpr cpu::MachinePeak kPeak = {.read_bytes_per_second = 1e9, .bf16_flops = 4e9, .int8_ops = 8e9, .f32_flops = 2e9};

TEST(ProfileReportTest, AddsUpDispatchesOfAKernel) {
  const auto plan =
      testing::LoadTinyPlan();  // embedding, conv, linear, scan, add, linear, attention, norm, rows, linear
  const std::deque<ProfiledStep> steps = MakeSteps(*plan);
  const Profile profile = SummarizeProfile(plan->root(), steps, 1, 3, 130e-6);
  EXPECT_EQ(profile.num_steps, 2);
  EXPECT_EQ(profile.num_tokens, 2);
  EXPECT_NEAR(profile.between_seconds, (130 - 2 * 55) * 1e-6, 1e-9);
  const KernelProfile& linear = Find(profile, "cpu.linear");
  EXPECT_EQ(linear.calls, 6);
  EXPECT_NEAR(linear.seconds, 2 * (3 + 6 + 10) * 1e-6, 1e-9);
  EXPECT_EQ(linear.cost.flops, 2 * 2 * 16 * (26 + 32 + 40));
  EXPECT_EQ(&linear, &profile.kernels.front()) << "the longest first";
  EXPECT_EQ(Find(profile, "cpu.attention").calls, 2);

  double seconds = profile.between_seconds;
  StepCost cost;
  for (const KernelProfile& kernel : profile.kernels) {
    seconds += kernel.seconds;
    cost += kernel.cost;
  }
  EXPECT_NEAR(seconds, profile.seconds, 1e-9);
  EXPECT_EQ(cost.bytes(), 2 * EstimateCost(plan->root(), steps[1].shape).bytes());
}

TEST(ProfileReportTest, JsonHasTheFiguresAndTheirShares) {
  const auto plan = testing::LoadTinyPlan();
  const Profile profile = SummarizeProfile(plan->root(), MakeSteps(*plan), 1, 3, 130e-6);
  const nlohmann::json json = ProfileJson(profile, kPeak);
  EXPECT_EQ(json["steps"], 2);
  const nlohmann::json& linear = json["kernels"][0];
  EXPECT_EQ(linear["kernel"], "cpu.linear");
  EXPECT_EQ(linear["products"], "f32");
  EXPECT_EQ(linear["calls"], 6);
  EXPECT_NEAR(linear["share_of_time"].get<double>(), 38.0 / 130, 1e-9);
  const double flops = 2 * 2 * 16 * (26 + 32 + 40), bytes = 2 * 64 * (32 + 32 + 48) + 2 * 4 * (3 * 16 + 26 + 32 + 40);
  EXPECT_EQ(linear["flops"], flops);
  EXPECT_EQ(linear["bytes"], bytes);
  EXPECT_NEAR(linear["share_of_dot_peak"].get<double>(), flops / 38e-6 / 2e9, 1e-9);
  EXPECT_NEAR(linear["share_of_read_bandwidth"].get<double>(), bytes / 38e-6 / 1e9, 1e-9);
  EXPECT_FALSE(ProfileJson(profile, {})["kernels"][0].contains("share_of_dot_peak")) << "nothing was measured";
}

TEST(ProfileReportTest, PrintsARowAKernel) {
  const auto plan = testing::LoadTinyPlan();
  const Profile profile = SummarizeProfile(plan->root(), MakeSteps(*plan), 1, 3, 130e-6);
  char* data = nullptr;
  size_t size = 0;
  std::FILE* file = open_memstream(&data, &size);
  PrintProfile(file, "decode", profile, kPeak);
  std::fclose(file);
  const std::string text(data, size);
  std::free(data);
  EXPECT_THAT(
      text,
      HasSubstr("decode: 2 tokens in 2 steps, 0.1 ms; reads 1.0 GB/s, dot products 4 GFLOP/s in bf16, 8 in int8, 2"));
  EXPECT_THAT(text, HasSubstr("| cpu.linear f32               |       6 |      0.04 |      6.3 | 29.2 % |    0.016 |"));
  EXPECT_THAT(text, HasSubstr("| cpu.add                      |       2 |"));
  EXPECT_THAT(text, HasSubstr("| between dispatches           |         |      0.02 |          | 15.4 % |"));
}

TEST(TraceFileTest, HasDispatchesWithinSteps) {
  const auto plan = testing::LoadTinyPlan();
  const std::deque<ProfiledStep> steps = MakeSteps(*plan);
  const TemporaryFolder folder;
  const std::string path = folder.Path("trace.json");
  auto file = FileWriter::Create(path);
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(WriteTrace(*file, *plan, steps, /*num_prefill_steps=*/1).ok());
  ASSERT_TRUE(file->Commit().ok());
  const auto trace = ReadJsonFile(path);
  ASSERT_TRUE(trace.ok()) << trace.status().message();
  const Json& events = (*trace)["traceEvents"];
  ASSERT_EQ(events.size(), 3 * (1 + 10));
  double end = 0;
  for (size_t s = 0; s < 3; ++s) {
    const Json& step = events[s * 11];
    EXPECT_EQ(step["name"], s == 0 ? "prefill" : "decode");
    EXPECT_EQ(step["ph"], "X");
    EXPECT_DOUBLE_EQ(step["ts"], 60.0 * static_cast<double>(s));
    EXPECT_DOUBLE_EQ(step["dur"], 55);
    EXPECT_EQ(step["args"]["tokens"], s == 0 ? 4 : 1);
    for (size_t d = 0; d < 10; ++d) {
      const Json& event = events[s * 11 + 1 + d];
      const double ts = event["ts"], duration = event["dur"];
      EXPECT_GE(ts, std::max(end, step["ts"].get<double>()));
      EXPECT_DOUBLE_EQ(duration, 1.0 + static_cast<double>(d));
      EXPECT_EQ(event["args"]["dispatch"], d);
      end = ts + duration;
    }
    EXPECT_LE(end, step["ts"].get<double>() + step["dur"].get<double>());
  }
  const Json& linear = events[3];
  EXPECT_EQ(linear["name"], "cpu.linear");
  EXPECT_EQ(linear["args"], (Json{{"dispatch", 2},
                                  {"layer", 0},
                                  {"weight", "in_proj"},
                                  {"tokens", 4},
                                  {"sequences", 1},
                                  {"bytes", 32 * 64 + 4 * 4 * (16 + 26)},
                                  {"flops", 4 * 2 * 26 * 16}}));
}

TEST(TraceFileTest, WithoutStepsIsEmpty) {
  const auto plan = testing::LoadTinyPlan();
  const TemporaryFolder folder;
  auto file = FileWriter::Create(folder.Path("trace.json"));
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(WriteTrace(*file, *plan, {}, 0).ok());
  ASSERT_TRUE(file->Commit().ok());
  EXPECT_EQ((*ReadJsonFile(folder.Path("trace.json")))["traceEvents"], Json::array());
}

}  // namespace
}  // namespace nemotron::tools
