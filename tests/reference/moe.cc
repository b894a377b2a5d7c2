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

namespace {

/// The sum over the picks of each token of weight * expert(row, its index).
template <typename Expert>
Floats SumOfExperts(const Floats& x, const Routing& routing, int64_t width, const Expert& expert) {
  const int64_t tokens = static_cast<int64_t>(x.size()) / width,
                picks = static_cast<int64_t>(routing.indices.size()) / tokens;
  Floats y(x.size());
  for (int64_t t = 0; t < tokens; ++t) {
    const Floats row(x.begin() + t * width, x.begin() + (t + 1) * width);
    std::vector<double> sum(width);
    for (int64_t pick = 0; pick < picks; ++pick) {
      const Floats out = expert(row, routing.indices[t * picks + pick]);
      for (int64_t i = 0; i < width; ++i) {
        sum[i] += double{routing.weights[t * picks + pick]} * out[i];
      }
    }
    std::copy(sum.begin(), sum.end(), y.begin() + t * width);
  }
  return y;
}

/// Part `index` of a stack of `count`.
Floats PartOf(const Floats& stack, int64_t count, int64_t index) {
  const int64_t size = static_cast<int64_t>(stack.size()) / count;
  return Floats(stack.begin() + index * size, stack.begin() + (index + 1) * size);
}

}  // namespace

Floats MoeExperts(const Floats& x, const Routing& routing, const Floats& up, const Floats& down, int64_t experts,
                  int64_t width, int64_t expert_width, Operand operand) {
  return SumOfExperts(x, routing, width, [&](const Floats& row, int64_t e) {
    const Floats hidden = Linear(row, PartOf(up, experts, e), {}, expert_width, width, operand, /*relu2=*/true);
    return Linear(hidden, PartOf(down, experts, e), {}, width, expert_width, operand, /*relu2=*/false);
  });
}

Floats ScaledMoeExperts(const Floats& x, const Routing& routing, const ScaledExperts& experts) {
  const auto multiply = [&](const Floats& row, const Floats& matrices, const Floats& scales, const Floats& input_scales,
                            int64_t e, int64_t n, bool relu2) {
    const auto k = static_cast<int64_t>(row.size());
    const bool is_static = !input_scales.empty();
    const Quantized input = experts.quantize ? Quantize(row, k, is_static ? Scaling::kStatic : Scaling::kToken,
                                                        is_static ? input_scales[e] : 0, /*relu2=*/false, experts.dtype)
                                             : Quantized{row, {}};
    return ScaledMatmul(input, PartOf(matrices, experts.experts, e), PartOf(scales, experts.experts, e), {}, n, k,
                        relu2);
  };
  return SumOfExperts(x, routing, experts.width, [&](const Floats& row, int64_t e) {
    const Floats hidden =
        multiply(row, experts.up, experts.up_scales, experts.up_input_scales, e, experts.expert_width, /*relu2=*/true);
    return multiply(hidden, experts.down, experts.down_scales, experts.down_input_scales, e, experts.width,
                    /*relu2=*/false);
  });
}

}  // namespace nemotron::reference
