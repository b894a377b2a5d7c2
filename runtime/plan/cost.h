#ifndef RUNTIME_PLAN_COST_H_
#define RUNTIME_PLAN_COST_H_

#include <cstdint>

#include "runtime/plan/plan_generated.h"

namespace nemotron::runtime {

/// The shape of a step, as far as its cost depends on it.
struct StepShape {
  int64_t num_tokens = 1;     ///< T
  int64_t num_rows = 1;       ///< R
  int64_t num_sequences = 1;  ///< S
  double mean_context = 0;    ///< positions that a token attends to, on average
};

/// What a step, or one dispatch of it, must at least compute and move.
struct StepCost {
  double flops = 0;             ///< multiplications and additions of matrices, attention and scan
  double weight_bytes = 0;      ///< each weight once; of experts, those that T random picks are expected to touch
  double state_bytes = 0;       ///< constant-size state, once a sequence
  double kv_bytes = 0;          ///< keys and values read once a sequence, and those of the step written
  double activation_bytes = 0;  ///< inputs and outputs, each once; caches may hold them

  /// What comes from memory if activations stay in caches.
  double bytes() const { return weight_bytes + state_bytes + kv_bytes; }
  /// All that the dispatches read and write, from wherever.
  double bytes_touched() const { return bytes() + activation_bytes; }

  StepCost& operator+=(const StepCost& other) {
    flops += other.flops;
    weight_bytes += other.weight_bytes;
    state_bytes += other.state_bytes;
    kv_bytes += other.kv_bytes;
    activation_bytes += other.activation_bytes;
    return *this;
  }
};

/// Estimates the cost of one dispatch of `plan`, which has been validated. Kernels that are not known cost their
/// arguments.
StepCost EstimateCost(const schema::Plan& plan, const schema::Dispatch& dispatch, const StepShape& shape);

/// Estimates the cost of a step: the sum over its dispatches.
StepCost EstimateCost(const schema::Plan& plan, const StepShape& shape);

/// The type that the products of a dispatch are made in, F32, BF16 or I8: which of the machine's peaks is its limit.
schema::DType ProductType(const schema::Plan& plan, const schema::Dispatch& dispatch);

}  // namespace nemotron::runtime

#endif  // RUNTIME_PLAN_COST_H_
