#include "runtime/cpu/thread_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/runtime/base/temporary_folder.h"

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

// A call does not wait for threads that have claimed nothing, so they come late, to tasks of calls that follow.
TEST(ThreadPool, MoreThreadsThanCores) {
  ThreadPool pool(16);
  std::mt19937 random(3);
  for (int call = 0; call < 3000; ++call) {
    std::vector<int> count(2 + random() % 60, call);  // another context each
    pool.ParallelFor(static_cast<int64_t>(count.size()), [&](int64_t task, int) { ++count[task]; });
    ASSERT_EQ(count, std::vector<int>(count.size(), call + 1));
    if (call % 100 == 0) {
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 200));
    }
  }
}

std::vector<int> Cpus() {
  cpu_set_t set;
  EXPECT_EQ(sched_getaffinity(0, sizeof(set), &set), 0);
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) {
      cpus.push_back(cpu);
    }
  }
  return cpus;
}

TEST(ThreadPool, PinsEachThreadUntilItGoes) {
  const std::vector<int> all = Cpus();
  {
    ThreadPool pool(3, /*pin=*/true);
    for (int call = 0; call < 100; ++call) {
      pool.ParallelFor(30, [&](int64_t, int thread) {
        EXPECT_EQ(Cpus(), std::vector<int>{all[static_cast<size_t>(thread) % all.size()]});
      });
    }
    ThreadPool other(2);  // by a bound thread
    for (int call = 0; call < 100; ++call) {
      other.ParallelFor(30,
                        [&](int64_t, int thread) { EXPECT_EQ(Cpus(), thread == 0 ? std::vector<int>{all[0]} : all); });
    }
    EXPECT_EQ(DefaultThreadCount(), std::min<int>(static_cast<int>(all.size()), CpuQuota() == 0 ? 4096 : CpuQuota()));
  }
  EXPECT_EQ(Cpus(), all);
}

TEST(ThreadPool, DefaultThreadCount) {
  EXPECT_GE(DefaultThreadCount(), 1);
  EXPECT_LE(DefaultThreadCount(), static_cast<int>(std::thread::hardware_concurrency()));
}

/// A folder that looks like / to CpuQuota.
struct FakeRoot : TemporaryFolder {
  void Put(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(Path(path)).parent_path());
    Write(path, text);
  }
};

TEST(CpuQuota, TheLeastOfVersion2) {
  FakeRoot root;
  EXPECT_EQ(CpuQuota(root.Path("")), 0);
  root.Put("proc/self/cgroup", "0::/pod/box\n");
  root.Put("sys/fs/cgroup/pod/box/cpu.max", "max 100000\n");
  EXPECT_EQ(CpuQuota(root.Path("")), 0);
  root.Put("sys/fs/cgroup/cpu.max", "800000 100000\n");
  EXPECT_EQ(CpuQuota(root.Path("")), 8);
  root.Put("sys/fs/cgroup/pod/cpu.max", "250000 100000\n");
  EXPECT_EQ(CpuQuota(root.Path("")), 3);
  root.Put("sys/fs/cgroup/pod/box/cpu.max", "1000 100000\n");
  EXPECT_EQ(CpuQuota(root.Path("")), 1);
}

TEST(CpuQuota, TheLeastOfVersion1) {
  FakeRoot root;
  root.Put("proc/self/cgroup", "4:memory:/job\n3:cpu,cpuacct:/docker/abc\n0::/\n");
  root.Put("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "-1\n");
  root.Put("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(CpuQuota(root.Path("")), 0);
  root.Put("sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_quota_us", "150000\n");
  root.Put("sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_period_us", "50000\n");
  EXPECT_EQ(CpuQuota(root.Path("")), 3);
}

TEST(CpuQuota, NonsenseIsNoQuota) {
  FakeRoot root;
  root.Put("proc/self/cgroup", "0::/a\n");
  for (const char* text : {"", "nan 5", "-100 100", "100 0", "100 -5", "x y", "1e300 1"}) {
    root.Put("sys/fs/cgroup/a/cpu.max", text);
    EXPECT_GE(CpuQuota(root.Path("")), 0) << text;
    EXPECT_LE(CpuQuota(root.Path("")), 1000000) << text;
  }
}

}  // namespace
}  // namespace nemotron::runtime::cpu
