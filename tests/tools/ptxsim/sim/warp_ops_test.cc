// shfl, vote, match, redux, elect and activemask.
#include <bit>

#include "tests/tools/ptxsim/sim/simulator.h"

namespace nemotron::ptxsim {
namespace {

/// One warp; %a is 10 * lane + 1, %lane the lane, %p holds for lanes divisible by 3.
std::vector<uint64_t> RunWarp(const std::string& code) {
  std::vector<Sources> inputs;
  for (uint64_t lane = 0; lane < 32; ++lane) {
    inputs.push_back({10 * lane + 1, lane, 0});
  }
  return Evaluate(
      "{ .reg .b32 %lane, %m; .reg .pred %z; mov.u32 %lane, %laneid; rem.u32 %t, %lane, 3; setp.eq.u32 %p, %t, 0;\n" +
          code + " }",
      inputs);
}

TEST(WarpOpsTest, ShufflesInAllModes) {
  struct Case {
    const char* mode;
    int clamp;
    int (*source)(int lane, int distance, int first, int last);
  };
  const Case cases[] = {
      {"up", 0, [](int lane, int d, int first, int) { return lane - d >= first ? lane - d : -1; }},
      {"down", 31, [](int lane, int d, int, int last) { return lane + d <= last ? lane + d : -1; }},
      {"bfly", 31, [](int lane, int d, int, int last) { return (lane ^ d) <= last ? lane ^ d : -1; }},
      {"idx", 31, [](int, int d, int first, int last) { return first + d <= last ? first + d : -1; }}};
  for (const Case& test : cases) {
    for (int width : {32, 8}) {
      for (int distance : {0, 1, 3, 7}) {
        const int c = (32 - width) << 8 | (test.clamp & 31);
        const auto found =
            RunWarp("shfl.sync." + std::string(test.mode) + ".b32 %r|%q, %a, " + std::to_string(distance) + ", " +
                    std::to_string(c) + ", 0xffffffff; @!%q add.u32 %r, %r, 5000;");
        for (int lane = 0; lane < 32; ++lane) {
          const int first = lane / width * width;
          const int source = test.source(lane, distance, first, first + width - 1);
          const int expected = source < 0 ? 10 * lane + 1 + 5000 : 10 * source + 1;
          EXPECT_EQ(found[static_cast<size_t>(lane)], static_cast<uint64_t>(expected))
              << test.mode << " width " << width << " by " << distance << " lane " << lane;
        }
      }
    }
  }
}

TEST(WarpOpsTest, ShufflesFromAbsentLanesGiveNan) {
  const auto found =
      RunWarp("setp.ge.u32 %q, %lane, 16; mov.u32 %r, 7; @!%q shfl.sync.down.b32 %r, %a, 8, 31, 0xffff;");
  EXPECT_EQ(found[7], 151u);
  EXPECT_EQ(found[8], 0x7fffdeadu);
  EXPECT_EQ(found[16], 7u);
}

TEST(WarpOpsTest, VotesAndBallots) {
  EXPECT_EQ(RunWarp("vote.sync.ballot.b32 %r, %p, 0xffffffff;")[5], 0x49249249u);
  EXPECT_EQ(RunWarp("vote.sync.ballot.b32 %r, !%p, 0xffffffff;")[0], ~0x49249249u);
  EXPECT_EQ(RunWarp("vote.sync.any.pred %q, %p, 0xffffffff; selp.u32 %r, 1, 0, %q;")[1], 1u);
  EXPECT_EQ(RunWarp("vote.sync.all.pred %q, %p, 0xffffffff; selp.u32 %r, 1, 0, %q;")[0], 0u);
  EXPECT_EQ(RunWarp("setp.lt.u32 %q, %lane, 32; vote.sync.uni.pred %q, %q, 0xffffffff; selp.u32 %r, 1, 0, %q;")[0], 1u);
}

TEST(WarpOpsTest, GroupsWithTheirOwnMasks) {
  // Quarters of the warp reduce among themselves.
  const auto found = RunWarp(
      "shr.u32 %t, %lane, 3; shl.b32 %t, %t, 3; mov.u32 %m, 255; shl.b32 %m, %m, %t; redux.sync.add.u32 %r, %lane, "
      "%m;");
  for (uint64_t lane = 0; lane < 32; ++lane) {
    EXPECT_EQ(found[lane], lane / 8 * 64 + 28);
  }
  EXPECT_EQ(RunWarp("sub.u32 %t, %lane, 7; redux.sync.min.s32 %r, %t, 0xffffffff;")[9], static_cast<uint32_t>(-7));
  EXPECT_EQ(RunWarp("redux.sync.xor.b32 %r, %lane, 0xffffffff;")[9], 0u);
}

TEST(WarpOpsTest, Matches) {
  const auto any = RunWarp("shr.u32 %t, %lane, 2; match.any.sync.b32 %r, %t, 0xffffffff;");
  for (uint32_t lane = 0; lane < 32; ++lane) {
    EXPECT_EQ(any[lane], uint32_t{15} << (lane / 4 * 4));
  }
  EXPECT_EQ(RunWarp("match.all.sync.b32 %r|%q, %lane, 0xffffffff; @%q add.u32 %r, %r, 1;")[3], 0u);
  EXPECT_EQ(RunWarp("mov.u32 %t, 4; match.all.sync.b32 %r|%q, %t, 0xffffffff; @!%q mov.u32 %r, 0;")[3], 0xffffffffu);
}

TEST(WarpOpsTest, ElectsAndKnowsWhoIsActive) {
  EXPECT_EQ(RunWarp("elect.sync %r|%q, 0xffffffff; @%q add.u32 %r, %r, 100;")[0], 100u);
  EXPECT_EQ(RunWarp("elect.sync %r|%q, 0xffffffff; @%q add.u32 %r, %r, 100;")[1], 0u);
  EXPECT_EQ(RunWarp("mov.u32 %r, 0; @%p activemask.b32 %r;")[3], 0x49249249u);
}

}  // namespace
}  // namespace nemotron::ptxsim
