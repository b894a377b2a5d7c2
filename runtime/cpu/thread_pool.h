#ifndef RUNTIME_CPU_THREAD_POOL_H_
#define RUNTIME_CPU_THREAD_POOL_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

namespace nemotron::runtime::cpu {

/// Threads that this process may keep busy: the affinity mask, lowered to the CPU quota of its cgroup (v1 or v2), at
/// least 1.
int DefaultThreadCount();

/// A persistent pool. The caller of ParallelFor is one of its threads, so a pool of one starts none. Workers spin for a
/// short while after a task, because the next kernel of a step follows within microseconds, and then sleep. Nothing is
/// allocated a call. One thread at a time may call ParallelFor; calls do not nest.
class ThreadPool {
 public:
  /// `pin` binds thread i to the i-th CPU of the affinity mask.
  explicit ThreadPool(int num_threads, bool pin = false);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return static_cast<int>(workers_.size()) + 1; }

  /// Calls `function(task, thread)` for each task in [0, num_tasks), thread in [0, num_threads()); returns when all are
  /// done. Tasks are claimed in ascending order.
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
  void DoTasks(int thread);

  std::vector<std::thread> workers_;
  TaskFunction function_ = nullptr;
  const void* context_ = nullptr;
  int64_t num_tasks_ = 0;
  std::atomic<bool> stop_{false};
  // On cache lines of their own: written by one side while the other spins.
  alignas(64) std::atomic<uint32_t> epoch_{0};  // a call of Run each; workers wait for it to change
  alignas(64) std::atomic<int64_t> next_task_{0};
  alignas(64) std::atomic<int> active_workers_{0};  // that have not finished this epoch
  alignas(64) std::atomic<int> sleeping_{0};
};

}  // namespace nemotron::runtime::cpu

#endif  // RUNTIME_CPU_THREAD_POOL_H_
