#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/base/dtype.h"
#include "tests/reference/reference.h"

namespace nemotron::reference {
namespace {

float Relu2(float x) { return std::max(x, 0.0f) * std::max(x, 0.0f); }

float AbsoluteMaximum(const Floats& x, size_t first, size_t size) {
  float maximum = 0;
  for (size_t i = first; i < first + size; ++i) {
    maximum = std::abs(x[i]) > maximum ? std::abs(x[i]) : maximum;  // false for NaN
  }
  return maximum;
}

}  // namespace

Floats RoundToCodes(Floats x, runtime::DType dtype) {
  for (float& value : x) {
    value = dtype == runtime::DType::kI8 ? std::isnan(value) ? 0 : std::nearbyint(std::clamp(value, -127.0f, 127.0f))
                                         : runtime::F8E4M3ToF32(runtime::F32ToF8E4M3(value));
  }
  return x;
}

Quantized Quantize(Floats x, int64_t width, Scaling scaling, float scale, bool relu2, runtime::DType dtype) {
  const bool is_i8 = dtype == runtime::DType::kI8;
  Quantized result;
  if (relu2) {
    std::transform(x.begin(), x.end(), x.begin(), Relu2);
  }
  for (size_t row = 0; row < x.size(); row += width) {
    const float maximum = scaling == Scaling::kToken ? AbsoluteMaximum(x, row, width) : AbsoluteMaximum(x, 0, x.size());
    result.scales.push_back(scaling == Scaling::kStatic ? scale
                                                        : std::max(maximum / (is_i8 ? 127.0f : 448.0f), 0x1p-126f));
    for (int64_t i = 0; i < width; ++i) {
      result.values.push_back(x[row + i] / result.scales.back());
    }
    const auto quotients = result.values.end() - width;
    if (is_i8 && std::any_of(quotients, result.values.end(), [](float value) { return std::isnan(value); })) {
      result.scales.back() = std::numeric_limits<float>::quiet_NaN();
    }
  }
  result.values = RoundToCodes(result.values, dtype);
  return result;
}

namespace {

/// x * W^T, each weight times the scale of its group.
Floats MultiplyGroups(const Floats& x, const Floats& weight, const Floats& scales, int64_t n, int64_t k) {
  const int64_t groups = static_cast<int64_t>(scales.size()) / n, depth = k / groups;
  Floats y;
  for (size_t row = 0; row < x.size(); row += k) {
    for (int64_t i = 0; i < n; ++i) {
      double sum = 0;
      for (int64_t j = 0; j < k; ++j) {
        sum += double{x[row + j]} * weight[i * k + j] * scales[i * groups + j / depth];
      }
      y.push_back(static_cast<float>(sum));
    }
  }
  return y;
}

}  // namespace

Floats ScaledMatmul(const Quantized& x, const Floats& weight, const Floats& weight_scales, const Floats& bias,
                    int64_t n, int64_t k, bool relu2) {
  const bool has_groups = static_cast<int64_t>(weight_scales.size()) > n;
  Floats y = has_groups ? MultiplyGroups(x.values, weight, weight_scales, n, k)
                        : Linear(x.values, weight, {}, n, k, x.scales.empty() ? Operand::kBF16 : Operand::kF32,
                                 /*relu2=*/false);
  for (size_t i = 0; i < y.size(); ++i) {
    const float weight_scale = has_groups ? 1 : weight_scales[weight_scales.size() == 1 ? 0 : i % n];
    const float scale = x.scales.empty() ? weight_scale : x.scales[i / n] * weight_scale;
    const double scaled = double{y[i]} * scale + (bias.empty() ? 0 : bias[i % n]);
    y[i] = static_cast<float>(relu2 ? std::max(scaled, 0.0) * std::max(scaled, 0.0) : scaled);
  }
  return y;
}

}  // namespace nemotron::reference
