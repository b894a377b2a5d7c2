#include "runtime/engine/profiler.h"

namespace nemotron::runtime {
namespace {

StepShape ShapeOf(const DeviceStep& step) {
  StepShape shape;
  shape.num_tokens = static_cast<int64_t>(step.tokens.size());
  shape.num_rows = static_cast<int64_t>(step.output_rows.size());
  shape.num_sequences = static_cast<int64_t>(step.sequences.size());
  double attended = 0;  // by all tokens: a sequence's attend to position + 1, position + 2, ...
  for (const DeviceSequence& sequence : step.sequences) {
    const auto tokens = static_cast<double>(sequence.num_tokens);
    attended += tokens * (static_cast<double>(sequence.position) + (tokens + 1) / 2);
  }
  shape.mean_context = attended / static_cast<double>(shape.num_tokens);
  return shape;
}

}  // namespace

std::span<StepProfiler::Clock::time_point> StepProfiler::BeginStep(const DeviceStep& step, size_t num_dispatches) {
  ProfiledStep& profiled = steps_.emplace_back();
  profiled.shape = ShapeOf(step);
  profiled.times.resize(num_dispatches + 1);
  return profiled.times;
}

}  // namespace nemotron::runtime
