// What cp.async copies and counts; its hazards are in checks_test.cc.
#include <gmock/gmock.h>

#include <algorithm>

#include "tests/tools/ptxsim/sim/simulator.h"

namespace nemotron::ptxsim {
namespace {

using ::testing::IsEmpty;

/// One warp copies 16 bytes a lane from 512 bytes that hold 1, 2, ..., by `copy`, and stores what came.
LaunchReport RunCopy(const std::string& copy, std::vector<uint8_t>* found) {
  Simulator simulator(R"(.visible .entry k(.param .u64 in, .param .u64 out) {
  .reg .b32 %t, %to, %size, %r<4>; .reg .b64 %in, %out, %policy; .reg .pred %p;
  .shared .align 16 .b8 buffer[512];
  mov.u32 %t, %tid.x; mov.u32 %to, buffer; mad.lo.u32 %to, %t, 16, %to;
  ld.param.u64 %in, [in]; mad.wide.u32 %in, %t, 16, %in;
  ld.param.u64 %out, [out]; mad.wide.u32 %out, %t, 16, %out;
)" + copy + R"(
  cp.async.commit_group;
  cp.async.wait_group 0;
  ld.shared.v4.u32 {%r0, %r1, %r2, %r3}, [%to];
  st.global.v4.u32 [%out], {%r0, %r1, %r2, %r3};
  ret;
})");
  EXPECT_TRUE(simulator.status().ok()) << simulator.status().message();
  std::vector<uint8_t> bytes(512);
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<uint8_t>(i + 1);
  }
  const DeviceAddress in = simulator.Upload(bytes), out = simulator.Allocate(512);
  LaunchReport report = simulator.Run({}, in, out);
  *found = simulator.Download<uint8_t>(out, 512);
  return report;
}

TEST(AsyncTest, CopiesAndCounts) {
  std::vector<uint8_t> found;
  const LaunchReport report = RunCopy("cp.async.cg.shared.global.L2::128B [%to], [%in], 16;", &found);
  EXPECT_THAT(report.findings, IsEmpty());
  for (size_t i = 0; i < 512; ++i) {
    EXPECT_EQ(found[i], static_cast<uint8_t>(i + 1));
  }
  EXPECT_EQ(report.counters.global_load_bytes, 512u);
  EXPECT_EQ(report.counters.global_load_sectors, 16u);
  EXPECT_EQ(report.counters.shared_wavefronts, 8u);  // four of the copy and four of the load
}

TEST(AsyncTest, FillsWithZerosBehindTheSource) {
  // Lane t reads t bytes, at most 16; the last lanes point behind the allocation, and read nothing.
  std::vector<uint8_t> found;
  const LaunchReport report = RunCopy(R"(
  min.u32 %size, %t, 16;
  setp.ge.u32 %p, %t, 28;
  @%p mov.u32 %size, 0;
  @%p add.u64 %in, %in, 4096;
  cp.async.ca.shared.global [%to], [%in], 16, %size;)",
                                      &found);
  EXPECT_THAT(report.findings, IsEmpty());
  for (size_t lane = 0; lane < 32; ++lane) {
    const size_t size = lane >= 28 ? 0 : std::min<size_t>(lane, 16);
    for (size_t i = 0; i < 16; ++i) {
      EXPECT_EQ(found[16 * lane + i], i < size ? static_cast<uint8_t>(16 * lane + i + 1) : 0)
          << "lane " << lane << " byte " << i;
    }
  }
}

TEST(AsyncTest, IgnoresTheSourceByPredicate) {
  std::vector<uint8_t> found;
  const LaunchReport report = RunCopy(R"(
  setp.ge.u32 %p, %t, 2;
  cp.async.cg.shared.global [%to], [%in], 16, %p;)",
                                      &found);
  EXPECT_THAT(report.findings, IsEmpty());
  EXPECT_EQ(found[31], 32);
  EXPECT_EQ(found[32], 0);
}

}  // namespace
}  // namespace nemotron::ptxsim
