#include "runtime/plan/plan_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>

#include "runtime/plan/plan.h"
#include "tests/runtime/plan/tiny_plan.h"

namespace nemotron::runtime {
namespace {

using ::testing::HasSubstr;

class PlanWriterTest : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directory(directory_); }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  size_t NumFiles() const {
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(directory_), {}));
  }

  /// Streams the segments of the tiny plan in small pieces, each at a new place.
  static Status WriteSegments(PlanWriter& writer, testing::PlanDraft& draft) {
    for (auto& weight : draft.plan.weights) {
      const auto bytes = std::span<const std::byte>(draft.segments)
                             .subspan(weight->segment->offset_bytes() - 4096, weight->segment->size_bytes());
      RETURN_IF_ERROR(writer.BeginSegment());
      for (size_t i = 0; i < bytes.size(); i += 100) {
        RETURN_IF_ERROR(writer.Append(bytes.subspan(i, std::min<size_t>(100, bytes.size() - i))));
      }
      ASSIGN_OR_RETURN(const schema::Segment segment, writer.EndSegment());
      EXPECT_EQ(segment.checksum(), weight->segment->checksum());
      weight->segment = std::make_unique<schema::Segment>(segment);
    }
    return OkStatus();
  }

  std::string directory_ = ::testing::TempDir() + "/plan_writer_test";
  std::string path_ = directory_ + "/m.plan";
};

TEST_F(PlanWriterTest, WritesWhatLoads) {
  testing::PlanDraft draft = testing::MakeTinyPlan();
  auto writer = PlanWriter::Create(path_);
  ASSERT_TRUE(writer.ok()) << writer.status().message();
  ASSERT_TRUE(WriteSegments(*writer, draft).ok());
  EXPECT_FALSE(std::filesystem::exists(path_));
  const Status finished = writer->Finish(draft.plan);
  ASSERT_TRUE(finished.ok()) << finished.message();
  const auto plan = Plan::Load(path_);
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  EXPECT_EQ((*plan)->root().weights()->size(), draft.plan.weights.size());
  EXPECT_EQ(NumFiles(), 1u);
}

TEST_F(PlanWriterTest, LeavesNothingBehindWhenDropped) {
  testing::PlanDraft draft = testing::MakeTinyPlan();
  {
    auto writer = PlanWriter::Create(path_);
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE(WriteSegments(*writer, draft).ok());
  }
  EXPECT_EQ(NumFiles(), 0u);
}

TEST_F(PlanWriterTest, RefusesWhatWouldNotLoad) {
  testing::PlanDraft draft = testing::MakeTinyPlan();
  draft.plan.program->logits = 99;
  {
    auto writer = PlanWriter::Create(path_);
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE(WriteSegments(*writer, draft).ok());
    const Status finished = writer->Finish(draft.plan);
    EXPECT_EQ(finished.code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(finished.message(), HasSubstr("program.logits is 99"));
  }
  EXPECT_EQ(NumFiles(), 0u);
}

TEST_F(PlanWriterTest, WantsSegmentsOneAfterAnother) {
  auto writer = PlanWriter::Create(path_);
  ASSERT_TRUE(writer.ok());
  EXPECT_EQ(writer->Append({}).code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(writer->EndSegment().status().code(), StatusCode::kFailedPrecondition);
  EXPECT_TRUE(writer->BeginSegment().ok());
  EXPECT_EQ(writer->BeginSegment().code(), StatusCode::kFailedPrecondition);
  schema::PlanT plan;
  EXPECT_EQ(writer->Finish(plan).code(), StatusCode::kFailedPrecondition);
}

TEST_F(PlanWriterTest, NamesTheFolderThatIsMissing) {
  const auto writer = PlanWriter::Create(directory_ + "/none/m.plan");
  ASSERT_FALSE(writer.ok());
  EXPECT_THAT(writer.status().message(), HasSubstr("none/m.plan"));
}

}  // namespace
}  // namespace nemotron::runtime
