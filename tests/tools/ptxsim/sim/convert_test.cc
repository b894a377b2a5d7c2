// cvt: all 8- and 16-bit values exhaustively, wider ones on edges and random values.
#include <algorithm>
#include <cmath>

#include "tests/tools/ptxsim/sim/formats.h"
#include "tests/tools/ptxsim/sim/simulator.h"

namespace nemotron::ptxsim {
namespace {

float AsFloat(uint64_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits)); }
uint32_t Bits(float value) { return value != value ? 0x7fffffff : std::bit_cast<uint32_t>(value); }

std::vector<Sources> Floats() {
  std::vector<Sources> inputs =
      MixedInputs({0, 0x80000000, 1, 0x7f800000, 0xff800000, 0x7fc00000, 0x3f000000, 0xbf000000, 0x3fc00000, 0x4f000000,
                   0xcf000000, 0x4effffff, 0x477ff000, 0x43e80000, 0x43e00000, 0x33800000},
                  3000);
  std::mt19937 random(3);
  for (int i = 0; i < 20000;
       ++i) {  // around the ranges of f16 and the 8-bit formats, with few bits, so that ties come up
    const uint32_t exponent = 127 - 28 + random() % 48;
    inputs.push_back({(random() & 0x80000000) | exponent << 23 | (random() & 0x7ff000), random() & 0xffffffff, 0});
  }
  return inputs;
}

std::vector<Sources> AllOf16Bits() {
  std::vector<Sources> inputs;
  for (uint64_t bits = 0; bits < 0x10000; ++bits) {
    inputs.push_back({bits, 0, 0});
  }
  return inputs;
}

TEST(ConvertTest, BetweenIntegers) {
  const auto inputs =
      MixedInputs({0, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, ~0ull});
  ExpectEach("cvt.s32.s8 %r, %a;", inputs, "%r",
             [](uint64_t a, auto, auto) { return static_cast<uint32_t>(static_cast<int8_t>(a)); });
  ExpectEach("cvt.u8.u32 %r, %a;", inputs, "%r", [](uint64_t a, auto, auto) { return a & 0xff; });
  ExpectEach("cvt.s64.s32 %dr, %a;", inputs, "%dr",
             [](uint64_t a, auto, auto) { return static_cast<int64_t>(static_cast<int32_t>(a)); });
  ExpectEach("cvt.u32.u64 %r, %da;", inputs, "%r", [](uint64_t a, auto, auto) { return a & 0xffffffff; });
  ExpectEach("cvt.sat.s8.s32 %r, %a;", inputs, "%r", [](uint64_t a, auto, auto) {
    return static_cast<uint32_t>(std::clamp(static_cast<int32_t>(a), -128, 127));
  });
  ExpectEach("cvt.sat.u16.s64 %hr, %da;", inputs, "%hr",
             [](uint64_t a, auto, auto) { return std::clamp<int64_t>(static_cast<int64_t>(a), 0, 65535); });
}

TEST(ConvertTest, FloatsToIntegersRoundAndClamp) {
  auto expect = [](const std::string& code, double (*round)(double), double least, double most) {
    ExpectEach(code, Floats(), "%r", [&](uint64_t a, auto, auto) {
      const double value = AsFloat(a);
      return value != value ? 0 : static_cast<uint32_t>(static_cast<int64_t>(std::clamp(round(value), least, most)));
    });
  };
  expect("cvt.rni.s32.f32 %r, %a;", [](double a) { return std::nearbyint(a); }, INT32_MIN, INT32_MAX);
  expect("cvt.rzi.s32.f32 %r, %a;", [](double a) { return std::trunc(a); }, INT32_MIN, INT32_MAX);
  expect("cvt.rmi.s32.f32 %r, %a;", [](double a) { return std::floor(a); }, INT32_MIN, INT32_MAX);
  expect("cvt.rpi.u32.f32 %r, %a;", [](double a) { return std::ceil(a); }, 0, UINT32_MAX);
  expect("cvt.rni.s8.f32 %r, %a;", [](double a) { return std::nearbyint(a); }, -128, 127);
  ExpectEach("cvt.rni.f32.f32 %r, %a;", Floats(), "%r",
             [](uint64_t a, auto, auto) { return Bits(std::nearbyint(AsFloat(a))); });
  ExpectEach("cvt.sat.f32.f32 %r, %a;", Floats(), "%r",
             [](uint64_t a, auto, auto) { return Bits(AsFloat(a) > 0 ? std::min(AsFloat(a), 1.0f) : 0.0f); });
}

TEST(ConvertTest, IntegersToFloats) {
  const auto inputs =
      MixedInputs({0, 1, 0x1000001, 0x7fffffff, 0x80000000, 0xffffffff, 0x7fffffbfffffffff, 0x8000008000000001, ~0ull});
  ExpectEach("cvt.rn.f32.s32 %r, %a;", inputs, "%r",
             [](uint64_t a, auto, auto) { return Bits(static_cast<float>(static_cast<int32_t>(a))); });
  ExpectEach("cvt.rn.f32.u64 %r, %da;", inputs, "%r",
             [](uint64_t a, auto, auto) { return Bits(static_cast<float>(a)); });
  ExpectEach("cvt.rn.f64.s64 %dr, %da;", inputs, "%dr", [](uint64_t a, auto, auto) {
    return std::bit_cast<uint64_t>(static_cast<double>(static_cast<int64_t>(a)));
  });
  ExpectEach("cvt.rz.f32.u32 %r, %a;", inputs, "%r", [](uint64_t a, auto, auto) {
    const auto value = static_cast<uint32_t>(a);
    const auto nearest = static_cast<float>(value);
    return Bits(static_cast<double>(nearest) > value ? std::nextafter(nearest, 0.0f) : nearest);
  });
}

TEST(ConvertTest, ToSixteenBits) {
  for (const auto& [type, format] :
       {std::pair<std::string, const EnumeratedFormat&>{"f16", kHalf}, {"bf16", kBfloat}}) {
    ExpectEach("cvt.rn." + type + ".f32 %hr, %a;", Floats(), "%hr",
               [&](uint64_t a, auto, auto) { return format.Nearest(AsFloat(a)); });
    ExpectEach("cvt.rn." + type + "x2.f32 %r, %a, %b;", Floats(), "%r", [&](uint64_t a, uint64_t b, auto) {
      return format.Nearest(AsFloat(a)) << 16 | format.Nearest(AsFloat(b));
    });
    ExpectEach("cvt.rn.relu." + type + "x2.f32 %r, %a, %b;", Floats(), "%r", [&](uint64_t a, uint64_t b, auto) {
      auto relu = [](float value) { return value <= 0 ? 0.0f : value; };
      return format.Nearest(relu(AsFloat(a))) << 16 | format.Nearest(relu(AsFloat(b)));
    });
    ExpectEach("cvt.rz." + type + ".f32 %hr, %a;", Floats(), "%hr", [&](uint64_t a, auto, auto) -> uint32_t {
      const float value = AsFloat(a);
      const uint32_t nearest = format.Nearest(value);
      const bool is_too_large = std::isfinite(value) && std::fabs(format.Value(nearest)) > std::fabs(value);
      return is_too_large ? nearest - 1 : nearest;
    });
    ExpectEach("cvt.f32." + type + " %r, %ha;", AllOf16Bits(), "%r", [&](uint64_t a, auto, auto) {
      return Bits(static_cast<float>(format.Value(static_cast<uint32_t>(a))));
    });
  }
}

TEST(ConvertTest, EightBitFloats) {
  for (const auto& [type, format] :
       {std::pair<std::string, const EnumeratedFormat&>{"e4m3x2", kFp8E4m3}, {"e5m2x2", kFp8E5m2}}) {
    ExpectEach("cvt.rn.satfinite." + type + ".f32 %hr, %a, %b;", Floats(), "%hr", [&](uint64_t a, uint64_t b, auto) {
      return format.Nearest(AsFloat(a), true) << 8 | format.Nearest(AsFloat(b), true);
    });
    ExpectEach("cvt.rn.f16x2." + type + " %r, %ha;", AllOf16Bits(), "%r", [&](uint64_t a, auto, auto) {
      return kHalf.Nearest(format.Value(a >> 8 & 0xff)) << 16 | kHalf.Nearest(format.Value(a & 0xff));
    });
    ExpectEach("cvt.rn.satfinite." + type + ".f16x2 %hr, %a;", AllOf16Bits(), "%hr", [&](uint64_t a, auto, auto) {
      return format.Nearest(0.0, true) << 8 | format.Nearest(kHalf.Value(static_cast<uint32_t>(a)), true);
    });
  }
}

TEST(ConvertTest, Tf32RoundsTiesAway) {
  ExpectEach("cvt.rna.tf32.f32 %r, %a;", Floats(), "%r", [](uint64_t a, auto, auto) -> uint32_t {
    const auto bits = static_cast<uint32_t>(a);
    if (AsFloat(a) != AsFloat(a)) {
      return 0x7fffe000;
    }
    return std::isinf(AsFloat(a)) ? bits : (bits + 0x1000) & ~0x1fffu;
  });
}

TEST(ConvertTest, Doubles) {
  const auto inputs =
      MixedInputs({0x3ff0000010000000, 0x3ff0000010000001, 0x36a0000000000000, 0x47efffffefffffff, 0x47efffffe0000000});
  ExpectEach("cvt.rn.f32.f64 %r, %da;", inputs, "%r",
             [](uint64_t a, auto, auto) { return Bits(static_cast<float>(std::bit_cast<double>(a))); });
  ExpectEach("cvt.rzi.s64.f64 %dr, %da;", inputs, "%dr", [](uint64_t a, auto, auto) -> int64_t {
    const auto value = std::bit_cast<double>(a);
    return value != value ? 0 : value >= 0x1p63 ? INT64_MAX : value < -0x1p63 ? INT64_MIN : static_cast<int64_t>(value);
  });
}

}  // namespace
}  // namespace nemotron::ptxsim
