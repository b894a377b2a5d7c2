#include "runtime/plan/cost.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "runtime/base/dtype.h"
#include "runtime/plan/find.h"
#include "runtime/plan/layout.h"

namespace nemotron::runtime {
namespace {

using schema::ArgumentKind;

double Product(const flatbuffers::Vector<int64_t>& shape) {
  double product = 1;
  for (const int64_t size : shape) {
    product *= static_cast<double>(size);
  }
  return product;
}

double ElementBytes(schema::DType dtype) { return static_cast<double>(SizeOf(static_cast<DType>(dtype))); }

bool IsExperts(std::string_view op) { return op == "moe_experts" || op == "scaled_moe_experts"; }

/// One dispatch with the plan around it. All that is known of what kernels compute and move is here.
class DispatchCost {
 public:
  DispatchCost(const schema::Plan& plan, const schema::Dispatch& dispatch, const StepShape& shape)
      : plan_(plan), dispatch_(dispatch), shape_(shape) {}

  StepCost Estimate() const {
    StepCost cost;
    cost.flops = Flops();
    for (const schema::Argument* argument : *dispatch_.arguments()) {
      switch (argument->kind()) {
        case ArgumentKind::Weight:
          cost.weight_bytes += WeightBytes(*plan_.weights()->Get(argument->index()));
          break;
        case ArgumentKind::State:
          AddState(*plan_.states()->Get(argument->index()), cost);
          break;
        default:
          cost.activation_bytes += ActivationBytes(*argument);
      }
    }
    return cost;
  }

  std::string_view op() const {
    return KernelOp(plan_.program()->kernels()->Get(dispatch_.kernel())->name()->string_view());
  }
  const schema::Weight* WeightOf(std::string_view name) const {
    const schema::Argument* argument = FindArgument(dispatch_, ArgumentKind::Weight, name);
    return argument == nullptr ? nullptr : plan_.weights()->Get(argument->index());
  }
  const schema::State* StateOf(std::string_view name) const {
    const schema::Argument* argument = FindArgument(dispatch_, ArgumentKind::State, name);
    return argument == nullptr ? nullptr : plan_.states()->Get(argument->index());
  }

 private:
  double Flops() const {
    if (op() == "linear" || op() == "scaled_matmul" || op() == "moe_route") {
      const schema::Weight* weight = WeightOf("weight");
      return weight == nullptr ? 0 : 2 * Product(*weight->shape()) * InputUnits();
    }
    if (IsExperts(op())) {
      const schema::Weight* up = WeightOf("up");
      return up == nullptr ? 0 : 2 * 2 * Product(*up->shape()) * PickedShare(*up) * InputUnits();
    }
    if (op() == "attention") {
      return 4 * Parameter("num_heads") * Parameter("head_dim") * shape_.mean_context * InputUnits();
    }
    if (op().starts_with("ssm_scan")) {  // products of the state with c, and of b with x
      return 4 * Parameter("num_heads") * Parameter("head_dim") * Parameter("state_size") * InputUnits();
    }
    return 0;
  }

  double WeightBytes(const schema::Weight& weight) const {
    const auto bytes = static_cast<double>(weight.segment()->size_bytes());
    if (op() == "embedding") {  // a row a token
      return static_cast<double>(shape_.num_tokens) * bytes / static_cast<double>(weight.shape()->Get(0));
    }
    const schema::Weight* up = IsExperts(op()) ? WeightOf("up") : nullptr;
    const double touched =
        up == nullptr ? 1 : 1 - std::pow(1 - PickedShare(*up), static_cast<double>(shape_.num_tokens));
    return touched * bytes;
  }

  /// Convolution and scan keep their state in caches for the tokens of a step.
  void AddState(const schema::State& state, StepCost& cost) const {
    const auto sequences = static_cast<double>(shape_.num_sequences);
    const double bytes = Product(*state.shape()) * ElementBytes(state.dtype());
    if (state.kind() == schema::StateKind::KvCache) {
      const auto head_dim = static_cast<double>(state.shape()->Get(2));
      const double padded_bytes = bytes / head_dim * static_cast<double>(KvCacheHeadDim(state.shape()->Get(2)));
      cost.kv_bytes += (sequences * shape_.mean_context + static_cast<double>(shape_.num_tokens)) * padded_bytes;
    } else if (state.kind() == schema::StateKind::Conv) {
      cost.state_bytes += 2 * sequences * bytes;
    } else {  // the scan reads its state and writes it once a chunk, of whose inputs half are there on average
      const double chunks = std::min(1.0, static_cast<double>(shape_.num_tokens) / sequences / kScanChunk);
      cost.state_bytes += sequences * bytes * (state.kind() == schema::StateKind::Ssm ? 1 + chunks : (1 - chunks) / 2);
    }
  }

  double ActivationBytes(const schema::Argument& argument) const {
    const schema::Buffer& buffer = *plan_.program()->buffers()->Get(argument.index());
    const double units = op() == "select_rows" ? static_cast<double>(shape_.num_rows) : Units(buffer);
    return units * static_cast<double>(argument.columns()) * ElementBytes(buffer.dtype());
  }

  double Units(const schema::Buffer& buffer) const {
    return static_cast<double>(buffer.space() == schema::Space::Row ? shape_.num_rows : shape_.num_tokens);
  }
  double InputUnits() const {
    for (const schema::Argument* argument : *dispatch_.arguments()) {
      if (argument->kind() == ArgumentKind::Input) {
        return Units(*plan_.program()->buffers()->Get(argument->index()));
      }
    }
    return static_cast<double>(shape_.num_tokens);
  }
  /// Share of the experts that a token goes to.
  double PickedShare(const schema::Weight& up) const {
    const schema::Argument* picks = FindArgument(dispatch_, ArgumentKind::Input, "indices");
    return picks == nullptr
               ? 0
               : std::min(1.0, static_cast<double>(picks->columns()) / static_cast<double>(up.shape()->Get(0)));
  }
  double Parameter(std::string_view name) const {
    const schema::Parameter* parameter = FindParameter(dispatch_, name);
    return parameter == nullptr ? 0 : static_cast<double>(parameter->int_value());
  }

  const schema::Plan& plan_;
  const schema::Dispatch& dispatch_;
  StepShape shape_;
};

}  // namespace

StepCost EstimateCost(const schema::Plan& plan, const schema::Dispatch& dispatch, const StepShape& shape) {
  return DispatchCost(plan, dispatch, shape).Estimate();
}

StepCost EstimateCost(const schema::Plan& plan, const StepShape& shape) {
  StepCost total;
  for (const schema::Dispatch* dispatch : *plan.program()->dispatches()) {
    total += EstimateCost(plan, *dispatch, shape);
  }
  return total;
}

schema::DType ProductType(const schema::Plan& plan, const schema::Dispatch& dispatch) {
  const DispatchCost cost(plan, dispatch, {});
  const schema::Weight* weight = cost.WeightOf(IsExperts(cost.op()) ? "up" : "weight");
  const schema::State* cache = cost.StateOf("cache");
  const bool has_matrix = weight != nullptr && weight->layout() != schema::Layout::RowMajor;
  const schema::DType dtype = cache != nullptr ? cache->dtype() : has_matrix ? weight->dtype() : schema::DType::F32;
  return dtype == schema::DType::F8E4M3 ? schema::DType::BF16 : dtype;
}

}  // namespace nemotron::runtime
