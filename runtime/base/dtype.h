#ifndef RUNTIME_BASE_DTYPE_H_
#define RUNTIME_BASE_DTYPE_H_

#include <bit>
#include <cstdint>
#include <optional>
#include <string_view>

namespace nemotron::runtime {

/// Element types of weights, buffers and states. The values are those of `schema.DType` in plan.fbs and never change.
enum class DType : uint8_t { kF32 = 0, kBF16 = 1, kF16 = 2, kF8E4M3 = 3, kI8 = 4, kU8 = 5, kI32 = 6, kI64 = 7 };

/// Bytes of one element.
constexpr int64_t SizeOf(DType dtype) {
  switch (dtype) {
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kBF16:
    case DType::kF16:
      return 2;
    case DType::kF8E4M3:
    case DType::kI8:
    case DType::kU8:
      return 1;
    case DType::kI64:
      return 8;
  }
  return 0;
}

/// The name used in plans, dialects and messages: "f32", "bf16", "f16", "f8e4m3", "i8", "u8", "i32", "i64".
std::string_view DTypeName(DType dtype);

/// The inverse of `DTypeName`; nothing if no type has that name.
std::optional<DType> DTypeFromName(std::string_view name);

/// A bfloat16 is the upper half of a float32.
inline float BF16ToF32(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

/// Rounds to nearest even; a NaN stays a (quiet) NaN.
inline uint16_t F32ToBF16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) {
    return static_cast<uint16_t>((bits >> 16) | 0x40u);
  }
  return static_cast<uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

/// The largest finite E4M3 number; scales map the absolute maximum of a tensor to it.
inline constexpr float kF8E4M3Max = 448.0f;

/// E4M3 of the OCP 8-bit floating point specification (1.0, section 5): exponent bias 7, subnormals down to 2^-9, no
/// infinity, NaN at 0x7F and 0xFF. Exact; a NaN stays one with its sign.
inline float F8E4M3ToF32(uint8_t bits) {
  const uint32_t sign = uint32_t{bits & 0x80u} << 24, magnitude = bits & 0x7Fu;
  // Multiplying by 2^120 moves the exponent from bias 7 to bias 127 and makes subnormals normal, exactly.
  const float value = std::bit_cast<float>(magnitude << 20) * 0x1p120f;
  return std::bit_cast<float>(sign | (magnitude == 0x7Fu ? 0x7FC00000u : std::bit_cast<uint32_t>(value)));
}

/// Rounds to nearest even and saturates: what exceeds 448, infinities too, becomes 448. A NaN stays one.
inline uint8_t F32ToF8E4M3(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value), sign = (bits >> 24) & 0x80u, magnitude = bits & 0x7FFFFFFFu;
  constexpr uint32_t kMax = std::bit_cast<uint32_t>(kF8E4M3Max), kMinNormal = std::bit_cast<uint32_t>(0x1p-6f);
  const uint32_t kept = magnitude < kMax ? magnitude : kMax;
  const uint32_t normal = (kept - (120u << 23) + 0x7FFFFu + ((kept >> 20) & 1u)) >> 20;
  // In [2^14, 2^15) floats are 2^-9 apart, as subnormals are: the adder rounds.
  const uint32_t subnormal = std::bit_cast<uint32_t>(std::bit_cast<float>(kept) + 0x1p14f) - (141u << 23);
  const uint32_t finite = kept < kMinNormal ? subnormal : normal;
  return static_cast<uint8_t>(sign | (magnitude > 0x7F800000u ? 0x7Fu : finite));
}

/// The largest number of quantized integers, which are symmetric: -128 is not used.
inline constexpr float kI8Max = 127.0f;

/// Rounds to nearest even and saturates at 127; a NaN becomes 0.
inline int8_t F32ToI8(float value) {
  const float kept = value > kI8Max ? kI8Max : value < -kI8Max ? -kI8Max : value == value ? value : 0.0f;
  // Around 1.5 * 2^23 floats are 1 apart: the adder rounds.
  return static_cast<int8_t>(std::bit_cast<int32_t>(kept + 0x1.8p23f) - std::bit_cast<int32_t>(0x1.8p23f));
}

/// Whether numbers are quantized to `dtype`: a code of 8 bits stands for its value times a scale.
constexpr bool IsCode(DType dtype) { return dtype == DType::kF8E4M3 || dtype == DType::kI8; }

/// The value of a code before it is scaled.
inline float CodeToF32(DType dtype, uint8_t code) {
  return dtype == DType::kI8 ? static_cast<float>(static_cast<int8_t>(code)) : F8E4M3ToF32(code);
}

/// The nearest code, ties to even.
inline uint8_t F32ToCode(DType dtype, float value) {
  return dtype == DType::kI8 ? static_cast<uint8_t>(F32ToI8(value)) : F32ToF8E4M3(value);
}

/// The largest number of codes of `dtype`.
constexpr float CodeMax(DType dtype) { return dtype == DType::kI8 ? kI8Max : kF8E4M3Max; }

/// The scale that maps an absolute maximum to the number `largest`. Never below the smallest normal float, so that a
/// tensor of zeros has a scale too.
inline float ScaleOf(float absolute_maximum, float largest) {
  const float scale = absolute_maximum / largest;
  return scale > 0x1p-126f ? scale : 0x1p-126f;
}

/// The same for the largest number of a code: x is stored as code(x / scale).
inline float CodeScale(DType dtype, float absolute_maximum) { return ScaleOf(absolute_maximum, CodeMax(dtype)); }

/// IEEE 754 binary16 to float32, exact, subnormals, infinities and NaNs included.
float F16ToF32(uint16_t bits);

}  // namespace nemotron::runtime

#endif  // RUNTIME_BASE_DTYPE_H_
