// The runtime's side of the driver API. Tests that need a driver run on the simulator, whose path CMake gives.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <xxhash.h>

#include <cstdlib>
#include <numeric>
#include <random>
#include <tuple>

#include "runtime/cuda/driver.h"
#include "runtime/cuda/gpu.h"
#include "runtime/cuda/launcher.h"
#include "runtime/engine/cuda_device.h"
#include "tests/runtime/plan/tiny_plan.h"

namespace nemotron::runtime::cuda {
namespace {

using ::testing::HasSubstr;

/// Sets a variable of the environment for a test.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  ~Variable() { unsetenv(name_); }

 private:
  const char* name_;
};

TEST(DriverTest, SaysThatThereIsNone) {
  const Variable path("NEMOTRON_LIBCUDA", "/nonexistent/libcuda.so.1");
  const auto driver = Driver::Open();
  EXPECT_EQ(driver.status().code(), StatusCode::kUnavailable);
  EXPECT_THAT(driver.status().message(), HasSubstr("there is no NVIDIA driver: /nonexistent/libcuda.so.1"));
}

TEST(LauncherTest, TakesArgumentsOfTheDispatchByName) {
  testing::PlanDraft draft = testing::MakeCompiledPlan();
  schema::KernelT& kernel = *draft.plan.program->kernels[draft.plan.program->dispatches[0]->kernel];
  kernel.scratch = "S*1000+T*10";
  const auto plan = testing::LoadDraft(draft);
  const auto launcher = Launcher::Prepare(*plan, 16);
  ASSERT_TRUE(launcher.ok()) << launcher.status().message();
  EXPECT_EQ(launcher->num_dispatches(), draft.plan.program->dispatches.size());
  EXPECT_EQ(launcher->ScratchBytes({.tokens = 5, .sequences = 2}).value(), 2050);

  kernel.launches[0]->arguments[0]->source = schema::LaunchSource::Input;
  kernel.launches[0]->arguments[0]->name = "nothing";
  const auto missing = Launcher::Prepare(*testing::LoadDraft(draft), 16);
  EXPECT_EQ(missing.status().code(), StatusCode::kDataLoss);
  EXPECT_THAT(missing.status().message(), HasSubstr("takes the Input 'nothing', which the dispatch does not have"));
  EXPECT_THAT(missing.status().message(), HasSubstr("in program.dispatches[0]"));
}

TEST(LauncherTest, RefusesAbsurdScratch) {
  testing::PlanDraft draft = testing::MakeCompiledPlan();
  draft.plan.program->kernels[0]->scratch = "T*2147483647*2147483647";
  const auto launcher = Launcher::Prepare(*testing::LoadDraft(draft), 16);
  ASSERT_TRUE(launcher.ok());
  EXPECT_EQ(launcher->ScratchBytes({.tokens = 100}).status().code(), StatusCode::kResourceExhausted);
}

#ifdef PTXSIM_LIBRARY

TEST(GpuTest, RefusesDevicesThatAreNotThere) {
  const Variable path("NEMOTRON_LIBCUDA", PTXSIM_LIBRARY);
  EXPECT_THAT(Gpu::Open(3).status().message(), HasSubstr("there is no GPU 3, expected 0 to 0"));
}

/// More than both buffers hold, and not a multiple of them.
TEST(GpuTest, StreamsThroughTwoBuffers) {
  const Variable path("NEMOTRON_LIBCUDA", PTXSIM_LIBRARY);
  const auto device = CudaDevice::Open(0);
  ASSERT_TRUE(device.ok()) << device.status().message();
  std::vector<std::byte> sent((size_t{40} << 20) + 123), received(sent.size());
  std::mt19937 random(3);
  std::generate(sent.begin(), sent.end(), [&] { return static_cast<std::byte>(random()); });
  const auto memory = (*device)->Allocate(static_cast<int64_t>(sent.size()));
  ASSERT_TRUE(memory.ok()) << memory.status().message();
  Gpu& gpu = static_cast<CudaDevice&>(**device).gpu();
  int64_t done = 0;
  ASSERT_TRUE(
      gpu.Stream(reinterpret_cast<CUdeviceptr>(memory->data()), sent, [&](int64_t bytes) { done += bytes; }).ok());
  EXPECT_EQ(done, static_cast<int64_t>(sent.size()));
  ASSERT_TRUE((*device)->CopyToHost(received.data(), memory->data(), static_cast<int64_t>(received.size())).ok());
  EXPECT_EQ(received, sent);
}

TEST(CudaDeviceTest, MemoryIsZeroedAndRunsOut) {
  const Variable path("NEMOTRON_LIBCUDA", PTXSIM_LIBRARY);
  const auto device = CudaDevice::Open(0);
  ASSERT_TRUE(device.ok()) << device.status().message();
  const auto memory = (*device)->Allocate(1000);
  ASSERT_TRUE(memory.ok());
  std::vector<std::byte> bytes(1000, std::byte{1});
  ASSERT_TRUE((*device)->CopyToHost(bytes.data(), memory->data(), 1000).ok());
  EXPECT_EQ(bytes, std::vector<std::byte>(1000));
  const auto huge = (*device)->Allocate(int64_t{1} << 50);
  EXPECT_EQ(huge.status().code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(huge.status().message(), HasSubstr("has no 1.00 PiB of memory, only "));
}

/// A plan of two dispatches. The first adds 5 to the second counter of a token, of two, and raises its maximum to 3;
/// the second shows both counters and the maximum in the logits of its row, where all tokens have rows.
testing::PlanDraft MakeCountingPlan() {
  constexpr std::string_view kCode = R"(.version 9.0
.target sm_90
.address_size 64
.visible .entry count(.param .u64 counters, .param .u64 maxima) {
.reg .b32 %t; .reg .b64 %c, %m; .reg .pred %p;
mov.u32 %t, %tid.x; setp.ne.u32 %p, %t, 0;
@%p exit;
mov.u32 %t, %ctaid.x; ld.param.u64 %c, [counters]; mad.wide.u32 %c, %t, 8, %c; ld.param.u64 %m, [maxima];
mad.wide.u32 %m, %t, 4, %m;
red.global.add.u32 [%c+4], 5; red.global.max.s32 [%m], 3;
ret;
}
.visible .entry show(.param .u64 counters, .param .u64 maxima, .param .u64 logits) {
.reg .b32 %t, %i; .reg .f32 %f; .reg .b64 %c, %m, %l; .reg .pred %p;
mov.u32 %t, %tid.x; setp.ne.u32 %p, %t, 0;
@%p exit;
mov.u32 %t, %ctaid.x; ld.param.u64 %c, [counters]; mad.wide.u32 %c, %t, 8, %c; ld.param.u64 %m, [maxima];
mad.wide.u32 %m, %t, 4, %m; ld.param.u64 %l, [logits]; mad.wide.u32 %l, %t, 192, %l;
ld.global.u32 %i, [%c]; cvt.rn.f32.u32 %f, %i; st.global.f32 [%l], %f;
ld.global.u32 %i, [%c+4]; cvt.rn.f32.u32 %f, %i; st.global.f32 [%l+4], %f;
ld.global.u32 %i, [%m]; cvt.rn.f32.u32 %f, %i; st.global.f32 [%l+8], %f;
ret;
})";
  testing::PlanDraft draft = testing::MakeCompiledPlan();
  schema::ProgramT& program = *draft.plan.program;
  const schema::Segment code(draft.metadata_offset(), kCode.size(), XXH3_64bits(kCode.data(), kCode.size()));
  const auto* bytes = reinterpret_cast<const std::byte*>(kCode.data());
  draft.segments.insert(draft.segments.end(), bytes, bytes + kCode.size());
  draft.segments.resize((draft.segments.size() + 4095) / 4096 * 4096);

  const uint32_t logits = program.logits;
  const auto counters = static_cast<uint32_t>(program.buffers.size()), maxima = counters + 1;
  for (const auto& [name, dtype, columns] : {std::tuple("counters", schema::DType::I32, uint64_t{2}),
                                             std::tuple("maxima", schema::DType::F32, uint64_t{1})}) {
    program.buffers.push_back(std::make_unique<schema::BufferT>());
    schema::BufferT& buffer = *program.buffers.back();
    buffer.name = name;
    buffer.dtype = dtype;
    buffer.columns = columns;
    buffer.row_bytes = 4 * columns;
    buffer.offset_bytes = program.zeroed_bytes;
    buffer.zeroed = true;
    program.zeroed_bytes += buffer.row_bytes;
  }
  program.kernels.resize(2);
  program.dispatches.resize(2);
  struct Argument {
    const char* name;
    uint32_t buffer;
    uint64_t columns;
    schema::ArgumentKind kind;
  };
  const auto set = [&](size_t index, const char* function, const char* grid, std::initializer_list<Argument> all) {
    schema::KernelT& kernel = *program.kernels[index];
    kernel.images[0]->architecture = "sm_90";
    *kernel.images[0]->data = code;
    kernel.launches[0]->function = function;
    kernel.launches[0]->grid_x = grid;
    kernel.launches[0]->arguments.clear();
    schema::DispatchT& dispatch = *program.dispatches[index];
    dispatch.kernel = static_cast<uint32_t>(index);
    dispatch.arguments.clear();
    for (const Argument& argument : all) {
      dispatch.arguments.push_back(std::make_unique<schema::ArgumentT>());
      dispatch.arguments.back()->name = argument.name;
      dispatch.arguments.back()->kind = argument.kind;
      dispatch.arguments.back()->index = argument.buffer;
      dispatch.arguments.back()->columns = argument.columns;
      kernel.launches[0]->arguments.push_back(std::make_unique<schema::LaunchArgumentT>());
      kernel.launches[0]->arguments.back()->source = static_cast<schema::LaunchSource>(argument.kind);
      kernel.launches[0]->arguments.back()->name = argument.name;
    }
  };
  using Kind = schema::ArgumentKind;
  set(0, "count", "T", {{"counters", counters, 2, Kind::Output}, {"maxima", maxima, 1, Kind::Output}});
  set(1, "show", "R",
      {{"counters", counters, 2, Kind::Input},
       {"maxima", maxima, 1, Kind::Input},
       {"logits", logits, program.buffers[logits]->columns, Kind::Output}});
  return draft;
}

/// In steps of several tokens and in such of one, which are graphs, and whatever the steps before left.
TEST(CudaDeviceTest, ZeroedBuffersAreZeroWhenAStepBegins) {
  const Variable path("NEMOTRON_LIBCUDA", PTXSIM_LIBRARY);
  const auto device = CudaDevice::Open(0);
  ASSERT_TRUE(device.ok()) << device.status().message();
  const auto plan = testing::LoadDraft(MakeCountingPlan());
  auto program = (*device)->Prepare(*plan, {.max_tokens = 8, .max_rows = 8, .max_sequences = 1, .page_tokens = 16});
  ASSERT_TRUE(program.ok()) << program.status().message();
  ASSERT_TRUE((*program)->LoadWeights({}).ok());
  ASSERT_TRUE((*program)->AllocateWorkspace().ok());
  int64_t position = 0;
  for (const int64_t num_tokens : {3, 5, 1, 1, 1, 2}) {
    const std::vector<int32_t> tokens(static_cast<size_t>(num_tokens), 1);
    std::vector<int64_t> rows(tokens.size());
    std::iota(rows.begin(), rows.end(), 0);
    const DeviceSequence sequence = {
        .first_token = 0, .num_tokens = num_tokens, .position = position, .slot = nullptr, .pages = {}};
    const Status status = (*program)->Run({.tokens = tokens, .sequences = {&sequence, 1}, .output_rows = rows});
    ASSERT_TRUE(status.ok()) << status.message();
    ASSERT_TRUE((*program)->Synchronize().ok());
    std::vector<float> logits(tokens.size() * 40);
    ASSERT_TRUE((*program)->ReadLogits(num_tokens, logits).ok());
    for (size_t row = 0; row < rows.size(); ++row) {
      EXPECT_THAT(std::vector<float>(&logits[row * 40], &logits[row * 40] + 3), ::testing::ElementsAre(0, 5, 3))
          << "token " << row << " of " << num_tokens << " at " << position;
    }
    position += num_tokens;
  }
}

/// The images of the plan are no code.
TEST(CudaDeviceTest, NamesTheKernelThatDoesNotLoad) {
  const Variable path("NEMOTRON_LIBCUDA", PTXSIM_LIBRARY);
  const auto device = CudaDevice::Open(0);
  ASSERT_TRUE(device.ok()) << device.status().message();
  const auto plan = testing::LoadDraft(testing::MakeCompiledPlan());
  const auto program =
      (*device)->Prepare(*plan, {.max_tokens = 8, .max_rows = 8, .max_sequences = 1, .page_tokens = 16});
  EXPECT_FALSE(program.ok());
  EXPECT_THAT(program.status().message(), HasSubstr("while loading kernel 'cpu."));
}

#endif  // PTXSIM_LIBRARY

}  // namespace
}  // namespace nemotron::runtime::cuda
