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

/// output = code(row / scale), of F8E4M3 or I8: an IEEE division, then rounding to nearest even. The scale, which is
/// returned, is `fixed`, or that of the row's absolute maximum, in which NaNs do not count. `relu2`: of relu2 of the
/// row. I8 has no NaN: a row with one, which E4M3 keeps in its place, gets the scale NaN.
float QuantizeRow(const float* row, int64_t size, std::optional<float> fixed, DType dtype, uint8_t* output,
                  bool relu2 = false);

}  // namespace nemotron::runtime::cpu

#endif  // RUNTIME_CPU_KERNELS_QUANTIZE_H_
