#ifndef TOOLS_PTXSIM_SIM_MEMORY_H_
#define TOOLS_PTXSIM_SIM_MEMORY_H_

#include <cstdint>
#include <memory>

#include "runtime/base/status.h"

namespace nemotron::ptxsim {

/// Addresses of device memory are of no use to the host: an allocation has a number of its own in the upper bits, which
/// is never used again, and its bytes begin at offset 0 of it, so that no overrun and no freed pointer ever hits
/// another allocation. Shared and local memory lie in windows of their own in generic addresses.
using DeviceAddress = uint64_t;

struct Allocation;

/// Global memory of the simulated device. Host calls are thread-safe among each other; they must not run beside a
/// launch that uses the same bytes.
class GlobalMemory {
 public:
  explicit GlobalMemory(int64_t capacity_bytes);
  ~GlobalMemory();

  /// Uninitialised bytes, aligned to 512. kResourceExhausted with bytes asked for and left.
  runtime::StatusOr<DeviceAddress> Allocate(int64_t size_bytes);
  /// kInvalidArgument unless `address` is the start of an allocation.
  runtime::Status Free(DeviceAddress address);

  /// Host copies; all check bounds. Those that write make their bytes initialised; a device-to-device copy carries over
  /// whether bytes are. Reading uninitialised bytes to the host is allowed: the caller asked for them.
  runtime::Status CopyFromHost(DeviceAddress to, const void* from, int64_t size_bytes);
  runtime::Status CopyToHost(void* to, DeviceAddress from, int64_t size_bytes);
  runtime::Status Copy(DeviceAddress to, DeviceAddress from, int64_t size_bytes);
  /// `count` elements of `element_bytes` (1, 2 or 4).
  runtime::Status Fill(DeviceAddress to, uint32_t value, int element_bytes, int64_t count);

  int64_t free_bytes() const;
  int64_t capacity_bytes() const;

  /// The allocation an address points into, whatever its offset; null if there is none.
  Allocation* Find(DeviceAddress address) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nemotron::ptxsim

#endif  // TOOLS_PTXSIM_SIM_MEMORY_H_
