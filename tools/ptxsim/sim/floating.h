#ifndef TOOLS_PTXSIM_SIM_FLOATING_H_
#define TOOLS_PTXSIM_SIM_FLOATING_H_

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace nemotron::ptxsim {

/// Rounding of floating-point results: .rn, .rz, .rm, .rp; and .rna, nearest with ties away from zero.
enum class Rounding : uint8_t { kNearest, kZero, kDown, kUp, kNearestAway };

/// The NaN that operations on f32 return (section 9.7.3, "floating-point instructions").
inline float CanonicalNan() { return std::bit_cast<float>(0x7fffffffu); }
inline float Canonical(float value) { return value != value ? CanonicalNan() : value; }

/// `.ftz`: subnormal numbers become zeros of their sign.
inline float FlushToZero(float value) {
  return std::fabs(value) < std::numeric_limits<float>::min() ? std::copysign(0.0f, value) : value;
}

/// `.sat`: into [0, 1], and NaN to +0.
template <typename T>
T Saturated(T value) {
  return value > T{0} ? (value < T{1} ? value : T{1}) : T{0};
}

/// A binary format of at most 32 bits as IEEE 754 has them, or without infinities.
struct SmallFormat {
  int exponent_bits, mantissa_bits;
  uint32_t max_finite;  ///< bits of the largest number
  uint32_t nan;         ///< bits of the NaN that conversions return
  bool has_infinity;

  constexpr int bias() const { return (1 << (exponent_bits - 1)) - 1; }
  constexpr int sign_bit() const { return exponent_bits + mantissa_bits; }
};
inline constexpr SmallFormat kF32Format = {8, 23, 0x7f7fffff, 0x7fffffff, true};
inline constexpr SmallFormat kTf32Format = {8, 10, 0x3fbff, 0x3ffff, true};  ///< the upper 19 bits of an f32
inline constexpr SmallFormat kF16Format = {5, 10, 0x7bff, 0x7fff, true};
inline constexpr SmallFormat kBf16Format = {8, 7, 0x7f7f, 0x7fff, true};
inline constexpr SmallFormat kE4m3Format = {4, 3, 0x7e, 0x7f, false};
inline constexpr SmallFormat kE5m2Format = {5, 2, 0x7b, 0x7f, true};

/// Rounds once. `saturates`: what is beyond the largest number, infinity too, becomes it, with its sign.
uint32_t RoundTo(const SmallFormat& format, double value, Rounding rounding, bool saturates = false);
/// Exact.
double ToDouble(const SmallFormat& format, uint32_t bits);

/// a + b rounded to odd: rounding the result again, to at most 51 bits, gives what rounding the exact sum would.
inline double AddToOdd(double a, double b) {
  const double sum = a + b;
  const double b_in_sum = sum - a;
  const double error = (a - (sum - b_in_sum)) + (b - b_in_sum);
  if (error == 0 || !std::isfinite(sum)) {
    return sum;
  }
  const auto bits = std::bit_cast<uint64_t>(sum);
  if (bits & 1) {
    return sum;
  }
  const bool away = (error > 0) == (sum > 0);
  return std::bit_cast<double>(away ? bits + 1 : bits - 1);
}

/// To f32, rounded to odd, for rounding again to at most 22 bits.
inline float ToFloatOdd(double value) {
  const auto nearest = static_cast<float>(value);
  const auto bits = std::bit_cast<uint32_t>(nearest);
  if (nearest == value || value != value || (bits & 1)) {
    return nearest;
  }
  return std::bit_cast<float>(std::fabs(static_cast<double>(nearest)) < std::fabs(value) ? bits + 1 : bits - 1);
}

inline float HalfToFloat(uint16_t bits) { return static_cast<float>(std::bit_cast<_Float16>(bits)); }
inline uint16_t FloatToHalf(float value) {
  const auto bits = std::bit_cast<uint16_t>(static_cast<_Float16>(value));
  return value != value ? uint16_t{0x7fff} : bits;
}
inline float BfloatToFloat(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }
inline uint16_t FloatToBfloat(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const auto rounded = static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
  return value != value ? uint16_t{0x7fff} : rounded;
}

}  // namespace nemotron::ptxsim

#endif  // TOOLS_PTXSIM_SIM_FLOATING_H_
