// f32 and f64 arithmetic, bit for bit: expected values come from the host's arithmetic in the wanted rounding.
#include <cfenv>
#include <cmath>

#include "tests/tools/ptxsim/sim/simulator.h"

namespace nemotron::ptxsim {
namespace {

constexpr uint32_t kNan = 0x7fffffff;

std::vector<Sources> FloatInputs() {
  std::vector<uint64_t> edges = {0x00000000, 0x80000000, 0x00000001, 0x807fffff, 0x00800000, 0x3f800000, 0xbf800000,
                                 0x3f800001, 0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000};
  std::vector<Sources> inputs = MixedInputs(edges, 3000);
  std::mt19937 random(2);
  for (int i = 0; i < 3000; ++i) {  // of similar size, so that sums cancel and ties come up
    auto draw = [&] { return uint64_t{0x3f000000u + (random() & 0x80ff0fffu)}; };
    inputs.push_back({draw(), draw(), draw()});
  }
  return inputs;
}

float AsFloat(uint64_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits)); }
uint32_t Bits(float value) { return value != value ? kNan : std::bit_cast<uint32_t>(value); }
float Flush(float value) { return std::fpclassify(value) == FP_SUBNORMAL ? std::copysign(0.0f, value) : value; }

/// Computes in a rounding of the host; volatile operands keep the compiler from doing it before.
template <typename Compute>
float Rounded(int mode, float a, float b, float c, Compute compute) {
  volatile float x = a, y = b, z = c;
  std::fesetround(mode);
  volatile float result = compute(x, y, z);
  std::fesetround(FE_TONEAREST);
  return result;
}

template <typename Compute>
void ExpectF32(const std::string& opcode, int num_sources, Compute compute) {
  const std::string operands = num_sources == 1 ? " %r, %a;" : num_sources == 2 ? " %r, %a, %b;" : " %r, %a, %b, %c;";
  ExpectEach(opcode + operands, FloatInputs(), "%r",
             [&](uint64_t a, uint64_t b, uint64_t c) { return Bits(compute(AsFloat(a), AsFloat(b), AsFloat(c))); });
}

TEST(FloatTest, ArithmeticInAllRoundings) {
  for (const auto& [name, mode] :
       {std::pair{"rn", FE_TONEAREST}, {"rz", FE_TOWARDZERO}, {"rm", FE_DOWNWARD}, {"rp", FE_UPWARD}}) {
    const std::string suffix = std::string(".") + name + ".f32";
    auto in = [&](auto compute) { return [=](float a, float b, float c) { return Rounded(mode, a, b, c, compute); }; };
    ExpectF32("add" + suffix, 2, in([](float a, float b, float) { return a + b; }));
    ExpectF32("sub" + suffix, 2, in([](float a, float b, float) { return a - b; }));
    ExpectF32("mul" + suffix, 2, in([](float a, float b, float) { return a * b; }));
    ExpectF32("div" + suffix, 2, in([](float a, float b, float) { return a / b; }));
    ExpectF32("fma" + suffix, 3, in([](float a, float b, float c) { return std::fma(a, b, c); }));
    ExpectF32("rcp" + suffix, 1, in([](float a, float, float) { return 1.0f / a; }));
    ExpectF32("sqrt" + suffix, 1, in([](float a, float, float) { return std::sqrt(a); }));
  }
}

TEST(FloatTest, FlushesAndSaturates) {
  ExpectF32("add.ftz.f32", 2, [](float a, float b, float) { return Flush(Flush(a) + Flush(b)); });
  ExpectF32("mul.rz.ftz.f32", 2, [](float a, float b, float) {
    return Flush(Rounded(FE_TOWARDZERO, Flush(a), Flush(b), 0, [](float x, float y, float) { return x * y; }));
  });
  ExpectF32("fma.rn.sat.f32", 3, [](float a, float b, float c) {
    const float value = std::fma(a, b, c);
    return value > 0 ? std::min(value, 1.0f) : 0.0f;
  });
}

TEST(FloatTest, MinMaxAndSigns) {
  auto pick = [](float a, float b, bool is_max) {
    if (a != a || b != b) {
      return a != a ? b : a;
    }
    return a == b ? (std::signbit(a) == is_max ? b : a) : (a < b) == is_max ? b : a;
  };
  ExpectF32("min.f32", 2, [&](float a, float b, float) { return pick(a, b, false); });
  ExpectF32("max.f32", 2, [&](float a, float b, float) { return pick(a, b, true); });
  ExpectF32("max.NaN.f32", 2, [&](float a, float b, float) { return a != a || b != b ? NAN : pick(a, b, true); });
  ExpectEach("neg.f32 %r, %a;", FloatInputs(), "%r",
             [](uint64_t a, uint64_t, uint64_t) { return static_cast<uint32_t>(a) ^ 0x80000000; });
  ExpectEach("abs.f32 %r, %a;", FloatInputs(), "%r", [](uint64_t a, uint64_t, uint64_t) { return a & 0x7fffffff; });
  ExpectEach("copysign.f32 %r, %a, %b;", FloatInputs(), "%r",
             [](uint64_t a, uint64_t b, uint64_t) { return (a & 0x80000000) | (b & 0x7fffffff); });
}

TEST(FloatTest, TestsProperties) {
  for (const auto& [name, type] : {std::pair{"infinite", FP_INFINITE}, {"normal", FP_NORMAL}, {"notanumber", FP_NAN}}) {
    ExpectEach("testp." + std::string(name) + ".f32 %p, %a; selp.u32 %r, 1, 0, %p;", FloatInputs(), "%r",
               [&](uint64_t a, uint64_t, uint64_t) { return std::fpclassify(AsFloat(a)) == type; });
  }
  ExpectEach(
      "testp.subnormal.f32 %p, %a; selp.u32 %r, 1, 0, %p;", FloatInputs(), "%r",
      [](uint64_t a, uint64_t, uint64_t) { return std::fpclassify(AsFloat(a)) == FP_SUBNORMAL || AsFloat(a) == 0; });
}

/// The manual's bounds (section 9.7.3) as relative errors; results that overflow or are subnormal are left out.
TEST(FloatTest, ApproximateFunctionsKeepTheirBounds) {
  struct Case {
    std::string opcode;
    double (*exact)(double);
    double bound;
  };
  const std::vector<Case> cases = {{"ex2.approx.f32", [](double a) { return std::exp2(a); }, 0x1p-22},
                                   {"lg2.approx.f32", [](double a) { return std::log2(a); }, 0x1p-22},
                                   {"rsqrt.approx.f32", [](double a) { return 1 / std::sqrt(a); }, 0x1p-22},
                                   {"rcp.approx.ftz.f32", [](double a) { return 1 / a; }, 0x1p-22},
                                   {"sin.approx.f32", [](double a) { return std::sin(a); }, 0x1p-20},
                                   {"cos.approx.f32", [](double a) { return std::cos(a); }, 0x1p-20},
                                   {"tanh.approx.f32", [](double a) { return std::tanh(a); }, 0x1p-11}};
  std::vector<Sources> inputs;
  for (int i = 1; i < 4000; ++i) {
    inputs.push_back({std::bit_cast<uint32_t>(static_cast<float>(i) / 512.0f), 0, 0});
  }
  for (const Case& test : cases) {
    const auto found = Evaluate(test.opcode + " %r, %a;", inputs);
    for (size_t i = 0; i < inputs.size(); ++i) {
      const double exact = test.exact(AsFloat(inputs[i][0]));
      EXPECT_NEAR(AsFloat(found[i]), exact, std::fabs(exact) * test.bound + 0x1p-24)
          << test.opcode << " of " << AsFloat(inputs[i][0]);
    }
  }
}

TEST(FloatTest, Doubles) {
  std::vector<Sources> inputs =
      MixedInputs({0, 0x3ff0000000000000, 0x7ff0000000000000, 1, 0x8000000000000000, 0xc008000000000000});
  auto value = [](uint64_t bits) { return std::bit_cast<double>(bits); };
  auto expect = [&](const std::string& code, auto compute) {
    const auto found = Evaluate(code, inputs, "%dr");
    for (size_t i = 0; i < inputs.size(); ++i) {
      const double want = compute(value(inputs[i][0]), value(inputs[i][1]), value(inputs[i][2]));
      ASSERT_TRUE(want != want ? value(found[i]) != value(found[i]) : std::bit_cast<uint64_t>(want) == found[i])
          << code << " input " << i;
    }
  };
  expect("add.f64 %dr, %da, %db;", [](double a, double b, double) { return a + b; });
  expect("fma.rn.f64 %dr, %da, %db, %dc;", [](double a, double b, double c) { return std::fma(a, b, c); });
  expect("div.rn.f64 %dr, %da, %db;", [](double a, double b, double) { return a / b; });
  expect("sqrt.rn.f64 %dr, %da;", [](double a, double, double) { return std::sqrt(a); });
  expect("mul.rp.f64 %dr, %da, %db;", [](double a, double b, double) {
    volatile double x = a, y = b;
    std::fesetround(FE_UPWARD);
    volatile double product = x * y;
    std::fesetround(FE_TONEAREST);
    return static_cast<double>(product);
  });
}

}  // namespace
}  // namespace nemotron::ptxsim
