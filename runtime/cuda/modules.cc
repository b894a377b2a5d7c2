#include "runtime/cuda/modules.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>
#include <utility>

namespace nemotron::runtime::cuda {
namespace {

constexpr size_t kLogBytes = 8192;

/// "sm_90a": 9.0, features of this chip alone.
struct Architecture {
  int major, minor;
  bool is_specific;
};

std::optional<Architecture> ParseArchitecture(std::string_view name) {
  if (!name.starts_with("sm_")) {
    return std::nullopt;
  }
  name.remove_prefix(3);
  const bool is_specific = name.ends_with('a');
  name.remove_suffix(is_specific ? 1 : 0);
  int number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc() || end != name.data() + name.size() || number < 10 || number > 9999) {
    return std::nullopt;
  }
  return Architecture{number / 10, number % 10, is_specific};
}

/// How well an image suits a GPU: above 0 if it does, and the higher the better. Cubins run on their major version from
/// their minor one on, PTX on all later GPUs; what was made for one chip runs on that one alone (PTX ISA,
/// section 11.1.2).
int Suitability(const schema::Image& image, int major, int minor) {
  const std::optional<Architecture> made = ParseArchitecture(image.architecture()->string_view());
  if (!made.has_value()) {
    return 0;
  }
  const int number = 10 * made->major + made->minor, own = 10 * major + minor;
  const bool is_cubin = image.kind() == schema::ImageKind::Cubin;
  const bool runs = made->is_specific ? number == own
                    : is_cubin        ? made->major == major && made->minor <= minor
                                      : number <= own;
  return runs ? (is_cubin ? 100000 : 0) + 2 * number + (made->is_specific ? 1 : 0) : 0;
}

}  // namespace

StatusOr<Modules> Modules::Load(Gpu* gpu, const Plan& plan) {
  Modules modules(gpu);
  for (const schema::Kernel* kernel : *plan.root().program()->kernels()) {
    Status status = modules.LoadKernel(plan, *kernel);
    if (!status.ok()) {
      return std::move(status).WithContext(fmt::format("while loading kernel '{}'", kernel->name()->string_view()));
    }
  }
  return modules;
}

Modules::Modules(Modules&& other) noexcept { *this = std::move(other); }

Modules& Modules::operator=(Modules&& other) noexcept {
  std::swap(gpu_, other.gpu_);
  std::swap(kernels_, other.kernels_);
  return *this;
}

Modules::~Modules() {
  if (gpu_ == nullptr || !gpu_->Enter().ok()) {
    return;
  }
  for (const Kernel& kernel : kernels_) {
    if (kernel.module != nullptr) {
      (void)gpu_->driver().cuModuleUnload(kernel.module);
    }
  }
}

Status Modules::LoadKernel(const Plan& plan, const schema::Kernel& kernel) {
  std::vector<std::pair<int, const schema::Image*>> images;
  std::set<std::string> architectures;
  for (const schema::Image* image : *kernel.images()) {
    architectures.insert(image->architecture()->str());
    if (const int rank = Suitability(*image, gpu_->compute_major(), gpu_->compute_minor()); rank > 0) {
      images.emplace_back(rank, image);
    }
  }
  std::sort(images.begin(), images.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  kernels_.emplace_back();
  Kernel& loaded = kernels_.back();
  for (const auto& [rank, image] : images) {
    ASSIGN_OR_RETURN(const bool is_loaded, TryImage(plan, *image, &loaded.module));
    if (is_loaded) {
      loaded.image = fmt::format("{} {}", image->architecture()->string_view(),
                                 image->kind() == schema::ImageKind::Cubin ? "cubin" : "PTX");
      break;
    }
  }
  if (loaded.module == nullptr) {
    return Unimplemented(
        "{} has compute capability {}.{}, but the plan was compiled for {}; compile it with --target sm_{}{}",
        gpu_->name(), gpu_->compute_major(), gpu_->compute_minor(), fmt::join(architectures, ", "),
        gpu_->compute_major(), gpu_->compute_minor());
  }
  const Driver& driver = gpu_->driver();
  for (const schema::Launch* launch : *kernel.launches()) {
    CUfunction function = nullptr;
    if (driver.cuModuleGetFunction(&function, loaded.module, launch->function()->c_str()) != CUDA_SUCCESS) {
      return DataLoss("its image for {} has no function '{}'", loaded.image, launch->function()->string_view());
    }
    if (launch->shared_bytes() > 0) {
      CUDA_RETURN_IF_ERROR(driver, cuFuncSetAttribute, function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                           static_cast<int>(launch->shared_bytes()));
    }
    loaded.functions.push_back(function);
  }
  return OkStatus();
}

StatusOr<bool> Modules::TryImage(const Plan& plan, const schema::Image& image, CUmodule* module) {
  const std::span<const std::byte> bytes = plan.SegmentBytes(*image.data());
  // The driver reads a cubin by its own header, and PTX up to a null byte: the copy ends in one.
  std::string copy(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  std::string log(kLogBytes, '\0');
  CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
  void* values[] = {log.data(), reinterpret_cast<void*>(kLogBytes)};
  const CUresult result = gpu_->driver().cuModuleLoadDataEx(module, copy.c_str(), std::size(options), options, values);
  if (result == CUDA_ERROR_NO_BINARY_FOR_GPU || result == CUDA_ERROR_UNSUPPORTED_PTX_VERSION) {
    *module = nullptr;
    return false;
  }
  Status status = gpu_->driver().Check(result, "cuModuleLoadDataEx");
  if (!status.ok()) {
    return log[0] == '\0' ? std::move(status) : std::move(status).WithContext(log.c_str());
  }
  return true;
}

}  // namespace nemotron::runtime::cuda
