// Small vector helpers over Highway for all kernels but the matrices. Included per target, inside
// HWY_BEFORE_NAMESPACE / HWY_AFTER_NAMESPACE of each kernel file.

#if defined(RUNTIME_CPU_KERNELS_VECTOR_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RUNTIME_CPU_KERNELS_VECTOR_INL_H_
#undef RUNTIME_CPU_KERNELS_VECTOR_INL_H_
#else
#define RUNTIME_CPU_KERNELS_VECTOR_INL_H_
#endif

#include <cmath>
#include <cstdint>
#include <cstring>

#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace nemotron::runtime::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using FloatVector = hn::Vec<Floats>;
constexpr Floats kFloats;
constexpr int64_t kLanes = HWY_LANES(float);

/// The first `n` < kLanes elements at `p`, the rest zero.
HWY_INLINE FloatVector LoadTail(const float* p, int64_t n) {
  HWY_ALIGN float padded[kLanes] = {};
  std::memcpy(padded, p, n * sizeof(float));
  return hn::Load(kFloats, padded);
}
HWY_INLINE void StoreTail(FloatVector v, float* p, int64_t n) {
  HWY_ALIGN float padded[kLanes];
  hn::Store(v, kFloats, padded);
  std::memcpy(p, padded, n * sizeof(float));
}
HWY_INLINE FloatVector LoadUpTo(const float* p, int64_t n) {
  return n >= kLanes ? hn::LoadU(kFloats, p) : LoadTail(p, n);
}
HWY_INLINE void StoreUpTo(FloatVector v, float* p, int64_t n) {
  if (n >= kLanes) {
    hn::StoreU(v, kFloats, p);
  } else {
    StoreTail(v, p, n);
  }
}

using Words = hn::RebindToUnsigned<Floats>;
using Bytes = hn::Rebind<uint8_t, Floats>;

/// kLanes E4M3 numbers as floats, exactly (runtime/base/dtype.h has the scalar form of both conversions).
HWY_INLINE FloatVector DecodeE4M3(const uint8_t* p) {
  constexpr Words words;
  const auto codes = hn::LoadU(hn::RebindToSigned<Bytes>(), reinterpret_cast<const int8_t*>(p));
  // The sign fills all bits above the magnitude: one mask keeps both, and the product carries the sign on.
  const auto extended = hn::BitCast(words, hn::PromoteTo(hn::RebindToSigned<Words>(), codes));
  const auto placed = hn::And(hn::ShiftLeft<20>(extended), hn::Set(words, 0x87F00000u));
  const auto is_nan = hn::Eq(hn::And(extended, hn::Set(words, 0x7Fu)), hn::Set(words, 0x7Fu));
  const auto bits = hn::Xor(placed, hn::IfThenElseZero(is_nan, hn::Set(words, 0x07F00000u ^ 0x7FC00000u)));
  return hn::Mul(hn::BitCast(kFloats, bits), hn::Set(kFloats, 0x1p120f));
}

/// LoadUpTo of E4M3 numbers.
HWY_INLINE FloatVector LoadE4M3UpTo(const uint8_t* p, int64_t n) {
  if (n >= kLanes) {
    return DecodeE4M3(p);
  }
  HWY_ALIGN uint8_t padded[kLanes] = {};
  std::memcpy(padded, p, n);
  return DecodeE4M3(padded);
}

using Halves = hn::Rebind<uint16_t, Floats>;

/// LoadUpTo of BF16 numbers.
HWY_INLINE FloatVector LoadBF16UpTo(const uint16_t* p, int64_t n) {
  const auto widen = [](hn::Vec<Halves> v)
                         HWY_ATTR { return hn::BitCast(kFloats, hn::ShiftLeft<16>(hn::PromoteTo(Words(), v))); };
  if (n >= kLanes) {
    return widen(hn::LoadU(Halves(), p));
  }
  HWY_ALIGN uint16_t padded[kLanes] = {};
  std::memcpy(padded, p, n * sizeof(uint16_t));
  return widen(hn::Load(Halves(), padded));
}

/// The nearest BF16 numbers, ties to even, subnormals and overflow to infinity included. Infinities stay, and so do the
/// NaNs that arithmetic makes and those widened from BF16: only one whose bits 15 to 30 are all set becomes zero.
HWY_INLINE FloatVector RoundToBF16(FloatVector v) {
  constexpr Words words;
  const auto bits = hn::BitCast(words, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(words, 1u));
  const auto carried = hn::Add(hn::Add(bits, hn::Set(words, 0x7FFFu)), odd);
  return hn::BitCast(kFloats, hn::And(carried, hn::Set(words, 0xFFFF0000u)));
}

/// Stores the first `n` of kLanes rounded numbers.
HWY_INLINE void StoreBF16UpTo(FloatVector v, uint16_t* p, int64_t n) {
  const auto halves = hn::TruncateTo(Halves(), hn::ShiftRight<16>(hn::BitCast(Words(), v)));
  if (n >= kLanes) {
    return hn::StoreU(halves, Halves(), p);
  }
  HWY_ALIGN uint16_t padded[kLanes];
  hn::Store(halves, Halves(), padded);
  std::memcpy(p, padded, n * sizeof(uint16_t));
}

/// Rounds kLanes floats to E4M3: nearest even, saturating, NaN kept.
HWY_INLINE void EncodeE4M3(FloatVector v, uint8_t* p) {
  constexpr Words words;
  const auto bits = hn::BitCast(words, v);
  const auto sign = hn::And(hn::ShiftRight<24>(bits), hn::Set(words, 0x80u));
  const auto magnitude = hn::And(bits, hn::Set(words, 0x7FFFFFFFu));
  const auto kept = hn::Min(magnitude, hn::Set(words, 0x43E00000u));  // 448
  const auto odd = hn::And(hn::ShiftRight<20>(kept), hn::Set(words, 1u));
  const auto normal = hn::ShiftRight<20>(hn::Add(hn::Add(kept, odd), hn::Set(words, 0x7FFFFu - (120u << 23))));
  const FloatVector shifted = hn::Add(hn::BitCast(kFloats, kept), hn::Set(kFloats, 0x1p14f));
  const auto subnormal = hn::Sub(hn::BitCast(words, shifted), hn::Set(words, 141u << 23));
  const auto finite = hn::IfThenElse(hn::Lt(kept, hn::Set(words, 0x3C800000u)), subnormal, normal);  // 2^-6
  const auto is_nan = hn::Gt(magnitude, hn::Set(words, 0x7F800000u));
  const auto code = hn::Or(sign, hn::IfThenElse(is_nan, hn::Set(words, 0x7Fu), finite));
  hn::StoreU(hn::DemoteTo(Bytes(), hn::BitCast(hn::RebindToSigned<Words>(), code)), Bytes(), p);
}

/// Rounds kLanes floats to signed bytes: nearest even, saturating at 127; a NaN becomes 0.
HWY_INLINE void EncodeI8(FloatVector v, uint8_t* p) {
  const FloatVector kept = hn::Min(hn::Max(v, hn::Set(kFloats, -127.0f)), hn::Set(kFloats, 127.0f));
  const auto rounded = hn::NearestInt(hn::IfThenElseZero(hn::Eq(v, v), kept));
  hn::StoreU(hn::BitCast(Bytes(), hn::DemoteTo(hn::RebindToSigned<Bytes>(), rounded)), Bytes(), p);
}

/// x * sigmoid(x). Highway's exponential is valid up to 104; above 88 the result is below 1e-36 anyway.
HWY_INLINE FloatVector Silu(FloatVector x) {
  const FloatVector exponent = hn::Min(hn::Neg(x), hn::Set(kFloats, 88.0f));
  return hn::Div(x, hn::Add(hn::Set(kFloats, 1.0f), hn::Exp(kFloats, exponent)));
}

/// Sum of f(i, n) over vectors of [0, size), n elements each; lanes past the end must be zero. The order of additions
/// depends on `size` alone.
template <typename Function>
HWY_INLINE float SumVectors(int64_t size, const Function& f) {
  FloatVector sum0 = hn::Zero(kFloats), sum1 = sum0, sum2 = sum0, sum3 = sum0;
  int64_t i = 0;
  for (; i + 4 * kLanes <= size; i += 4 * kLanes) {
    sum0 = hn::Add(sum0, f(i, kLanes));
    sum1 = hn::Add(sum1, f(i + kLanes, kLanes));
    sum2 = hn::Add(sum2, f(i + 2 * kLanes, kLanes));
    sum3 = hn::Add(sum3, f(i + 3 * kLanes, kLanes));
  }
  for (; i < size; i += kLanes) {
    sum0 = hn::Add(sum0, f(i, size - i));
  }
  return hn::GetLane(hn::SumOfLanes(kFloats, hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3))));
}

/// Calls f(i, n) for each vector of [0, size).
template <typename Function>
HWY_INLINE void ForVectors(int64_t size, const Function& f) {
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    f(i, kLanes);
  }
  if (i < size) {
    f(i, size - i);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace nemotron::runtime::cpu
HWY_AFTER_NAMESPACE();

#endif  // toggle
