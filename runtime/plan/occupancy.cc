#include "runtime/plan/occupancy.h"

#include <iterator>
#include <string_view>
#include <utility>

namespace nemotron::runtime {
namespace {

// CUDA C++ Programming Guide, "Compute Capabilities": technical specifications, and shared memory of a multiprocessor.
constexpr MultiprocessorLimits kLimits[] = {
    {.capability = 80, .warps = 64, .blocks = 32, .registers = 64 * 1024, .shared_bytes = 164 * 1024},
    {.capability = 86, .warps = 48, .blocks = 16, .registers = 64 * 1024, .shared_bytes = 100 * 1024},
    {.capability = 89, .warps = 48, .blocks = 24, .registers = 64 * 1024, .shared_bytes = 100 * 1024},
    {.capability = 90, .warps = 64, .blocks = 32, .registers = 64 * 1024, .shared_bytes = 228 * 1024},
    {.capability = 100, .warps = 64, .blocks = 32, .registers = 64 * 1024, .shared_bytes = 228 * 1024},
    {.capability = 120, .warps = 48, .blocks = 24, .registers = 64 * 1024, .shared_bytes = 100 * 1024},
};

// The same for all of them. The rules below give the blocks that cudaOccMaxActiveBlocksPerMultiprocessor gives
// (cuda_occupancy.h of CUDA 13.0, 300000 random launches for each of these capabilities).
constexpr int64_t kWarpThreads = 32;
constexpr int64_t kPartitions = 4;      // a multiprocessor has four, each with a quarter of the registers
constexpr int64_t kRegisterUnit = 256;  // registers that a warp is given at a time
constexpr int64_t kMaxThreadRegisters = 256;
constexpr int64_t kReservedSharedBytes = 1024;  // a block
constexpr int64_t kSharedUnitBytes = 128;

constexpr int64_t RoundUp(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

int64_t BlocksByRegisters(const MultiprocessorLimits& limits, const BlockUse& use, int64_t block_warps) {
  const int64_t warp_registers = RoundUp(std::max<int64_t>(use.registers, 1) * kWarpThreads, kRegisterUnit);
  // A block is checked as if it took registers in all partitions alike.
  if (use.registers > kMaxThreadRegisters || warp_registers * RoundUp(block_warps, kPartitions) > limits.registers) {
    return 0;
  }
  return limits.registers / kPartitions / warp_registers * kPartitions / block_warps;
}

}  // namespace

std::optional<MultiprocessorLimits> FindMultiprocessorLimits(int capability) {
  const auto* const found = std::ranges::find(kLimits, capability, &MultiprocessorLimits::capability);
  return found == std::end(kLimits) ? std::nullopt : std::optional(*found);
}

std::string Occupancy::limited_by() const {
  std::string text;
  for (const auto& [limit, name] : {std::pair<int64_t, std::string_view>{by_registers, "registers"},
                                    {by_shared_memory, "shared memory"},
                                    {by_threads, "threads"},
                                    {by_blocks, "blocks"}}) {
    if (limit == blocks()) {
      text += text.empty() ? "" : ", ";
      text += name;
    }
  }
  return text;
}

Occupancy ComputeOccupancy(const MultiprocessorLimits& limits, const BlockUse& use) {
  const int64_t block_warps = RoundUp(use.threads, kWarpThreads) / kWarpThreads;
  return {.by_registers = BlocksByRegisters(limits, use, block_warps),
          .by_shared_memory = limits.shared_bytes / RoundUp(use.shared_bytes + kReservedSharedBytes, kSharedUnitBytes),
          .by_threads = limits.warps / block_warps,
          .by_blocks = limits.blocks,
          .block_warps = block_warps,
          .max_warps = limits.warps};
}

}  // namespace nemotron::runtime
