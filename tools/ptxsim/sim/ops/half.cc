// f16 and bf16, alone and in pairs: PTX ISA 9.0, section 9.7.4. One value is computed in f32 and rounded once more,
// which for sums and products of 11 bits gives the right result, for 24 >= 2 * 11 + 2; fma needs more, see `Fma`.
#include <algorithm>
#include <cmath>

#include "tools/ptxsim/sim/decoder.h"
#include "tools/ptxsim/sim/floating.h"
#include "tools/ptxsim/sim/lanes.h"

namespace nemotron::ptxsim {
namespace {

struct Half {
  static constexpr SmallFormat kFormat = kF16Format;
  static float Load(uint16_t bits) { return HalfToFloat(bits); }
  static uint16_t Round(float value) { return FloatToHalf(value); }
};
struct Bfloat {
  static constexpr SmallFormat kFormat = kBf16Format;
  static float Load(uint16_t bits) { return BfloatToFloat(bits); }
  static uint16_t Round(float value) { return FloatToBfloat(value); }
};

constexpr uint16_t kSignBit = 0x8000;

enum class HalfOp { kAdd, kSub, kMul, kFma, kMin, kMax, kMinNan, kMaxNan, kNeg, kAbs, kEx2, kTanh };
enum class Finish { kNone, kSat, kRelu };

template <typename F>
uint16_t FlushHalf(uint16_t bits) {
  constexpr uint16_t kExponent = ((1 << F::kFormat.exponent_bits) - 1) << F::kFormat.mantissa_bits;
  return bits & kExponent ? bits : bits & kSignBit;
}

/// The product is exact in double. The sum to odd keeps what decides a tie.
template <typename F>
uint16_t Fma(uint16_t a, uint16_t b, uint16_t c) {
  const double product = static_cast<double>(F::Load(a)) * F::Load(b);
  return F::Round(ToFloatOdd(AddToOdd(product, F::Load(c))));
}

template <typename F>
uint16_t MinMax(uint16_t a, uint16_t b, bool is_max, bool propagates_nan) {
  const float x = F::Load(a), y = F::Load(b);
  if (x != x || y != y) {
    return propagates_nan || (x != x && y != y) ? uint16_t{0x7fff} : x != x ? b : a;
  }
  if (x == y) {
    return std::signbit(x) == is_max ? b : a;
  }
  return (x < y) == is_max ? b : a;
}

template <typename F, HalfOp op>
uint16_t Compute(uint16_t a, uint16_t b, uint16_t c) {
  switch (op) {
    case HalfOp::kAdd:
      return F::Round(F::Load(a) + F::Load(b));
    case HalfOp::kSub:
      return F::Round(F::Load(a) - F::Load(b));
    case HalfOp::kMul:
      return F::Round(F::Load(a) * F::Load(b));
    case HalfOp::kFma:
      return Fma<F>(a, b, c);
    case HalfOp::kMin:
      return MinMax<F>(a, b, false, false);
    case HalfOp::kMax:
      return MinMax<F>(a, b, true, false);
    case HalfOp::kMinNan:
      return MinMax<F>(a, b, false, true);
    case HalfOp::kMaxNan:
      return MinMax<F>(a, b, true, true);
    case HalfOp::kNeg:
      return a ^ kSignBit;
    case HalfOp::kAbs:
      return a & ~kSignBit;
    case HalfOp::kEx2:
      return F::Round(std::exp2(F::Load(a)));
    case HalfOp::kTanh:
      return F::Round(std::tanh(F::Load(a)));
  }
}

template <typename F, HalfOp op, bool kFtz, Finish finish>
uint16_t Apply(uint16_t a, uint16_t b, uint16_t c) {
  if constexpr (kFtz) {
    a = FlushHalf<F>(a);
    b = FlushHalf<F>(b);
    c = FlushHalf<F>(c);
  }
  uint16_t value = Compute<F, op>(a, b, c);
  if constexpr (kFtz) {
    value = FlushHalf<F>(value);
  }
  if constexpr (finish == Finish::kSat) {
    value = F::Round(Saturated(F::Load(value)));
  } else if constexpr (finish == Finish::kRelu) {
    const bool is_nan = F::Load(value) != F::Load(value);
    value = is_nan ? uint16_t{0x7fff} : value & kSignBit ? uint16_t{0} : value;
  }
  return value;
}

/// One value, or both of a pair.
template <typename F, HalfOp op, bool kFtz, Finish finish, bool kPacked>
uint32_t ApplyToWord(uint32_t a, uint32_t b, uint32_t c) {
  auto half = [](uint32_t word, int shift) { return static_cast<uint16_t>(word >> shift); };
  const uint32_t low = Apply<F, op, kFtz, finish>(half(a, 0), half(b, 0), half(c, 0));
  return kPacked ? uint32_t{Apply<F, op, kFtz, finish>(half(a, 16), half(b, 16), half(c, 16))} << 16 | low : low;
}
template <typename F, HalfOp op, bool kFtz, Finish finish, bool kPacked>
uint32_t ApplyToOne(uint32_t a) {
  return ApplyToWord<F, op, kFtz, finish, kPacked>(a, 0, 0);
}
template <typename F, HalfOp op, bool kFtz, Finish finish, bool kPacked>
uint32_t ApplyToTwo(uint32_t a, uint32_t b) {
  return ApplyToWord<F, op, kFtz, finish, kPacked>(a, b, 0);
}

template <typename F, HalfOp op, bool kFtz, Finish finish, bool kPacked, int kSources>
constexpr Handler Instantiate() {
  if constexpr (kSources == 1) {
    return kLaneMap<ApplyToOne<F, op, kFtz, finish, kPacked>>;
  } else if constexpr (kSources == 2) {
    return kLaneMap<ApplyToTwo<F, op, kFtz, finish, kPacked>>;
  } else {
    return kLaneMap<ApplyToWord<F, op, kFtz, finish, kPacked>>;
  }
}

template <typename F, HalfOp op, int kSources>
Handler PickForm(bool packed, bool ftz, Finish finish) {
  auto pick = [&]<bool kFtz, Finish kFinish>() {
    return packed ? Instantiate<F, op, kFtz, kFinish, true, kSources>()
                  : Instantiate<F, op, kFtz, kFinish, false, kSources>();
  };
  switch (finish) {
    case Finish::kNone:
      return ftz ? pick.template operator()<true, Finish::kNone>() : pick.template operator()<false, Finish::kNone>();
    case Finish::kSat:
      return ftz ? pick.template operator()<true, Finish::kSat>() : pick.template operator()<false, Finish::kSat>();
    case Finish::kRelu:
      return ftz ? pick.template operator()<true, Finish::kRelu>() : pick.template operator()<false, Finish::kRelu>();
  }
  return nullptr;
}

template <HalfOp op, int kSources>
void EmitHalf(Decoder& d, bool ftz, Finish finish) {
  const Format format = d.TakeFormat();
  const bool is_bf16 = format == Format::kBf16 || format == Format::kBf16x2;
  const bool packed = format == Format::kF16x2 || format == Format::kBf16x2;
  if (is_bf16 && finish == Finish::kSat) {
    return d.Fail("bf16 has no '.sat'");
  }
  std::vector<uint32_t> sources;
  for (size_t i = 1; i <= kSources; ++i) {
    sources.push_back(d.Source(i, format));
  }
  const uint32_t result = d.Result(0, format);
  d.Emit(
      is_bf16 ? PickForm<Bfloat, op, kSources>(packed, ftz, finish) : PickForm<Half, op, kSources>(packed, ftz, finish),
      std::span(&result, 1), sources);
}

template <HalfOp op, int kSources>
void DecodeArithmetic(Decoder& d) {
  d.CountAs(InstructionClass::kFloat);
  d.Take("rn");
  const bool ftz = d.Take("ftz"), sat = d.Take("sat"), relu = op == HalfOp::kFma && d.Take("relu");
  EmitHalf<op, kSources>(d, ftz, sat ? Finish::kSat : relu ? Finish::kRelu : Finish::kNone);
}

template <HalfOp op, HalfOp nan_op>
void DecodeMinMax(Decoder& d) {
  d.CountAs(InstructionClass::kFloat);
  const bool ftz = d.Take("ftz");
  d.Take("NaN") ? EmitHalf<nan_op, 2>(d, ftz, Finish::kNone) : EmitHalf<op, 2>(d, ftz, Finish::kNone);
}

template <HalfOp op>
void DecodeSign(Decoder& d) {
  d.CountAs(InstructionClass::kFloat);
  EmitHalf<op, 1>(d, d.Take("ftz"), Finish::kNone);
}

template <HalfOp op>
void DecodeSpecial(Decoder& d) {
  d.CountAs(InstructionClass::kSpecial);
  if (!d.Take("approx")) {
    return d.Fail("expected '.approx'");
  }
  EmitHalf<op, 1>(d, d.Take("ftz"), Finish::kNone);
}

constexpr OpcodeEntry kOpcodes[] = {
    {"add", FormatClass::kHalf, DecodeArithmetic<HalfOp::kAdd, 2>},
    {"sub", FormatClass::kHalf, DecodeArithmetic<HalfOp::kSub, 2>},
    {"mul", FormatClass::kHalf, DecodeArithmetic<HalfOp::kMul, 2>},
    {"fma", FormatClass::kHalf, DecodeArithmetic<HalfOp::kFma, 3>},
    {"min", FormatClass::kHalf, DecodeMinMax<HalfOp::kMin, HalfOp::kMinNan>},
    {"max", FormatClass::kHalf, DecodeMinMax<HalfOp::kMax, HalfOp::kMaxNan>},
    {"neg", FormatClass::kHalf, DecodeSign<HalfOp::kNeg>},
    {"abs", FormatClass::kHalf, DecodeSign<HalfOp::kAbs>},
    {"ex2", FormatClass::kHalf, DecodeSpecial<HalfOp::kEx2>},
    {"tanh", FormatClass::kHalf, DecodeSpecial<HalfOp::kTanh>},
};

}  // namespace

std::span<const OpcodeEntry> HalfOpcodes() { return kOpcodes; }

}  // namespace nemotron::ptxsim
