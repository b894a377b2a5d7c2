#ifndef TOOLS_PTXSIM_SIM_LAUNCH_H_
#define TOOLS_PTXSIM_SIM_LAUNCH_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "runtime/base/status.h"
#include "tools/ptxsim/ptx/module.h"
#include "tools/ptxsim/sim/memory.h"
#include "tools/ptxsim/sim/report.h"

namespace nemotron::ptxsim {

/// What of the chosen GPU a kernel can notice.
struct GpuModel {
  int compute_major = 9, compute_minor = 0;
  int num_sms = 132;
  int64_t max_shared_bytes_per_block = 227 * 1024;  ///< after opting in
  int64_t max_threads_per_block = 1024;
};

/// Which checks run; counters are always kept. All by default; without races and uninitialised reads launches are about
/// twice as fast.
struct Checks {
  bool uninitialized = true;
  bool races = true;
  /// A block that has run this many instructions (of warps) is taken to loop for ever: a finding.
  uint64_t max_steps_per_block = uint64_t{1} << 33;
};

/// A module that is decoded and whose global and const variables lie in device memory.
class LoadedModule {
 public:
  virtual ~LoadedModule() = default;
  virtual const Module& module() const = 0;
  /// Address and size of a global or const variable. kNotFound.
  virtual runtime::StatusOr<std::pair<DeviceAddress, int64_t>> FindVariable(const std::string& name) const = 0;
  /// Bytes of static shared memory of an entry, and of local memory a thread. kNotFound.
  virtual runtime::StatusOr<int64_t> StaticSharedBytes(const std::string& entry) const = 0;
  virtual runtime::StatusOr<int64_t> LocalBytes(const std::string& entry) const = 0;
};

/// Decodes all functions. An instruction or modifier that the simulator lacks is kUnimplemented: "line N: ...", quoting
/// it. `memory` must outlive the module.
runtime::StatusOr<std::unique_ptr<LoadedModule>> LoadModule(Module module, const GpuModel& gpu, GlobalMemory& memory);

struct LaunchConfig {
  std::array<uint32_t, 3> grid, block;
  int64_t dynamic_shared_bytes = 0;
  std::span<const std::byte> parameters;  ///< the parameter buffer of the entry, as large as its `parameter_bytes`
};

/// Runs a grid to its end, blocks side by side on the cores of the host, and returns what it did and what was found. A
/// finding ends the block it is found in. Results do not depend on the number of cores, except through races.
/// kInvalidArgument for a config that no GPU would take (sizes, shared memory, missing entry).
runtime::StatusOr<LaunchReport> Launch(const LoadedModule& module, const std::string& entry, const LaunchConfig& config,
                                       const Checks& checks, GlobalMemory& memory);

}  // namespace nemotron::ptxsim

#endif  // TOOLS_PTXSIM_SIM_LAUNCH_H_
