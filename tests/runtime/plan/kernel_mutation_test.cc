// Launches and images of compiled kernels: what the loader says to lies about them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "runtime/plan/plan.h"
#include "tests/runtime/plan/tiny_plan.h"

namespace nemotron::runtime {
namespace {

using schema::PlanT;
using ::testing::HasSubstr;

Status Load(const testing::PlanDraft& draft) {
  const std::vector<std::byte> file = testing::PackPlan(draft);
  const testing::AlignedBytes bytes(file);
  return Plan::FromBytes(bytes.span(), {}).status();
}

struct Mutation {
  const char* name;
  std::function<void(PlanT&)> apply;
  const char* message;
};

void PrintTo(const Mutation& mutation, std::ostream* out) { *out << mutation.name; }

schema::KernelT& Kernel(PlanT& plan) { return *plan.program->kernels[0]; }
schema::LaunchT& Launch(PlanT& plan) { return *Kernel(plan).launches[0]; }
schema::ImageT& Image(PlanT& plan) { return *Kernel(plan).images[0]; }

const Mutation kMutations[] = {
    {"no_launches", [](PlanT& p) { Kernel(p).launches.clear(); }, "has 0 launches and 1 images"},
    {"no_images", [](PlanT& p) { Kernel(p).images.clear(); }, "has 1 launches and 0 images"},
    {"launches_of_a_cpu_plan", [](PlanT& p) { p.target = "cpu"; },
     "has launches or images, but the plan is for target 'cpu'"},
    {"function_empty", [](PlanT& p) { Launch(p).function = ""; }, "launch 0 function has 0 characters"},
    {"grid_x", [](PlanT& p) { Launch(p).grid_x = "T/2"; }, "launch 0: grid 'T/2' has '/' at position 1"},
    {"grid_z", [](PlanT& p) { Launch(p).grid_z = ""; }, "launch 0: grid ''"},
    {"block_0", [](PlanT& p) { Launch(p).block_threads = 0; }, "blocks of 0 threads"},
    {"block_odd", [](PlanT& p) { Launch(p).block_threads = 33; }, "blocks of 33 threads, expected a multiple of 32"},
    {"block_large", [](PlanT& p) { Launch(p).block_threads = 1056; }, "blocks of 1056 threads"},
    {"shared_large", [](PlanT& p) { Launch(p).shared_bytes = 1 << 20; }, "takes 1048576 bytes of shared memory"},
    {"source", [](PlanT& p) { Launch(p).arguments[0]->source = schema::LaunchSource(7); }, "argument 0 source is 7"},
    {"no_name", [](PlanT& p) { Launch(p).arguments[0]->source = schema::LaunchSource::Input; },
     "name has 0 characters"},
    {"scratch", [](PlanT& p) { Kernel(p).scratch = "S*"; }, "scratch: grid 'S*'"},
    {"architecture", [](PlanT& p) { Image(p).architecture = ""; }, "image 0 architecture has 0 characters"},
    {"image_kind", [](PlanT& p) { Image(p).kind = schema::ImageKind(2); }, "image 0 kind is 2"},
    {"image_outside", [](PlanT& p) { *Image(p).data = schema::Segment(1 << 20, 1 << 30, 0); }, "image 0 ends at byte"},
    {"image_overlaps", [](PlanT& p) { *Image(p).data = schema::Segment(4096, 64, 0); }, "overlap"},
};

class KernelMutationTest : public ::testing::TestWithParam<Mutation> {};

TEST_P(KernelMutationTest, IsRejected) {
  testing::PlanDraft draft = testing::MakeCompiledPlan();
  GetParam().apply(draft.plan);
  const Status status = Load(draft);
  EXPECT_EQ(status.code(), StatusCode::kDataLoss);
  EXPECT_THAT(status.message(), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(All, KernelMutationTest, ::testing::ValuesIn(kMutations),
                         [](const auto& info) { return info.param.name; });

TEST(CompiledPlanTest, Loads) {
  const Status status = Load(testing::MakeCompiledPlan());
  EXPECT_TRUE(status.ok()) << status.message();
}

TEST(CompiledPlanTest, DamagedImageIsFound) {
  testing::PlanDraft draft = testing::MakeCompiledPlan();
  const schema::Segment& data = *Image(draft.plan).data;
  Image(draft.plan).data =
      std::make_unique<schema::Segment>(data.offset_bytes(), data.size_bytes(), data.checksum() + 1);
  draft.plan.weights[0]->segment = std::make_unique<schema::Segment>(*Image(draft.plan).data);
  const Status status = Load(draft);
  EXPECT_EQ(status.code(), StatusCode::kDataLoss);
  EXPECT_THAT(status.message(), HasSubstr("has checksum"));
}

}  // namespace
}  // namespace nemotron::runtime
