// RMSNorm, LayerNorm, each with a fused residual add, and the grouped gated RMSNorm. Bound by memory (L2): a row is
// read twice and written once. Sums in F32. The first two may quantize a row while it is in L1.
#include <algorithm>

#include "runtime/cpu/kernels/argument_reader.h"
#include "runtime/cpu/kernels/for_rows.h"
#include "runtime/cpu/kernels/kernels.h"
#include "runtime/cpu/kernels/quantize.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/kernels/norm.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "runtime/cpu/kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nemotron::runtime::cpu {
namespace HWY_NAMESPACE {

void AddRow(const float* a, const float* b, int64_t size, float* sum) {
  ForVectors(size,
             [&](int64_t i, int64_t n) { StoreUpTo(hn::Add(LoadUpTo(a + i, n), LoadUpTo(b + i, n)), sum + i, n); });
}

void RMSNormRow(const float* x, const float* weight, int64_t size, float eps, float* y) {
  const float squares = SumVectors(size, [&](int64_t i, int64_t n) {
    const FloatVector v = LoadUpTo(x + i, n);
    return hn::Mul(v, v);
  });
  const FloatVector scale = hn::Set(kFloats, 1.0f / std::sqrt(squares / static_cast<float>(size) + eps));
  ForVectors(size, [&](int64_t i, int64_t n) {
    StoreUpTo(hn::Mul(hn::Mul(LoadUpTo(x + i, n), scale), LoadUpTo(weight + i, n)), y + i, n);
  });
}

/// `offset` is added to the weight: 1 for LayerNorm1P. `bias` may be null.
void LayerNormRow(const float* x, const float* weight, const float* bias, int64_t size, float eps, float offset,
                  float* y) {
  const float mean =
      SumVectors(size, [&](int64_t i, int64_t n) { return LoadUpTo(x + i, n); }) / static_cast<float>(size);
  const FloatVector means = hn::Set(kFloats, mean);
  const float squares = SumVectors(size, [&](int64_t i, int64_t n) {
    const FloatVector centred = hn::Sub(LoadUpTo(x + i, n), means);
    const FloatVector kept = n >= kLanes ? centred : hn::IfThenElseZero(hn::FirstN(kFloats, n), centred);
    return hn::Mul(kept, kept);
  });
  const FloatVector scale = hn::Set(kFloats, 1.0f / std::sqrt(squares / static_cast<float>(size) + eps));
  ForVectors(size, [&](int64_t i, int64_t n) {
    const FloatVector gain = hn::Add(LoadUpTo(weight + i, n), hn::Set(kFloats, offset));
    const FloatVector normed = hn::Mul(hn::Sub(LoadUpTo(x + i, n), means), scale);
    const FloatVector shift = bias == nullptr ? hn::Zero(kFloats) : LoadUpTo(bias + i, n);
    StoreUpTo(hn::MulAdd(normed, gain, shift), y + i, n);
  });
}

/// y = (x * silu(gate)) normalised over [0, size), times weight.
void GatedRMSNormRow(const float* x, const float* gate, const float* weight, int64_t size, float eps, float* y) {
  const float squares = SumVectors(size, [&](int64_t i, int64_t n) {
    const FloatVector v = hn::Mul(LoadUpTo(x + i, n), Silu(LoadUpTo(gate + i, n)));
    StoreUpTo(v, y + i, n);
    return hn::Mul(v, v);
  });
  const FloatVector scale = hn::Set(kFloats, 1.0f / std::sqrt(squares / static_cast<float>(size) + eps));
  ForVectors(size, [&](int64_t i, int64_t n) {
    StoreUpTo(hn::Mul(hn::Mul(LoadUpTo(y + i, n), scale), LoadUpTo(weight + i, n)), y + i, n);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace nemotron::runtime::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nemotron::runtime::cpu {
namespace {

HWY_EXPORT(AddRow);
HWY_EXPORT(RMSNormRow);
HWY_EXPORT(LayerNormRow);
HWY_EXPORT(GatedRMSNormRow);

struct NormKind {
  bool add = false, layer = false, quantize = false;
};

/// rms_norm, layer_norm, both after an add, and all of these before quantize.
class Norm : public PreparedDispatch {
 public:
  NormKind kind;
  BufferArgument residual, delta, sum;  // if add
  BufferArgument input;                 // else
  BufferArgument output;
  BufferArgument scale;  // if quantize
  const float* weight = nullptr;
  const float* bias = nullptr;
  float eps = 0, offset = 0;
  ScalingArgument scaling;
  int num_threads = 1;

  // A row of each thread on its way to being quantized.
  int64_t RowBytes() const { return RoundUp64(output.columns * static_cast<int64_t>(sizeof(float))); }
  int64_t ScratchBytes() const override { return kind.quantize ? num_threads * RowBytes() : 0; }

  void Run(const StepContext& step) const override {
    ForRows(step, step.units(output.space), [&](int64_t u, int thread) {
      if (!kind.quantize) {
        return Normalize(step, u, step.At<float>(output, u));
      }
      auto* row = reinterpret_cast<float*>(step.scratch + thread * RowBytes());
      Normalize(step, u, row);
      *step.At<float>(scale, u) =
          QuantizeRow(row, output.columns, scaling.scale, output.dtype, step.At<uint8_t>(output, u));
    });
  }

 private:
  void Normalize(const StepContext& step, int64_t u, float* y) const {
    const float* x = nullptr;
    if (kind.add) {
      auto* total = step.At<float>(sum, u);
      HWY_DYNAMIC_DISPATCH(AddRow)(step.At<const float>(residual, u), step.At<const float>(delta, u), sum.columns,
                                   total);
      x = total;
    } else {
      x = step.At<const float>(input, u);
    }
    if (kind.layer) {
      HWY_DYNAMIC_DISPATCH(LayerNormRow)(x, weight, bias, output.columns, eps, offset, y);
    } else {
      HWY_DYNAMIC_DISPATCH(RMSNormRow)(x, weight, output.columns, eps, y);
    }
  }
};

PreparedOr PrepareNorm(std::string_view name, const DispatchArguments& arguments, NormKind kind) {
  ArgumentReader args(name, arguments);
  auto norm = std::make_unique<Norm>();
  norm->kind = kind;
  norm->num_threads = arguments.num_threads;
  norm->output = kind.quantize ? args.Output("output", -1, {DType::kF8E4M3, DType::kI8}) : args.Output("output");
  const int64_t columns = norm->output.columns;
  bool same_space = true;
  if (kind.add) {
    norm->residual = args.Input("residual", columns);
    norm->delta = args.Input("delta", columns);
    norm->sum = args.Output("sum", columns);
    same_space = norm->residual.space == norm->output.space && norm->delta.space == norm->output.space &&
                 norm->sum.space == norm->output.space;
  } else {
    norm->input = args.Input("input", columns);
    same_space = norm->input.space == norm->output.space;
  }
  if (kind.quantize) {
    norm->scale = args.Output("scale", 1);
    same_space = same_space && norm->scale.space == norm->output.space;
    norm->scaling = ReadScaling(args, /*has_step=*/false);
  }
  args.Check(same_space, "inputs and outputs count different things");
  norm->weight = args.Vector("weight", columns);
  norm->eps = static_cast<float>(args.Float("eps"));
  args.Check(norm->eps >= 0, "parameter 'eps' is {}, expected at least 0", norm->eps);
  if (kind.layer) {
    norm->bias = args.OptionalVector("bias", columns);
    norm->offset = args.Bool("unit_offset") ? 1.0f : 0.0f;
  }
  RETURN_IF_ERROR(args.Finish());
  return norm;
}

class GatedRMSNorm : public PreparedDispatch {
 public:
  BufferArgument input, gate, output;
  const float* weight = nullptr;
  int64_t n_groups = 1;
  float eps = 0;

  void Run(const StepContext& step) const override {
    const int64_t width = output.columns / n_groups;
    ForRows(step, step.units(output.space), [&](int64_t u) {
      for (int64_t at = 0; at < output.columns; at += width) {
        HWY_DYNAMIC_DISPATCH(GatedRMSNormRow)
        (step.At<const float>(input, u) + at, step.At<const float>(gate, u) + at, weight + at, width, eps,
         step.At<float>(output, u) + at);
      }
    });
  }
};

}  // namespace

PreparedOr PrepareRMSNorm(const DispatchArguments& arguments) { return PrepareNorm("cpu.rms_norm", arguments, {}); }
PreparedOr PrepareAddRMSNorm(const DispatchArguments& arguments) {
  return PrepareNorm("cpu.add_rms_norm", arguments, {.add = true});
}
PreparedOr PrepareLayerNorm(const DispatchArguments& arguments) {
  return PrepareNorm("cpu.layer_norm", arguments, {.layer = true});
}
PreparedOr PrepareAddLayerNorm(const DispatchArguments& arguments) {
  return PrepareNorm("cpu.add_layer_norm", arguments, {.add = true, .layer = true});
}
PreparedOr PrepareRMSNormQuantize(const DispatchArguments& arguments) {
  return PrepareNorm("cpu.rms_norm_quantize", arguments, {.quantize = true});
}
PreparedOr PrepareAddRMSNormQuantize(const DispatchArguments& arguments) {
  return PrepareNorm("cpu.add_rms_norm_quantize", arguments, {.add = true, .quantize = true});
}
PreparedOr PrepareLayerNormQuantize(const DispatchArguments& arguments) {
  return PrepareNorm("cpu.layer_norm_quantize", arguments, {.layer = true, .quantize = true});
}
PreparedOr PrepareAddLayerNormQuantize(const DispatchArguments& arguments) {
  return PrepareNorm("cpu.add_layer_norm_quantize", arguments, {.add = true, .layer = true, .quantize = true});
}

PreparedOr PrepareGatedRMSNorm(const DispatchArguments& arguments) {
  ArgumentReader args("cpu.gated_rms_norm", arguments);
  auto norm = std::make_unique<GatedRMSNorm>();
  norm->output = args.Output("output");
  norm->input = args.Input("input", norm->output.columns);
  norm->gate = args.Input("gate", norm->output.columns);
  args.Check(norm->input.space == norm->output.space && norm->gate.space == norm->output.space,
             "inputs and outputs count different things");
  norm->weight = args.Vector("weight", norm->output.columns);
  norm->n_groups = args.Size("n_groups");
  args.Check(norm->output.columns % norm->n_groups == 0, "{} columns are not a multiple of {} groups",
             norm->output.columns, norm->n_groups);
  norm->eps = static_cast<float>(args.Float("eps"));
  args.Check(norm->eps >= 0, "parameter 'eps' is {}, expected at least 0", norm->eps);
  RETURN_IF_ERROR(args.Finish());
  return norm;
}

}  // namespace nemotron::runtime::cpu
#endif  // HWY_ONCE
