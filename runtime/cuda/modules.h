#ifndef RUNTIME_CUDA_MODULES_H_
#define RUNTIME_CUDA_MODULES_H_

#include <map>
#include <string>
#include <vector>

#include "runtime/cuda/gpu.h"
#include "runtime/plan/plan.h"

namespace nemotron::runtime::cuda {

/// The kernels of a plan, loaded on a GPU.
class Modules {
 public:
  /// Loads each kernel's image for the GPU: a cubin of its architecture ("sm_90a" or "sm_90" for compute
  /// capability 9.0), else one of the same major and a lower minor number, else PTX of the highest architecture that
  /// the GPU can run, which the driver compiles. kUnimplemented names the kernel, the GPU and the architectures that
  /// the plan has; kInternal holds the driver's log.
  static StatusOr<Modules> Load(Gpu* gpu, const Plan& plan);
  Modules(Modules&& other) noexcept;
  Modules& operator=(Modules&& other) noexcept;
  ~Modules();

  /// Function `launch` of kernel `kernel`.
  CUfunction function(uint32_t kernel, uint32_t launch) const { return kernels_[kernel].functions[launch]; }
  /// Which image was taken, e.g. "sm_90a cubin".
  const std::string& image(uint32_t kernel) const { return kernels_[kernel].image; }

 private:
  struct Kernel {
    CUmodule module = nullptr;
    std::string image;
    std::vector<CUfunction> functions;
  };
  explicit Modules(Gpu* gpu) : gpu_(gpu) {}
  Status LoadKernel(const Plan& plan, const schema::Kernel& kernel);
  /// False if the driver has no use for the image.
  StatusOr<bool> TryImage(const Plan& plan, const schema::Image& image, CUmodule* module);

  Gpu* gpu_ = nullptr;
  std::vector<Kernel> kernels_;
};

}  // namespace nemotron::runtime::cuda

#endif  // RUNTIME_CUDA_MODULES_H_
