// What the special function unit computes: PTX ISA 9.0, section 9.7.3. Approximate forms have bounds of error there, 1
// ulp of f32 at best; here they are the host's functions of f32, which stay within one ulp, or exact where IEEE 754
// asks.
#include <cmath>

#include "tools/ptxsim/sim/decoder.h"
#include "tools/ptxsim/sim/floating.h"
#include "tools/ptxsim/sim/lanes.h"
#include "tools/ptxsim/sim/ops/float_ops.h"

namespace nemotron::ptxsim {
namespace {

enum class Function { kRcp, kSqrt, kRsqrt, kEx2, kLg2, kSin, kCos, kTanh };

template <Function function>
float Evaluate(float a) {
  switch (function) {
    case Function::kRcp:
      return 1.0f / a;
    case Function::kSqrt:
      return std::sqrt(a);
    case Function::kRsqrt:
      return a == 0 ? 1.0f / a : static_cast<float>(1.0 / std::sqrt(static_cast<double>(a)));
    case Function::kEx2:
      return std::exp2(a);
    case Function::kLg2:
      return std::log2(a);
    case Function::kSin:
      return std::sin(a);
    case Function::kCos:
      return std::cos(a);
    case Function::kTanh:
      return std::tanh(a);
  }
}

template <Function function>
constexpr Handler kF32[2] = {
    kLaneMap<[](float a) -> float { return Canonical(Evaluate<function>(a)); }>,
    kLaneMap<[](float a) -> float { return FlushToZero(Canonical(Evaluate<function>(FlushToZero(a)))); }>};

/// `.approx.f32` with or without `.ftz`: all functions but rcp and sqrt have only that.
template <Function function>
void DecodeApproximate(Decoder& d) {
  if (!d.Take("approx")) {
    return d.Fail("expected '.approx'");
  }
  const bool ftz = d.Take("ftz");
  const Format format = d.TakeFormat();
  d.CountAs(InstructionClass::kSpecial);
  if (function == Function::kRsqrt && format == Format::kF64) {
    constexpr Handler kF64 = kLaneMap<[](double a) -> double { return 1.0 / std::sqrt(a); }>;
    d.Emit(kF64, {d.Result(0, format)}, {d.Source(1, format)});
    return;
  }
  d.Emit(format == Format::kF32 ? kF32<function>[ftz] : nullptr, {d.Result(0, format)}, {d.Source(1, format)});
}

/// rcp and sqrt, with a rounding or approximate.
template <Function function>
void DecodeRounded(Decoder& d) {
  const bool approximate = d.Take("approx");
  const int rounding = approximate ? 0 : d.TakeOneOf({"rn", "rz", "rm", "rp"});
  const bool ftz = d.Take("ftz");
  const Format format = d.TakeFormat();
  d.CountAs(format == Format::kF64 ? InstructionClass::kDouble : InstructionClass::kSpecial);
  if (rounding < 0) {
    return d.Fail("expected a rounding or '.approx'");
  }
  const uint32_t a = d.Source(1, format), result = d.Result(0, format);
  if (rounding > 0) {
    const Handler handler =
        function == Function::kSqrt ? DirectedSqrtHandler(format) : DirectedReciprocalHandler(format);
    d.Emit(handler, {result}, {a}).options = {static_cast<uint8_t>(rounding), ftz};
    return;
  }
  constexpr Handler kF64 =
      kLaneMap<[](double a) -> double { return function == Function::kSqrt ? std::sqrt(a) : 1.0 / a; }>;
  d.Emit(format == Format::kF32 ? kF32<function>[ftz] : kF64, {result}, {a});
}

constexpr OpcodeEntry kOpcodes[] = {
    {"rcp", FormatClass::kFloat, DecodeRounded<Function::kRcp>},
    {"sqrt", FormatClass::kFloat, DecodeRounded<Function::kSqrt>},
    {"rsqrt", FormatClass::kFloat, DecodeApproximate<Function::kRsqrt>},
    {"ex2", FormatClass::kFloat, DecodeApproximate<Function::kEx2>},
    {"lg2", FormatClass::kFloat, DecodeApproximate<Function::kLg2>},
    {"sin", FormatClass::kFloat, DecodeApproximate<Function::kSin>},
    {"cos", FormatClass::kFloat, DecodeApproximate<Function::kCos>},
    {"tanh", FormatClass::kFloat, DecodeApproximate<Function::kTanh>},
};

}  // namespace

std::span<const OpcodeEntry> SpecialFunctionOpcodes() { return kOpcodes; }

}  // namespace nemotron::ptxsim
