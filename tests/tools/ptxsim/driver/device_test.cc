#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "tests/tools/ptxsim/driver/driver_fixture.h"

namespace nemotron::ptxsim {
namespace {

int Attribute(CUdevice_attribute attribute) {
  int value = -1;
  EXPECT_EQ(CU(cuDeviceGetAttribute)(&value, attribute, 0), CUDA_SUCCESS);
  return value;
}

std::string Name() {
  char name[64];
  EXPECT_EQ(CU(cuDeviceGetName)(name, sizeof(name), 0), CUDA_SUCCESS);
  return name;
}

/// In a process of its own: exits with what cuInit returns under these settings, and prints the device to stderr.
[[noreturn]] void InitAndExit(const char* variable, const char* value) {
  setenv(variable, value, /*overwrite=*/1);
  const CUresult result = CU(cuInit)(0);
  if (result == CUDA_SUCCESS) {
    size_t memory = 0;
    CU(cuDeviceTotalMem)(&memory, 0);
    fprintf(stderr, "%s, %d.%d, %d SMs, %zu MB", Name().c_str(),
            Attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
            Attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
            Attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT), memory >> 20);
  }
  _exit(result);
}

#define EXPECT_INIT(variable, value, result, message) \
  EXPECT_EXIT(InitAndExit(variable, value), testing::ExitedWithCode(result), message)

TEST(DeviceDeathTest, EnvironmentChoosesTheDevice) {
  EXPECT_INIT("PTXSIM_DEVICE", "a100", CUDA_SUCCESS, "PTXSIM A100 \\(simulated\\), 8.0, 108 SMs");
  EXPECT_INIT("PTXSIM_DEVICE", "rtx4090", CUDA_SUCCESS, "PTXSIM RTX 4090 \\(simulated\\), 8.9, 128 SMs");
  EXPECT_INIT("PTXSIM_DEVICE", "h200", CUDA_SUCCESS, "PTXSIM H200 \\(simulated\\), 9.0, 132 SMs");
  EXPECT_INIT("PTXSIM_DEVICE", "b200", CUDA_SUCCESS, "PTXSIM B200 \\(simulated\\), 10.0, 148 SMs");
  EXPECT_INIT("PTXSIM_DEVICE", "rtx5090", CUDA_SUCCESS, "PTXSIM RTX 5090 \\(simulated\\), 12.0, 170 SMs");
  EXPECT_INIT("PTXSIM_MEMORY_MB", "77", CUDA_SUCCESS, "PTXSIM H100 \\(simulated\\), 9.0, 132 SMs, 77 MB");
}

TEST(DeviceDeathTest, EnvironmentThatMakesNoSense) {
  EXPECT_INIT("PTXSIM_DEVICE", "h1000", CUDA_ERROR_NO_DEVICE,
              "PTXSIM_DEVICE is 'h1000', expected one of a100, rtx4090, h100, h200, b200, rtx5090");
  EXPECT_INIT("PTXSIM_MEMORY_MB", "12x", CUDA_ERROR_NO_DEVICE,
              "PTXSIM_MEMORY_MB is '12x', expected a number from 1 to 16777216");
  EXPECT_INIT("PTXSIM_CHECKS", "some", CUDA_ERROR_NO_DEVICE, "PTXSIM_CHECKS is 'some', expected all, memory or none");
}

/// In a process of its own: exits with 0 if a kernel may read what nobody has written.
[[noreturn]] void ReadUninitializedAndExit(const char* checks) {
  setenv("PTXSIM_CHECKS", checks, /*overwrite=*/1);
  setenv("PTXSIM_MEMORY_MB", "64", /*overwrite=*/1);
  CUcontext context = nullptr;
  CUmodule module = nullptr;
  CUfunction add = nullptr;
  CUdeviceptr data = 0;
  uint32_t n = 1;
  void* arguments[] = {&data, &data, &data, &n};
  const bool ready = CU(cuInit)(0) == CUDA_SUCCESS && CU(cuDevicePrimaryCtxRetain)(&context, 0) == CUDA_SUCCESS &&
                     CU(cuCtxSetCurrent)(context) == CUDA_SUCCESS && CU(cuMemAlloc)(&data, 4) == CUDA_SUCCESS &&
                     CU(cuModuleLoadData)(&module, Ptx(kAddKernel).c_str()) == CUDA_SUCCESS &&
                     CU(cuModuleGetFunction)(&add, module, "add") == CUDA_SUCCESS;
  if (!ready) {
    _exit(2);
  }
  _exit(CU(cuLaunchKernel)(add, 1, 1, 1, 1, 1, 1, 0, nullptr, arguments, nullptr) == CUDA_SUCCESS ? 0 : 1);
}

TEST(DeviceDeathTest, EnvironmentChoosesTheChecks) {
  EXPECT_EXIT(ReadUninitializedAndExit("all"), testing::ExitedWithCode(1), "uninitialized: kernel 'add'");
  EXPECT_EXIT(ReadUninitializedAndExit("memory"), testing::ExitedWithCode(1), "uninitialized: kernel 'add'");
  EXPECT_EXIT(ReadUninitializedAndExit("none"), testing::ExitedWithCode(0), "");
}

TEST(DeviceTest, NothingWorksBeforeInit) {
  int count = 0;
  CUcontext context = nullptr;
  EXPECT_EQ(CU(cuDeviceGetCount)(&count), CUDA_ERROR_NOT_INITIALIZED);
  EXPECT_EQ(CU(cuDevicePrimaryCtxRetain)(&context, 0), CUDA_ERROR_NOT_INITIALIZED);
  EXPECT_EQ(CU(cuInit)(1), CUDA_ERROR_INVALID_VALUE);
  int version = 0;
  EXPECT_EQ(CU(cuDriverGetVersion)(&version), CUDA_SUCCESS);
  EXPECT_EQ(version, 13000);
}

TEST(DeviceTest, OneDeviceWithItsFigures) {
  ASSERT_EQ(CU(cuInit)(0), CUDA_SUCCESS);
  ASSERT_EQ(CU(cuInit)(0), CUDA_SUCCESS);
  int count = 0;
  CUdevice device = -1;
  EXPECT_EQ(CU(cuDeviceGetCount)(&count), CUDA_SUCCESS);
  EXPECT_EQ(count, 1);
  EXPECT_EQ(CU(cuDeviceGet)(&device, 0), CUDA_SUCCESS);
  EXPECT_EQ(device, 0);
  EXPECT_EQ(CU(cuDeviceGet)(&device, 1), CUDA_ERROR_INVALID_DEVICE);
  EXPECT_EQ(Name(), "PTXSIM H100 (simulated)");
  EXPECT_EQ(Attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK), 48 * 1024);
  EXPECT_EQ(Attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN), 227 * 1024);
  EXPECT_EQ(Attribute(CU_DEVICE_ATTRIBUTE_WARP_SIZE), 32);
  EXPECT_EQ(Attribute(CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY), 0);
  // Published: 3.35 TB/s.
  const double bandwidth = 2e3 * Attribute(CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE) *
                           Attribute(CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH) / 8;
  EXPECT_NEAR(bandwidth, 3.35e12, 0.01e12);
  int value = 0;
  EXPECT_EQ(CU(cuDeviceGetAttribute)(&value, CU_DEVICE_ATTRIBUTE_MAX, 0), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(CU(cuDeviceGetAttribute)(&value, CU_DEVICE_ATTRIBUTE_WARP_SIZE, 1), CUDA_ERROR_INVALID_DEVICE);
  char name[4];
  EXPECT_EQ(CU(cuDeviceGetName)(name, sizeof(name), 0), CUDA_SUCCESS);
  EXPECT_STREQ(name, "PTX");
  CUuuid uuid;
  EXPECT_EQ(CU(cuDeviceGetUuid)(&uuid, 0), CUDA_SUCCESS);
  EXPECT_EQ(std::string(uuid.bytes, 6), "ptxsim");
}

TEST(DeviceTest, PrimaryContextIsCounted) {
  ASSERT_EQ(CU(cuInit)(0), CUDA_SUCCESS);
  CUcontext first = nullptr, second = nullptr;
  unsigned int flags = 0;
  int active = 0;
  EXPECT_EQ(CU(cuDevicePrimaryCtxRelease)(0), CUDA_ERROR_INVALID_CONTEXT);
  EXPECT_EQ(CU(cuDevicePrimaryCtxRetain)(&first, 0), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuDevicePrimaryCtxRetain)(&second, 0), CUDA_SUCCESS);
  EXPECT_EQ(first, second);
  EXPECT_EQ(CU(cuDevicePrimaryCtxRelease)(0), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuDevicePrimaryCtxGetState)(0, &flags, &active), CUDA_SUCCESS);
  EXPECT_EQ(active, 1);
  EXPECT_EQ(CU(cuCtxDestroy)(first), CUDA_ERROR_INVALID_CONTEXT);
  EXPECT_EQ(CU(cuCtxSetCurrent)(first), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuDevicePrimaryCtxRelease)(0), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuDevicePrimaryCtxGetState)(0, &flags, &active), CUDA_SUCCESS);
  EXPECT_EQ(active, 0);
  EXPECT_EQ(CU(cuCtxSynchronize)(), CUDA_ERROR_CONTEXT_IS_DESTROYED);
  EXPECT_EQ(CU(cuCtxSetCurrent)(nullptr), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuCtxSynchronize)(), CUDA_ERROR_INVALID_CONTEXT);
  EXPECT_EQ(CU(cuCtxSetCurrent)(first), CUDA_ERROR_INVALID_CONTEXT);
}

TEST(DeviceTest, ContextsStack) {
  ASSERT_EQ(CU(cuInit)(0), CUDA_SUCCESS);
  CUcontext outer = nullptr, inner = nullptr, current = nullptr;
  ASSERT_EQ(CU(cuCtxCreate)(&outer, nullptr, 0, 0), CUDA_SUCCESS);
  ASSERT_EQ(CU(cuCtxCreate)(&inner, nullptr, 0, 0), CUDA_SUCCESS);
  CUdeviceptr address = 0;
  size_t free_before = 0, free_after = 0, total = 0;
  EXPECT_EQ(CU(cuMemGetInfo)(&free_before, &total), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuMemAlloc)(&address, 4096), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuCtxDestroy)(inner), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuCtxGetCurrent)(&current), CUDA_SUCCESS);
  EXPECT_EQ(current, outer);
  EXPECT_EQ(CU(cuMemGetInfo)(&free_after, &total), CUDA_SUCCESS);
  EXPECT_EQ(free_before, free_after) << "a context frees its memory";
  EXPECT_EQ(CU(cuCtxPushCurrent)(inner), CUDA_ERROR_INVALID_CONTEXT);
  EXPECT_EQ(CU(cuCtxPopCurrent)(&current), CUDA_SUCCESS);
  EXPECT_EQ(current, outer);
  EXPECT_EQ(CU(cuCtxPopCurrent)(&current), CUDA_ERROR_INVALID_CONTEXT);
  EXPECT_EQ(CU(cuCtxDestroy)(outer), CUDA_SUCCESS);
}

TEST(DeviceTest, CodesHaveNamesAndTexts) {
  const char* text = nullptr;
  EXPECT_EQ(CU(cuGetErrorName)(CUDA_ERROR_ILLEGAL_ADDRESS, &text), CUDA_SUCCESS);
  EXPECT_STREQ(text, "CUDA_ERROR_ILLEGAL_ADDRESS");
  EXPECT_EQ(CU(cuGetErrorString)(CUDA_ERROR_OUT_OF_MEMORY, &text), CUDA_SUCCESS);
  EXPECT_STREQ(text, "out of memory");
  EXPECT_EQ(CU(cuGetErrorName)(static_cast<CUresult>(1000), &text), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(text, nullptr);
}

TEST(DeviceTest, HasNoExportTables) {
  const void* table = &table;
  const CUuuid any = {};
  EXPECT_EQ(CU(cuGetExportTable)(&table, &any), CUDA_ERROR_NOT_FOUND);
  EXPECT_EQ(table, nullptr);
}

}  // namespace
}  // namespace nemotron::ptxsim
