#ifndef RUNTIME_ENGINE_PREFETCH_H_
#define RUNTIME_ENGINE_PREFETCH_H_

#include <cstdint>
#include <functional>

#include "runtime/base/status.h"
#include "runtime/plan/plan.h"

namespace nemotron::runtime {

/// Reads all of `plan` into memory with a few threads, in huge pages where the file system has them, so that the first
/// step waits neither for the disk nor for page faults. Calls `progress`, which may be empty, on this thread with bytes
/// read and bytes in all; the last call has both equal. kUnavailable if the disk does not give the bytes any more.
Status PrefetchWeights(const Plan& plan, const std::function<void(int64_t done, int64_t total)>& progress);

}  // namespace nemotron::runtime

#endif  // RUNTIME_ENGINE_PREFETCH_H_
