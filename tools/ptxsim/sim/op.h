#ifndef TOOLS_PTXSIM_SIM_OP_H_
#define TOOLS_PTXSIM_SIM_OP_H_

#include <array>
#include <cstdint>

#include "tools/ptxsim/sim/report.h"

namespace nemotron::ptxsim {

class Warp;
struct Op;

constexpr int kWarpSize = 32;
constexpr uint32_t kAllLanes = ~0u;

/// What the loop of a warp does after an op.
enum class Flow : uint8_t {
  kNext,     ///< goes on at the warp's program counter
  kBlocked,  ///< waits for a barrier of the block
  kYield,    ///< lets other warps run
  kStop,     ///< a finding ends the block
  kEnd,      ///< no lane is left
};

/// Runs an op for the lanes in `mask`, which is never 0. Reads all sources of a lane before it writes a result of any
/// lane that it has not yet read, for a result may lie in the slot of a source that ends here.
using Handler = Flow (*)(Warp&, const Op&, uint32_t mask);

/// Operands are rows: 32 lanes of 4, 8 or 16 bytes side by side, or one mask of 32 bits for a predicate. A row is named
/// by its offset in the registers of the frame, or, with this bit, in the constants of the function, where an immediate
/// stands 32 times. So every operand reads alike, and loops over lanes vectorise.
constexpr uint32_t kConstantRow = 0x80000000u;
constexpr uint32_t kNoRow = 0x7fffffffu;

/// An instruction, decoded: about one cache line.
struct Op {
  Handler run = nullptr;
  const uint32_t* rows = nullptr;       ///< results first, then sources
  int64_t immediate = 0;                ///< offset of an address, or as the family says
  std::array<uint8_t, 8> options = {};  ///< small enums of the family
  uint32_t target = 0;                  ///< op to branch to, or function to call
  uint32_t line = 0;
  uint32_t guard = kNoRow;
  uint32_t guard_flip = 0;  ///< all ones for `@!p`
  InstructionClass counted_as = InstructionClass::kInteger;
  bool ends_flow = false;  ///< nothing falls through: bra, ret, exit, trap without guard
};

}  // namespace nemotron::ptxsim

#endif  // TOOLS_PTXSIM_SIM_OP_H_
