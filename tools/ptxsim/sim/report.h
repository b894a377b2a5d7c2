#ifndef TOOLS_PTXSIM_SIM_REPORT_H_
#define TOOLS_PTXSIM_SIM_REPORT_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace nemotron::ptxsim {

/// Classes of instructions that are counted.
enum class InstructionClass : uint8_t {
  kMemory,  ///< ld, st, atom, red, cp.async, ldmatrix, stmatrix, prefetch
  kFloat,   ///< arithmetic of f32, f16, bf16 and their packed forms
  kDouble,
  kInteger,  ///< arithmetic, logic, shifts, selections, moves, comparisons of all types
  kSpecial,  ///< the special function unit: rcp, sqrt, rsqrt, ex2, lg2, sin, cos, tanh
  kConversion,
  kTensor,   ///< mma
  kControl,  ///< bra, call, ret, exit, barriers, fences, shuffles, votes, waits
  kCount,
};

/// What a launch did. Instructions are counted once a warp; bytes once a lane that is active.
struct Counters {
  std::array<uint64_t, static_cast<size_t>(InstructionClass::kCount)> instructions = {};
  uint64_t tensor_multiply_adds = 0;  ///< of all mma

  uint64_t global_load_bytes = 0, global_store_bytes = 0;  ///< asked for by active lanes, atomics as both
  /// 32-byte sectors that the requests of warps touch, each sector once a request, and the fewest that the distinct
  /// bytes of a request could lie in.
  uint64_t global_load_sectors = 0, global_load_ideal_sectors = 0;
  uint64_t global_store_sectors = 0, global_store_ideal_sectors = 0;
  /// Distinct sectors that the whole launch reads and writes: what DRAM moves, if a cache keeps all else.
  uint64_t distinct_load_sectors = 0, distinct_store_sectors = 0;

  /// Passes over the 32 banks of 4 bytes that requests take, 8- and 16-byte accesses by half and quarter warps, and the
  /// fewest that their distinct bytes could take.
  uint64_t shared_wavefronts = 0, shared_ideal_wavefronts = 0;

  Counters& operator+=(const Counters& other);
};

enum class FindingKind : uint8_t {
  kOutOfBounds,
  kMisaligned,
  kUninitialized,     ///< a read of memory nobody has written
  kRace,              ///< two threads, one of them writing, nothing that orders them
  kDivergentBarrier,  ///< bar.sync, or an op that names lanes, without all of them
  kAsyncHazard,       ///< use of bytes that a cp.async has not been waited for
  kTrap,              ///< trap, an assertion, or an endless loop by the step limit
};

/// Something no correct kernel does. Found for the first thread, and then not again for the same kernel, line and kind.
struct Finding {
  FindingKind kind;
  std::string kernel;
  uint32_t line = 0;  ///< of the PTX
  std::array<uint32_t, 3> block = {}, thread = {};
  std::string message;  ///< what, where, found, expected: "reads 4 bytes at 4096 of an allocation of 4096 bytes"

  /// "out of bounds: kernel 'k', line 12, block (0,0,0), thread (3,0,0): MESSAGE"
  std::string ToString() const;
};

struct LaunchReport {
  Counters counters;
  std::vector<Finding> findings;
};

}  // namespace nemotron::ptxsim

#endif  // TOOLS_PTXSIM_SIM_REPORT_H_
