// Each kind of finding, planted, with its line and thread; and twins that are correct and must not be reported.
#include <gmock/gmock.h>

#include <cstdlib>

#include "tests/tools/ptxsim/sim/simulator.h"

namespace nemotron::ptxsim {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// A kernel whose body begins in line 10. %d1 points to `words` zeros, %d2 to as many words that nobody has written;
/// %r1 is the thread, %r2 the offset of its word in `buffer`, shared memory of 4096 bytes.
struct Planted {
  std::string body;
  Simulator::Shape shape = {{1, 1, 1}, {64, 1, 1}};
  size_t words = 64;
};

std::vector<Finding> Find(const Planted& planted, Checks checks = {}) {
  setenv("PTXSIM_THREADS", "1", 1);  // a race of a kernel is one of the host too, and ThreadSanitizer would tell
  Simulator simulator(R"(.visible .entry k(.param .u64 zeros, .param .u64 fresh) {
.reg .b32 %r<20>; .reg .b64 %d<9>; .reg .pred %p<9>; .reg .b16 %h<9>; .shared .align 16 .b8 buffer[4096];
mov.u32 %r1, %tid.x;
mov.u32 %r2, buffer;
mad.lo.u32 %r2, %r1, 4, %r2;
ld.param.u64 %d1, [zeros]; ld.param.u64 %d2, [fresh];
)" + planted.body + "\nret;\n}");
  EXPECT_TRUE(simulator.status().ok()) << simulator.status().message();
  simulator.checks = checks;
  const DeviceAddress zeros = simulator.Upload(std::vector<uint32_t>(planted.words));
  return simulator.Run(planted.shape, zeros, simulator.Allocate(4 * planted.words)).findings;
}

void ExpectFinding(const Planted& planted, FindingKind kind, uint32_t line, std::array<uint32_t, 3> thread,
                   const std::string& message) {
  const auto findings = Find(planted);
  ASSERT_EQ(findings.size(), 1u) << planted.body;
  EXPECT_EQ(findings[0].kind, kind) << findings[0].ToString();
  EXPECT_EQ(findings[0].kernel, "k");
  EXPECT_EQ(findings[0].line, line) << findings[0].ToString();
  EXPECT_EQ(findings[0].thread, thread) << findings[0].ToString();
  EXPECT_THAT(findings[0].message, HasSubstr(message));
}

void ExpectNothing(const Planted& planted) {
  for (const Finding& finding : Find(planted)) {
    ADD_FAILURE() << planted.body << "\n" << finding.ToString();
  }
}

TEST(ChecksTest, OutOfBounds) {
  ExpectFinding({"mad.wide.u32 %d3, %r1, 4, %d1;\nld.global.u32 %r3, [%d3+16];"}, FindingKind::kOutOfBounds, 11,
                {60, 0, 0}, "reads 4 bytes at 256 of an allocation of 256 bytes");
  ExpectFinding({"st.shared.u32 [%r2+3844], %r1;"}, FindingKind::kOutOfBounds, 10, {63, 0, 0},
                "writes 4 bytes at 4096 of 4096 bytes of shared memory");
  ExpectFinding({"mov.u64 %d3, 64; ld.global.u32 %r3, [%d3];"}, FindingKind::kOutOfBounds, 10, {0, 0, 0},
                "which lies in no allocation");
  ExpectFinding({"cvta.shared.u64 %d3, %d1; cvta.to.shared.u64 %d4, %d3; cvt.u64.u32 %d4, %r2; cvta.shared.u64 %d3, "
                 "%d4;\nld.global.u32 %r3, [%d3];"},
                FindingKind::kOutOfBounds, 11, {0, 0, 0}, "not in the state space");
  ExpectNothing({"mad.wide.u32 %d3, %r1, 4, %d1;\nld.global.u32 %r3, [%d3];"});
}

TEST(ChecksTest, Misaligned) {
  ExpectFinding({"ld.global.u64 %d3, [%d1+4];"}, FindingKind::kMisaligned, 10, {0, 0, 0},
                "reads 8 bytes at 4 of an allocation of 256 bytes");
  ExpectFinding({"setp.eq.u32 %p1, %r1, 5; @%p1 st.shared.v2.u32 [%r2], {%r1, %r1};"}, FindingKind::kMisaligned, 10,
                {5, 0, 0}, "writes 8 bytes at 20");
}

TEST(ChecksTest, Uninitialized) {
  ExpectFinding({"mad.wide.u32 %d3, %r1, 4, %d2;\nsetp.ne.u32 %p1, %r1, 2;\n@%p1 st.global.u32 [%d3], %r1;\nbar.sync "
                 "0;\nld.global.u32 %r3, [%d3];"},
                FindingKind::kUninitialized, 14, {2, 0, 0},
                "reads 4 bytes at 8 of an allocation of 256 bytes, and nobody has written byte 8");
  ExpectFinding({"cvt.u16.u32 %h1, %r1; st.shared.u16 [%r2], %h1;\nld.shared.u32 %r3, [%r2];"},
                FindingKind::kUninitialized, 11, {0, 0, 0}, "nobody has written byte 2");
  ExpectFinding({"{ .local .align 4 .b8 array[8]; ld.local.u32 %r3, [array+4]; }"}, FindingKind::kUninitialized, 10,
                {0, 0, 0}, "local memory");
  ExpectNothing({"st.shared.u32 [%r2], %r1;\nld.shared.u32 %r3, [%r2];"});
  EXPECT_THAT(Find({"ld.shared.u32 %r3, [%r2];"}, {.uninitialized = false}), IsEmpty());
}

TEST(ChecksTest, SharedRaces) {
  const std::string neighbour =
      "xor.b32 %r3, %r1, 33; mov.u32 %r4, buffer; mad.lo.u32 %r4, %r3, 4, %r4;\n";  // of the other warp
  ExpectFinding({"st.shared.u32 [%r2], %r1;\n" + neighbour + "ld.shared.u32 %r5, [%r4];", {{1, 1, 1}, {64, 1, 1}}},
                FindingKind::kUninitialized, 12, {0, 0, 0}, "nobody has written");
  // The second warp reads what the first wrote, without a barrier.
  ExpectFinding({"setp.lt.u32 %p1, %r1, 32;\n@%p1 st.shared.u32 [%r2], %r1;\n@%p1 bra END;\nld.shared.u32 %r5, "
                 "[%r2+-128];\nEND:"},
                FindingKind::kRace, 13, {32, 0, 0}, "reads 4 bytes at 0 of shared memory, which thread (0,0,0) wrote");
  // The first warp reads, the second writes.
  ExpectFinding({"st.shared.u32 [%r2], %r1; bar.sync 0;\nsetp.lt.u32 %p1, %r1, 32;\n@%p1 ld.shared.u32 %r3, "
                 "[%r2];\n@!%p1 st.shared.u32 [%r2+-128], %r1;"},
                FindingKind::kRace, 13, {32, 0, 0}, "which thread (0,0,0) read");
  ExpectNothing({"st.shared.u32 [%r2], %r1; bar.sync 0;\n" + neighbour +
                 "ld.shared.u32 %r5, [%r4]; bar.sync 0; st.shared.u32 [%r2], %r5;"});
}

TEST(ChecksTest, RacesWithinAWarp) {
  const std::string neighbour = "xor.b32 %r3, %r1, 1; mov.u32 %r4, buffer; mad.lo.u32 %r4, %r3, 4, %r4;\n";
  ExpectFinding({"st.shared.u32 [%r2], %r1;\n" + neighbour + "ld.shared.u32 %r5, [%r4];"}, FindingKind::kRace, 12,
                {0, 0, 0}, "which thread (1,0,0) wrote");
  ExpectNothing({"st.shared.u32 [%r2], %r1;\n" + neighbour + "bar.warp.sync 0xffffffff; ld.shared.u32 %r5, [%r4];"});
  ExpectNothing({"st.shared.u32 [%r2], %r1;\n" + neighbour +
                 "shfl.sync.bfly.b32 %r6, %r1, 1, 31, 0xffffffff; ld.shared.u32 %r5, [%r4];"});
  // Lanes of one store that meet in a word: other values are a race, the same value is not.
  ExpectFinding({"setp.lt.u32 %p1, %r1, 32;\n@%p1 st.shared.u32 [buffer], %r1;"}, FindingKind::kRace, 11, {0, 0, 0},
                "where another lane writes another value with the same instruction");
  ExpectNothing({"setp.lt.u32 %p1, %r1, 32; mov.u32 %r3, 1;\n@%p1 st.shared.u32 [buffer], %r3;"});
}

TEST(ChecksTest, BytesOfAWordAreApart) {
  const std::string halves =
      "mov.u32 %r3, buffer; mad.lo.u32 %r3, %r1, 2, %r3; cvt.u16.u32 %h1, %r1; st.shared.u16 [%r3], %h1;\n";
  ExpectNothing({halves + "ld.shared.u16 %h2, [%r3];"});
  ExpectNothing({halves + "bar.sync 0; and.b32 %r4, %r1, 31; mov.u32 %r5, buffer; mad.lo.u32 %r5, %r4, 4, %r5; "
                          "ld.shared.u32 %r6, [%r5];"});
  // Words hold halves of two threads.
  ExpectFinding({halves + "mov.u32 %r5, buffer;\nsetp.eq.u32 %p1, %r1, 0;\n@%p1 ld.shared.u32 %r6, [%r5];"},
                FindingKind::kRace, 13, {0, 0, 0}, "wrote");
}

TEST(ChecksTest, GlobalRacesBetweenBlocks) {
  ExpectFinding(
      {"mov.u32 %r3, %ctaid.x;\nsetp.eq.u32 %p1, %r1, 0;\n@%p1 st.global.u32 [%d1], %r3;", {{2, 1, 1}, {64, 1, 1}}},
      FindingKind::kRace, 12, {0, 0, 0}, "wrote with nothing between that orders them");
  ExpectNothing(
      {"mov.u32 %r3, %ctaid.x; mad.lo.u32 %r3, %r3, 64, %r1; mad.wide.u32 %d3, %r3, 4, %d1; st.global.u32 [%d3], %r3; "
       "ld.global.u32 %r4, [%d1+512];",
       {{2, 1, 1}, {64, 1, 1}},
       129});
  ExpectNothing({"red.global.add.u32 [%d1], %r1;", {{9, 1, 1}, {64, 1, 1}}});
  ExpectFinding({"setp.eq.u32 %p1, %r1, 40;\nred.global.add.u32 [%d1], %r1;\n@%p1 ld.global.u32 %r4, [%d1];"},
                FindingKind::kRace, 12, {40, 0, 0}, "several threads");
}

TEST(ChecksTest, DivergentBarriers) {
  ExpectFinding({"setp.eq.u32 %p1, %r1, 3;\n@%p1 bra OTHER;\nbar.sync 0;\nbra END;\nOTHER:\nbar.sync 1;\nEND:"},
                FindingKind::kDivergentBarrier, 12, {0, 0, 0}, "lanes 0xffffffff wait");
  ExpectFinding({"setp.lt.u32 %p1, %r1, 32;\n@%p1 bar.sync 1, 64;\n@!%p1 bar.sync 2, 64;"},
                FindingKind::kDivergentBarrier, 11, {0, 0, 0}, "barrier 1 never completes: 32 of 64 threads arrived");
  ExpectFinding({"setp.lt.u32 %p1, %r1, 3;\n@%p1 shfl.sync.bfly.b32 %r3, %r1, 1, 31, 0xffffffff;"},
                FindingKind::kDivergentBarrier, 11, {0, 0, 0}, "wait");
  ExpectFinding({"setp.lt.u32 %p1, %r1, 3;\n@%p1 bar.warp.sync 3;"}, FindingKind::kDivergentBarrier, 11, {2, 0, 0},
                "does not name its lane");
  // Threads that have ended are not waited for, and what they wrote is ordered as if they had waited.
  ExpectNothing({"setp.ge.u32 %p1, %r1, 16;\n@%p1 exit;\nbar.sync 0;"});
  ExpectNothing(
      {"st.shared.u32 [%r2], %r1; setp.lt.u32 %p1, %r1, 32;\n@%p1 exit;\nbar.sync 0; ld.shared.u32 %r3, [%r2+-128];"});
}

TEST(ChecksTest, AsyncHazards) {
  const std::string copy =
      "mad.wide.u32 %d3, %r1, 4, %d1;\ncp.async.ca.shared.global [%r2], [%d3], 4;\ncp.async.commit_group;\n";
  ExpectFinding({copy + "ld.shared.u32 %r3, [%r2];"}, FindingKind::kAsyncHazard, 13, {0, 0, 0},
                "into which thread (0,0,0) copies with a cp.async");
  ExpectFinding({copy + "st.shared.u32 [%r2], %r1;"}, FindingKind::kAsyncHazard, 13, {0, 0, 0}, "writes 4 bytes at 0");
  ExpectFinding({copy + "cp.async.wait_group 1;\nld.shared.u32 %r3, [%r2];"}, FindingKind::kAsyncHazard, 14, {0, 0, 0},
                "has not waited");
  ExpectNothing({copy + "cp.async.wait_group 0;\nld.shared.u32 %r3, [%r2];"});
  // Waiting is for the own copies: others need a barrier too.
  const std::string neighbour = "xor.b32 %r3, %r1, 1; mov.u32 %r4, buffer; mad.lo.u32 %r4, %r3, 4, %r4;\n";
  ExpectFinding({copy + "cp.async.wait_all;\n" + neighbour + "ld.shared.u32 %r5, [%r4];"}, FindingKind::kRace, 15,
                {0, 0, 0}, "thread (1,0,0) wrote");
  ExpectNothing({copy + "cp.async.wait_all;\nbar.sync 0;\n" + neighbour + "ld.shared.u32 %r5, [%r4];"});
}

/// Two buffers: while one is read, the other is filled. `barrier` stands before a buffer is filled again.
std::string DoubleBuffered(const std::string& barrier) {
  return R"(mov.u64 %d3, %d1; mad.wide.u32 %d3, %r1, 4, %d3;
xor.b32 %r3, %r1, 32; mov.u32 %r4, buffer; mad.lo.u32 %r4, %r3, 4, %r4;
mov.u32 %r5, 0; mov.u32 %r6, 0; mov.u32 %r9, 0;
cp.async.ca.shared.global [%r2], [%d3], 4; cp.async.commit_group;
LOOP:
xor.b32 %r7, %r6, 256; add.u32 %r8, %r2, %r7;
cp.async.ca.shared.global [%r8], [%d3], 4; cp.async.commit_group; cp.async.wait_group 1;
bar.sync 0;
add.u32 %r8, %r4, %r6; ld.shared.u32 %r10, [%r8]; add.u32 %r9, %r9, %r10;
)" + barrier +
         R"(
mov.u32 %r6, %r7; add.u32 %r5, %r5, 1; setp.lt.u32 %p1, %r5, 6;
@%p1 bra LOOP;)";
}

TEST(ChecksTest, DoubleBuffering) {
  ExpectNothing({DoubleBuffered("bar.sync 0;")});
  // The first warp fills a buffer that the second has not read yet.
  ExpectFinding({DoubleBuffered("")}, FindingKind::kAsyncHazard, 18, {32, 0, 0}, "into which thread (0,0,0) copies");
}

TEST(ChecksTest, Reductions) {
  auto tree = [](const std::string& barrier) {
    return R"(st.shared.u32 [%r2], %r1;
mov.u32 %r3, 32;
LOOP:
)" + barrier +
           R"(
setp.ge.u32 %p1, %r1, %r3;
@%p1 bra NEXT;
mad.lo.u32 %r4, %r3, 4, %r2; ld.shared.u32 %r5, [%r4]; ld.shared.u32 %r6, [%r2]; add.u32 %r6, %r6, %r5; st.shared.u32 [%r2], %r6;
NEXT:
shr.u32 %r3, %r3, 1; setp.ne.u32 %p2, %r3, 0;
@%p2 bra LOOP;)";
  };
  ExpectNothing({tree("bar.sync 0;")});
  EXPECT_EQ(Find({tree("")}).size(), 1u);
}

TEST(ChecksTest, TrapsAndFindingsAreReportedOnce) {
  ExpectFinding({"mov.u32 %r3, %ctaid.x; setp.gt.u32 %p1, %r3, 3;\n@%p1 trap;", {{50, 1, 1}, {64, 1, 1}}},
                FindingKind::kTrap, 11, {0, 0, 0}, "trap");
  const auto findings = Find({"mov.u32 %r3, %ctaid.x; setp.gt.u32 %p1, %r3, 3;\n@%p1 trap;", {{50, 1, 1}, {64, 1, 1}}});
  EXPECT_EQ(findings.at(0).block, (std::array<uint32_t, 3>{4, 0, 0}));
  EXPECT_EQ(findings.at(0).ToString(), "trap: kernel 'k', line 11, block (4,0,0), thread (0,0,0): trap");
}

TEST(ChecksTest, LoopsThatNeverEnd) {
  const auto findings = Find({"LOOP: add.u32 %r3, %r1, 1;\nbra LOOP;"}, {.max_steps_per_block = 1 << 21});
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].kind, FindingKind::kTrap);
  EXPECT_THAT(findings[0].message, HasSubstr("an endless loop"));
}

TEST(ChecksTest, CallsThatNeverEnd) {
  Simulator simulator(R"(.func f() { call f; ret; }
.visible .entry k() { call f; ret; })");
  ASSERT_TRUE(simulator.status().ok()) << simulator.status().message();
  const auto findings = simulator.Run({}).findings;
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_THAT(findings[0].message, HasSubstr("calls nest deeper than 1024"));
}

}  // namespace
}  // namespace nemotron::ptxsim
