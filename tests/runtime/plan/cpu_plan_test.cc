#include "runtime/plan/cpu_plan.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <vector>

#include "runtime/base/pages.h"
#include "tests/runtime/base/temporary_folder.h"
#include "tests/runtime/plan/tiny_plan.h"

namespace nemotron::runtime {
namespace {

using schema::PlanT;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

std::span<const std::byte> WeightBytesOf(const Plan& plan, uint32_t index) {
  return plan.SegmentBytes(*plan.root().weights()->Get(index)->segment());
}

TEST(CpuPlanTest, IsThePlanThatWasCompiledForTheCpu) {
  const auto source = testing::LoadDraft(testing::MakePlanForBoth());
  const auto expected = testing::LoadTinyPlan();
  auto made = CpuPlan::Create(*source);
  ASSERT_TRUE(made.ok()) << made.status().message();
  std::vector<int64_t> calls;
  const Status status = made->Fill(2, [&](int64_t done, int64_t total) {
    EXPECT_EQ(total, expected->weight_bytes());
    calls.push_back(done);
  });
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(calls.back(), expected->weight_bytes());
  EXPECT_EQ(std::count(calls.begin(), calls.end(), expected->weight_bytes()), 1);

  const Plan& plan = *made->plan();
  EXPECT_EQ(plan.root().target()->str(), "cpu");
  EXPECT_EQ(plan.root().on_cpu(), nullptr);
  EXPECT_EQ(plan.root().program()->dispatches()->size(), expected->root().program()->dispatches()->size());
  ASSERT_EQ(plan.root().weights()->size(), expected->root().weights()->size());
  for (uint32_t i = 0; i < plan.root().weights()->size(); ++i) {
    EXPECT_EQ(plan.root().weights()->Get(i)->layout(), expected->root().weights()->Get(i)->layout());
    EXPECT_THAT(WeightBytesOf(plan, i), ElementsAreArray(WeightBytesOf(*expected, i)))
        << plan.root().weights()->Get(i)->name()->str();
  }
  EXPECT_TRUE(plan.VerifySegments().ok());
}

TEST(CpuPlanTest, IsAsGoodAsAFile) {
  const auto source = testing::LoadDraft(testing::MakePlanForBoth());
  auto made = CpuPlan::Create(*source);
  ASSERT_TRUE(made.ok()) << made.status().message();
  ASSERT_TRUE(made->Fill(1, {}).ok());
  const testing::AlignedBytes bytes(made->plan()->bytes());
  const auto plan = Plan::FromBytes(bytes.span(), {.verify_weights = Plan::LoadOptions::VerifyWeights::kAlways});
  EXPECT_TRUE(plan.ok()) << plan.status().message();
}

// A page that the disk does not give ends a process that touches it. Here the first weight lies in a file of no bytes.
TEST(CpuPlanTest, SaysThatTheDiskFails) {
  const std::vector<std::byte> file = testing::PackPlan(testing::MakePlanForBoth());
  const auto size = static_cast<int64_t>(file.size());
  auto pages = MapPages(size);
  ASSERT_TRUE(pages.ok()) << pages.status().message();
  const std::shared_ptr<std::byte> bytes(*pages, [size](std::byte* data) { UnmapPages(data, size); });
  std::copy(file.begin(), file.end(), bytes.get());
  const auto source = Plan::FromBytes({bytes.get(), file.size()}, {.path = "m.plan"}, bytes);
  ASSERT_TRUE(source.ok()) << source.status().message();
  auto made = CpuPlan::Create(**source);
  ASSERT_TRUE(made.ok()) << made.status().message();
  EXPECT_EQ(made->plan()->path(), "m.plan");

  const TemporaryFolder folder;
  const int empty = open(folder.Write("empty", "").c_str(), O_RDONLY);
  ASSERT_GE(empty, 0);
  std::byte* const weight = bytes.get() + (*source)->root().weights()->Get(0)->segment()->offset_bytes();
  ASSERT_NE(mmap(weight, 4096, PROT_READ, MAP_SHARED | MAP_FIXED, empty, 0), MAP_FAILED);
  close(empty);
  const Status status = made->Fill(2, {});
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_THAT(status.message(), HasSubstr("cannot read the weights of 'm.plan': the file was cut off"));
}

/// One lie about the CPU's program of a plan for GPUs, and what the loader says to it.
struct Mutation {
  const char* name;
  std::function<void(PlanT&)> apply;
  const char* message;
};

void PrintTo(const Mutation& mutation, std::ostream* out) { *out << mutation.name; }

const Mutation kMutations[] = {
    {"of_a_cpu_plan",
     [](PlanT& p) {
       p.target = "cpu";
       for (auto& kernel : p.program->kernels) {
         kernel->launches.clear();
         kernel->images.clear();
       }
     },
     "on_cpu is there, but the plan is for target 'cpu'"},
    {"layouts_missing", [](PlanT& p) { p.on_cpu->layouts.pop_back(); }, "on_cpu.layouts has"},
    {"layout", [](PlanT& p) { p.on_cpu->layouts[0] = schema::Layout(3); },
     "on_cpu.layouts[0], of weight 'embedding', is 3, expected 0 to 2"},
    {"layout_fragment", [](PlanT& p) { p.on_cpu->layouts[0] = schema::Layout::Fragment; },
     "'embedding', is Fragment, expected RowMajor as in the file, or Panel"},
    {"layout_of_a_vector",
     [](PlanT& p) {
       for (size_t i = 0; i < p.weights.size(); ++i) {
         if (p.weights[i]->shape.size() == 1) {
           p.on_cpu->layouts[i] = schema::Layout::Panel;
         }
       }
     },
     "has 1 dimensions, but layout Panel takes [N, K]"},
    {"launches", [](PlanT& p) { p.on_cpu->program->kernels[0]->scratch = "T"; },
     "has launches or images, but the program is for target 'cpu'; in the program on_cpu"},
    {"zeroed", [](PlanT& p) { p.on_cpu->program->buffers[0]->zeroed = true; },
     "'hidden' is zeroed, which target 'cpu' has no memory for; in the program on_cpu"},
    {"buffer", [](PlanT& p) { p.on_cpu->program->buffers[0]->columns = 17; },
     "has 17 columns of f32, expected 1 to 16 in rows of 64 bytes; in the program on_cpu"},
    {"weight_index", [](PlanT& p) { p.on_cpu->program->dispatches[0]->arguments[1]->index = 99; }, "has index 99"},
    {"state_index",
     [](PlanT& p) {
       for (auto& dispatch : p.on_cpu->program->dispatches) {
         for (auto& argument : dispatch->arguments) {
           if (argument->kind == schema::ArgumentKind::State) {
             argument->index = 99;
           }
         }
       }
     },
     "has index 99"},
    {"read_before_write",
     [](PlanT& p) { std::swap(p.on_cpu->program->dispatches[1], p.on_cpu->program->dispatches[0]); },
     "which no dispatch before has written"},
    {"logits", [](PlanT& p) { p.on_cpu->program->logits = 1000; }, "program.logits is 1000"},
};

class OnCpuMutationTest : public ::testing::TestWithParam<Mutation> {};

TEST_P(OnCpuMutationTest, IsRejected) {
  testing::PlanDraft draft = testing::MakePlanForBoth();
  GetParam().apply(draft.plan);
  const testing::AlignedBytes bytes(testing::PackPlan(draft));
  const auto plan = Plan::FromBytes(bytes.span(), {});
  ASSERT_FALSE(plan.ok());
  EXPECT_EQ(plan.status().code(), StatusCode::kDataLoss);
  EXPECT_THAT(plan.status().message(), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(All, OnCpuMutationTest, ::testing::ValuesIn(kMutations),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace nemotron::runtime
