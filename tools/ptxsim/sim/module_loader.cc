#include <cstring>
#include <unordered_map>

#include "tools/ptxsim/sim/address_space.h"
#include "tools/ptxsim/sim/function.h"
#include "tools/ptxsim/sim/launch.h"
#include "tools/ptxsim/sim/loaded_module.h"

namespace nemotron::ptxsim {
namespace {

using runtime::Status;
using runtime::StatusCode;
using runtime::StatusOr;

bool HostCanRunHandlers() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
#else
  return true;
#endif
}

}  // namespace

LoadedModuleImpl::LoadedModuleImpl(Module module, const GpuModel& gpu, GlobalMemory& memory)
    : module_(std::move(module)), gpu_(gpu), memory_(memory) {}

LoadedModuleImpl::~LoadedModuleImpl() {
  for (const DeviceAddress address : allocations_) {
    // It is ours, and was not freed: cannot fail.
    static_cast<void>(memory_.Free(address));
  }
}

Status LoadedModuleImpl::PlaceVariables() {
  int64_t shared_end = 0;
  for (const Variable& variable : module_.variables) {
    if (variable.space == Space::kShared) {
      uint64_t address = 0;
      if (variable.size_bytes > 0) {
        shared_end = (shared_end + variable.align_bytes - 1) / variable.align_bytes * variable.align_bytes;
        address = static_cast<uint64_t>(shared_end);
        shared_end += variable.size_bytes;
      }
      symbols_[variable.name] = {variable.space, address, variable.size_bytes};
      continue;
    }
    if (variable.is_extern) {
      return runtime::Unimplemented("variable '{}' is defined in another module, and the simulator does not link",
                                    variable.name);
    }
    if (variable.size_bytes == 0) {
      continue;
    }
    ASSIGN_OR_RETURN(const DeviceAddress address, memory_.Allocate(variable.size_bytes));
    allocations_.push_back(address);
    symbols_[variable.name] = {variable.space, address, variable.size_bytes};
    RETURN_IF_ERROR(memory_.Fill(address, 0, 1, variable.size_bytes));
    RETURN_IF_ERROR(
        memory_.CopyFromHost(address, variable.initializer.data(), static_cast<int64_t>(variable.initializer.size())));
  }
  // Functions that entries call have their shared variables where all entries agree; those of entries come after.
  for (const bool entries : {false, true}) {
    const int64_t begin = shared_end;
    layouts_.resize(module_.functions.size());
    for (size_t i = 0; i < module_.functions.size(); ++i) {
      if (module_.functions[i].is_entry == entries) {
        layouts_[i] = LayOutFrame(module_.functions[i], entries ? begin : shared_end);
        shared_end = entries ? shared_end : layouts_[i].shared_bytes;
      }
    }
  }
  return runtime::OkStatus();
}

Status LoadedModuleImpl::Decode() {
  const DecodeContext context = {&module_, &layouts_, this, &gpu_};
  for (size_t i = 0; i < module_.functions.size(); ++i) {
    ASSIGN_OR_RETURN(auto function, DecodeFunction(context, i));
    functions_.push_back(std::move(function));
  }
  return runtime::OkStatus();
}

const Symbol* LoadedModuleImpl::FindGlobal(const std::string& name) const {
  const auto found = symbols_.find(name);
  return found == symbols_.end() ? nullptr : &found->second;
}

int LoadedModuleImpl::FindFunction(const std::string& name) const {
  for (size_t i = 0; i < module_.functions.size(); ++i) {
    if (module_.functions[i].name == name) {
      return static_cast<int>(i);
    }
  }
  return -1;
}

StatusOr<std::pair<DeviceAddress, int64_t>> LoadedModuleImpl::FindVariable(const std::string& name) const {
  const Symbol* symbol = FindGlobal(name);
  if (!symbol || symbol->space == Space::kShared) {
    return runtime::Error(StatusCode::kNotFound, "no global or const variable '{}' in the module", name);
  }
  return std::pair(symbol->address, symbol->size_bytes);
}

StatusOr<int> LoadedModuleImpl::FindEntry(const std::string& name) const {
  const int index = FindFunction(name);
  if (index < 0 || !module_.functions[static_cast<size_t>(index)].is_entry) {
    return runtime::Error(StatusCode::kNotFound, "no entry '{}' in the module", name);
  }
  return index;
}

StatusOr<int64_t> LoadedModuleImpl::StaticSharedBytes(const std::string& entry) const {
  ASSIGN_OR_RETURN(const int index, FindEntry(entry));
  return layouts_[static_cast<size_t>(index)].shared_bytes;
}

StatusOr<int64_t> LoadedModuleImpl::LocalBytes(const std::string& entry) const {
  ASSIGN_OR_RETURN(const int index, FindEntry(entry));
  return layouts_[static_cast<size_t>(index)].local_bytes;
}

StatusOr<std::unique_ptr<LoadedModule>> LoadModule(Module module, const GpuModel& gpu, GlobalMemory& memory) {
  if (!HostCanRunHandlers()) {
    return runtime::Error(StatusCode::kUnavailable, "the simulator needs a CPU with AVX2, FMA and BMI2");
  }
  auto loaded = std::make_unique<LoadedModuleImpl>(std::move(module), gpu, memory);
  RETURN_IF_ERROR(loaded->PlaceVariables());
  RETURN_IF_ERROR(loaded->Decode());
  return std::unique_ptr<LoadedModule>(std::move(loaded));
}

}  // namespace nemotron::ptxsim
