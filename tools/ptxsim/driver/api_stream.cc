// Streams, which are always empty, and their capture.

#include <cuda.h>

#include <algorithm>
#include <memory>

#include "tools/ptxsim/driver/driver.h"

namespace nemotron::ptxsim {
namespace {

/// A call with a stream, null for the default one.
template <typename Body>
CUresult OnStream(CUstream handle, Body body) {
  return InContext([&](Driver& driver, ContextState&) {
    StreamState* stream = nullptr;
    const CUresult result = FindStream(driver, handle, stream);
    return result == CUDA_SUCCESS ? body(driver, stream) : result;
  });
}

/// Waiting for a stream, or asking whether it is done, spoils its capture: its work will not be executed.
CUresult WaitFor(Driver& driver, StreamState* stream) {
  if (stream == nullptr) {
    return CheckNoCapture(driver);
  }
  if (stream->capture) {
    stream->capture->invalidated = true;
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  return CUDA_SUCCESS;
}

CUgraph MakeGraph(Driver& driver, std::vector<GraphNode> nodes) {
  auto graph = std::make_unique<GraphState>();
  for (GraphNode& node : nodes) {
    graph->nodes.push_back(driver.graph_nodes.Add(std::make_unique<GraphNode>(std::move(node))));
  }
  return driver.graphs.Add(std::move(graph));
}

CUstreamCaptureStatus CaptureStatus(const StreamState* stream) {
  if (stream == nullptr || !stream->capture) {
    return CU_STREAM_CAPTURE_STATUS_NONE;
  }
  return stream->capture->invalidated ? CU_STREAM_CAPTURE_STATUS_INVALIDATED : CU_STREAM_CAPTURE_STATUS_ACTIVE;
}

}  // namespace
}  // namespace nemotron::ptxsim

using namespace nemotron::ptxsim;

extern "C" {

CUresult CUDAAPI cuStreamCreateWithPriority(CUstream* handle, unsigned int flags, int priority) {
  return InContext([&](Driver& driver, ContextState& context) {
    if (handle == nullptr || (flags & ~unsigned{CU_STREAM_NON_BLOCKING}) != 0) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    priority = std::clamp(priority, kGreatestStreamPriority, 0);
    *handle = driver.streams.Add(std::make_unique<StreamState>(StreamState{&context, flags, priority, nullptr}));
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuStreamCreate(CUstream* handle, unsigned int flags) {
  return cuStreamCreateWithPriority(handle, flags, 0);
}

CUresult CUDAAPI cuStreamDestroy(CUstream handle) {
  return OnStream(handle, [&](Driver& driver, StreamState* stream) {
    if (stream == nullptr) {
      return CUDA_ERROR_INVALID_HANDLE;
    }
    if (const auto capture = stream->capture) {
      capture->invalidated = true;
      if (capture->origin == handle) {
        driver.EndCapture(capture);
      }
    }
    driver.streams.Remove(handle);
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuStreamGetFlags(CUstream handle, unsigned int* flags) {
  return OnStream(handle, [&](Driver&, const StreamState* stream) {
    if (flags == nullptr) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    *flags = stream ? stream->flags : 0;
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuStreamGetPriority(CUstream handle, int* priority) {
  return OnStream(handle, [&](Driver&, const StreamState* stream) {
    if (priority == nullptr) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    *priority = stream ? stream->priority : 0;
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuStreamSynchronize(CUstream handle) { return OnStream(handle, WaitFor); }

CUresult CUDAAPI cuStreamQuery(CUstream handle) { return OnStream(handle, WaitFor); }

CUresult CUDAAPI cuStreamWaitEvent(CUstream handle, CUevent event_handle, unsigned int flags) {
  return OnStream(handle, [&](Driver& driver, StreamState* stream) {
    const EventState* event = driver.events.Find(event_handle);
    if (event == nullptr) {
      return CUDA_ERROR_INVALID_HANDLE;
    }
    if (flags != CU_EVENT_WAIT_DEFAULT) {
      return flags == CU_EVENT_WAIT_EXTERNAL ? CUDA_ERROR_NOT_SUPPORTED : CUDA_ERROR_INVALID_VALUE;
    }
    const std::shared_ptr<Capture> current = stream ? stream->capture : nullptr;
    if (!event->capture) {  // work that is done
      if (current && event->recorded) {
        current->invalidated = true;
        return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
      }
      return CUDA_SUCCESS;
    }
    if (std::ranges::find(driver.captures, event->capture) == driver.captures.end()) {
      return CUDA_ERROR_CAPTURED_EVENT;
    }
    if (event->capture->invalidated) {
      return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    }
    if (stream == nullptr) {
      event->capture->invalidated = true;
      return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    }
    if (current && current != event->capture) {
      current->invalidated = event->capture->invalidated = true;
      return CUDA_ERROR_STREAM_CAPTURE_MERGE;
    }
    stream->capture = event->capture;
    stream->capture->Join(handle, event->frontier);
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuStreamBeginCapture(CUstream handle, CUstreamCaptureMode mode) {
  return OnStream(handle, [&](Driver& driver, StreamState* stream) {
    if (mode > CU_STREAM_CAPTURE_MODE_RELAXED) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    if (stream == nullptr) {
      return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    if (stream->capture) {
      return CUDA_ERROR_ILLEGAL_STATE;
    }
    stream->capture = std::make_shared<Capture>(handle, mode, NextHandle());
    driver.captures.push_back(stream->capture);
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuStreamEndCapture(CUstream handle, CUgraph* graph) {
  return OnStream(handle, [&](Driver& driver, StreamState* stream) {
    if (graph == nullptr) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    *graph = nullptr;
    if (stream == nullptr || !stream->capture) {
      return CUDA_ERROR_ILLEGAL_STATE;
    }
    const std::shared_ptr<Capture> capture = stream->capture;
    if (capture->origin != handle) {
      return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
    }
    if (capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED && capture->thread != std::this_thread::get_id()) {
      return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
    }
    driver.EndCapture(capture);
    if (capture->invalidated) {
      return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    }
    if (!capture->IsJoined()) {
      return CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
    }
    *graph = MakeGraph(driver, std::move(capture->nodes));
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuStreamIsCapturing(CUstream handle, CUstreamCaptureStatus* status) {
  return OnStream(handle, [&](Driver&, const StreamState* stream) {
    if (status == nullptr) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    *status = CaptureStatus(stream);
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuStreamGetCaptureInfo(CUstream handle, CUstreamCaptureStatus* status, cuuint64_t* id, CUgraph* graph,
                                        const CUgraphNode** dependencies, const CUgraphEdgeData** edges,
                                        size_t* num_dependencies) {
  return OnStream(handle, [&](Driver&, const StreamState* stream) {
    if (status == nullptr) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    const CUstreamCaptureStatus current = CaptureStatus(stream);
    const bool wants_graph =
        graph != nullptr || dependencies != nullptr || edges != nullptr || num_dependencies != nullptr;
    if (current == CU_STREAM_CAPTURE_STATUS_ACTIVE && wants_graph) {
      return CUDA_ERROR_NOT_SUPPORTED;  // a graph exists once its capture has ended
    }
    *status = current;
    if (id != nullptr && current == CU_STREAM_CAPTURE_STATUS_ACTIVE) {
      *id = stream->capture->id;
    }
    return CUDA_SUCCESS;
  });
}

}  // extern "C"
