// Arithmetic of f32 and f64 to nearest: PTX ISA 9.0, section 9.7.3. Directed rounding is in float_directed.cc, what the
// special function unit does in special_function.cc.
#include <cmath>

#include "tools/ptxsim/sim/decoder.h"
#include "tools/ptxsim/sim/floating.h"
#include "tools/ptxsim/sim/lanes.h"
#include "tools/ptxsim/sim/ops/float_ops.h"

namespace nemotron::ptxsim {
namespace {

template <FloatOp op, typename T>
T Compute(T a, T b, T c) {
  switch (op) {
    case FloatOp::kAdd:
      return a + b;
    case FloatOp::kSub:
      return a - b;
    case FloatOp::kMul:
      return a * b;
    case FloatOp::kFma:
      return sizeof(T) == 4
                 ? static_cast<T>(__builtin_fmaf(static_cast<float>(a), static_cast<float>(b), static_cast<float>(c)))
                 : static_cast<T>(__builtin_fma(a, b, c));
    case FloatOp::kDiv:
      return a / b;
  }
}

template <FloatOp op, bool kFtz, bool kSat>
float ComputeF32(float a, float b, float c) {
  if constexpr (kFtz) {
    a = FlushToZero(a);
    b = FlushToZero(b);
    c = FlushToZero(c);
  }
  float value = Canonical(Compute<op, float>(a, b, c));
  if constexpr (kFtz) {
    value = FlushToZero(value);
  }
  return kSat ? Saturated(value) : value;
}

template <FloatOp op, bool kFtz, bool kSat>
constexpr Handler F32Handler() {
  if constexpr (op == FloatOp::kFma) {
    return kLaneMap<ComputeF32<op, kFtz, kSat>>;
  } else {
    return kLaneMap<[](float a, float b) -> float { return ComputeF32<op, kFtz, kSat>(a, b, 0.0f); }>;
  }
}

template <FloatOp op>
Handler NearestHandler(Format format, bool ftz, bool sat) {
  if (format == Format::kF32) {
    return ftz ? (sat ? F32Handler<op, true, true>() : F32Handler<op, true, false>())
               : (sat ? F32Handler<op, false, true>() : F32Handler<op, false, false>());
  }
  if (ftz || sat) {
    return nullptr;
  }
  if constexpr (op == FloatOp::kFma) {
    return kLaneMap<[](double a, double b, double c) -> double { return Compute<op, double>(a, b, c); }>;
  } else {
    return kLaneMap<[](double a, double b) -> double { return Compute<op, double>(a, b, 0.0); }>;
  }
}

template <FloatOp op>
void DecodeArithmetic(Decoder& d) {
  const int rounding = d.TakeOneOf({"rn", "rz", "rm", "rp"});
  const bool approximate =
      op == FloatOp::kDiv && (d.Take("approx") || d.Take("full"));  // to nearest is better than asked for
  const bool ftz = d.Take("ftz"), sat = d.Take("sat");
  const Format format = d.TakeFormat();
  d.CountAs(format == Format::kF64 ? InstructionClass::kDouble : InstructionClass::kFloat);
  if (approximate && format != Format::kF32) {
    return d.Fail("approximate division is for f32");
  }
  std::vector<uint32_t> sources = {d.Source(1, format), d.Source(2, format)};
  if (op == FloatOp::kFma) {
    sources.push_back(d.Source(3, format));
  }
  const uint32_t result = d.Result(0, format);
  const bool directed = rounding > 0;
  const Handler handler = directed ? DirectedHandler(op, format) : NearestHandler<op>(format, ftz, sat);
  Op& emitted = d.Emit(handler, std::span(&result, 1), sources);
  if (directed) {
    emitted.options = {static_cast<uint8_t>(rounding), ftz, sat};
    if (format == Format::kF64 && (ftz || sat)) {
      d.Fail("f64 has neither '.ftz' nor '.sat'");
    }
  }
}

template <typename T>
T PickMinMax(T a, T b, bool is_max, bool propagates_nan) {
  if (a != a || b != b) {
    if (propagates_nan || (a != a && b != b)) {
      return std::bit_cast<T>(static_cast<std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>>(
          sizeof(T) == 4 ? 0x7fffffffu : 0x7fffffffffffffffull));
    }
    return a != a ? b : a;
  }
  if (a == b) {  // of two zeros, +0 is the larger
    return std::signbit(a) == is_max ? b : a;
  }
  return (a < b) == is_max ? b : a;
}

template <bool kMax>
void DecodeMinMax(Decoder& d) {
  const bool ftz = d.Take("ftz"), nan = d.Take("NaN"), xorsign = d.Take("xorsign");
  if (xorsign && !d.Take("abs")) {
    return d.Fail("expected '.xorsign.abs'");
  }
  const Format format = d.TakeFormat();
  d.CountAs(format == Format::kF64 ? InstructionClass::kDouble : InstructionClass::kFloat);
  constexpr Handler kF32[2][2] = {
      {kLaneMap<[](float a, float b) -> float { return PickMinMax(a, b, kMax, false); }>,
       kLaneMap<[](float a, float b) -> float { return PickMinMax(a, b, kMax, true); }>},
      {kLaneMap<[](float a, float b) -> float { return PickMinMax(FlushToZero(a), FlushToZero(b), kMax, false); }>,
       kLaneMap<[](float a, float b) -> float { return PickMinMax(FlushToZero(a), FlushToZero(b), kMax, true); }>}};
  constexpr Handler kXorSign = kLaneMap<[](float a, float b) -> float {
    const float picked = PickMinMax(std::fabs(a), std::fabs(b), kMax, false);
    return picked != picked ? picked : std::copysign(picked, std::signbit(a) != std::signbit(b) ? -1.0f : 1.0f);
  }>;
  constexpr Handler kF64 = kLaneMap<[](double a, double b) -> double { return PickMinMax(a, b, kMax, false); }>;
  Handler handler = nullptr;
  if (xorsign) {
    handler = format == Format::kF32 && !ftz && !nan ? kXorSign : nullptr;
  } else if (format == Format::kF32) {
    handler = kF32[ftz][nan];
  } else if (!ftz && !nan) {
    handler = kF64;
  }
  const uint32_t a = d.Source(1, format), b = d.Source(2, format);
  d.Emit(handler, {d.Result(0, format)}, {a, b});
}

/// abs and neg only change the sign, of NaN too.
template <bool kAbs>
void DecodeSign(Decoder& d) {
  const bool ftz = d.Take("ftz");
  const Format format = d.TakeFormat();
  d.CountAs(format == Format::kF64 ? InstructionClass::kDouble : InstructionClass::kFloat);
  constexpr Handler kF32[2] = {kLaneMap<[](float a) -> float { return kAbs ? std::fabs(a) : -a; }>,
                               kLaneMap<[](float a) -> float { return FlushToZero(kAbs ? std::fabs(a) : -a); }>};
  constexpr Handler kF64 = kLaneMap<[](double a) -> double { return kAbs ? std::fabs(a) : -a; }>;
  d.Emit(format == Format::kF32 ? kF32[ftz] : ftz ? nullptr : kF64, {d.Result(0, format)}, {d.Source(1, format)});
}

/// The sign of a on the magnitude of b.
void DecodeCopysign(Decoder& d) {
  const Format format = d.TakeFormat();
  d.CountAs(format == Format::kF64 ? InstructionClass::kDouble : InstructionClass::kFloat);
  constexpr Handler kF32 = kLaneMap<[](float a, float b) -> float { return std::copysign(b, a); }>;
  constexpr Handler kF64 = kLaneMap<[](double a, double b) -> double { return std::copysign(b, a); }>;
  const uint32_t a = d.Source(1, format), b = d.Source(2, format);
  d.Emit(format == Format::kF32 ? kF32 : kF64, {d.Result(0, format)}, {a, b});
}

enum class Property { kFinite, kInfinite, kNumber, kNotANumber, kNormal, kSubnormal };

template <Property property, typename T>
constexpr Handler kTest = kLaneMap<[](T a) -> bool {
  switch (property) {
    case Property::kFinite:
      return std::isfinite(a);
    case Property::kInfinite:
      return std::isinf(a);
    case Property::kNumber:
      return a == a;
    case Property::kNotANumber:
      return a != a;
    case Property::kNormal:
      return std::isnormal(a);
    case Property::kSubnormal:
      return a == 0 || (std::isfinite(a) && !std::isnormal(a));  // zeros count as such
  }
}>;

template <typename T>
Handler TestHandler(int property) {
  constexpr Handler kHandlers[] = {kTest<Property::kFinite, T>, kTest<Property::kInfinite, T>,
                                   kTest<Property::kNumber, T>, kTest<Property::kNotANumber, T>,
                                   kTest<Property::kNormal, T>, kTest<Property::kSubnormal, T>};
  return property < 0 ? nullptr : kHandlers[property];
}

void DecodeTestp(Decoder& d) {
  const int property = d.TakeOneOf({"finite", "infinite", "number", "notanumber", "normal", "subnormal"});
  const Format format = d.TakeFormat();
  d.CountAs(format == Format::kF64 ? InstructionClass::kDouble : InstructionClass::kFloat);
  d.Emit(format == Format::kF32 ? TestHandler<float>(property) : TestHandler<double>(property),
         {d.Result(0, Format::kPred)}, {d.Source(1, format)});
}

constexpr OpcodeEntry kOpcodes[] = {
    {"add", FormatClass::kFloat, DecodeArithmetic<FloatOp::kAdd>},
    {"sub", FormatClass::kFloat, DecodeArithmetic<FloatOp::kSub>},
    {"mul", FormatClass::kFloat, DecodeArithmetic<FloatOp::kMul>},
    {"fma", FormatClass::kFloat, DecodeArithmetic<FloatOp::kFma>},
    {"mad", FormatClass::kFloat, DecodeArithmetic<FloatOp::kFma>},
    {"div", FormatClass::kFloat, DecodeArithmetic<FloatOp::kDiv>},
    {"min", FormatClass::kFloat, DecodeMinMax<false>},
    {"max", FormatClass::kFloat, DecodeMinMax<true>},
    {"abs", FormatClass::kFloat, DecodeSign<true>},
    {"neg", FormatClass::kFloat, DecodeSign<false>},
    {"copysign", FormatClass::kFloat, DecodeCopysign},
    {"testp", FormatClass::kFloat, DecodeTestp},
};

}  // namespace

std::span<const OpcodeEntry> FloatOpcodes() { return kOpcodes; }

}  // namespace nemotron::ptxsim
