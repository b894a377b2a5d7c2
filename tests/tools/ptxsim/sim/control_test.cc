// Divergence, loops, calls and barriers: what each lane computes must not depend on which others run with it.
#include <gmock/gmock.h>

#include "tests/tools/ptxsim/sim/simulator.h"

namespace nemotron::ptxsim {
namespace {

using ::testing::IsEmpty;

/// Runs a kernel that stores %r of each thread.
std::vector<uint32_t> RunThreads(const std::string& code, uint32_t num_threads, const std::string& before = "",
                                 const std::string& shared = "") {
  Simulator simulator(before + R"(
.visible .entry k(.param .u64 out) {
  .reg .b32 %r, %i, %id, %t<9>; .reg .b64 %out, %d<9>; .reg .pred %p<9>;
)" + shared + "\nmov.u32 %id, %tid.x;\n" +
                      code + R"(
STORE:
  ld.param.u64 %out, [out];
  mad.wide.u32 %out, %id, 4, %out;
  st.global.u32 [%out], %r;
  ret;
})");
  EXPECT_TRUE(simulator.status().ok()) << simulator.status().message();
  const DeviceAddress out = simulator.Allocate(4 * num_threads);
  const LaunchReport report = simulator.Run({{1, 1, 1}, {num_threads, 1, 1}}, out);
  for (const Finding& finding : report.findings) {
    ADD_FAILURE() << finding.ToString();
  }
  return simulator.Download<uint32_t>(out, num_threads);
}

TEST(ControlTest, NestedBranchesAndLoops) {
  // r = sum over i < tid % 7 of (i odd and tid odd ? 3 * i : i), with a break at 9
  const auto found = RunThreads(R"(
  rem.u32 %t1, %id, 7;
  and.b32 %t2, %id, 1;
  setp.ne.u32 %p1, %t2, 0;
  mov.u32 %r, 0;
  mov.u32 %i, 0;
LOOP:
  setp.ge.u32 %p2, %i, %t1;
  @%p2 bra STORE;
  and.b32 %t3, %i, 1;
  setp.eq.u32 %p3, %t3, 0;
  mov.u32 %t4, %i;
  @%p3 bra ADD;
  @!%p1 bra ADD;
  mul.lo.u32 %t4, %i, 3;
ADD:
  add.u32 %r, %r, %t4;
  add.u32 %i, %i, 1;
  setp.gt.u32 %p4, %r, 9;
  @%p4 bra STORE;
  bra.uni LOOP;)",
                                100);
  for (uint32_t tid = 0; tid < found.size(); ++tid) {
    uint32_t sum = 0;
    for (uint32_t i = 0; i < tid % 7 && sum <= 9; ++i) {
      sum += i % 2 == 1 && tid % 2 == 1 ? 3 * i : i;
    }
    EXPECT_EQ(found[tid], sum) << tid;
  }
}

TEST(ControlTest, BranchesByTable) {
  const auto found = RunThreads(R"(
  rem.u32 %t1, %id, 3;
TABLE: .branchtargets A, B, C;
  brx.idx %t1, TABLE;
C: mov.u32 %r, 30; bra STORE;
A: mov.u32 %r, 10; bra STORE;
B: mov.u32 %r, 20;)",
                                64);
  for (uint32_t tid = 0; tid < found.size(); ++tid) {
    EXPECT_EQ(found[tid], 10 + tid % 3 * 10) << tid;
  }
}

TEST(ControlTest, DivergentRecursiveCalls) {
  const std::string function = R"(
.func (.param .b32 result) f(.param .b32 n) {
  .reg .b32 %n, %m; .reg .pred %p;
  ld.param.u32 %n, [n];
  setp.eq.u32 %p, %n, 0;
  @%p bra BASE;
  {
  .param .b32 down; .param .b32 up;
  sub.u32 %m, %n, 1;
  st.param.b32 [down], %m;
  call (up), f, (down);
  ld.param.b32 %m, [up];
  }
  add.u32 %m, %m, %n;
  st.param.b32 [result], %m;
  ret;
BASE:
  st.param.b32 [result], 100;
  ret;
})";
  const auto found = RunThreads(R"(
  mov.u32 %r, 7;
  and.b32 %t1, %id, 3;
  setp.eq.u32 %p1, %t1, 3;
  @%p1 bra STORE;
  {
  .param .b32 in; .param .b32 out1;
  st.param.b32 [in], %id;
  call.uni (out1), f, (in);
  ld.param.b32 %r, [out1];
  })",
                                64, function);
  for (uint32_t tid = 0; tid < found.size(); ++tid) {
    EXPECT_EQ(found[tid], tid % 4 == 3 ? 7 : 100 + tid * (tid + 1) / 2) << tid;
  }
}

TEST(ControlTest, SynchronisesLanesThatComeByDifferentWays) {
  // Half of the lanes pass through code behind the shuffle and jump back: the others must wait for them.
  const auto found = RunThreads(R"(
  and.b32 %t1, %id, 1;
  setp.ne.u32 %p1, %t1, 0;
  mov.u32 %t2, %id;
  @%p1 bra AWAY;
BACK:
  shfl.sync.bfly.b32 %r, %t2, 1, 31, 0xffffffff;
  bra STORE;
AWAY:
  add.u32 %t2, %id, 1000;
  bra BACK;)",
                                32);
  for (uint32_t tid = 0; tid < found.size(); ++tid) {
    EXPECT_EQ(found[tid], tid % 2 == 0 ? tid + 1 + 1000 : tid - 1) << tid;
  }
}

TEST(ControlTest, BarriersWithReductionsAndEarlyExit) {
  const auto found = RunThreads(R"(
  setp.lt.u32 %p1, %id, 50;
  bar.red.popc.u32 %t1, 0, %p1;
  bar.red.and.pred %p2, 1, !%p1;
  bar.red.or.pred %p3, 1, %p1;
  selp.u32 %t2, 1000, 0, %p2;
  selp.u32 %t3, 2000, 0, %p3;
  add.u32 %r, %t1, %t2;
  add.u32 %r, %r, %t3;
  bra PAST;
PAST:
  bar.sync 0;)",
                                96);
  for (uint32_t value : found) {
    EXPECT_EQ(value, 2050u);
  }
}

TEST(ControlTest, NamedBarriersOrderProducersAndConsumers) {
  // Warp 0 fills a word and arrives; warp 1 waits for it.
  const auto found = RunThreads(R"(
  setp.ge.u32 %p1, %id, 32;
  and.b32 %t1, %id, 31;
  mov.u32 %t2, buffer;
  mad.lo.u32 %t2, %t1, 4, %t2;
  mov.u32 %r, 5;
  @%p1 bra CONSUME;
  mul.lo.u32 %t3, %id, 3;
  st.shared.u32 [%t2], %t3;
  bar.arrive 3, 64;
  bra STORE;
CONSUME:
  bar.sync 3, 64;
  ld.shared.u32 %r, [%t2];)",
                                64, "", ".shared .align 4 .b8 buffer[128];");
  for (uint32_t tid = 0; tid < 64; ++tid) {
    EXPECT_EQ(found[tid], tid < 32 ? 5 : (tid - 32) * 3) << tid;
  }
}

TEST(ControlTest, SpinningWarpsLetOthersRun) {
  const auto found = RunThreads(R"(
  mov.u32 %r, 1;
  setp.eq.u32 %p4, %id, 0;
  @%p4 st.volatile.shared.u32 [flag], 0;
  bar.sync 0;
  setp.ge.u32 %p1, %id, 32;
  @%p1 bra RELEASE;
SPIN:
  ld.volatile.shared.u32 %t1, [flag];
  setp.eq.u32 %p2, %t1, 0;
  @%p2 bra SPIN;
  bra STORE;
RELEASE:
  setp.eq.u32 %p3, %id, 32;
  @%p3 st.volatile.shared.u32 [flag], 1;)",
                                64, "", ".shared .align 4 .u32 flag;\n");
  EXPECT_EQ(found[0], 1u);
}

TEST(ControlTest, LocalArraysAndVectors) {
  const auto found = RunThreads(R"(
  mov.u64 %d1, array;
  cvta.local.u64 %d2, %d1;
  st.local.v4.u32 [array], {%id, 1, 2, 3};
  add.u32 %t1, %id, 4;
  st.u32 [%d2+4], %t1;
  and.b32 %t2, %id, 1;
  mad.wide.u32 %d3, %t2, 4, %d1;
  ld.local.u32 %r, [%d3];)",
                                32, "", ".local .align 16 .b8 array[16];");
  for (uint32_t tid = 0; tid < 32; ++tid) {
    EXPECT_EQ(found[tid], tid % 2 == 0 ? tid : tid + 4);
  }
}

TEST(ControlTest, SpecialRegistersOfABlockOfThreeDimensions) {
  Simulator simulator(R"(.visible .entry k(.param .u64 out) {
  .reg .b32 %r<20>; .reg .b64 %d<3>;
  mov.u32 %r1, %tid.x; mov.u32 %r2, %tid.y; mov.u32 %r3, %tid.z;
  mov.u32 %r4, %ntid.x; mov.u32 %r5, %ntid.y; mov.u32 %r6, %ntid.z;
  mad.lo.u32 %r7, %r3, %r5, %r2; mad.lo.u32 %r7, %r7, %r4, %r1;
  mov.u32 %r8, %laneid; mov.u32 %r9, %warpid; mad.lo.u32 %r10, %r9, 32, %r8;
  sub.u32 %r11, %r7, %r10;
  mov.u32 %r12, %ctaid.x; mov.u32 %r13, %ctaid.y; mov.u32 %r14, %nctaid.x; mad.lo.u32 %r15, %r13, %r14, %r12;
  mul.lo.u32 %r16, %r4, %r5; mul.lo.u32 %r16, %r16, %r6;
  mad.lo.u32 %r17, %r15, %r16, %r7;
  ld.param.u64 %d1, [out]; mad.wide.u32 %d1, %r17, 4, %d1;
  add.u32 %r11, %r11, %r17;
  st.global.u32 [%d1], %r11;
  ret;
})");
  ASSERT_TRUE(simulator.status().ok()) << simulator.status().message();
  const DeviceAddress out = simulator.Allocate(6 * 60 * 4);
  EXPECT_THAT(simulator.Run({{3, 2, 1}, {5, 4, 3}}, out).findings, IsEmpty());
  const auto found = simulator.Download<uint32_t>(out, 360);
  for (uint32_t i = 0; i < 360; ++i) {
    EXPECT_EQ(found[i], i);
  }
}

}  // namespace
}  // namespace nemotron::ptxsim
