// Logic, shifts and bit fields: PTX ISA 9.0, sections 9.7.1 (bit fields) and 9.7.8.
#include <algorithm>
#include <bit>

#include "tools/ptxsim/sim/decoder.h"
#include "tools/ptxsim/sim/lanes.h"
#include "tools/ptxsim/sim/ops/integer_ops.h"

namespace nemotron::ptxsim {
namespace {

/// and, or, xor: untyped bits of 16, 32 or 64; on predicates in compare_select.cc.
template <typename T, char kOp>
T Logic(T a, T b) {
  return static_cast<T>(kOp == '&' ? a & b : kOp == '|' ? a | b : a ^ b);
}

template <char kOp>
void DecodeLogic(Decoder& d) {
  const Format format = d.TakeFormat();
  EmitBinary(d, format, ForArithmetic(format, []<typename T>() -> Handler { return kLaneMap<Logic<T, kOp>>; }));
}

template <typename T>
T Complement(T a) {
  return static_cast<T>(~a);
}

void DecodeNot(Decoder& d) {
  const Format format = d.TakeFormat();
  EmitUnary(d, format, ForArithmetic(format, []<typename T>() -> Handler { return kLaneMap<Complement<T>>; }));
}

/// 1 for 0 and 0 for all else.
template <typename T>
T IsZero(T a) {
  return a == 0;
}

void DecodeCnot(Decoder& d) {
  const Format format = d.TakeFormat();
  EmitUnary(d, format, ForArithmetic(format, []<typename T>() -> Handler { return kLaneMap<IsZero<T>>; }));
}

/// Any function of three bits; bit (a << 2 | b << 1 | c) of the table is its value. Rows: result, a, b, c.
Flow Lop3(Warp& warp, const Op& op, uint32_t mask) {
  const uint32_t* a = warp.Row<uint32_t>(op.rows[1]);
  const uint32_t* b = warp.Row<uint32_t>(op.rows[2]);
  const uint32_t* c = warp.Row<uint32_t>(op.rows[3]);
  uint32_t* result = warp.Row<uint32_t>(op.rows[0]);
  std::array<uint32_t, 8> terms;  // all ones where the table has a one
  for (int i = 0; i < 8; ++i) {
    terms[i] = op.immediate >> i & 1 ? ~0u : 0;
  }
#pragma clang loop vectorize(assume_safety)
  for (int lane = 0; lane < kWarpSize; ++lane) {
    const uint32_t x = a[lane], y = b[lane], z = c[lane];
    const uint32_t value = (terms[0] & ~x & ~y & ~z) | (terms[1] & ~x & ~y & z) | (terms[2] & ~x & y & ~z) |
                           (terms[3] & ~x & y & z) | (terms[4] & x & ~y & ~z) | (terms[5] & x & ~y & z) |
                           (terms[6] & x & y & ~z) | (terms[7] & x & y & z);
    result[lane] = mask >> lane & 1 ? value : result[lane];
  }
  return Flow::kNext;
}

void DecodeLop3(Decoder& d) {
  const Format format = d.TakeFormat();
  const uint32_t a = d.Source(1, format), b = d.Source(2, format), c = d.Source(3, format);
  const int64_t table = d.Constant(4);
  d.Emit(format == Format::kB32 ? &Lop3 : nullptr, {d.Result(0, format)}, {a, b, c}).immediate = table;
}

// Counts beyond the width are clamped to it: they shift everything out.
template <typename T>
T ShiftLeft(T a, uint32_t n) {
  return n < kBits<T> ? static_cast<T>(static_cast<Modular<T>>(a) << (n % kBits<Modular<T>>)) : T{0};
}
template <typename T>
T ShiftRight(T a, uint32_t n) {
  return n < kBits<T> ? static_cast<T>(a >> (n % kBits<T>)) : static_cast<T>(std::is_signed_v<T> && a < 0 ? -1 : 0);
}

void DecodeShl(Decoder& d) {
  const Format format = d.TakeFormat();
  const uint32_t a = d.Source(1, format), count = d.WideSource(d.operand(2), Format::kU32);
  const Handler handler = ForArithmetic(format, []<typename T>() -> Handler { return kLaneMap<ShiftLeft<T>>; });
  d.Emit(handler, {d.Result(0, format)}, {a, count});
}

void DecodeShr(Decoder& d) {
  const Format format = d.TakeFormat();
  const uint32_t a = d.Source(1, format), count = d.WideSource(d.operand(2), Format::kU32);
  const Handler handler = ForArithmetic(format, []<typename T>() -> Handler { return kLaneMap<ShiftRight<T>>; });
  d.Emit(handler, {d.Result(0, format)}, {a, count});
}

/// Funnel shift of the 64 bits b:a; the low (.l: high) word of the shifted pair.
void DecodeShf(Decoder& d) {
  const int direction = d.TakeOneOf({"l", "r"});
  const int mode = d.TakeOneOf({"clamp", "wrap"});
  const Format format = d.TakeFormat();
  const uint32_t a = d.Source(1, format), b = d.Source(2, format), count = d.Source(3, Format::kU32);
  constexpr Handler kHandlers[2][2] = {
      {kLaneMap<[](uint32_t a, uint32_t b, uint32_t n) -> uint32_t {
         return static_cast<uint32_t>(((uint64_t{b} << 32 | a) << (n < 32 ? n : 32)) >> 32);
       }>,
       kLaneMap<[](uint32_t a, uint32_t b, uint32_t n) -> uint32_t {
         return static_cast<uint32_t>(((uint64_t{b} << 32 | a) << (n & 31)) >> 32);
       }>},
      {kLaneMap<[](uint32_t a, uint32_t b, uint32_t n) -> uint32_t {
         return static_cast<uint32_t>((uint64_t{b} << 32 | a) >> (n < 32 ? n : 32));
       }>,
       kLaneMap<[](uint32_t a, uint32_t b, uint32_t n) -> uint32_t {
         return static_cast<uint32_t>((uint64_t{b} << 32 | a) >> (n & 31));
       }>}};
  const bool valid = direction >= 0 && mode >= 0 && format == Format::kB32;
  d.Emit(valid ? kHandlers[direction][mode] : nullptr, {d.Result(0, format)}, {a, b, count});
}

/// Four bytes of the eight of b:a. A selector of four bits names a byte; its high bit replicates the byte's sign.
uint32_t PermuteBytes(uint32_t a, uint32_t b, uint32_t selectors) {
  const uint64_t bytes = uint64_t{b} << 32 | a;
  uint32_t result = 0;
  for (int i = 0; i < 4; ++i) {
    const uint32_t selector = selectors >> (4 * i) & 15;
    uint32_t byte = static_cast<uint32_t>(bytes >> (8 * (selector & 7))) & 0xff;
    if (selector & 8) {
      byte = byte & 0x80 ? 0xff : 0;
    }
    result |= byte << (8 * i);
  }
  return result;
}

/// The special modes as selectors, by the low two bits of c: section 9.7.9.7, table of prmt modes.
enum class PermuteMode { kF4e, kB4e, kRc8, kEcl, kEcr, kRc16 };
template <PermuteMode mode>
constexpr std::array<uint32_t, 4> kSelectors = {};
template <>
constexpr std::array<uint32_t, 4> kSelectors<PermuteMode::kF4e> = {0x3210, 0x4321, 0x5432, 0x6543};
template <>
constexpr std::array<uint32_t, 4> kSelectors<PermuteMode::kB4e> = {0x5670, 0x6701, 0x7012, 0x0123};
template <>
constexpr std::array<uint32_t, 4> kSelectors<PermuteMode::kRc8> = {0x0000, 0x1111, 0x2222, 0x3333};
template <>
constexpr std::array<uint32_t, 4> kSelectors<PermuteMode::kEcl> = {0x3210, 0x3211, 0x3222, 0x3333};
template <>
constexpr std::array<uint32_t, 4> kSelectors<PermuteMode::kEcr> = {0x0000, 0x1110, 0x2210, 0x3210};
template <>
constexpr std::array<uint32_t, 4> kSelectors<PermuteMode::kRc16> = {0x1010, 0x3232, 0x1010, 0x3232};

template <PermuteMode mode>
constexpr Handler kPermute = kLaneMap<[](uint32_t a, uint32_t b, uint32_t c) -> uint32_t {
  return PermuteBytes(a, b, kSelectors<mode>[c & 3]);
}>;

void DecodePrmt(Decoder& d) {
  const Format format = d.TakeFormat();
  constexpr Handler kModes[] = {kPermute<PermuteMode::kF4e>, kPermute<PermuteMode::kB4e>, kPermute<PermuteMode::kRc8>,
                                kPermute<PermuteMode::kEcl>, kPermute<PermuteMode::kEcr>, kPermute<PermuteMode::kRc16>};
  const int mode = d.TakeOneOf({"f4e", "b4e", "rc8", "ecl", "ecr", "rc16"});
  const uint32_t a = d.Source(1, format), b = d.Source(2, format), c = d.Source(3, format);
  d.Emit(format == Format::kB32 ? (mode < 0 ? kLaneMap<PermuteBytes> : kModes[mode]) : nullptr, {d.Result(0, format)},
         {a, b, c});
}

/// A field of `b & 255` bits from bit `c & 255`, extended by its sign for signed types.
template <typename T>
T ExtractField(T a, uint32_t b, uint32_t c) {
  constexpr uint32_t kLast = kBits<T> - 1;
  const uint32_t position = b & 255, length = c & 255;
  const auto bits = static_cast<Unsigned<T>>(a);
  const uint32_t top = std::min(position + length - 1, kLast);
  const Unsigned<T> sign = std::is_signed_v<T> && length != 0 ? bits >> top & 1 : 0;
  const Unsigned<T> field = position <= kLast ? bits >> position : 0;
  const uint32_t kept = position <= kLast ? std::min(length, kLast + 1 - position) : 0;
  const Unsigned<T> mask = kept == 0 ? 0 : ~Unsigned<T>{0} >> (kBits<T> - kept);
  return static_cast<T>((field & mask) | (sign ? ~mask : 0));
}

void DecodeBfe(Decoder& d) {
  const Format format = d.TakeFormat();
  const uint32_t a = d.Source(1, format), b = d.Source(2, Format::kU32), c = d.Source(3, Format::kU32);
  d.Emit(ForWord(format, []<typename T>() -> Handler { return kLaneMap<ExtractField<T>>; }), {d.Result(0, format)},
         {a, b, c});
}

/// Field `a` put into `b`.
template <typename T>
T InsertField(T a, T b, uint32_t c, uint32_t length_source) {
  const uint32_t position = c & 255, length = length_source & 255;
  if (position >= kBits<T> || length == 0) {
    return b;
  }
  const uint32_t kept = std::min<uint32_t>(length, kBits<T> - position);
  const T mask = static_cast<T>((~T{0} >> (kBits<T> - kept)) << position);
  return static_cast<T>((b & ~mask) | ((a << position) & mask));
}

void DecodeBfi(Decoder& d) {
  const Format format = d.TakeFormat();
  const uint32_t a = d.Source(1, format), b = d.Source(2, format), c = d.Source(3, Format::kU32),
                 length = d.Source(4, Format::kU32);
  const Handler handler = ForWord(format, []<typename T>() -> Handler { return kLaneMap<InsertField<Unsigned<T>>>; });
  d.Emit(handler, {d.Result(0, format)}, {a, b, c, length});
}

/// Position of the highest bit that differs from the sign; 0xffffffff if there is none. `.shiftamt`: the shift that
/// brings it to the top.
template <typename T, bool kShiftAmount>
uint32_t FindBit(T a) {
  const auto bits = static_cast<Unsigned<T>>(std::is_signed_v<T> && a < 0 ? ~a : a);
  if (bits == 0) {
    return ~0u;
  }
  const auto position = static_cast<uint32_t>(kBits<T> - 1 - std::countl_zero(bits));
  return kShiftAmount ? kBits<T> - 1 - position : position;
}

void DecodeBfind(Decoder& d) {
  const bool shift_amount = d.Take("shiftamt");
  const Format format = d.TakeFormat();
  const uint32_t a = d.Source(1, format);
  const Handler handler = ForWord(format, [&]<typename T>() -> Handler {
    return shift_amount ? kLaneMap<FindBit<T, true>> : kLaneMap<FindBit<T, false>>;
  });
  d.Emit(handler, {d.Result(0, Format::kU32)}, {a});
}

template <typename T>
T ReverseBits(T a) {
  return sizeof(T) == 4 ? static_cast<T>(__builtin_bitreverse32(static_cast<uint32_t>(a)))
                        : static_cast<T>(__builtin_bitreverse64(a));
}

void DecodeBrev(Decoder& d) {
  const Format format = d.TakeFormat();
  EmitUnary(d, format, ForWord(format, []<typename T>() -> Handler { return kLaneMap<ReverseBits<Unsigned<T>>>; }));
}

template <typename T, bool kZeros>
uint32_t CountBits(T a) {
  return static_cast<uint32_t>(kZeros ? std::countl_zero(a) : std::popcount(a));
}

template <bool kZeros>
void DecodeBitCount(Decoder& d) {
  const Format format = d.TakeFormat();
  const uint32_t a = d.Source(1, format);
  const Handler handler =
      ForWord(format, []<typename T>() -> Handler { return kLaneMap<CountBits<Unsigned<T>, kZeros>>; });
  d.Emit(handler, {d.Result(0, Format::kU32)}, {a});
}

/// A mask of `b` ones from bit `a`; `.clamp` takes both to at most 32, `.wrap` modulo 32.
void DecodeBmsk(Decoder& d) {
  const int mode = d.TakeOneOf({"clamp", "wrap"});
  const Format format = d.TakeFormat();
  constexpr Handler kModes[] = {kLaneMap<[](uint32_t a, uint32_t b) -> uint32_t {
                                  return a >= 32 ? 0
                                                 : static_cast<uint32_t>(((uint64_t{1} << std::min(b, 32u)) - 1) << a);
                                }>,
                                kLaneMap<[](uint32_t a, uint32_t b) -> uint32_t {
                                  return static_cast<uint32_t>(((uint64_t{1} << (b & 31)) - 1) << (a & 31));
                                }>};
  EmitBinary(d, format, mode >= 0 && format == Format::kB32 ? kModes[mode] : nullptr);
}

/// The low `b` bits of `a`, extended to 32 by sign or zeros. `.clamp` takes `b` to at most 32, `.wrap` modulo 32.
template <typename T, bool kWraps>
T ExtendField(T a, uint32_t b) {
  const uint32_t length = kWraps ? b & 31 : std::min(b, 32u);
  if (length == 0) {
    return 0;
  }
  const uint32_t shift = 32 - length;
  return static_cast<T>(static_cast<T>(static_cast<uint32_t>(a) << shift) >> shift);
}

void DecodeSzext(Decoder& d) {
  const int mode = d.TakeOneOf({"clamp", "wrap"});
  const Format format = d.TakeFormat();
  constexpr Handler kUnsigned[] = {kLaneMap<ExtendField<uint32_t, false>>, kLaneMap<ExtendField<uint32_t, true>>};
  constexpr Handler kSigned[] = {kLaneMap<ExtendField<int32_t, false>>, kLaneMap<ExtendField<int32_t, true>>};
  const uint32_t a = d.Source(1, format), b = d.Source(2, Format::kU32);
  const Handler handler = mode < 0                 ? nullptr
                          : format == Format::kU32 ? kUnsigned[mode]
                          : format == Format::kS32 ? kSigned[mode]
                                                   : nullptr;
  d.Emit(handler, {d.Result(0, format)}, {a, b});
}

constexpr OpcodeEntry kOpcodes[] = {
    {"and", FormatClass::kInteger, DecodeLogic<'&'>},
    {"or", FormatClass::kInteger, DecodeLogic<'|'>},
    {"xor", FormatClass::kInteger, DecodeLogic<'^'>},
    {"not", FormatClass::kInteger, DecodeNot},
    {"cnot", FormatClass::kInteger, DecodeCnot},
    {"lop3", FormatClass::kInteger, DecodeLop3},
    {"shl", FormatClass::kInteger, DecodeShl},
    {"shr", FormatClass::kInteger, DecodeShr},
    {"shf", FormatClass::kInteger, DecodeShf},
    {"prmt", FormatClass::kInteger, DecodePrmt},
    {"bfe", FormatClass::kInteger, DecodeBfe},
    {"bfi", FormatClass::kInteger, DecodeBfi},
    {"bfind", FormatClass::kInteger, DecodeBfind},
    {"brev", FormatClass::kInteger, DecodeBrev},
    {"clz", FormatClass::kInteger, DecodeBitCount<true>},
    {"popc", FormatClass::kInteger, DecodeBitCount<false>},
    {"bmsk", FormatClass::kInteger, DecodeBmsk},
    {"szext", FormatClass::kInteger, DecodeSzext},
};

}  // namespace

std::span<const OpcodeEntry> BitsOpcodes() { return kOpcodes; }

}  // namespace nemotron::ptxsim
