// Integer arithmetic, logic and bit fields against formulas of their own, on edges and random values.
#include <algorithm>
#include <bit>

#include "tests/tools/ptxsim/sim/simulator.h"

namespace nemotron::ptxsim {
namespace {

const std::vector<uint64_t> kEdges = {0,
                                      1,
                                      2,
                                      7,
                                      31,
                                      32,
                                      33,
                                      63,
                                      64,
                                      0x7fff,
                                      0x8000,
                                      0xffff,
                                      0x7fffffff,
                                      0x80000000,
                                      0xffffffff,
                                      0x7fffffffffffffff,
                                      0x8000000000000000,
                                      0xffffffffffffffff};

std::vector<Sources> Inputs() { return MixedInputs(kEdges); }

template <typename Expected>
void Expect16(const std::string& code, Expected expected) {
  ExpectEach(code, Inputs(), "%hr", [&](uint64_t a, uint64_t b, uint64_t c) {
    return static_cast<uint16_t>(
        expected(static_cast<uint16_t>(a), static_cast<uint16_t>(b), static_cast<uint16_t>(c)));
  });
}
template <typename Expected>
void Expect32(const std::string& code, Expected expected) {
  ExpectEach(code, Inputs(), "%r", [&](uint64_t a, uint64_t b, uint64_t c) {
    return static_cast<uint32_t>(
        expected(static_cast<uint32_t>(a), static_cast<uint32_t>(b), static_cast<uint32_t>(c)));
  });
}
template <typename Expected>
void Expect64(const std::string& code, Expected expected) {
  ExpectEach(code, Inputs(), "%dr", expected);
}

int64_t Signed(uint32_t a) { return static_cast<int32_t>(a); }

TEST(IntegerTest, Adds) {
  Expect16("add.u16 %hr, %ha, %hb;", [](auto a, auto b, auto) { return a + b; });
  Expect32("add.s32 %r, %a, %b;", [](auto a, auto b, auto) { return a + b; });
  Expect64("add.s64 %dr, %da, %db;", [](auto a, auto b, auto) { return a + b; });
  Expect32("sub.u32 %r, %a, %b;", [](auto a, auto b, auto) { return a - b; });
  Expect32("add.sat.s32 %r, %a, %b;",
           [](auto a, auto b, auto) { return std::clamp<int64_t>(Signed(a) + Signed(b), INT32_MIN, INT32_MAX); });
  Expect32("sub.sat.s32 %r, %a, %b;",
           [](auto a, auto b, auto) { return std::clamp<int64_t>(Signed(a) - Signed(b), INT32_MIN, INT32_MAX); });
}

TEST(IntegerTest, CarriesThroughWideSums) {
  using Wide = unsigned __int128;
  const auto inputs = Inputs();
  ExpectEach("add.cc.u64 %dt, %da, %db; addc.u64 %dr, %db, %dc;", inputs, "%dr",
             [](uint64_t a, uint64_t b, uint64_t c) {
               return static_cast<uint64_t>(((Wide{b} << 64 | a) + (Wide{c} << 64 | b)) >> 64);
             });
  ExpectEach("sub.cc.u64 %dt, %da, %db; subc.u64 %dr, %db, %dc;", inputs, "%dr",
             [](uint64_t a, uint64_t b, uint64_t c) {
               return static_cast<uint64_t>(((Wide{b} << 64 | a) - (Wide{c} << 64 | b)) >> 64);
             });
  // (a * b).hi + c with the carry of (a * b).lo + c
  Expect32("mad.lo.cc.u32 %t, %a, %b, %c; madc.hi.u32 %r, %a, %b, %c;",
           [](auto a, auto b, auto c) { return (uint64_t{a} * b + (uint64_t{c} << 32 | c)) >> 32; });
}

TEST(IntegerTest, Multiplies) {
  Expect16("mul.lo.u16 %hr, %ha, %hb;", [](auto a, auto b, auto) { return uint32_t{a} * b; });
  Expect32("mul.wide.s16 %r, %ha, %hb;",
           [](auto a, auto b, auto) { return static_cast<int16_t>(a) * static_cast<int16_t>(b); });
  Expect32("mul.lo.s32 %r, %a, %b;", [](auto a, auto b, auto) { return a * b; });
  Expect32("mul.hi.s32 %r, %a, %b;", [](auto a, auto b, auto) { return (Signed(a) * Signed(b)) >> 32; });
  Expect32("mul.hi.u32 %r, %a, %b;", [](auto a, auto b, auto) { return uint64_t{a} * b >> 32; });
  Expect64("mul.wide.u32 %dr, %a, %b;",
           [](uint64_t a, uint64_t b, uint64_t) { return (a & 0xffffffff) * (b & 0xffffffff); });
  Expect64("mul.hi.u64 %dr, %da, %db;", [](uint64_t a, uint64_t b, uint64_t) {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(a) * b) >> 64);
  });
  Expect64("mul.hi.s64 %dr, %da, %db;", [](uint64_t a, uint64_t b, uint64_t) {
    return static_cast<uint64_t>((static_cast<__int128>(static_cast<int64_t>(a)) * static_cast<int64_t>(b)) >> 64);
  });
  Expect64("mad.wide.s32 %dr, %a, %b, %dc;", [](uint64_t a, uint64_t b, uint64_t c) {
    return static_cast<uint64_t>(Signed(static_cast<uint32_t>(a)) * Signed(static_cast<uint32_t>(b))) + c;
  });
  Expect32("mad.hi.sat.s32 %r, %a, %b, %c;", [](auto a, auto b, auto c) {
    return std::clamp<int64_t>(((Signed(a) * Signed(b)) >> 32) + Signed(c), INT32_MIN, INT32_MAX);
  });
  auto low24 = [](uint32_t a) {
    return static_cast<int64_t>((static_cast<int32_t>(a & 0xffffff) ^ 0x800000) - 0x800000);
  };
  Expect32("mul24.hi.s32 %r, %a, %b;", [&](auto a, auto b, auto) { return (low24(a) * low24(b)) >> 16; });
  Expect32("mad24.lo.u32 %r, %a, %b, %c;", [](auto a, auto b, auto c) { return (a & 0xffffff) * (b & 0xffffff) + c; });
  Expect32("sad.s32 %r, %a, %b, %c;",
           [](auto a, auto b, auto c) { return std::max(Signed(a), Signed(b)) - std::min(Signed(a), Signed(b)) + c; });
}

TEST(IntegerTest, Divides) {
  Expect32("div.u32 %r, %a, %b;", [](auto a, auto b, auto) { return b ? a / b : ~0u; });
  Expect32("rem.u32 %r, %a, %b;", [](auto a, auto b, auto) { return b ? a % b : a; });
  Expect32("div.s32 %r, %a, %b;", [](auto a, auto b, auto) { return b ? Signed(a) / Signed(b) : -1; });
  Expect32("rem.s32 %r, %a, %b;", [](auto a, auto b, auto) { return b ? Signed(a) % Signed(b) : Signed(a); });
  Expect64("div.s64 %dr, %da, %db;", [](uint64_t a, uint64_t b, uint64_t) {
    return b == 0       ? ~0ull
           : b == ~0ull ? 0 - a
                        : static_cast<uint64_t>(static_cast<int64_t>(a) / static_cast<int64_t>(b));
  });
}

TEST(IntegerTest, MinMaxAbsNeg) {
  Expect32("min.s32 %r, %a, %b;", [](auto a, auto b, auto) { return std::min(Signed(a), Signed(b)); });
  Expect32("max.u32 %r, %a, %b;", [](auto a, auto b, auto) { return std::max(a, b); });
  Expect32("max.relu.s32 %r, %a, %b;",
           [](auto a, auto b, auto) { return std::max({Signed(a), Signed(b), int64_t{0}}); });
  Expect32("abs.s32 %r, %a;", [](auto a, auto, auto) { return std::abs(Signed(a)); });
  Expect16("neg.s16 %hr, %ha;", [](auto a, auto, auto) { return -a; });
}

TEST(IntegerTest, Logic) {
  Expect32("and.b32 %r, %a, %b;", [](auto a, auto b, auto) { return a & b; });
  Expect16("xor.b16 %hr, %ha, %hb;", [](auto a, auto b, auto) { return a ^ b; });
  Expect64("not.b64 %dr, %da;", [](uint64_t a, uint64_t, uint64_t) { return ~a; });
  Expect32("cnot.b32 %r, %a;", [](auto a, auto, auto) { return a == 0; });
  for (uint32_t table : {0x80u, 0xfeu, 0x96u, 0xe8u, 0x1au}) {
    Expect32("lop3.b32 %r, %a, %b, %c, " + std::to_string(table) + ";", [&](auto a, auto b, auto c) {
      uint32_t result = 0;
      for (int bit = 0; bit < 32; ++bit) {
        const uint32_t index = (a >> bit & 1) << 2 | (b >> bit & 1) << 1 | (c >> bit & 1);
        result |= (table >> index & 1) << bit;
      }
      return result;
    });
  }
}

TEST(IntegerTest, Shifts) {
  Expect32("shl.b32 %r, %a, %b;", [](auto a, auto b, auto) { return b > 31 ? 0 : a << b; });
  Expect32("shr.u32 %r, %a, %b;", [](auto a, auto b, auto) { return b > 31 ? 0 : a >> b; });
  Expect32("shr.s32 %r, %a, %b;", [](auto a, auto b, auto) { return Signed(a) >> std::min(b, 31u); });
  Expect64("shr.s64 %dr, %da, %b;", [](uint64_t a, uint64_t b, uint64_t) {
    return static_cast<uint64_t>(static_cast<int64_t>(a) >> std::min<uint64_t>(b & 0xffffffff, 63));
  });
  Expect32("and.b32 %t, %b, 31; shl.b16 %hr, %ha, %t; cvt.u32.u16 %r, %hr;",
           [](auto a, auto b, auto) { return (b & 31) > 15 ? 0 : (a << (b & 31)) & 0xffff; });
  auto pair = [](uint64_t low, uint64_t high) { return high << 32 | low; };
  Expect32("shf.l.wrap.b32 %r, %a, %b, %c;", [&](auto a, auto b, auto c) { return (pair(a, b) << (c & 31)) >> 32; });
  Expect32("shf.l.clamp.b32 %r, %a, %b, %c;",
           [&](auto a, auto b, auto c) { return (pair(a, b) << std::min(c, 32u)) >> 32; });
  Expect32("shf.r.wrap.b32 %r, %a, %b, %c;", [&](auto a, auto b, auto c) { return pair(a, b) >> (c & 31); });
  Expect32("shf.r.clamp.b32 %r, %a, %b, %c;", [&](auto a, auto b, auto c) { return pair(a, b) >> std::min(c, 32u); });
}

TEST(IntegerTest, PermutesBytes) {
  auto byte = [](uint32_t a, uint32_t b, uint32_t index) {
    return (index < 4 ? a >> (8 * index) : b >> (8 * (index - 4))) & 0xff;
  };
  Expect32("prmt.b32 %r, %a, %b, %c;", [&](auto a, auto b, auto c) {
    uint32_t result = 0;
    for (int i = 0; i < 4; ++i) {
      const uint32_t selected = byte(a, b, c >> (4 * i) & 7);
      result |= (c >> (4 * i) & 8 ? (selected & 0x80 ? 0xffu : 0u) : selected) << (8 * i);
    }
    return result;
  });
  // The table of modes in the description of prmt, as bytes from the highest.
  const std::vector<std::pair<std::string, std::array<uint32_t, 4>>> modes = {
      {"f4e", {0x3210, 0x4321, 0x5432, 0x6543}}, {"b4e", {0x5670, 0x6701, 0x7012, 0x0123}},
      {"rc8", {0x0000, 0x1111, 0x2222, 0x3333}}, {"ecl", {0x3210, 0x3211, 0x3222, 0x3333}},
      {"ecr", {0x0000, 0x1110, 0x2210, 0x3210}}, {"rc16", {0x1010, 0x3232, 0x1010, 0x3232}}};
  for (const auto& [mode, selectors] : modes) {
    Expect32("prmt.b32." + mode + " %r, %a, %b, %c;", [&](auto a, auto b, auto c) {
      uint32_t result = 0;
      for (int i = 0; i < 4; ++i) {
        result |= byte(a, b, selectors[c & 3] >> (4 * i) & 15) << (8 * i);
      }
      return result;
    });
  }
}

TEST(IntegerTest, BitFields) {
  Expect32("bfe.u32 %r, %a, %b, %c;", [](auto a, auto b, auto c) {
    uint32_t result = 0;
    for (uint32_t i = 0; i < (c & 255) && (b & 255) + i < 32 && i < 32; ++i) {
      result |= (a >> ((b & 255) + i) & 1) << i;
    }
    return result;
  });
  Expect64("bfe.s64 %dr, %da, %b, %c;", [](uint64_t a, uint64_t b, uint64_t c) {
    const uint64_t position = b & 255, length = c & 255;
    const uint64_t sign = length == 0 ? 0 : a >> std::min<uint64_t>(position + length - 1, 63) & 1;
    uint64_t result = 0;
    for (uint64_t i = 0; i < 64; ++i) {
      result |= (i < length && position + i < 64 ? a >> (position + i) & 1 : sign) << i;
    }
    return result;
  });
  ExpectEach("bfi.b32 %r, %a, %b, %c, 5;", Inputs(), "%r", [](uint64_t a, uint64_t b, uint64_t c) {
    auto result = static_cast<uint32_t>(b);
    for (uint32_t i = 0; i < 5 && (c & 255) + i < 32; ++i) {
      const uint32_t bit = 1u << ((c & 255) + i);
      result = a >> i & 1 ? result | bit : result & ~bit;
    }
    return result;
  });
  Expect32("bfind.u32 %r, %a;", [](auto a, auto, auto) { return a ? 31 - std::countl_zero(a) : ~0; });
  Expect32("bfind.s32 %r, %a;", [](auto a, auto, auto) {
    const uint32_t bits = a >> 31 ? ~a : a;
    return bits ? 31 - std::countl_zero(bits) : ~0;
  });
  ExpectEach("bfind.shiftamt.u64 %r, %da;", Inputs(), "%r",
             [](uint64_t a, uint64_t, uint64_t) { return a ? static_cast<uint32_t>(std::countl_zero(a)) : ~0u; });
}

TEST(IntegerTest, CountsBits) {
  Expect32("clz.b32 %r, %a;", [](auto a, auto, auto) { return std::countl_zero(a); });
  ExpectEach("popc.b64 %r, %da;", Inputs(), "%r", [](uint64_t a, uint64_t, uint64_t) { return std::popcount(a); });
  Expect32("brev.b32 %r, %a; brev.b32 %r, %r;", [](auto a, auto, auto) { return a; });
  Expect32("brev.b32 %r, %a; and.b32 %r, %r, 1;", [](auto a, auto, auto) { return a >> 31; });
  Expect32("bmsk.clamp.b32 %r, %a, %b;", [](auto a, auto b, auto) {
    uint32_t result = 0;
    for (uint64_t i = a; i < 32 && i < uint64_t{a} + b; ++i) {
      result |= 1u << i;
    }
    return result;
  });
  Expect32("szext.clamp.s32 %r, %a, %b;", [](auto a, auto b, auto) {
    const uint32_t length = std::min(b, 32u);
    return length == 0 ? 0 : static_cast<int64_t>(static_cast<uint64_t>(a) << (64 - length)) >> (64 - length);
  });
}

TEST(IntegerTest, DotProducts) {
  Expect32("dp4a.s32.u32 %r, %a, %b, %c;", [](auto a, auto b, auto c) {
    for (int i = 0; i < 4; ++i) {
      c += static_cast<uint32_t>(static_cast<int8_t>(a >> (8 * i)) * static_cast<int>(b >> (8 * i) & 0xff));
    }
    return c;
  });
  Expect32("dp2a.hi.s32.s32 %r, %a, %b, %c;", [](auto a, auto b, auto c) {
    for (int i = 0; i < 2; ++i) {
      c += static_cast<uint32_t>(static_cast<int16_t>(a >> (16 * i)) * static_cast<int8_t>(b >> (16 + 8 * i)));
    }
    return c;
  });
}

}  // namespace
}  // namespace nemotron::ptxsim
