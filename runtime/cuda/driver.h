#ifndef RUNTIME_CUDA_DRIVER_H_
#define RUNTIME_CUDA_DRIVER_H_

#include <cuda.h>

#include <memory>
#include <string>

#include "runtime/base/status.h"

namespace nemotron::runtime::cuda {

/// The functions of the driver API that the runtime calls, by the name cuda.h gives them.
#define NEMOTRON_CUDA_FUNCTIONS(X) \
  X(cuInit)                        \
  X(cuDriverGetVersion)            \
  X(cuGetErrorName)                \
  X(cuGetErrorString)              \
  X(cuDeviceGetCount)              \
  X(cuDeviceGet)                   \
  X(cuDeviceGetName)               \
  X(cuDeviceGetAttribute)          \
  X(cuDevicePrimaryCtxRetain)      \
  X(cuDevicePrimaryCtxRelease)     \
  X(cuCtxSetCurrent)               \
  X(cuModuleLoadDataEx)            \
  X(cuModuleUnload)                \
  X(cuModuleGetFunction)           \
  X(cuFuncSetAttribute)            \
  X(cuLaunchKernel)                \
  X(cuMemGetInfo)                  \
  X(cuMemAlloc)                    \
  X(cuMemFree)                     \
  X(cuMemAllocHost)                \
  X(cuMemFreeHost)                 \
  X(cuMemcpyHtoD)                  \
  X(cuMemcpyHtoDAsync)             \
  X(cuMemcpyDtoH)                  \
  X(cuMemcpyDtoDAsync)             \
  X(cuMemsetD8Async)               \
  X(cuStreamCreate)                \
  X(cuStreamDestroy)               \
  X(cuStreamSynchronize)           \
  X(cuStreamBeginCapture)          \
  X(cuStreamEndCapture)            \
  X(cuGraphInstantiate)            \
  X(cuGraphLaunch)                 \
  X(cuGraphDestroy)                \
  X(cuGraphExecDestroy)            \
  X(cuEventCreate)                 \
  X(cuEventDestroy)                \
  X(cuEventRecord)                 \
  X(cuEventSynchronize)

/// libcuda, opened at run time: a machine without a GPU needs none. Immutable; thread-safe.
class Driver {
 public:
  /// Opens the library at the path in the environment's NEMOTRON_LIBCUDA, else libcuda.so.1 where the loader finds it,
  /// and initialises it. kUnavailable if there is none, or no device; kFailedPrecondition if it is older than CUDA 13.
  static StatusOr<std::shared_ptr<const Driver>> Open();
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  /// OK, or what `call` failed with: kResourceExhausted for a lack of memory, else kInternal.
  Status Check(CUresult result, const char* call) const;

  /// The library that was opened, for what is not part of the driver API.
  void* library() const { return library_; }

#define NEMOTRON_CUDA_MEMBER(name) decltype(&::name) name = nullptr;
  NEMOTRON_CUDA_FUNCTIONS(NEMOTRON_CUDA_MEMBER)
#undef NEMOTRON_CUDA_MEMBER

 private:
  Driver() = default;
  void* library_ = nullptr;  // never closed: drivers keep threads and state of the process
};

/// Returns from the enclosing function with the failure of a call, if it failed: `CUDA_RETURN_IF_ERROR(*driver_,
/// cuMemFree, address)`.
#define CUDA_RETURN_IF_ERROR(driver, function, ...) \
  RETURN_IF_ERROR((driver).Check((driver).function(__VA_ARGS__), #function))

}  // namespace nemotron::runtime::cuda

#endif  // RUNTIME_CUDA_DRIVER_H_
