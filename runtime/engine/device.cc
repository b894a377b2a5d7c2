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

StatusOr<std::unique_ptr<Device>> CreateDevice(const std::string& name, const schema::Plan& plan, int num_threads,
                                               bool pin_threads, std::string* note) {
  RETURN_IF_ERROR(CheckDeviceName(name));
  const std::string_view target = plan.target()->string_view();
  const bool runs_on_gpu = target == "cuda", runs_on_cpu = !runs_on_gpu || plan.on_cpu() != nullptr;
  const bool any = name == "auto", is_cpu = name == "cpu";
  if (!any && !(is_cpu ? runs_on_cpu : runs_on_gpu)) {
    return InvalidArgument("the plan is for target {}, which device '{}' does not run; compile it with --target {}",
                           target, name, is_cpu ? "cpu" : "sm_90a or the like");
  }
  if (runs_on_gpu && !is_cpu) {
    StatusOr<std::unique_ptr<Device>> gpu = CudaDevice::Open(any ? 0 : GpuOrdinal(name));
    if (gpu.ok() || !any || gpu.status().code() != StatusCode::kUnavailable) {
      return gpu;
    }
    if (!runs_on_cpu) {
      return std::move(gpu).status().WithContext("compile the plan with --target cpu to run it on the CPU");
    }
    *note = fmt::format("no GPU, running on the CPU: {}", gpu.status().message());
  }
  return std::unique_ptr<Device>(std::make_unique<CpuDevice>(num_threads, pin_threads));
}

}  // namespace nemotron::runtime
