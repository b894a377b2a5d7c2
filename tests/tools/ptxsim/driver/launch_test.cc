#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "runtime/cuda/ptxsim.h"
#include "tests/tools/ptxsim/driver/driver_fixture.h"

namespace nemotron::ptxsim {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;

class LaunchTest : public DriverTest {};

std::string Findings() { return CU(ptxsimFindings)(); }

TEST_F(LaunchTest, AddsVectors) {
  const CUfunction add = Load(kAddKernel, "add");
  const uint32_t n = 1000;
  CUdeviceptr a = Upload(std::vector<float>(n, 1.5f)), b = Upload(std::vector<float>(n, 2.0f)), c = Allocate(4 * n);
  uint32_t count = n;
  void* arguments[] = {&a, &b, &c, &count};
  EXPECT_EQ(CU(cuLaunchKernel)(add, 4, 1, 1, 256, 1, 1, 0, nullptr, arguments, nullptr), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuCtxSynchronize)(), CUDA_SUCCESS);
  EXPECT_THAT(Download<float>(c, n), Each(3.5f));
}

TEST_F(LaunchTest, TakesABufferOfArguments) {
  const CUfunction store = Load(kStoreKernel, "store");
  const CUdeviceptr to = Upload<uint32_t>({0});
  struct {
    CUdeviceptr to;
    uint32_t value;
  } buffer = {to, 17};
  size_t size = 12;
  void* extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &buffer, CU_LAUNCH_PARAM_BUFFER_SIZE, &size, CU_LAUNCH_PARAM_END};
  EXPECT_EQ(CU(cuLaunchKernel)(store, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, extra), CUDA_SUCCESS);
  EXPECT_THAT(Download<uint32_t>(to, 1), ElementsAre(17));
  size = 8;
  EXPECT_EQ(CU(cuLaunchKernel)(store, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, extra), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(CU(cuLaunchKernel)(store, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(LaunchTest, SizesThatNoDeviceTakes) {
  const CUfunction bounded = Load(".entry k() .maxntid 64 { ret; }", "k");
  const CUfunction exact = Load(".entry k() .reqntid 32, 2 { ret; }", "k");
  const auto launch = [](CUfunction function, unsigned grid_x, unsigned grid_y, unsigned block_x, unsigned block_y,
                         unsigned shared) {
    return CU(cuLaunchKernel)(function, grid_x, grid_y, 1, block_x, block_y, 1, shared, nullptr, nullptr, nullptr);
  };
  EXPECT_EQ(launch(bounded, 1, 1, 64, 1, 0), CUDA_SUCCESS);
  EXPECT_EQ(launch(bounded, 1, 1, 65, 1, 0), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(launch(bounded, 0, 1, 32, 1, 0), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(launch(bounded, 1, 65536, 32, 1, 0), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(launch(exact, 1, 1, 32, 2, 0), CUDA_SUCCESS);
  EXPECT_EQ(launch(exact, 1, 1, 64, 1, 0), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(launch(nullptr, 1, 1, 1, 1, 0), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_EQ(launch(bounded, 1, 1, 32, 1, 48 * 1024), CUDA_SUCCESS);
  EXPECT_EQ(launch(bounded, 1, 1, 32, 1, 48 * 1024 + 1), CUDA_ERROR_INVALID_VALUE) << "without opting in";
  EXPECT_EQ(CU(cuFuncSetAttribute)(bounded, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 100 * 1024), CUDA_SUCCESS);
  EXPECT_EQ(launch(bounded, 1, 1, 32, 1, 100 * 1024), CUDA_SUCCESS);
  EXPECT_EQ(launch(bounded, 1, 1, 32, 1, 100 * 1024 + 1), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(LaunchTest, AttributesOfALaunch) {
  const CUfunction function = Load(".entry k() { ret; }", "k");
  const auto launch = [&](CUlaunchAttributeID id, CUlaunchAttributeValue value) {
    CUlaunchAttribute attribute = {};
    attribute.id = id;
    attribute.value = value;
    CUlaunchConfig config = {};
    config.gridDimX = config.gridDimY = config.gridDimZ = 1;
    config.blockDimX = config.blockDimY = config.blockDimZ = 1;
    config.attrs = &attribute;
    config.numAttrs = 1;
    return CU(cuLaunchKernelEx)(&config, function, nullptr, nullptr);
  };
  CUlaunchAttributeValue value = {};
  value.programmaticStreamSerializationAllowed = 1;
  EXPECT_EQ(launch(CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION, value), CUDA_SUCCESS);
  value.clusterDim = {1, 1, 1};
  EXPECT_EQ(launch(CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, value), CUDA_SUCCESS);
  value.clusterDim = {2, 1, 1};
  EXPECT_EQ(launch(CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, value), CUDA_ERROR_NOT_SUPPORTED);
  value.cooperative = 1;
  EXPECT_EQ(launch(CU_LAUNCH_ATTRIBUTE_COOPERATIVE, value), CUDA_ERROR_NOT_SUPPORTED);
}

TEST_F(LaunchTest, ErrorsStickToTheContext) {
  const CUfunction store = Load(kStoreKernel, "store");
  const CUdeviceptr to = Upload<uint32_t>({0});
  EXPECT_EQ(LaunchStore(store, nullptr, to + 4, 1), CUDA_ERROR_ILLEGAL_ADDRESS);
  EXPECT_EQ(CU(cuCtxSynchronize)(), CUDA_ERROR_ILLEGAL_ADDRESS);
  CUdeviceptr other = 0;
  EXPECT_EQ(CU(cuMemAlloc)(&other, 4), CUDA_ERROR_ILLEGAL_ADDRESS);
  EXPECT_EQ(LaunchStore(store, nullptr, to, 1), CUDA_ERROR_ILLEGAL_ADDRESS);
  EXPECT_THAT(Findings(), HasSubstr("kernel 'store'"));

  TearDown();
  SetUp();
  EXPECT_EQ(CU(cuCtxSynchronize)(), CUDA_SUCCESS) << "a new context is sound";
}

TEST_F(LaunchTest, MisalignedAddressesHaveTheirCode) {
  const CUfunction store = Load(kStoreKernel, "store");
  EXPECT_EQ(LaunchStore(store, nullptr, Upload<uint32_t>({0, 0}) + 2, 1), CUDA_ERROR_MISALIGNED_ADDRESS);
  EXPECT_EQ(CU(cuCtxSynchronize)(), CUDA_ERROR_MISALIGNED_ADDRESS);
}

TEST_F(LaunchTest, OtherFindingsFailTheLaunch) {
  EXPECT_EQ(Launch(Load(".entry trapped() { trap; }", "trapped"), nullptr, {}), CUDA_ERROR_LAUNCH_FAILED);
  TearDown();
  SetUp();
  const CUfunction add = Load(kAddKernel, "add");
  CUdeviceptr nothing = Allocate(4), to = Allocate(4);
  uint32_t n = 1;
  const std::string before = Findings();
  EXPECT_EQ(Launch(add, nullptr, {&nothing, &nothing, &to, &n}), CUDA_ERROR_LAUNCH_FAILED)
      << "a read of what nobody has written";
  EXPECT_GT(Findings().size(), before.size());
}

struct Told {
  int calls = 0;
  std::string kernel;
  std::vector<uint32_t> sizes;
  uint64_t load_bytes = 0, store_bytes = 0;
  CUresult result_of_call = CUDA_SUCCESS;
};

TEST_F(LaunchTest, CallbackIsToldOfCounters) {
  Told told;
  CU(ptxsimSetLaunchCallback)
  (
      [](void* user, const char* kernel, const uint32_t grid[3], const uint32_t block[3],
         const PtxsimCounters* counters) {
        auto& told = *static_cast<Told*>(user);
        ++told.calls;
        told.kernel = kernel;
        told.sizes = {grid[0], block[0]};
        told.load_bytes = counters->global_load_bytes;
        told.store_bytes = counters->global_store_bytes;
        told.result_of_call = CU(cuCtxSynchronize)();
      },
      &told);
  const CUfunction add = Load(kAddKernel, "add");
  CUdeviceptr a = Upload(std::vector<float>(64, 1.0f)), c = Allocate(256);
  uint32_t n = 64;
  void* arguments[] = {&a, &a, &c, &n};
  EXPECT_EQ(CU(cuLaunchKernel)(add, 2, 1, 1, 32, 1, 1, 0, nullptr, arguments, nullptr), CUDA_SUCCESS);
  CU(ptxsimSetLaunchCallback)(nullptr, nullptr);
  EXPECT_EQ(CU(cuLaunchKernel)(add, 2, 1, 1, 32, 1, 1, 0, nullptr, arguments, nullptr), CUDA_SUCCESS);
  EXPECT_EQ(told.calls, 1);
  EXPECT_EQ(told.kernel, "add");
  EXPECT_THAT(told.sizes, ElementsAre(2, 32));
  EXPECT_EQ(told.load_bytes, 512u);
  EXPECT_EQ(told.store_bytes, 256u);
  EXPECT_EQ(told.result_of_call, CUDA_ERROR_NOT_PERMITTED);
}

TEST_F(LaunchTest, ThreadsMayLaunchSideBySide) {
  const CUfunction store = Load(kStoreKernel, "store");
  const CUdeviceptr to = Upload(std::vector<uint32_t>(4));
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      EXPECT_EQ(LaunchStore(store, nullptr, to + 4 * i, i), CUDA_ERROR_INVALID_CONTEXT);
      EXPECT_EQ(CU(cuCtxSetCurrent)(context_), CUDA_SUCCESS);
      for (int repeat = 0; repeat < 50; ++repeat) {
        EXPECT_EQ(LaunchStore(store, nullptr, to + 4 * i, i + 1), CUDA_SUCCESS);
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_THAT(Download<uint32_t>(to, 4), ElementsAre(1, 2, 3, 4));
}

}  // namespace
}  // namespace nemotron::ptxsim
