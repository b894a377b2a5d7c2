// cvt: PTX ISA 9.0, section 9.7.9.21. Frequent forms have handlers of their own that vectorise; the rest goes through
// one that holds a value as an integer of 128 bits or a double, both of which are exact for every source.
#include <algorithm>
#include <cmath>
#include <optional>

#include "tools/ptxsim/sim/decoder.h"
#include "tools/ptxsim/sim/floating.h"
#include "tools/ptxsim/sim/lanes.h"

namespace nemotron::ptxsim {
namespace {

/// Options of the general handler.
struct Conversion {
  Format to, from;
  Rounding rounding = Rounding::kNearest;
  bool to_integral = false;  ///< .rni and the like
  bool ftz = false, sat = false, relu = false, satfinite = false;
};

std::array<uint8_t, 8> Encode(const Conversion& c) {
  return {static_cast<uint8_t>(c.to),
          static_cast<uint8_t>(c.from),
          static_cast<uint8_t>(c.rounding),
          c.to_integral,
          c.ftz,
          c.sat,
          c.relu,
          c.satfinite};
}
Conversion DecodeOptions(const Op& op) {
  return {static_cast<Format>(op.options[0]),
          static_cast<Format>(op.options[1]),
          static_cast<Rounding>(op.options[2]),
          op.options[3] != 0,
          op.options[4] != 0,
          op.options[5] != 0,
          op.options[6] != 0,
          op.options[7] != 0};
}

bool IsInteger(Format format) { return ClassOf(format) == FormatClass::kInteger; }

const SmallFormat* SmallFormatOf(Format format) {
  switch (format) {
    case Format::kF32:
      return &kF32Format;
    case Format::kTf32:
      return &kTf32Format;
    case Format::kF16:
    case Format::kF16x2:
      return &kF16Format;
    case Format::kBf16:
    case Format::kBf16x2:
      return &kBf16Format;
    case Format::kE4m3x2:
      return &kE4m3Format;
    case Format::kE5m2x2:
      return &kE5m2Format;
    default:
      return nullptr;
  }
}

__int128 LoadInteger(Format format, uint64_t bits) {
  const int unused = 64 - 8 * BytesOf(format);
  return IsSigned(format) ? static_cast<int64_t>(bits << unused) >> unused : __int128{(bits << unused) >> unused};
}

double LoadFloat(Format format, uint64_t bits, bool ftz) {
  if (format == Format::kF64) {
    return std::bit_cast<double>(bits);
  }
  const auto narrow = static_cast<uint32_t>(bits);
  if (format == Format::kF32) {
    const auto value = std::bit_cast<float>(narrow);
    return ftz ? FlushToZero(value) : value;
  }
  return format == Format::kF16 ? HalfToFloat(static_cast<uint16_t>(narrow))
                                : BfloatToFloat(static_cast<uint16_t>(narrow));
}

double RoundToIntegral(double value, Rounding rounding) {
  switch (rounding) {
    case Rounding::kNearest:
      return std::nearbyint(value);
    case Rounding::kNearestAway:
      return std::round(value);
    case Rounding::kZero:
      return std::trunc(value);
    case Rounding::kDown:
      return std::floor(value);
    case Rounding::kUp:
      return std::ceil(value);
  }
  return value;
}

uint64_t StoreInteger(Format format, __int128 value, bool clamps) {
  const int bits = 8 * BytesOf(format);
  const bool is_signed = IsSigned(format);
  const __int128 most = (__int128{1} << (is_signed ? bits - 1 : bits)) - 1, least = is_signed ? -most - 1 : 0;
  return static_cast<uint64_t>(
      LoadInteger(format, static_cast<uint64_t>(clamps ? std::clamp(value, least, most) : value)));
}

/// Floats beyond the range of an integer are clamped to it, with or without `.sat`, and NaN becomes 0.
uint64_t FloatToInteger(const Conversion& c, double value) {
  if (value != value) {
    return 0;
  }
  const double rounded = std::clamp(RoundToIntegral(value, c.rounding), -0x1p100, 0x1p100);
  return StoreInteger(c.to, static_cast<__int128>(rounded), /*clamps=*/true);
}

/// A double that lies between the same numbers of 51 bits or less as the integer does.
double IntegerToOdd(__int128 value) {
  const auto high = static_cast<double>(static_cast<int64_t>(value >> 32)) * 0x1p32;
  return AddToOdd(high, static_cast<double>(static_cast<uint32_t>(value)));
}

double IntegerToDouble(__int128 value, Rounding rounding) {
  const double nearest = static_cast<double>(value);
  const auto back = static_cast<__int128>(nearest);
  const bool goes_up = rounding == Rounding::kUp || (rounding == Rounding::kZero && value < 0);
  const bool goes_down = rounding == Rounding::kDown || (rounding == Rounding::kZero && value > 0);
  if (goes_up && back < value) {
    return std::nextafter(nearest, INFINITY);
  }
  return goes_down && back > value ? std::nextafter(nearest, -INFINITY) : nearest;
}

uint64_t StoreFloat(const Conversion& c, double value) {
  if (c.sat) {
    value = Saturated(value);
  }
  if (c.relu && value <= 0) {
    value = 0;
  }
  if (c.to == Format::kF64) {
    return std::bit_cast<uint64_t>(value);
  }
  const uint32_t bits = RoundTo(*SmallFormatOf(c.to), value, c.rounding, c.satfinite);
  if (c.to == Format::kTf32) {
    return uint64_t{bits} << 13;
  }
  return c.ftz && c.to == Format::kF32 ? std::bit_cast<uint32_t>(FlushToZero(std::bit_cast<float>(bits))) : bits;
}

uint64_t Convert(const Conversion& c, uint64_t bits) {
  if (IsInteger(c.from)) {
    const __int128 value = LoadInteger(c.from, bits);
    if (IsInteger(c.to)) {
      return StoreInteger(c.to, value, c.sat);
    }
    return StoreFloat(c, c.to == Format::kF64 ? IntegerToDouble(value, c.rounding) : IntegerToOdd(value));
  }
  const double value = LoadFloat(c.from, bits, c.ftz);
  if (IsInteger(c.to)) {
    return FloatToInteger(c, value);
  }
  return StoreFloat(c, c.to_integral ? RoundToIntegral(value, c.rounding) : value);
}

template <typename To, typename From>
Flow ConvertLanes(Warp& warp, const Op& op, uint32_t mask) {
  const Conversion conversion = DecodeOptions(op);
  const From* source = warp.Row<From>(op.rows[1]);
  To* result = warp.Row<To>(op.rows[0]);
  ForEachLane(mask, [&](int lane) { result[lane] = static_cast<To>(Convert(conversion, source[lane])); });
  return Flow::kNext;
}

/// Two sources of f32, the first into the upper half.
Flow ConvertPair(Warp& warp, const Op& op, uint32_t mask) {
  const Conversion conversion = DecodeOptions(op);
  const float* high = warp.Row<float>(op.rows[1]);
  const float* low = warp.Row<float>(op.rows[2]);
  uint32_t* result = warp.Row<uint32_t>(op.rows[0]);
  const int half_bits = 4 * BytesOf(conversion.to);
  ForEachLane(mask, [&](int lane) {
    result[lane] =
        static_cast<uint32_t>(StoreFloat(conversion, high[lane]) << half_bits | StoreFloat(conversion, low[lane]));
  });
  return Flow::kNext;
}

/// Pairs of 8-bit floats and of f16 or bf16, either way.
Flow ConvertPacked(Warp& warp, const Op& op, uint32_t mask) {
  const Conversion conversion = DecodeOptions(op);
  const uint32_t* source = warp.Row<uint32_t>(op.rows[1]);
  uint32_t* result = warp.Row<uint32_t>(op.rows[0]);
  const SmallFormat& from = *SmallFormatOf(conversion.from);
  const int from_bits = 4 * BytesOf(conversion.from), to_bits = 4 * BytesOf(conversion.to);
  ForEachLane(mask, [&](int lane) {
    const uint32_t low = source[lane] & ((1u << from_bits) - 1),
                   high = source[lane] >> from_bits & ((1u << from_bits) - 1);
    result[lane] = static_cast<uint32_t>(StoreFloat(conversion, ToDouble(from, high)) << to_bits |
                                         StoreFloat(conversion, ToDouble(from, low)));
  });
  return Flow::kNext;
}

/// Integers of different size: rows hold them sign- or zero-extended to a register.
template <typename T>
using Extended = std::conditional_t<sizeof(T) == 8, T, std::conditional_t<std::is_signed_v<T>, int32_t, uint32_t>>;
template <typename From, typename To>
Extended<To> Resize(From a) {
  return static_cast<To>(a);
}

template <typename From>
Handler IntegerHandler(Format to) {
  return ForInteger(to, []<typename To>() -> Handler { return kLaneMap<Resize<From, To>>; });
}

/// Forms that matter for speed, without any modifier but the rounding.
Handler QuickHandler(const Conversion& c) {
  if (c.ftz || c.sat || c.relu || c.satfinite) {
    return nullptr;
  }
  if (IsInteger(c.from) && IsInteger(c.to)) {
    return ForInteger(c.from, [&]<typename From>() { return IntegerHandler<From>(c.to); });
  }
  auto is = [&](Format to, Format from) {
    return c.to == to && c.from == from && c.rounding == Rounding::kNearest && !c.to_integral;
  };
  if (is(Format::kF32, Format::kS32)) {
    return kLaneMap<[](int32_t a) -> float { return static_cast<float>(a); }>;
  }
  if (is(Format::kF32, Format::kU32)) {
    return kLaneMap<[](uint32_t a) -> float { return static_cast<float>(a); }>;
  }
  if (is(Format::kF32, Format::kF16)) {
    return kLaneMap<[](uint32_t a) -> float { return Canonical(HalfToFloat(static_cast<uint16_t>(a))); }>;
  }
  if (is(Format::kF32, Format::kBf16)) {
    return kLaneMap<[](uint32_t a) -> float { return Canonical(BfloatToFloat(static_cast<uint16_t>(a))); }>;
  }
  if (is(Format::kF16, Format::kF32)) {
    return kLaneMap<[](float a) -> uint32_t { return FloatToHalf(a); }>;
  }
  if (is(Format::kBf16, Format::kF32)) {
    return kLaneMap<[](float a) -> uint32_t { return FloatToBfloat(a); }>;
  }
  if (is(Format::kF64, Format::kF32)) {
    return kLaneMap<[](float a) -> double { return a; }>;
  }
  if (c.to == Format::kS32 && c.from == Format::kF32 && c.rounding == Rounding::kZero) {
    return kLaneMap<[](float a) -> int32_t {
      return a != a ? 0 : a >= 0x1p31f ? INT32_MAX : a < -0x1p31f ? INT32_MIN : static_cast<int32_t>(a);
    }>;
  }
  return nullptr;
}

void EmitPair(Decoder& d, const Conversion& c) {
  const uint32_t high = d.Source(1, Format::kF32), low = d.Source(2, Format::kF32);
  Handler handler = &ConvertPair;
  if (c.rounding == Rounding::kNearest && !c.relu && !c.satfinite) {
    if (c.to == Format::kF16x2) {
      handler = kLaneMap<[](float a, float b) -> uint32_t { return uint32_t{FloatToHalf(a)} << 16 | FloatToHalf(b); }>;
    } else if (c.to == Format::kBf16x2) {
      handler =
          kLaneMap<[](float a, float b) -> uint32_t { return uint32_t{FloatToBfloat(a)} << 16 | FloatToBfloat(b); }>;
    }
  }
  d.Emit(handler, {d.Result(0, c.to)}, {high, low}).options = Encode(c);
}

bool IsFp8Pair(Format format) { return format == Format::kE4m3x2 || format == Format::kE5m2x2; }

void EmitPacked(Decoder& d, const Conversion& c) {
  const uint32_t source = d.Source(1, c.from);
  d.Emit(&ConvertPacked, {d.Result(0, c.to)}, {source}).options = Encode(c);
}

/// One value. Registers may be wider than the types: sources are cut and results extended.
void EmitScalar(Decoder& d, const Conversion& c) {
  const int from_bytes = SlotBytesOf(c.from), to_bytes = SlotBytesOf(c.to);
  Handler handler = QuickHandler(c);
  if (!handler) {
    handler = from_bytes == 4 ? (to_bytes == 4 ? &ConvertLanes<uint32_t, uint32_t> : &ConvertLanes<uint64_t, uint32_t>)
                              : (to_bytes == 4 ? &ConvertLanes<uint32_t, uint64_t> : &ConvertLanes<uint64_t, uint64_t>);
  }
  const uint32_t source = d.WideSource(d.operand(1), c.from);
  const bool widens = to_bytes == 4 && d.SlotBytes(d.operand(0)) == 8;
  const uint32_t result = widens ? d.ScratchRow(4) : d.Result(0, c.to);
  d.Emit(handler, {result}, {source}).options = Encode(c);
  if (widens) {
    const Handler extend = IsSigned(c.to) ? kLaneMap<[](int32_t a) -> int64_t { return a; }>
                                          : kLaneMap<[](uint32_t a) -> uint64_t { return a; }>;
    d.Emit(extend, {d.Result(0, Format::kB64)}, {result});
  }
}

/// What the manual asks of modifiers and types together; nothing if all is well.
std::optional<std::string> CheckForm(const Conversion& c, bool has_rounding, bool has_integral) {
  const bool to_float = !IsInteger(c.to), from_float = !IsInteger(c.from);
  if (!to_float && from_float && !has_integral) {
    return "expected a rounding to an integer";
  }
  if (has_integral && !from_float) {
    return "integers have no rounding to integers";
  }
  if (has_rounding && !to_float) {
    return "expected no rounding of floats";
  }
  if (c.relu && (!to_float || !from_float)) {
    return "'.relu' is for floats";
  }
  return std::nullopt;
}

void DecodeCvt(Decoder& d) {
  d.CountAs(InstructionClass::kConversion);
  Conversion c;
  const int integral = d.TakeOneOf({"rni", "rzi", "rmi", "rpi"});
  const int rounding = d.TakeOneOf({"rn", "rz", "rm", "rp", "rna"});
  c.rounding = static_cast<Rounding>(std::max({integral, rounding, 0}));
  c.to_integral = integral >= 0;
  c.ftz = d.Take("ftz");
  c.sat = d.Take("sat");
  c.relu = d.Take("relu");
  c.satfinite = d.Take("satfinite");
  c.to = d.TakeFormat();
  c.from = d.TakeFormat();
  if (IsFp8Pair(c.to) || IsFp8Pair(c.from)) {
    d.Requires(89, "cvt of 8-bit floats");
    if (IsFp8Pair(c.to) && c.from == Format::kF32 && c.satfinite && rounding == 0) {
      return EmitPair(d, c);
    }
    const bool narrows = IsFp8Pair(c.to) && (c.from == Format::kF16x2 || c.from == Format::kBf16x2) && c.satfinite;
    if (rounding == 0 && (narrows || (IsFp8Pair(c.from) && c.to == Format::kF16x2 && !c.satfinite))) {
      return EmitPacked(d, c);
    }
    return d.Fail("the simulator does not have this conversion");
  }
  if (c.to == Format::kF16x2 || c.to == Format::kBf16x2) {
    return c.from == Format::kF32 && rounding >= 0 && rounding <= 1 && !c.sat && !c.ftz
               ? EmitPair(d, c)
               : d.Fail("the simulator does not have this conversion");
  }
  if (c.to == Format::kTf32) {
    if (c.from != Format::kF32 || rounding < 0 || c.sat || c.ftz) {
      return d.Fail("the simulator does not have this conversion");
    }
    return EmitScalar(d, c);
  }
  auto is_scalar = [](Format f) {
    return (IsInteger(f) && f != Format::kB128) || f == Format::kF16 || f == Format::kBf16 || f == Format::kF32 ||
           f == Format::kF64;
  };
  if (!is_scalar(c.to) || !is_scalar(c.from) || rounding == static_cast<int>(Rounding::kNearestAway)) {
    return d.Fail("the simulator does not have this conversion");
  }
  if (const auto problem = CheckForm(c, rounding >= 0, integral >= 0)) {
    return d.Fail(*problem);
  }
  EmitScalar(d, c);
}

constexpr OpcodeEntry kOpcodes[] = {{"cvt", std::nullopt, DecodeCvt}};

}  // namespace

std::span<const OpcodeEntry> ConvertOpcodes() { return kOpcodes; }

}  // namespace nemotron::ptxsim
