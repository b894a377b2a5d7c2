#ifndef RUNTIME_ENGINE_CALIBRATION_H_
#define RUNTIME_ENGINE_CALIBRATION_H_

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>

#include "runtime/base/status.h"
#include "runtime/engine/calibration_file.h"
#include "runtime/engine/engine.h"
#include "runtime/engine/histogram.h"
#include "runtime/engine/observer.h"

/// Finding scales for the E4M3 activations and KV caches of a plan by running a text through one that is not quantized.
namespace nemotron::runtime {

struct CalibrationOptions {
  CalibrationMethod method = CalibrationMethod::kAmax;
  double percentile = 99.99;                                       ///< above 0, at most 100
  int64_t window = 512;                                            ///< tokens after which the state is emptied
  std::function<void(int64_t done, int64_t total)> progress = {};  ///< tokens; may be empty
};

/// Collects the magnitudes of what enters each matrix: the input of `linear` under the name of its weight; of
/// `moe_experts` the input under the name of "up", and the hidden rows of all experts under that of "down". Of each
/// `attention` the keys and values, under the name of its cache. Dispatches of one weight share an entry.
class CalibrationCollector final : public ActivationObserver {
 public:
  bool Wants(const ActivationInfo& info) override;
  void See(const ActivationInfo& info, const ActivationRows& rows) override;

  /// kInvalidArgument, naming the matrix or state, if NaN or an infinity was seen, or if a matrix is quantized already.
  Status Check() const;

  /// The entries of what was seen, with `percentile` above 0 and at most 100. The errors of Check; kFailedPrecondition
  /// for a matrix or state that saw nothing, naming it, and for a plan without matrices.
  StatusOr<Calibration> Finish(CalibrationMethod method, double percentile) const;

 private:
  struct Stream {
    int64_t layer = -1;
    MagnitudeHistogram histogram;
  };
  struct KvStream {
    Stream key, value;
  };

  static StatusOr<CalibrationEntry> MakeEntry(const std::string& what, const Stream& stream, CalibrationMethod method,
                                              double percentile);

  std::map<std::string, Stream, std::less<>> matrices_;  // by weight
  std::map<std::string, KvStream, std::less<>> kv_;      // by state
  std::map<const ActivationInfo*, Stream*> streams_;
  Status quantized_;
};

/// Runs `tokens` through the plan of `engine` in windows, the last of which may be shorter, and collects. The plan has
/// F32 or BF16 matrices; if it was not fused, its weights have the names of the checkpoint's. All rows of logits are
/// asked for, so that the output head sees every token: an engine with few rows a step takes long. The result is the
/// same for any number of threads and any size of step. kInvalidArgument for a text shorter than one window and for a
/// percentile out of range, besides the errors of CalibrationCollector and Engine::Step. The engine has no observer
/// afterwards.
StatusOr<Calibration> Calibrate(Engine& engine, std::span<const int32_t> tokens, const CalibrationOptions& options);

}  // namespace nemotron::runtime

#endif  // RUNTIME_ENGINE_CALIBRATION_H_
