// Blocks that are ordered by fences and atomics, and twins that lack a part of it, which are races.
#include <gmock/gmock.h>

#include <cstdlib>

#include "tests/tools/ptxsim/sim/simulator.h"

namespace nemotron::ptxsim {
namespace {

using ::testing::HasSubstr;

/// Each block of 64 threads writes its words of y and takes a ticket; the block with the last ticket adds up all of y,
/// a sum a thread, and exchanges the sums by way of y. What orders them can be left out or replaced.
struct LastBlock {
  std::string after_writes = "bar.sync 0;";
  std::string release = "membar.gl;";
  std::string ticket = "atom.global.add.u32 %t, [%counter], 1;";
  std::string acquire = "membar.gl;";
  std::string before_reads = "bar.sync 0;";
};

constexpr uint32_t kBlocks = 5, kThreads = 64;

struct Outcome {
  std::vector<Finding> findings;
  std::vector<uint32_t> sums;
};

Outcome Run(const LastBlock& parts, const char* num_host_threads = "1") {
  setenv("PTXSIM_THREADS", num_host_threads, 1);  // 1: a race of the kernel would be one of the host too
  Simulator simulator(R"(.visible .entry k(.param .u64 counters, .param .u64 y, .param .u64 sums) {
.reg .b32 %t, %i, %n, %block, %value, %sum; .reg .b64 %counter, %y, %at, %sums; .reg .pred %first, %last, %more;
.shared .u32 ticket;
ld.param.u64 %counter, [counters]; ld.param.u64 %y, [y]; ld.param.u64 %sums, [sums];
mov.u32 %i, %tid.x; mov.u32 %block, %ctaid.x; mov.u32 %n, %nctaid.x;
mad.lo.u32 %value, %block, 64, %i; mad.wide.u32 %at, %value, 4, %y;
st.global.u32 [%at], %value;
)" + parts.after_writes +
                      R"(
setp.eq.u32 %first, %i, 0;
@!%first bra TAKEN;
)" + parts.release + parts.ticket +
                      parts.acquire +
                      R"(
st.shared.u32 [ticket], %t;
TAKEN:
bar.sync 0;
ld.shared.u32 %t, [ticket]; sub.u32 %n, %n, 1;
setp.ne.u32 %last, %t, %n;
@%last exit;
)" + parts.before_reads +
                      R"(
mad.wide.u32 %at, %i, 4, %y; mov.u32 %sum, 0;
MORE:
ld.global.cg.u32 %value, [%at]; add.u32 %sum, %sum, %value; add.u64 %at, %at, 256;
setp.ne.u32 %more, %n, 0; sub.u32 %n, %n, 1;
@%more bra MORE;
mad.wide.u32 %at, %i, 4, %y; st.global.u32 [%at], %sum;
bar.sync 0;
xor.b32 %value, %i, 33; mad.wide.u32 %at, %value, 4, %y; ld.global.u32 %sum, [%at];
mad.wide.u32 %at, %i, 4, %sums; st.global.u32 [%at], %sum;
ret;
})");
  EXPECT_TRUE(simulator.status().ok()) << simulator.status().message();
  const DeviceAddress counters = simulator.Upload(std::vector<uint32_t>(kBlocks + 1)),
                      y = simulator.Allocate(4 * kBlocks * kThreads), sums = simulator.Allocate(4 * kThreads);
  auto findings = simulator.Run({{kBlocks, 1, 1}, {kThreads, 1, 1}}, counters, y, sums).findings;
  const bool ok = findings.empty();
  return {std::move(findings), ok ? simulator.Download<uint32_t>(sums, kThreads) : std::vector<uint32_t>()};
}

void ExpectRace(const LastBlock& parts, std::array<uint32_t, 3> thread = {0, 0, 0}) {
  const auto findings = Run(parts).findings;
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].kind, FindingKind::kRace);
  EXPECT_EQ(findings[0].block, (std::array<uint32_t, 3>{kBlocks - 1, 0, 0}));
  EXPECT_EQ(findings[0].thread, thread);
  EXPECT_THAT(findings[0].message, HasSubstr("which block 0 wrote"));
}

void ExpectOrdered(const LastBlock& parts, const char* num_host_threads = "1") {
  const Outcome outcome = Run(parts, num_host_threads);
  for (const Finding& finding : outcome.findings) {
    ADD_FAILURE() << finding.ToString();
  }
  for (uint32_t i = 0; i < outcome.sums.size(); ++i) {
    EXPECT_EQ(outcome.sums[i], 64 * (0 + 1 + 2 + 3 + 4) + 5 * (i ^ 33));
  }
}

TEST(BlockOrderTest, FencesAndAtomicsOrderBlocks) {
  ExpectOrdered({});
  ExpectOrdered({.release = "fence.acq_rel.gpu;", .acquire = "fence.sc.sys;"});
  ExpectOrdered({.release = "", .ticket = "atom.acq_rel.gpu.global.add.u32 %t, [%counter], 1;", .acquire = ""});
  for (int i = 0; i < 20; ++i) {
    ExpectOrdered({}, "4");
  }
}

TEST(BlockOrderTest, ABarrierMustStandBeforeTheRelease) {
  // Thread 0 releases what its warp wrote up to here, and not even that of other lanes.
  ExpectRace({.after_writes = ""}, {1, 0, 0});
  ExpectRace({.after_writes = "bar.warp.sync 0xffffffff;"}, {32, 0, 0});
  // A fence of another thread than that of the atomic releases nothing.
  ExpectRace({.after_writes = "membar.gl; bar.sync 0;", .release = ""}, {1, 0, 0});
}

TEST(BlockOrderTest, FencesMustStandOnBothSides) {
  ExpectRace({.release = ""});
  ExpectRace({.acquire = ""});
  ExpectRace({.release = "membar.cta;"});
  ExpectRace({.acquire = "fence.acq_rel.cta;"});
  ExpectRace({.release = "", .ticket = "atom.acquire.gpu.global.add.u32 %t, [%counter], 1;", .acquire = ""});
  ExpectRace({.release = "", .ticket = "atom.release.gpu.global.add.u32 %t, [%counter], 1;", .acquire = ""});
}

TEST(BlockOrderTest, ABarrierMustStandBehindTheAcquisition) {
  ExpectRace({.acquire = "", .before_reads = "@%first membar.gl;"}, {1, 0, 0});
  ExpectOrdered({.acquire = "", .before_reads = "@%first membar.gl; bar.sync 0;"});
}

TEST(BlockOrderTest, AtomicsMustMeetInAWordAndBeOfTheGpu) {
  ExpectRace({.release = "",
              .ticket = "atom.global.add.u32 %t, [%counter], 1; membar.gl; mad.wide.u32 %counter, %block, 4, %counter; "
                        "atom.global.exch.b32 %value, [%counter+4], 7;"});
  ExpectRace({.ticket = "atom.cta.global.add.u32 %t, [%counter], 1;"});
}

TEST(BlockOrderTest, WhatIsWrittenBehindTheFenceIsNotReleased) {
  ExpectRace({.release = "membar.gl; st.global.u32 [%at], %value;"});
}

}  // namespace
}  // namespace nemotron::ptxsim
