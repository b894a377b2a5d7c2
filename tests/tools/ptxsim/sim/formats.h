#ifndef TESTS_TOOLS_PTXSIM_SIM_FORMATS_H_
#define TESTS_TOOLS_PTXSIM_SIM_FORMATS_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace nemotron::ptxsim {

/// A small floating-point format by enumeration: the value of each bit pattern, and rounding by search in the sorted
/// values. Slow, and shares nothing with the simulator's arithmetic.
class EnumeratedFormat {
 public:
  /// `infinity`: the bits of it, or of the first NaN of a format without.
  EnumeratedFormat(int exponent_bits, int mantissa_bits, uint32_t infinity, bool has_infinity, uint32_t nan)
      : sign_(1u << (exponent_bits + mantissa_bits)), infinity_(infinity), has_infinity_(has_infinity), nan_(nan) {
    const int bias = (1 << (exponent_bits - 1)) - 1;
    for (uint32_t bits = 0; bits <= infinity; ++bits) {
      const int exponent = static_cast<int>(bits >> mantissa_bits);
      const double fraction = (bits & ((1u << mantissa_bits) - 1)) * std::pow(2.0, -mantissa_bits);
      values_.push_back(exponent == 0 ? fraction * std::pow(2.0, 1 - bias)
                                      : (1 + fraction) * std::pow(2.0, exponent - bias));
    }
  }

  /// Patterns of numbers, without sign.
  uint32_t num_finite() const { return infinity_; }
  double Value(uint32_t bits) const {
    const uint32_t magnitude = bits & (sign_ - 1);
    const double value = magnitude < infinity_                     ? values_[magnitude]
                         : magnitude == infinity_ && has_infinity_ ? INFINITY
                                                                   : NAN;
    return bits & sign_ ? -value : value;
  }
  /// To nearest, ties to even. The value behind the last one stands for overflow, as in IEEE 754.
  uint32_t Nearest(long double value, bool saturates = false) const {
    if (value != value) {
      return nan_;
    }
    const long double magnitude = std::fabs(value);
    const uint32_t sign = std::signbit(value) ? sign_ : 0;
    const auto above =
        static_cast<uint32_t>(std::upper_bound(values_.begin(), values_.end(), magnitude) - values_.begin());
    uint32_t bits = infinity_;
    if (above <= infinity_) {
      const double low = values_[above - 1], high = values_[above];
      const bool up =
          magnitude - low > high - magnitude || (magnitude - low == high - magnitude && (above - 1) % 2 == 1);
      bits = up ? above : above - 1;
    }
    if (bits < infinity_) {
      return sign | bits;
    }
    return sign | (saturates ? infinity_ - 1 : has_infinity_ ? infinity_ : nan_);
  }
  bool IsNan(uint32_t bits) const { return Value(bits) != Value(bits); }

 private:
  std::vector<double> values_;
  uint32_t sign_, infinity_;
  bool has_infinity_;
  uint32_t nan_;
};

inline const EnumeratedFormat kHalf(5, 10, 0x7c00, true, 0x7fff);
inline const EnumeratedFormat kBfloat(8, 7, 0x7f80, true, 0x7fff);
inline const EnumeratedFormat kFp8E4m3(4, 3, 0x7f, false, 0x7f);
inline const EnumeratedFormat kFp8E5m2(5, 2, 0x7c, true, 0x7f);

}  // namespace nemotron::ptxsim

#endif  // TESTS_TOOLS_PTXSIM_SIM_FORMATS_H_
