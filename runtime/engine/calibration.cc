#include "runtime/engine/calibration.h"

#include <string_view>
#include <utility>

#include "runtime/engine/scoring.h"

namespace nemotron::runtime {
namespace {

using Kind = ActivationInfo::Kind;

/// The role of the matrix that `info` enters; empty if it enters none.
std::string_view MatrixRole(const ActivationInfo& info) {
  const std::string_view op = info.dispatch->op();
  if (op == "linear" && info.kind == Kind::kInput && info.role == "input") {
    return "weight";
  }
  if (op == "moe_experts" && info.kind == Kind::kInput && info.role == "input") {
    return "up";
  }
  return op == "moe_experts" && info.kind == Kind::kExpertHidden ? "down" : "";
}

}  // namespace

bool CalibrationCollector::Wants(const ActivationInfo& info) {
  const DispatchInfo& dispatch = *info.dispatch;
  const std::string_view op = dispatch.op();
  if ((op == "scaled_matmul" || op == "scaled_moe_experts") && quantized_.ok()) {
    quantized_ = InvalidArgument("the matrix '{}' is quantized already, expected a plan of f32 or bf16 matrices",
                                 dispatch.weight(op == "scaled_matmul" ? "weight" : "up"));
  }
  Stream* stream = nullptr;
  if (const std::string_view role = MatrixRole(info); !role.empty()) {
    stream = &matrices_[std::string(dispatch.weight(role))];
  } else if (op == "attention" && (info.role == "key" || info.role == "value")) {
    KvStream& kv = kv_[std::string(dispatch.state("cache"))];
    stream = info.role == "key" ? &kv.key : &kv.value;
  }
  if (stream == nullptr) {
    return false;
  }
  stream->layer = dispatch.layer;
  streams_[&info] = stream;
  return true;
}

void CalibrationCollector::See(const ActivationInfo& info, const ActivationRows& rows) {
  MagnitudeHistogram& histogram = streams_.at(&info)->histogram;
  for (int64_t i = 0; i < rows.num_rows; ++i) {
    histogram.Add(rows.row(i));
  }
}

Status CalibrationCollector::Check() const {
  RETURN_IF_ERROR(quantized_);
  for (const auto& [name, stream] : matrices_) {
    if (stream.histogram.saw_non_finite()) {
      return InvalidArgument("NaN or an infinity enters the matrix '{}'", name);
    }
  }
  for (const auto& [name, kv] : kv_) {
    if (kv.key.histogram.saw_non_finite() || kv.value.histogram.saw_non_finite()) {
      return InvalidArgument("NaN or an infinity enters the state '{}'", name);
    }
  }
  return OkStatus();
}

StatusOr<CalibrationEntry> CalibrationCollector::MakeEntry(const std::string& what, const Stream& stream,
                                                           CalibrationMethod method, double percentile) {
  const MagnitudeHistogram& histogram = stream.histogram;
  if (histogram.count() == 0) {
    return Error(StatusCode::kFailedPrecondition, "the {} saw no value, so it has no scale", what);
  }
  const float scale = histogram.ChooseScale(method, percentile);
  const MagnitudeHistogram::Quantization quantization = histogram.Quantize(scale);
  return CalibrationEntry{.layer = stream.layer,
                          .count = histogram.count(),
                          .amax = histogram.amax(),
                          .percentile_value = histogram.Percentile(percentile),
                          .scale = scale,
                          .saturated_share = quantization.saturated_share,
                          .relative_error = quantization.relative_error};
}

StatusOr<Calibration> CalibrationCollector::Finish(CalibrationMethod method, double percentile) const {
  RETURN_IF_ERROR(Check());
  if (matrices_.empty()) {
    return Error(StatusCode::kFailedPrecondition, "the plan has no matrix to calibrate");
  }
  Calibration calibration = {.method = method, .percentile = percentile, .activations = {}, .kv_cache = {}};
  for (const auto& [name, stream] : matrices_) {
    ASSIGN_OR_RETURN(calibration.activations[name],
                     MakeEntry(fmt::format("matrix '{}'", name), stream, method, percentile));
  }
  for (const auto& [name, kv] : kv_) {
    KvCalibration& entry = calibration.kv_cache[name];
    ASSIGN_OR_RETURN(entry.key, MakeEntry(fmt::format("key of state '{}'", name), kv.key, method, percentile));
    ASSIGN_OR_RETURN(entry.value, MakeEntry(fmt::format("value of state '{}'", name), kv.value, method, percentile));
  }
  return calibration;
}

StatusOr<Calibration> Calibrate(Engine& engine, std::span<const int32_t> tokens, const CalibrationOptions& options) {
  const auto num_tokens = static_cast<int64_t>(tokens.size());
  if (num_tokens < options.window) {
    return InvalidArgument("the text has {} tokens, expected at least the {} of one window", num_tokens,
                           options.window);
  }
  if (!(options.percentile > 0 && options.percentile <= 100)) {
    return InvalidArgument("the percentile is {}, expected above 0 and at most 100", options.percentile);
  }
  CalibrationCollector collector;
  const ObserverScope scope(engine, &collector);
  RETURN_IF_ERROR(collector.Check());
  Engine* const engines[] = {&engine};
  RETURN_IF_ERROR(RunInWindows(engines, tokens, options.window, [&](const ScoredStep& step) -> Status {
    if (Status status = collector.Check(); !status.ok()) {
      return std::move(status).WithContext(
          fmt::format("in tokens {} to {} of the text", step.first, step.first + step.count - 1));
    }
    if (options.progress) {
      options.progress(step.first + step.count, num_tokens);
    }
    return OkStatus();
  }));
  ASSIGN_OR_RETURN(Calibration calibration, collector.Finish(options.method, options.percentile));
  calibration.text_tokens = num_tokens;
  calibration.window = options.window;
  return calibration;
}

}  // namespace nemotron::runtime
