#include "runtime/engine/histogram.h"

#include <algorithm>
#include <cmath>

#include "runtime/base/dtype.h"

namespace nemotron::runtime {
namespace {

constexpr uint16_t kLargestFinite = 0x7F7F;  // what lies above it in F32 would round to infinity
constexpr float kSaturation = 464;           // the middle of 448 and 480, a tie that goes to 448

}  // namespace

void MagnitudeHistogram::Add(std::span<const float> values) {
  for (const float value : values) {
    if (!std::isfinite(value)) {
      saw_non_finite_ = true;
      continue;
    }
    const float magnitude = std::abs(value);
    amax_ = std::max(amax_, magnitude);
    ++counts_[std::min(F32ToBF16(magnitude), kLargestFinite)];
    ++count_;
  }
}

float MagnitudeHistogram::Percentile(double percent) const {
  const int64_t non_zero = count_ - counts_[0];
  // Rank 9999 of 10000 for 99.99, which times 10000 is a little above 9999 in floating point.
  const auto rank =
      std::max<int64_t>(1, std::llround(std::ceil(percent / 100 * static_cast<double>(non_zero) * (1 - 1e-12))));
  int64_t seen = 0;
  for (size_t code = 1; code < kBins && seen < non_zero; ++code) {
    seen += counts_[code];
    if (seen >= rank) {
      return std::min(BF16ToF32(static_cast<uint16_t>(code)), amax_);
    }
  }
  return 0;
}

MagnitudeHistogram::Quantization MagnitudeHistogram::Quantize(float scale) const {
  Quantization result;
  double power = 0;
  int64_t saturated = 0;
  for (size_t code = 1; code < kBins; ++code) {
    const int64_t count = counts_[code];
    if (count == 0) {
      continue;
    }
    const float value = BF16ToF32(static_cast<uint16_t>(code)), scaled = value / scale;
    const double stored = static_cast<double>(F8E4M3ToF32(F32ToF8E4M3(scaled))) * scale;
    result.error += static_cast<double>(count) * (value - stored) * (value - stored);
    power += static_cast<double>(count) * value * value;
    saturated += scaled > kSaturation ? count : 0;
  }
  if (power > 0) {
    result.relative_error = std::sqrt(result.error / power);
    result.saturated_share = static_cast<double>(saturated) / static_cast<double>(count_);
  }
  return result;
}

float MagnitudeHistogram::ChooseScale(CalibrationMethod method, double percent) const {
  const float widest = CodeScale(DType::kF8E4M3, amax_);
  if (method == CalibrationMethod::kPercentile) {
    return CodeScale(DType::kF8E4M3, Percentile(percent));
  }
  if (method == CalibrationMethod::kAmax || amax_ == 0) {
    return widest;
  }
  float best = widest;
  double least = HUGE_VAL;
  for (int i = -7; i <= 64; ++i) {
    const double candidate = widest * std::exp2(-i / 8.0);
    const auto scale = static_cast<float>(std::clamp(candidate, double{CodeScale(DType::kF8E4M3, 0)}, 0x1p120));
    const double error = Quantize(scale).error;
    if (error < least) {
      least = error;
      best = scale;
    }
  }
  return best;
}

}  // namespace nemotron::runtime
