#include <cmath>

#include "tests/reference/reference.h"

namespace nemotron::reference {

Floats RMSNorm(const Floats& x, const Floats& weight, double eps) {
  Floats y(x.size());
  for (size_t row = 0; row < x.size(); row += weight.size()) {
    double squares = 0;
    for (size_t i = 0; i < weight.size(); ++i) {
      squares += double{x[row + i]} * x[row + i];
    }
    for (size_t i = 0; i < weight.size(); ++i) {
      y[row + i] = static_cast<float>(x[row + i] / std::sqrt(squares / weight.size() + eps) * weight[i]);
    }
  }
  return y;
}

Floats LayerNorm(const Floats& x, const Floats& weight, const Floats& bias, double eps, double offset) {
  Floats y(x.size());
  const size_t width = weight.size();
  for (size_t row = 0; row < x.size(); row += width) {
    double mean = 0, variance = 0;
    for (size_t i = 0; i < width; ++i) {
      mean += x[row + i] / static_cast<double>(width);
    }
    for (size_t i = 0; i < width; ++i) {
      variance += (x[row + i] - mean) * (x[row + i] - mean) / width;
    }
    for (size_t i = 0; i < width; ++i) {
      y[row + i] = static_cast<float>((x[row + i] - mean) / std::sqrt(variance + eps) * (weight[i] + offset) +
                                      (bias.empty() ? 0 : bias[i]));
    }
  }
  return y;
}

Floats GatedRMSNorm(const Floats& x, const Floats& gate, const Floats& weight, int64_t groups, double eps) {
  Floats y(x.size());
  const size_t width = weight.size() / groups;
  for (size_t run = 0; run < x.size(); run += width) {
    std::vector<double> gated(width);
    double squares = 0;
    for (size_t i = 0; i < width; ++i) {
      gated[i] = x[run + i] * (gate[run + i] / (1 + std::exp(-double{gate[run + i]})));
      squares += gated[i] * gated[i];
    }
    for (size_t i = 0; i < width; ++i) {
      y[run + i] = static_cast<float>(gated[i] / std::sqrt(squares / width + eps) * weight[(run + i) % weight.size()]);
    }
  }
  return y;
}

}  // namespace nemotron::reference
