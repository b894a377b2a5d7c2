#ifndef RUNTIME_CPU_CPU_INFO_H_
#define RUNTIME_CPU_CPU_INFO_H_

#include <string_view>

#include "runtime/base/status.h"

namespace nemotron::runtime::cpu {

/// Instruction sets that the matrix kernels know, each a superset of those before it.
enum class Isa { kPortable = 0, kAvx2 = 1, kAvx512 = 2, kAvx512Bf16 = 3 };

/// "portable", "avx2", "avx512", "avx512bf16".
std::string_view IsaName(Isa isa);

/// The best that this machine has.
Isa BestIsa();

/// The one in use: the best, or the one that was forced.
Isa CurrentIsa();

/// Makes kernels prepared from now on use `isa`, by name; vector code of all other kernels follows. For tests and
/// comparisons; not thread-safe. kInvalidArgument for an unknown name, kUnimplemented if the machine lacks it.
Status ForceIsa(std::string_view name);
Status ForceIsa(Isa isa);

}  // namespace nemotron::runtime::cpu

#endif  // RUNTIME_CPU_CPU_INFO_H_
