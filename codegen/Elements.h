//===- Elements.h - elements of weights: conversions, codes, checks ----------------------------------------------===//
#ifndef CODEGEN_ELEMENTS_H
#define CODEGEN_ELEMENTS_H

#include <cstddef>
#include <cstdint>
#include <vector>

#include "runtime/base/dtype.h"

namespace nemotron::codegen {

// Pointers need not be aligned; ranges do not overlap. Floats are those of kF32, kBF16 and kF16.

/// Converts `count` elements among floats: exact to a wider type, else rounded to nearest even (a NaN stays one).
/// kF8E4M3 and kI8 are converted to themselves only.
void convertElements(runtime::DType from, const std::byte *input, runtime::DType to, std::byte *output, int64_t count);

/// Scales of a run of elements: element i of the run has `scales[(first + i) / group]`.
struct RunScales {
  std::vector<float> scales;
  int64_t first = 0; ///< elements of the first group that lie before the run
  int64_t group = 1; ///< elements that share a scale
};

/// Rounds floats to codes of `to`, kF8E4M3 or kI8: `F32ToCode(to, input[i] / scale)`.
void quantizeElements(runtime::DType from, const std::byte *input, const RunScales &scales, runtime::DType to,
                      std::byte *output, int64_t count);

/// Turns kF8E4M3 into kF32, `F8E4M3ToF32(input[i]) * scale`.
void dequantizeElements(const std::byte *input, const RunScales &scales, std::byte *output, int64_t count);

/// The largest absolute value of `count` floats, 0 of none. All of them are finite.
float absoluteMaximum(runtime::DType dtype, const std::byte *input, int64_t count);

/// The first of `count` elements, floats or codes, that is an infinity or a NaN; -1 if there is none.
int64_t findNotFinite(runtime::DType dtype, const std::byte *input, int64_t count);

/// One element, of floats or codes.
float loadElement(runtime::DType dtype, const std::byte *input);

} // namespace nemotron::codegen

#endif // CODEGEN_ELEMENTS_H
