#include "tools/ptxsim/sim/floating.h"

#include <algorithm>

namespace nemotron::ptxsim {

uint32_t RoundTo(const SmallFormat& format, double value, Rounding rounding, bool saturates) {
  constexpr int kMantissaBits = 52, kBias = 1023, kExponents = 0x7ff;
  const auto bits = std::bit_cast<uint64_t>(value);
  const bool negative = bits >> 63;
  const uint32_t sign = static_cast<uint32_t>(negative) << format.sign_bit();
  const uint32_t infinity = format.has_infinity ? format.max_finite + 1 : format.nan;
  const auto field = static_cast<int>(bits >> kMantissaBits & kExponents);
  const uint64_t mantissa = bits & ((uint64_t{1} << kMantissaBits) - 1);
  if (field == kExponents) {
    return mantissa != 0 ? format.nan : sign | (saturates ? format.max_finite : infinity);
  }
  // The significand in units of the last place to keep: an integer and a rest. Smaller than any unit, it is all rest.
  const uint64_t significand = field == 0 ? mantissa : mantissa | uint64_t{1} << kMantissaBits;
  const int exponent = std::max(field, 1) - kBias, kept_exponent = std::max(exponent, 1 - format.bias());
  const int shift = std::min(kMantissaBits - format.mantissa_bits + kept_exponent - exponent, 63);
  uint64_t integer = significand >> shift;
  const uint64_t rest = significand & ((uint64_t{1} << shift) - 1), half = uint64_t{1} << (shift - 1);
  switch (rounding) {
    case Rounding::kNearest:
      integer += rest > half || (rest == half && integer % 2 == 1);
      break;
    case Rounding::kNearestAway:
      integer += rest >= half;
      break;
    case Rounding::kZero:
      break;
    case Rounding::kDown:
      integer += negative && rest != 0;
      break;
    case Rounding::kUp:
      integer += !negative && rest != 0;
      break;
  }
  // The implicit bit adds one to the exponent field, and a carry out of the mantissa another.
  const int64_t rounded =
      (int64_t{kept_exponent + format.bias() - 1} << format.mantissa_bits) + static_cast<int64_t>(integer);
  if (rounded <= int64_t{format.max_finite}) {
    return sign | static_cast<uint32_t>(rounded);
  }
  const bool stays_finite = rounding == Rounding::kZero || (rounding == Rounding::kDown && !negative) ||
                            (rounding == Rounding::kUp && negative);
  return sign | (saturates || stays_finite ? format.max_finite : infinity);
}

double ToDouble(const SmallFormat& format, uint32_t bits) {
  const uint32_t magnitude = bits & ((1u << format.sign_bit()) - 1);
  const double sign = bits >> format.sign_bit() & 1 ? -1 : 1;
  if (magnitude > format.max_finite) {
    return format.has_infinity && magnitude == format.max_finite + 1 ? sign * std::numeric_limits<double>::infinity()
                                                                     : std::numeric_limits<double>::quiet_NaN();
  }
  const uint32_t field = magnitude >> format.mantissa_bits;
  const uint32_t mantissa = magnitude & ((1u << format.mantissa_bits) - 1);
  const uint32_t significand = field == 0 ? mantissa : mantissa | 1u << format.mantissa_bits;
  return sign * std::ldexp(significand, static_cast<int>(std::max(field, 1u)) - format.bias() - format.mantissa_bits);
}

}  // namespace nemotron::ptxsim
