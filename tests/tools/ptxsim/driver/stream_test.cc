#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/tools/ptxsim/driver/driver_fixture.h"

namespace nemotron::ptxsim {
namespace {

class StreamTest : public DriverTest {};

TEST_F(StreamTest, CreatesAndDestroys) {
  CUstream stream = nullptr;
  EXPECT_EQ(CU(cuStreamCreate)(&stream, 2), CUDA_ERROR_INVALID_VALUE);
  ASSERT_EQ(CU(cuStreamCreateWithPriority)(&stream, CU_STREAM_NON_BLOCKING, -100), CUDA_SUCCESS);
  int least = 1, greatest = 1, priority = 1;
  unsigned int flags = 0;
  EXPECT_EQ(CU(cuCtxGetStreamPriorityRange)(&least, &greatest), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuStreamGetPriority)(stream, &priority), CUDA_SUCCESS);
  EXPECT_EQ(priority, greatest);
  EXPECT_EQ(CU(cuStreamGetFlags)(stream, &flags), CUDA_SUCCESS);
  EXPECT_EQ(flags, unsigned{CU_STREAM_NON_BLOCKING});
  EXPECT_EQ(CU(cuStreamQuery)(stream), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuStreamSynchronize)(stream), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuStreamDestroy)(stream), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuStreamDestroy)(stream), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_EQ(CU(cuStreamSynchronize)(stream), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_EQ(CU(cuMemsetD8Async)(Allocate(4), 0, 4, stream), CUDA_ERROR_INVALID_HANDLE);
}

TEST_F(StreamTest, DefaultStreams) {
  EXPECT_EQ(CU(cuStreamSynchronize)(nullptr), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuStreamSynchronize)(CU_STREAM_LEGACY), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuStreamSynchronize)(CU_STREAM_PER_THREAD), CUDA_ERROR_NOT_SUPPORTED);
}

TEST_F(StreamTest, Events) {
  const CUevent first = NewEvent(), second = NewEvent(), untimed = NewEvent(CU_EVENT_DISABLE_TIMING);
  const CUstream stream = NewStream();
  float milliseconds = -1;
  EXPECT_EQ(CU(cuEventQuery)(first), CUDA_SUCCESS) << "nothing recorded, nothing to wait for";
  EXPECT_EQ(CU(cuEventElapsedTime)(&milliseconds, first, second), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_EQ(CU(cuEventRecord)(first, stream), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuEventRecord)(second, stream), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuEventRecord)(untimed, nullptr), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuStreamWaitEvent)(nullptr, first, 0), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuEventSynchronize)(second), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuEventElapsedTime)(&milliseconds, first, second), CUDA_SUCCESS);
  EXPECT_GE(milliseconds, 0);
  EXPECT_EQ(CU(cuEventElapsedTime)(&milliseconds, first, untimed), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_EQ(CU(cuEventDestroy)(first), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuEventDestroy)(first), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_EQ(CU(cuEventRecord)(first, stream), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_EQ(CU(cuStreamWaitEvent)(stream, first, 0), CUDA_ERROR_INVALID_HANDLE);
  CUevent event = nullptr;
  EXPECT_EQ(CU(cuEventCreate)(&event, CU_EVENT_INTERPROCESS | CU_EVENT_DISABLE_TIMING), CUDA_ERROR_NOT_SUPPORTED);
}

TEST_F(StreamTest, HostFunctionsMayNotCallTheDriver) {
  CUresult result = CUDA_SUCCESS;
  const auto function = [](void* user) { *static_cast<CUresult*>(user) = CU(cuCtxSynchronize)(); };
  EXPECT_EQ(CU(cuLaunchHostFunc)(NewStream(), function, &result), CUDA_SUCCESS);
  EXPECT_EQ(result, CUDA_ERROR_NOT_PERMITTED);
  EXPECT_EQ(CU(cuCtxSynchronize)(), CUDA_SUCCESS);
}

}  // namespace
}  // namespace nemotron::ptxsim
