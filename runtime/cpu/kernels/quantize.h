#ifndef RUNTIME_CPU_KERNELS_QUANTIZE_H_
#define RUNTIME_CPU_KERNELS_QUANTIZE_H_

#include <cstdint>

#include "runtime/cpu/kernels/argument_reader.h"

namespace nemotron::runtime::cpu {

/// Where the scale of an activation comes from: the absolute maximum of its row, that of all rows of the step, or the
/// plan. The second makes results depend on how tokens are cut into steps.
enum class Scaling : uint8_t { kToken, kStep, kStatic };

/// What parameters `scaling` and `scale` say.
struct ScalingArgument {
  Scaling scaling = Scaling::kToken;
  float scale = 0;  ///< if static
};
ScalingArgument ReadScaling(ArgumentReader& args, bool has_step);

/// The absolute maximum of a row, whose NaNs do not count; 0 of nothing else. `relu2`: of relu2 of the row.
float AbsoluteMaximum(const float* row, int64_t size, bool relu2 = false);

/// output = e4m3(row / scale): an IEEE division, then rounding to nearest even. `relu2`: of relu2 of the row.
void QuantizeRow(const float* row, int64_t size, float scale, uint8_t* output, bool relu2 = false);

}  // namespace nemotron::runtime::cpu

#endif  // RUNTIME_CPU_KERNELS_QUANTIZE_H_
