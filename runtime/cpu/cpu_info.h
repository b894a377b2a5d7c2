#ifndef RUNTIME_CPU_CPU_INFO_H_
#define RUNTIME_CPU_CPU_INFO_H_

#include <span>
#include <string_view>

#include "runtime/base/status.h"

namespace nemotron::runtime::cpu {

/// Instruction sets that the matrix kernels know, each a superset of those before it. VNNI multiplies I8;
/// kAvx512Bf16 has VBMI too.
enum class Isa { kPortable, kAvx2, kAvx512, kAvx512Vnni, kAvx512Bf16, kAmx };

/// "portable", "avx2", "avx512", "avx512vnni", "avx512bf16", "amx": of all, in order.
std::span<const std::string_view> IsaNames();
std::string_view IsaName(Isa isa);

bool HasIsa(Isa isa);

/// The fastest that this machine has. On processors of Intel without AMX not kAvx512Bf16: they do a VDPBF16PS in the
/// time of four multiply-adds, which multiply twice as much (Emerald Rapids, 2 cores: 170 against 320 GFLOP/s).
Isa BestIsa();

/// The one in use: the best, or the one that was forced.
Isa CurrentIsa();

/// Makes kernels prepared from now on use `isa`, by name; vector code of all other kernels follows. For tests and
/// comparisons; not thread-safe. kInvalidArgument for an unknown name, kUnimplemented if the machine lacks it.
Status ForceIsa(std::string_view name);
Status ForceIsa(Isa isa);

}  // namespace nemotron::runtime::cpu

#endif  // RUNTIME_CPU_CPU_INFO_H_
