#include "tools/trace_file.h"

#include <fmt/format.h>

#include <iterator>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/engine/observer.h"
#include "runtime/plan/cost.h"

namespace nemotron::tools {
namespace {

using namespace nemotron::runtime;  // NOLINT: a tool is made of nothing else
using nlohmann::json;
using TimePoint = ProfiledStep::Clock::time_point;

constexpr size_t kFlushBytes = size_t{1} << 20;

/// What is the same each time a dispatch runs, as JSON text.
struct DispatchText {
  std::string name;
  std::string arguments;  ///< "dispatch":3,"layer":1,"weight":"layers.1.in_proj"
};

std::vector<DispatchText> DescribeDispatches(const Plan& plan) {
  const auto dump = [](std::string_view text) {
    return json(text).dump(-1, ' ', false, json::error_handler_t::replace);
  };
  std::vector<DispatchText> texts;
  for (uint32_t i = 0; i < plan.root().program()->dispatches()->size(); ++i) {
    const DispatchInfo info = DescribeDispatch(plan, i);
    std::string arguments = fmt::format(R"("dispatch":{},"layer":{})", i, info.layer);
    const std::string_view weight = info.weight("weight").empty() ? info.weight("up") : info.weight("weight");
    if (!weight.empty()) {
      arguments += R"(,"weight":)" + dump(weight);
    }
    texts.push_back({.name = dump(info.kernel), .arguments = std::move(arguments)});
  }
  return texts;
}

/// Microseconds, to the nanosecond: whoever adds them up finds dispatches within their step.
std::string Microseconds(TimePoint::duration time) {
  const int64_t ns = std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
  return fmt::format("{}.{:03}", ns / 1000, ns % 1000);
}

/// Collects text and hands it on in large pieces.
class TraceText {
 public:
  explicit TraceText(FileWriter& file) : file_(file) {}

  /// `name` and `arguments` are JSON text.
  void AddEvent(std::string_view name, TimePoint::duration start, TimePoint::duration length,
                std::string_view arguments) {
    fmt::format_to(std::back_inserter(text_),
                   "{}\n{{\"ph\":\"X\",\"pid\":1,\"tid\":1,\"name\":{},\"ts\":{},\"dur\":{},\"args\":{{{}}}}}",
                   num_events_++ == 0 ? "" : ",", name, Microseconds(start), Microseconds(length), arguments);
  }
  void Add(std::string_view text) { text_ += text; }
  Status Flush(size_t at_least = 0) {
    if (text_.size() < at_least) {
      return OkStatus();
    }
    RETURN_IF_ERROR(file_.Append(std::as_bytes(std::span(text_))));
    text_.clear();
    return OkStatus();
  }

 private:
  FileWriter& file_;
  std::string text_;
  int64_t num_events_ = 0;
};

}  // namespace

Status WriteTrace(FileWriter& file, const Plan& plan, const std::deque<ProfiledStep>& steps, size_t num_prefill_steps) {
  const std::vector<DispatchText> dispatches = DescribeDispatches(plan);
  TraceText trace(file);
  trace.Add(R"({"displayTimeUnit":"ms","traceEvents":[)");
  for (size_t i = 0; i < steps.size(); ++i) {
    const ProfiledStep& step = steps[i];
    const TimePoint origin = steps.front().begin();
    const std::string shape =
        fmt::format(R"("tokens":{},"sequences":{})", step.shape.num_tokens, step.shape.num_sequences);
    trace.AddEvent(i < num_prefill_steps ? R"("prefill")" : R"("decode")", step.begin() - origin,
                   step.end() - step.begin(),
                   fmt::format(R"("step":{},{},"rows":{},"mean_context":{:.1f})", i, shape, step.shape.num_rows,
                               step.shape.mean_context));
    for (uint32_t d = 0; d < dispatches.size(); ++d) {
      const StepCost cost = EstimateCost(plan.root(), *plan.root().program()->dispatches()->Get(d), step.shape);
      trace.AddEvent(dispatches[d].name, step.times[d] - origin, step.times[d + 1] - step.times[d],
                     fmt::format(R"({},{},"bytes":{:.0f},"flops":{:.0f})", dispatches[d].arguments, shape,
                                 cost.bytes_touched(), cost.flops));
    }
    RETURN_IF_ERROR(trace.Flush(kFlushBytes));
  }
  trace.Add("\n]}\n");
  return trace.Flush();
}

}  // namespace nemotron::tools
