#include <algorithm>

#include "runtime/base/dtype.h"
#include "tests/reference/reference.h"

namespace nemotron::reference {
namespace {

double Round(float x, Operand operand) {
  if (operand == Operand::kF32) {
    return x;
  }
  const float high = runtime::BF16ToF32(runtime::F32ToBF16(x));
  const float low = operand == Operand::kSplitBF16 ? runtime::BF16ToF32(runtime::F32ToBF16(x - high)) : 0;
  return double{high} + low;
}

}  // namespace

Floats Linear(const Floats& x, const Floats& weight, const Floats& bias, int64_t n, int64_t k, Operand operand,
              bool relu2) {
  Floats y;
  for (size_t row = 0; row < x.size(); row += k) {
    for (int64_t i = 0; i < n; ++i) {
      double sum = bias.empty() ? 0 : bias[i];
      for (int64_t j = 0; j < k; ++j) {
        sum += Round(x[row + j], operand) * weight[i * k + j];
      }
      y.push_back(static_cast<float>(relu2 ? std::max(sum, 0.0) * std::max(sum, 0.0) : sum));
    }
  }
  return y;
}

}  // namespace nemotron::reference
