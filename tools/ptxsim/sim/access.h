#ifndef TOOLS_PTXSIM_SIM_ACCESS_H_
#define TOOLS_PTXSIM_SIM_ACCESS_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "tools/ptxsim/sim/op.h"

namespace nemotron::ptxsim {

class Warp;

enum class AccessKind : uint8_t { kLoad, kStore, kAtomic };

/// State spaces as instructions name them; kGeneric if they name none.
enum class AccessSpace : uint8_t { kGeneric, kGlobal, kShared, kLocal, kParameter };

/// What an instruction asks of memory: the same number of bytes for each lane, somewhere.
struct Access {
  AccessKind kind = AccessKind::kLoad;
  AccessSpace space = AccessSpace::kGeneric;
  bool strong = false;      ///< not a race with other strong accesses (section 8.8: volatile, relaxed, ...)
  bool counts = true;       ///< false where the instruction counts wavefronts by itself
  uint32_t size_bytes = 0;  ///< of a lane, a power of two to 16; also the alignment
  uint32_t mask = 0;
  alignas(64) std::array<uint64_t, kWarpSize> address;  ///< as in the instruction; `Resolve` makes them generic

  std::array<std::byte*, kWarpSize> host;  ///< where the bytes of each lane in `mask` are
  bool contiguous = false;                 ///< all lanes, side by side in their order
};

/// Adds up row (of 32 or 64 bits) and offset.
void ReadAddresses(Warp& warp, const uint32_t row, bool is_32bit, int64_t offset, Access& access);

/// Checks an access (bounds, alignment, initialised bytes, races, pending copies), counts it, and finds its bytes.
/// False if there was a finding, which ends the block. Bytes of a store count as initialised from here on.
bool Resolve(Warp& warp, const Op& op, Access& access);

/// After the lanes of one store have written `values`, `size_bytes` a lane: whether lanes wrote different values to one
/// place, which is a race. False if there was a finding.
bool CheckStored(Warp& warp, const Op& op, const Access& access, const std::byte* values);

/// Passes over the banks of shared memory for the lanes of one phase, and counts them.
void CountWavefronts(Warp& warp, const uint64_t* offsets, uint32_t lanes, uint32_t size_bytes);

/// Records bytes that a cp.async of a lane has written, when the lane has waited for it.
void RecordAsyncWrite(Warp& warp, int lane, uint32_t offset, uint32_t size_bytes);

}  // namespace nemotron::ptxsim

#endif  // TOOLS_PTXSIM_SIM_ACCESS_H_
