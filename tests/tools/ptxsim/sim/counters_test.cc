// Sectors, wavefronts and instructions of known patterns; and that results do not depend on the number of threads.
#include <gmock/gmock.h>

#include <cstdlib>

#include "tests/tools/ptxsim/sim/simulator.h"

namespace nemotron::ptxsim {
namespace {

using ::testing::IsEmpty;

/// One warp loads from global memory at the address %at, made from %t, the thread, by `address`.
Counters LoadGlobal(const std::string& address, const std::string& load, uint32_t num_warps = 1) {
  Simulator simulator(R"(.visible .entry k(.param .u64 in) {
  .reg .b32 %t, %v<5>; .reg .b64 %at, %w;
  mov.u32 %t, %tid.x; ld.param.u64 %at, [in];
)" + address + "\n" + load +
                      "\nret;\n}");
  EXPECT_TRUE(simulator.status().ok()) << simulator.status().message();
  const LaunchReport report =
      simulator.Run({{1, 1, 1}, {32 * num_warps, 1, 1}}, simulator.Upload(std::vector<uint32_t>(4096)));
  EXPECT_THAT(report.findings, IsEmpty());
  return report.counters;
}

TEST(CountersTest, GlobalSectors) {
  struct Case {
    const char* name;
    std::string address, load;
    uint64_t bytes, sectors, ideal, distinct;
  };
  const Case cases[] = {
      {"coalesced", "mad.wide.u32 %at, %t, 4, %at;", "ld.global.u32 %v1, [%at];", 128, 4, 4, 4},
      {"misaligned by a word", "mad.wide.u32 %at, %t, 4, %at;", "ld.global.u32 %v1, [%at+4];", 128, 5, 4, 5},
      {"stride of two", "mad.wide.u32 %at, %t, 8, %at;", "ld.global.u32 %v1, [%at];", 128, 8, 4, 8},
      {"stride of 128 bytes", "mad.wide.u32 %at, %t, 128, %at;", "ld.global.u32 %v1, [%at];", 128, 32, 4, 32},
      {"one word for all", "", "ld.global.u32 %v1, [%at];", 128, 1, 1, 1},
      {"reversed", "sub.u32 %t, 31, %t; mad.wide.u32 %at, %t, 4, %at;", "ld.global.u32 %v1, [%at];", 128, 4, 4, 4},
      {"vectors", "mad.wide.u32 %at, %t, 16, %at;", "ld.global.v4.u32 {%v1, %v2, %v3, %v4}, [%at];", 512, 16, 16, 16},
      {"bytes", "cvt.u64.u32 %w, %t; add.u64 %at, %at, %w;", "ld.global.u8 %v1, [%at];", 32, 1, 1, 1},
      {"twice", "mad.wide.u32 %at, %t, 4, %at;", "ld.global.u32 %v1, [%at]; ld.global.nc.u32 %v2, [%at];", 256, 8, 8,
       4},
  };
  for (const Case& test : cases) {
    const Counters counters = LoadGlobal(test.address, test.load);
    EXPECT_EQ(counters.global_load_bytes, test.bytes) << test.name;
    EXPECT_EQ(counters.global_load_sectors, test.sectors) << test.name;
    EXPECT_EQ(counters.global_load_ideal_sectors, test.ideal) << test.name;
    EXPECT_EQ(counters.distinct_load_sectors, test.distinct) << test.name;
    EXPECT_EQ(counters.global_store_sectors, 0u) << test.name;
  }
}

/// Wavefronts of one warp's load from shared memory at an offset made from %t.
Counters LoadShared(const std::string& offset, const std::string& load) {
  Simulator simulator(R"(.visible .entry k() {
  .reg .b32 %t, %u, %at, %v<5>; .reg .b64 %w<3>;
  .shared .align 16 .b8 buffer[8192];
  mov.u32 %t, %tid.x;
)" + offset + "\nmov.u32 %u, buffer; add.u32 %at, %at, %u;\n" +
                      load + "\nret;\n}");
  EXPECT_TRUE(simulator.status().ok()) << simulator.status().message();
  simulator.checks.uninitialized = false;
  const LaunchReport report = simulator.Run({});
  EXPECT_THAT(report.findings, IsEmpty());
  return report.counters;
}

TEST(CountersTest, SharedWavefronts) {
  struct Case {
    const char* name;
    std::string offset, load;
    uint64_t wavefronts, ideal;
  };
  const std::string word = "ld.shared.u32 %v1, [%at];";
  const Case cases[] = {
      {"row", "mul.lo.u32 %at, %t, 4;", word, 1, 1},
      {"stride of two words", "mul.lo.u32 %at, %t, 8;", word, 2, 1},
      {"column of 32 words", "mul.lo.u32 %at, %t, 128;", word, 32, 1},
      {"padded column", "mul.lo.u32 %at, %t, 132;", word, 1, 1},
      {"one word", "mov.u32 %at, 0;", word, 1, 1},
      {"swizzled column", "shl.b32 %u, %t, 7; and.b32 %at, %t, 31; shl.b32 %at, %at, 2; or.b32 %at, %at, %u;", word, 1,
       1},
      {"halves of words", "mul.lo.u32 %at, %t, 2;", "ld.shared.u16 %v1, [%at];", 1, 1},
      {"64 bits by half warps", "mul.lo.u32 %at, %t, 8;", "ld.shared.u64 %w1, [%at];", 2, 2},
      {"128 bits by quarter warps", "mul.lo.u32 %at, %t, 16;", "ld.shared.v4.u32 {%v1, %v2, %v3, %v4}, [%at];", 4, 4},
      {"ldmatrix of rows of 16 bytes", "mul.lo.u32 %at, %t, 16;",
       "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%v1, %v2, %v3, %v4}, [%at];", 4, 4},
      {"ldmatrix of rows of 128 bytes", "mul.lo.u32 %at, %t, 128;",
       "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%v1, %v2, %v3, %v4}, [%at];", 32, 4},
  };
  for (const Case& test : cases) {
    const Counters counters = LoadShared(test.offset, test.load);
    EXPECT_EQ(counters.shared_wavefronts, test.wavefronts) << test.name;
    EXPECT_EQ(counters.shared_ideal_wavefronts, test.ideal) << test.name;
  }
}

TEST(CountersTest, InstructionsByClass) {
  const Counters counters = LoadGlobal("mad.wide.u32 %at, %t, 4, %at;",
                                       "ld.global.u32 %v1, [%at]; add.f32 %v2, %v1, %v1; ex2.approx.f32 %v2, %v2;", 3);
  auto count = [&](InstructionClass of) { return counters.instructions[static_cast<size_t>(of)]; };
  EXPECT_EQ(count(InstructionClass::kMemory), 6u);  // with ld.param
  EXPECT_EQ(count(InstructionClass::kFloat), 3u);
  EXPECT_EQ(count(InstructionClass::kSpecial), 3u);
  EXPECT_EQ(count(InstructionClass::kInteger), 6u);
  EXPECT_EQ(count(InstructionClass::kControl), 3u);
}

TEST(CountersTest, DoNotDependOnTheNumberOfThreads) {
  auto run = [](const char* threads) {
    setenv("PTXSIM_THREADS", threads, 1);
    Simulator simulator(R"(.visible .entry k(.param .u64 out, .param .u32 n) {
  .reg .b32 %t, %u, %n, %v; .reg .b64 %at; .reg .pred %p;
  mov.u32 %t, %ctaid.x; mov.u32 %u, %tid.x; mad.lo.u32 %t, %t, 96, %u;
  ld.param.u64 %at, [out]; ld.param.u32 %n, [n]; mad.wide.u32 %at, %t, 4, %at;
  setp.ge.u32 %p, %t, %n; @%p exit;
  mul.lo.u32 %v, %t, %t;
  st.global.u32 [%at], %v;
  rem.u32 %u, %t, 1000; setp.eq.u32 %p, %u, 999;
  @%p trap;
  ret;
})");
    const DeviceAddress out = simulator.Allocate(4 * 5000);
    const LaunchReport report = simulator.Run({{53, 1, 1}, {96, 1, 1}}, out, 5000u);
    unsetenv("PTXSIM_THREADS");
    EXPECT_EQ(report.findings.size(), 1u);
    return std::tuple(report.findings.at(0).ToString(), report.counters.instructions,
                      report.counters.distinct_store_sectors);
  };
  const auto alone = run("1");
  EXPECT_EQ(run("3"), alone);
  EXPECT_EQ(run("8"), alone);
}

}  // namespace
}  // namespace nemotron::ptxsim
