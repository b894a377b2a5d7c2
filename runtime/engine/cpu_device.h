#ifndef RUNTIME_ENGINE_CPU_DEVICE_H_
#define RUNTIME_ENGINE_CPU_DEVICE_H_

#include <memory>
#include <string_view>

#include "runtime/cpu/thread_pool.h"
#include "runtime/engine/device.h"

namespace nemotron::runtime {

/// The host as a device: anonymous memory, the kernels of runtime/cpu, a thread pool that starts with the first
/// workspace.
class CpuDevice final : public Device {
 public:
  /// `num_threads` 0: the cores that this process may use.
  explicit CpuDevice(int num_threads, bool pin_threads = false)
      : num_threads_(num_threads > 0 ? num_threads : cpu::DefaultThreadCount()), pin_threads_(pin_threads) {}

  std::string_view name() const override { return "cpu"; }
  int num_threads() const override { return num_threads_; }
  StatusOr<int64_t> AvailableBytes() const override;
  StatusOr<DeviceMemory> Allocate(int64_t size_bytes) override;
  void Free(std::byte* data, int64_t size_bytes) override;
  Status Zero(std::byte* target, int64_t size_bytes) override;
  Status Copy(std::byte* target, const std::byte* source, int64_t size_bytes) override;
  Status CopyToHost(std::byte* target, const std::byte* source, int64_t size_bytes) override;
  Status CopyFromHost(std::byte* target, const std::byte* source, int64_t size_bytes) override;
  StatusOr<std::unique_ptr<DeviceProgram>> Prepare(const Plan& plan, const ProgramLimits& limits) override;

  /// Starts the threads, if they do not run yet. kResourceExhausted if the system gives none.
  StatusOr<cpu::ThreadPool*> StartThreads();

 private:
  int num_threads_;
  bool pin_threads_;
  std::unique_ptr<cpu::ThreadPool> pool_;
};

}  // namespace nemotron::runtime

#endif  // RUNTIME_ENGINE_CPU_DEVICE_H_
