#ifndef TOOLS_PTXSIM_SIM_OPS_WARP_OPS_H_
#define TOOLS_PTXSIM_SIM_OPS_WARP_OPS_H_

#include "tools/ptxsim/sim/warp.h"

namespace nemotron::ptxsim {

/// What an instruction with a member mask does first. Lanes whose mask does not name them are a finding.
enum class Membership : uint8_t {
  kComplete,  ///< all named lanes are here and have synchronised
  kWaiting,   ///< `lanes` wait for others: the handler returns Flow::kNext
  kFinding,   ///< the handler returns Flow::kStop
};

/// `members_row`: 32 masks.
Membership GatherMembers(Warp& warp, const Op& op, uint32_t lanes, uint32_t members_row);

/// The same for instructions that all lanes of the warp run (mma, ldmatrix): exited or absent lanes are a finding.
Membership GatherWarp(Warp& warp, const Op& op, uint32_t lanes);

inline Flow FlowOf(Membership membership) { return membership == Membership::kFinding ? Flow::kStop : Flow::kNext; }

}  // namespace nemotron::ptxsim

#endif  // TOOLS_PTXSIM_SIM_OPS_WARP_OPS_H_
