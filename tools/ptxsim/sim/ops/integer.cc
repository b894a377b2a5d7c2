// Integer arithmetic: PTX ISA 9.0, sections 9.7.1 and 9.7.2.
#include <algorithm>
#include <limits>

#include "tools/ptxsim/sim/decoder.h"
#include "tools/ptxsim/sim/lanes.h"
#include "tools/ptxsim/sim/ops/integer_ops.h"

namespace nemotron::ptxsim {
namespace {

/// Twice as wide, of the same sign.
template <typename T>
struct WideOf;
template <>
struct WideOf<uint16_t> {
  using Type = uint32_t;
};
template <>
struct WideOf<int16_t> {
  using Type = int32_t;
};
template <>
struct WideOf<uint32_t> {
  using Type = uint64_t;
};
template <>
struct WideOf<int32_t> {
  using Type = int64_t;
};
template <>
struct WideOf<uint64_t> {
  using Type = unsigned __int128;
};
template <>
struct WideOf<int64_t> {
  using Type = __int128;
};
template <typename T>
using Wide = typename WideOf<T>::Type;

// Wrapping arithmetic.
template <typename T>
T WrapAdd(T a, T b) {
  return static_cast<T>(static_cast<Modular<T>>(a) + static_cast<Modular<T>>(b));
}
template <typename T>
T WrapSub(T a, T b) {
  return static_cast<T>(static_cast<Modular<T>>(a) - static_cast<Modular<T>>(b));
}
template <typename T>
T WrapMul(T a, T b) {
  return static_cast<T>(static_cast<Modular<T>>(a) * static_cast<Modular<T>>(b));
}
template <typename T>
T MulHigh(T a, T b) {
  return static_cast<T>((static_cast<Wide<T>>(a) * static_cast<Wide<T>>(b)) >> kBits<T>);
}

template <typename T>
Wide<T> MulWide(T a, T b) {
  return static_cast<Wide<T>>(Wide<T>{a} * Wide<T>{b});
}
template <typename T>
T MadLow(T a, T b, T c) {
  return WrapAdd(WrapMul(a, b), c);
}
template <typename T>
T MadHigh(T a, T b, T c) {
  return WrapAdd(MulHigh(a, b), c);
}
template <typename T>
Wide<T> MadWide(T a, T b, Wide<T> c) {
  return WrapAdd<Wide<T>>(MulWide(a, b), c);
}
template <typename T>
T SumOfDifference(T a, T b, T c) {
  return WrapAdd(a < b ? WrapSub(b, a) : WrapSub(a, b), c);
}
template <typename T>
T Negate(T a) {
  return WrapSub<T>(0, a);
}
template <typename T>
T Magnitude(T a) {
  return a < 0 ? Negate(a) : a;
}
template <typename T>
T Least(T a, T b) {
  return a < b ? a : b;
}
template <typename T>
T Most(T a, T b) {
  return a < b ? b : a;
}

/// Sums that do not fit are clamped (`.sat`, of s32 only).
int32_t Saturate(int64_t value) {
  return static_cast<int32_t>(
      std::clamp<int64_t>(value, std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max()));
}

/// add and sub that write or read the carry flag. Rows: result, a, b. A borrow is a clear carry of a + ~b + 1, and the
/// flag holds the carry out of additions and the borrow out of subtractions (section 9.7.2).
template <typename T, bool kSubtracts, bool kReads, bool kWrites>
Flow AddCarry(Warp& warp, const Op& op, uint32_t mask) {
  const T* a = warp.Row<T>(op.rows[1]);
  const T* b = warp.Row<T>(op.rows[2]);
  T* result = warp.Row<T>(op.rows[0]);
  ForEachLane(mask, [&](int lane) {
    const T carry_in = kReads ? warp.carry >> lane & 1 : 0;
    T value, carry;
    if constexpr (kSubtracts) {
      const T difference = a[lane] - b[lane];
      value = difference - carry_in;
      carry = (a[lane] < b[lane]) | (difference < carry_in);
    } else {
      const T sum = a[lane] + b[lane];
      value = sum + carry_in;
      carry = (sum < a[lane]) | (value < sum);
    }
    result[lane] = value;
    if constexpr (kWrites) {
      warp.carry = (warp.carry & ~(1u << lane)) | static_cast<uint32_t>(carry) << lane;
    }
  });
  return Flow::kNext;
}

template <bool kSubtracts, bool kReads>
void EmitAddCarry(Decoder& d, bool writes) {
  const Format format = d.TakeFormat();
  EmitBinary(d, format, ForWord(format, [&]<typename T>() -> Handler {
               using U = Unsigned<T>;
               return writes ? &AddCarry<U, kSubtracts, kReads, true> : &AddCarry<U, kSubtracts, kReads, false>;
             }));
}

template <bool kSubtracts>
void DecodeAdd(Decoder& d) {
  if (d.Take("cc")) {
    return EmitAddCarry<kSubtracts, false>(d, /*writes=*/true);
  }
  if (d.Take("sat")) {
    const Format format = d.TakeFormat();
    constexpr Handler kSaturating = kLaneMap<[](int32_t a, int32_t b) -> int32_t {
      return Saturate(kSubtracts ? int64_t{a} - b : int64_t{a} + b);
    }>;
    return EmitBinary(d, format, format == Format::kS32 ? kSaturating : nullptr);
  }
  const Format format = d.TakeFormat();
  EmitBinary(d, format, ForArithmetic(format, []<typename T>() -> Handler {
               return kSubtracts ? kLaneMap<WrapSub<T>> : kLaneMap<WrapAdd<T>>;
             }));
}

template <bool kSubtracts>
void DecodeAddCarry(Decoder& d) {
  EmitAddCarry<kSubtracts, true>(d, d.Take("cc"));
}

void DecodeMul(Decoder& d) {
  const int part = d.TakeOneOf({"lo", "hi", "wide"});
  const Format format = d.TakeFormat();
  const uint32_t a = d.Source(1, format), b = d.Source(2, format);
  if (part == 2) {
    const Handler handler = ForArithmetic(format, []<typename T>() -> Handler {
      if constexpr (sizeof(T) == 8) {
        return nullptr;
      } else {
        return kLaneMap<MulWide<T>>;
      }
    });
    d.Emit(handler, {d.Result(0, BytesOf(format) == 2 ? Format::kB32 : Format::kB64)}, {a, b});
    return;
  }
  const Handler handler = ForArithmetic(format, [&]<typename T>() -> Handler {
    return part == 0 ? kLaneMap<WrapMul<T>> : part == 1 ? kLaneMap<MulHigh<T>> : nullptr;
  });
  d.Emit(handler, {d.Result(0, format)}, {a, b});
}

/// mad with the carry flag. Rows: result, a, b, c.
template <typename T, bool kHigh, bool kReads, bool kWrites>
Flow MadCarry(Warp& warp, const Op& op, uint32_t mask) {
  const T* a = warp.Row<T>(op.rows[1]);
  const T* b = warp.Row<T>(op.rows[2]);
  const Unsigned<T>* c = warp.Row<Unsigned<T>>(op.rows[3]);
  Unsigned<T>* result = warp.Row<Unsigned<T>>(op.rows[0]);
  ForEachLane(mask, [&](int lane) {
    const auto product = static_cast<Unsigned<T>>(kHigh ? MulHigh(a[lane], b[lane]) : WrapMul(a[lane], b[lane]));
    const Unsigned<T> sum = product + c[lane];
    const Unsigned<T> value = sum + (kReads ? warp.carry >> lane & 1 : 0);
    if constexpr (kWrites) {
      warp.carry = (warp.carry & ~(1u << lane)) | static_cast<uint32_t>((sum < product) | (value < sum)) << lane;
    }
    result[lane] = value;
  });
  return Flow::kNext;
}

template <bool kReads>
void EmitMadCarry(Decoder& d, bool writes) {
  const int part = d.TakeOneOf({"lo", "hi"});
  const Format format = d.TakeFormat();
  const uint32_t a = d.Source(1, format), b = d.Source(2, format), c = d.Source(3, format);
  const Handler handler = ForWord(format, [&]<typename T>() -> Handler {
    if (part < 0) {
      return nullptr;
    }
    return part == 1 ? (writes ? &MadCarry<T, true, kReads, true> : &MadCarry<T, true, kReads, false>)
                     : (writes ? &MadCarry<T, false, kReads, true> : &MadCarry<T, false, kReads, false>);
  });
  d.Emit(handler, {d.Result(0, format)}, {a, b, c});
}

void DecodeMad(Decoder& d) {
  if (d.Take("cc")) {
    return EmitMadCarry<false>(d, /*writes=*/true);
  }
  const int part = d.TakeOneOf({"lo", "hi", "wide"});
  const bool saturates = d.Take("sat");
  const Format format = d.TakeFormat();
  const uint32_t a = d.Source(1, format), b = d.Source(2, format);
  if (part == 2) {
    const Format wide = BytesOf(format) == 2 ? Format::kB32 : Format::kB64;
    const uint32_t c = d.Source(3, wide);
    const Handler handler = ForArithmetic(format, []<typename T>() -> Handler {
      if constexpr (sizeof(T) == 8) {
        return nullptr;
      } else {
        return kLaneMap<MadWide<T>>;
      }
    });
    d.Emit(saturates ? nullptr : handler, {d.Result(0, wide)}, {a, b, c});
    return;
  }
  const uint32_t c = d.Source(3, format);
  Handler handler = ForArithmetic(format, [&]<typename T>() -> Handler {
    return part == 0 ? kLaneMap<MadLow<T>> : part == 1 ? kLaneMap<MadHigh<T>> : nullptr;
  });
  if (saturates) {
    constexpr Handler kSaturating =
        kLaneMap<[](int32_t a, int32_t b, int32_t c) -> int32_t { return Saturate(int64_t{MulHigh(a, b)} + c); }>;
    handler = format == Format::kS32 && part == 1 ? kSaturating : nullptr;
  }
  d.Emit(handler, {d.Result(0, format)}, {a, b, c});
}

void DecodeMadCarry(Decoder& d) { EmitMadCarry<true>(d, d.Take("cc")); }

/// The low 24 bits of a value, with their sign.
template <typename T>
int64_t Low24(T value) {
  const uint32_t low = static_cast<uint32_t>(value) & 0xffffff;
  return std::is_signed_v<T> ? static_cast<int64_t>(low ^ 0x800000) - 0x800000 : int64_t{low};
}

// Products have 48 bits, of which .lo takes bits 0-31 and .hi bits 16-47.
template <typename T>
T Mul24Low(T a, T b) {
  return static_cast<T>(Low24(a) * Low24(b));
}
template <typename T>
T Mul24High(T a, T b) {
  return static_cast<T>((Low24(a) * Low24(b)) >> 16);
}
template <typename T>
T Mad24Low(T a, T b, T c) {
  return WrapAdd(Mul24Low(a, b), c);
}
template <typename T>
T Mad24High(T a, T b, T c) {
  return WrapAdd(Mul24High(a, b), c);
}

template <bool kAdds>
void DecodeMul24(Decoder& d) {
  const int part = d.TakeOneOf({"lo", "hi"});
  const Format format = d.TakeFormat();
  const Handler handler = ForWord(format, [&]<typename T>() -> Handler {
    if (sizeof(T) != 4 || part < 0) {
      return nullptr;
    }
    return kAdds ? (part == 0 ? kLaneMap<Mad24Low<T>> : kLaneMap<Mad24High<T>>)
                 : (part == 0 ? kLaneMap<Mul24Low<T>> : kLaneMap<Mul24High<T>>);
  });
  std::vector<uint32_t> sources = {d.Source(1, format), d.Source(2, format)};
  if (kAdds) {
    sources.push_back(d.Source(3, format));
  }
  const uint32_t result = d.Result(0, format);
  d.Emit(handler, std::span(&result, 1), sources);
}

/// |a - b| + c.
void DecodeSad(Decoder& d) {
  const Format format = d.TakeFormat();
  const uint32_t a = d.Source(1, format), b = d.Source(2, format), c = d.Source(3, format);
  const Handler handler = ForArithmetic(format, []<typename T>() -> Handler { return kLaneMap<SumOfDifference<T>>; });
  d.Emit(handler, {d.Result(0, format)}, {a, b, c});
}

/// Division by zero gives all ones and the remainder gives the dividend, as GPUs do where the manual leaves it open.
/// The quotient of the least integer and -1 wraps to the least integer.
template <typename T>
T Divide(T a, T b) {
  if (b == 0) {
    return static_cast<T>(~T{0});
  }
  if constexpr (std::is_signed_v<T>) {
    if (b == T{-1}) {
      return WrapSub<T>(0, a);
    }
  }
  return static_cast<T>(a / b);
}
template <typename T>
T Remainder(T a, T b) {
  if (b == 0) {
    return a;
  }
  if constexpr (std::is_signed_v<T>) {
    if (b == T{-1}) {
      return 0;
    }
  }
  return static_cast<T>(a % b);
}

void DecodeDiv(Decoder& d) {
  const Format format = d.TakeFormat();
  EmitBinary(d, format, ForArithmetic(format, []<typename T>() -> Handler { return kLaneMap<Divide<T>>; }));
}

void DecodeRem(Decoder& d) {
  const Format format = d.TakeFormat();
  EmitBinary(d, format, ForArithmetic(format, []<typename T>() -> Handler { return kLaneMap<Remainder<T>>; }));
}

void DecodeAbs(Decoder& d) {
  const Format format = d.TakeFormat();
  EmitUnary(d, format, !IsSigned(format) ? nullptr : ForArithmetic(format, []<typename T>() -> Handler {
              return kLaneMap<Magnitude<T>>;
            }));
}

void DecodeNeg(Decoder& d) {
  const Format format = d.TakeFormat();
  EmitUnary(d, format, !IsSigned(format) ? nullptr : ForArithmetic(format, []<typename T>() -> Handler {
              return kLaneMap<Negate<T>>;
            }));
}

/// min and max; `.relu` (of s32) takes the result to at least 0. Packed 16-bit forms are not here.
template <bool kMax>
void DecodeMinMax(Decoder& d) {
  const bool relu = d.Take("relu");
  const Format format = d.TakeFormat();
  Handler handler =
      ForArithmetic(format, []<typename T>() -> Handler { return kMax ? kLaneMap<Most<T>> : kLaneMap<Least<T>>; });
  if (relu) {
    constexpr Handler kRelu =
        kLaneMap<[](int32_t a, int32_t b) -> int32_t { return std::max(kMax == (a < b) ? b : a, 0); }>;
    handler = format == Format::kS32 ? kRelu : nullptr;
  }
  EmitBinary(d, format, handler);
}

/// Bytes (dp4a) or halves by bytes (dp2a), multiplied and added to c.
template <typename A, typename B>
uint32_t Dot4(uint32_t a, uint32_t b, uint32_t c) {
  for (int i = 0; i < 4; ++i) {
    c += static_cast<uint32_t>(static_cast<A>(a >> (8 * i)) * static_cast<B>(b >> (8 * i)));
  }
  return c;
}
template <typename A, typename B, int kFirstByte>
uint32_t Dot2(uint32_t a, uint32_t b, uint32_t c) {
  for (int i = 0; i < 2; ++i) {
    c += static_cast<uint32_t>(static_cast<A>(a >> (16 * i)) * static_cast<B>(b >> (8 * (kFirstByte + i))));
  }
  return c;
}

void EmitDot(Decoder& d, const Handler (&handlers)[2][2]) {
  const Format a_format = d.TakeFormat(), b_format = d.TakeFormat();
  const bool valid = BytesOf(a_format) == 4 && BytesOf(b_format) == 4;
  const uint32_t a = d.Source(1, Format::kB32), b = d.Source(2, Format::kB32), c = d.Source(3, Format::kB32);
  d.Emit(valid ? handlers[IsSigned(a_format)][IsSigned(b_format)] : nullptr, {d.Result(0, Format::kB32)}, {a, b, c});
}

void DecodeDp4a(Decoder& d) {
  static constexpr Handler kHandlers[2][2] = {{kLaneMap<Dot4<uint8_t, uint8_t>>, kLaneMap<Dot4<uint8_t, int8_t>>},
                                              {kLaneMap<Dot4<int8_t, uint8_t>>, kLaneMap<Dot4<int8_t, int8_t>>}};
  EmitDot(d, kHandlers);
}

void DecodeDp2a(Decoder& d) {
  static constexpr Handler kLow[2][2] = {{kLaneMap<Dot2<uint16_t, uint8_t, 0>>, kLaneMap<Dot2<uint16_t, int8_t, 0>>},
                                         {kLaneMap<Dot2<int16_t, uint8_t, 0>>, kLaneMap<Dot2<int16_t, int8_t, 0>>}};
  static constexpr Handler kHigh[2][2] = {{kLaneMap<Dot2<uint16_t, uint8_t, 2>>, kLaneMap<Dot2<uint16_t, int8_t, 2>>},
                                          {kLaneMap<Dot2<int16_t, uint8_t, 2>>, kLaneMap<Dot2<int16_t, int8_t, 2>>}};
  const int part = d.TakeOneOf({"lo", "hi"});
  if (part < 0) {
    return d.Fail("expected '.lo' or '.hi'");
  }
  EmitDot(d, part == 0 ? kLow : kHigh);
}

constexpr OpcodeEntry kOpcodes[] = {
    {"add", FormatClass::kInteger, DecodeAdd<false>},
    {"sub", FormatClass::kInteger, DecodeAdd<true>},
    {"addc", FormatClass::kInteger, DecodeAddCarry<false>},
    {"subc", FormatClass::kInteger, DecodeAddCarry<true>},
    {"mul", FormatClass::kInteger, DecodeMul},
    {"mad", FormatClass::kInteger, DecodeMad},
    {"madc", FormatClass::kInteger, DecodeMadCarry},
    {"mul24", FormatClass::kInteger, DecodeMul24<false>},
    {"mad24", FormatClass::kInteger, DecodeMul24<true>},
    {"sad", FormatClass::kInteger, DecodeSad},
    {"div", FormatClass::kInteger, DecodeDiv},
    {"rem", FormatClass::kInteger, DecodeRem},
    {"abs", FormatClass::kInteger, DecodeAbs},
    {"neg", FormatClass::kInteger, DecodeNeg},
    {"min", FormatClass::kInteger, DecodeMinMax<false>},
    {"max", FormatClass::kInteger, DecodeMinMax<true>},
    {"dp4a", FormatClass::kInteger, DecodeDp4a},
    {"dp2a", FormatClass::kInteger, DecodeDp2a},
};

}  // namespace

std::span<const OpcodeEntry> IntegerOpcodes() { return kOpcodes; }

}  // namespace nemotron::ptxsim
