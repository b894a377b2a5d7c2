#include "runtime/cuda/driver.h"

#include <dlfcn.h>

#include <cstdlib>

namespace nemotron::runtime::cuda {
namespace {

constexpr int kMinDriverVersion = 13000;

/// The symbol of `function`: where cuda.h is a macro for a later version of a function, the name of that one.
#define NEMOTRON_CUDA_STRING_INNER(name) #name
#define NEMOTRON_CUDA_STRING(name) NEMOTRON_CUDA_STRING_INNER(name)

}  // namespace

// Members carry the names that cuda.h's macros expand to, so that `driver.cuMemAlloc(...)` is
// `driver.cuMemAlloc_v2(...)`.
StatusOr<std::shared_ptr<const Driver>> Driver::Open() {
  const char* const path = std::getenv("NEMOTRON_LIBCUDA");
  const std::string name = path != nullptr && *path != '\0' ? path : "libcuda.so.1";
  std::shared_ptr<Driver> driver(new Driver);
  driver->library_ = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (driver->library_ == nullptr) {
    return Error(StatusCode::kUnavailable, "there is no NVIDIA driver: {}", dlerror());
  }
#define NEMOTRON_CUDA_LOAD(name)                                                                                \
  driver->name = reinterpret_cast<decltype(driver->name)>(dlsym(driver->library_, NEMOTRON_CUDA_STRING(name))); \
  if (driver->name == nullptr) {                                                                                \
    return Error(StatusCode::kFailedPrecondition,                                                               \
                 "the NVIDIA driver has no function {}, expected one for CUDA 13 or later",                     \
                 NEMOTRON_CUDA_STRING(name));                                                                   \
  }
  NEMOTRON_CUDA_FUNCTIONS(NEMOTRON_CUDA_LOAD)
#undef NEMOTRON_CUDA_LOAD
  if (const CUresult result = driver->cuInit(0); result != CUDA_SUCCESS) {
    return Error(StatusCode::kUnavailable, "the NVIDIA driver does not start: {}",
                 driver->Check(result, "cuInit").message());
  }
  int version = 0;
  CUDA_RETURN_IF_ERROR(*driver, cuDriverGetVersion, &version);
  if (version < kMinDriverVersion) {
    return Error(StatusCode::kFailedPrecondition, "the NVIDIA driver is for CUDA {}.{}, expected 13.0 or later",
                 version / 1000, version % 1000 / 10);
  }
  int count = 0;
  CUDA_RETURN_IF_ERROR(*driver, cuDeviceGetCount, &count);
  if (count == 0) {
    return Error(StatusCode::kUnavailable, "there is no NVIDIA GPU");
  }
  return std::shared_ptr<const Driver>(std::move(driver));
}

Status Driver::Check(CUresult result, const char* call) const {
  if (result == CUDA_SUCCESS) {
    return OkStatus();
  }
  const char *name = nullptr, *text = nullptr;
  if (cuGetErrorName(result, &name) != CUDA_SUCCESS || cuGetErrorString(result, &text) != CUDA_SUCCESS) {
    return Error(StatusCode::kInternal, "{} failed with code {}", call, static_cast<int>(result));
  }
  const bool is_memory = result == CUDA_ERROR_OUT_OF_MEMORY;
  return Error(is_memory ? StatusCode::kResourceExhausted : StatusCode::kInternal, "{} failed: {} ({})", call, text,
               name);
}

}  // namespace nemotron::runtime::cuda
