#include "runtime/plan/cost.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "runtime/plan/find.h"

namespace nemotron::runtime {
namespace {

double Product(const flatbuffers::Vector<int64_t>& shape) {
  double product = 1;
  for (const int64_t size : shape) {
    product *= static_cast<double>(size);
  }
  return product;
}

double IntParameter(const schema::Dispatch& dispatch, std::string_view name) {
  const schema::Parameter* parameter = FindParameter(dispatch, name);
  return parameter == nullptr ? 0 : static_cast<double>(parameter->int_value());
}

/// One dispatch with the plan around it.
class DispatchCost {
 public:
  DispatchCost(const schema::Plan& plan, const schema::Dispatch& dispatch, const StepShape& shape)
      : plan_(plan), dispatch_(dispatch), shape_(shape) {}

  StepCost Estimate() const {
    const std::string_view kernel = plan_.program()->kernels()->Get(dispatch_.kernel())->name()->string_view();
    const auto tokens = static_cast<double>(shape_.num_tokens);
    const double units = NumUnits();
    StepCost cost;
    double expert_share = 1;
    if (kernel == "cpu.embedding") {  // reads a row a token
      const schema::Weight* weight = WeightOf("weight");
      cost.weight_bytes =
          weight == nullptr ? 0 : tokens * Bytes(*weight) / static_cast<double>(weight->shape()->Get(0));
      return cost;
    }
    if (kernel == "cpu.linear" || kernel == "cpu.scaled_matmul" || kernel == "cpu.moe_route") {
      const schema::Weight* weight = WeightOf("weight");
      cost.flops = weight == nullptr ? 0 : 2 * Product(*weight->shape()) * units;
    } else if (kernel == "cpu.moe_experts" || kernel == "cpu.scaled_moe_experts") {
      const schema::Weight* up = WeightOf("up");
      const schema::Argument* picks = FindArgument(dispatch_, schema::ArgumentKind::Input, "indices");
      if (up != nullptr && picks != nullptr) {
        const auto num_experts = static_cast<double>(up->shape()->Get(0));
        const double share = std::min(1.0, static_cast<double>(picks->columns()) / num_experts);
        expert_share = 1 - std::pow(1 - share, tokens);
        cost.flops = 2 * 2 * Product(*up->shape()) * share * units;
      }
    } else if (kernel == "cpu.attention") {
      cost.flops =
          4 * IntParameter(dispatch_, "num_heads") * IntParameter(dispatch_, "head_dim") * shape_.mean_context * units;
    } else if (kernel.starts_with("cpu.ssm_scan")) {  // decay, outer product, sum, dot product
      cost.flops = 5 * IntParameter(dispatch_, "num_heads") * IntParameter(dispatch_, "head_dim") *
                   IntParameter(dispatch_, "state_size") * units;
    }
    for (const schema::Argument* argument : *dispatch_.arguments()) {
      if (argument->kind() == schema::ArgumentKind::Weight) {
        cost.weight_bytes += expert_share * Bytes(*plan_.weights()->Get(argument->index()));
      }
    }
    return cost;
  }

 private:
  double NumUnits() const {
    for (const schema::Argument* argument : *dispatch_.arguments()) {
      if (argument->kind() == schema::ArgumentKind::Input) {
        const bool per_row = plan_.program()->buffers()->Get(argument->index())->space() == schema::Space::Row;
        return static_cast<double>(per_row ? shape_.num_rows : shape_.num_tokens);
      }
    }
    return static_cast<double>(shape_.num_tokens);
  }
  const schema::Weight* WeightOf(std::string_view name) const {
    const schema::Argument* argument = FindArgument(dispatch_, schema::ArgumentKind::Weight, name);
    return argument == nullptr ? nullptr : plan_.weights()->Get(argument->index());
  }
  static double Bytes(const schema::Weight& weight) { return static_cast<double>(weight.segment()->size_bytes()); }

  const schema::Plan& plan_;
  const schema::Dispatch& dispatch_;
  const StepShape& shape_;
};

}  // namespace

StepCost EstimateCost(const schema::Plan& plan, const StepShape& shape) {
  StepCost total;
  for (const schema::Dispatch* dispatch : *plan.program()->dispatches()) {
    const StepCost cost = DispatchCost(plan, *dispatch, shape).Estimate();
    total.flops += cost.flops;
    total.weight_bytes += cost.weight_bytes;
  }
  const auto num_sequences = static_cast<double>(shape.num_sequences);
  const auto kv_bytes_per_token = static_cast<double>(plan.kv_bytes_per_token());
  total.state_bytes = 2 * num_sequences * static_cast<double>(plan.slot_bytes());
  total.kv_bytes = (num_sequences * shape.mean_context + static_cast<double>(shape.num_tokens)) * kv_bytes_per_token;
  return total;
}

}  // namespace nemotron::runtime
