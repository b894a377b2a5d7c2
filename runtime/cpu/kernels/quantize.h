#ifndef RUNTIME_CPU_KERNELS_QUANTIZE_H_
#define RUNTIME_CPU_KERNELS_QUANTIZE_H_

#include <cstdint>
#include <optional>

#include "runtime/cpu/kernels/argument_reader.h"

namespace nemotron::runtime::cpu {

/// Where the scale of an activation comes from: the absolute maximum of its row, that of all rows of the step, or the
/// plan. The second makes results depend on how tokens are cut into steps.
enum class Scaling : uint8_t { kToken, kStep, kStatic };

/// What parameters `scaling` and `scale` say.
struct ScalingArgument {
  Scaling scaling = Scaling::kToken;
  std::optional<float> scale;  ///< if static
};
ScalingArgument ReadScaling(ArgumentReader& args, bool has_step);

/// output = e4m3(row / scale): an IEEE division, then rounding to nearest even. The scale, which is returned, is
/// `fixed`, or that of the row's absolute maximum, in which NaNs do not count. `relu2`: of relu2 of the row.
float QuantizeRow(const float* row, int64_t size, std::optional<float> fixed, uint8_t* output, bool relu2 = false);

}  // namespace nemotron::runtime::cpu

#endif  // RUNTIME_CPU_KERNELS_QUANTIZE_H_
