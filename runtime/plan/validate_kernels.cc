#include <string>
#include <string_view>
#include <unordered_set>

#include "runtime/plan/grid_expression.h"
#include "runtime/plan/validate.h"

namespace nemotron::runtime {
namespace {

constexpr uint32_t kMaxLaunches = 16;
constexpr uint32_t kMaxImages = 64;
constexpr uint32_t kMaxLaunchArguments = 64;
constexpr uint32_t kMaxBlockThreads = 1024;
constexpr uint32_t kMaxSharedBytes = 228 * 1024;  // of a multiprocessor of compute capability 9.0
constexpr uint32_t kWarp = 32;

Status CheckLaunch(const std::string& what, const schema::Launch& launch) {
  RETURN_IF_ERROR(ValidateName(what + " function", launch.function()->string_view()));
  for (const flatbuffers::String* grid : {launch.grid_x(), launch.grid_y(), launch.grid_z()}) {
    const StatusOr<GridExpression> parsed = GridExpression::Parse(grid->string_view());
    if (!parsed.ok()) {
      return DataLoss("{}: {}", what, parsed.status().message());
    }
  }
  if (launch.block_threads() < kWarp || launch.block_threads() > kMaxBlockThreads ||
      launch.block_threads() % kWarp != 0) {
    return DataLoss("{} has blocks of {} threads, expected a multiple of {} up to {}", what, launch.block_threads(),
                    kWarp, kMaxBlockThreads);
  }
  if (launch.shared_bytes() > kMaxSharedBytes) {
    return DataLoss("{} takes {} bytes of shared memory, expected at most {}", what, launch.shared_bytes(),
                    kMaxSharedBytes);
  }
  if (launch.arguments()->size() > kMaxLaunchArguments) {
    return DataLoss("{} has {} arguments, expected at most {}", what, launch.arguments()->size(), kMaxLaunchArguments);
  }
  for (uint32_t i = 0; i < launch.arguments()->size(); ++i) {
    const schema::LaunchArgument& argument = *launch.arguments()->Get(i);
    RETURN_IF_ERROR(
        ValidateEnum(fmt::format("{} argument {} source", what, i), static_cast<int>(argument.source()), 7));
    if (argument.source() < schema::LaunchSource::Step) {
      const bool has_name = argument.name() != nullptr;
      RETURN_IF_ERROR(ValidateName(fmt::format("{} argument {} name", what, i),
                                   has_name ? argument.name()->string_view() : std::string_view()));
    }
  }
  return OkStatus();
}

Status CheckCompiled(const std::string& what, const schema::Kernel& kernel, uint64_t metadata_offset) {
  const uint32_t launches = kernel.launches() != nullptr ? kernel.launches()->size() : 0;
  const uint32_t images = kernel.images() != nullptr ? kernel.images()->size() : 0;
  if (launches == 0 || launches > kMaxLaunches || images == 0 || images > kMaxImages) {
    return DataLoss("{} has {} launches and {} images, expected 1 to {} and 1 to {}", what, launches, images,
                    kMaxLaunches, kMaxImages);
  }
  if (kernel.scratch() != nullptr) {
    const StatusOr<GridExpression> parsed = GridExpression::Parse(kernel.scratch()->string_view());
    if (!parsed.ok()) {
      return DataLoss("{} scratch: {}", what, parsed.status().message());
    }
  }
  for (uint32_t i = 0; i < launches; ++i) {
    RETURN_IF_ERROR(CheckLaunch(fmt::format("{} launch {}", what, i), *kernel.launches()->Get(i)));
  }
  for (uint32_t i = 0; i < images; ++i) {
    const schema::Image& image = *kernel.images()->Get(i);
    const std::string name = fmt::format("{} image {}", what, i);
    RETURN_IF_ERROR(ValidateName(name + " architecture", image.architecture()->string_view()));
    RETURN_IF_ERROR(ValidateEnum(name + " kind", static_cast<int>(image.kind()), 2));
    RETURN_IF_ERROR(ValidateSegment(name, *image.data(), metadata_offset));
  }
  return OkStatus();
}

}  // namespace

Status ValidateKernels(const PlanProgram& of, uint64_t metadata_offset) {
  const schema::Program& program = of.program;
  if (program.kernels()->size() > kMaxKernels) {
    return DataLoss("program has {} kernels, expected at most {}", program.kernels()->size(), kMaxKernels);
  }
  const bool are_compiled = of.target == "cuda";
  std::unordered_set<std::string_view> names;
  for (uint32_t i = 0; i < program.kernels()->size(); ++i) {
    const schema::Kernel& kernel = *program.kernels()->Get(i);
    const std::string_view name = kernel.name()->string_view();
    RETURN_IF_ERROR(ValidateName(fmt::format("program.kernels[{}].name", i), name));
    const std::string what = fmt::format("program.kernels[{}] '{}'", i, name);
    if (!names.insert(name).second) {
      return DataLoss("{} has the name of an earlier kernel", what);
    }
    if (are_compiled) {
      RETURN_IF_ERROR(CheckCompiled(what, kernel, metadata_offset));
    } else if (kernel.launches() != nullptr || kernel.images() != nullptr || kernel.scratch() != nullptr) {
      return DataLoss("{} has launches or images, but the program is for target '{}'", what, of.target);
    }
  }
  return OkStatus();
}

}  // namespace nemotron::runtime
