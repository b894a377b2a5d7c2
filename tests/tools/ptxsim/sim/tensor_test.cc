// mma, ldmatrix and stmatrix. Fragments are laid out by the formulas that the manual gives for each shape, one by one.
#include <gmock/gmock.h>

#include <cmath>

#include "tests/tools/ptxsim/sim/formats.h"
#include "tests/tools/ptxsim/sim/simulator.h"

namespace nemotron::ptxsim {
namespace {

using ::testing::IsEmpty;

using Fragments = std::vector<uint32_t>;  // register r of lane l at 32 * r + l

/// Where element i of a lane's fragment of A lies: sections 9.7.14.5.6 to 9.7.14.5.10.
struct Place {
  int row, column;
};
Place PlaceInA(int bits, int lane, int i) {
  const int group = lane >> 2, thread = lane % 4;
  switch (bits) {
    case 16:
      return {(i % 4 < 2) ? group : group + 8, thread * 2 + (i & 1) + (i >= 4 ? 8 : 0)};
    case 8:
      return {(i / 4) % 2 == 0 ? group : group + 8, thread * 4 + (i & 3) + (i >= 8 ? 16 : 0)};
    default:
      return {i % 2 == 0 ? group : group + 8, thread + (i >= 2 ? 4 : 0)};
  }
}
Place PlaceInB(int bits, int lane, int i) {
  const int group = lane >> 2, thread = lane % 4;
  switch (bits) {
    case 16:
      return {thread * 2 + (i & 1) + (i >= 2 ? 8 : 0), group};
    case 8:
      return {thread * 4 + (i & 3) + (i >= 4 ? 16 : 0), group};
    default:
      return {thread + (i >= 1 ? 4 : 0), group};
  }
}
Place PlaceInC(int lane, int i) { return {(lane >> 2) + (i >= 2 ? 8 : 0), lane % 4 * 2 + (i & 1)}; }

struct MmaCase {
  std::string name;  ///< from the shape on
  int depth, bits;   ///< k, and bits of an element in a register
  bool half_sum = false;
};

/// Runs one mma. `a`, `b` and `c` hold bits of elements.
std::vector<std::vector<uint32_t>> RunMma(const MmaCase& test, const std::vector<std::vector<uint32_t>>& a,
                                          const std::vector<std::vector<uint32_t>>& b,
                                          const std::vector<std::vector<uint32_t>>& c, GpuModel gpu = {}) {
  const int per_register = 32 / test.bits;
  const int a_registers = 16 * test.depth / 32 / per_register, b_registers = a_registers / 2,
            sums = test.half_sum ? 2 : 4;
  Fragments input(static_cast<size_t>(32 * (a_registers + b_registers + sums)));
  auto pack = [&](int first, int registers, int bits, auto element) {
    const int n = 32 / bits;
    for (int r = 0; r < registers; ++r) {
      for (int lane = 0; lane < 32; ++lane) {
        for (int j = 0; j < n; ++j) {
          input[static_cast<size_t>(32 * (first + r) + lane)] |= element(lane, r * n + j) << (bits * j % 32);
        }
      }
    }
  };
  pack(0, a_registers, test.bits, [&](int lane, int i) {
    const Place p = PlaceInA(test.bits, lane, i);
    return a[p.row][p.column];
  });
  pack(a_registers, b_registers, test.bits, [&](int lane, int i) {
    const Place p = PlaceInB(test.bits, lane, i);
    return b[p.row][p.column];
  });
  pack(a_registers + b_registers, sums, test.half_sum ? 16 : 32, [&](int lane, int i) {
    const Place p = PlaceInC(lane, i);
    return c[p.row][p.column];
  });

  std::string code =
      ".visible .entry k(.param .u64 in, .param .u64 out) {\n.reg .b32 %r<32>, %t; .reg .b64 %in, %out;\n"
      "ld.param.u64 %in, [in]; ld.param.u64 %out, [out]; mov.u32 %t, %tid.x;\n"
      "mad.wide.u32 %in, %t, 4, %in; mad.wide.u32 %out, %t, 4, %out;\n";
  auto list = [](int first, int count) {
    std::string text = "{";
    for (int i = 0; i < count; ++i) {
      text += (i ? ", %r" : "%r") + std::to_string(first + i);
    }
    return text + "}";
  };
  for (int r = 0; r < a_registers + b_registers + sums; ++r) {
    code += "ld.global.b32 %r" + std::to_string(r) + ", [%in+" + std::to_string(128 * r) + "];\n";
  }
  code += "mma.sync.aligned." + test.name + " " + list(20, sums) + ", " + list(0, a_registers) + ", " +
          list(a_registers, b_registers) + ", " + list(a_registers + b_registers, sums) + ";\n";
  for (int r = 0; r < sums; ++r) {
    code += "st.global.b32 [%out+" + std::to_string(128 * r) + "], %r" + std::to_string(20 + r) + ";\n";
  }
  Simulator simulator(code + "ret;\n}", gpu);
  EXPECT_TRUE(simulator.status().ok()) << simulator.status().message();
  std::vector<std::vector<uint32_t>> result(16, std::vector<uint32_t>(8));
  if (!simulator.status().ok()) {
    return result;
  }
  const DeviceAddress in = simulator.Upload(input), out = simulator.Allocate(128 * static_cast<size_t>(sums));
  const LaunchReport report = simulator.Run({}, in, out);
  EXPECT_THAT(report.findings, IsEmpty());
  EXPECT_EQ(report.counters.tensor_multiply_adds, static_cast<uint64_t>(16 * 8 * test.depth));
  const auto registers = simulator.Download<uint32_t>(out, 32 * static_cast<size_t>(sums));
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) {
      const Place p = PlaceInC(lane, i);
      result[p.row][p.column] = test.half_sum
                                    ? registers[static_cast<size_t>(32 * (i / 2) + lane)] >> (16 * (i % 2)) & 0xffff
                                    : registers[static_cast<size_t>(32 * i + lane)];
    }
  }
  return result;
}

std::vector<std::vector<uint32_t>> RandomBits(int rows, int columns, std::mt19937& random,
                                              const std::vector<uint32_t>& choices) {
  std::vector<std::vector<uint32_t>> bits(rows, std::vector<uint32_t>(columns));
  for (auto& row : bits) {
    for (uint32_t& element : row) {
      element = choices[random() % choices.size()];
    }
  }
  return bits;
}

uint32_t FloatBits(float value) { return std::bit_cast<uint32_t>(value); }

/// Patterns of all numbers of a format within [2^-6, 64) and zero: with them sums of f32 are exact.
std::vector<uint32_t> Moderate(const EnumeratedFormat& format, uint32_t num_patterns) {
  std::vector<uint32_t> choices = {0};
  for (uint32_t bits = 0; bits < num_patterns; ++bits) {
    const double magnitude = std::fabs(format.Value(bits));
    if (magnitude >= 0x1p-3 && magnitude < 8 && std::fmod(magnitude, 0x1p-3) == 0) {
      choices.push_back(bits);
    }
  }
  return choices;
}

void CheckFloat(const MmaCase& test, const EnumeratedFormat& a_format, const EnumeratedFormat& b_format,
                GpuModel gpu = {}) {
  std::mt19937 random(7);
  const uint32_t patterns = 1u << (test.bits == 8 ? 8 : 16);
  const auto a = RandomBits(16, test.depth, random, Moderate(a_format, patterns));
  const auto b = RandomBits(test.depth, 8, random, Moderate(b_format, patterns));
  std::vector<uint32_t> c_choices;
  for (int i = -8; i < 8; ++i) {
    const double value = i * 0.25;
    c_choices.push_back(test.half_sum ? kHalf.Nearest(value) : FloatBits(static_cast<float>(value)));
  }
  const auto c = RandomBits(16, 8, random, c_choices);
  const auto d = RunMma(test, a, b, c, gpu);
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      double sum = test.half_sum ? kHalf.Value(c[row][column]) : std::bit_cast<float>(c[row][column]);
      for (int k = 0; k < test.depth; ++k) {
        sum += a_format.Value(a[row][k]) * b_format.Value(b[k][column]);
      }
      const uint32_t expected = test.half_sum ? kHalf.Nearest(sum) : FloatBits(static_cast<float>(sum));
      ASSERT_EQ(d[row][column], expected) << test.name << " at " << row << ", " << column << ", sum " << sum;
    }
  }
}

TEST(MmaTest, SixteenBits) {
  CheckFloat({"m16n8k16.row.col.f32.bf16.bf16.f32", 16, 16}, kBfloat, kBfloat);
  CheckFloat({"m16n8k8.row.col.f32.bf16.bf16.f32", 8, 16}, kBfloat, kBfloat);
  CheckFloat({"m16n8k16.row.col.f32.f16.f16.f32", 16, 16}, kHalf, kHalf);
  CheckFloat({"m16n8k8.row.col.f16.f16.f16.f16", 8, 16, true}, kHalf, kHalf);
  CheckFloat({"m16n8k16.row.col.f16.f16.f16.f16", 16, 16, true}, kHalf, kHalf);
}

TEST(MmaTest, EightBitFloats) {
  GpuModel ada;
  ada.compute_major = 8, ada.compute_minor = 9;
  for (const GpuModel& gpu : {ada, GpuModel()}) {
    CheckFloat({"m16n8k32.row.col.f32.e5m2.e5m2.f32", 32, 8}, kFp8E5m2, kFp8E5m2, gpu);
    CheckFloat({"m16n8k16.row.col.f32.e4m3.e5m2.f32", 16, 8}, kFp8E4m3, kFp8E5m2, gpu);
    CheckFloat({"m16n8k32.row.col.f16.e4m3.e4m3.f16", 32, 8, true}, kFp8E4m3, kFp8E4m3, gpu);
  }
}

TEST(MmaTest, Tf32) {
  for (const MmaCase& test :
       {MmaCase{"m16n8k8.row.col.f32.tf32.tf32.f32", 8, 32}, MmaCase{"m16n8k4.row.col.f32.tf32.tf32.f32", 4, 32}}) {
    std::mt19937 random(8);
    std::vector<uint32_t> choices;
    for (int i = -50; i < 50; ++i) {
      choices.push_back(FloatBits(static_cast<float>(i) / 8.0f) | 0x5);  // low bits that are not read
    }
    const auto a = RandomBits(16, test.depth, random, choices), b = RandomBits(test.depth, 8, random, choices);
    const auto c = RandomBits(16, 8, random, {FloatBits(1.5f), FloatBits(-3.0f)});
    const auto d = RunMma(test, a, b, c);
    for (int row = 0; row < 16; ++row) {
      for (int column = 0; column < 8; ++column) {
        auto value = [](uint32_t bits) { return static_cast<double>(std::bit_cast<float>(bits & 0xffffe000)); };
        double sum = std::bit_cast<float>(c[row][column]);
        for (int k = 0; k < test.depth; ++k) {
          sum += value(a[row][k]) * value(b[k][column]);
        }
        ASSERT_EQ(std::bit_cast<float>(d[row][column]), static_cast<float>(sum));
      }
    }
  }
}

TEST(MmaTest, Integers) {
  std::mt19937 random(9);
  std::vector<uint32_t> bytes;
  for (uint32_t i = 0; i < 256; ++i) {
    bytes.push_back(i);
  }
  for (const auto& [types, a_signed, b_signed] :
       {std::tuple{"s8.s8", true, true}, {"u8.s8", false, true}, {"u8.u8", false, false}}) {
    for (int depth : {16, 32}) {
      for (bool saturates : {false, true}) {
        const auto a = RandomBits(16, depth, random, bytes), b = RandomBits(depth, 8, random, bytes);
        const auto c = RandomBits(16, 8, random, {5, 0x7fffffff, 0x80000000});
        const auto d = RunMma(
            {"m16n8k" + std::to_string(depth) + ".row.col" + (saturates ? ".satfinite" : "") + ".s32." + types + ".s32",
             depth, 8},
            a, b, c);
        for (int row = 0; row < 16; ++row) {
          for (int column = 0; column < 8; ++column) {
            int64_t sum = static_cast<int32_t>(c[row][column]);
            for (int k = 0; k < depth; ++k) {
              sum += int64_t{a_signed ? static_cast<int8_t>(a[row][k]) : static_cast<int>(a[row][k])} *
                     (b_signed ? static_cast<int8_t>(b[k][column]) : static_cast<int>(b[k][column]));
            }
            sum = saturates ? std::clamp<int64_t>(sum, INT32_MIN, INT32_MAX) : sum;
            ASSERT_EQ(d[row][column], static_cast<uint32_t>(sum)) << types << " k " << depth;
          }
        }
      }
    }
  }
}

/// On sm_89 products of 8-bit floats are aligned to the largest addend and lose what lies 14 bits or more below it.
TEST(MmaTest, ShortAccumulatorDropsSmallAddends) {
  const MmaCase test = {"m16n8k32.row.col.f32.e4m3.e4m3.f32", 32, 8};
  const uint32_t one = kFp8E4m3.Nearest(1);
  std::vector<std::vector<uint32_t>> a(16, std::vector<uint32_t>(32)), b(32, std::vector<uint32_t>(8, one)),
      c(16, std::vector<uint32_t>(8));
  a[0][0] = a[1][0] = a[2][0] = kFp8E4m3.Nearest(256);
  a[0][1] = kFp8E4m3.Nearest(0x1p-5);  // 13 bits below 2^8: kept
  a[1][1] = kFp8E4m3.Nearest(0x1p-6);  // 14 bits below: lost
  c[2][0] = FloatBits(0x1.8p-5f);      // of one and a half units, the half is cut
  GpuModel ada;
  ada.compute_major = 8, ada.compute_minor = 9;
  const auto d = RunMma(test, a, b, c, ada);
  EXPECT_EQ(std::bit_cast<float>(d[0][0]), 256.03125f);
  EXPECT_EQ(std::bit_cast<float>(d[1][0]), 256.0f);
  EXPECT_EQ(std::bit_cast<float>(d[2][0]), 256.03125f);
  const auto exact = RunMma(test, a, b, c);
  EXPECT_EQ(std::bit_cast<float>(exact[1][0]), 256.015625f);
}

TEST(MmaTest, NanAndInfinity) {
  for (const char* type : {"bf16", "e5m2"}) {
    const bool is_byte = type[0] == 'e';
    const EnumeratedFormat& format = is_byte ? kFp8E5m2 : kBfloat;
    const int depth = is_byte ? 32 : 16;
    std::vector<std::vector<uint32_t>> a(16, std::vector<uint32_t>(depth)),
        b(depth, std::vector<uint32_t>(8, format.Nearest(1)));
    std::vector<std::vector<uint32_t>> c(16, std::vector<uint32_t>(8));
    a[0][0] = a[1][0] = format.Nearest(INFINITY);
    a[1][1] = format.Nearest(-INFINITY);
    const auto d = RunMma(
        {"m16n8k" + std::to_string(depth) + ".row.col.f32." + type + "." + type + ".f32", depth, is_byte ? 8 : 16}, a,
        b, c);
    EXPECT_EQ(d[0][0], FloatBits(INFINITY));
    EXPECT_EQ(d[1][0], 0x7fffffffu);
    EXPECT_EQ(d[2][0], 0u);
  }
}

/// Loads or stores by matrix instructions and the other way by plain ones.
TEST(MatrixTest, LoadsAndStoresMatrices) {
  for (const bool transposes : {false, true}) {
    const std::string trans = transposes ? ".trans" : "";
    Simulator simulator(R"(.visible .entry k(.param .u64 out) {
  .reg .b32 %t, %at, %row, %r<8>; .reg .b64 %out; .reg .b16 %h;
  .shared .align 16 .b8 buffer[1024]; .shared .align 16 .b8 copy[1024];
  mov.u32 %t, %tid.x; ld.param.u64 %out, [out];
  mov.u32 %at, buffer; mad.lo.u32 %at, %t, 32, %at;
  shl.b32 %r0, %t, 20; shl.b32 %r1, %t, 4; or.b32 %r0, %r0, %r1; or.b32 %r0, %r0, 65536;
  add.u32 %r1, %r0, 131074; add.u32 %r2, %r1, 131074; add.u32 %r3, %r2, 131074;
  st.shared.v4.b32 [%at], {%r0, %r1, %r2, %r3};
  add.u32 %r0, %r3, 131074; add.u32 %r1, %r0, 131074; add.u32 %r2, %r1, 131074; add.u32 %r3, %r2, 131074;
  st.shared.v4.b32 [%at+16], {%r0, %r1, %r2, %r3};
  bar.sync 0;
  mov.u32 %row, buffer; mad.lo.u32 %row, %t, 16, %row;
  ldmatrix.sync.aligned.m8n8.x4)" +
                        trans + R"(.shared.b16 {%r0, %r1, %r2, %r3}, [%row];
  mad.wide.u32 %out, %t, 16, %out;
  st.global.v4.b32 [%out], {%r0, %r1, %r2, %r3};
  mov.u32 %row, copy; mad.lo.u32 %row, %t, 16, %row;
  stmatrix.sync.aligned.m8n8.x4)" +
                        trans + R"(.shared.b16 [%row], {%r0, %r1, %r2, %r3};
  bar.sync 0;
  ld.shared.v4.b32 {%r0, %r1, %r2, %r3}, [%row];
  st.global.v4.b32 [%out+512], {%r0, %r1, %r2, %r3};
  ret;
})");
    ASSERT_TRUE(simulator.status().ok()) << simulator.status().message();
    const DeviceAddress out = simulator.Allocate(1024);
    ASSERT_THAT(simulator.Run({}, out).findings, IsEmpty());
    // The buffer's half h is 16 * (h / 16) + h % 16 = h: matrix m, row i, column j is half 64 * m + 8 * i + j.
    const auto halves = simulator.Download<uint16_t>(out, 512);
    for (int lane = 0; lane < 32; ++lane) {
      for (int m = 0; m < 4; ++m) {
        for (int j = 0; j < 2; ++j) {
          const int row = lane / 4, column = lane % 4 * 2 + j;
          const int expected = 64 * m + (transposes ? 8 * column + row : 8 * row + column);
          EXPECT_EQ(halves[static_cast<size_t>(8 * lane + 2 * m + j)], expected) << "lane " << lane << " matrix " << m;
        }
      }
    }
    for (int h = 0; h < 256; ++h) {
      EXPECT_EQ(halves[static_cast<size_t>(256 + h)], h);
    }
  }
}

}  // namespace
}  // namespace nemotron::ptxsim
