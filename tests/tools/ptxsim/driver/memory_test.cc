#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "tests/tools/ptxsim/driver/driver_fixture.h"

namespace nemotron::ptxsim {
namespace {

using testing::ElementsAre;

class MemoryTest : public DriverTest {};

TEST_F(MemoryTest, CopiesThereAndBack) {
  std::vector<int> values(1000);
  std::iota(values.begin(), values.end(), 0);
  const CUdeviceptr a = Upload(values);
  const CUdeviceptr b = Allocate(4000);
  EXPECT_EQ(CU(cuMemcpyDtoD)(b, a + 400, 3600), CUDA_SUCCESS);
  EXPECT_EQ(Download<int>(b, 2), (std::vector<int>{100, 101}));
  EXPECT_EQ(CU(cuMemcpyHtoD)(a, values.data(), 0), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuMemcpyHtoD)(a, values.data(), 4001), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(CU(cuMemcpyDtoH)(values.data(), a + 3996, 8), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(CU(cuMemcpyHtoD)(a, nullptr, 4), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(CU(cuMemcpyHtoD)(12345, values.data(), 4), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(MemoryTest, UnifiedCopiesTellSidesApart) {
  int from = 7, to = 0;
  const CUdeviceptr a = Allocate(4), b = Allocate(4);
  const auto host = [](int& value) { return reinterpret_cast<CUdeviceptr>(&value); };
  EXPECT_EQ(CU(cuMemcpy)(a, host(from), 4), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuMemcpyAsync)(b, a, 4, nullptr), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuMemcpy)(host(to), b, 4), CUDA_SUCCESS);
  EXPECT_EQ(to, 7);
  from = 8;
  EXPECT_EQ(CU(cuMemcpy)(host(to), host(from), 4), CUDA_SUCCESS);
  EXPECT_EQ(to, 8);
}

TEST_F(MemoryTest, Fills) {
  const CUdeviceptr a = Allocate(16);
  EXPECT_EQ(CU(cuMemsetD8)(a, 0x11, 16), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuMemsetD16)(a + 2, 0x2222, 1), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuMemsetD32Async)(a + 8, 0x33333333, 1, nullptr), CUDA_SUCCESS);
  EXPECT_THAT(Download<uint32_t>(a, 4), ElementsAre(0x22221111, 0x11111111, 0x33333333, 0x11111111));
  EXPECT_EQ(CU(cuMemsetD32)(a + 2, 0, 1), CUDA_ERROR_INVALID_VALUE) << "not aligned";
  EXPECT_EQ(CU(cuMemsetD32)(a, 0, 5), CUDA_ERROR_INVALID_VALUE) << "past the end";
  EXPECT_EQ(CU(cuMemsetD8)(a, 0, 0), CUDA_SUCCESS);
}

TEST_F(MemoryTest, RunsOut) {
  size_t free = 0, total = 0;
  ASSERT_EQ(CU(cuMemGetInfo)(&free, &total), CUDA_SUCCESS);
  EXPECT_EQ(total, size_t{64} << 20);
  EXPECT_LE(free, total);
  CUdeviceptr a = 0, b = 0;
  EXPECT_EQ(CU(cuMemAlloc)(&a, total + 1), CUDA_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(CU(cuMemAlloc)(&a, SIZE_MAX), CUDA_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(CU(cuMemAlloc)(&a, free / 2 + 4096), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuMemAlloc)(&b, free / 2 + 4096), CUDA_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(CU(cuMemFree)(a), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuMemAlloc)(&b, free / 2 + 4096), CUDA_SUCCESS) << "freed memory is there again";
}

TEST_F(MemoryTest, WrongUse) {
  const CUdeviceptr a = Allocate(64);
  CUdeviceptr b = 0;
  EXPECT_EQ(CU(cuMemAlloc)(&b, 0), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(CU(cuMemAlloc)(nullptr, 4), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(CU(cuMemFree)(a + 4), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(CU(cuMemFree)(a), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuMemFree)(a), CUDA_ERROR_INVALID_VALUE) << "freed twice";
  EXPECT_EQ(CU(cuMemFree)(0), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuMemsetD8)(a, 0, 4), CUDA_ERROR_INVALID_VALUE) << "used after it was freed";
}

TEST_F(MemoryTest, AddressesAndTheirKind) {
  const CUdeviceptr a = Allocate(100);
  CUdeviceptr base = 0;
  size_t size = 0;
  EXPECT_EQ(CU(cuMemGetAddressRange)(&base, &size, a + 99), CUDA_SUCCESS);
  EXPECT_EQ(base, a);
  EXPECT_EQ(size, 100u);
  EXPECT_EQ(CU(cuMemGetAddressRange)(&base, &size, a + 100), CUDA_ERROR_NOT_FOUND);
  unsigned int type = 0;
  EXPECT_EQ(CU(cuPointerGetAttribute)(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, a + 5), CUDA_SUCCESS);
  EXPECT_EQ(type, unsigned{CU_MEMORYTYPE_DEVICE});
  void* host = nullptr;
  ASSERT_EQ(CU(cuMemAllocHost)(&host, 100), CUDA_SUCCESS);
  const auto host_address = reinterpret_cast<CUdeviceptr>(host);
  EXPECT_EQ(CU(cuPointerGetAttribute)(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, host_address + 99), CUDA_SUCCESS);
  EXPECT_EQ(type, unsigned{CU_MEMORYTYPE_HOST});
  EXPECT_EQ(CU(cuMemFreeHost)(host), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuMemFreeHost)(host), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(CU(cuPointerGetAttribute)(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, host_address), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(MemoryTest, HostMemoryIsPinnedButNotMapped) {
  std::vector<std::byte> memory(8192);
  void* host = nullptr;
  CUdeviceptr mapped = 0;
  EXPECT_EQ(CU(cuMemHostAlloc)(&host, 16, CU_MEMHOSTALLOC_DEVICEMAP), CUDA_ERROR_NOT_SUPPORTED);
  EXPECT_EQ(CU(cuMemHostRegister)(memory.data(), 4096, 0), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuMemHostRegister)(memory.data() + 4095, 16, 0), CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
  EXPECT_EQ(CU(cuMemHostGetDevicePointer)(&mapped, memory.data(), 0), CUDA_ERROR_NOT_SUPPORTED);
  EXPECT_EQ(CU(cuMemHostUnregister)(memory.data() + 1), CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
  EXPECT_EQ(CU(cuMemHostUnregister)(memory.data()), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuMemHostUnregister)(memory.data()), CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
}

}  // namespace
}  // namespace nemotron::ptxsim
