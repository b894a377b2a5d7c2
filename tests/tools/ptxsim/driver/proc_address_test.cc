#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/tools/ptxsim/driver/driver_fixture.h"

namespace nemotron::ptxsim {
namespace {

struct Found {
  CUresult result;
  void* function;
  CUdriverProcAddressQueryResult status;
};

Found Find(const char* name, int version, cuuint64_t flags = 0) {
  Found found = {};
  found.result = CU(cuGetProcAddress)(name, &found.function, version, flags, &found.status);
  return found;
}

TEST(ProcAddressTest, GivesTheFormOfAVersion) {
  EXPECT_EQ(Find("cuInit", 13000).function, FindSymbol("cuInit"));
  EXPECT_EQ(Find("cuMemAlloc", 13000).function, FindSymbol("cuMemAlloc_v2"));
  EXPECT_EQ(Find("cuCtxCreate", 13000).function, FindSymbol("cuCtxCreate_v4"));
  EXPECT_EQ(Find("cuCtxCreate", 12000).function, FindSymbol("cuCtxCreate_v2"));
  EXPECT_EQ(Find("cuEventElapsedTime", 12000).function, FindSymbol("cuEventElapsedTime"));
  EXPECT_EQ(Find("cuEventElapsedTime", 13000).function, FindSymbol("cuEventElapsedTime_v2"));
  EXPECT_EQ(Find("cuStreamBeginCapture", 13000).function, FindSymbol("cuStreamBeginCapture_v2"));
  EXPECT_EQ(Find("cuInit", 13000).status, CU_GET_PROC_ADDRESS_SUCCESS);
}

TEST(ProcAddressTest, SaysWhyThereIsNone) {
  const Found old = Find("cuLaunchKernelEx", 11000);
  EXPECT_EQ(old.result, CUDA_ERROR_NOT_FOUND);
  EXPECT_EQ(old.function, nullptr);
  EXPECT_EQ(old.status, CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);
  const Found missing = Find("cuTexObjectCreate", 13000);
  EXPECT_EQ(missing.result, CUDA_ERROR_NOT_FOUND);
  EXPECT_EQ(missing.status, CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
  EXPECT_EQ(Find("cuInit", 13000, CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM).result, CUDA_ERROR_NOT_SUPPORTED);
  EXPECT_EQ(Find(nullptr, 13000).result, CUDA_ERROR_INVALID_VALUE);
}

}  // namespace
}  // namespace nemotron::ptxsim
