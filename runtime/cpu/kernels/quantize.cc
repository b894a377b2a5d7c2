// Activations to codes of 8 bits with a scale a row. Bound by memory (L2): a row is read twice, or once with a static
// scale.
#include "runtime/cpu/kernels/quantize.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/cpu/kernels/for_rows.h"
#include "runtime/cpu/kernels/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/kernels/quantize.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "runtime/cpu/kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nemotron::runtime::cpu {
namespace HWY_NAMESPACE {

/// The same bits as cpu.relu2 gives.
HWY_INLINE FloatVector ActivatedUpTo(const float* p, int64_t n, bool relu2) {
  const FloatVector v = LoadUpTo(p, n);
  if (!relu2) {
    return v;
  }
  const FloatVector positive = hn::Max(v, hn::Zero(kFloats));
  return hn::Mul(positive, positive);
}

/// NaNs do not count; 0 of nothing else.
float AbsoluteMaximum(const float* row, int64_t size, bool relu2) {
  FloatVector maximum = hn::Zero(kFloats);
  ForVectors(size, [&](int64_t i, int64_t n) {
    const FloatVector v = ActivatedUpTo(row + i, n, relu2);
    maximum = hn::Max(maximum, hn::IfThenElseZero(hn::Eq(v, v), hn::Abs(v)));
  });
  return hn::GetLane(hn::MaxOfLanes(kFloats, maximum));
}

/// `encode(quotients, i, output)` stores the codes of kLanes numbers, from element i on.
template <typename Encode>
HWY_INLINE void EncodeQuotients(const float* row, int64_t size, float scale, uint8_t* output, bool relu2,
                                const Encode& encode) {
  const FloatVector scales = hn::Set(kFloats, scale);
  ForVectors(size, [&](int64_t i, int64_t n) {
    const FloatVector quotients = hn::Div(ActivatedUpTo(row + i, n, relu2), scales);
    if (n >= kLanes) {
      encode(quotients, output + i);
    } else {
      HWY_ALIGN uint8_t padded[kLanes];
      encode(quotients, padded);
      std::memcpy(output + i, padded, n);
    }
  });
}

void EncodeRowE4M3(const float* row, int64_t size, float scale, uint8_t* output, bool relu2) {
  EncodeQuotients(row, size, scale, output, relu2, [](FloatVector v, uint8_t* codes) { EncodeE4M3(v, codes); });
}

/// Whether there is a NaN.
bool EncodeRowI8(const float* row, int64_t size, float scale, uint8_t* output, bool relu2) {
  FloatVector nans = hn::Zero(kFloats);  // each lane 0 until it has seen one
  EncodeQuotients(row, size, scale, output, relu2, [&](FloatVector v, uint8_t* codes) {
    nans = hn::Add(nans, hn::IfThenZeroElse(hn::Eq(v, v), v));
    EncodeI8(v, codes);
  });
  return std::isnan(hn::GetLane(hn::SumOfLanes(kFloats, nans)));
}

}  // namespace HWY_NAMESPACE
}  // namespace nemotron::runtime::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nemotron::runtime::cpu {

HWY_EXPORT(AbsoluteMaximum);
HWY_EXPORT(EncodeRowE4M3);
HWY_EXPORT(EncodeRowI8);

float QuantizeRow(const float* row, int64_t size, std::optional<float> fixed, DType dtype, uint8_t* output,
                  bool relu2) {
  const float scale = fixed ? *fixed : CodeScale(dtype, HWY_DYNAMIC_DISPATCH(AbsoluteMaximum)(row, size, relu2));
  if (dtype == DType::kI8) {
    const bool has_nan = HWY_DYNAMIC_DISPATCH(EncodeRowI8)(row, size, scale, output, relu2);
    return has_nan ? std::numeric_limits<float>::quiet_NaN() : scale;
  }
  HWY_DYNAMIC_DISPATCH(EncodeRowE4M3)(row, size, scale, output, relu2);
  return scale;
}

ScalingArgument ReadScaling(ArgumentReader& args, bool has_step) {
  const std::string name = args.String("scaling");
  const auto scale = static_cast<float>(args.Float("scale"));
  const bool is_static = name == "static";
  args.Check(is_static || name == "token" || (has_step && name == "step"),
             "scaling is '{}', expected token{} or static", name, has_step ? ", step" : "");
  args.Check(!is_static || (scale > 0 && std::isfinite(scale)), "scale is {}, expected a positive number", scale);
  args.Check(is_static || scale == 0, "scale is {} with scaling '{}', expected 0", scale, name);
  if (is_static) {
    return {Scaling::kStatic, scale};
  }
  return {name == "step" ? Scaling::kStep : Scaling::kToken, std::nullopt};
}

namespace {

class Quantize : public PreparedDispatch {
 public:
  BufferArgument input, output, scale;
  ScalingArgument scaling;
  bool relu2 = false;
  int64_t max_units = 0;

  int64_t ScratchBytes() const override {
    return scaling.scaling == Scaling::kStep ? max_units * static_cast<int64_t>(sizeof(float)) : 0;
  }

  void Run(const StepContext& step) const override {
    const int64_t units = step.units(input.space);
    const std::optional<float> fixed = scaling.scaling == Scaling::kStep ? StepScale(step, units) : scaling.scale;
    ForRows(step, units, [&](int64_t u) {
      *step.At<float>(scale, u) = QuantizeRow(step.At<const float>(input, u), input.columns, fixed, output.dtype,
                                              step.At<uint8_t>(output, u), relu2);
    });
  }

 private:
  float StepScale(const StepContext& step, int64_t units) const {
    auto* maxima = reinterpret_cast<float*>(step.scratch);
    ForRows(step, units, [&](int64_t u) {
      maxima[u] = HWY_DYNAMIC_DISPATCH(AbsoluteMaximum)(step.At<const float>(input, u), input.columns, relu2);
    });
    return CodeScale(output.dtype, units == 0 ? 0.0f : *std::max_element(maxima, maxima + units));
  }
};

}  // namespace

PreparedOr PrepareQuantize(const DispatchArguments& arguments) {
  ArgumentReader args("cpu.quantize", arguments);
  auto quantize = std::make_unique<Quantize>();
  quantize->input = args.Input("input");
  quantize->output = args.Output("output", quantize->input.columns, {DType::kF8E4M3, DType::kI8});
  quantize->scale = args.Output("scale", 1);
  args.Check(quantize->input.space == quantize->output.space && quantize->input.space == quantize->scale.space,
             "input and outputs count different things");
  quantize->scaling = ReadScaling(args, /*has_step=*/true);
  quantize->relu2 = args.IsRelu2();
  RETURN_IF_ERROR(args.Finish());
  quantize->max_units = arguments.max_units(quantize->input.space);
  return quantize;
}

}  // namespace nemotron::runtime::cpu
#endif  // HWY_ONCE
