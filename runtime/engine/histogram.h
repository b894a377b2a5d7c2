#ifndef RUNTIME_ENGINE_HISTOGRAM_H_
#define RUNTIME_ENGINE_HISTOGRAM_H_

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/engine/calibration_file.h"

namespace nemotron::runtime {

/// How often each magnitude |x| occurs, over the 2^15 codes of non-negative BF16 numbers: exact for numbers that are
/// BF16, as the inputs of BF16 matrices are once rounded; other F32 numbers are rounded to nearest even first. It holds
/// counts, so it does not depend on the order of what is added. NaN and infinities are not counted.
class MagnitudeHistogram {
 public:
  /// What storing the numbers as q = e4m3(x / scale) does to them.
  struct Quantization {
    double saturated_share = 0;  ///< numbers with |x| / scale above 464, which rounding alone would take beyond 448
    double error = 0;            ///< sum of (x - q * scale)^2
    double relative_error = 0;   ///< sqrt(error / sum of x^2); 0 if all are zero
  };

  MagnitudeHistogram() : counts_(kBins) {}

  void Add(std::span<const float> values);

  int64_t count() const { return count_; }
  /// Whether NaN or an infinity was added.
  bool saw_non_finite() const { return saw_non_finite_; }
  /// The largest |x|, not rounded.
  float amax() const { return amax_; }

  /// The smallest magnitude that `percent` (above 0, at most 100) of those numbers do not exceed that are not zero:
  /// zeros, which are most of what follows a ReLU, can be stored with any scale. 0 if all are zero.
  float Percentile(double percent) const;

  Quantization Quantize(float scale) const;

  /// kAmax: the scale of amax(). kPercentile: that of Percentile(percent), what is larger saturates. kMse: the scale
  /// with the smallest error among the scale of amax() * 2^(-i/8), i = -7 to 64, the largest one of equals: above i = 0
  /// the largest numbers saturate, below nothing does but the codes lie differently.
  float ChooseScale(CalibrationMethod method, double percent) const;

 private:
  static constexpr size_t kBins = size_t{1} << 15;

  std::vector<int64_t> counts_;  // by BF16 code
  int64_t count_ = 0;
  float amax_ = 0;
  bool saw_non_finite_ = false;
};

}  // namespace nemotron::runtime

#endif  // RUNTIME_ENGINE_HISTOGRAM_H_
