#include "runtime/cpu/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <string>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace nemotron::runtime::cpu {
namespace {

/// How long a worker spins before it sleeps. Longer than the gap between two kernels of a step, shorter than what a
/// person or a scheduler would notice.
constexpr std::chrono::microseconds kSpinTime{50};

void Pause() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

std::vector<int> AllowedCpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &set)) {
        cpus.push_back(cpu);
      }
    }
  }
  return cpus;
}

/// CPUs that the cgroup's quota allows, or 0 if there is no quota.
int CgroupQuota() {
  std::string quota;
  double period = 0;
  if (std::ifstream v2("/sys/fs/cgroup/cpu.max"); v2 >> quota >> period && quota != "max" && period > 0) {
    return std::max(1, static_cast<int>(std::ceil(std::atof(quota.c_str()) / period)));
  }
  double v1_quota = -1, v1_period = 0;
  std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") >> v1_quota;
  std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_period_us") >> v1_period;
  if (v1_quota > 0 && v1_period > 0) {
    return std::max(1, static_cast<int>(std::ceil(v1_quota / v1_period)));
  }
  return 0;
}

}  // namespace

int DefaultThreadCount() {
  const int allowed = std::max<int>(1, static_cast<int>(AllowedCpus().size()));
  const int quota = CgroupQuota();
  return quota == 0 ? allowed : std::min(allowed, quota);
}

ThreadPool::ThreadPool(int num_threads, bool pin) {
  const std::vector<int> cpus = pin ? AllowedCpus() : std::vector<int>();
  const auto bind = [&](pthread_t thread, int index) {
    if (!cpus.empty()) {
      cpu_set_t set;
      CPU_ZERO(&set);
      CPU_SET(cpus[index % cpus.size()], &set);
      pthread_setaffinity_np(thread, sizeof(set), &set);
    }
  };
  bind(pthread_self(), 0);
  for (int i = 1; i < num_threads; ++i) {
    workers_.emplace_back([this, i] { WorkerLoop(i); });
    bind(workers_.back().native_handle(), i);
  }
}

ThreadPool::~ThreadPool() {
  stop_.store(true);
  epoch_.fetch_add(1);
  epoch_.notify_all();
  for (std::thread& worker : workers_) {
    worker.join();
  }
}

void ThreadPool::Run(int64_t num_tasks, TaskFunction function, const void* context) {
  if (num_tasks <= 1 || workers_.empty()) {
    for (int64_t task = 0; task < num_tasks; ++task) {
      function(context, task, 0);
    }
    return;
  }
  function_ = function;
  context_ = context;
  num_tasks_ = num_tasks;
  next_task_.store(0, std::memory_order_relaxed);
  active_workers_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
  epoch_.fetch_add(1);  // publishes the fields above
  // A worker counts itself as sleeping before it looks at the epoch a last time, so either this load sees it or it sees
  // the epoch.
  if (sleeping_.load() > 0) {
    epoch_.notify_all();
  }
  DoTasks(0);
  for (int spins = 0; active_workers_.load(std::memory_order_acquire) != 0; ++spins) {
    if (spins < 4096) {
      Pause();
    } else {
      std::this_thread::yield();  // more threads than free cores: let the worker run
    }
  }
}

void ThreadPool::DoTasks(int thread) {
  for (int64_t task = next_task_.fetch_add(1, std::memory_order_relaxed); task < num_tasks_;
       task = next_task_.fetch_add(1, std::memory_order_relaxed)) {
    function_(context_, task, thread);
  }
}

void ThreadPool::WorkerLoop(int thread) {
  uint32_t seen = 0;
  while (true) {
    const auto start = std::chrono::steady_clock::now();
    while (epoch_.load(std::memory_order_acquire) == seen) {
      for (int i = 0; i < 64 && epoch_.load(std::memory_order_relaxed) == seen; ++i) {
        Pause();
      }
      if (epoch_.load(std::memory_order_relaxed) == seen && std::chrono::steady_clock::now() - start > kSpinTime) {
        sleeping_.fetch_add(1);
        epoch_.wait(seen);
        sleeping_.fetch_sub(1);
      }
    }
    seen = epoch_.load(std::memory_order_acquire);
    if (stop_.load()) {
      return;
    }
    DoTasks(thread);
    active_workers_.fetch_sub(1, std::memory_order_release);
  }
}

}  // namespace nemotron::runtime::cpu
