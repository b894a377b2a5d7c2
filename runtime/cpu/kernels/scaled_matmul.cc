// Products with a matrix of E4M3: both operands E4M3, or the weights alone.
#include "runtime/cpu/kernels/argument_reader.h"
#include "runtime/cpu/kernels/for_rows.h"
#include "runtime/cpu/kernels/kernels.h"
#include "runtime/cpu/kernels/linear.h"

namespace nemotron::runtime::cpu {
namespace {

/// y = activation(sum(x * w) * (input_scale * weight_scale) + bias). E4M3 is decoded to BF16, exactly, so that products
/// are exact and sums are those of `linear` with BF16 matrices. A weight is read once a step, at a byte each: half of
/// what BF16 takes where memory is the bound (few rows), no less where the multiply-add units are (many).
class ScaledMatmul : public PreparedDispatch {
 public:
  BufferArgument input, input_scale, output;  // input_scale: if has_input_scale
  bool has_input_scale = false;
  PackedMatrix matrix;
  Epilogue epilogue;
  int64_t max_units = 0;

  int64_t ScratchBytes() const override { return max_units * matrix.InputRowBytes(); }
  int64_t WeightBytes() const override { return matrix.size_bytes(); }

  void Run(const StepContext& step) const override {
    const int64_t units = step.units(input.space);
    ForRows(step, units, [&](int64_t u) {
      std::byte* prepared = step.scratch + u * matrix.InputRowBytes();
      has_input_scale ? matrix.PrepareInput(step.At<const uint8_t>(input, u), prepared)
                      : matrix.PrepareInput(step.At<const float>(input, u), prepared);
    });
    Epilogue scaled = epilogue;
    if (has_input_scale) {
      scaled.input_scale = step.At<const float>(input_scale, 0);
      scaled.input_scale_row_bytes = input_scale.row_bytes;
    }
    MultiplyRows(*step.pool, matrix, step.scratch, units, scaled, step.At<float>(output, 0), output.row_bytes);
  }
};

}  // namespace

PreparedOr PrepareScaledMatmul(const DispatchArguments& arguments) {
  ArgumentReader args("cpu.scaled_matmul", arguments);
  auto matmul = std::make_unique<ScaledMatmul>();
  matmul->has_input_scale = args.HasInput("input_scale");
  matmul->input = args.Input("input", -1, matmul->has_input_scale ? DType::kF8E4M3 : DType::kF32);
  const int64_t k = matmul->input.columns;
  const WeightArgument weight = args.Weight("weight", {-1, k}, Layout::kPanel, {DType::kF8E4M3});
  const int64_t n = weight.shape[0];
  matmul->output = args.Output("output", n);
  args.Check(matmul->input.space == matmul->output.space, "input and output count different things");
  if (matmul->has_input_scale) {
    matmul->input_scale = args.Input("input_scale", 1);
    args.Check(matmul->input_scale.space == matmul->input.space, "input and input_scale count different things");
  }
  const WeightArgument scale = args.Weight("weight_scale", {-1});
  args.Check(scale.shape[0] == 1 || scale.shape[0] == n, "weight 'weight_scale' is [{}], expected [1] or [{}]",
             scale.shape[0], n);
  matmul->epilogue.weight_scale = reinterpret_cast<const float*>(scale.data.data());
  matmul->epilogue.scale_per_column = scale.shape[0] != 1;
  matmul->epilogue.bias = args.OptionalVector("bias", n);
  const std::string activation = args.String("activation");
  args.Check(activation == "none" || activation == "relu2", "activation is '{}', expected none or relu2", activation);
  RETURN_IF_ERROR(args.Finish());
  matmul->epilogue.relu2 = activation == "relu2";
  matmul->matrix = PackedMatrix(weight.dtype, weight.data.data(), n, k);
  matmul->max_units = matmul->input.space == Space::kToken ? arguments.max_tokens : arguments.max_rows;
  return matmul;
}

}  // namespace nemotron::runtime::cpu
