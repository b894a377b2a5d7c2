#ifndef TOOLS_PTXSIM_SIM_OPS_MEMORY_OPS_H_
#define TOOLS_PTXSIM_SIM_OPS_MEMORY_OPS_H_

#include "tools/ptxsim/sim/access.h"
#include "tools/ptxsim/sim/decoder.h"

namespace nemotron::ptxsim {

/// State space and strength of an access. Hints about caches, and scopes, are taken too: memory is one and coherent.
struct MemoryModifiers {
  AccessSpace space = AccessSpace::kGeneric;
  bool strong = false;
  bool releases = false, acquires = false;  ///< as the modifier says
  bool is_of_block = false;                 ///< a scope that other blocks are not in
};
MemoryModifiers TakeMemoryModifiers(Decoder& d);

/// Options 0 to 5 and the immediate of an op that has an address.
void SetMemoryOptions(Op& op, const MemoryModifiers& modifiers, const Decoder::AddressSource& address);

/// Fills in an access from what `SetMemoryOptions` left, with the address in a row.
void StartAccess(Warp& warp, const Op& op, uint32_t mask, AccessKind kind, uint32_t size_bytes, uint32_t address_row,
                 Access& access);

}  // namespace nemotron::ptxsim

#endif  // TOOLS_PTXSIM_SIM_OPS_MEMORY_OPS_H_
