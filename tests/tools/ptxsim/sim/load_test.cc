// What LoadModule and Launch refuse, with the line; and variables of modules.
#include <gmock/gmock.h>

#include "tests/tools/ptxsim/sim/simulator.h"

namespace nemotron::ptxsim {
namespace {

using runtime::StatusCode;
using ::testing::HasSubstr;

/// The message for a kernel whose instruction stands in line 6.
std::string MessageFor(const std::string& instruction, GpuModel gpu = {}) {
  Simulator simulator(".visible .entry k() {\n.reg .b32 %r<9>; .reg .b64 %d<9>; .reg .pred %p<9>; .reg .b16 %h<9>;\n" +
                          instruction + "\nret;\n}",
                      gpu);
  EXPECT_EQ(simulator.status().code(), StatusCode::kUnimplemented)
      << instruction << ": " << simulator.status().message();
  return simulator.status().message();
}

TEST(LoadTest, NamesWhatIsMissing) {
  EXPECT_THAT(MessageFor("wgmma.fence.sync.aligned;"),
              HasSubstr("line 6: 'wgmma.fence.sync.aligned': no such instruction in the simulator"));
  EXPECT_THAT(MessageFor("mbarrier.init.shared.b64 [%d1], 1;"), HasSubstr("line 6: 'mbarrier.init.shared.b64'"));
  EXPECT_THAT(MessageFor("add.rni.s32 %r1, %r2, %r3;"), HasSubstr("the modifier '.rni'"));
  EXPECT_THAT(MessageFor("add.s32 %r1, %r2, %r3, %r4;"), HasSubstr("with operand 4"));
  EXPECT_THAT(MessageFor("add.s32 %r1, %r2;"), HasSubstr("expected operand 3, found 2 operands"));
  EXPECT_THAT(MessageFor("add.s32 %r1, %d2, %r3;"), HasSubstr("register %d2 does not have the size"));
  EXPECT_THAT(MessageFor("add.s8 %r1, %r2, %r3;"), HasSubstr("does not have this form"));
  EXPECT_THAT(MessageFor("mov.u64 %d1, %tid.x;"), HasSubstr("special register '%tid.x' of this size"));
  EXPECT_THAT(MessageFor("cp.async.bulk.commit_group;"), HasSubstr("'cp.async.bulk.commit_group'"));
  EXPECT_THAT(MessageFor("cp.async.cg.shared.global [%r1], [%d1], 8;"), HasSubstr("16 bytes"));
  EXPECT_THAT(MessageFor("shfl.bfly.b32 %r1, %r2, 1, 31;"), HasSubstr("line 6"));
  EXPECT_THAT(MessageFor("setp.num.s32 %p1, %r1, %r2;"), HasSubstr("does not have this comparison"));
  EXPECT_THAT(MessageFor("ld.global.v4.b64 {%d1, %d2, %d3, %d4}, [%d5];"), HasSubstr("does not have this form"));
}

TEST(LoadTest, KeepsToTheArchitecture) {
  GpuModel ampere;
  ampere.compute_major = 8;
  EXPECT_THAT(MessageFor("stmatrix.sync.aligned.m8n8.x1.shared.b16 [%r1], {%r2};", ampere),
              HasSubstr("stmatrix needs sm_90, and the simulated GPU is sm_80"));
  EXPECT_THAT(MessageFor("cvt.rn.satfinite.e4m3x2.f32 %h1, %r1, %r2;", ampere),
              HasSubstr("cvt of 8-bit floats needs sm_89"));
}

TEST(LoadTest, RefusesLaunchesNoGpuTakes) {
  Simulator simulator(".visible .entry k(.param .u32 n) .maxntid 64, 1, 1 { .shared .align 4 .b8 a[1024]; ret; }");
  EXPECT_EQ(simulator.module().StaticSharedBytes("k").value(), 1024);
  EXPECT_EQ(simulator.module().StaticSharedBytes("missing").status().code(), StatusCode::kNotFound);
  auto message = [&](Simulator::Shape shape) { return simulator.TryRun(shape, 1).status().message(); };
  EXPECT_THAT(message({{0, 1, 1}, {32, 1, 1}}), HasSubstr("grid (0,1,1)"));
  EXPECT_THAT(message({{1, 70000, 1}, {32, 1, 1}}), HasSubstr("grid (1,70000,1)"));
  EXPECT_THAT(message({{1, 1, 1}, {1024, 2, 1}}), HasSubstr("block (1024,2,1)"));
  EXPECT_THAT(message({{1, 1, 1}, {65, 1, 1}}), HasSubstr("'.maxntid' of 64 threads"));
  EXPECT_THAT(message({{1, 1, 1}, {32, 1, 1}, 227 * 1024 - 1023}),
              HasSubstr("of dynamic and 1024 of static shared memory"));
  EXPECT_THAT(simulator.TryRun({}).status().message(), HasSubstr("0 bytes of parameters for kernel 'k', expected 4"));
  EXPECT_TRUE(simulator.TryRun({}, 1).ok());
}

TEST(LoadTest, PlacesVariables) {
  Simulator simulator(R"(.visible .global .align 4 .u32 counter = 5;
.visible .const .align 4 .b8 table[8] = {1, 0, 0, 0, 2, 0, 0, 0};
.visible .entry k() {
  .reg .b32 %r<3>;
  ld.global.u32 %r1, [counter];
  ld.const.u32 %r2, [table+4];
  add.u32 %r1, %r1, %r2;
  st.global.u32 [counter], %r1;
  ret;
})");
  ASSERT_TRUE(simulator.status().ok()) << simulator.status().message();
  const auto [address, size_bytes] = simulator.module().FindVariable("counter").value();
  EXPECT_EQ(size_bytes, 4);
  EXPECT_EQ(simulator.module().FindVariable("missing").status().code(), StatusCode::kNotFound);
  simulator.Run({{1, 1, 1}, {1, 1, 1}});
  EXPECT_EQ(simulator.Download<uint32_t>(address, 1)[0], 7u);
}

}  // namespace
}  // namespace nemotron::ptxsim
