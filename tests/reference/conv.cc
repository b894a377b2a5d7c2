#include <cmath>

#include "tests/reference/reference.h"

namespace nemotron::reference {

Floats CausalConv1d(const Floats& x, const Floats& weight, const Floats& bias, int64_t channels, bool silu) {
  const int64_t window = static_cast<int64_t>(weight.size()) / channels,
                tokens = static_cast<int64_t>(x.size()) / channels;
  Floats y(x.size());
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t c = 0; c < channels; ++c) {
      double sum = bias.empty() ? 0 : bias[c];
      for (int64_t w = 0; w < window; ++w) {
        const int64_t from = t - (window - 1) + w;
        sum += from < 0 ? 0 : double{weight[w * channels + c]} * x[from * channels + c];
      }
      y[t * channels + c] = static_cast<float>(silu ? sum / (1 + std::exp(-sum)) : sum);
    }
  }
  return y;
}

}  // namespace nemotron::reference
