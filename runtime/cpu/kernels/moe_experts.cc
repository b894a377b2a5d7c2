// Experts: picks are sorted by expert, the rows of an expert are gathered, and each expert is two matrix products with
// the tile code of `linear`. Every expert that has a token is read once: bound by memory for few tokens, by the
// multiply-add units for many.
#include <algorithm>

#include "runtime/cpu/kernels/argument_reader.h"
#include "runtime/cpu/kernels/kernels.h"
#include "runtime/cpu/kernels/linear.h"
#include "runtime/cpu/kernels/quantize.h"
#include "runtime/cpu/thread_pool.h"

namespace nemotron::runtime::cpu {
namespace {

/// A stack of matrices [E, n, k], a matrix an expert, and how the inputs and outputs of each are scaled.
struct ExpertMatrices {
  WeightArgument weight;
  int64_t n = 1, k = 1;
  bool split_input = false;
  bool quantize_input = false;         // to the dtype of the weight
  const float* input_scale = nullptr;  // [E], of quantized inputs; nullptr: each row has its own
  std::optional<WeightScales> scales;  // none: F32 or BF16 matrices

  PackedMatrix Of(int64_t expert) const {
    return PackedMatrix(weight.dtype, weight.data.data() + expert * PanelMatrixBytes(weight.dtype, n, k), n, k,
                        split_input, scales ? scales->GroupsOf(expert) : GroupScales());
  }
  /// `row_scales`: of the rows of the expert, if they are quantized.
  Epilogue EpilogueOf(int64_t expert, bool relu2, const float* row_scales) const {
    Epilogue epilogue = scales ? scales->EpilogueOf(expert) : Epilogue();
    epilogue.input_scale = quantize_input ? row_scales : nullptr;
    epilogue.input_scale_row_bytes = sizeof(float);
    epilogue.relu2 = relu2;
    return epilogue;
  }
  /// Readies a row [k] for the matrix of `expert`; `codes` is room for k bytes.
  void PrepareInput(int64_t expert, const float* row, uint8_t* codes, std::byte* prepared, float* row_scale) const {
    if (!quantize_input) {
      return Of(expert).PrepareInput(row, prepared);
    }
    *row_scale = QuantizeRow(row, k, input_scale != nullptr ? std::optional(input_scale[expert]) : std::nullopt,
                             weight.dtype, codes);
    Of(expert).PrepareInput(codes, prepared);
  }
};

class MoeExperts : public PreparedDispatch {
 public:
  BufferArgument input, indices, weights, output;
  ExpertMatrices up, down;
  int64_t num_experts = 1, num_picks = 1, max_tokens = 0;
  int num_threads = 1;

  int64_t ScratchBytes() const override { return Layout(max_tokens).total; }
  int64_t WeightBytes() const override { return num_experts * (up.Of(0).size_bytes() + down.Of(0).size_bytes()); }

  void Run(const StepContext& step) const override {
    const int64_t tokens = step.num_tokens(), width = down.n;
    const Regions regions = Layout(tokens);
    auto* first = reinterpret_cast<int64_t*>(step.scratch + regions.first);
    auto* rows = reinterpret_cast<int64_t*>(step.scratch + regions.rows);
    auto* hidden = reinterpret_cast<float*>(step.scratch + regions.hidden);
    auto* result = reinterpret_cast<float*>(step.scratch + regions.result);
    SortPicks(step, first, rows);
    Multiply(step, up, regions, /*relu2=*/true, hidden,
             [&](int64_t pick) { return step.At<const float>(input, pick / num_picks); });
    if (step.expert_hidden != nullptr) {
      ShowHidden(step, first, hidden);
    }
    Multiply(step, down, regions, /*relu2=*/false, result, [&](int64_t pick) { return hidden + rows[pick] * down.k; });
    step.pool->ParallelFor(tokens, [&](int64_t t, int) {
      const float* pick_weights = step.At<const float>(weights, t);
      float* sum = step.At<float>(output, t);
      std::fill_n(sum, width, 0.0f);
      for (int64_t pick = 0; pick < num_picks; ++pick) {
        const float* row = result + rows[t * num_picks + pick] * width;
        for (int64_t i = 0; i < width; ++i) {
          sum[i] += pick_weights[pick] * row[i];
        }
      }
    });
  }

 private:
  /// Offsets in scratch.
  struct Regions {
    int64_t first;       // [E + 1] first row of each expert
    int64_t rows;        // [T * k] row of each pick
    int64_t row_scales;  // [T * k] of a row of the product at hand
    int64_t codes;       // a row of codes a thread
    int64_t inputs;      // [T * k] prepared rows of the product at hand
    int64_t hidden;      // [T * k, F]
    int64_t result;      // [T * k, K]
    int64_t total;
  };
  Regions Layout(int64_t tokens) const {
    const int64_t picks = tokens * num_picks;
    int64_t at = 0;
    const auto take = [&at](int64_t bytes) {
      const int64_t offset = at;
      at += RoundUp64(bytes);
      return offset;
    };
    Regions regions;
    regions.first = take((num_experts + 1) * 8);
    regions.rows = take(picks * 8);
    regions.row_scales = take(up.quantize_input ? picks * 4 : 0);
    regions.codes = take(up.quantize_input ? num_threads * CodesBytes() : 0);
    regions.inputs = take(picks * std::max(up.Of(0).InputRowBytes(), down.Of(0).InputRowBytes()));
    regions.hidden = take(picks * up.n * 4);
    regions.result = take(picks * down.n * 4);
    regions.total = at;
    return regions;
  }
  int64_t CodesBytes() const { return RoundUp64(std::max(up.k, down.k)); }

  /// The expert of a pick, within range whatever the plan says: nothing else ties the buffer of indices to a router of
  /// as many experts.
  int64_t Expert(const StepContext& step, int64_t pick) const {
    const int32_t index = step.At<const int32_t>(indices, pick / num_picks)[pick % num_picks];
    return std::clamp<int64_t>(index, 0, num_experts - 1);
  }

  /// Rows of an expert are those of its tokens, in order.
  void SortPicks(const StepContext& step, int64_t* first, int64_t* rows) const {
    const int64_t picks = step.num_tokens() * num_picks;
    std::fill(first, first + num_experts + 1, 0);
    for (int64_t pick = 0; pick < picks; ++pick) {
      ++first[Expert(step, pick) + 1];
    }
    for (int64_t e = 0; e < num_experts; ++e) {
      first[e + 1] += first[e];
    }
    for (int64_t pick = 0; pick < picks; ++pick) {
      rows[pick] = first[Expert(step, pick)]++;
    }
    for (int64_t e = num_experts; e > 0; --e) {  // each entry moved on to the next expert's first row
      first[e] = first[e - 1];
    }
    first[0] = 0;
  }

  /// The product of every row, whose input is source(pick), with the matrix of its expert.
  template <typename Source>
  void Multiply(const StepContext& step, const ExpertMatrices& matrices, const Regions& regions, bool relu2,
                float* outputs, const Source& source) const {
    const auto* first = reinterpret_cast<const int64_t*>(step.scratch + regions.first);
    const auto* rows = reinterpret_cast<const int64_t*>(step.scratch + regions.rows);
    auto* row_scales = reinterpret_cast<float*>(step.scratch + regions.row_scales);
    std::byte* inputs = step.scratch + regions.inputs;
    const PackedMatrix any = matrices.Of(0);
    const int64_t input_bytes = any.InputRowBytes(), picks = step.num_tokens() * num_picks;
    step.pool->ParallelFor(picks, [&](int64_t pick, int thread) {
      auto* codes = reinterpret_cast<uint8_t*>(step.scratch + regions.codes + thread * CodesBytes());
      const int64_t row = rows[pick];
      matrices.PrepareInput(Expert(step, pick), source(pick), codes, inputs + row * input_bytes, row_scales + row);
    });
    const PanelTasks tasks(any, std::max<int64_t>(1, picks / num_experts), num_threads);
    step.pool->ParallelFor(num_experts * tasks.size(), [&](int64_t task, int) {
      const int64_t expert = task / tasks.size();
      const auto [panel, count] = tasks.At(task % tasks.size());
      const int64_t row = first[expert], num_rows = first[expert + 1] - row;
      if (num_rows > 0) {
        matrices.Of(expert).Multiply(inputs + row * input_bytes, num_rows, panel, count,
                                     matrices.EpilogueOf(expert, relu2, row_scales + row), outputs + row * matrices.n,
                                     matrices.n * static_cast<int64_t>(sizeof(float)));
      }
    });
  }

  void ShowHidden(const StepContext& step, const int64_t* first, const float* hidden) const {
    for (int64_t expert = 0; expert < num_experts; ++expert) {
      for (int64_t row = first[expert]; row < first[expert + 1]; ++row) {
        (*step.expert_hidden)(expert, std::span(hidden + row * up.n, static_cast<size_t>(up.n)));
      }
    }
  }
};

/// Buffers and matrices, which both kernels have.
std::unique_ptr<MoeExperts> ReadExperts(ArgumentReader& args, const DispatchArguments& arguments,
                                        std::initializer_list<DType> dtypes) {
  auto moe = std::make_unique<MoeExperts>();
  moe->input = args.Input("input");
  const int64_t width = moe->input.columns;
  moe->output = args.Output("output", width);
  moe->indices = args.Input("indices", -1, {DType::kI32});
  moe->num_picks = moe->indices.columns;
  moe->weights = args.Input("weights", moe->num_picks);
  for (const BufferArgument* buffer : {&moe->input, &moe->output, &moe->indices, &moe->weights}) {
    args.Check(buffer->space == Space::kToken, "inputs and outputs must count tokens");
  }
  moe->up.weight = args.Weight("up", {-1, -1, width}, Layout::kPanel, dtypes);
  moe->num_experts = moe->up.weight.shape[0];
  const int64_t expert_width = moe->up.weight.shape[1];
  moe->down.weight = args.Weight("down", {moe->num_experts, width, expert_width}, Layout::kPanel, dtypes);
  args.Check(moe->up.weight.dtype == moe->down.weight.dtype, "up is {}, down is {}", DTypeName(moe->up.weight.dtype),
             DTypeName(moe->down.weight.dtype));
  moe->up.n = moe->down.k = expert_width;
  moe->up.k = moe->down.n = width;
  moe->max_tokens = arguments.max_tokens;
  moe->num_threads = arguments.num_threads;
  return moe;
}

void ReadScales(ArgumentReader& args, std::string_view name, int64_t num_experts, ExpertMatrices& matrices) {
  matrices.scales = ReadScales(args, fmt::format("{}_scale", name), matrices.weight);
  if (matrices.quantize_input) {
    matrices.input_scale = args.OptionalVector(fmt::format("{}_input_scale", name), num_experts);
  }
}

}  // namespace

PreparedOr PrepareMoeExperts(const DispatchArguments& arguments) {
  ArgumentReader args("cpu.moe_experts", arguments);
  auto moe = ReadExperts(args, arguments, {DType::kF32, DType::kBF16});
  moe->up.split_input = moe->down.split_input = args.Bool("split_input");
  RETURN_IF_ERROR(args.Finish());
  return moe;
}

PreparedOr PrepareScaledMoeExperts(const DispatchArguments& arguments) {
  ArgumentReader args("cpu.scaled_moe_experts", arguments);
  auto moe = ReadExperts(args, arguments, {DType::kF8E4M3, DType::kI8});
  const std::string activations = args.String("activations");
  const bool is_i8 = moe->up.weight.dtype == DType::kI8;
  args.Check(activations == (is_i8 ? "i8" : "e4m3") || (activations == "bf16" && !is_i8),
             "activations is '{}' with matrices of {}, expected {}", activations, DTypeName(moe->up.weight.dtype),
             is_i8 ? "i8" : "e4m3 or bf16");
  moe->up.quantize_input = moe->down.quantize_input = activations != "bf16";
  ReadScales(args, "up", moe->num_experts, moe->up);
  ReadScales(args, "down", moe->num_experts, moe->down);
  RETURN_IF_ERROR(args.Finish());
  return moe;
}

}  // namespace nemotron::runtime::cpu
