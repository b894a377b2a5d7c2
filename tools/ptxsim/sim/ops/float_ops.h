#ifndef TOOLS_PTXSIM_SIM_OPS_FLOAT_OPS_H_
#define TOOLS_PTXSIM_SIM_OPS_FLOAT_OPS_H_

#include <cstdint>

#include "tools/ptxsim/sim/format.h"
#include "tools/ptxsim/sim/op.h"

namespace nemotron::ptxsim {

enum class FloatOp : uint8_t { kAdd, kSub, kMul, kFma, kDiv };

/// Handler of an operation of f32 or f64 that rounds to zero, down or up. Options: the `Rounding`, and for f32 whether
/// it flushes to zero and saturates.
Handler DirectedHandler(FloatOp op, Format format);

/// Square root with a rounding; reciprocals are divisions. Options as above.
Handler DirectedSqrtHandler(Format format);

/// Handler of 1 / a with a rounding. Options as above.
Handler DirectedReciprocalHandler(Format format);

}  // namespace nemotron::ptxsim

#endif  // TOOLS_PTXSIM_SIM_OPS_FLOAT_OPS_H_
