// Arithmetic with a rounding other than to nearest (.rz, .rm, .rp).
#include <cfenv>
#include <cmath>

#include "tools/ptxsim/sim/floating.h"
#include "tools/ptxsim/sim/lanes.h"
#include "tools/ptxsim/sim/ops/float_ops.h"

namespace nemotron::ptxsim {
namespace {

/// A quotient or root in double, moved to odd by the sign of what is left over.
double ToOdd(double value, double rest) {
  const auto bits = std::bit_cast<uint64_t>(value);
  if (rest == 0 || !std::isfinite(value) || value == 0 || (bits & 1)) {
    return value;
  }
  return std::bit_cast<double>((rest > 0) == (value > 0) ? bits + 1 : bits - 1);
}

/// f32 in double: products are exact there, all else is rounded to odd, and so rounding once more to f32 is right.
double InDouble(FloatOp op, double a, double b, double c) {
  switch (op) {
    case FloatOp::kAdd:
      return AddToOdd(a, b);
    case FloatOp::kSub:
      return AddToOdd(a, -b);
    case FloatOp::kMul:
      return a * b;
    case FloatOp::kFma:
      return AddToOdd(a * b, c);
    case FloatOp::kDiv: {
      const double quotient = a / b;
      return std::isfinite(quotient) ? ToOdd(quotient, b > 0 ? std::fma(-quotient, b, a) : -std::fma(-quotient, b, a))
                                     : quotient;
    }
  }
  return 0;
}

double SqrtInDouble(double a) {
  const double root = std::sqrt(a);
  return ToOdd(root, std::fma(-root, root, a));
}

float FinishF32(double value, bool is_exact_zero_sum, const Op& op) {
  const auto rounding = static_cast<Rounding>(op.options[0]);
  float result = std::bit_cast<float>(RoundTo(kF32Format, value, rounding));
  if (is_exact_zero_sum && rounding == Rounding::kDown) {
    result = -0.0f;  // x - x is -0 when rounding down (IEEE 754, section 6.3)
  }
  result = op.options[1] ? FlushToZero(result) : result;
  return op.options[2] ? Saturated(result) : result;
}

/// Whether a sum is zero of terms that are not both zeros of the same sign.
bool IsCancelled(double sum, double a, double b) {
  return sum == 0 && !(a == 0 && b == 0 && std::signbit(a) == std::signbit(b));
}

template <FloatOp kOp>
Flow RunF32(Warp& warp, const Op& op, uint32_t mask) {
  const float* a = warp.Row<float>(op.rows[1]);
  const float* b = warp.Row<float>(op.rows[2]);
  const float* c = kOp == FloatOp::kFma ? warp.Row<float>(op.rows[3]) : a;
  float* result = warp.Row<float>(op.rows[0]);
  auto flush = [&](float value) { return op.options[1] ? FlushToZero(value) : value; };
  ForEachLane(mask, [&](int lane) {
    const double x = flush(a[lane]), y = flush(b[lane]), z = flush(c[lane]);
    const double value = InDouble(kOp, x, y, z);
    const bool cancelled = (kOp == FloatOp::kAdd && IsCancelled(value, x, y)) ||
                           (kOp == FloatOp::kSub && IsCancelled(value, x, -y)) ||
                           (kOp == FloatOp::kFma && IsCancelled(value, x * y, z));
    result[lane] = FinishF32(value, cancelled, op);
  });
  return Flow::kNext;
}

/// The rounding of the host for as long as it lives. Operands pass through volatile variables, so that nothing is
/// computed before or behind.
class HostRounding {
 public:
  explicit HostRounding(uint8_t rounding) {
    constexpr int kModes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};
    std::fesetround(kModes[rounding]);
  }
  ~HostRounding() { std::fesetround(FE_TONEAREST); }
};

double ComputeF64(FloatOp op, double a, double b, double c) {
  volatile double x = a, y = b, z = c, result = 0;
  switch (op) {
    case FloatOp::kAdd:
      result = x + y;
      break;
    case FloatOp::kSub:
      result = x - y;
      break;
    case FloatOp::kMul:
      result = x * y;
      break;
    case FloatOp::kFma:
      result = std::fma(x, y, z);
      break;
    case FloatOp::kDiv:
      result = x / y;
      break;
  }
  return result;
}

template <FloatOp kOp>
Flow RunF64(Warp& warp, const Op& op, uint32_t mask) {
  const double* a = warp.Row<double>(op.rows[1]);
  const double* b = warp.Row<double>(op.rows[2]);
  const double* c = kOp == FloatOp::kFma ? warp.Row<double>(op.rows[3]) : a;
  double* result = warp.Row<double>(op.rows[0]);
  const HostRounding rounding(op.options[0]);
  ForEachLane(mask, [&](int lane) { result[lane] = ComputeF64(kOp, a[lane], b[lane], c[lane]); });
  return Flow::kNext;
}

template <bool kSqrt>
Flow RunUnaryF32(Warp& warp, const Op& op, uint32_t mask) {
  const float* a = warp.Row<float>(op.rows[1]);
  float* result = warp.Row<float>(op.rows[0]);
  ForEachLane(mask, [&](int lane) {
    const double x = op.options[1] ? FlushToZero(a[lane]) : a[lane];
    result[lane] = FinishF32(kSqrt ? SqrtInDouble(x) : InDouble(FloatOp::kDiv, 1, x, 0), false, op);
  });
  return Flow::kNext;
}

template <bool kSqrt>
Flow RunUnaryF64(Warp& warp, const Op& op, uint32_t mask) {
  const double* a = warp.Row<double>(op.rows[1]);
  double* result = warp.Row<double>(op.rows[0]);
  const HostRounding rounding(op.options[0]);
  ForEachLane(mask, [&](int lane) {
    volatile double x = a[lane], value = 0;
    value = kSqrt ? std::sqrt(x) : 1.0 / x;
    result[lane] = value;
  });
  return Flow::kNext;
}

template <FloatOp op>
Handler Pick(Format format) {
  return format == Format::kF32 ? &RunF32<op> : &RunF64<op>;
}

}  // namespace

Handler DirectedHandler(FloatOp op, Format format) {
  switch (op) {
    case FloatOp::kAdd:
      return Pick<FloatOp::kAdd>(format);
    case FloatOp::kSub:
      return Pick<FloatOp::kSub>(format);
    case FloatOp::kMul:
      return Pick<FloatOp::kMul>(format);
    case FloatOp::kFma:
      return Pick<FloatOp::kFma>(format);
    case FloatOp::kDiv:
      return Pick<FloatOp::kDiv>(format);
  }
  return nullptr;
}

Handler DirectedSqrtHandler(Format format) { return format == Format::kF32 ? &RunUnaryF32<true> : &RunUnaryF64<true>; }

Handler DirectedReciprocalHandler(Format format) {
  return format == Format::kF32 ? &RunUnaryF32<false> : &RunUnaryF64<false>;
}

}  // namespace nemotron::ptxsim
