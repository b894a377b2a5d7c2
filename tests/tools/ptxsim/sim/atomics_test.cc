// atom and red: each operation, and updates of one word by many blocks at once.
#include <gmock/gmock.h>

#include "tests/tools/ptxsim/sim/simulator.h"

namespace nemotron::ptxsim {
namespace {

using ::testing::IsEmpty;

/// Many threads apply an instruction to word `%at`; %t is the number of the thread.
template <typename T>
T Accumulate(const std::string& code, T start, uint32_t num_blocks = 50) {
  Simulator simulator(R"(.visible .entry k(.param .u64 out) {
  .reg .b32 %t, %u, %v; .reg .b64 %at, %w; .reg .f32 %f; .reg .f64 %e;
  mov.u32 %t, %ctaid.x; mov.u32 %u, %tid.x; mad.lo.u32 %t, %t, 64, %u;
  ld.param.u64 %at, [out];
)" + code + "\nret;\n}");
  EXPECT_TRUE(simulator.status().ok()) << simulator.status().message();
  const DeviceAddress out = simulator.Upload(std::vector<T>{start});
  EXPECT_THAT(simulator.Run({{num_blocks, 1, 1}, {64, 1, 1}}, out).findings, IsEmpty());
  return simulator.Download<T>(out, 1)[0];
}

TEST(AtomicsTest, Integers) {
  EXPECT_EQ(Accumulate<uint32_t>("red.global.add.u32 [%at], %t;", 5), 5 + 3199 * 3200 / 2);
  EXPECT_EQ(Accumulate<uint32_t>("atom.global.max.u32 %v, [%at], %t;", 5), 3199u);
  EXPECT_EQ(Accumulate<int32_t>("neg.s32 %t, %t; atom.min.s32 %v, [%at], %t;", 5), -3199);
  EXPECT_EQ(Accumulate<uint32_t>("and.b32 %t, %t, 7; shl.b32 %t, 1, %t; red.or.b32 [%at], %t;", 0x100), 0x1ffu);
  EXPECT_EQ(Accumulate<uint32_t>("atom.global.inc.u32 %v, [%at], 9;", 0), 0u);  // 3200 = 320 * 10
  EXPECT_EQ(Accumulate<uint32_t>("atom.global.dec.u32 %v, [%at], 9;", 3), 3u);
  EXPECT_EQ(Accumulate<uint64_t>("cvt.u64.u32 %w, %t; red.global.add.u64 [%at], %w;", 1ull << 40),
            (1ull << 40) + 3199 * 3200 / 2);
}

TEST(AtomicsTest, CompareAndSwapLoopsCountAll) {
  EXPECT_EQ(Accumulate<uint32_t>(R"({ .reg .b32 %old, %new; .reg .pred %p;
  ld.relaxed.gpu.global.u32 %old, [%at];
AGAIN:
  add.u32 %new, %old, 1;
  atom.global.cas.b32 %v, [%at], %old, %new;
  setp.ne.u32 %p, %v, %old;
  mov.u32 %old, %v;
  @%p bra AGAIN; })",
                                 0),
            3200u);
}

TEST(AtomicsTest, Floats) {
  EXPECT_EQ(Accumulate<float>("mov.f32 %f, 0f3F000000; red.global.add.f32 [%at], %f;", 1.0f), 1601.0f);
  EXPECT_EQ(Accumulate<double>("mov.f64 %e, 0d3FE0000000000000; atom.global.add.f64 %e, [%at], %e;", 1.0), 1601.0);
  // Pairs of f16: 1 and 2 added 64 times.
  EXPECT_EQ(Accumulate<uint32_t>("red.global.add.noftz.f16x2 [%at], 0x40003c00;", 0, 1), 0x58005400u);
  EXPECT_EQ(Accumulate<uint32_t>("red.global.add.noftz.bf16x2 [%at], 0x40003f80;", 0, 1), 0x43004280u);
}

TEST(AtomicsTest, VectorsAndShared) {
  Simulator simulator(R"(.visible .entry k(.param .u64 out) {
  .reg .b32 %t, %v; .reg .b64 %at; .reg .f32 %f; .reg .pred %p;
  .shared .align 4 .u32 sum;
  ld.param.u64 %at, [out]; mov.u32 %t, %tid.x; cvt.rn.f32.u32 %f, %t;
  red.global.add.v4.f32 [%at], {%f, 0f3F800000, %f, 0f40000000};
  setp.eq.u32 %p, %t, 0;
  @%p st.shared.u32 [sum], 0;
  bar.sync 0;
  red.shared.add.u32 [sum], %t;
  bar.sync 0;
  @!%p exit;
  ld.shared.u32 %v, [sum];
  st.global.u32 [%at+16], %v;
  ret;
})");
  ASSERT_TRUE(simulator.status().ok()) << simulator.status().message();
  const DeviceAddress out = simulator.Upload(std::vector<float>(5));
  EXPECT_THAT(simulator.Run({{1, 1, 1}, {64, 1, 1}}, out).findings, IsEmpty());
  EXPECT_THAT(simulator.Download<float>(out, 4), ::testing::ElementsAre(2016, 64, 2016, 128));
  EXPECT_EQ(simulator.Download<uint32_t>(out + 16, 1)[0], 2016u);
}

}  // namespace
}  // namespace nemotron::ptxsim
