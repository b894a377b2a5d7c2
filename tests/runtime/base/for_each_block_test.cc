#include "runtime/base/for_each_block.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace nemotron::runtime {
namespace {

TEST(ForEachBlockTest, VisitsEachBlockOnce) {
  for (const size_t num_blocks : {0, 1, 3, 1000}) {
    for (const size_t num_threads : {1, 4}) {
      std::vector<std::atomic<int>> visits(num_blocks);
      const std::thread::id caller = std::this_thread::get_id();
      size_t calls = 0;
      const Status status = ForEachBlock(
          num_blocks, num_threads,
          [&](size_t block) {
            ++visits[block];
            return OkStatus();
          },
          [&] {
            EXPECT_EQ(std::this_thread::get_id(), caller);
            ++calls;
          });
      EXPECT_TRUE(status.ok());
      for (const std::atomic<int>& count : visits) {
        EXPECT_EQ(count, 1);
      }
      EXPECT_LE(calls, num_blocks);
      EXPECT_TRUE(num_threads > 1 || calls == num_blocks);
    }
  }
}

TEST(ForEachBlockTest, StopsAtTheFirstFailure) {
  size_t visits = 0;
  const Status status = ForEachBlock(1000, 1,
                                     [&](size_t block) {
                                       ++visits;
                                       return block == 7 ? DataLoss("block {}", block) : OkStatus();
                                     },
                                     {});
  EXPECT_EQ(status.message(), "block 7");
  EXPECT_EQ(visits, 8u);
}

TEST(ForEachBlockTest, FailuresOfOtherThreadsComeBack) {
  const std::thread::id caller = std::this_thread::get_id();
  std::atomic<bool> failed{false};
  const Status status = ForEachBlock(2, 2,
                                     [&](size_t) {
                                       if (std::this_thread::get_id() != caller) {
                                         failed = true;
                                         return DataLoss("elsewhere");
                                       }
                                       while (!failed) {  // until the other thread has had the other block
                                         std::this_thread::yield();
                                       }
                                       return OkStatus();
                                     },
                                     {});
  EXPECT_EQ(status.message(), "elsewhere");
}

}  // namespace
}  // namespace nemotron::runtime
