#include "runtime/cpu/cpu_info.h"

#include <hwy/targets.h>

#include "runtime/cpu/machine_peak.h"
#include "tests/runtime/cpu/kernel_fixture.h"

namespace nemotron::runtime::cpu {
namespace {

/// RMSNorms, whose order of additions follows the length of a vector: of so many rows that some round otherwise.
Floats NormOfRows() {
  constexpr int64_t kRows = 50, kWidth = 1001;
  KernelFixture norm("cpu.rms_norm", kRows, 1);
  norm.Input("input", kWidth).Output("output", kWidth).Vector("weight", Floats(kWidth, 1)).Float("eps", 1e-5);
  EXPECT_TRUE(norm.Prepare().ok());
  norm.SetInput("input", 0, Random(kRows * kWidth, 1));
  TestSequence sequence = norm.NewSequence();
  norm.Step({&sequence}, {kRows});
  return norm.GetOutput("output", kRows);
}

class CpuInfo : public testing::Test {
 protected:
  void TearDown() override { ASSERT_TRUE(ForceIsa(BestIsa()).ok()); }
};

TEST_F(CpuInfo, BestIsInUse) { EXPECT_EQ(CurrentIsa(), BestIsa()); }

TEST_F(CpuInfo, ForceByName) {
  for (Isa isa : Isas()) {
    ASSERT_TRUE(ForceIsa(IsaName(isa)).ok());
    EXPECT_EQ(CurrentIsa(), isa);
  }
  EXPECT_EQ(IsaName(Isa::kPortable), "portable");
  EXPECT_EQ(IsaName(Isa::kAmx), "amx");
}

TEST_F(CpuInfo, UnknownNameChangesNothing) {
  const Status status = ForceIsa("sse9");
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(),
            "unknown instruction set 'sse9', expected portable, avx2, avx512, avx512vnni, avx512bf16 or amx");
  EXPECT_EQ(CurrentIsa(), BestIsa());
}

TEST_F(CpuInfo, WhatTheMachineLacks) {
  if (HasIsa(Isa::kAmx)) {
    GTEST_SKIP() << "this machine has every instruction set";
  }
  const Status status = ForceIsa(Isa::kAmx);
  EXPECT_EQ(status.code(), StatusCode::kUnimplemented);
  EXPECT_EQ(status.message(), "this machine has no amx, the best it has is " + std::string(IsaName(BestIsa())));
  EXPECT_EQ(CurrentIsa(), BestIsa());
}

// Vector code outside the matrix kernels follows, there and back.
TEST_F(CpuInfo, HighwayFollows) {
  const int64_t all = hwy::SupportedTargets();
  const Floats best = NormOfRows();
  for (Isa isa : Isas()) {
    ASSERT_TRUE(ForceIsa(isa).ok());
    if (isa == Isa::kPortable && BestIsa() > isa) {
      EXPECT_NE(hwy::SupportedTargets(), all);
      EXPECT_FALSE(NormOfRows() == best);  // 4 lanes do not add in the order of 8 or 16
    }
  }
  EXPECT_EQ(hwy::SupportedTargets(), all);
  EXPECT_TRUE(NormOfRows() == best);
}

TEST(MachinePeak, IsMeasured) {
  ThreadPool pool(1);
  PeakMeter meter(pool);
  for (int i = 0; i < 2; ++i) {
    const MachinePeak peak = meter.Measure();
    EXPECT_GT(peak.read_bytes_per_second, 1e7);
    EXPECT_GT(peak.f32_flops, 1e7);
    EXPECT_EQ(peak.bf16_flops > 0, CurrentIsa() >= Isa::kAvx512Bf16);
    EXPECT_EQ(peak.int8_ops > 0, CurrentIsa() >= Isa::kAvx512Vnni);
  }
}

TEST(MachinePeak, IsTheBetterOfTwo) {
  const MachinePeak best = BetterOf({.read_bytes_per_second = 3, .bf16_flops = 5, .int8_ops = 9, .f32_flops = 1},
                                    {.read_bytes_per_second = 2, .bf16_flops = 7, .int8_ops = 8, .f32_flops = 4});
  EXPECT_EQ(best.read_bytes_per_second, 3);
  EXPECT_EQ(best.bf16_flops, 7);
  EXPECT_EQ(best.f32_flops, 4);
  EXPECT_EQ(PeakFlops(best, DType::kI8), 9);
  EXPECT_EQ(PeakFlops(best, DType::kBF16), 7);
  EXPECT_EQ(PeakFlops(best, DType::kF32), 4);
  EXPECT_EQ(PeakFlops({.f32_flops = 4}, DType::kBF16), 4);  // no instruction for BF16 pairs
  EXPECT_EQ(PeakFlops({.f32_flops = 4}, DType::kI8), 4);
}

}  // namespace
}  // namespace nemotron::runtime::cpu
