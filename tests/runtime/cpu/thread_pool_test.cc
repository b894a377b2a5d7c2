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

TEST(ThreadPool, TheCallerAlone) {
  for (int threads : {-1, 0, 1}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.num_threads(), 1);
    const std::thread::id caller = std::this_thread::get_id();
    std::vector<int64_t> order;
    pool.ParallelFor(5, [&](int64_t task, int thread) {
      EXPECT_EQ(thread, 0);
      EXPECT_EQ(std::this_thread::get_id(), caller);
      order.push_back(task);
    });
    EXPECT_EQ(order, (std::vector<int64_t>{0, 1, 2, 3, 4}));
  }
}

// What tasks wrote is there when the call returns, and what the caller wrote before is there for the tasks.
TEST(ThreadPool, CallsAreOrdered) {
  ThreadPool pool(3);
  std::vector<int64_t> a(37, 1), b(37);
  for (int call = 0; call < 3000; ++call) {
    const auto& from = call % 2 == 0 ? a : b;
    auto& to = call % 2 == 0 ? b : a;
    pool.ParallelFor(37, [&](int64_t task, int) { to[task] = from[(task + 1) % 37] + 1; });
    ASSERT_EQ(to, std::vector<int64_t>(37, call + 2));
  }
}

TEST(ThreadPool, TwoPoolsAtOnce) {
  std::atomic<int64_t> done = 0;
  const auto work = [&] {
    ThreadPool pool(2);
    for (int call = 0; call < 500; ++call) {
      pool.ParallelFor(8, [&](int64_t, int) { ++done; });
    }
  };
  std::thread other(work);
  work();
  other.join();
  EXPECT_EQ(done, 2 * 500 * 8);
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
