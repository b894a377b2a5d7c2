#include <algorithm>
#include <cmath>

#include "runtime/base/dtype.h"
#include "tests/reference/reference.h"

namespace nemotron::reference {

Floats RotaryEmbedding(const Floats& x, int64_t columns, int64_t head_dim, int64_t rotary_dim, double theta,
                       double position_scale, int64_t first_position, bool bf16_frequencies) {
  Floats y = x;
  for (int64_t t = 0; t < static_cast<int64_t>(x.size()) / columns; ++t) {
    for (int64_t head = 0; head < columns; head += head_dim) {
      for (int64_t j = 0; j < rotary_dim / 2; ++j) {
        double frequency = std::pow(theta, -2.0 * j / rotary_dim);
        if (bf16_frequencies) {
          frequency = runtime::BF16ToF32(runtime::F32ToBF16(static_cast<float>(frequency)));
        }
        const double angle = static_cast<double>(first_position + t) * position_scale * frequency;
        const int64_t at = t * columns + head + j;
        y[at] = static_cast<float>(x[at] * std::cos(angle) - x[at + rotary_dim / 2] * std::sin(angle));
        y[at + rotary_dim / 2] = static_cast<float>(x[at + rotary_dim / 2] * std::cos(angle) + x[at] * std::sin(angle));
      }
    }
  }
  return y;
}

Floats Attention(const Floats& query, const Floats& key, const Floats& value, int64_t heads, int64_t kv_heads,
                 int64_t head_dim, double scale) {
  const int64_t tokens = static_cast<int64_t>(query.size()) / (heads * head_dim);
  Floats y(query.size());
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t h = 0; h < heads; ++h) {
      const auto kv = [&](const Floats& rows, int64_t s, int64_t i) {
        return double{rows[(s * kv_heads + h / (heads / kv_heads)) * head_dim + i]};
      };
      std::vector<double> p(t + 1);
      for (int64_t s = 0; s <= t; ++s) {
        for (int64_t i = 0; i < head_dim; ++i) {
          p[s] += scale * query[(t * heads + h) * head_dim + i] * kv(key, s, i);
        }
      }
      const double top = *std::max_element(p.begin(), p.end());
      double sum = 0;
      for (double& x : p) {
        sum += x = std::exp(x - top);
      }
      for (int64_t i = 0; i < head_dim; ++i) {
        double mixed = 0;
        for (int64_t s = 0; s <= t; ++s) {
          mixed += p[s] / sum * kv(value, s, i);
        }
        y[(t * heads + h) * head_dim + i] = static_cast<float>(mixed);
      }
    }
  }
  return y;
}

}  // namespace nemotron::reference
