// Capture of streams and the graphs that come from it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "tests/tools/ptxsim/driver/driver_fixture.h"

namespace nemotron::ptxsim {
namespace {

using testing::ElementsAre;

class GraphTest : public DriverTest {
 protected:
  static CUresult Begin(CUstream stream, CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_THREAD_LOCAL) {
    return CU(cuStreamBeginCapture)(stream, mode);
  }
  static CUgraph End(CUstream stream) {
    CUgraph graph = nullptr;
    EXPECT_EQ(CU(cuStreamEndCapture)(stream, &graph), CUDA_SUCCESS);
    return graph;
  }
  static CUresult EndResult(CUstream stream) {
    CUgraph graph = nullptr;
    const CUresult result = CU(cuStreamEndCapture)(stream, &graph);
    EXPECT_EQ(graph == nullptr, result != CUDA_SUCCESS);
    return result;
  }
  static CUgraphExec Instantiate(CUgraph graph) {
    CUgraphExec exec = nullptr;
    EXPECT_EQ(CU(cuGraphInstantiate)(&exec, graph, 0), CUDA_SUCCESS);
    return exec;
  }
  static CUstreamCaptureStatus Status(CUstream stream) {
    CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
    EXPECT_EQ(CU(cuStreamIsCapturing)(stream, &status), CUDA_SUCCESS);
    return status;
  }
};

TEST_F(GraphTest, RecordsAndReplays) {
  const CUfunction add = Load(kAddKernel, "add");
  const CUstream stream = NewStream();
  float host_in = 3.0f, host_out = 0.0f;
  CUdeviceptr a = Upload<float>({1.0f}), b = Upload<float>({2.0f}), c = Upload<float>({0.0f});
  uint32_t n = 1;
  int calls = 0;
  ASSERT_EQ(Begin(stream), CUDA_SUCCESS);
  EXPECT_EQ(Status(stream), CU_STREAM_CAPTURE_STATUS_ACTIVE);
  EXPECT_EQ(CU(cuMemcpyHtoDAsync)(a, &host_in, 4, stream), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuMemsetD8Async)(c, 0, 4, stream), CUDA_SUCCESS);
  EXPECT_EQ(Launch(add, stream, {&a, &b, &c, &n}), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuMemcpyDtoHAsync)(&host_out, c, 4, stream), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuLaunchHostFunc)(stream, [](void* user) { ++*static_cast<int*>(user); }, &calls), CUDA_SUCCESS);
  n = 0;  // arguments were copied
  const CUgraph graph = End(stream);
  EXPECT_EQ(Status(stream), CU_STREAM_CAPTURE_STATUS_NONE);
  EXPECT_EQ(host_out, 0.0f) << "recorded, not executed";

  size_t num_nodes = 0;
  EXPECT_EQ(CU(cuGraphGetNodes)(graph, nullptr, &num_nodes), CUDA_SUCCESS);
  ASSERT_EQ(num_nodes, 5u);
  std::vector<CUgraphNode> nodes(6);
  num_nodes = nodes.size();
  EXPECT_EQ(CU(cuGraphGetNodes)(graph, nodes.data(), &num_nodes), CUDA_SUCCESS);
  EXPECT_EQ(num_nodes, 5u);
  EXPECT_EQ(nodes[5], nullptr);
  std::vector<CUgraphNodeType> types(5);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(CU(cuGraphNodeGetType)(nodes[i], &types[i]), CUDA_SUCCESS);
  }
  EXPECT_THAT(types, ElementsAre(CU_GRAPH_NODE_TYPE_MEMCPY, CU_GRAPH_NODE_TYPE_MEMSET, CU_GRAPH_NODE_TYPE_KERNEL,
                                 CU_GRAPH_NODE_TYPE_MEMCPY, CU_GRAPH_NODE_TYPE_HOST));

  const CUgraphExec exec = Instantiate(graph);
  EXPECT_EQ(CU(cuGraphDestroy)(graph), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuGraphDestroy)(graph), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_EQ(CU(cuGraphNodeGetType)(nodes[0], &types[0]), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_EQ(CU(cuGraphLaunch)(exec, stream), CUDA_SUCCESS);
  EXPECT_EQ(host_out, 5.0f);
  host_in = 10.0f;  // pageable memory is read when the graph runs
  EXPECT_EQ(CU(cuGraphLaunch)(exec, stream), CUDA_SUCCESS);
  EXPECT_EQ(host_out, 12.0f);
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(CU(cuGraphExecDestroy)(exec), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuGraphLaunch)(exec, stream), CUDA_ERROR_INVALID_HANDLE);
}

TEST_F(GraphTest, FindingsInAGraphStick) {
  const CUfunction store = Load(kStoreKernel, "store");
  const CUdeviceptr to = Allocate(4);
  const CUstream stream = NewStream();
  ASSERT_EQ(Begin(stream), CUDA_SUCCESS);
  EXPECT_EQ(LaunchStore(store, stream, to + 4, 1), CUDA_SUCCESS);
  const CUgraphExec exec = Instantiate(End(stream));
  EXPECT_EQ(CU(cuGraphLaunch)(exec, stream), CUDA_ERROR_ILLEGAL_ADDRESS) << "found when it runs";
  EXPECT_EQ(CU(cuGraphLaunch)(exec, stream), CUDA_ERROR_ILLEGAL_ADDRESS) << "and it sticks";
}

TEST_F(GraphTest, KernelsOfAnUnloadedModule) {
  CUmodule module = nullptr;
  CUfunction store = nullptr;
  ASSERT_EQ(CU(cuModuleLoadData)(&module, Ptx(kStoreKernel).c_str()), CUDA_SUCCESS);
  ASSERT_EQ(CU(cuModuleGetFunction)(&store, module, "store"), CUDA_SUCCESS);
  const CUdeviceptr to = Allocate(4);
  const CUstream stream = NewStream();
  ASSERT_EQ(Begin(stream), CUDA_SUCCESS);
  EXPECT_EQ(LaunchStore(store, stream, to, 1), CUDA_SUCCESS);
  const CUgraphExec exec = Instantiate(End(stream));
  EXPECT_EQ(CU(cuGraphLaunch)(exec, stream), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuModuleUnload)(module), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuGraphLaunch)(exec, stream), CUDA_ERROR_INVALID_HANDLE);
}

TEST_F(GraphTest, StreamsJoinByEvents) {
  const CUstream origin = NewStream(), side = NewStream();
  const CUevent fork = NewEvent(), join = NewEvent();
  const CUdeviceptr a = Upload<uint32_t>({0, 0});
  ASSERT_EQ(Begin(origin), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuMemsetD32Async)(a, 1, 1, origin), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuEventRecord)(fork, origin), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuStreamWaitEvent)(side, fork, 0), CUDA_SUCCESS);
  EXPECT_EQ(Status(side), CU_STREAM_CAPTURE_STATUS_ACTIVE);
  EXPECT_EQ(CU(cuMemcpyDtoDAsync)(a + 4, a, 4, side), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuEventRecord)(join, side), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuStreamWaitEvent)(origin, join, 0), CUDA_SUCCESS);
  CUgraph graph = nullptr;
  EXPECT_EQ(CU(cuStreamEndCapture)(side, &graph), CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
  const CUgraphExec exec = Instantiate(End(origin));
  EXPECT_EQ(Status(side), CU_STREAM_CAPTURE_STATUS_NONE);
  EXPECT_EQ(CU(cuGraphLaunch)(exec, nullptr), CUDA_SUCCESS);
  EXPECT_THAT(Download<uint32_t>(a, 2), ElementsAre(1, 1));
  EXPECT_EQ(CU(cuEventSynchronize)(join), CUDA_ERROR_CAPTURED_EVENT);
}

TEST_F(GraphTest, UnjoinedWork) {
  const CUstream origin = NewStream(), side = NewStream();
  const CUevent fork = NewEvent();
  const CUdeviceptr a = Allocate(4);
  ASSERT_EQ(Begin(origin), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuEventRecord)(fork, origin), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuStreamWaitEvent)(side, fork, 0), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuMemsetD32Async)(a, 1, 1, side), CUDA_SUCCESS);
  EXPECT_EQ(EndResult(origin), CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
}

TEST_F(GraphTest, CallsThatSpoilACapture) {
  const CUstream stream = NewStream(), other = NewStream();
  const CUevent outside = NewEvent(), inside = NewEvent();
  const CUdeviceptr a = Allocate(4);
  EXPECT_EQ(CU(cuEventRecord)(outside, other), CUDA_SUCCESS);
  const auto spoiled = [&](CUresult result, auto call) {
    ASSERT_EQ(Begin(stream), CUDA_SUCCESS);
    EXPECT_EQ(CU(cuEventRecord)(inside, stream), CUDA_SUCCESS);
    EXPECT_EQ(call(), result);
    EXPECT_EQ(Status(stream), CU_STREAM_CAPTURE_STATUS_INVALIDATED);
    EXPECT_EQ(CU(cuMemsetD32Async)(a, 1, 1, stream), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    EXPECT_EQ(EndResult(stream), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  };
  CUdeviceptr b = 0;
  int value = 0;
  spoiled(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, [&] { return CU(cuStreamSynchronize)(stream); });
  spoiled(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, [&] { return CU(cuCtxSynchronize)(); });
  spoiled(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, [&] { return CU(cuMemAlloc)(&b, 4); });
  spoiled(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, [&] { return CU(cuMemcpyDtoH)(&value, a, 4); });
  spoiled(CUDA_ERROR_CAPTURED_EVENT, [&] { return CU(cuEventSynchronize)(inside); });
  spoiled(CUDA_ERROR_STREAM_CAPTURE_ISOLATION, [&] { return CU(cuStreamWaitEvent)(stream, outside, 0); });
  spoiled(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, [&] { return CU(cuStreamWaitEvent)(nullptr, inside, 0); });
}

TEST_F(GraphTest, OnlyGlobalCapturesForbidOtherThreads) {
  const CUstream stream = NewStream();
  const auto allocate_elsewhere = [&] {
    CUresult result = CUDA_SUCCESS;
    std::thread([&] {
      CUdeviceptr address = 0;
      CU(cuCtxSetCurrent)(context_);
      result = CU(cuMemAlloc)(&address, 4);
    }).join();
    return result;
  };
  ASSERT_EQ(Begin(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL), CUDA_SUCCESS);
  EXPECT_EQ(allocate_elsewhere(), CUDA_SUCCESS);
  EXPECT_EQ(EndResult(stream), CUDA_SUCCESS);
  ASSERT_EQ(Begin(stream, CU_STREAM_CAPTURE_MODE_GLOBAL), CUDA_SUCCESS);
  EXPECT_EQ(allocate_elsewhere(), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  EXPECT_EQ(EndResult(stream), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  ASSERT_EQ(Begin(stream, CU_STREAM_CAPTURE_MODE_RELAXED), CUDA_SUCCESS);
  Allocate(4);
  EXPECT_EQ(EndResult(stream), CUDA_SUCCESS);
}

TEST_F(GraphTest, CapturesThatMeet) {
  const CUstream first = NewStream(), second = NewStream();
  const CUevent event = NewEvent();
  ASSERT_EQ(Begin(first), CUDA_SUCCESS);
  ASSERT_EQ(Begin(second), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuEventRecord)(event, first), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuStreamWaitEvent)(second, event, 0), CUDA_ERROR_STREAM_CAPTURE_MERGE);
  EXPECT_EQ(EndResult(first), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  EXPECT_EQ(EndResult(second), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
}

TEST_F(GraphTest, BlockingStreamsAndTheDefaultStream) {
  const CUstream stream = NewStream(CU_STREAM_DEFAULT);
  const CUdeviceptr a = Allocate(4);
  EXPECT_EQ(Begin(nullptr), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  ASSERT_EQ(Begin(stream), CUDA_SUCCESS);
  EXPECT_EQ(Begin(stream), CUDA_ERROR_ILLEGAL_STATE);
  EXPECT_EQ(CU(cuMemsetD8Async)(a, 0, 4, nullptr), CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
  EXPECT_EQ(EndResult(stream), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  EXPECT_EQ(EndResult(stream), CUDA_ERROR_ILLEGAL_STATE);
}

TEST_F(GraphTest, CapturesEndInTheirThread) {
  const CUstream stream = NewStream();
  ASSERT_EQ(Begin(stream), CUDA_SUCCESS);
  std::thread([&] {
    CU(cuCtxSetCurrent)(context_);
    EXPECT_EQ(EndResult(stream), CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
  }).join();
  EXPECT_EQ(EndResult(stream), CUDA_SUCCESS);
}

TEST_F(GraphTest, CaptureInfo) {
  const CUstream stream = NewStream();
  CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_ACTIVE;
  cuuint64_t id = 0;
  CUgraph graph = nullptr;
  const auto info = [&](CUgraph* out) {
    return CU(cuStreamGetCaptureInfo)(stream, &status, &id, out, nullptr, nullptr, nullptr);
  };
  EXPECT_EQ(info(&graph), CUDA_SUCCESS);
  EXPECT_EQ(status, CU_STREAM_CAPTURE_STATUS_NONE);
  ASSERT_EQ(Begin(stream), CUDA_SUCCESS);
  EXPECT_EQ(info(nullptr), CUDA_SUCCESS);
  EXPECT_EQ(status, CU_STREAM_CAPTURE_STATUS_ACTIVE);
  EXPECT_NE(id, 0u);
  EXPECT_EQ(info(&graph), CUDA_ERROR_NOT_SUPPORTED);
  EXPECT_EQ(EndResult(stream), CUDA_SUCCESS);
}

}  // namespace
}  // namespace nemotron::ptxsim
