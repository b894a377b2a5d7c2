#include "runtime/engine/prefetch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "tests/runtime/base/temporary_folder.h"
#include "tests/runtime/plan/tiny_plan.h"

namespace nemotron::runtime {
namespace {

using ::testing::HasSubstr;

/// A plan in a file, with `padding` bytes between its weights and its metadata.
class PrefetchTest : public ::testing::Test {
 protected:
  std::shared_ptr<const Plan> Load(size_t padding) {
    testing::PlanDraft draft = testing::MakeTinyPlan();
    draft.segments.resize(draft.segments.size() + padding / 4096 * 4096);
    const std::vector<std::byte> bytes = testing::PackPlan(draft);
    path_ = folder_.Write("m.plan", std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
    auto plan = Plan::Load(path_, {.verify_weights = Plan::LoadOptions::VerifyWeights::kNever});
    EXPECT_TRUE(plan.ok()) << plan.status().message();
    return *plan;
  }

  TemporaryFolder folder_;
  std::string path_;
};

TEST_F(PrefetchTest, ReadsAllAndTellsTheCallerHowFar) {
  for (const size_t padding : {0, 70 << 20}) {  // one block, and some more than there are readers
    const std::shared_ptr<const Plan> plan = Load(padding);
    const auto size = static_cast<int64_t>(plan->bytes().size());
    const std::thread::id caller = std::this_thread::get_id();
    std::vector<int64_t> calls;
    const Status status = PrefetchWeights(*plan, [&](int64_t done, int64_t total) {
      EXPECT_EQ(std::this_thread::get_id(), caller);
      EXPECT_EQ(total, size);
      calls.push_back(done);
    });
    ASSERT_TRUE(status.ok()) << status.message();
    EXPECT_TRUE(std::is_sorted(calls.begin(), calls.end()));
    EXPECT_EQ(calls.back(), size);
    EXPECT_EQ(std::count(calls.begin(), calls.end(), size), 1);
    std::vector<unsigned char> resident(static_cast<size_t>(size + 4095) / 4096);
    ASSERT_EQ(mincore(const_cast<std::byte*>(plan->bytes().data()), static_cast<size_t>(size), resident.data()), 0);
    EXPECT_TRUE(std::all_of(resident.begin(), resident.end(), [](unsigned char page) { return (page & 1) != 0; }));
    EXPECT_TRUE(PrefetchWeights(*plan, {}).ok());
  }
}

// A page that is not there any more ends a process that touches it.
TEST_F(PrefetchTest, SaysThatTheFileWasCutOff) {
  const std::shared_ptr<const Plan> plan = Load(70 << 20);
  std::filesystem::resize_file(path_, 33 << 20);
  const Status status = PrefetchWeights(*plan, {});
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_THAT(status.message(), HasSubstr("cannot read the weights of '" + path_ + "': the file was cut off"));
}

}  // namespace
}  // namespace nemotron::runtime
