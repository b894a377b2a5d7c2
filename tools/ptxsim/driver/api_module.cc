// Modules, their functions and variables.

#include <cuda.h>

#include <charconv>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "tools/ptxsim/driver/driver.h"
#include "tools/ptxsim/ptx/parser.h"

namespace nemotron::ptxsim {
namespace {

constexpr std::pair<int, int> kPtxVersion = {9, 0};

/// What cuModuleLoadDataEx is asked to log.
class JitLog {
 public:
  /// Finds where to log. Options that only a compiler would heed are accepted.
  CUresult Parse(unsigned int num_options, CUjit_option* options, void** values) {
    if (num_options != 0 && (options == nullptr || values == nullptr)) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    for (unsigned int i = 0; i < num_options; ++i) {
      switch (options[i]) {
        case CU_JIT_ERROR_LOG_BUFFER:
          buffer_ = static_cast<char*>(values[i]);
          break;
        case CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES:
          size_ = &values[i];
          break;
        case CU_JIT_INFO_LOG_BUFFER:
          info_buffer_ = static_cast<char*>(values[i]);
          break;
        case CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES:
          info_size_ = &values[i];
          break;
        case CU_JIT_MAX_REGISTERS:
        case CU_JIT_THREADS_PER_BLOCK:
        case CU_JIT_OPTIMIZATION_LEVEL:
        case CU_JIT_TARGET_FROM_CUCONTEXT:
        case CU_JIT_FALLBACK_STRATEGY:
        case CU_JIT_GENERATE_DEBUG_INFO:
        case CU_JIT_LOG_VERBOSE:
        case CU_JIT_GENERATE_LINE_INFO:
        case CU_JIT_CACHE_MODE:
          break;
        default:
          return CUDA_ERROR_NOT_SUPPORTED;
      }
    }
    return CUDA_SUCCESS;
  }

  void Write(std::string_view message) {
    WriteTo(buffer_, size_, message);
    WriteTo(info_buffer_, info_size_, "");
  }

 private:
  /// The size is given and returned in the option's value itself.
  static void WriteTo(char* buffer, void** size, std::string_view message) {
    if (size == nullptr) {
      return;
    }
    const auto capacity = static_cast<unsigned int>(reinterpret_cast<uintptr_t>(*size));
    size_t length = 0;
    if (buffer != nullptr && capacity > 0) {
      length = std::min<size_t>(message.size(), capacity - 1);
      std::memcpy(buffer, message.data(), length);
      buffer[length] = '\0';
    }
    *size = reinterpret_cast<void*>(length);
  }

  char* buffer_ = nullptr;
  char* info_buffer_ = nullptr;
  void** size_ = nullptr;
  void** info_size_ = nullptr;
};

/// ELF, fat binaries with and without a wrapper, and LTO code; none of their magic numbers has a zero byte.
bool IsBinary(const char* image) {
  for (const char* magic : {"\x7f"
                            "ELF",
                            "\x50\xed\x55\xba", "\xb1\x43\x62\x46", "\xed\x43\x4e\x7f"}) {
    if (std::strncmp(image, magic, 4) == 0) {
      return true;
    }
  }
  return false;
}

/// "sm_90a": for 9.0 alone; "sm_100f": for 10.0 and later of 10; "sm_80": for 8.0 and all later.
bool RunsOn(std::string_view target, const DeviceModel& device) {
  target.remove_prefix(3);
  int number = 0;
  const auto [end, error] = std::from_chars(target.data(), target.data() + target.size(), number);
  const std::string_view suffix(end, target.data() + target.size() - end);
  const int capability = device.compute_major * 10 + device.compute_minor;
  if (error != std::errc()) {
    return false;
  }
  if (suffix == "a") {
    return number == capability;
  }
  if (suffix == "f") {
    return number / 10 == device.compute_major && number <= capability;
  }
  return suffix.empty() && number <= capability;
}

bool IsNewer(std::string_view version) {
  std::pair<int, int> parts = {0, 0};
  const size_t dot = version.find('.');
  std::from_chars(version.data(), version.data() + dot, parts.first);
  std::from_chars(version.data() + dot + 1, version.data() + version.size(), parts.second);
  return parts > kPtxVersion;
}

CUresult Load(Driver& driver, ContextState& context, CUmodule* handle, const char* image, std::string& log) {
  if (IsBinary(image)) {
    log = "the image is a binary; ptxsim runs PTX";
    return CUDA_ERROR_NO_BINARY_FOR_GPU;
  }
  auto module = ParsePtx(image);
  if (!module.ok()) {
    log = module.status().message();
    return CUDA_ERROR_INVALID_PTX;
  }
  if (IsNewer(module->version)) {
    log = "PTX of version " + module->version + ", at most 9.0 is known";
    return CUDA_ERROR_UNSUPPORTED_PTX_VERSION;
  }
  if (!RunsOn(module->target, driver.device())) {
    log = "target " + module->target + " does not run on " + std::string(driver.device().name);
    return CUDA_ERROR_NO_BINARY_FOR_GPU;
  }
  auto loaded = LoadModule(std::move(*module), driver.device().gpu(), driver.memory());
  if (!loaded.ok()) {
    log = loaded.status().message();
    return loaded.status().code() == runtime::StatusCode::kResourceExhausted ? CUDA_ERROR_OUT_OF_MEMORY
                                                                             : CUDA_ERROR_INVALID_PTX;
  }
  for (const Variable& variable : (*loaded)->module().variables) {
    if (const auto found = (*loaded)->FindVariable(variable.name); found.ok()) {
      driver.allocations[found->first] = {static_cast<size_t>(found->second), &context, /*is_variable=*/true};
    }
  }
  auto state = std::make_unique<ModuleState>();
  state->context = &context;
  state->loaded = std::move(*loaded);
  *handle = driver.modules.Add(std::move(state));
  return CUDA_SUCCESS;
}

}  // namespace
}  // namespace nemotron::ptxsim

using namespace nemotron::ptxsim;

extern "C" {

CUresult CUDAAPI cuModuleLoadDataEx(CUmodule* module, const void* image, unsigned int num_options,
                                    CUjit_option* options, void** values) {
  return InContext([&](Driver& driver, ContextState& context) {
    JitLog log;
    if (module == nullptr || image == nullptr) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    if (const CUresult result = log.Parse(num_options, options, values); result != CUDA_SUCCESS) {
      return result;
    }
    if (const CUresult result = CheckNoCapture(driver); result != CUDA_SUCCESS) {
      return result;
    }
    std::string message;
    const CUresult result = Load(driver, context, module, static_cast<const char*>(image), message);
    log.Write(message);
    return result;
  });
}

CUresult CUDAAPI cuModuleLoadData(CUmodule* module, const void* image) {
  return cuModuleLoadDataEx(module, image, 0, nullptr, nullptr);
}

CUresult CUDAAPI cuModuleUnload(CUmodule module) {
  return InContext([&](Driver& driver, ContextState&) {
    ModuleState* state = driver.modules.Find(module);
    if (state == nullptr) {
      return CUDA_ERROR_INVALID_HANDLE;
    }
    for (const auto& [name, function] : state->functions) {
      driver.functions.Remove(function);
    }
    for (const Variable& variable : state->loaded->module().variables) {
      if (const auto found = state->loaded->FindVariable(variable.name); found.ok()) {
        driver.allocations.erase(found->first);
      }
    }
    driver.modules.Remove(module);
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuModuleGetFunction(CUfunction* handle, CUmodule module, const char* name) {
  return InContext([&](Driver& driver, ContextState&) {
    ModuleState* state = driver.modules.Find(module);
    if (handle == nullptr || name == nullptr) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    if (state == nullptr) {
      return CUDA_ERROR_INVALID_HANDLE;
    }
    if (const auto known = state->functions.find(name); known != state->functions.end()) {
      *handle = known->second;
      return CUDA_SUCCESS;
    }
    const Function* function = state->loaded->module().Find(name);
    if (function == nullptr || !function->is_entry) {
      return CUDA_ERROR_NOT_FOUND;
    }
    const auto shared = state->loaded->StaticSharedBytes(name);
    const auto local = state->loaded->LocalBytes(name);
    if (!shared.ok() || !local.ok()) {
      return ToResult((shared.ok() ? local : shared).status());
    }
    const int64_t max_dynamic = std::max<int64_t>(0, kDefaultSharedBytes - *shared);
    *handle = driver.functions.Add(
        std::make_unique<FunctionState>(FunctionState{state, function, *shared, *local, max_dynamic}));
    state->functions.emplace(name, *handle);
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuModuleGetGlobal(CUdeviceptr* address, size_t* bytes, CUmodule module, const char* name) {
  return InContext([&](Driver& driver, ContextState&) {
    const ModuleState* state = driver.modules.Find(module);
    if (name == nullptr || (address == nullptr && bytes == nullptr)) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    if (state == nullptr) {
      return CUDA_ERROR_INVALID_HANDLE;
    }
    const auto found = state->loaded->FindVariable(name);
    if (!found.ok()) {
      return CUDA_ERROR_NOT_FOUND;
    }
    if (address != nullptr) {
      *address = found->first;
    }
    if (bytes != nullptr) {
      *bytes = static_cast<size_t>(found->second);
    }
    return CUDA_SUCCESS;
  });
}

}  // extern "C"
