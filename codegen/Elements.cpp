//===- Elements.cpp - elements of weights: conversions, codes, checks --------------------------------------------===//
#include "codegen/Elements.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

using nemotron::runtime::DType;

namespace nemotron::codegen {

namespace {

// Without branches, so that the loops become vector code.

template <DType T> struct Element;

template <> struct Element<DType::kF32> {
  using Bits = uint32_t;
  static uint32_t toF32Bits(uint32_t bits) { return bits; }
  static uint32_t fromF32Bits(uint32_t bits) { return bits; }
};

template <> struct Element<DType::kBF16> {
  using Bits = uint16_t;
  static uint32_t toF32Bits(uint16_t bits) { return uint32_t{bits} << 16; }
  static uint16_t fromF32Bits(uint32_t bits) {
    uint32_t rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
    uint32_t quiet = (bits >> 16) | 0x40u;
    return static_cast<uint16_t>((bits & 0x7FFFFFFFu) > 0x7F800000u ? quiet : rounded);
  }
};

template <> struct Element<DType::kF16> {
  using Bits = uint16_t;
  static uint32_t toF32Bits(uint16_t bits) {
    // Multiplying by 2^112 moves the exponent from bias 15 to bias 127 and makes subnormals normal, exactly.
    uint32_t sign = uint32_t{bits & 0x8000u} << 16, magnitude = bits & 0x7FFFu;
    uint32_t scaled = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude << 13) * 0x1p112f);
    uint32_t special = 0x7F800000u | (magnitude << 13); // infinities and NaNs
    return sign | (magnitude >= 0x7C00u ? special : scaled);
  }
  static uint16_t fromF32Bits(uint32_t bits) {
    uint32_t sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7FFFFFFFu;
    // Normal: rebias, round at bit 13; an overflow runs into infinity. Subnormal: adding 0.5 lets the adder round at
    // the last place that a subnormal has.
    uint32_t normal = (magnitude - (112u << 23) + 0xFFFu + ((magnitude >> 13) & 1u)) >> 13;
    uint32_t subnormal = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3F000000u;
    uint32_t result = magnitude < (113u << 23) ? subnormal : normal;
    result = magnitude >= 0x47800000u ? 0x7C00u : result;                               // 2^16 and above
    result = magnitude > 0x7F800000u ? 0x7E00u | ((magnitude >> 13) & 0x3FFu) : result; // NaN
    return static_cast<uint16_t>(sign | result);
  }
};

template <> struct Element<DType::kF8E4M3> {
  using Bits = uint8_t;
  static uint32_t toF32Bits(uint8_t bits) { return std::bit_cast<uint32_t>(runtime::F8E4M3ToF32(bits)); }
  static uint8_t fromF32Bits(uint32_t bits) { return runtime::F32ToF8E4M3(std::bit_cast<float>(bits)); }
};

template <> struct Element<DType::kI8> {
  using Bits = uint8_t;
  static uint32_t toF32Bits(uint8_t bits) { return std::bit_cast<uint32_t>(runtime::CodeToF32(DType::kI8, bits)); }
  static uint8_t fromF32Bits(uint32_t bits) { return runtime::F32ToCode(DType::kI8, std::bit_cast<float>(bits)); }
};

/// `function` of an `Element` of the floats that `dtype` is.
template <typename Function> auto withFloats(DType dtype, Function function) {
  switch (dtype) {
  case DType::kF32:
    return function(Element<DType::kF32>());
  case DType::kBF16:
    return function(Element<DType::kBF16>());
  default:
    return function(Element<DType::kF16>());
  }
}

template <typename E> auto load(const std::byte *input) {
  typename E::Bits bits;
  std::memcpy(&bits, input, sizeof(bits));
  return bits;
}

/// Each element of type `From` becomes `function` of it, as bits of f32, in type `To`.
template <typename From, typename To, typename Function>
void transform(const std::byte *input, std::byte *output, int64_t count, Function function) {
  for (int64_t i = 0; i < count; ++i) {
    const auto out = To::fromF32Bits(function(From::toF32Bits(load<From>(input + i * sizeof(typename From::Bits)))));
    std::memcpy(output + i * sizeof(out), &out, sizeof(out));
  }
}

/// The largest of `count` elements without their signs, as bits: the order of bits is that of values, then infinity,
/// then NaNs.
template <typename E> uint32_t largestMagnitude(const std::byte *input, int64_t count) {
  using Signed = std::make_signed_t<typename E::Bits>; // processors compare signed numbers
  Signed largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    const auto magnitude = load<E>(input + i * sizeof(Signed)) & std::numeric_limits<Signed>::max();
    largest = std::max(largest, static_cast<Signed>(magnitude));
  }
  return static_cast<uint32_t>(largest);
}

template <typename E> bool isFinite(uint32_t magnitude) {
  return std::isfinite(std::bit_cast<float>(E::toF32Bits(static_cast<typename E::Bits>(magnitude))));
}

template <typename E> int64_t findNotFinite(const std::byte *input, int64_t count) {
  if (isFinite<E>(largestMagnitude<E>(input, count))) {
    return -1;
  }
  int64_t i = 0;
  while (isFinite<E>(load<E>(input + i * sizeof(typename E::Bits)))) {
    ++i;
  }
  return i;
}

} // namespace

void convertElements(DType from, const std::byte *input, DType to, std::byte *output, int64_t count) {
  if (from == to) {
    std::memcpy(output, input, count * runtime::SizeOf(from));
    return;
  }
  withFloats(from, [&](auto fromElement) {
    withFloats(to, [&](auto toElement) {
      transform<decltype(fromElement), decltype(toElement)>(input, output, count, [](uint32_t bits) { return bits; });
    });
  });
}

/// Calls `function(first, count, scale)` for the parts of a run that share a scale.
template <typename Function> static void forGroups(const RunScales &scales, int64_t count, Function function) {
  for (int64_t done = 0; done < count;) {
    const int64_t at = scales.first + done, part = std::min(count - done, scales.group - at % scales.group);
    function(done, part, scales.scales[at / scales.group]);
    done += part;
  }
}

template <DType To>
static void quantizeTo(DType from, const std::byte *input, const RunScales &scales, std::byte *output, int64_t count) {
  forGroups(scales, count, [&](int64_t first, int64_t part, float scale) {
    withFloats(from, [&](auto element) {
      transform<decltype(element), Element<To>>(
          input + first * runtime::SizeOf(from), output + first, part,
          [=](uint32_t bits) { return std::bit_cast<uint32_t>(std::bit_cast<float>(bits) / scale); });
    });
  });
}

void quantizeElements(DType from, const std::byte *input, const RunScales &scales, DType to, std::byte *output,
                      int64_t count) {
  auto quantize = to == DType::kI8 ? quantizeTo<DType::kI8> : quantizeTo<DType::kF8E4M3>;
  quantize(from, input, scales, output, count);
}

void dequantizeElements(const std::byte *input, const RunScales &scales, std::byte *output, int64_t count) {
  forGroups(scales, count, [&](int64_t first, int64_t part, float scale) {
    transform<Element<DType::kF8E4M3>, Element<DType::kF32>>(
        input + first, output + first * runtime::SizeOf(DType::kF32), part,
        [=](uint32_t bits) { return std::bit_cast<uint32_t>(std::bit_cast<float>(bits) * scale); });
  });
}

float absoluteMaximum(DType dtype, const std::byte *input, int64_t count) {
  return withFloats(dtype, [&](auto element) {
    using E = decltype(element);
    return std::bit_cast<float>(E::toF32Bits(static_cast<typename E::Bits>(largestMagnitude<E>(input, count))));
  });
}

int64_t findNotFinite(DType dtype, const std::byte *input, int64_t count) {
  if (dtype == DType::kI8) {
    return -1;
  }
  if (dtype == DType::kF8E4M3) {
    return findNotFinite<Element<DType::kF8E4M3>>(input, count);
  }
  return withFloats(dtype, [&](auto element) { return findNotFinite<decltype(element)>(input, count); });
}

float loadElement(DType dtype, const std::byte *input) {
  if (runtime::IsCode(dtype)) {
    return runtime::CodeToF32(dtype, std::to_integer<uint8_t>(*input));
  }
  return withFloats(dtype, [&](auto element) {
    return std::bit_cast<float>(decltype(element)::toF32Bits(load<decltype(element)>(input)));
  });
}

} // namespace nemotron::codegen
