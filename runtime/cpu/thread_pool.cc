#include "runtime/cpu/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <cassert>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <string>

#include "runtime/base/cgroup.h"

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

/// This thread's mask before a pool bound it.
thread_local std::optional<cpu_set_t> unbound_mask;

cpu_set_t AllowedMask() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (unbound_mask.has_value()) {
    set = *unbound_mask;
  } else {
    sched_getaffinity(0, sizeof(set), &set);  // fails with more CPUs than the set has room for, and is empty then
  }
  return set;
}

std::vector<int> CpusOf(const cpu_set_t& set) {
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) {
      cpus.push_back(cpu);
    }
  }
  return cpus;
}

/// The quota of one control group in CPUs, or 0.
double ReadQuota(const CgroupFolder& group) {
  std::string quota;
  double period = 0;
  if (group.version == 2) {  // "max 100000" or "150000 100000"
    std::ifstream(group.path + "/cpu.max") >> quota >> period;
  } else {  // -1: none
    std::ifstream(group.path + "/cpu.cfs_quota_us") >> quota;
    std::ifstream(group.path + "/cpu.cfs_period_us") >> period;
  }
  const double time = std::atof(quota.c_str());
  return time > 0 && period > 0 ? time / period : 0;
}

}  // namespace

int CpuQuota(const std::string& root) {
  double least = 0;
  for (const CgroupFolder& group : CgroupFolders("cpu", root)) {
    const double quota = ReadQuota(group);
    least = least == 0 || (quota != 0 && quota < least) ? quota : least;
  }
  return static_cast<int>(std::ceil(std::min(least, 1e6)));
}

int DefaultThreadCount() {
  const cpu_set_t mask = AllowedMask();
  const int allowed = std::max(1, CPU_COUNT(&mask));
  const int quota = CpuQuota();
  return quota == 0 ? allowed : std::min(allowed, quota);
}

ThreadPool::ThreadPool(int num_threads, bool pin) : caller_(std::this_thread::get_id()) {
  const cpu_set_t mask = AllowedMask();
  const std::vector<int> cpus = CpusOf(mask);
  // Where it fails, threads go where the system puts them.
  const auto bind = [&](pthread_t thread, int index) {
    cpu_set_t set = mask;
    if (pin) {
      CPU_ZERO(&set);
      CPU_SET(cpus[static_cast<size_t>(index) % cpus.size()], &set);
    }
    pthread_setaffinity_np(thread, sizeof(set), &set);
  };
  pin = pin && !cpus.empty();
  try {
    for (int i = 1; i < num_threads; ++i) {
      workers_.emplace_back([this, i] { WorkerLoop(i); });
      if (pin || unbound_mask.has_value()) {
        bind(workers_.back().native_handle(), i);
      }
    }
  } catch (...) {  // the system starts no more
    StopWorkers();
    throw;
  }
  if (pin && !unbound_mask.has_value()) {
    unbound_mask = mask;
    bound_caller_ = true;
    bind(pthread_self(), 0);
  }
}

void ThreadPool::StopWorkers() {
  stop_.store(true);
  wakeups_.fetch_add(1);
  wakeups_.notify_all();
  for (std::thread& worker : workers_) {
    worker.join();
  }
}

ThreadPool::~ThreadPool() {
  StopWorkers();
  if (bound_caller_ && caller_ == std::this_thread::get_id()) {
    pthread_setaffinity_np(pthread_self(), sizeof(cpu_set_t), &*unbound_mask);
    unbound_mask.reset();
  }
}

void ThreadPool::Run(int64_t num_tasks, TaskFunction function, const void* context) {
  if (num_tasks <= 1 || workers_.empty()) {
    for (int64_t task = 0; task < num_tasks; ++task) {
      function(context, task, 0);
    }
    return;
  }
  assert(num_tasks < int64_t{1} << 31);
  function_ = function;
  context_ = context;
  done_.store(0, std::memory_order_relaxed);
  tasks_.store(static_cast<uint64_t>(num_tasks) << 32);  // publishes the fields above
  // A worker counts itself as sleeping before it looks at the tasks a last time, so either this load sees it or it sees
  // them.
  if (sleeping_.load() > 0) {
    wakeups_.fetch_add(1);
    wakeups_.notify_all();
  }
  const int64_t left = num_tasks - DoTasks(0);
  for (int spins = 0; done_.load(std::memory_order_acquire) != left; ++spins) {
    if (spins < 4096) {
      Pause();
    } else {
      std::this_thread::yield();  // more threads than free cores: let the worker run
    }
  }
}

/// Claims tasks until none is left. Returns how many it did.
int64_t ThreadPool::DoTasks(int thread) {
  for (int64_t count = 0;; ++count) {
    const uint64_t claim = tasks_.fetch_add(1, std::memory_order_acquire);
    const uint64_t task = claim & 0xffffffff;
    if (task >= claim >> 32) {
      return count;
    }
    function_(context_, static_cast<int64_t>(task), thread);
  }
}

bool ThreadPool::HasTask(std::memory_order order) const {
  const uint64_t tasks = tasks_.load(order);
  return (tasks & 0xffffffff) < tasks >> 32;
}

void ThreadPool::WorkerLoop(int thread) {
  auto idle_since = std::chrono::steady_clock::now();
  while (!stop_.load(std::memory_order_relaxed)) {
    for (int i = 0; i < 64 && !HasTask(std::memory_order_relaxed); ++i) {
      Pause();
    }
    if (HasTask(std::memory_order_relaxed)) {
      done_.fetch_add(DoTasks(thread), std::memory_order_release);
      idle_since = std::chrono::steady_clock::now();
    } else if (std::chrono::steady_clock::now() - idle_since > kSpinTime) {
      const uint32_t seen = wakeups_.load();
      sleeping_.fetch_add(1);
      if (!HasTask(std::memory_order_seq_cst) && !stop_.load()) {
        wakeups_.wait(seen);
      }
      sleeping_.fetch_sub(1);
      idle_since = std::chrono::steady_clock::now();
    }
  }
}

}  // namespace nemotron::runtime::cpu
