#ifndef TOOLS_RUN_PROFILE_H_
#define TOOLS_RUN_PROFILE_H_

#include <cstddef>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "runtime/base/file_writer.h"
#include "runtime/base/status.h"
#include "runtime/cpu/machine_peak.h"
#include "runtime/cuda/launch_counters.h"
#include "runtime/engine/cpu_device.h"
#include "runtime/engine/engine.h"
#include "runtime/engine/generator.h"
#include "runtime/engine/profiler.h"
#include "tools/profile_report.h"
#include "tools/simulator_report.h"

namespace nemotron::tools {

/// --profile of nemotron-run: times the steps of one generation and measures the machine before and after it.
class RunProfile {
 public:
  /// Measures the machine, if the engine's device is the CPU, and starts to profile `engine`, which must live.
  /// `trace_path`: where Finish writes a Chrome trace, empty for none; fails now if that cannot be written.
  static runtime::StatusOr<std::unique_ptr<RunProfile>> Start(runtime::Engine& engine, const std::string& trace_path);

  /// The prompt has been taken in: what follows is decoding.
  void EndPrefill();

  /// Stops to profile, writes the trace. Later steps are not part of the profile.
  runtime::Status Finish(const runtime::GenerationResult& result);

  /// After Finish: the tables, to stderr.
  void Print() const;
  /// After Finish: {"peak", "prefill", "decode"}, of the simulator also "counters" in the last two.
  nlohmann::json ToJson() const;

 private:
  explicit RunProfile(runtime::Engine& engine)
      : engine_(engine), threads_(engine.num_threads(), /*pin_threads=*/false) {}

  runtime::Engine& engine_;
  runtime::CpuDevice threads_;  // as many as the engine's, which nobody else may use; idle for a GPU
  std::optional<runtime::cpu::PeakMeter> meter_;
  runtime::cpu::MachinePeak peak_;
  runtime::StepProfiler profiler_;
  std::optional<runtime::ProfilerScope> scope_;
  std::optional<size_t> num_prefill_steps_;
  std::optional<runtime::FileWriter> trace_;
  Profile prefill_, decode_;
  std::unique_ptr<runtime::cuda::LaunchCounters> counters_;  // null unless the device is the simulator
  SimulatorCounts prefill_counts_, decode_counts_;
};

}  // namespace nemotron::tools

#endif  // TOOLS_RUN_PROFILE_H_
