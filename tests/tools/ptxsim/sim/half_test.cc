// f16 and bf16 against rounding by search (formats.h).
#include <cmath>

#include "tests/tools/ptxsim/sim/formats.h"
#include "tests/tools/ptxsim/sim/simulator.h"

namespace nemotron::ptxsim {
namespace {

struct Named {
  std::string type;
  const EnumeratedFormat& format;
};
std::vector<Named> Formats() { return {{"f16", kHalf}, {"bf16", kBfloat}}; }

std::vector<Sources> Inputs(const EnumeratedFormat& format) {
  std::vector<uint64_t> edges = {0,      0x8000, 1,      0x83ff, format.num_finite() - 1, format.num_finite(),
                                 0x7fff, 0x3c00, 0x3f80, 0xbf81};
  return MixedInputs(edges, 20000);
}

template <typename Exact>
void ExpectRounded(const Named& named, const std::string& code, Exact exact) {
  ExpectEach(code, Inputs(named.format), "%hr", [&](uint64_t a, uint64_t b, uint64_t c) {
    auto value = [&](uint64_t bits) { return named.format.Value(static_cast<uint32_t>(bits & 0xffff)); };
    return named.format.Nearest(exact(value(a), value(b), value(c)));
  });
}

TEST(HalfTest, SumsAndProducts) {
  for (const Named& named : Formats()) {
    // Sums of two f16 or products of two bf16 fit into a double; sums of bf16 that do not are far from ties.
    ExpectRounded(named, "add." + named.type + " %hr, %ha, %hb;", [](double a, double b, double) { return a + b; });
    ExpectRounded(named, "sub." + named.type + " %hr, %ha, %hb;", [](double a, double b, double) { return a - b; });
    ExpectRounded(named, "mul." + named.type + " %hr, %ha, %hb;", [](double a, double b, double) { return a * b; });
  }
}

/// a * b + c, which may need more than the 64 bits of a long double: then the neighbour with an odd last bit, which
/// lies on the same side of every tie as the exact sum.
long double FusedMultiplyAdd(double a, double b, double c) {
  const long double product = static_cast<long double>(a) * b, sum = product + c;
  const bool is_product_larger = std::fabs(product) >= std::fabs(c);
  const long double lost = is_product_larger ? c - (sum - product) : product - (sum - c);
  int exponent = 0;
  const bool is_odd = std::fmod(std::ldexp(std::frexp(sum, &exponent), 64), 2.0L) != 0;
  return lost == 0 || is_odd || !std::isfinite(sum) ? sum : std::nextafter(sum, lost > 0 ? INFINITY : -INFINITY);
}

TEST(HalfTest, FusedMultiplyAddRoundsOnce) {
  for (const Named& named : Formats()) {
    ExpectRounded(named, "fma.rn." + named.type + " %hr, %ha, %hb, %hc;", FusedMultiplyAdd);
    ExpectEach("fma.rn.relu." + named.type + " %hr, %ha, %hb, %hc;", Inputs(named.format), "%hr",
               [&](uint64_t a, uint64_t b, uint64_t c) {
                 auto value = [&](uint64_t bits) { return named.format.Value(static_cast<uint32_t>(bits & 0xffff)); };
                 const long double exact = FusedMultiplyAdd(value(a), value(b), value(c));
                 return exact != exact ? 0x7fff : exact <= 0 || std::signbit(exact) ? 0 : named.format.Nearest(exact);
               });
  }
  // 196 * 144 is half way between two bf16; c, 68 powers of two below, decides.
  EXPECT_EQ(Evaluate("fma.rn.bf16 %hr, %ha, %hb, %hc;", {{0x75c4, 0x1890, 0x2eb0}, {0x75c4, 0x1890, 0xaeb0}}, "%hr"),
            (std::vector<uint64_t>{0x4edd, 0x4edc}));
}

TEST(HalfTest, PairsAreTwoValues) {
  for (const Named& named : Formats()) {
    const auto inputs = Inputs(named.format);
    const auto pairs = Evaluate("fma.rn." + named.type + "x2 %r, %a, %b, %c;", inputs);
    const auto low = Evaluate("fma.rn." + named.type + " %hr, %ha, %hb, %hc;", inputs, "%hr");
    auto shifted = inputs;
    for (Sources& sources : shifted) {
      for (uint64_t& source : sources) {
        source = source >> 16 & 0xffff;
      }
    }
    const auto high = Evaluate("fma.rn." + named.type + " %hr, %ha, %hb, %hc;", shifted, "%hr");
    for (size_t i = 0; i < inputs.size(); ++i) {
      ASSERT_EQ(pairs[i], high[i] << 16 | low[i]) << named.type << " input " << i;
    }
  }
}

TEST(HalfTest, MinMaxAndSigns) {
  for (const Named& named : Formats()) {
    const auto inputs = Inputs(named.format);
    auto value = [&](uint64_t bits) { return named.format.Value(static_cast<uint32_t>(bits & 0xffff)); };
    ExpectEach("max." + named.type + " %hr, %ha, %hb;", inputs, "%hr",
               [&](uint64_t a, uint64_t b, uint64_t) -> uint64_t {
                 const double x = value(a), y = value(b);
                 if (x != x || y != y) {
                   return x != x && y != y ? 0x7fff : (x != x ? b : a) & 0xffff;
                 }
                 return (x == y ? (std::signbit(x) ? b : a) : x < y ? b : a) & 0xffff;
               });
    ExpectEach("min.NaN." + named.type + " %hr, %ha, %hb;", inputs, "%hr",
               [&](uint64_t a, uint64_t b, uint64_t) -> uint64_t {
                 const double x = value(a), y = value(b);
                 return x != x || y != y ? 0x7fff : (x == y ? (std::signbit(x) ? a : b) : x < y ? a : b) & 0xffff;
               });
    ExpectEach("neg." + named.type + " %hr, %ha;", inputs, "%hr",
               [](uint64_t a, uint64_t, uint64_t) { return (a ^ 0x8000) & 0xffff; });
  }
}

TEST(HalfTest, Ex2OfAllValues) {
  std::vector<Sources> inputs;
  for (uint64_t bits = 0; bits < 0x10000; ++bits) {
    inputs.push_back({bits, 0, 0});
  }
  const auto found = Evaluate("ex2.approx.f16 %hr, %ha;", inputs, "%hr");
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const double exact = std::exp2(kHalf.Value(bits));
    const double result = kHalf.Value(static_cast<uint32_t>(found[bits]));
    if (exact != exact || std::isinf(kHalf.Value(kHalf.Nearest(exact)))) {
      continue;
    }
    // Section 9.7.4.9: 2^-9.9 relative; subnormal results by their last place.
    EXPECT_NEAR(result, exact, exact * 0x1p-10 + 0x1p-25) << bits;
  }
}

}  // namespace
}  // namespace nemotron::ptxsim
