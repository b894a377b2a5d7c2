#ifndef RUNTIME_BASE_FOR_EACH_BLOCK_H_
#define RUNTIME_BASE_FOR_EACH_BLOCK_H_

#include <cstddef>
#include <functional>

#include "runtime/base/status.h"

namespace nemotron::runtime {

/// Calls `work` with 0 to num_blocks - 1, claimed in this order by at most `num_threads` threads, the calling one among
/// them; fewer do as well where the system starts no more. The calling thread calls `after`, which may be empty, after
/// each of its blocks. Returns the first failure, after which no block is begun.
Status ForEachBlock(size_t num_blocks, size_t num_threads, const std::function<Status(size_t)>& work,
                    const std::function<void()>& after);

}  // namespace nemotron::runtime

#endif  // RUNTIME_BASE_FOR_EACH_BLOCK_H_
