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

/// IEEE 754 binary16 to float32, exact, subnormals, infinities and NaNs included.
float F16ToF32(uint16_t bits);

}  // namespace nemotron::runtime

#endif  // RUNTIME_BASE_DTYPE_H_
