#ifndef RUNTIME_CPU_THREAD_POOL_H_
#define RUNTIME_CPU_THREAD_POOL_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

namespace nemotron::runtime::cpu {

/// CPUs' worth of time that the quotas of this process's control groups (version 1 and 2, all ancestors) allow, rounded
/// up; 0 if there is none. `root` stands before /proc and /sys and is for tests.
int CpuQuota(const std::string& root = "");

/// Threads that this process may keep busy: the affinity mask, lowered to its CPU quota, at least 1.
int DefaultThreadCount();

/// A persistent pool. The caller of ParallelFor is one of its threads, so a pool of one starts none. Workers spin for a
/// short while after a task, because the next kernel of a step follows within microseconds, and then sleep. A call
/// waits for tasks, not for threads: what a worker that sleeps, or that the system has taken off its core, did not
/// claim in time, the others do. Nothing is allocated a call. One thread at a time may call ParallelFor; calls do not
/// nest.
class ThreadPool {
 public:
  /// `pin` binds thread i to the i-th CPU of the affinity mask; for thread 0, the one that makes the pool, until the
  /// pool goes. Without, workers have the mask of that thread, as it was before another pool bound it.
  /// Throws std::system_error if the system starts no more threads.
  explicit ThreadPool(int num_threads, bool pin = false);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return static_cast<int>(workers_.size()) + 1; }

  /// Calls `function(task, thread)` for each task in [0, num_tasks), thread in [0, num_threads()); returns when all are
  /// done. Tasks are claimed in ascending order. `num_tasks` is below 2^31.
  template <typename Function>
  void ParallelFor(int64_t num_tasks, const Function& function) {
    Run(
        num_tasks,
        [](const void* context, int64_t task, int thread) { (*static_cast<const Function*>(context))(task, thread); },
        &function);
  }

 private:
  using TaskFunction = void (*)(const void* context, int64_t task, int thread);
  void Run(int64_t num_tasks, TaskFunction function, const void* context);
  void WorkerLoop(int thread);
  void StopWorkers();
  int64_t DoTasks(int thread);
  bool HasTask(std::memory_order order) const;

  std::vector<std::thread> workers_;
  bool bound_caller_ = false;
  std::thread::id caller_;
  // Written between calls. A worker reads them once it has claimed a task, and then the call that they belong to waits
  // for it.
  TaskFunction function_ = nullptr;
  const void* context_ = nullptr;
  std::atomic<bool> stop_{false};
  // On cache lines of their own: written by one side while the other spins.
  //
  // Number of tasks of the call in the upper half, tasks claimed in the lower: adding 1 claims a task, if one was left,
  // and tells of which call it is one. A thread stops at its first try in vain, so the lower half never overflows.
  alignas(64) std::atomic<uint64_t> tasks_{0};
  alignas(64) std::atomic<int64_t> done_{0};  // tasks of the call that workers have done
  alignas(64) std::atomic<int> sleeping_{0};
  std::atomic<uint32_t> wakeups_{0};  // sleepers wait for it to change
};

}  // namespace nemotron::runtime::cpu

#endif  // RUNTIME_CPU_THREAD_POOL_H_
