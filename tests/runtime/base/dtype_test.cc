#include "runtime/base/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace nemotron::runtime {
namespace {

TEST(DTypeTest, NamesAreInverse) {
  for (int i = 0; i < 8; ++i) {
    const auto dtype = static_cast<DType>(i);
    EXPECT_EQ(DTypeFromName(DTypeName(dtype)), dtype);
    EXPECT_GT(SizeOf(dtype), 0);
  }
  EXPECT_EQ(DTypeFromName("f64"), std::nullopt);
  EXPECT_EQ(DTypeName(static_cast<DType>(200)), "unknown");
}

TEST(DTypeTest, BF16RoundsToNearestEven) {
  EXPECT_EQ(F32ToBF16(1.0f), 0x3F80);
  EXPECT_EQ(F32ToBF16(std::bit_cast<float>(0x3F808000u)), 0x3F80);  // a tie, the lower is even
  EXPECT_EQ(F32ToBF16(std::bit_cast<float>(0x3F818000u)), 0x3F82);  // a tie, the upper is even
  EXPECT_EQ(F32ToBF16(std::bit_cast<float>(0x3F808001u)), 0x3F81);
  EXPECT_EQ(F32ToBF16(std::numeric_limits<float>::max()), 0x7F80);  // to infinity
  EXPECT_EQ(F32ToBF16(-std::numeric_limits<float>::infinity()), 0xFF80);
  EXPECT_TRUE(std::isnan(BF16ToF32(F32ToBF16(std::bit_cast<float>(0x7F800001u)))));
}

TEST(DTypeTest, BF16RoundTripsEveryValue) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = BF16ToF32(static_cast<uint16_t>(bits));
    if (!std::isnan(value)) {
      ASSERT_EQ(F32ToBF16(value), bits);
    }
  }
}

TEST(DTypeTest, F16WidensExactly) {
  EXPECT_EQ(F16ToF32(0x3C00), 1.0f);
  EXPECT_EQ(F16ToF32(0xC000), -2.0f);
  EXPECT_EQ(F16ToF32(0x7BFF), 65504.0f);
  EXPECT_EQ(F16ToF32(0x0400), 0x1p-14f);
  EXPECT_EQ(F16ToF32(0x0001), 0x1p-24f);  // the smallest subnormal
  EXPECT_EQ(F16ToF32(0x83FF), -1023 * 0x1p-24f);
  EXPECT_TRUE(std::signbit(F16ToF32(0x8000)));
  EXPECT_EQ(F16ToF32(0xFC00), -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(F16ToF32(0x7C01)));
}

}  // namespace
}  // namespace nemotron::runtime
