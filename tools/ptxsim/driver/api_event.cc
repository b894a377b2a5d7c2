// Events. Work is done when a call returns, so an event that is recorded has happened.

#include <cuda.h>

#include <memory>

#include "tools/ptxsim/driver/driver.h"

namespace nemotron::ptxsim {
namespace {

template <typename Body>
CUresult OnEvent(CUevent handle, Body body) {
  return InContext([&](Driver& driver, ContextState&) {
    EventState* event = driver.events.Find(handle);
    return event ? body(driver, *event) : CUDA_ERROR_INVALID_HANDLE;
  });
}

/// What stands for a node of a graph never happens.
CUresult WaitFor(Driver&, const EventState& event) {
  if (event.capture) {
    event.capture->invalidated = true;
    return CUDA_ERROR_CAPTURED_EVENT;
  }
  return CUDA_SUCCESS;
}

}  // namespace
}  // namespace nemotron::ptxsim

using namespace nemotron::ptxsim;

extern "C" {

CUresult CUDAAPI cuEventCreate(CUevent* handle, unsigned int flags) {
  return InContext([&](Driver& driver, ContextState& context) {
    constexpr unsigned int kKnown = CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING | CU_EVENT_INTERPROCESS;
    if (handle == nullptr || (flags & ~kKnown) != 0) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    if ((flags & CU_EVENT_INTERPROCESS) != 0) {
      return CUDA_ERROR_NOT_SUPPORTED;
    }
    auto event = std::make_unique<EventState>();
    event->context = &context;
    event->flags = flags;
    *handle = driver.events.Add(std::move(event));
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuEventDestroy(CUevent handle) {
  return InContext([&](Driver& driver, ContextState&) {
    return driver.events.Remove(handle) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
  });
}

CUresult CUDAAPI cuEventRecordWithFlags(CUevent handle, CUstream stream_handle, unsigned int flags) {
  return OnEvent(handle, [&](Driver& driver, EventState& event) {
    StreamState* stream = nullptr;
    if (const CUresult result = FindStream(driver, stream_handle, stream); result != CUDA_SUCCESS) {
      return result;
    }
    if (flags != CU_EVENT_RECORD_DEFAULT) {
      return flags == CU_EVENT_RECORD_EXTERNAL ? CUDA_ERROR_NOT_SUPPORTED : CUDA_ERROR_INVALID_VALUE;
    }
    event.recorded = true;
    event.time = std::chrono::steady_clock::now();
    event.capture = stream ? stream->capture : nullptr;
    if (event.capture) {
      event.frontier = event.capture->frontier(stream_handle);
    }
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuEventRecord(CUevent handle, CUstream stream) {
  return cuEventRecordWithFlags(handle, stream, CU_EVENT_RECORD_DEFAULT);
}

CUresult CUDAAPI cuEventQuery(CUevent handle) { return OnEvent(handle, WaitFor); }

CUresult CUDAAPI cuEventSynchronize(CUevent handle) { return OnEvent(handle, WaitFor); }

CUresult CUDAAPI cuEventElapsedTime(float* milliseconds, CUevent start_handle, CUevent end_handle) {
  return InContext([&](Driver& driver, ContextState&) {
    const EventState* start = driver.events.Find(start_handle);
    const EventState* end = driver.events.Find(end_handle);
    if (milliseconds == nullptr) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    for (const EventState* event : {start, end}) {
      if (event == nullptr || !event->recorded || (event->flags & CU_EVENT_DISABLE_TIMING) != 0) {
        return CUDA_ERROR_INVALID_HANDLE;
      }
      if (event->capture) {
        return CUDA_ERROR_CAPTURED_EVENT;
      }
    }
    *milliseconds = std::chrono::duration<float, std::milli>(end->time - start->time).count();
    return CUDA_SUCCESS;
  });
}

}  // extern "C"
