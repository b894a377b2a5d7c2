// Comparisons, selections and logic of predicates: PTX ISA 9.0, sections 9.7.6 to 9.7.8.
#include <cmath>

#include "tools/ptxsim/sim/decoder.h"
#include "tools/ptxsim/sim/floating.h"
#include "tools/ptxsim/sim/lanes.h"

namespace nemotron::ptxsim {
namespace {

enum class Comparison : uint8_t { kEq, kNe, kLt, kLe, kGt, kGe, kEqu, kNeu, kLtu, kLeu, kGtu, kGeu, kNum, kNan };
constexpr int kNumComparisons = 14;

template <Comparison comparison, typename T>
bool Compare(T a, T b) {
  switch (comparison) {
    case Comparison::kEq:
      return a == b;
    case Comparison::kNe:
      return a < b || a > b;  // false for NaN, unlike !=
    case Comparison::kLt:
      return a < b;
    case Comparison::kLe:
      return a <= b;
    case Comparison::kGt:
      return a > b;
    case Comparison::kGe:
      return a >= b;
    case Comparison::kEqu:
      return !(a < b || a > b);
    case Comparison::kNeu:
      return !(a == b);
    case Comparison::kLtu:
      return !(a >= b);
    case Comparison::kLeu:
      return !(a > b);
    case Comparison::kGtu:
      return !(a <= b);
    case Comparison::kGeu:
      return !(a < b);
    case Comparison::kNum:
      return a == a && b == b;
    case Comparison::kNan:
      return !(a == a && b == b);
  }
}

/// A value of a row as what is compared: f16 and bf16 in f32.
struct HalfBits {
  static float Load(uint32_t bits) { return HalfToFloat(static_cast<uint16_t>(bits)); }
};
struct BfloatBits {
  static float Load(uint32_t bits) { return BfloatToFloat(static_cast<uint16_t>(bits)); }
};
struct FlushedFloat {
  static float Load(float value) { return FlushToZero(value); }
};
template <typename T>
struct Plain {
  static T Load(Stored<T> value) { return static_cast<T>(value); }
};

/// Compares rows; a bit a lane.
using Comparer = uint32_t (*)(Warp&, uint32_t a, uint32_t b);

template <typename Loader, Comparison comparison>
uint32_t CompareRows(Warp& warp, uint32_t a_row, uint32_t b_row) {
  using Element = std::remove_cvref_t<decltype([]<typename R, typename A>(R (*)(A)) { return A{}; }(&Loader::Load))>;
  const Element* a = warp.Row<Element>(a_row);
  const Element* b = warp.Row<Element>(b_row);
  uint32_t result = 0;
  for (int lane = 0; lane < kWarpSize; ++lane) {
    result |= static_cast<uint32_t>(Compare<comparison>(Loader::Load(a[lane]), Loader::Load(b[lane]))) << lane;
  }
  return result;
}

enum class Combination : uint8_t { kNone, kAnd, kOr, kXor };

/// p = compare(a, b) combined with c, q = !compare(a, b) combined with c. Rows: p, q, a, b, c; without a second result
/// or a combination these rows are scratch. Options: combination, whether c is negated.
template <typename Loader, Comparison comparison>
Flow SetPredicates(Warp& warp, const Op& op, uint32_t mask) {
  const uint32_t compared = CompareRows<Loader, comparison>(warp, op.rows[2], op.rows[3]);
  uint32_t p = compared, q = ~compared;
  if (const auto combination = static_cast<Combination>(op.options[0]); combination != Combination::kNone) {
    const uint32_t c = warp.Predicate(op.rows[4]) ^ (op.options[1] ? kAllLanes : 0);
    auto combine = [&](uint32_t value) {
      return combination == Combination::kAnd ? value & c : combination == Combination::kOr ? value | c : value ^ c;
    };
    p = combine(p);
    q = combine(q);
  }
  uint32_t& first = warp.Predicate(op.rows[0]);
  first = (first & ~mask) | (p & mask);
  if (op.options[2]) {
    uint32_t& second = warp.Predicate(op.rows[1]);
    second = (second & ~mask) | (q & mask);
  }
  return Flow::kNext;
}

/// set: the comparison as all ones or 1.0 (option 3) in a register. Rows: result, a, b, c.
template <typename Loader, Comparison comparison>
Flow SetValue(Warp& warp, const Op& op, uint32_t mask) {
  uint32_t value = CompareRows<Loader, comparison>(warp, op.rows[1], op.rows[2]);
  if (const auto combination = static_cast<Combination>(op.options[0]); combination != Combination::kNone) {
    const uint32_t c = warp.Predicate(op.rows[3]) ^ (op.options[1] ? kAllLanes : 0);
    value = combination == Combination::kAnd ? value & c : combination == Combination::kOr ? value | c : value ^ c;
  }
  const uint32_t true_bits = op.options[3] ? 0x3f800000 : ~0u;
  uint32_t* result = warp.Row<uint32_t>(op.rows[0]);
  ForEachLane(mask, [&](int lane) { result[lane] = value >> lane & 1 ? true_bits : 0; });
  return Flow::kNext;
}

struct Handlers {
  Handler set_predicates, set_value;
};

template <typename Loader, size_t... kIndex>
Handlers PickComparison(Comparison comparison, std::index_sequence<kIndex...>) {
  static constexpr Handlers kHandlers[] = {
      {&SetPredicates<Loader, static_cast<Comparison>(kIndex)>, &SetValue<Loader, static_cast<Comparison>(kIndex)>}...};
  return kHandlers[static_cast<size_t>(comparison)];
}

template <typename Loader>
Handlers PickComparison(Comparison comparison) {
  return PickComparison<Loader>(comparison, std::make_index_sequence<kNumComparisons>());
}

Handlers HandlersFor(Format format, Comparison comparison, bool ftz) {
  switch (format) {
    case Format::kB16:
    case Format::kU16:
      return PickComparison<Plain<uint16_t>>(comparison);
    case Format::kS16:
      return PickComparison<Plain<int16_t>>(comparison);
    case Format::kB32:
    case Format::kU32:
      return PickComparison<Plain<uint32_t>>(comparison);
    case Format::kS32:
      return PickComparison<Plain<int32_t>>(comparison);
    case Format::kB64:
    case Format::kU64:
      return PickComparison<Plain<uint64_t>>(comparison);
    case Format::kS64:
      return PickComparison<Plain<int64_t>>(comparison);
    case Format::kF16:
      return PickComparison<HalfBits>(comparison);
    case Format::kBf16:
      return PickComparison<BfloatBits>(comparison);
    case Format::kF32:
      return ftz ? PickComparison<FlushedFloat>(comparison) : PickComparison<Plain<float>>(comparison);
    case Format::kF64:
      return PickComparison<Plain<double>>(comparison);
    default:
      return {};
  }
}

/// Unsigned comparisons have names of their own: lo, ls, hi, hs.
Comparison TakeComparison(Decoder& d) {
  const int named =
      d.TakeOneOf({"eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"});
  if (named >= 0) {
    return static_cast<Comparison>(named);
  }
  constexpr Comparison kUnsigned[] = {Comparison::kLt, Comparison::kLe, Comparison::kGt, Comparison::kGe};
  const int as_unsigned = d.TakeOneOf({"lo", "ls", "hi", "hs"});
  if (as_unsigned < 0) {
    d.Fail("expected a comparison");
    return Comparison::kEq;
  }
  return kUnsigned[as_unsigned];
}

bool IsValid(Comparison comparison, Format format) {
  const bool is_integer = ClassOf(format) == FormatClass::kInteger;
  const bool is_equality = comparison == Comparison::kEq || comparison == Comparison::kNe;
  const bool is_untyped = format == Format::kB16 || format == Format::kB32 || format == Format::kB64;
  return (!is_integer || comparison <= Comparison::kGe) && (!is_untyped || is_equality);
}

InstructionClass ClassFor(Format format) {
  return format == Format::kF64 ? InstructionClass::kDouble : InstructionClass::kInteger;
}

void DecodeSetp(Decoder& d) {
  const Comparison comparison = TakeComparison(d);
  const int combination = d.TakeOneOf({"and", "or", "xor"}) + 1;
  const bool ftz = d.Take("ftz");
  const Format format = d.TakeFormat();
  d.CountAs(ClassFor(format));
  if (!IsValid(comparison, format) || (ftz && format != Format::kF32)) {
    return d.Fail("the type does not have this comparison");
  }
  const auto results = d.Elements(0);
  if (results.size() > 2) {
    return d.Fail("expected one or two predicates as results");
  }
  const uint32_t p = d.Result(*results[0], Format::kPred);
  const uint32_t q = results.size() == 2 ? d.Result(*results[1], Format::kPred) : d.ScratchPredicate();
  const uint32_t a = d.Source(1, format), b = d.Source(2, format);
  const auto c = combination ? d.Predicate(d.operand(3)) : Decoder::PredicateSource{d.ConstantRow(0, 0), false};
  d.Emit(HandlersFor(format, comparison, ftz).set_predicates, {p, q}, {a, b, c.row}).options = {
      static_cast<uint8_t>(combination), c.negated, results.size() == 2};
}

void DecodeSet(Decoder& d) {
  const Comparison comparison = TakeComparison(d);
  const int combination = d.TakeOneOf({"and", "or", "xor"}) + 1;
  const bool ftz = d.Take("ftz");
  const Format result_format = d.TakeFormat(), format = d.TakeFormat();
  d.CountAs(ClassFor(format));
  const bool known_result =
      result_format == Format::kU32 || result_format == Format::kS32 || result_format == Format::kF32;
  if (!IsValid(comparison, format) || !known_result || (ftz && format != Format::kF32)) {
    return d.Fail("the type does not have this comparison");
  }
  const uint32_t a = d.Source(1, format), b = d.Source(2, format);
  const auto c = combination ? d.Predicate(d.operand(3)) : Decoder::PredicateSource{d.ConstantRow(0, 0), false};
  d.Emit(HandlersFor(format, comparison, ftz).set_value, {d.Result(0, result_format)}, {a, b, c.row}).options = {
      static_cast<uint8_t>(combination), c.negated, false, result_format == Format::kF32};
}

/// c ? a : b. Option 0: c is negated.
template <typename T>
Flow Select(Warp& warp, const Op& op, uint32_t mask) {
  const T* a = warp.Row<T>(op.rows[1]);
  const T* b = warp.Row<T>(op.rows[2]);
  const uint32_t c = warp.Predicate(op.rows[3]) ^ (op.options[0] ? kAllLanes : 0);
  T* result = warp.Row<T>(op.rows[0]);
#pragma clang loop vectorize(assume_safety)
  for (int lane = 0; lane < kWarpSize; ++lane) {
    const T value = c >> lane & 1 ? a[lane] : b[lane];
    result[lane] = mask >> lane & 1 ? value : result[lane];
  }
  return Flow::kNext;
}

Handler SelectHandler(Format format) {
  const int bytes = SlotBytesOf(format);
  return bytes == 4 ? &Select<uint32_t> : bytes == 8 ? &Select<uint64_t> : nullptr;
}

void DecodeSelp(Decoder& d) {
  const Format format = d.TakeFormat();
  const uint32_t a = d.Source(1, format), b = d.Source(2, format);
  const auto c = d.Predicate(d.operand(3));
  d.Emit(SelectHandler(format), {d.Result(0, format)}, {a, b, c.row}).options[0] = c.negated;
}

/// c >= 0 ? a : b.
template <typename T, typename C, bool kFtz>
T SelectBySign(T a, T b, C c) {
  if constexpr (kFtz) {
    c = FlushToZero(c);
  }
  return c >= 0 ? a : b;
}

template <typename T>
Handler BySignHandler(Format c_format, bool ftz) {
  if (c_format == Format::kS32) {
    return ftz ? nullptr : kLaneMap<SelectBySign<T, int32_t, false>>;
  }
  return c_format != Format::kF32 ? nullptr
         : ftz                    ? kLaneMap<SelectBySign<T, float, true>>
                                  : kLaneMap<SelectBySign<T, float, false>>;
}

void DecodeSlct(Decoder& d) {
  const bool ftz = d.Take("ftz");
  const Format format = d.TakeFormat(), c_format = d.TakeFormat();
  const uint32_t a = d.Source(1, format), b = d.Source(2, format), c = d.Source(3, c_format);
  const int bytes = SlotBytesOf(format);
  d.Emit(bytes == 4   ? BySignHandler<uint32_t>(c_format, ftz)
         : bytes == 8 ? BySignHandler<uint64_t>(c_format, ftz)
                      : nullptr,
         {d.Result(0, format)}, {a, b, c});
}

/// Logic of whole masks. Options: whether a and b are negated.
template <char kOp>
Flow CombinePredicates(Warp& warp, const Op& op, uint32_t mask) {
  const uint32_t a = warp.Predicate(op.rows[1]) ^ (op.options[0] ? kAllLanes : 0);
  const uint32_t b = warp.Predicate(op.rows[2]) ^ (op.options[1] ? kAllLanes : 0);
  const uint32_t value = kOp == '&' ? a & b : kOp == '|' ? a | b : a ^ b;
  uint32_t& result = warp.Predicate(op.rows[0]);
  result = (result & ~mask) | (value & mask);
  return Flow::kNext;
}

template <char kOp>
void DecodeLogic(Decoder& d) {
  const Format format = d.TakeFormat();
  const auto a = d.Predicate(d.operand(1)), b = d.Predicate(d.operand(2));
  d.Emit(&CombinePredicates<kOp>, {d.Result(0, format)}, {a.row, b.row}).options = {a.negated, b.negated};
}

void DecodeNot(Decoder& d) {
  const Format format = d.TakeFormat();
  const auto a = d.Predicate(d.operand(1));
  d.Emit(&CombinePredicates<'^'>, {d.Result(0, format)}, {a.row, d.ConstantRow(kAllLanes, 0)}).options = {a.negated,
                                                                                                          false};
}

constexpr OpcodeEntry kOpcodes[] = {
    {"setp", std::nullopt, DecodeSetp},
    {"set", std::nullopt, DecodeSet},
    {"selp", std::nullopt, DecodeSelp},
    {"slct", std::nullopt, DecodeSlct},
    {"and", FormatClass::kPred, DecodeLogic<'&'>},
    {"or", FormatClass::kPred, DecodeLogic<'|'>},
    {"xor", FormatClass::kPred, DecodeLogic<'^'>},
    {"not", FormatClass::kPred, DecodeNot},
};

}  // namespace

std::span<const OpcodeEntry> CompareSelectOpcodes() { return kOpcodes; }

}  // namespace nemotron::ptxsim
