#include "runtime/cuda/gpu.h"

#include <algorithm>
#include <cstring>

namespace nemotron::runtime::cuda {
namespace {

/// Large enough that a copy is bound by the bus (25 GB/s and more), small enough to be pinned at once.
constexpr int64_t kStagingBytes = int64_t{16} << 20;

}  // namespace

StatusOr<std::unique_ptr<Gpu>> Gpu::Open(int ordinal) {
  std::unique_ptr<Gpu> gpu(new Gpu);
  RETURN_IF_ERROR(gpu->Init(ordinal));
  return gpu;
}

Status Gpu::Init(int ordinal) {
  ASSIGN_OR_RETURN(driver_, Driver::Open());
  int count = 0;
  CUDA_RETURN_IF_ERROR(*driver_, cuDeviceGetCount, &count);
  if (ordinal < 0 || ordinal >= count) {
    return InvalidArgument("there is no GPU {}, expected 0 to {}", ordinal, count - 1);
  }
  CUDA_RETURN_IF_ERROR(*driver_, cuDeviceGet, &device_, ordinal);
  char name[256] = {};
  CUDA_RETURN_IF_ERROR(*driver_, cuDeviceGetName, name, sizeof(name), device_);
  name_ = name;
  CUDA_RETURN_IF_ERROR(*driver_, cuDeviceGetAttribute, &compute_major_, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                       device_);
  CUDA_RETURN_IF_ERROR(*driver_, cuDeviceGetAttribute, &compute_minor_, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
                       device_);
  CUDA_RETURN_IF_ERROR(*driver_, cuDevicePrimaryCtxRetain, &context_, device_);
  RETURN_IF_ERROR(Enter());
  CUDA_RETURN_IF_ERROR(*driver_, cuStreamCreate, &stream_, CU_STREAM_NON_BLOCKING);
  return OkStatus();
}

Gpu::~Gpu() {
  if (context_ == nullptr) {
    return;
  }
  (void)driver_->cuCtxSetCurrent(context_);
  for (Staging& staging : staging_) {
    if (staging.sent != nullptr) {
      (void)driver_->cuEventDestroy(staging.sent);
    }
    if (staging.host != nullptr) {
      (void)driver_->cuMemFreeHost(staging.host);
    }
  }
  if (stream_ != nullptr) {
    (void)driver_->cuStreamDestroy(stream_);
  }
  (void)driver_->cuDevicePrimaryCtxRelease(device_);
}

Status Gpu::Enter() const {
  CUDA_RETURN_IF_ERROR(*driver_, cuCtxSetCurrent, context_);
  return OkStatus();
}

StatusOr<int64_t> Gpu::FreeBytes() const {
  size_t free_bytes = 0, total = 0;
  CUDA_RETURN_IF_ERROR(*driver_, cuMemGetInfo, &free_bytes, &total);
  return static_cast<int64_t>(free_bytes);
}

Status Gpu::Synchronize() const {
  CUDA_RETURN_IF_ERROR(*driver_, cuStreamSynchronize, stream_);
  return OkStatus();
}

Status Gpu::Stream(CUdeviceptr device, std::span<const std::byte> host, const std::function<void(int64_t)>& progress) {
  while (!host.empty()) {
    Staging& staging = staging_[next_staging_];
    next_staging_ = 1 - next_staging_;
    if (staging.host == nullptr) {
      CUDA_RETURN_IF_ERROR(*driver_, cuMemAllocHost, &staging.host, kStagingBytes);
      CUDA_RETURN_IF_ERROR(*driver_, cuEventCreate, &staging.sent, CU_EVENT_DISABLE_TIMING);
    } else {
      CUDA_RETURN_IF_ERROR(*driver_, cuEventSynchronize, staging.sent);
    }
    const size_t bytes = std::min(host.size(), static_cast<size_t>(kStagingBytes));
    std::memcpy(staging.host, host.data(), bytes);  // reads the file, where it was not in memory
    CUDA_RETURN_IF_ERROR(*driver_, cuMemcpyHtoDAsync, device, staging.host, bytes, stream_);
    CUDA_RETURN_IF_ERROR(*driver_, cuEventRecord, staging.sent, stream_);
    progress(static_cast<int64_t>(bytes));
    device += bytes;
    host = host.subspan(bytes);
  }
  return OkStatus();
}

}  // namespace nemotron::runtime::cuda
