#ifndef TOOLS_INSPECT_KERNELS_H_
#define TOOLS_INSPECT_KERNELS_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "runtime/plan/cubin.h"
#include "runtime/plan/occupancy.h"
#include "runtime/plan/plan.h"

namespace nemotron::tools {

/// A launch of a kernel, as one of the kernel's cubins has it.
struct LaunchReport {
  std::string kernel;
  std::string architecture;  ///< "sm_90a"
  runtime::CubinFunction function;
  int64_t block_threads = 0;
  int64_t dynamic_shared_bytes = 0;             ///< a block, beside `function.shared_bytes`
  std::optional<runtime::Occupancy> occupancy;  ///< nothing for a compute capability whose limits we do not know
};

/// What the launches of all kernels of a plan for target "cuda" take, by kernel, launch and architecture; those in PTX,
/// which have no machine code yet, are left out. Errors: kInvalidArgument for a plan for another target, kDataLoss and
/// kUnimplemented from an image, naming the kernel and the image.
runtime::StatusOr<std::vector<LaunchReport>> InspectKernels(const runtime::Plan& plan);

/// A table for each kernel, with a legend.
void PrintKernels(const std::vector<LaunchReport>& launches);

nlohmann::json KernelsJson(const std::vector<LaunchReport>& launches);

}  // namespace nemotron::tools

#endif  // TOOLS_INSPECT_KERNELS_H_
