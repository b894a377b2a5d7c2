#include "runtime/cuda/launch_counters.h"

#include <dlfcn.h>

#include <cstring>
#include <utility>

namespace nemotron::runtime::cuda {
namespace {

/// All members are 64-bit counts.
void Add(PtxsimCounters& to, const PtxsimCounters& from) {
  constexpr size_t kCount = sizeof(PtxsimCounters) / sizeof(uint64_t);
  uint64_t sums[kCount], terms[kCount];
  std::memcpy(sums, &to, sizeof(to));
  std::memcpy(terms, &from, sizeof(from));
  for (size_t i = 0; i < kCount; ++i) {
    sums[i] += terms[i];
  }
  std::memcpy(&to, sums, sizeof(to));
}

}  // namespace

StatusOr<std::unique_ptr<LaunchCounters>> LaunchCounters::Start() {
  ASSIGN_OR_RETURN(std::shared_ptr<const Driver> driver, Driver::Open());
  const auto set_callback = reinterpret_cast<SetCallback>(dlsym(driver->library(), "ptxsimSetLaunchCallback"));
  if (set_callback == nullptr) {
    return std::unique_ptr<LaunchCounters>();
  }
  return std::unique_ptr<LaunchCounters>(new LaunchCounters(std::move(driver), set_callback));
}

LaunchCounters::LaunchCounters(std::shared_ptr<const Driver> driver, SetCallback set_callback)
    : driver_(std::move(driver)), set_callback_(set_callback) {
  set_callback_(
      [](void* user, const char* kernel, const uint32_t*, const uint32_t*, const PtxsimCounters* counters) {
        Kernel& entry = static_cast<LaunchCounters*>(user)->kernels_[kernel];
        ++entry.launches;
        Add(entry.counters, *counters);
      },
      this);
}

LaunchCounters::~LaunchCounters() { set_callback_(nullptr, nullptr); }

std::map<std::string, LaunchCounters::Kernel> LaunchCounters::Take() { return std::exchange(kernels_, {}); }

}  // namespace nemotron::runtime::cuda
