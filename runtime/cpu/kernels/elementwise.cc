// Ops that touch each element once: bound by memory (L2).
#include <algorithm>
#include <cmath>
#include <cstring>

#include "runtime/cpu/kernels/argument_reader.h"
#include "runtime/cpu/kernels/for_rows.h"
#include "runtime/cpu/kernels/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/kernels/elementwise.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "runtime/cpu/kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nemotron::runtime::cpu {
namespace HWY_NAMESPACE {

void AddElements(const float* a, const float* b, int64_t size, float* y) {
  ForVectors(size, [&](int64_t i, int64_t n) { StoreUpTo(hn::Add(LoadUpTo(a + i, n), LoadUpTo(b + i, n)), y + i, n); });
}
void Relu2Elements(const float* x, const float*, int64_t size, float* y) {
  ForVectors(size, [&](int64_t i, int64_t n) {
    const FloatVector positive = hn::Max(LoadUpTo(x + i, n), hn::Zero(kFloats));
    StoreUpTo(hn::Mul(positive, positive), y + i, n);
  });
}
void SiluElements(const float* x, const float*, int64_t size, float* y) {
  ForVectors(size, [&](int64_t i, int64_t n) { StoreUpTo(Silu(LoadUpTo(x + i, n)), y + i, n); });
}
/// y += scale * x.
void AddScaled(const float* x, float scale, int64_t size, float* y) {
  const FloatVector scales = hn::Set(kFloats, scale);
  ForVectors(size, [&](int64_t i, int64_t n) {
    StoreUpTo(hn::MulAdd(scales, LoadUpTo(x + i, n), LoadUpTo(y + i, n)), y + i, n);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace nemotron::runtime::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nemotron::runtime::cpu {
namespace {

HWY_EXPORT(AddElements);
HWY_EXPORT(Relu2Elements);
HWY_EXPORT(SiluElements);
HWY_EXPORT(AddScaled);

enum class ElementOp { kAdd, kRelu2, kSilu };

class Elementwise : public PreparedDispatch {
 public:
  ElementOp op;
  BufferArgument lhs, rhs, output;  // rhs only if kAdd

  void Run(const StepContext& step) const override {
    ForRows(step, step.units(output.space), [&](int64_t u) {
      const float* a = step.At<const float>(lhs, u);
      float* y = step.At<float>(output, u);
      switch (op) {
        case ElementOp::kAdd:
          return HWY_DYNAMIC_DISPATCH(AddElements)(a, step.At<const float>(rhs, u), output.columns, y);
        case ElementOp::kRelu2:
          return HWY_DYNAMIC_DISPATCH(Relu2Elements)(a, nullptr, output.columns, y);
        case ElementOp::kSilu:
          return HWY_DYNAMIC_DISPATCH(SiluElements)(a, nullptr, output.columns, y);
      }
    });
  }
};

PreparedOr PrepareElementwise(std::string_view name, const DispatchArguments& arguments, ElementOp op) {
  ArgumentReader args(name, arguments);
  auto elementwise = std::make_unique<Elementwise>();
  elementwise->op = op;
  elementwise->output = args.Output("output");
  const int64_t columns = elementwise->output.columns;
  if (op == ElementOp::kAdd) {
    elementwise->lhs = args.Input("lhs", columns);
    elementwise->rhs = args.Input("rhs", columns);
    args.Check(elementwise->rhs.space == elementwise->output.space, "inputs and outputs count different things");
  } else {
    elementwise->lhs = args.Input("input", columns);
  }
  args.Check(elementwise->lhs.space == elementwise->output.space, "inputs and outputs count different things");
  RETURN_IF_ERROR(args.Finish());
  return elementwise;
}

class Embedding : public PreparedDispatch {
 public:
  BufferArgument output;
  WeightArgument weight;

  void Run(const StepContext& step) const override {
    const int64_t columns = output.columns;
    ForRows(step, step.num_tokens(), [&](int64_t t) {
      float* y = step.At<float>(output, t);
      const std::byte* row = weight.data.data() + step.tokens[t] * columns * SizeOf(weight.dtype);
      if (weight.dtype == DType::kBF16) {
        const auto* bits = reinterpret_cast<const uint16_t*>(row);
        std::transform(bits, bits + columns, y, BF16ToF32);
      } else {
        std::memcpy(y, row, columns * sizeof(float));
      }
    });
  }
};

class SelectRows : public PreparedDispatch {
 public:
  BufferArgument input, output;

  void Run(const StepContext& step) const override {
    for (int64_t r = 0; r < step.num_rows(); ++r) {
      std::memcpy(step.At<float>(output, r), step.At<const float>(input, step.output_rows[r]),
                  output.columns * sizeof(float));
    }
  }
};

class SsmSkip : public PreparedDispatch {
 public:
  BufferArgument y, x, output;
  const float* d = nullptr;
  int64_t num_heads = 1, head_dim = 1;

  void Run(const StepContext& step) const override {
    ForRows(step, step.num_tokens(), [&](int64_t t) {
      float* sum = step.At<float>(output, t);
      std::memcpy(sum, step.At<const float>(y, t), output.columns * sizeof(float));
      for (int64_t h = 0; h < num_heads; ++h) {
        HWY_DYNAMIC_DISPATCH(AddScaled)(step.At<const float>(x, t) + h * head_dim, d[h], head_dim, sum + h * head_dim);
      }
    });
  }
};

/// Angles are computed once a token and serve all heads: rotary_dim / 2 sines and cosines against num_heads * head_dim
/// products.
class RotaryEmbedding : public PreparedDispatch {
 public:
  BufferArgument input, output;
  int64_t head_dim = 1;
  std::vector<float> frequencies;  // theta^(-2j / rotary_dim)
  float position_scale = 1;

  void Run(const StepContext& step) const override {
    for (const SequenceStep& sequence : step.sequences) {
      ForRows(step, sequence.num_tokens, [&](int64_t i) {
        RotateRow(step.At<const float>(input, sequence.first_token + i), static_cast<float>(sequence.position + i),
                  step.At<float>(output, sequence.first_token + i));
      });
    }
  }

 private:
  void RotateRow(const float* x, float position, float* y) const {
    const auto half = static_cast<int64_t>(frequencies.size());
    for (int64_t j = 0; j < half; ++j) {
      const float angle = position * position_scale * frequencies[j];
      const float cosine = std::cos(angle), sine = std::sin(angle);
      for (int64_t head = 0; head < output.columns; head += head_dim) {
        const float a = x[head + j], b = x[head + j + half];
        y[head + j] = a * cosine - b * sine;
        y[head + j + half] = b * cosine + a * sine;
      }
    }
    for (int64_t head = 0; head < output.columns; head += head_dim) {
      std::copy(x + head + 2 * half, x + head + head_dim, y + head + 2 * half);
    }
  }
};

}  // namespace

PreparedOr PrepareAdd(const DispatchArguments& arguments) {
  return PrepareElementwise("cpu.add", arguments, ElementOp::kAdd);
}
PreparedOr PrepareRelu2(const DispatchArguments& arguments) {
  return PrepareElementwise("cpu.relu2", arguments, ElementOp::kRelu2);
}
PreparedOr PrepareSilu(const DispatchArguments& arguments) {
  return PrepareElementwise("cpu.silu", arguments, ElementOp::kSilu);
}

PreparedOr PrepareEmbedding(const DispatchArguments& arguments) {
  ArgumentReader args("cpu.embedding", arguments);
  auto embedding = std::make_unique<Embedding>();
  embedding->output = args.Output("output");
  args.Check(embedding->output.space == Space::kToken, "output does not count tokens");
  embedding->weight =
      args.Weight("weight", {-1, embedding->output.columns}, Layout::kRowMajor, {DType::kF32, DType::kBF16});
  args.Check(embedding->weight.shape[0] >= arguments.vocab_size, "weight has {} rows for a vocabulary of {}",
             embedding->weight.shape[0], arguments.vocab_size);
  RETURN_IF_ERROR(args.Finish());
  return embedding;
}

PreparedOr PrepareSelectRows(const DispatchArguments& arguments) {
  ArgumentReader args("cpu.select_rows", arguments);
  auto select = std::make_unique<SelectRows>();
  select->output = args.Output("output");
  select->input = args.Input("input", select->output.columns);
  args.Check(select->output.space == Space::kRow && select->input.space == Space::kToken,
             "expected an input of tokens and an output of rows");
  RETURN_IF_ERROR(args.Finish());
  return select;
}

PreparedOr PrepareSsmSkip(const DispatchArguments& arguments) {
  ArgumentReader args("cpu.ssm_skip", arguments);
  auto skip = std::make_unique<SsmSkip>();
  skip->num_heads = args.Size("num_heads");
  skip->head_dim = args.Size("head_dim");
  const int64_t columns = skip->num_heads * skip->head_dim;
  skip->y = args.Input("y", columns);
  skip->x = args.Input("x", columns);
  skip->output = args.Output("output", columns);
  args.Check(skip->y.space == Space::kToken && skip->x.space == Space::kToken && skip->output.space == Space::kToken,
             "inputs and outputs must count tokens");
  skip->d = args.Vector("d", skip->num_heads);
  RETURN_IF_ERROR(args.Finish());
  return skip;
}

PreparedOr PrepareRotaryEmbedding(const DispatchArguments& arguments) {
  ArgumentReader args("cpu.rotary_embedding", arguments);
  auto rotary = std::make_unique<RotaryEmbedding>();
  rotary->output = args.Output("output");
  rotary->input = args.Input("input", rotary->output.columns);
  args.Check(rotary->input.space == Space::kToken && rotary->output.space == Space::kToken,
             "inputs and outputs must count tokens");
  rotary->head_dim = args.Size("head_dim");
  const int64_t rotary_dim = args.Size("rotary_dim");
  args.Check(rotary->output.columns % rotary->head_dim == 0, "{} columns are not a multiple of head_dim {}",
             rotary->output.columns, rotary->head_dim);
  args.Check(rotary_dim % 2 == 0 && rotary_dim <= rotary->head_dim, "rotary_dim {} is not even or exceeds head_dim {}",
             rotary_dim, rotary->head_dim);
  const double theta = args.Float("theta");
  args.Check(theta > 0 && std::isfinite(theta), "theta is {}, expected a positive number", theta);
  const double position_scale = args.Float("position_scale");
  args.Check(position_scale > 0 && std::isfinite(position_scale), "position_scale is {}, expected a positive number",
             position_scale);
  const bool bf16_frequencies = args.Bool("bf16_frequencies");
  RETURN_IF_ERROR(args.Finish());
  rotary->position_scale = static_cast<float>(position_scale);
  for (int64_t j = 0; j < rotary_dim / 2; ++j) {
    const auto frequency = static_cast<float>(1.0 / std::pow(theta, 2.0 * j / rotary_dim));
    rotary->frequencies.push_back(bf16_frequencies ? BF16ToF32(F32ToBF16(frequency)) : frequency);
  }
  return rotary;
}

}  // namespace nemotron::runtime::cpu
#endif  // HWY_ONCE
