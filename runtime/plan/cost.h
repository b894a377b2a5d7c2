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

/// What a step must at least compute and move; activations are taken to stay in caches.
struct StepCost {
  double flops = 0;         ///< multiplications and additions of matrices, attention and scan
  double weight_bytes = 0;  ///< each weight once; of experts, those that T random picks are expected to touch
  double state_bytes = 0;   ///< constant-size state, read and written once a sequence
  double kv_bytes = 0;      ///< keys and values read once a sequence, and those of the step written
  double bytes() const { return weight_bytes + state_bytes + kv_bytes; }
};

/// Estimates the cost of a step from the dispatches of `plan`, which has been validated. Kernels that are not known
/// cost their weights.
StepCost EstimateCost(const schema::Plan& plan, const StepShape& shape);

}  // namespace nemotron::runtime

#endif  // RUNTIME_PLAN_COST_H_
