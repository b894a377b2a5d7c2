#ifndef RUNTIME_PLAN_MACHINE_CODE_H_
#define RUNTIME_PLAN_MACHINE_CODE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>

#include "runtime/base/status.h"

namespace nemotron::runtime {

/// What an instruction of an NVIDIA GPU is for.
enum class InstructionKind : uint8_t {
  kTensor,    ///< products on tensor cores
  kFloating,  ///< arithmetic, comparison and conversion of floating-point numbers
  kInteger,   ///< integers, bits, predicates, selects and moves: addresses, counters, unpacking
  kMemory,    ///< loads, stores, copies, atomics, and exchange between the lanes of a warp
  kControl,   ///< branches, barriers, fences, what waits
  kOther,     ///< an opcode that we do not know
};

struct InstructionCounts {
  std::array<int64_t, 6> by_kind = {};

  void Add(InstructionKind kind) { ++by_kind[static_cast<size_t>(kind)]; }
  int64_t operator[](InstructionKind kind) const { return by_kind[static_cast<size_t>(kind)]; }
  int64_t total() const { return std::accumulate(by_kind.begin(), by_kind.end(), int64_t{0}); }
  /// 0 to 1; of no instructions 0.
  double share(InstructionKind kind) const {
    return total() == 0 ? 0.0 : static_cast<double>((*this)[kind]) / static_cast<double>(total());
  }
};

/// Instructions of a function, as they stand in its code: one in a loop counts once, whatever predicate guards it.
///
/// The main loop is where a matrix product spends its time. A loop is the range from an instruction to a branch that
/// goes back to it and is reached from it; a block moved out of that range, as compilers do with rare cases, is not
/// part of it. The main loop is the one that is the innermost around most tensor-core instructions: neither the loop
/// around it, nor that over its remainder, nor a rare case within. How much of its arithmetic is not the product itself
/// is `main_loop.share(kFloating)`: floating-point and conversion instructions over all instructions of the loop.
/// Integer instructions are counted apart, because most compute addresses; where a GPU lacks a conversion (of FP8
/// before 8.9), they do that too.
struct CodeSummary {
  InstructionCounts all;
  InstructionCounts main_loop;  ///< all 0: no loop has tensor-core instructions, as where it was unrolled
  int64_t local_loads = 0;      ///< LDL
  int64_t local_stores = 0;     ///< STL
};

/// Counts the instructions of a function for compute capability `capability` (90 is 9.0), in time linear in its size.
/// Errors: kUnimplemented for a capability whose encoding is not known, kDataLoss if `code` is not whole instructions.
StatusOr<CodeSummary> SummarizeCode(std::span<const std::byte> code, int capability);

}  // namespace nemotron::runtime

#endif  // RUNTIME_PLAN_MACHINE_CODE_H_
