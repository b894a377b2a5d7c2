#include "runtime/plan/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <xxhash.h>

#include <cstring>
#include <fstream>
#include <random>

#include "runtime/plan/format.h"
#include "tests/runtime/plan/tiny_plan.h"

namespace nemotron::runtime {
namespace {

using testing::AlignedBytes;
using ::testing::HasSubstr;
using testing::MakeTinyPlan;
using testing::PackPlan;

Status LoadStatus(std::span<const std::byte> file) {
  const AlignedBytes bytes(file);
  const auto plan = Plan::FromBytes(bytes.span(), {});
  return plan.ok() ? OkStatus() : plan.status();
}

/// The tiny plan with one change to its preamble, whose checksum is made right again.
template <typename Change>
Status LoadWithPreamble(const Change& change, bool fix_checksum = true) {
  std::vector<std::byte> file = PackPlan(MakeTinyPlan());
  PlanPreamble preamble;
  std::memcpy(&preamble, file.data(), sizeof(preamble));
  change(preamble);
  if (fix_checksum) {
    preamble.preamble_checksum = XXH3_64bits(&preamble, offsetof(PlanPreamble, preamble_checksum));
  }
  std::memcpy(file.data(), &preamble, sizeof(preamble));
  return LoadStatus(file);
}

TEST(PlanTest, LoadsFromMemory) {
  const std::vector<std::byte> file = PackPlan(MakeTinyPlan());
  const AlignedBytes bytes(file);
  const auto plan = Plan::FromBytes(bytes.span(), {});
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  EXPECT_EQ((*plan)->root().model()->vocab_size(), 40u);
  EXPECT_EQ((*plan)->SegmentBytes(*(*plan)->root().weights()->Get(0)->segment()).size(), 40u * 16 * 4);
  EXPECT_TRUE((*plan)->VerifySegments().ok());
}

TEST(PlanTest, LoadsFromFile) {
  const std::string path = ::testing::TempDir() + "/plan_test.plan";
  const std::vector<std::byte> file = PackPlan(MakeTinyPlan());
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(file.data()), file.size());
  const auto plan = Plan::Load(path);
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  EXPECT_EQ((*plan)->path(), path);
  std::remove(path.c_str());
}

TEST(PlanTest, SaysThatThereIsNoFile) {
  const auto plan = Plan::Load("/nonexistent/m.plan");
  ASSERT_FALSE(plan.ok());
  EXPECT_EQ(plan.status().code(), StatusCode::kNotFound);
  EXPECT_THAT(plan.status().message(), HasSubstr("/nonexistent/m.plan"));
}

TEST(PlanTest, NamesTheFileOfAnError) {
  const std::string path = ::testing::TempDir() + "/plan_test_text.plan";
  std::ofstream(path) << "this is no plan";
  const auto plan = Plan::Load(path);
  ASSERT_FALSE(plan.ok());
  EXPECT_THAT(plan.status().message(), HasSubstr("not a plan file"));
  EXPECT_THAT(plan.status().message(), HasSubstr("while loading '" + path + "'"));
  std::remove(path.c_str());
}

TEST(PlanTest, RejectsTruncations) {
  const std::vector<std::byte> file = PackPlan(MakeTinyPlan());
  for (size_t size = 0; size < file.size(); size += 64) {
    const Status status = LoadStatus(std::span(file).first(size));
    ASSERT_FALSE(status.ok()) << "of " << size << " bytes";
    ASSERT_EQ(status.code(), StatusCode::kDataLoss) << status.message();
  }
}

TEST(PlanTest, RejectsBytesAtTheEnd) {
  std::vector<std::byte> file = PackPlan(MakeTinyPlan());
  file.resize(file.size() + 1);
  EXPECT_THAT(LoadStatus(file).message(), HasSubstr("longer than it was written"));
}

TEST(PlanTest, RejectsFlippedBits) {
  const testing::PlanDraft draft = MakeTinyPlan();
  std::vector<std::byte> file = PackPlan(draft);
  // What is covered: the preamble's fields, every segment and the metadata. The padding between them means nothing.
  std::vector<bool> covered(file.size(), false);
  std::fill_n(covered.begin(), sizeof(PlanPreamble), true);
  std::fill(covered.begin() + static_cast<ptrdiff_t>(draft.metadata_offset()), covered.end(), true);
  for (const auto& weight : draft.plan.weights) {
    std::fill_n(covered.begin() + static_cast<ptrdiff_t>(weight->segment->offset_bytes()),
                weight->segment->size_bytes(), true);
  }
  std::mt19937 random(7);
  AlignedBytes bytes(file);
  for (int i = 0; i < 2000; ++i) {
    const size_t bit = random() % (file.size() * 8);
    bytes.span()[bit / 8] ^= std::byte{1} << (bit % 8);
    const auto plan = Plan::FromBytes(std::as_const(bytes).span(), {});
    ASSERT_EQ(plan.ok(), !covered[bit / 8]) << "bit " << bit % 8 << " of byte " << bit / 8;
    bytes.span()[bit / 8] ^= std::byte{1} << (bit % 8);
  }
}

/// Damage behind the checksums: whoever made the file made them right. No crash, whatever the loader says.
TEST(PlanTest, SurvivesFlippedMetadataWithRightChecksums) {
  const testing::PlanDraft draft = MakeTinyPlan();
  const std::vector<std::byte> original = PackPlan(draft);
  std::mt19937 random(11);
  AlignedBytes bytes(original);
  int accepted = 0;
  for (int i = 0; i < 20000; ++i) {
    std::vector<size_t> bits;
    for (uint32_t n = 0; n <= random() % 3; ++n) {
      bits.push_back(draft.metadata_offset() * 8 + random() % ((original.size() - draft.metadata_offset()) * 8));
      bytes.span()[bits.back() / 8] ^= std::byte{1} << (bits.back() % 8);
    }
    PlanPreamble preamble;
    std::memcpy(&preamble, bytes.span().data(), sizeof(preamble));
    preamble.metadata_checksum = XXH3_64bits(bytes.span().data() + preamble.metadata_offset, preamble.metadata_size);
    preamble.preamble_checksum = XXH3_64bits(&preamble, offsetof(PlanPreamble, preamble_checksum));
    std::memcpy(bytes.span().data(), &preamble, sizeof(preamble));
    accepted += Plan::FromBytes(std::as_const(bytes).span(), {}).ok() ? 1 : 0;
    for (const size_t bit : bits) {
      bytes.span()[bit / 8] ^= std::byte{1} << (bit % 8);
    }
  }
  // Most of the metadata matters; what does not are config text, padding and the like.
  EXPECT_LT(accepted, 10000);
}

TEST(PlanTest, RejectsPreambles) {
  const auto message = [](auto change) { return LoadWithPreamble(change).message(); };
  EXPECT_THAT(message([](PlanPreamble& p) { p.magic[0] = 'X'; }), HasSubstr("not a plan file"));
  EXPECT_THAT(message([](PlanPreamble& p) { p.version = 0; }), HasSubstr("version 0"));
  EXPECT_THAT(message([](PlanPreamble& p) { p.reserved = 9; }), HasSubstr("reserved 9"));
  EXPECT_THAT(message([](PlanPreamble& p) { p.file_size_bytes += 4096; }), HasSubstr("truncated"));
  EXPECT_THAT(message([](PlanPreamble& p) { p.metadata_offset = 0; }), HasSubstr("metadata starts at byte 0"));
  EXPECT_THAT(message([](PlanPreamble& p) { p.metadata_offset += 64; }), HasSubstr("a multiple of 4096"));
  EXPECT_THAT(message([](PlanPreamble& p) { p.metadata_offset = ~uint64_t{4095}; }), HasSubstr("metadata of"));
  EXPECT_THAT(message([](PlanPreamble& p) { p.metadata_size -= 1; }), HasSubstr("metadata of"));
  EXPECT_THAT(message([](PlanPreamble& p) { p.metadata_checksum ^= 1; }), HasSubstr("metadata has checksum"));
  EXPECT_THAT(LoadWithPreamble([](PlanPreamble& p) { p.metadata_size -= 1; }, false).message(),
              HasSubstr("preamble has checksum"));
  const Status newer = LoadWithPreamble([](PlanPreamble& p) { p.version = 2; });
  EXPECT_EQ(newer.code(), StatusCode::kUnimplemented);
}

TEST(PlanTest, RejectsMisalignedMemory) {
  const std::vector<std::byte> file = PackPlan(MakeTinyPlan());
  std::vector<std::byte> shifted(1, std::byte{0});
  shifted.insert(shifted.end(), file.begin(), file.end());
  const AlignedBytes bytes(shifted);
  EXPECT_EQ(Plan::FromBytes(bytes.span().subspan(1), {}).status().code(), StatusCode::kInvalidArgument);
}

TEST(PlanTest, ComparesChecksumsOfWeightsWhenAsked) {
  const testing::PlanDraft draft = MakeTinyPlan();
  AlignedBytes bytes(PackPlan(draft));
  bytes.span()[draft.plan.weights[1]->segment->offset_bytes()] ^= std::byte{1};
  using Verify = Plan::LoadOptions::VerifyWeights;
  const auto load = [&](Verify verify) { return Plan::FromBytes(std::as_const(bytes).span(), {verify}); };
  EXPECT_EQ(load(Verify::kAlways).status().code(), StatusCode::kDataLoss);
  EXPECT_THAT(load(Verify::kAuto).status().message(), HasSubstr("weights[1] 'conv' has checksum"));
  const auto unchecked = load(Verify::kNever);
  ASSERT_TRUE(unchecked.ok());
  EXPECT_EQ((*unchecked)->VerifySegments().code(), StatusCode::kDataLoss);
}

}  // namespace
}  // namespace nemotron::runtime
