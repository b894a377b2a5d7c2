// Plans for target "cuda": what the loader says to lies about launches, images and zeroed buffers.
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

/// Two zeroed buffers: "counters" of 3 I32 and "maxima" of 1 F32 a token. The first dispatch writes the counters, and
/// the second reads the maxima, which none has written.
schema::BufferT& AddZeroed(PlanT& plan) {
  schema::ProgramT& program = *plan.program;
  auto add = [&](const char* name, schema::DType dtype, uint64_t columns, schema::ArgumentKind kind, size_t dispatch) {
    auto buffer = std::make_unique<schema::BufferT>();
    buffer->name = name;
    buffer->dtype = dtype;
    buffer->columns = columns;
    buffer->row_bytes = 4 * columns;
    buffer->offset_bytes = program.zeroed_bytes;
    buffer->zeroed = true;
    program.zeroed_bytes += buffer->row_bytes;
    auto argument = std::make_unique<schema::ArgumentT>();
    argument->name = name;
    argument->kind = kind;
    argument->index = static_cast<uint32_t>(program.buffers.size());
    argument->columns = columns;
    program.dispatches[dispatch]->arguments.push_back(std::move(argument));
    program.buffers.push_back(std::move(buffer));
  };
  add("counters", schema::DType::I32, 3, schema::ArgumentKind::Output, 0);
  add("maxima", schema::DType::F32, 1, schema::ArgumentKind::Input, 1);
  return *program.buffers.back();
}

const Mutation kMutations[] = {
    {"no_launches", [](PlanT& p) { Kernel(p).launches.clear(); }, "has 0 launches and 1 images"},
    {"no_images", [](PlanT& p) { Kernel(p).images.clear(); }, "has 1 launches and 0 images"},
    {"launches_of_a_cpu_plan", [](PlanT& p) { p.target = "cpu"; },
     "has launches or images, but the program is for target 'cpu'"},
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
    {"zeroed_dtype", [](PlanT& p) { AddZeroed(p).dtype = schema::DType::BF16; },
     "'maxima' is bf16 of space Token, expected i32 or f32 of space Token, for it is zeroed"},
    {"zeroed_space", [](PlanT& p) { AddZeroed(p).space = schema::Space::Row; }, "'maxima' is f32 of space Row"},
    {"zeroed_row", [](PlanT& p) { AddZeroed(p).row_bytes = 64; },
     "'maxima' has rows of 64 bytes at offset 12, expected 4 bytes at a multiple of 4"},
    {"zeroed_unaligned", [](PlanT& p) { AddZeroed(p).offset_bytes = 10; }, "has rows of 4 bytes at offset 10"},
    {"zeroed_behind", [](PlanT& p) { AddZeroed(p).offset_bytes = 16; },
     "ends at byte 16 + 4 of 16 zeroed bytes a token"},
    {"zeroed_wraps", [](PlanT& p) { AddZeroed(p).offset_bytes = ~uint64_t{3}; }, "of 16 zeroed bytes a token"},
    {"zeroed_overlap", [](PlanT& p) { AddZeroed(p).offset_bytes = 8; },
     "'maxima' overlaps zeroed bytes 0 to 12 of an earlier buffer"},
    {"zeroed_bytes_odd", [](PlanT& p) { p.program->zeroed_bytes = 6; }, "program.zeroed_bytes is 6"},
    {"zeroed_bytes_huge", [](PlanT& p) { p.program->zeroed_bytes = ~uint64_t{3}; }, "program.zeroed_bytes is"},
    {"unzeroed_read",
     [](PlanT& p) {
       schema::BufferT& maxima = AddZeroed(p);
       maxima.zeroed = false;
       maxima.row_bytes = 64;
       maxima.offset_bytes = p.program->token_arena_bytes;
       p.program->token_arena_bytes += 64;
       p.program->token_bytes_without_reuse += 64;
     },
     "reads columns 0 to 1 of buffer 'maxima', which no dispatch before has written"},
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

TEST(CompiledPlanTest, ZeroedBuffersMayBeReadBeforeTheyAreWritten) {
  testing::PlanDraft draft = testing::MakeCompiledPlan();
  AddZeroed(draft.plan);
  const Status status = Load(draft);
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
