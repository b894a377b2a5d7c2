#include <algorithm>
#include <cmath>
#include <numeric>

#include "tests/reference/reference.h"

namespace nemotron::reference {

Routing MoeRoute(const Floats& x, const Floats& weight, const Floats& correction_bias, int64_t width,
                 const RouteShape& shape) {
  Routing routing;
  for (size_t row = 0; row < x.size(); row += width) {
    std::vector<double> score(shape.experts), choice(shape.experts);
    for (int64_t e = 0; e < shape.experts; ++e) {
      double sum = 0;
      for (int64_t i = 0; i < width; ++i) {
        sum += double{x[row + i]} * weight[e * width + i];
      }
      score[e] = 1 / (1 + std::exp(-sum));
      choice[e] = score[e] + correction_bias[e];
    }
    const int64_t size = shape.experts / shape.n_group;
    std::vector<int64_t> groups(shape.n_group), order(shape.experts);
    std::iota(groups.begin(), groups.end(), 0);
    std::sort(groups.begin(), groups.end(), [&](int64_t a, int64_t b) {
      const auto two_best = [&](int64_t g) {
        std::vector<double> c(choice.begin() + g * size, choice.begin() + (g + 1) * size);
        std::sort(c.rbegin(), c.rend());
        return c[0] + (size > 1 ? c[1] : 0);
      };
      const double x = two_best(a), y = two_best(b);
      return x != y ? x > y : a < b;
    });
    for (int64_t i = shape.topk_group; i < shape.n_group; ++i) {
      std::fill_n(choice.begin() + groups[i] * size, size, -INFINITY);
    }
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(),
              [&](int64_t a, int64_t b) { return choice[a] != choice[b] ? choice[a] > choice[b] : a < b; });
    order.resize(shape.picks);
    std::sort(order.begin(), order.end());
    double sum = 0;
    for (int64_t e : order) {
      sum += score[e];
    }
    for (int64_t e : order) {
      routing.indices.push_back(static_cast<int32_t>(e));
      routing.weights.push_back(static_cast<float>((shape.normalize ? score[e] / sum : score[e]) * shape.scaling));
    }
  }
  return routing;
}

Floats MoeExperts(const Floats& x, const Routing& routing, const Floats& up, const Floats& down, int64_t experts,
                  int64_t width, int64_t expert_width, Operand operand) {
  const int64_t tokens = static_cast<int64_t>(x.size()) / width,
                picks = static_cast<int64_t>(routing.indices.size()) / tokens;
  const auto matrix = [&](const Floats& stack, int64_t expert) {
    const auto first = stack.begin() + expert * width * expert_width;
    return Floats(first, first + width * expert_width);
  };
  Floats y(x.size());
  for (int64_t t = 0; t < tokens; ++t) {
    const Floats row(x.begin() + t * width, x.begin() + (t + 1) * width);
    std::vector<double> sum(width);
    for (int64_t pick = 0; pick < picks; ++pick) {
      const int64_t expert = routing.indices[t * picks + pick];
      const Floats hidden = Linear(row, matrix(up, expert), {}, expert_width, width, operand, /*relu2=*/true);
      const Floats out = Linear(hidden, matrix(down, expert), {}, width, expert_width, operand, /*relu2=*/false);
      for (int64_t i = 0; i < width; ++i) {
        sum[i] += double{routing.weights[t * picks + pick]} * out[i];
      }
    }
    std::copy(sum.begin(), sum.end(), y.begin() + t * width);
  }
  return y;
}

}  // namespace nemotron::reference
