// Routing of tokens to experts. Small: a matrix of E rows and a pick of the largest.
#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/cpu/kernels/argument_reader.h"
#include "runtime/cpu/kernels/kernels.h"
#include "runtime/cpu/kernels/linear.h"
#include "runtime/cpu/thread_pool.h"

namespace nemotron::runtime::cpu {
namespace {

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
      matrix.Multiply(prepared, 1, 0, matrix.num_panels(), {}, scores, 0);
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

}  // namespace

PreparedOr PrepareMoeRoute(const DispatchArguments& arguments) {
  ArgumentReader args("cpu.moe_route", arguments);
  auto route = std::make_unique<MoeRoute>();
  route->input = args.Input("input");
  const WeightArgument weight = args.Weight("weight", {-1, route->input.columns}, Layout::kPanel);
  route->num_experts = weight.shape[0];
  route->correction_bias = args.Vector("correction_bias", route->num_experts);
  route->num_picks = args.Size("num_experts_per_tok");
  route->indices = args.Output("indices", route->num_picks, {DType::kI32});
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

}  // namespace nemotron::runtime::cpu
