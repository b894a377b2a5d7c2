#include "runtime/engine/memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/runtime/plan/tiny_plan.h"

namespace nemotron::runtime {
namespace {

using ::testing::HasSubstr;

/// A folder that looks like / to AvailableMemoryBytes.
class AvailableMemoryTest : public ::testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove_all(root_); }
  void Write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }
  std::string root_ = ::testing::TempDir() + "/available_memory_test";
};

constexpr const char* kMemInfo = "MemTotal:  2000 kB\nMemFree: 100 kB\nMemAvailable:    1000 kB\n";

TEST_F(AvailableMemoryTest, TakesMemAvailable) {
  Write("/proc/meminfo", kMemInfo);
  EXPECT_EQ(AvailableMemoryBytes(root_), 1000 * 1024);
}

TEST_F(AvailableMemoryTest, HonoursVersion2OfItselfAndItsAncestors) {
  Write("/proc/meminfo", kMemInfo);
  Write("/proc/self/cgroup", "0::/work/job\n");
  Write("/sys/fs/cgroup/work/job/memory.max", "max\n");
  Write("/sys/fs/cgroup/work/job/memory.current", "5000\n");
  Write("/sys/fs/cgroup/work/memory.max", "100000\n");
  Write("/sys/fs/cgroup/work/memory.current", "60000\n");
  Write("/sys/fs/cgroup/work/memory.stat", "anon 30000\ninactive_file 20000\nactive_file 1000\n");
  EXPECT_EQ(AvailableMemoryBytes(root_), 100000 - 60000 + 21000);
}

TEST_F(AvailableMemoryTest, HonoursVersion2InANamespace) {
  Write("/proc/self/cgroup", "0::/\n");
  Write("/sys/fs/cgroup/memory.max", "4096\n");
  Write("/sys/fs/cgroup/memory.current", "96\n");
  EXPECT_EQ(AvailableMemoryBytes(root_), 4000);
}

TEST_F(AvailableMemoryTest, HonoursVersion1) {
  Write("/proc/meminfo", kMemInfo);
  Write("/proc/self/cgroup", "12:cpu,cpuacct:/x\n3:memory:/docker/abc\n");
  Write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "50000\n");
  Write("/sys/fs/cgroup/memory/memory.usage_in_bytes", "60000\n");
  Write("/sys/fs/cgroup/memory/memory.stat", "total_inactive_file 20000\n");
  EXPECT_EQ(AvailableMemoryBytes(root_), 10000);
}

TEST_F(AvailableMemoryTest, KnowsNoLimitWhereNothingSaysSo) {
  EXPECT_GT(AvailableMemoryBytes(root_), int64_t{1} << 60);
}

TEST(FormatBytesTest, PicksAUnit) {
  EXPECT_EQ(FormatBytes(0), "0 bytes");
  EXPECT_EQ(FormatBytes(1023), "1023 bytes");
  EXPECT_EQ(FormatBytes(1536), "1.50 KiB");
  EXPECT_EQ(FormatBytes(int64_t{20} << 20), "20.0 MiB");
  EXPECT_EQ(FormatBytes(int64_t{300} << 30), "300 GiB");
}

TEST(ResolveLimitsTest, FillsDefaults) {
  const auto limits = ResolveLimits({}, 8192);
  ASSERT_TRUE(limits.ok());
  EXPECT_EQ(limits->max_tokens, 512);
  EXPECT_EQ(limits->max_rows, 32);
  EXPECT_EQ(limits->page_tokens, 64);
  EXPECT_EQ(limits->max_context, 8192);
  EXPECT_EQ(ResolveLimits({.max_sequences = 100}, 8192)->max_rows, 100);
  EXPECT_EQ(ResolveLimits({.context_tokens = 1000}, 8192)->max_context, 1000);
  EXPECT_EQ(ResolveLimits({.context_tokens = 100000}, 8192)->max_context, 8192);  // of several sequences
}

TEST(ResolveLimitsTest, NamesTheOption) {
  EXPECT_THAT(ResolveLimits({.max_sequences = 0}, 8192).status().message(), HasSubstr("max_sequences is 0"));
  EXPECT_THAT(ResolveLimits({.max_tokens_per_step = -1}, 8192).status().message(),
              HasSubstr("max_tokens_per_step is -1"));
  EXPECT_THAT(ResolveLimits({.context_tokens = -5}, 8192).status().message(), HasSubstr("context_tokens is -5"));
  EXPECT_THAT(ResolveLimits({.page_tokens = 8}, 8192).status().message(), HasSubstr("page_tokens is 8"));
  EXPECT_THAT(ResolveLimits({.num_threads = -1}, 8192).status().message(), HasSubstr("num_threads is -1"));
}

class FitMemoryTest : public ::testing::Test {
 protected:
  StatusOr<MemoryReport> Fit(const EngineOptions& options, int64_t available) {
    return FitMemory(*plan_, options, *ResolveLimits(options, 8192), /*workspace_bytes=*/1000, available);
  }
  // 128 bytes a token of cache, 1856 bytes of slot, 8192 positions: 1 MiB of pages by default.
  std::shared_ptr<const Plan> plan_ = testing::LoadTinyPlan({.max_position_embeddings = 8192});
  int64_t fixed_ = plan_->weight_bytes() + 8 * 1856 + 1000;
};

TEST_F(FitMemoryTest, CountsAll) {
  const auto report = Fit({}, 1 << 30);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->num_pages, 128);
  EXPECT_EQ(report->page_bytes, 8192 * 128);
  EXPECT_EQ(report->slot_bytes, 8 * 1856);
  EXPECT_EQ(report->total_bytes(), fixed_ + 8192 * 128);
  EXPECT_EQ(report->note, "");
}

TEST_F(FitMemoryTest, LowersTheDefaultContext) {
  const auto report = Fit({}, fixed_ + 1000 * 128);
  ASSERT_TRUE(report.ok()) << report.status().message();
  EXPECT_EQ(report->num_pages, 15);
  EXPECT_THAT(report->note, HasSubstr("context lowered from 8192 to 960 tokens"));
  EXPECT_THAT(report->note, HasSubstr("--context"));
}

TEST_F(FitMemoryTest, RefusesATinyDefaultContext) {
  const auto report = Fit({}, fixed_ + 100 * 128);
  EXPECT_EQ(report.status().code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(report.status().message(), HasSubstr("--max-sequences"));
}

TEST_F(FitMemoryTest, RefusesAContextThatWasAskedFor) {
  const auto report = Fit({.context_tokens = 2048}, fixed_ + 1000 * 128);
  EXPECT_EQ(report.status().code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(report.status().message(), HasSubstr("--context (at most 960 tokens fit)"));
  EXPECT_THAT(report.status().message(), HasSubstr("available"));
}

TEST_F(FitMemoryTest, SurvivesHugeRequests) {
  const auto report =
      Fit({.max_sequences = 65536, .context_tokens = int64_t{1} << 40, .page_tokens = 4096}, int64_t{1} << 40);
  EXPECT_EQ(report.status().code(), StatusCode::kResourceExhausted);
}

TEST_F(FitMemoryTest, NeedsNoPagesWithoutAttention) {
  plan_ = testing::LoadTinyPlan({.with_attention = false});
  const auto report = Fit({}, 1 << 30);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->num_pages, 0);
  EXPECT_EQ(report->page_bytes, 0);
}

}  // namespace
}  // namespace nemotron::runtime
