// All kernels of a device beside those of the CPU, and the one answer: the same bits however tokens are cut into steps.
// Runs on the GPU or the simulator whose driver NEMOTRON_LIBCUDA names; skipped where there is none.
#include "tests/codegen/cuda/device_conformance.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <bit>
#include <cmath>
#include <filesystem>
#include <limits>
#include <numeric>

#include "runtime/cuda/driver.h"
#include "runtime/cuda/launch_counters.h"

namespace nemotron::codegen {
namespace {

using runtime::Engine;
using runtime::EngineOptions;
using runtime::SequenceId;
using runtime::StepEntry;

constexpr int64_t kPageTokens = 16;

/// The bits of numbers; a NaN is as good as another.
std::vector<uint32_t> Bits(const std::vector<float>& numbers) {
  std::vector<uint32_t> bits;
  for (const float number : numbers) {
    bits.push_back(std::bit_cast<uint32_t>(std::isnan(number) ? std::numeric_limits<float>::quiet_NaN() : number));
  }
  return bits;
}

class DeviceConformanceTest : public testing::TestWithParam<ConformanceCase> {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) / fmt::format("conformance_{}", getpid());
    std::filesystem::create_directories(folder_);
    ASSERT_NO_FATAL_FAILURE(CompileCase(GetParam(), "cpu", {}, folder_ / "cpu.plan"));
    ASSERT_NO_FATAL_FAILURE(CompileCase(GetParam(), "cuda", {"sm_90a", "sm_80"}, folder_ / "cuda.plan"));
    const auto driver = runtime::cuda::Driver::Open();
    if (!driver.ok()) {
      GTEST_SKIP() << driver.status().message();
    }
    cpu_ = Load("cpu");
    cuda_ = Load("cuda");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::unique_ptr<Engine> Load(const std::string& device) {
    auto plan = runtime::Plan::Load(folder_ / (device + ".plan"));
    EXPECT_TRUE(plan.ok()) << plan.status().message();
    EngineOptions options;
    options.device = device;
    options.max_sequences = 4;
    options.context_tokens = 1024;
    options.page_tokens = kPageTokens;
    auto engine = Engine::Load(plan.value(), options);
    EXPECT_TRUE(engine.ok()) << engine.status().message();
    return engine.ok() ? std::move(engine).value() : nullptr;
  }

  /// Logits of all tokens, brought in steps of these sizes.
  static std::vector<float> Run(Engine& engine, std::span<const int32_t> tokens, std::span<const int64_t> steps) {
    std::vector<float> all, logits;
    const SequenceId sequence = engine.CreateSequence().value();
    for (const int64_t step : steps) {
      const StepEntry entry = {.sequence = sequence, .tokens = tokens.first(step), .logits = StepEntry::Logits::kAll};
      const runtime::Status status = engine.Step({&entry, 1}, &logits);
      EXPECT_TRUE(status.ok()) << status.message();
      all.insert(all.end(), logits.begin(), logits.end());
      tokens = tokens.subspan(step);
    }
    EXPECT_TRUE(engine.Release(sequence).ok());
    return all;
  }

  std::filesystem::path folder_;
  std::unique_ptr<Engine> cpu_, cuda_;
};

TEST_P(DeviceConformanceTest, ComputesWhatTheCpuDoes) {
  ASSERT_TRUE(cpu_ != nullptr && cuda_ != nullptr);
  for (const int64_t count : {1, 3, 17, 70, 150}) {
    const std::vector<int32_t> tokens = ConformanceTokens(count, GetParam().output_columns);
    const std::vector<float> expected = Run(*cpu_, tokens, {{count}}), found = Run(*cuda_, tokens, {{count}});
    ASSERT_EQ(found.size(), expected.size());
    float largest = 0;
    for (const float value : expected) {
      largest = std::max(largest, std::isfinite(value) ? std::fabs(value) : 0);
    }
    for (size_t i = 0; i < found.size(); ++i) {
      SCOPED_TRACE(fmt::format("token {} of {}, column {}", i / GetParam().output_columns, count,
                               i % GetParam().output_columns));
      if (std::isfinite(expected[i])) {
        ASSERT_NEAR(found[i], expected[i], GetParam().tolerance * largest);
      } else {
        ASSERT_EQ(Bits({found[i]}), Bits({expected[i]}));
      }
    }
  }
}

TEST_P(DeviceConformanceTest, GivesTheSameBitsInAnySteps) {
  ASSERT_TRUE(cuda_ != nullptr);
  if (GetParam().depends_on_step) {
    GTEST_SKIP() << "scales by the maximum of a step";
  }
  const std::vector<int32_t> tokens = ConformanceTokens(100, GetParam().output_columns);
  const std::vector<uint32_t> whole = Bits(Run(*cuda_, tokens, {{100}}));
  const std::vector<int64_t> single(100, 1);
  for (const std::vector<int64_t>& steps : {std::vector<int64_t>{1, 33, 2, 1, 40, 23}, single}) {
    EXPECT_EQ(Bits(Run(*cuda_, tokens, steps)), whole);
  }
}

TEST_P(DeviceConformanceTest, GivesTheSameBitsInAnyBatch) {
  ASSERT_TRUE(cuda_ != nullptr);
  if (GetParam().depends_on_step) {
    GTEST_SKIP() << "scales by the maximum of a step";
  }
  const std::vector<int32_t> tokens = ConformanceTokens(60, GetParam().output_columns);
  const std::vector<uint32_t> alone = Bits(Run(*cuda_, tokens, {{40, 20}}));
  std::vector<SequenceId> sequences;
  std::vector<std::vector<float>> found(3);
  for (size_t i = 0; i < found.size(); ++i) {
    sequences.push_back(cuda_->CreateSequence().value());
  }
  // Sequence i lags i rounds behind, so that prompts and single tokens share steps.
  std::vector<size_t> done(found.size());
  const int64_t sizes[] = {40, 1, 5, 14};
  for (size_t round = 0; round < 6; ++round) {
    std::vector<StepEntry> entries;
    std::vector<size_t> owners;
    for (size_t i = 0; i < found.size() && i <= round; ++i) {
      if (round - i < std::size(sizes)) {
        entries.push_back({.sequence = sequences[i],
                           .tokens = std::span<const int32_t>(tokens).subspan(done[i], sizes[round - i]),
                           .logits = StepEntry::Logits::kAll});
        owners.push_back(i);
      }
    }
    std::vector<float> logits;
    const runtime::Status status = cuda_->Step(entries, &logits);
    ASSERT_TRUE(status.ok()) << status.message();
    auto at = logits.begin();
    for (size_t j = 0; j < entries.size(); ++j) {
      const auto count = static_cast<int64_t>(entries[j].tokens.size()) * GetParam().output_columns;
      found[owners[j]].insert(found[owners[j]].end(), at, at + count);
      at += count;
      done[owners[j]] += entries[j].tokens.size();
    }
  }
  for (const std::vector<float>& logits : found) {
    EXPECT_EQ(Bits(logits), alone);
  }
}

TEST_P(DeviceConformanceTest, HasFewBankConflicts) {
  ASSERT_TRUE(cuda_ != nullptr);
  const auto counters = runtime::cuda::LaunchCounters::Start();
  ASSERT_TRUE(counters.ok()) << counters.status().message();
  if (counters.value() == nullptr) {
    GTEST_SKIP() << "a GPU counts no wavefronts";
  }
  Run(*cuda_, ConformanceTokens(72, GetParam().output_columns), {{70, 1, 1}});
  for (const auto& [function, kernel] : counters.value()->Take()) {
    EXPECT_LE(kernel.counters.shared_wavefronts, 1.1 * kernel.counters.shared_ideal_wavefronts) << function;
  }
}

INSTANTIATE_TEST_SUITE_P(Kernels, DeviceConformanceTest, testing::ValuesIn(ConformanceCases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace nemotron::codegen
