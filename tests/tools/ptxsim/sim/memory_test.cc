// What the host does with device memory.
#include "tools/ptxsim/sim/memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace nemotron::ptxsim {
namespace {

using runtime::StatusCode;
using ::testing::HasSubstr;

TEST(GlobalMemoryTest, CountsAndLimits) {
  GlobalMemory memory(1000);
  const DeviceAddress a = memory.Allocate(600).value();
  EXPECT_EQ(memory.free_bytes(), 400);
  const auto refused = memory.Allocate(401);
  EXPECT_EQ(refused.status().code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(refused.status().message(), HasSubstr("allocation of 401 bytes, 400 of 1000 bytes are left"));
  EXPECT_THAT(memory.Free(a + 4).message(), HasSubstr("not the start of an allocation"));
  EXPECT_TRUE(memory.Free(a).ok());
  EXPECT_FALSE(memory.Free(a).ok());
  EXPECT_EQ(memory.free_bytes(), 1000);
  EXPECT_NE(memory.Allocate(600).value(), a) << "an address of freed memory must not come back";
}

TEST(GlobalMemoryTest, CopiesWithinBounds) {
  GlobalMemory memory(1 << 20);
  const DeviceAddress a = memory.Allocate(16).value(), b = memory.Allocate(16).value();
  const std::vector<uint8_t> bytes = {1, 2, 3, 4, 5, 6, 7, 8};
  EXPECT_TRUE(memory.CopyFromHost(a + 8, bytes.data(), 8).ok());
  EXPECT_TRUE(memory.Copy(b, a + 8, 8).ok());
  std::vector<uint8_t> back(8);
  EXPECT_TRUE(memory.CopyToHost(back.data(), b, 8).ok());
  EXPECT_EQ(back, bytes);
  EXPECT_THAT(memory.CopyFromHost(a + 9, bytes.data(), 8).message(),
              HasSubstr("copy to the device of 8 bytes at 9 of an allocation of 16 bytes"));
  EXPECT_FALSE(memory.CopyToHost(back.data(), b, 17).ok());
  EXPECT_FALSE(memory.Copy(a, b, -1).ok());
  EXPECT_THAT(memory.CopyToHost(back.data(), 42, 8).message(), HasSubstr("lies in no allocation"));
}

TEST(GlobalMemoryTest, FillsElements) {
  GlobalMemory memory(1 << 20);
  const DeviceAddress a = memory.Allocate(16).value();
  EXPECT_TRUE(memory.Fill(a, 0x01020304, 4, 4).ok());
  EXPECT_TRUE(memory.Fill(a + 2, 0xaabb, 2, 1).ok());
  EXPECT_TRUE(memory.Fill(a, 0xff, 1, 1).ok());
  std::vector<uint32_t> words(4);
  EXPECT_TRUE(memory.CopyToHost(words.data(), a, 16).ok());
  EXPECT_EQ(words, (std::vector<uint32_t>{0xaabb03ff, 0x01020304, 0x01020304, 0x01020304}));
  EXPECT_FALSE(memory.Fill(a + 2, 0, 4, 1).ok());
  EXPECT_FALSE(memory.Fill(a, 0, 4, 5).ok());
  EXPECT_FALSE(memory.Fill(a, 0, 3, 1).ok());
}

TEST(GlobalMemoryTest, FindsByAddress) {
  GlobalMemory memory(1 << 20);
  const DeviceAddress a = memory.Allocate(16).value();
  EXPECT_NE(memory.Find(a), nullptr);
  EXPECT_EQ(memory.Find(a), memory.Find(a + 1000000)) << "an overrun stays with its allocation";
  EXPECT_EQ(memory.Find(0), nullptr);
  EXPECT_EQ(memory.Find(~DeviceAddress{0}), nullptr);
}

}  // namespace
}  // namespace nemotron::ptxsim
