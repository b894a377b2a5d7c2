#ifndef RUNTIME_PLAN_OCCUPANCY_H_
#define RUNTIME_PLAN_OCCUPANCY_H_

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>

namespace nemotron::runtime {

/// What a streaming multiprocessor (SM) has for the blocks that are resident on it.
struct MultiprocessorLimits {
  int capability;  ///< compute capability: 90 for 9.0
  int64_t warps;   ///< of 32 threads
  int64_t blocks;
  int64_t registers;     ///< of 32 bits
  int64_t shared_bytes;  ///< of shared memory, with what each block reserves
};

/// The limits of a compute capability; nothing for one that we do not know.
std::optional<MultiprocessorLimits> FindMultiprocessorLimits(int capability);

/// What a launch takes.
struct BlockUse {
  int64_t threads = 0;       ///< a block, at least 1
  int64_t registers = 0;     ///< a thread
  int64_t shared_bytes = 0;  ///< a block: static and dynamic, without the KiB that the system reserves
};

/// How many blocks of a launch may be resident on a multiprocessor at once, by each limit alone.
struct Occupancy {
  int64_t by_registers = 0, by_shared_memory = 0, by_threads = 0, by_blocks = 0;
  int64_t block_warps = 0;
  int64_t max_warps = 0;  ///< of the multiprocessor

  int64_t blocks() const { return std::min({by_registers, by_shared_memory, by_threads, by_blocks}); }
  int64_t warps() const { return blocks() * block_warps; }
  /// Resident warps over those that the multiprocessor can hold, 0 to 1.
  double share() const { return static_cast<double>(warps()) / static_cast<double>(max_warps); }
  /// The limits that allow no more than `blocks()`: "registers", "registers, shared memory".
  std::string limited_by() const;
};

/// The theoretical occupancy: that of a grid with blocks enough, where all memory that L1 and shared memory have in
/// common may be shared memory. 0 blocks: it cannot run. Barriers are left out: kernels with more than one could have
/// fewer blocks.
Occupancy ComputeOccupancy(const MultiprocessorLimits& limits, const BlockUse& use);

}  // namespace nemotron::runtime

#endif  // RUNTIME_PLAN_OCCUPANCY_H_
