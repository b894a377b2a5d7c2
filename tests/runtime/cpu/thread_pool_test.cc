#include "runtime/cpu/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace nemotron::runtime::cpu {
namespace {

TEST(ThreadPool, EachTaskOnce) {
  for (int threads : {1, 2, 3, 9}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.num_threads(), threads);
    for (int64_t tasks : {0, 1, 2, 7, 1000}) {
      std::vector<int> count(tasks);  // plain: a task is one thread's, and ParallelFor orders it before what follows
      std::atomic<bool> thread_in_range = true;
      pool.ParallelFor(tasks, [&](int64_t task, int thread) {
        ++count[task];
        if (thread < 0 || thread >= threads) {
          thread_in_range = false;
        }
      });
      EXPECT_EQ(count, std::vector<int>(tasks, 1)) << threads << " threads";
      EXPECT_TRUE(thread_in_range);
    }
  }
}

TEST(ThreadPool, ManyCallsInARow) {
  ThreadPool pool(4);
  std::vector<int64_t> sums(64);
  for (int call = 0; call < 20000; ++call) {
    pool.ParallelFor(static_cast<int64_t>(sums.size()), [&](int64_t task, int) { sums[task] += task; });
  }
  for (int64_t task = 0; task < static_cast<int64_t>(sums.size()); ++task) {
    EXPECT_EQ(sums[task], 20000 * task);
  }
}

// Workers spin, then sleep; calls that come at any time between must wake them.
TEST(ThreadPool, WakesSleepers) {
  ThreadPool pool(3);
  for (int pause_us : {0, 10, 40, 50, 60, 100, 1000, 5000}) {
    for (int call = 0; call < 20; ++call) {
      std::atomic<int> done = 0;
      pool.ParallelFor(16, [&](int64_t, int) { ++done; });
      EXPECT_EQ(done, 16);
      std::this_thread::sleep_for(std::chrono::microseconds(pause_us));
    }
  }
}

TEST(ThreadPool, EndsWhileWorkersSpinOrSleep) {
  for (int pause_us : {0, 20, 500}) {
    for (int round = 0; round < 20; ++round) {
      ThreadPool pool(4);
      pool.ParallelFor(8, [](int64_t, int) {});
      std::this_thread::sleep_for(std::chrono::microseconds(pause_us));
    }
  }
}

TEST(ThreadPool, Pinned) {
  ThreadPool pool(2, /*pin=*/true);
  std::atomic<int> done = 0;
  pool.ParallelFor(100, [&](int64_t, int) { ++done; });
  EXPECT_EQ(done, 100);
}

TEST(ThreadPool, DefaultThreadCount) {
  EXPECT_GE(DefaultThreadCount(), 1);
  EXPECT_LE(DefaultThreadCount(), static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace
}  // namespace nemotron::runtime::cpu
