// Routing and experts.
//
// Experts: picks are sorted by expert, the rows of an expert are gathered, and each expert is two matrix products with
// the tile code of `linear`. Every expert that has a token is read once: bound by memory for few tokens, by the
// multiply-add units for many.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "runtime/cpu/kernels/argument_reader.h"
#include "runtime/cpu/kernels/kernels.h"
#include "runtime/cpu/kernels/linear.h"
#include "runtime/cpu/thread_pool.h"

namespace nemotron::runtime::cpu {
namespace {

int64_t RoundUp64(int64_t bytes) { return (bytes + 63) / 64 * 64; }

class MoeRoute : public PreparedDispatch {
 public:
  BufferArgument input, indices, weights;
  PackedMatrix matrix;
  const float* correction_bias = nullptr;
  int64_t num_experts = 1, num_picks = 1, n_group = 1, topk_group = 1, max_tokens = 0;
  bool norm_topk_prob = false;
  float routed_scaling_factor = 1;

  // Per token: scores, choices and the prepared input.
  int64_t TokenBytes() const { return RoundUp64(2 * num_experts * 4) + matrix.InputRowBytes(); }
  int64_t ScratchBytes() const override { return max_tokens * TokenBytes(); }
  int64_t WeightBytes() const override { return matrix.size_bytes(); }

  void Run(const StepContext& step) const override {
    step.pool->ParallelFor(step.num_tokens(), [&](int64_t t, int) {
      std::byte* scratch = step.scratch + t * TokenBytes();
      auto* scores = reinterpret_cast<float*>(scratch);
      std::byte* prepared = scratch + RoundUp64(2 * num_experts * 4);
      matrix.PrepareInput(step.At<const float>(input, t), prepared);
      matrix.Multiply(prepared, 1, 0, matrix.num_panels(), nullptr, false, scores, 0);
      Pick(scores, scores + num_experts, step.At<int32_t>(indices, t), step.At<float>(weights, t));
    });
  }

 private:
  void Pick(float* scores, float* choices, int32_t* picks, float* pick_weights) const {
    for (int64_t e = 0; e < num_experts; ++e) {
      scores[e] = 1.0f / (1.0f + std::exp(-scores[e]));
      choices[e] = scores[e] + correction_bias[e];
    }
    if (n_group > 1) {
      DropGroups(choices);
    }
    // k passes over E choices, k and E are small; a comparison that is false for NaN still leaves valid indices.
    for (int64_t i = 0; i < num_picks; ++i) {
      int64_t best = -1;
      for (int64_t e = 0; e < num_experts; ++e) {
        const bool taken = std::find(picks, picks + i, static_cast<int32_t>(e)) != picks + i;
        if (!taken && (best < 0 || choices[e] > choices[best])) {
          best = e;
        }
      }
      picks[i] = static_cast<int32_t>(best);
    }
    std::sort(picks, picks + num_picks);
    float sum = 0;
    for (int64_t i = 0; i < num_picks; ++i) {
      sum += scores[picks[i]];
    }
    for (int64_t i = 0; i < num_picks; ++i) {
      const float weight = norm_topk_prob ? scores[picks[i]] / (sum + 1e-20f) : scores[picks[i]];
      pick_weights[i] = weight * routed_scaling_factor;
    }
  }

  /// Leaves the choices of the `topk_group` best groups; a group's score is the sum of its two best.
  void DropGroups(float* choices) const {
    const int64_t size = num_experts / n_group;
    const auto score = [&](int64_t group) {
      float first = -std::numeric_limits<float>::infinity(), second = first;
      for (int64_t e = group * size; e < (group + 1) * size; ++e) {
        if (choices[e] > first) {
          second = first;
          first = choices[e];
        } else if (choices[e] > second) {
          second = choices[e];
        }
      }
      return size == 1 ? first : first + second;
    };
    // A group stays if fewer than topk_group groups come before it: a better score, or the same and a lower number.
    constexpr float kDropped = -std::numeric_limits<float>::infinity();
    uint64_t keep[(kMaxGroups + 63) / 64] = {};
    for (int64_t g = 0; g < n_group; ++g) {
      const float mine = score(g);
      int64_t before = 0;
      for (int64_t other = 0; other < n_group; ++other) {
        const float theirs = other == g ? 0 : score(other);
        before += other != g && (theirs > mine || (theirs == mine && other < g));
      }
      if (before < topk_group) {
        keep[g / 64] |= uint64_t{1} << (g % 64);
      }
    }
    for (int64_t e = 0; e < num_experts; ++e) {
      if ((keep[e / size / 64] >> (e / size % 64) & 1) == 0) {
        choices[e] = kDropped;
      }
    }
  }

 public:
  static constexpr int64_t kMaxGroups = 1024;
};

class MoeExperts : public PreparedDispatch {
 public:
  BufferArgument input, indices, weights, output;
  WeightArgument up, down;
  int64_t num_experts = 1, num_picks = 1, width = 1, expert_width = 1, max_tokens = 0;
  int num_threads = 1;
  bool split_input = false;

  int64_t ScratchBytes() const override { return Layout(max_tokens).total; }
  int64_t WeightBytes() const override {
    return num_experts *
           (Matrix(up, 0, expert_width, width).size_bytes() + Matrix(down, 0, width, expert_width).size_bytes());
  }

  void Run(const StepContext& step) const override {
    const int64_t tokens = step.num_tokens(), picks = tokens * num_picks;
    const Regions regions = Layout(tokens);
    std::byte* scratch = step.scratch;
    auto* first = reinterpret_cast<int64_t*>(scratch + regions.first);  // [E + 1] first row of each expert
    auto* rows = reinterpret_cast<int64_t*>(scratch + regions.rows);    // [T * k] row of each pick
    auto* hidden = reinterpret_cast<float*>(scratch + regions.hidden);
    auto* result = reinterpret_cast<float*>(scratch + regions.result);
    SortPicks(step, first, rows);

    const PackedMatrix any_up = Matrix(up, 0, expert_width, width), any_down = Matrix(down, 0, width, expert_width);
    const int64_t up_row = any_up.InputRowBytes(), down_row = any_down.InputRowBytes();
    step.pool->ParallelFor(picks, [&](int64_t pick, int) {
      any_up.PrepareInput(step.At<const float>(input, pick / num_picks),
                          scratch + regions.up_input + rows[pick] * up_row);
    });
    Multiply(step, up, expert_width, width, first, scratch + regions.up_input, /*relu2=*/true, hidden);
    step.pool->ParallelFor(picks, [&](int64_t row, int) {
      any_down.PrepareInput(hidden + row * expert_width, scratch + regions.down_input + row * down_row);
    });
    Multiply(step, down, width, expert_width, first, scratch + regions.down_input, /*relu2=*/false, result);
    step.pool->ParallelFor(tokens, [&](int64_t t, int) {
      const float* pick_weights = step.At<const float>(weights, t);
      float* sum = step.At<float>(output, t);
      for (int64_t i = 0; i < width; ++i) {
        sum[i] = 0;
      }
      for (int64_t pick = 0; pick < num_picks; ++pick) {
        const float* row = result + rows[t * num_picks + pick] * width;
        for (int64_t i = 0; i < width; ++i) {
          sum[i] += pick_weights[pick] * row[i];
        }
      }
    });
  }

 private:
  struct Regions {
    int64_t first, rows, up_input, hidden, down_input, result, total;  // offsets in scratch
  };
  Regions Layout(int64_t tokens) const {
    const int64_t picks = tokens * num_picks;
    Regions regions{};
    int64_t at = 0;
    const auto take = [&](int64_t bytes) {
      const int64_t begin = at;
      at += RoundUp64(bytes);
      return begin;
    };
    regions.first = take((num_experts + 1) * 8);
    regions.rows = take(picks * 8);
    regions.up_input = take(picks * Matrix(up, 0, expert_width, width).InputRowBytes());
    regions.hidden = take(picks * expert_width * 4);
    regions.down_input = take(picks * Matrix(down, 0, width, expert_width).InputRowBytes());
    regions.result = take(picks * width * 4);
    regions.total = at;
    return regions;
  }

  PackedMatrix Matrix(const WeightArgument& weight, int64_t expert, int64_t n, int64_t k) const {
    return PackedMatrix(weight.dtype, weight.data.data() + expert * PanelMatrixBytes(weight.dtype, n, k), n, k,
                        split_input);
  }

  /// The pick, within range whatever the plan says: nothing else ties the buffer of indices to a router of as many
  /// experts.
  int64_t Expert(const StepContext& step, int64_t t, int64_t pick) const {
    return std::clamp<int64_t>(step.At<const int32_t>(indices, t)[pick], 0, num_experts - 1);
  }

  /// Rows of an expert are those of its tokens, in order.
  void SortPicks(const StepContext& step, int64_t* first, int64_t* rows) const {
    std::fill(first, first + num_experts + 1, 0);
    for (int64_t t = 0; t < step.num_tokens(); ++t) {
      for (int64_t pick = 0; pick < num_picks; ++pick) {
        ++first[Expert(step, t, pick) + 1];
      }
    }
    for (int64_t e = 0; e < num_experts; ++e) {
      first[e + 1] += first[e];
    }
    for (int64_t t = 0; t < step.num_tokens(); ++t) {
      for (int64_t pick = 0; pick < num_picks; ++pick) {
        rows[t * num_picks + pick] = first[Expert(step, t, pick)]++;
      }
    }
    for (int64_t e = num_experts; e > 0; --e) {  // each entry moved on to the next expert's first row
      first[e] = first[e - 1];
    }
    first[0] = 0;
  }

  void Multiply(const StepContext& step, const WeightArgument& weight, int64_t n, int64_t k, const int64_t* first,
                const std::byte* inputs, bool relu2, float* outputs) const {
    const PackedMatrix any = Matrix(weight, 0, n, k);
    const int64_t panels = any.num_panels();
    const int64_t mean_rows = std::max<int64_t>(1, step.num_tokens() * num_picks / num_experts);
    const int64_t per_task = PanelsPerTask(panels, any.size_bytes() / panels, mean_rows, num_threads);
    const int64_t tasks = (panels + per_task - 1) / per_task;
    step.pool->ParallelFor(num_experts * tasks, [&](int64_t task, int) {
      const int64_t expert = task / tasks, panel = task % tasks * per_task;
      const int64_t row = first[expert], num_rows = first[expert + 1] - row;
      if (num_rows > 0) {
        Matrix(weight, expert, n, k)
            .Multiply(inputs + row * any.InputRowBytes(), num_rows, panel, std::min(per_task, panels - panel), nullptr,
                      relu2, outputs + row * n, n * static_cast<int64_t>(sizeof(float)));
      }
    });
  }
};

}  // namespace

PreparedOr PrepareMoeRoute(const DispatchArguments& arguments) {
  ArgumentReader args("cpu.moe_route", arguments);
  auto route = std::make_unique<MoeRoute>();
  route->input = args.Input("input");
  const WeightArgument weight = args.Weight("weight", {-1, route->input.columns}, Layout::kPanel);
  route->num_experts = weight.shape[0];
  route->correction_bias = args.Vector("correction_bias", route->num_experts);
  route->num_picks = args.Size("num_experts_per_tok");
  route->indices = args.Output("indices", route->num_picks, DType::kI32);
  route->weights = args.Output("weights", route->num_picks);
  route->n_group = args.Size("n_group");
  route->topk_group = args.Size("topk_group");
  args.Check(route->input.space == Space::kToken && route->indices.space == Space::kToken &&
                 route->weights.space == Space::kToken,
             "inputs and outputs must count tokens");
  args.Check(route->n_group <= MoeRoute::kMaxGroups && route->num_experts % route->n_group == 0,
             "{} experts are not a multiple of {} groups, or those are more than {}", route->num_experts,
             route->n_group, MoeRoute::kMaxGroups);
  args.Check(route->topk_group <= route->n_group, "{} groups are picked of {}", route->topk_group, route->n_group);
  args.Check(route->num_picks <= route->num_experts / route->n_group * route->topk_group,
             "{} experts are picked of {} in {} groups", route->num_picks,
             route->num_experts / route->n_group * route->topk_group, route->topk_group);
  route->norm_topk_prob = args.Bool("norm_topk_prob");
  route->routed_scaling_factor = static_cast<float>(args.Float("routed_scaling_factor"));
  RETURN_IF_ERROR(args.Finish());
  route->matrix = PackedMatrix(weight.dtype, weight.data.data(), route->num_experts, route->input.columns);
  route->max_tokens = arguments.max_tokens;
  return route;
}

PreparedOr PrepareMoeExperts(const DispatchArguments& arguments) {
  ArgumentReader args("cpu.moe_experts", arguments);
  auto moe = std::make_unique<MoeExperts>();
  moe->input = args.Input("input");
  moe->width = moe->input.columns;
  moe->output = args.Output("output", moe->width);
  moe->indices = args.Input("indices", -1, DType::kI32);
  moe->num_picks = moe->indices.columns;
  moe->weights = args.Input("weights", moe->num_picks);
  for (const BufferArgument* buffer : {&moe->input, &moe->output, &moe->indices, &moe->weights}) {
    args.Check(buffer->space == Space::kToken, "inputs and outputs must count tokens");
  }
  moe->up = args.Weight("up", {-1, -1, moe->width}, Layout::kPanel, /*has_bf16=*/true);
  moe->num_experts = moe->up.shape[0];
  moe->expert_width = moe->up.shape[1];
  moe->down = args.Weight("down", {moe->num_experts, moe->width, moe->expert_width}, Layout::kPanel, /*has_bf16=*/true);
  moe->split_input = args.Bool("split_input");
  args.Check(moe->up.dtype == moe->down.dtype, "up is {}, down is {}", DTypeName(moe->up.dtype),
             DTypeName(moe->down.dtype));
  RETURN_IF_ERROR(args.Finish());
  moe->max_tokens = arguments.max_tokens;
  moe->num_threads = arguments.num_threads;
  return moe;
}

}  // namespace nemotron::runtime::cpu
