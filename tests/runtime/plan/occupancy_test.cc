#include "runtime/plan/occupancy.h"

#include <gtest/gtest.h>

namespace nemotron::runtime {
namespace {

struct Case {
  int capability;
  BlockUse use;
  int64_t blocks;
  double share;
  const char* limited_by;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << "capability " << c.capability << ", " << c.use.threads << " threads, " << c.use.registers << " registers, "
       << c.use.shared_bytes << " bytes";
}

class OccupancyTest : public ::testing::TestWithParam<Case> {};

TEST_P(OccupancyTest, IsWhatCudaComputes) {
  const auto limits = FindMultiprocessorLimits(GetParam().capability);
  ASSERT_TRUE(limits.has_value());
  const Occupancy occupancy = ComputeOccupancy(*limits, GetParam().use);
  EXPECT_EQ(occupancy.blocks(), GetParam().blocks);
  EXPECT_DOUBLE_EQ(occupancy.share(), GetParam().share);
  EXPECT_EQ(occupancy.limited_by(), GetParam().limited_by);
}

// Blocks are those of cudaOccMaxActiveBlocksPerMultiprocessor, cuda_occupancy.h of CUDA 13.0. One number changes a row.
INSTANTIATE_TEST_SUITE_P(
    All, OccupancyTest,
    ::testing::Values(
        Case{90, {256, 32, 0}, 8, 1.0, "registers, threads"},
        Case{90, {256, 33, 0}, 6, 0.75, "registers"},  // 33 * 32 registers take 5 units of 256: 12 warps a quarter
        Case{90, {128, 126, 0}, 4, 0.25, "registers"}, Case{90, {128, 255, 0}, 2, 0.125, "registers"},
        Case{90, {1024, 64, 0}, 1, 0.5, "registers"}, Case{90, {1024, 65, 0}, 0, 0.0, "registers"},
        Case{90, {160, 255, 0}, 1, 0.078125, "registers"},  // 5 warps of the 8 that fit
        Case{90, {288, 168, 0}, 1, 0.140625, "registers"},  // 9 warps are checked as 12, which 64 K registers hold
        Case{90, {288, 176, 0}, 0, 0.0, "registers"},       // and here they do not
        Case{90, {32, 16, 0}, 32, 0.5, "blocks"}, Case{90, {64, 32, 0}, 32, 1.0, "registers, threads, blocks"},
        Case{90, {33, 16, 0}, 32, 1.0, "threads, blocks"},  // two warps
        Case{90, {128, 32, 75 * 1024}, 3, 0.1875, "shared memory"},
        Case{90, {128, 32, 75 * 1024 + 1}, 2, 0.125, "shared memory"},  // a KiB is reserved
        Case{90, {128, 32, 227 * 1024}, 1, 0.0625, "shared memory"},
        Case{90, {128, 32, 227 * 1024 + 1}, 0, 0.0, "shared memory"},
        Case{80, {128, 32, 75 * 1024}, 2, 0.125, "shared memory"}, Case{86, {128, 32, 0}, 12, 1.0, "threads"},
        Case{86, {64, 32, 0}, 16, 32.0 / 48, "blocks"}, Case{89, {64, 32, 0}, 24, 1.0, "threads, blocks"},
        Case{89, {1024, 32, 0}, 1, 32.0 / 48, "threads"}, Case{120, {64, 32, 8 * 1024}, 11, 22.0 / 48, "shared memory"},
        Case{100, {256, 128, 110 * 1024}, 2, 0.25, "registers, shared memory"}));

TEST(OccupancyTest, LimitsOfUnknownCapabilities) {
  EXPECT_FALSE(FindMultiprocessorLimits(75).has_value());
  EXPECT_FALSE(FindMultiprocessorLimits(0).has_value());
}

}  // namespace
}  // namespace nemotron::runtime
