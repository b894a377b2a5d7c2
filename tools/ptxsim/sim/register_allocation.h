#ifndef TOOLS_PTXSIM_SIM_REGISTER_ALLOCATION_H_
#define TOOLS_PTXSIM_SIM_REGISTER_ALLOCATION_H_

#include <cstdint>
#include <span>
#include <vector>

#include "tools/ptxsim/sim/op.h"

namespace nemotron::ptxsim {

/// An op whose rows are virtual registers yet. Rows with `kConstantRow` stay as they are.
struct DraftOp {
  Op op;
  std::vector<uint32_t> rows;  ///< results first
  size_t num_results = 0;
  std::vector<uint32_t> successors;  ///< ops it may branch to
};

/// Gives each virtual register a row in the registers of a warp; registers whose lives do not meet share rows. PTX has
/// a register for nearly each instruction, and a warp's registers should stay in the first-level cache.
///
/// Lives are found by dataflow over basic blocks and then taken as one interval each in the order of ops, which linear
/// scan packs, for each size of slot by itself. Lanes that diverge do no harm: each has slots of its own, and the order
/// of ops covers every path a lane can take.
///
/// Rewrites rows and guards of `ops` to offsets. `slot_bytes`: of each virtual register; 0: a predicate. Returns bytes
/// of a warp's registers.
int64_t AllocateRegisters(std::span<DraftOp> ops, std::span<const int> slot_bytes);

}  // namespace nemotron::ptxsim

#endif  // TOOLS_PTXSIM_SIM_REGISTER_ALLOCATION_H_
