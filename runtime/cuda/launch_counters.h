#ifndef RUNTIME_CUDA_LAUNCH_COUNTERS_H_
#define RUNTIME_CUDA_LAUNCH_COUNTERS_H_

#include <map>
#include <memory>
#include <string>

#include "runtime/cuda/driver.h"
#include "runtime/cuda/ptxsim.h"

namespace nemotron::runtime::cuda {

/// What the simulator counts while this is there; a GPU counts nothing.
class LaunchCounters {
 public:
  struct Kernel {
    int64_t launches = 0;
    PtxsimCounters counters = {};
  };

  /// Begins to count; null if the driver is not the simulator.
  static StatusOr<std::unique_ptr<LaunchCounters>> Start();
  ~LaunchCounters();
  LaunchCounters(const LaunchCounters&) = delete;
  LaunchCounters& operator=(const LaunchCounters&) = delete;

  /// By function, all launches since the last call.
  std::map<std::string, Kernel> Take();

 private:
  using SetCallback = void (*)(PtxsimLaunchCallback callback, void* user);
  LaunchCounters(std::shared_ptr<const Driver> driver, SetCallback set_callback);

  std::shared_ptr<const Driver> driver_;
  SetCallback set_callback_;
  std::map<std::string, Kernel> kernels_;
};

}  // namespace nemotron::runtime::cuda

#endif  // RUNTIME_CUDA_LAUNCH_COUNTERS_H_
