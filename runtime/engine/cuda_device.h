#ifndef RUNTIME_ENGINE_CUDA_DEVICE_H_
#define RUNTIME_ENGINE_CUDA_DEVICE_H_

#include <memory>
#include <string_view>

#include "runtime/cuda/gpu.h"
#include "runtime/engine/device.h"

namespace nemotron::runtime {

/// An NVIDIA GPU, through the driver API; all work goes through one stream. Calls come from one thread at a time.
class CudaDevice final : public Device {
 public:
  /// Errors are those of cuda::Gpu::Open.
  static StatusOr<std::unique_ptr<Device>> Open(int ordinal);

  std::string_view name() const override { return "cuda"; }
  int num_threads() const override { return 1; }
  StatusOr<int64_t> AvailableBytes() const override;
  StatusOr<DeviceMemory> Allocate(int64_t size_bytes) override;
  void Free(std::byte* data, int64_t size_bytes) override;
  Status Zero(std::byte* target, int64_t size_bytes) override;
  Status Copy(std::byte* target, const std::byte* source, int64_t size_bytes) override;
  Status CopyToHost(std::byte* target, const std::byte* source, int64_t size_bytes) override;
  Status CopyFromHost(std::byte* target, const std::byte* source, int64_t size_bytes) override;
  StatusOr<std::unique_ptr<DeviceProgram>> Prepare(const Plan& plan, const ProgramLimits& limits) override;

  cuda::Gpu& gpu() const { return *gpu_; }

 private:
  explicit CudaDevice(std::unique_ptr<cuda::Gpu> gpu) : gpu_(std::move(gpu)) {}
  std::unique_ptr<cuda::Gpu> gpu_;
};

}  // namespace nemotron::runtime

#endif  // RUNTIME_ENGINE_CUDA_DEVICE_H_
