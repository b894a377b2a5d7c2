#ifndef TOOLS_PTXSIM_SIM_LOADED_MODULE_H_
#define TOOLS_PTXSIM_SIM_LOADED_MODULE_H_

#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tools/ptxsim/sim/function.h"
#include "tools/ptxsim/sim/launch.h"

namespace nemotron::ptxsim {

/// What LoadModule returns and Launch takes.
class LoadedModuleImpl : public LoadedModule, public SymbolTable {
 public:
  LoadedModuleImpl(Module module, const GpuModel& gpu, GlobalMemory& memory);
  ~LoadedModuleImpl() override;

  /// Allocates variables and lays out frames; then `Decode` may be called.
  runtime::Status PlaceVariables();
  runtime::Status Decode();

  const Module& module() const override { return module_; }
  runtime::StatusOr<std::pair<DeviceAddress, int64_t>> FindVariable(const std::string& name) const override;
  runtime::StatusOr<int64_t> StaticSharedBytes(const std::string& entry) const override;
  runtime::StatusOr<int64_t> LocalBytes(const std::string& entry) const override;

  const Symbol* FindGlobal(const std::string& name) const override;
  int FindFunction(const std::string& name) const override;

  runtime::StatusOr<int> FindEntry(const std::string& name) const;
  const GpuModel& gpu() const { return gpu_; }
  const std::vector<std::unique_ptr<DecodedFunction>>& functions() const { return functions_; }

 private:
  const Module module_;
  const GpuModel gpu_;
  GlobalMemory& memory_;
  std::vector<DeviceAddress> allocations_;
  std::unordered_map<std::string, Symbol> symbols_;
  std::vector<FrameLayout> layouts_;
  std::vector<std::unique_ptr<DecodedFunction>> functions_;
};

}  // namespace nemotron::ptxsim

#endif  // TOOLS_PTXSIM_SIM_LOADED_MODULE_H_
