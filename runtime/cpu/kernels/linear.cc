#include "runtime/cpu/kernels/linear.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

#include "runtime/cpu/kernels/argument_reader.h"
#include "runtime/cpu/kernels/for_rows.h"
#include "runtime/cpu/kernels/kernels.h"

namespace nemotron::runtime::cpu {

const LinearKernels& GetLinearKernels(Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::kAmx:
      return kLinearAmx;
    case Isa::kAvx512Bf16:
      return kLinearAvx512Bf16;
    case Isa::kAvx512Vnni:
      return __builtin_cpu_supports("avx512vbmi") ? kLinearAvx512Vbmi : kLinearAvx512Vnni;
    case Isa::kAvx512:
      return kLinearAvx512;
    case Isa::kAvx2:
      return kLinearAvx2;
#endif
    default:
      return kLinearPortable;
  }
}

void PackedMatrix::PadOperands(std::byte* row) const {
  std::fill(row + k_ * SizeOf(operand()), row + PanelDepth(dtype_, k_) * SizeOf(operand()), std::byte{0});
}

void PackedMatrix::PrepareInput(const float* row, std::byte* prepared) const {
  PadOperands(prepared);
  if (dtype_ == DType::kF32) {
    std::memcpy(prepared, row, k_ * sizeof(float));
    return;
  }
  kernels_->round_to_operand(row, k_, prepared);
  if (HasLowRows()) {
    const auto* high = reinterpret_cast<const uint16_t*>(prepared);
    std::byte* low_row = prepared + OperandRowBytes();
    auto* low = reinterpret_cast<uint16_t*>(low_row);
    for (int64_t i = 0; i < k_; ++i) {  // the difference is exact
      low[i] = F32ToBF16(row[i] - BF16ToF32(high[i]));
    }
    PadOperands(low_row);
  } else if (split_) {
    auto* sums = reinterpret_cast<float*>(prepared);
    for (int64_t i = 0; i < k_; ++i) {  // the sum is exact too
      sums[i] += BF16ToF32(F32ToBF16(row[i] - sums[i]));
    }
  }
}

void PackedMatrix::PrepareInput(const uint8_t* codes, std::byte* prepared) const {
  PadOperands(prepared);
  if (dtype_ != DType::kI8) {
    kernels_->decode_f8(codes, k_, prepared);
    return;
  }
  std::memcpy(prepared, codes, k_);
  const int64_t group = groups_.scales == nullptr ? k_ : groups_.depth;
  for (int64_t g = 0; g < groups_.num_groups; ++g) {
    const int32_t sum = kernels_->sum_i8(reinterpret_cast<const int8_t*>(codes) + g * group, group);
    std::memcpy(prepared + PanelDepth(dtype_, k_) + g * static_cast<int64_t>(sizeof(sum)), &sum, sizeof(sum));
  }
}

void PackedMatrix::Multiply(const std::byte* input, int64_t num_rows, int64_t first_panel, int64_t num_panels,
                            const Epilogue& epilogue, float* output, int64_t output_row_bytes) const {
  const int64_t first_column = first_panel * kPanelRows;
  LinearTile tile;
  tile.input = input;
  tile.input_stride = InputRowBytes() / SizeOf(operand());
  tile.low_offset = HasLowRows() ? OperandRowBytes() / SizeOf(operand()) : 0;
  tile.panels = panels_ + first_panel * PanelElements(dtype_, k_) * SizeOf(dtype_);
  tile.depth = tile.panel_depth = PanelDepth(dtype_, k_);
  tile.num_panels = num_panels;
  tile.num_rows = num_rows;
  tile.output = output + first_column;
  tile.output_row_bytes = output_row_bytes;
  tile.num_columns = std::min(n_ - first_column, num_panels * kPanelRows);
  tile.epilogue = epilogue.From(0, first_column);
  tile.groups = groups_.From(first_panel);
  kernels_->Run(dtype_, tile);
}

Epilogue WeightScales::EpilogueOf(int64_t matrix) const {
  Epilogue epilogue;
  if (groups.scales == nullptr) {
    epilogue.weight_scale = scales + matrix * per_matrix;
    epilogue.scale_per_column = per_matrix != 1;
  }
  return epilogue;
}

GroupScales WeightScales::GroupsOf(int64_t matrix) const {
  GroupScales of_matrix = groups;
  of_matrix.scales = groups.scales == nullptr ? nullptr : groups.scales + matrix * per_matrix;
  return of_matrix;
}

WeightScales ReadScales(ArgumentReader& args, std::string_view name, const WeightArgument& weight) {
  const bool is_i8 = weight.dtype == DType::kI8;
  const int64_t k = weight.shape.back(), n = weight.shape[weight.shape.size() - 2];
  args.Check(!is_i8 || k <= kMaxI8Depth, "a matrix of i8 has {} inputs, expected at most {}: sums have 32 bits", k,
             kMaxI8Depth);
  WeightScales scales;
  std::vector<int64_t> shape(weight.shape.begin(), weight.shape.end() - 1);
  if (is_i8 && args.HasPanel(name)) {
    shape.push_back(-1);
    const WeightArgument found = args.Weight(name, shape, Layout::kPanel);
    const int64_t num_groups = found.shape.back();
    args.Check(k % num_groups == 0 && k / num_groups % kGroupUnit == 0,
               "weight '{}' has {} groups of {} inputs, expected groups of a multiple of {}", name, num_groups, k,
               kGroupUnit);
    scales.scales = reinterpret_cast<const float*>(found.data.data());
    scales.groups = {scales.scales, k / num_groups, num_groups};
    scales.per_matrix = PanelMatrixBytes(DType::kF32, n, num_groups) / static_cast<int64_t>(sizeof(float));
    return scales;
  }
  shape.back() = -1;
  const WeightArgument found = args.Weight(name, shape);
  scales.per_matrix = found.shape.back();
  shape.back() = 1;
  std::vector<int64_t> rows = shape;
  rows.back() = n;
  args.Check(scales.per_matrix == 1 || scales.per_matrix == n, "weight '{}' is {}, expected {} or {}", name,
             ShapeText(found.shape), ShapeText(shape), ShapeText(rows));
  scales.scales = reinterpret_cast<const float*>(found.data.data());
  return scales;
}

PanelTasks::PanelTasks(const PackedMatrix& matrix, int64_t num_rows, int num_threads)
    : num_panels_(matrix.num_panels()), unit_(num_rows == 1 ? 4 : matrix.kernels().tile_panels) {
  // Threads take the same number of equal tasks if they are equally fast; several each even out those that are not. But
  // a task of few rows streams at least 1/4 MiB if there are enough, because each stream is slow to start.
  constexpr int64_t kTaskBytes = 1 << 18;
  const int64_t most = matrix.kernels().tasks_each;
  const int64_t units = (num_panels_ + unit_ - 1) / unit_, share_bytes = matrix.size_bytes() / num_threads;
  const int64_t each = num_rows >= 8 ? most : std::clamp<int64_t>(share_bytes / kTaskBytes, 1, most);
  size_ = std::min(units, each * num_threads);
}

std::pair<int64_t, int64_t> PanelTasks::At(int64_t task) const {
  const int64_t units = (num_panels_ + unit_ - 1) / unit_;
  const int64_t first = units * task / size_ * unit_, end = units * (task + 1) / size_ * unit_;
  return {first, std::min(end, num_panels_) - first};
}

void MultiplyRows(ThreadPool& pool, const PackedMatrix& matrix, const std::byte* input, int64_t num_rows,
                  const Epilogue& epilogue, float* output, int64_t output_row_bytes) {
  const int64_t task_rows = matrix.kernels().rows_at_once, row_tasks = (num_rows + task_rows - 1) / task_rows;
  const PanelTasks tasks(matrix, num_rows, pool.num_threads());
  pool.ParallelFor(tasks.size() * row_tasks, [&](int64_t task, int) {
    // Neighbouring tasks share panels, which then are still in the cache.
    const auto [panel, count] = tasks.At(task / row_tasks);
    const int64_t row = task % row_tasks * task_rows;
    matrix.Multiply(
        input + row * matrix.InputRowBytes(), std::min(task_rows, num_rows - row), panel, count, epilogue.From(row, 0),
        reinterpret_cast<float*>(reinterpret_cast<std::byte*>(output) + row * output_row_bytes), output_row_bytes);
  });
}

namespace {

/// y = activation(sum(x * w) * scales + bias). One row is bound by memory, many rows by the multiply-add units. Inputs
/// and weights of E4M3 are decoded to BF16, exactly, so that products are exact and sums are those of BF16 matrices;
/// those of I8 have exact sums. A weight is then read at a byte each, half of what BF16 takes where memory is the
/// bound; where it is not, E4M3 takes no less than BF16, I8 half.
class Product : public PreparedDispatch {
 public:
  BufferArgument input, output;
  std::optional<BufferArgument> input_scale;  // of inputs of codes
  PackedMatrix matrix;
  Epilogue epilogue;
  int64_t max_units = 0;

  int64_t ScratchBytes() const override { return max_units * matrix.InputRowBytes(); }
  int64_t WeightBytes() const override { return matrix.size_bytes(); }

  void Run(const StepContext& step) const override {
    const int64_t units = step.units(input.space);
    ForRows(step, units, [&](int64_t u) {
      std::byte* prepared = step.scratch + u * matrix.InputRowBytes();
      input_scale ? matrix.PrepareInput(step.At<const uint8_t>(input, u), prepared)
                  : matrix.PrepareInput(step.At<const float>(input, u), prepared);
    });
    Epilogue scaled = epilogue;
    if (input_scale) {
      scaled.input_scale = step.At<const float>(*input_scale, 0);
      scaled.input_scale_row_bytes = input_scale->row_bytes;
    }
    MultiplyRows(*step.pool, matrix, step.scratch, units, scaled, step.At<float>(output, 0), output.row_bytes);
  }
};

/// What all products have: an input, read already, a matrix of one of `dtypes`, an output, maybe a bias. The matrix is
/// left to the caller, who gets its weight.
WeightArgument ReadProduct(ArgumentReader& args, const DispatchArguments& arguments,
                           std::initializer_list<DType> dtypes, Product& product) {
  const WeightArgument weight = args.Weight("weight", {-1, product.input.columns}, Layout::kPanel, dtypes);
  const int64_t n = weight.shape[0];
  product.output = args.Output("output", n);
  args.Check(product.input.space == product.output.space, "input and output count different things");
  product.epilogue.bias = args.OptionalVector("bias", n);
  product.epilogue.relu2 = args.IsRelu2();
  product.max_units = arguments.max_units(product.input.space);
  return weight;
}

}  // namespace

PreparedOr PrepareLinear(const DispatchArguments& arguments) {
  ArgumentReader args("cpu.linear", arguments);
  auto linear = std::make_unique<Product>();
  linear->input = args.Input("input");
  const WeightArgument weight = ReadProduct(args, arguments, {DType::kF32, DType::kBF16}, *linear);
  const bool split_input = args.Bool("split_input");
  RETURN_IF_ERROR(args.Finish());
  linear->matrix = PackedMatrix(weight.dtype, weight.data.data(), weight.shape[0], linear->input.columns, split_input);
  return linear;
}

PreparedOr PrepareScaledMatmul(const DispatchArguments& arguments) {
  ArgumentReader args("cpu.scaled_matmul", arguments);
  auto matmul = std::make_unique<Product>();
  const bool has_input_scale = args.HasInput("input_scale");
  matmul->input = has_input_scale ? args.Input("input", -1, {DType::kF8E4M3, DType::kI8}) : args.Input("input");
  const WeightArgument weight =
      ReadProduct(args, arguments, {has_input_scale ? matmul->input.dtype : DType::kF8E4M3}, *matmul);
  if (has_input_scale) {
    matmul->input_scale = args.Input("input_scale", 1);
    args.Check(matmul->input_scale->space == matmul->input.space, "input and input_scale count different things");
  }
  const WeightScales scales = ReadScales(args, "weight_scale", weight);
  const Epilogue scaled = scales.EpilogueOf(0);
  matmul->epilogue.weight_scale = scaled.weight_scale;
  matmul->epilogue.scale_per_column = scaled.scale_per_column;
  RETURN_IF_ERROR(args.Finish());
  matmul->matrix = PackedMatrix(weight.dtype, weight.data.data(), weight.shape[0], matmul->input.columns,
                                /*split_input=*/false, scales.GroupsOf(0));
  return matmul;
}

}  // namespace nemotron::runtime::cpu
