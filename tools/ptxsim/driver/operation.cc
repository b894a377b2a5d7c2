#include "tools/ptxsim/driver/operation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <utility>

#include "tools/ptxsim/driver/driver.h"
#include "tools/ptxsim/driver/findings.h"

namespace nemotron::ptxsim {
namespace {

constexpr std::array<uint32_t, 3> kMaxGrid = {0x7fffffff, 65535, 65535};
constexpr std::array<uint32_t, 3> kMaxBlock = {1024, 1024, 64};

uint64_t Product(const std::array<uint32_t, 3>& extents) { return uint64_t{extents[0]} * extents[1] * extents[2]; }

bool IsWithin(const std::array<uint32_t, 3>& extents, const std::array<uint32_t, 3>& limits) {
  for (size_t i = 0; i < 3; ++i) {
    if (extents[i] == 0 || extents[i] > limits[i]) {
      return false;
    }
  }
  return true;
}

/// While this lives, the thread is in a function of the program.
class CallbackScope {
 public:
  CallbackScope() { InCallback() = true; }
  ~CallbackScope() { InCallback() = false; }
};

CUresult ToResult(FindingKind kind) {
  switch (kind) {
    case FindingKind::kOutOfBounds:
      return CUDA_ERROR_ILLEGAL_ADDRESS;
    case FindingKind::kMisaligned:
      return CUDA_ERROR_MISALIGNED_ADDRESS;
    default:
      return CUDA_ERROR_LAUNCH_FAILED;
  }
}

class Executor {
 public:
  Executor(Driver& driver, ContextState& context) : driver_(driver), context_(context) {}

  CUresult operator()(const KernelOperation& kernel) {
    if (const CUresult result = CheckKernel(driver_, kernel); result != CUDA_SUCCESS) {
      return result;
    }
    const FunctionState& function = *driver_.functions.Find(kernel.function);
    const std::string& name = function.function->name;
    const LaunchConfig config{kernel.grid, kernel.block, kernel.dynamic_shared_bytes, kernel.parameters};
    const auto report = Launch(*function.module->loaded, name, config, driver_.checks(), driver_.memory());
    if (!report.ok()) {
      fmt::print(stderr, "ptxsim: kernel '{}': {}\n", name, report.status().message());
      return ptxsim::ToResult(report.status());
    }
    const CallbackScope in_callback;
    ReportLaunch(name, kernel.grid, kernel.block, *report);
    if (!report->findings.empty()) {
      context_.error = ToResult(report->findings.front().kind);
    }
    return context_.error;
  }

  CUresult operator()(const CopyOperation& copy) {
    void* const host_to = reinterpret_cast<void*>(copy.to);
    const void* const host_from = reinterpret_cast<const void*>(copy.from);
    if (copy.size_bytes == 0) {
      return CUDA_SUCCESS;
    }
    if (copy.to == 0 || copy.from == 0 || copy.size_bytes > INT64_MAX) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    const auto size_bytes = static_cast<int64_t>(copy.size_bytes);
    switch (copy.kind) {
      case CopyKind::kHostToHost:
        std::memmove(host_to, host_from, copy.size_bytes);
        return CUDA_SUCCESS;
      case CopyKind::kHostToDevice:
        return ptxsim::ToResult(driver_.memory().CopyFromHost(copy.to, host_from, size_bytes));
      case CopyKind::kDeviceToHost:
        return ptxsim::ToResult(driver_.memory().CopyToHost(host_to, copy.from, size_bytes));
      case CopyKind::kDeviceToDevice:
        return ptxsim::ToResult(driver_.memory().Copy(copy.to, copy.from, size_bytes));
    }
    return CUDA_ERROR_INVALID_VALUE;
  }

  CUresult operator()(const FillOperation& fill) {
    if (fill.count == 0) {
      return CUDA_SUCCESS;
    }
    if (fill.count > INT64_MAX / sizeof(uint32_t) || fill.to % fill.element_bytes != 0) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    return ptxsim::ToResult(
        driver_.memory().Fill(fill.to, fill.value, fill.element_bytes, static_cast<int64_t>(fill.count)));
  }

  CUresult operator()(const HostOperation& host) {
    const CallbackScope in_callback;
    host.function(host.user);
    return CUDA_SUCCESS;
  }

 private:
  Driver& driver_;
  ContextState& context_;
};

}  // namespace

CUresult CheckKernel(Driver& driver, const KernelOperation& kernel) {
  const FunctionState* state = driver.functions.Find(kernel.function);
  if (state == nullptr) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  const Function& function = *state->function;
  const uint64_t num_threads = Product(kernel.block);
  if (!IsWithin(kernel.grid, kMaxGrid) || !IsWithin(kernel.block, kMaxBlock) || num_threads > kMaxThreadsPerBlock) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (function.max_threads[0] != 0 && num_threads > Product(function.max_threads)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (function.required_threads[0] != 0 && kernel.block != function.required_threads) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return kernel.dynamic_shared_bytes > state->max_dynamic_shared_bytes ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult Execute(Driver& driver, ContextState& context, const Operation& operation) {
  return std::visit(Executor(driver, context), operation);
}

CUresult Submit(Driver& driver, ContextState& context, CUstream handle, Operation operation) {
  StreamState* stream = nullptr;
  if (const CUresult result = FindStream(driver, handle, stream); result != CUDA_SUCCESS) {
    return result;
  }
  if (stream != nullptr && stream->capture) {
    if (stream->capture->invalidated) {
      return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    }
    stream->capture->Record(handle, std::move(operation));
    return CUDA_SUCCESS;
  }
  if (stream == nullptr) {  // the default stream waits for all that do not say they are non-blocking
    for (const auto& capture : driver.captures) {
      const StreamState* origin = driver.streams.Find(capture->origin);
      if (origin != nullptr && (origin->flags & CU_STREAM_NON_BLOCKING) == 0) {
        capture->invalidated = true;
        return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
      }
    }
  }
  return Execute(driver, context, operation);
}

}  // namespace nemotron::ptxsim
