#ifndef RUNTIME_CUDA_GPU_H_
#define RUNTIME_CUDA_GPU_H_

#include <functional>
#include <memory>
#include <span>
#include <string>

#include "runtime/cuda/driver.h"

namespace nemotron::runtime::cuda {

/// A GPU with the context and the one stream that all work of the runtime goes through. Calls come from one thread at a
/// time; any thread may make them.
class Gpu {
 public:
  /// The device of this ordinal, as the driver numbers them (CUDA_VISIBLE_DEVICES). Errors of `Driver::Open`, and
  /// kInvalidArgument if there are fewer.
  static StatusOr<std::unique_ptr<Gpu>> Open(int ordinal);
  ~Gpu();
  Gpu(const Gpu&) = delete;
  Gpu& operator=(const Gpu&) = delete;

  const Driver& driver() const { return *driver_; }
  CUstream stream() const { return stream_; }
  const std::string& name() const { return name_; }
  int compute_major() const { return compute_major_; }
  int compute_minor() const { return compute_minor_; }

  /// Makes the context that of this thread; before any other call on a thread that was not the last to make one.
  Status Enter() const;
  StatusOr<int64_t> FreeBytes() const;
  Status Synchronize() const;

  /// Reads `host` and writes it to `device` through two pinned buffers, so that pages are read while others are on
  /// their way. Calls `progress` with the bytes that were sent since the last call. For weights, which are mapped
  /// files.
  Status Stream(CUdeviceptr device, std::span<const std::byte> host, const std::function<void(int64_t)>& progress);

 private:
  Gpu() = default;
  Status Init(int ordinal);

  /// Half of what streaming needs.
  struct Staging {
    void* host = nullptr;
    CUevent sent = nullptr;
  };

  std::shared_ptr<const Driver> driver_;
  CUdevice device_ = 0;
  CUcontext context_ = nullptr;
  CUstream stream_ = nullptr;
  std::string name_;
  int compute_major_ = 0, compute_minor_ = 0;
  Staging staging_[2];
  int next_staging_ = 0;
};

}  // namespace nemotron::runtime::cuda

#endif  // RUNTIME_CUDA_GPU_H_
