#ifndef RUNTIME_ENGINE_OBSERVER_H_
#define RUNTIME_ENGINE_OBSERVER_H_

#include <cstdint>
#include <map>
#include <span>
#include <string_view>

#include "runtime/engine/engine.h"
#include "runtime/plan/plan.h"

/// Looking at the activations of a program while it runs: for calibration and for comparing plans. The names are views
/// into the plan.
namespace nemotron::runtime {

/// A dispatch of a plan's program, in names.
struct DispatchInfo {
  int64_t index = 0;                                     ///< in program.dispatches
  std::string_view kernel;                               ///< e.g. "cpu.linear"
  int64_t layer = -1;                                    ///< -1: none
  std::map<std::string_view, std::string_view> weights;  ///< role -> name in the plan: "weight" -> "layers.3.in_proj"
  std::map<std::string_view, std::string_view> states;   ///< likewise: "cache" -> "layers.5.kv"

  /// The kernel without the target that names begin with: "linear".
  std::string_view op() const { return kernel.substr(kernel.find('.') + 1); }

  /// The name of the weight or state in a role; empty if the dispatch has none.
  std::string_view weight(std::string_view role) const { return Find(weights, role); }
  std::string_view state(std::string_view role) const { return Find(states, role); }

 private:
  static std::string_view Find(const std::map<std::string_view, std::string_view>& names, std::string_view role) {
    const auto found = names.find(role);
    return found == names.end() ? std::string_view() : found->second;
  }
};

DispatchInfo DescribeDispatch(const Plan& plan, uint32_t index);

/// An activation as one dispatch sees it.
struct ActivationInfo {
  enum class Kind {
    kInput,         ///< seen before the dispatch
    kOutput,        ///< seen after it
    kExpertHidden,  ///< what enters the second matrix of its experts: in no buffer, seen while it runs
  };
  const DispatchInfo* dispatch;
  Kind kind;
  std::string_view role;    ///< "input", "output", "key", ...; "hidden" for kExpertHidden
  std::string_view buffer;  ///< name in the plan; empty for kExpertHidden
  int64_t columns;          ///< of the view; 0 for kExpertHidden, whose rows say it
};

/// Rows of F32 in host memory, `stride` elements apart.
struct ActivationRows {
  const float* data;
  int64_t num_rows, columns, stride;

  std::span<const float> row(int64_t index) const { return {data + index * stride, static_cast<size_t>(columns)}; }
};

/// Sees activations of the device steps of a program. F32 buffers are shown as they are, buffers of codes as code times
/// scale where the dispatch has their scales (output `scale` beside `output`, input `input_scale` beside `input`), else
/// not at all, as are integers. Calls come from the thread that runs the step.
class ActivationObserver {
 public:
  virtual ~ActivationObserver() = default;

  /// Whether to show this activation; asked once each, in the order of the program, when the observer is set. `info`
  /// stays where it is until the observer is replaced. What nobody wants is not copied from the device.
  virtual bool Wants(const ActivationInfo& info) = 0;

  /// The rows of a device step, at least one: of T or R of the step, in its order. For kExpertHidden a row a call, of
  /// one expert after the other. `rows` are valid during the call.
  virtual void See(const ActivationInfo& info, const ActivationRows& rows) = 0;
};

/// Sets an observer for as long as it is in scope.
class ObserverScope {
 public:
  ObserverScope(Engine& engine, ActivationObserver* observer) : engine_(engine) { engine.SetObserver(observer); }
  ~ObserverScope() { engine_.SetObserver(nullptr); }
  ObserverScope(const ObserverScope&) = delete;
  ObserverScope& operator=(const ObserverScope&) = delete;

 private:
  Engine& engine_;
};

}  // namespace nemotron::runtime

#endif  // RUNTIME_ENGINE_OBSERVER_H_
