// setp, set, selp, slct and logic of predicates.
#include <cmath>

#include "tests/tools/ptxsim/sim/simulator.h"

namespace nemotron::ptxsim {
namespace {

const std::vector<uint64_t> kFloats = {0,          0x80000000, 1,          0x3f800000, 0xbf800000,
                                       0x7f800000, 0xff800000, 0x7fc00000, 0xffc00000};

float AsFloat(uint64_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits)); }

TEST(CompareSelectTest, FloatComparisonsWithNan) {
  struct Case {
    const char* name;
    bool (*compare)(float, float);
    bool of_nan;
  };
  const Case cases[] = {
      {"eq", [](float a, float b) { return a == b; }, false}, {"ne", [](float a, float b) { return a != b; }, false},
      {"lt", [](float a, float b) { return a < b; }, false},  {"ge", [](float a, float b) { return a >= b; }, false},
      {"equ", [](float a, float b) { return a == b; }, true}, {"neu", [](float a, float b) { return a != b; }, true},
      {"ltu", [](float a, float b) { return a < b; }, true},  {"leu", [](float a, float b) { return a <= b; }, true},
      {"gtu", [](float a, float b) { return a > b; }, true},  {"geu", [](float a, float b) { return a >= b; }, true},
      {"num", [](float, float) { return true; }, false},      {"nan", [](float, float) { return false; }, true}};
  for (const Case& test : cases) {
    ExpectEach("setp." + std::string(test.name) + ".f32 %p, %a, %b; selp.u32 %r, 1, 0, %p;", MixedInputs(kFloats), "%r",
               [&](uint64_t a, uint64_t b, auto) {
                 const float x = AsFloat(a), y = AsFloat(b);
                 return x != x || y != y ? test.of_nan : test.compare(x, y);
               });
  }
}

TEST(CompareSelectTest, SignsOfIntegers) {
  const auto inputs = MixedInputs({0, 1, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff});
  ExpectEach("setp.lt.s32 %p, %a, %b; selp.u32 %r, 1, 0, %p;", inputs, "%r",
             [](uint64_t a, uint64_t b, auto) { return static_cast<int32_t>(a) < static_cast<int32_t>(b); });
  ExpectEach("setp.lo.u32 %p, %a, %b; selp.u32 %r, 1, 0, %p;", inputs, "%r",
             [](uint64_t a, uint64_t b, auto) { return static_cast<uint32_t>(a) < static_cast<uint32_t>(b); });
  ExpectEach("setp.gt.s16 %p, %ha, %hb; selp.u32 %r, 1, 0, %p;", inputs, "%r",
             [](uint64_t a, uint64_t b, auto) { return static_cast<int16_t>(a) > static_cast<int16_t>(b); });
}

TEST(CompareSelectTest, TwoResultsAndCombinations) {
  const auto inputs = MixedInputs({0, 1, 2, 3});
  // p = a < b and not (c = 0); q = not (a < b) and not (c = 0)
  ExpectEach(R"({ .reg .pred %z;
    setp.eq.u32 %z, %c, 0;
    setp.lt.and.u32 %p|%q, %a, %b, !%z;
    selp.u32 %r, 1, 0, %p; selp.u32 %t, 2, 0, %q; or.b32 %r, %r, %t; })",
             inputs, "%r", [](uint64_t a, uint64_t b, uint64_t c) {
               const bool less = static_cast<uint32_t>(a) < static_cast<uint32_t>(b),
                          other = static_cast<uint32_t>(c) != 0;
               return (less && other) + 2 * (!less && other);
             });
  ExpectEach("set.lt.u32.s32 %r, %a, %b;", inputs, "%r", [](uint64_t a, uint64_t b, auto) {
    return static_cast<int32_t>(a) < static_cast<int32_t>(b) ? 0xffffffffu : 0;
  });
  ExpectEach("slct.b32.s32 %r, %a, %b, %c;", inputs, "%r", [](uint64_t a, uint64_t b, uint64_t c) {
    return static_cast<int32_t>(c) >= 0 ? a & 0xffffffff : b & 0xffffffff;
  });
}

TEST(CompareSelectTest, LogicOfPredicates) {
  ExpectEach(R"(setp.lt.u32 %p, %a, %b; setp.lt.u32 %q, %b, %c;
    and.pred %p, %p, %q; not.pred %q, %p; xor.pred %p, %p, %q; selp.u32 %r, 1, 0, %p; @%q add.u32 %r, %r, 2;)",
             MixedInputs({0, 1, 2}), "%r", [](uint64_t a, uint64_t b, uint64_t c) {
               const auto x = static_cast<uint32_t>(a), y = static_cast<uint32_t>(b), z = static_cast<uint32_t>(c);
               return 1 + 2 * !(x < y && y < z);
             });
}

}  // namespace
}  // namespace nemotron::ptxsim
