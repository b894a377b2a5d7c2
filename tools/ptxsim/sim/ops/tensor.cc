// mma.sync: PTX ISA 9.0, section 9.7.14.5. D = A * B + C for A of 16 x k in rows, B of k x 8 in columns.
//
// Fragments. Each register of 32 bits holds v values (4 of 8 bits, 2 of 16, one tf32). With g = lane / 4, t = lane % 4:
//
//   register r of A: row g + 8 * (r % 2), columns 4 * v * (r / 2) + v * t + i      (figures of section 9.7.14.5.6 to
//   .10) register r of B: column g, rows 4 * v * r + v * t + i C and D: c0, c1 in row g, columns 2 * t and 2 * t + 1;
//   c2, c3 the same in row g + 8; of f16 two in a register
//
// So a row of 32 registers is, in memory, 8 runs of 4 * v values that are neighbours in k, and fragments are read
// without shuffling.
//
// Numerics. The manual leaves the order of sums and the precision of intermediate results open.
// - f16, bf16, tf32: products have at most 22 bits and are exact in double; c and all products are added in double and
//   rounded once to the type of D. Of at most 17 addends the sum errs by less than 17 * 2^-53 of the largest partial
//   sum, so that D is the rounded exact sum unless terms cancel by more than 24 bits. Hardware truncates within the sum
//   and differs in the last bits.
// - e4m3, e5m2 on sm_89: a short accumulator. All addends are aligned to the largest exponent and cut to 13 fraction
//   bits, as was found of wgmma on sm_90 (DeepSeek-V3, arXiv:2412.19437, section 3.5.2), whose mma.sync ptxas makes
//   from products of f16 (machine code of CUDA 13.0). From sm_90 on as above.
// - integers: exact; without .satfinite sums wrap.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "tools/ptxsim/sim/block.h"
#include "tools/ptxsim/sim/decoder.h"
#include "tools/ptxsim/sim/floating.h"
#include "tools/ptxsim/sim/lanes.h"
#include "tools/ptxsim/sim/ops/warp_ops.h"

namespace nemotron::ptxsim {
namespace {

constexpr int kRows = 16, kColumns = 8, kMaxDepth = 32;

// Elements as they lie in registers, and their values.
struct F16 {
  using Bits = uint16_t;
  static float Load(Bits bits) { return HalfToFloat(bits); }
};
struct Bf16 {
  using Bits = uint16_t;
  static float Load(Bits bits) { return BfloatToFloat(bits); }
};
/// The low 13 bits of a register are not read.
struct Tf32 {
  using Bits = uint32_t;
  static float Load(Bits bits) { return std::bit_cast<float>(bits & ~0x1fffu); }
};

using Table = std::array<float, 256>;
Table MakeTable(const SmallFormat& format) {
  Table table;
  for (uint32_t bits = 0; bits < table.size(); ++bits) {
    table[bits] = static_cast<float>(ToDouble(format, bits));
  }
  return table;
}
struct E4m3 {
  using Bits = uint8_t;
  static float Load(Bits bits) {
    static const Table kTable = MakeTable(kE4m3Format);
    return kTable[bits];
  }
};
struct E5m2 {
  using Bits = uint8_t;
  static float Load(Bits bits) {
    static const Table kTable = MakeTable(kE5m2Format);
    return kTable[bits];
  }
};
struct S8 {
  using Bits = uint8_t;
  static int32_t Load(Bits bits) { return static_cast<int8_t>(bits); }
};
struct U8 {
  using Bits = uint8_t;
  static int32_t Load(Bits bits) { return bits; }
};

/// Registers of A; B has half as many.
template <typename E, int kDepth>
constexpr int kRegistersOfA = kRows * kDepth * static_cast<int>(sizeof(typename E::Bits)) / (4 * kWarpSize);

template <typename T>
using MatrixA = std::array<std::array<T, kMaxDepth>, kRows>;
template <typename T>
using MatrixB = std::array<std::array<T, kColumns>, kMaxDepth>;
template <typename T>
using MatrixC = std::array<std::array<T, kColumns>, kRows>;

/// Values of A or, by columns, B in one row of registers: run g holds neighbours in k.
template <typename E>
constexpr int kRun = 16 / static_cast<int>(sizeof(typename E::Bits));

template <typename E, int kDepth, typename T>
void ReadA(const Warp& warp, const uint32_t* rows, MatrixA<T>& a) {
  for (int r = 0; r < kRegistersOfA<E, kDepth>; ++r) {
    const auto* bits = warp.Row<typename E::Bits>(rows[r]);
    for (int g = 0; g < 8; ++g) {
      for (int i = 0; i < kRun<E>; ++i) {
        a[g + 8 * (r % 2)][kRun<E> * (r / 2) + i] = E::Load(bits[g * kRun<E> + i]);
      }
    }
  }
}

template <typename E, int kDepth, typename T>
void ReadB(const Warp& warp, const uint32_t* rows, MatrixB<T>& b) {
  for (int r = 0; r < kRegistersOfA<E, kDepth> / 2; ++r) {
    const auto* bits = warp.Row<typename E::Bits>(rows[r]);
    for (int g = 0; g < kColumns; ++g) {
      for (int i = 0; i < kRun<E>; ++i) {
        b[kRun<E> * r + i][g] = E::Load(bits[g * kRun<E> + i]);
      }
    }
  }
}

/// C or D in four registers of f32 or s32.
template <typename Register, typename T>
void ReadC(const Warp& warp, const uint32_t* rows, MatrixC<T>& c) {
  for (int r = 0; r < 4; ++r) {
    const auto* values = warp.Row<Register>(rows[r]);
    for (int lane = 0; lane < kWarpSize; ++lane) {
      c[lane / 4 + 8 * (r / 2)][lane % 4 * 2 + r % 2] = values[lane];
    }
  }
}
template <typename Register, typename T>
void WriteD(const Warp& warp, const uint32_t* rows, const MatrixC<T>& d) {
  for (int r = 0; r < 4; ++r) {
    auto* values = warp.Row<Register>(rows[r]);
    for (int lane = 0; lane < kWarpSize; ++lane) {
      values[lane] = static_cast<Register>(d[lane / 4 + 8 * (r / 2)][lane % 4 * 2 + r % 2]);
    }
  }
}

/// In two registers of f16 pairs.
void ReadHalfC(const Warp& warp, const uint32_t* rows, MatrixC<double>& c) {
  for (int r = 0; r < 2; ++r) {
    const auto* halves = warp.Row<uint16_t>(rows[r]);
    for (int i = 0; i < 2 * kWarpSize; ++i) {
      c[i / 8 + 8 * r][i % 8] = HalfToFloat(halves[i]);
    }
  }
}
void WriteHalfD(const Warp& warp, const uint32_t* rows, const MatrixC<double>& d) {
  for (int r = 0; r < 2; ++r) {
    auto* halves = warp.Row<uint16_t>(rows[r]);
    for (int i = 0; i < 2 * kWarpSize; ++i) {
      halves[i] = FloatToHalf(ToFloatOdd(d[i / 8 + 8 * r][i % 8]));
    }
  }
}

template <int kDepth>
void MultiplyInDouble(const MatrixA<double>& a, const MatrixB<double>& b, MatrixC<double>& c) {
  constexpr int kRowsAtOnce = 4;  // 8 vectors of sums, enough to hide the latency of a multiply-add
  for (int first = 0; first < kRows; first += kRowsAtOnce) {
    std::array<std::array<double, kColumns>, kRowsAtOnce> sums;
    for (int row = 0; row < kRowsAtOnce; ++row) {
      sums[row] = c[first + row];
    }
    for (int k = 0; k < kDepth; ++k) {
      for (int row = 0; row < kRowsAtOnce; ++row) {
        for (int column = 0; column < kColumns; ++column) {
          sums[row][column] = __builtin_fma(a[first + row][k], b[k][column], sums[row][column]);
        }
      }
    }
    for (int row = 0; row < kRowsAtOnce; ++row) {
      c[first + row] = sums[row];
    }
  }
}

// A row of D.
using Floats [[gnu::vector_size(4 * kColumns)]] = float;
using Ints [[gnu::vector_size(4 * kColumns)]] = int32_t;
using Words [[gnu::vector_size(4 * kColumns)]] = uint32_t;

/// Products of 8-bit floats are exact in f32.
template <int kDepth>
void MultiplyInShortAccumulator(const MatrixA<float>& a, const MatrixB<float>& b, MatrixC<float>& c) {
  constexpr uint32_t kFractionBits = 13, kExponentMask = 0x7f800000, kLeastExponent = (kFractionBits + 1) << 23;
  std::array<Floats, kDepth> columns;
  std::memcpy(columns.data(), b.data(), sizeof(columns));
  for (int row = 0; row < kRows; ++row) {
    std::array<Floats, kDepth + 1> addends;
    std::memcpy(&addends[kDepth], c[row].data(), sizeof(Floats));
    for (int k = 0; k < kDepth; ++k) {
      addends[k] = a[row][k] * columns[k];
    }
    Words largest = Words{} + kLeastExponent;
    for (const Floats& addend : addends) {
      const Words exponent = std::bit_cast<Words>(addend) & kExponentMask;
      largest = exponent > largest ? exponent : largest;
    }
    // Powers of two: a unit is the last bit kept, and scale its reciprocal.
    const auto unit = std::bit_cast<Floats>(largest - (kFractionBits << 23));
    const auto scale = std::bit_cast<Floats>(((254 + kFractionBits) << 23) - largest);
    Ints sum = {};
    Floats plain = {};
    for (const Floats& addend : addends) {
      sum += __builtin_convertvector(addend * scale, Ints);
      plain += addend;
    }
    // Infinities and NaN go their way in any order.
    const Floats result = largest == kExponentMask ? plain : __builtin_convertvector(sum, Floats) * unit;
    std::memcpy(c[row].data(), &result, sizeof(result));
  }
}

template <int kDepth>
void CountMultiplyAdds(Warp& warp) {
  warp.block().counters().tensor_multiply_adds += uint64_t{kRows} * kColumns * kDepth;
}

/// Rows of the ops below: D, A, B, C.
template <typename A, typename B, int kDepth, bool kHalfSum>
Flow MmaDouble(Warp& warp, const Op& op, uint32_t mask) {
  if (const Membership membership = GatherWarp(warp, op, mask); membership != Membership::kComplete) {
    return FlowOf(membership);
  }
  constexpr int kSums = kHalfSum ? 2 : 4, kRegisters = kRegistersOfA<A, kDepth>;
  MatrixA<double> a;
  MatrixB<double> b;
  MatrixC<double> c;
  ReadA<A, kDepth>(warp, op.rows + kSums, a);
  ReadB<B, kDepth>(warp, op.rows + kSums + kRegisters, b);
  const uint32_t* c_rows = op.rows + kSums + kRegisters + kRegisters / 2;
  kHalfSum ? ReadHalfC(warp, c_rows, c) : ReadC<float>(warp, c_rows, c);
  MultiplyInDouble<kDepth>(a, b, c);
  if (kHalfSum) {
    WriteHalfD(warp, op.rows, c);
  } else {
    for (auto& row : c) {
      for (double& value : row) {
        value = value != value ? CanonicalNan() : value;
      }
    }
    WriteD<float>(warp, op.rows, c);
  }
  CountMultiplyAdds<kDepth>(warp);
  return Flow::kNext;
}

template <typename A, typename B, int kDepth>
Flow MmaShort(Warp& warp, const Op& op, uint32_t mask) {
  if (const Membership membership = GatherWarp(warp, op, mask); membership != Membership::kComplete) {
    return FlowOf(membership);
  }
  constexpr int kRegisters = kRegistersOfA<A, kDepth>;
  MatrixA<float> a;
  MatrixB<float> b;
  MatrixC<float> c;
  ReadA<A, kDepth>(warp, op.rows + 4, a);
  ReadB<B, kDepth>(warp, op.rows + 4 + kRegisters, b);
  ReadC<float>(warp, op.rows + 4 + kRegisters + kRegisters / 2, c);
  MultiplyInShortAccumulator<kDepth>(a, b, c);
  for (auto& row : c) {
    for (float& value : row) {
      value = Canonical(value);
    }
  }
  WriteD<float>(warp, op.rows, c);
  CountMultiplyAdds<kDepth>(warp);
  return Flow::kNext;
}

template <typename A, typename B, int kDepth, bool kSaturates>
Flow MmaInteger(Warp& warp, const Op& op, uint32_t mask) {
  if (const Membership membership = GatherWarp(warp, op, mask); membership != Membership::kComplete) {
    return FlowOf(membership);
  }
  constexpr int kRegisters = kRegistersOfA<A, kDepth>;
  MatrixA<int32_t> a;
  MatrixB<int32_t> b;
  MatrixC<int64_t> c;
  ReadA<A, kDepth>(warp, op.rows + 4, a);
  ReadB<B, kDepth>(warp, op.rows + 4 + kRegisters, b);
  ReadC<int32_t>(warp, op.rows + 4 + kRegisters + kRegisters / 2, c);
  for (int row = 0; row < kRows; ++row) {
    std::array<int32_t, kColumns> sums = {};
    for (int k = 0; k < kDepth; ++k) {
      for (int column = 0; column < kColumns; ++column) {
        sums[column] += a[row][k] * b[k][column];
      }
    }
    for (int column = 0; column < kColumns; ++column) {
      const int64_t sum = c[row][column] + sums[column];
      c[row][column] = kSaturates ? std::clamp<int64_t>(sum, INT32_MIN, INT32_MAX) : sum;
    }
  }
  WriteD<int32_t>(warp, op.rows, c);
  CountMultiplyAdds<kDepth>(warp);
  return Flow::kNext;
}

/// A form of the instruction.
struct Mma {
  Handler handler = nullptr;
  int registers_of_a = 0;
  int architecture = 80;
};

template <typename E>
Mma PickSixteenBit(int depth, bool half_sum) {
  if (depth == 16) {
    return {half_sum ? &MmaDouble<E, E, 16, true> : &MmaDouble<E, E, 16, false>, kRegistersOfA<E, 16>};
  }
  return depth == 8 ? Mma{half_sum ? &MmaDouble<E, E, 8, true> : &MmaDouble<E, E, 8, false>, kRegistersOfA<E, 8>}
                    : Mma{};
}

template <typename A, typename B>
Mma PickFp8(int depth, bool half_sum, bool has_short_accumulator) {
  auto pick = [&]<int kDepth>() -> Mma {
    const Handler exact = half_sum ? &MmaDouble<A, B, kDepth, true> : &MmaDouble<A, B, kDepth, false>;
    const bool is_short = has_short_accumulator && !half_sum;
    return {is_short ? &MmaShort<A, B, kDepth> : exact, kRegistersOfA<A, kDepth>, 89};
  };
  return depth == 32 ? pick.template operator()<32>() : depth == 16 ? pick.template operator()<16>() : Mma {};
}

template <typename A, typename B>
Mma PickInteger(int depth, bool saturates) {
  auto pick = [&]<int kDepth>() -> Mma {
    return {saturates ? &MmaInteger<A, B, kDepth, true> : &MmaInteger<A, B, kDepth, false>, kRegistersOfA<A, kDepth>};
  };
  return depth == 32 ? pick.template operator()<32>() : depth == 16 ? pick.template operator()<16>() : Mma {};
}

Mma Pick(Format a, Format b, int depth, bool half_sum, bool saturates, bool has_short_accumulator) {
  if (a == Format::kF16 && b == a) {
    return PickSixteenBit<F16>(depth, half_sum);
  }
  if (a == Format::kBf16 && b == a && !half_sum) {
    return PickSixteenBit<Bf16>(depth, false);
  }
  if (a == Format::kTf32 && b == a && !half_sum) {
    return depth == 8   ? Mma{&MmaDouble<Tf32, Tf32, 8, false>, kRegistersOfA<Tf32, 8>}
           : depth == 4 ? Mma{&MmaDouble<Tf32, Tf32, 4, false>, kRegistersOfA<Tf32, 4>}
                        : Mma{};
  }
  const bool b_is_e4m3 = b == Format::kE4m3, b_is_e5m2 = b == Format::kE5m2;
  if (a == Format::kE4m3 && (b_is_e4m3 || b_is_e5m2)) {
    return b_is_e4m3 ? PickFp8<E4m3, E4m3>(depth, half_sum, has_short_accumulator)
                     : PickFp8<E4m3, E5m2>(depth, half_sum, has_short_accumulator);
  }
  if (a == Format::kE5m2 && (b_is_e4m3 || b_is_e5m2)) {
    return b_is_e4m3 ? PickFp8<E5m2, E4m3>(depth, half_sum, has_short_accumulator)
                     : PickFp8<E5m2, E5m2>(depth, half_sum, has_short_accumulator);
  }
  const bool b_is_s8 = b == Format::kS8, b_is_u8 = b == Format::kU8;
  if (a == Format::kS8 && (b_is_s8 || b_is_u8)) {
    return b_is_s8 ? PickInteger<S8, S8>(depth, saturates) : PickInteger<S8, U8>(depth, saturates);
  }
  if (a == Format::kU8 && (b_is_s8 || b_is_u8)) {
    return b_is_s8 ? PickInteger<U8, S8>(depth, saturates) : PickInteger<U8, U8>(depth, saturates);
  }
  return {};
}

void DecodeMma(Decoder& d) {
  d.CountAs(InstructionClass::kTensor);
  const bool known = d.Take("sync") && d.Take("aligned");
  constexpr int kDepths[] = {4, 8, 16, 32};
  const int shape = d.TakeOneOf({"m16n8k4", "m16n8k8", "m16n8k16", "m16n8k32"});
  const bool layout = d.Take("row") && d.Take("col");
  const bool saturates = d.Take("satfinite");
  d.Take("kind::f8f6f4");
  const Format result = d.TakeFormat(), a = d.TakeFormat(), b = d.TakeFormat(), c = d.TakeFormat();
  const bool is_integer = a == Format::kS8 || a == Format::kU8;
  const bool half_sum = result == Format::kF16;
  const bool sums_match =
      result == c && (is_integer ? result == Format::kS32 : result == Format::kF32 || (half_sum && !saturates));
  if (!known || shape < 0 || !layout || !sums_match || (saturates && !is_integer)) {
    return d.Fail("the simulator does not have this shape, layout or type of mma");
  }
  const bool has_short_accumulator = d.gpu().compute_major < 9;
  const Mma mma = Pick(a, b, kDepths[shape], half_sum, saturates, has_short_accumulator);
  if (!mma.handler) {
    return d.Fail("the simulator does not have this shape, layout or type of mma");
  }
  d.Requires(mma.architecture, "mma of this type");
  std::vector<uint32_t> results, sources;
  auto take = [&](size_t index, int count, bool is_result) {
    const auto elements = d.Elements(index);
    if (static_cast<int>(elements.size()) != count) {
      d.Fail(fmt::format("expected {} registers as operand {}, found {}", count, index + 1, elements.size()));
    }
    for (const Operand* element : elements) {
      if (is_result) {
        results.push_back(d.Result(*element, Format::kB32));
      } else {
        sources.push_back(d.Source(*element, Format::kB32));
      }
    }
  };
  const int sums = half_sum ? 2 : 4;
  take(0, sums, true);
  take(1, mma.registers_of_a, false);
  take(2, mma.registers_of_a / 2, false);
  take(3, sums, false);
  d.Emit(mma.handler, results, sources);
}

constexpr OpcodeEntry kOpcodes[] = {{"mma", std::nullopt, DecodeMma}};

}  // namespace

std::span<const OpcodeEntry> TensorOpcodes() { return kOpcodes; }

}  // namespace nemotron::ptxsim
