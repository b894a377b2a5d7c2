// The runtime's side of the driver API. Tests that need a driver run on the simulator, whose path CMake gives.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <numeric>
#include <random>

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
