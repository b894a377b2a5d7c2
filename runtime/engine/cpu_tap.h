#ifndef RUNTIME_ENGINE_CPU_TAP_H_
#define RUNTIME_ENGINE_CPU_TAP_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "runtime/cpu/kernel.h"
#include "runtime/engine/device.h"
#include "runtime/engine/observer.h"
#include "runtime/plan/plan.h"

namespace nemotron::runtime {

/// Shows the activations of one dispatch of a CPU program to an observer. Stays where it is: infos point into it.
class CpuTap {
 public:
  /// Asks `observer` what it wants; both must live.
  CpuTap(const Plan& plan, uint32_t dispatch, const ProgramLimits& limits, ActivationObserver* observer);
  CpuTap(const CpuTap&) = delete;
  CpuTap& operator=(const CpuTap&) = delete;

  /// Runs `prepared`, the dispatch, and shows what is wanted.
  void Run(const cpu::PreparedDispatch& prepared, const cpu::StepContext& step);

 private:
  struct Activation {
    ActivationInfo info;
    cpu::BufferArgument buffer;
    std::optional<cpu::BufferArgument> scale;  ///< [T or R, 1], of codes
    bool wanted = false;
  };

  void AddBuffers(const Plan& plan, const schema::Dispatch& dispatch, const ProgramLimits& limits);
  void Show(ActivationInfo::Kind kind, const cpu::StepContext& step);
  void ShowRows(const Activation& activation, const cpu::StepContext& step);

  ActivationObserver* observer_;
  DispatchInfo dispatch_;
  std::vector<Activation> activations_;
  ActivationInfo hidden_info_;
  /// Empty unless wanted.
  std::function<void(int64_t expert, std::span<const float> row)> hidden_;
  std::vector<float> decoded_;
};

}  // namespace nemotron::runtime

#endif  // RUNTIME_ENGINE_CPU_TAP_H_
