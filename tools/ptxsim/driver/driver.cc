#include "tools/ptxsim/driver/driver.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iterator>

namespace nemotron::ptxsim {

using runtime::Status;
using runtime::StatusCode;

Driver& Driver::Get() {
  static Driver& driver = *new Driver;
  return driver;
}

CUresult Driver::Init() {
  if (initialized()) {
    return CUDA_SUCCESS;
  }
  auto options =
      ParseDeviceOptions(std::getenv("PTXSIM_DEVICE"), std::getenv("PTXSIM_MEMORY_MB"), std::getenv("PTXSIM_CHECKS"));
  if (!options.ok()) {
    fmt::print(stderr, "ptxsim: {}\n", options.status().message());
    return CUDA_ERROR_NO_DEVICE;
  }
  options_ = *options;
  memory_ = std::make_unique<GlobalMemory>(options_.memory_bytes);
  return CUDA_SUCCESS;
}

std::vector<CUcontext>& Driver::ContextStack() {
  thread_local std::vector<CUcontext> stack;
  return stack;
}

CUcontext Driver::current_context() const {
  const std::vector<CUcontext>& stack = ContextStack();
  return stack.empty() ? nullptr : stack.back();
}

void Driver::DestroyContext(CUcontext handle) {
  ContextState* context = contexts.Find(handle);
  const auto owned = [&](const auto& object) { return object.context == context; };
  functions.RemoveIf([&](const FunctionState& function) { return owned(*function.module); });
  modules.RemoveIf(owned);
  streams.RemoveIf([&](const StreamState& stream) {
    if (owned(stream) && stream.capture) {
      EndCapture(std::shared_ptr(stream.capture));
    }
    return owned(stream);
  });
  events.RemoveIf(owned);
  graph_execs.RemoveIf(owned);
  std::erase_if(allocations, [&](const auto& entry) {
    if (owned(entry.second) && !entry.second.is_variable) {
      (void)memory_->Free(entry.first);  // known to be an allocation
    }
    return owned(entry.second);
  });
  contexts.Remove(handle);
}

void Driver::EndCapture(const std::shared_ptr<Capture>& capture) {
  streams.ForEach([&](StreamState& stream) {
    if (stream.capture == capture) {
      stream.capture = nullptr;
    }
  });
  std::erase(captures, capture);
}

std::map<CUdeviceptr, DeviceAllocation>::iterator Driver::FindAllocation(CUdeviceptr address) {
  auto next = allocations.upper_bound(address);
  if (next == allocations.begin()) {
    return allocations.end();
  }
  const auto candidate = std::prev(next);
  return address - candidate->first < candidate->second.size_bytes ? candidate : allocations.end();
}

std::map<uintptr_t, size_t>::iterator Driver::FindHostRange(const void* pointer) {
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  auto next = host_ranges.upper_bound(address);
  if (next == host_ranges.begin()) {
    return host_ranges.end();
  }
  const auto candidate = std::prev(next);
  return address - candidate->first < candidate->second ? candidate : host_ranges.end();
}

bool& InCallback() {
  thread_local bool in_callback = false;
  return in_callback;
}

CUresult ToResult(const Status& status) {
  switch (status.code()) {
    case StatusCode::kOk:
      return CUDA_SUCCESS;
    case StatusCode::kResourceExhausted:
      return CUDA_ERROR_OUT_OF_MEMORY;
    case StatusCode::kNotFound:
      return CUDA_ERROR_NOT_FOUND;
    case StatusCode::kUnimplemented:
      return CUDA_ERROR_NOT_SUPPORTED;
    case StatusCode::kInvalidArgument:
      return CUDA_ERROR_INVALID_VALUE;
    default:
      return CUDA_ERROR_UNKNOWN;
  }
}

CUresult FindStream(Driver& driver, CUstream handle, StreamState*& stream) {
  stream = nullptr;
  if (handle == CU_STREAM_PER_THREAD) {
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  if (handle == nullptr || handle == CU_STREAM_LEGACY) {
    return CUDA_SUCCESS;
  }
  stream = driver.streams.Find(handle);
  return stream ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult CheckNoCapture(Driver& driver) {
  CUresult result = CUDA_SUCCESS;
  for (const auto& capture : driver.captures) {
    if (capture->Forbids(std::this_thread::get_id())) {
      capture->invalidated = true;
      result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
  }
  return result;
}

}  // namespace nemotron::ptxsim
