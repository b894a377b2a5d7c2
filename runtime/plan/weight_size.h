#ifndef RUNTIME_PLAN_WEIGHT_SIZE_H_
#define RUNTIME_PLAN_WEIGHT_SIZE_H_

#include <cstdint>
#include <span>

#include "runtime/base/dtype.h"
#include "runtime/base/status.h"
#include "runtime/plan/plan_generated.h"

namespace nemotron::runtime {

/// Product of `shape`, each dimension at least 1. kInvalidArgument for other dimensions, more than 8 of them, or a
/// product above 2^62.
StatusOr<int64_t> NumElements(std::span<const int64_t> shape);

/// Bytes of a weight of logical `shape` in a segment: padding of the layout included, that of the file not. Panel takes
/// [N, K] or [E, N, K] in F32, BF16, F8E4M3 or I8. kInvalidArgument says what does not fit.
StatusOr<int64_t> WeightBytes(DType dtype, schema::Layout layout, std::span<const int64_t> shape);

}  // namespace nemotron::runtime

#endif  // RUNTIME_PLAN_WEIGHT_SIZE_H_
