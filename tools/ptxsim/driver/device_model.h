#ifndef TOOLS_PTXSIM_DRIVER_DEVICE_MODEL_H_
#define TOOLS_PTXSIM_DRIVER_DEVICE_MODEL_H_

#include <cstdint>
#include <span>
#include <string_view>

#include "runtime/base/status.h"
#include "tools/ptxsim/sim/launch.h"

namespace nemotron::ptxsim {

/// Figures of a GPU that the driver reports, and that limit launches and allocations.
struct DeviceModel {
  std::string_view key;   ///< what PTXSIM_DEVICE calls it
  std::string_view name;  ///< what cuDeviceGetName says
  int compute_major, compute_minor;
  int num_sms;
  int max_threads_per_sm;
  int max_blocks_per_sm;
  int64_t shared_bytes_per_block;  ///< after opting in
  int64_t shared_bytes_per_sm;
  int64_t memory_bytes;
  int64_t l2_bytes;
  int clock_khz;         ///< boost
  int memory_clock_khz;  ///< of two transfers each
  int bus_bits;

  GpuModel gpu() const;
};

inline constexpr int kWarpSize = 32;
inline constexpr int kMaxThreadsPerBlock = 1024;
inline constexpr int kRegistersPerSm = 65536;
inline constexpr int64_t kDefaultSharedBytes = 48 * 1024;  ///< of a block, without opting in
inline constexpr int64_t kReservedSharedBytes = 1024;      ///< of a block, by the driver
inline constexpr int64_t kConstantBytes = 64 * 1024;

std::span<const DeviceModel> DeviceModels();

/// The device, memory and checks that the environment asks for.
struct DeviceOptions {
  const DeviceModel* model = nullptr;
  int64_t memory_bytes = 0;
  Checks checks;
};

/// From PTXSIM_DEVICE, PTXSIM_MEMORY_MB and PTXSIM_CHECKS, null where unset. kInvalidArgument with what is allowed.
runtime::StatusOr<DeviceOptions> ParseDeviceOptions(const char* device, const char* memory_mb, const char* checks);

}  // namespace nemotron::ptxsim

#endif  // TOOLS_PTXSIM_DRIVER_DEVICE_MODEL_H_
