#ifndef RUNTIME_ENGINE_PREFETCH_H_
#define RUNTIME_ENGINE_PREFETCH_H_

#include <cstdint>
#include <functional>

#include "runtime/plan/plan.h"

namespace nemotron::runtime {

/// Reads all weights of `plan` into the page cache, in the order of the file, so that the first step does not wait for
/// the disk. Calls `progress` with bytes touched and bytes in all, at least once.
void PrefetchWeights(const Plan& plan, const std::function<void(int64_t done, int64_t total)>& progress);

}  // namespace nemotron::runtime

#endif  // RUNTIME_ENGINE_PREFETCH_H_
