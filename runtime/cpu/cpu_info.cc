#include "runtime/cpu/cpu_info.h"

#include <hwy/targets.h>

#include <array>

namespace nemotron::runtime::cpu {
namespace {

constexpr std::array<std::string_view, 4> kNames = {"portable", "avx2", "avx512", "avx512bf16"};

Isa current = BestIsa();

}  // namespace

std::string_view IsaName(Isa isa) { return kNames[static_cast<size_t>(isa)]; }

Isa BestIsa() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  // All processors with the BF16 instructions have VNNI; a virtual machine might hide it.
  if (avx512 && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni")) {
    return Isa::kAvx512Bf16;
  }
  return avx512 ? Isa::kAvx512 : avx2 ? Isa::kAvx2 : Isa::kPortable;
#else
  return Isa::kPortable;
#endif
}

Isa CurrentIsa() { return current; }

Status ForceIsa(Isa isa) {
  if (isa > BestIsa()) {
    return Unimplemented("this machine has no {}, the best it has is {}", IsaName(isa), IsaName(BestIsa()));
  }
  current = isa;
#if defined(__x86_64__)
  const uint32_t avx3 = HWY_AVX3 | HWY_AVX3_DL;
  hwy::SetSupportedTargetsForTest(0);  // back to what the machine has
  if (isa < BestIsa() || isa == Isa::kPortable) {
    const int64_t all = hwy::SupportedTargets();
    const int64_t dropped = isa == Isa::kPortable ? (avx3 | HWY_AVX2) : isa == Isa::kAvx2 ? avx3 : 0;
    hwy::SetSupportedTargetsForTest(all & ~static_cast<int64_t>(dropped));
  }
#endif
  return OkStatus();
}

Status ForceIsa(std::string_view name) {
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) {
      return ForceIsa(static_cast<Isa>(i));
    }
  }
  return InvalidArgument("unknown instruction set '{}', expected portable, avx2, avx512 or avx512bf16", name);
}

}  // namespace nemotron::runtime::cpu
