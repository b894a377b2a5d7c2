#include <algorithm>
#include <cmath>

#include "runtime/base/dtype.h"
#include "runtime/plan/layout.h"
#include "tests/reference/reference.h"

namespace nemotron::reference {
namespace {

double StepSize(const ScanInput& input, const ScanShape& shape, int64_t t, int64_t h) {
  const double raw = double{input.dt[t * shape.heads + h]} + input.dt_bias[h];
  return std::clamp(raw > 20 ? raw : std::log1p(std::exp(raw)), shape.dt_min, shape.dt_max);
}

}  // namespace

Floats SsmScan(const ScanInput& input, const ScanShape& shape, bool bf16_state) {
  const auto [heads, head_dim, groups, state_size, dt_min, dt_max] = shape;
  const int64_t tokens = static_cast<int64_t>(input.dt.size()) / heads;
  Floats y(tokens * heads * head_dim);
  for (int64_t h = 0; h < heads; ++h) {
    std::vector<double> state(head_dim * state_size);
    for (int64_t t = 0; t < tokens; ++t) {
      const double dt = StepSize(input, shape, t, h), decay = std::exp(-std::exp(double{input.a_log[h]}) * dt);
      const float* b = &input.b[(t * groups + h / (heads / groups)) * state_size];
      const float* c = &input.c[(t * groups + h / (heads / groups)) * state_size];
      for (int64_t p = 0; p < head_dim; ++p) {
        double sum = 0;
        for (int64_t n = 0; n < state_size; ++n) {
          double& s = state[p * state_size + n];
          s = decay * s + dt * input.x[(t * heads + h) * head_dim + p] * b[n];
          sum += s * c[n];
          if (bf16_state && (t + 1) % runtime::kScanChunk == 0) {
            s = runtime::BF16ToF32(runtime::F32ToBF16(static_cast<float>(s)));
          }
        }
        y[(t * heads + h) * head_dim + p] = static_cast<float>(sum);
      }
    }
  }
  return y;
}

Floats SsmScanChunked(const ScanInput& input, const ScanShape& shape, int64_t chunk) {
  const auto [heads, head_dim, groups, state_size, dt_min, dt_max] = shape;
  const int64_t tokens = static_cast<int64_t>(input.dt.size()) / heads;
  Floats y(tokens * heads * head_dim);
  for (int64_t h = 0; h < heads; ++h) {
    const double a = -std::exp(double{input.a_log[h]});
    std::vector<double> state(head_dim * state_size);
    const auto x = [&](int64_t t, int64_t p) { return double{input.x[(t * heads + h) * head_dim + p]}; };
    const auto b = [&](int64_t t, int64_t n) {
      return double{input.b[(t * groups + h / (heads / groups)) * state_size + n]};
    };
    const auto c = [&](int64_t t, int64_t n) {
      return double{input.c[(t * groups + h / (heads / groups)) * state_size + n]};
    };
    for (int64_t first = 0; first < tokens; first += chunk) {
      const int64_t end = std::min(tokens, first + chunk);
      std::vector<double> log_decay(end - first);  // cumulative, from the chunk's start up to and with the token
      for (int64_t t = first; t < end; ++t) {
        log_decay[t - first] = (t == first ? 0 : log_decay[t - first - 1]) + a * StepSize(input, shape, t, h);
      }
      for (int64_t t = first; t < end; ++t) {
        for (int64_t p = 0; p < head_dim; ++p) {
          double sum = 0;
          for (int64_t n = 0; n < state_size; ++n) {  // from before the chunk
            sum += std::exp(log_decay[t - first]) * state[p * state_size + n] * c(t, n);
          }
          for (int64_t s = first; s <= t; ++s) {  // inside it
            double dot = 0;
            for (int64_t n = 0; n < state_size; ++n) {
              dot += c(t, n) * b(s, n);
            }
            sum += dot * std::exp(log_decay[t - first] - log_decay[s - first]) * StepSize(input, shape, s, h) * x(s, p);
          }
          y[(t * heads + h) * head_dim + p] = static_cast<float>(sum);
        }
      }
      const double last = log_decay.back();
      for (int64_t p = 0; p < head_dim; ++p) {
        for (int64_t n = 0; n < state_size; ++n) {
          double sum = std::exp(last) * state[p * state_size + n];
          for (int64_t s = first; s < end; ++s) {
            sum += std::exp(last - log_decay[s - first]) * StepSize(input, shape, s, h) * x(s, p) * b(s, n);
          }
          state[p * state_size + n] = sum;
        }
      }
    }
  }
  return y;
}

Floats SsmSkip(const Floats& y, const Floats& x, const Floats& d, int64_t head_dim) {
  Floats sum(y.size());
  for (size_t i = 0; i < y.size(); ++i) {
    sum[i] = static_cast<float>(y[i] + double{d[i / head_dim % d.size()]} * x[i]);
  }
  return sum;
}

}  // namespace nemotron::reference
