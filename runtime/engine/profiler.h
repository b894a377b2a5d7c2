#ifndef RUNTIME_ENGINE_PROFILER_H_
#define RUNTIME_ENGINE_PROFILER_H_

#include <chrono>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "runtime/engine/device.h"
#include "runtime/engine/engine.h"
#include "runtime/plan/cost.h"

namespace nemotron::runtime {

/// One device step, as it was timed.
struct ProfiledStep {
  using Clock = std::chrono::steady_clock;
  StepShape shape;
  std::vector<Clock::time_point> times;  ///< dispatch i of the program ran from times[i] to times[i + 1]

  Clock::time_point begin() const { return times.front(); }
  Clock::time_point end() const { return times.back(); }
  /// Seconds of dispatch `index`.
  double seconds(size_t index) const { return std::chrono::duration<double>(times[index + 1] - times[index]).count(); }
  double seconds() const { return std::chrono::duration<double>(end() - begin()).count(); }
};

/// Keeps the times of all dispatches of the device steps that run while it is set. A clock is read once a dispatch
/// (some 20 ns), and room is made before the first, so that what is timed is what runs without a profiler.
class StepProfiler {
 public:
  using Clock = ProfiledStep::Clock;

  /// For devices: a step begins; they fill what is returned, times of `num_dispatches` and the end.
  std::span<Clock::time_point> BeginStep(const DeviceStep& step, size_t num_dispatches);

  const std::deque<ProfiledStep>& steps() const { return steps_; }
  void Clear() { steps_.clear(); }

 private:
  std::deque<ProfiledStep> steps_;
};

/// Sets a profiler for as long as it is in scope.
class ProfilerScope {
 public:
  ProfilerScope(Engine& engine, StepProfiler* profiler) : engine_(engine) { engine.SetProfiler(profiler); }
  ~ProfilerScope() { engine_.SetProfiler(nullptr); }
  ProfilerScope(const ProfilerScope&) = delete;
  ProfilerScope& operator=(const ProfilerScope&) = delete;

 private:
  Engine& engine_;
};

}  // namespace nemotron::runtime

#endif  // RUNTIME_ENGINE_PROFILER_H_
