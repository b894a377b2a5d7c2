#include "runtime/engine/device.h"

#include <charconv>

#include "runtime/engine/cpu_device.h"
#include "runtime/engine/cuda_device.h"

namespace nemotron::runtime {
namespace {

/// N of "cuda:N", 0 of "cuda", -1 of other names.
int GpuOrdinal(std::string_view name) {
  if (name == "cuda") {
    return 0;
  }
  int ordinal = -1;
  if (name.starts_with("cuda:")) {
    name.remove_prefix(5);
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), ordinal);
    return error == std::errc() && end == name.data() + name.size() && ordinal >= 0 ? ordinal : -1;
  }
  return -1;
}

}  // namespace

Status CheckDeviceName(std::string_view name) {
  return name == "auto" || name == "cpu" || GpuOrdinal(name) >= 0
             ? OkStatus()
             : InvalidArgument("there is no device '{}', expected 'auto', 'cpu', 'cuda' or 'cuda:N'", name);
}

StatusOr<std::unique_ptr<Device>> CreateDevice(const std::string& name, std::string_view target, int num_threads,
                                               bool pin_threads) {
  RETURN_IF_ERROR(CheckDeviceName(name));
  const std::string_view device = name == "auto" ? target : std::string_view(name);
  if ((device == "cpu") != (target == "cpu")) {
    return InvalidArgument("the plan is for target {}, which device '{}' does not run; compile it with --target {}",
                           target, device, device == "cpu" ? "cpu" : "sm_90a or the like");
  }
  if (device == "cpu") {
    return std::unique_ptr<Device>(std::make_unique<CpuDevice>(num_threads, pin_threads));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<Device> gpu, CudaDevice::Open(GpuOrdinal(device)));
  return gpu;
}

}  // namespace nemotron::runtime
