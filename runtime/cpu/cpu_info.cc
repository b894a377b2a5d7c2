#include "runtime/cpu/cpu_info.h"

#include <fmt/ranges.h>
#include <hwy/targets.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <array>

namespace nemotron::runtime::cpu {
namespace {

constexpr std::array<std::string_view, 6> kNames = {"portable", "avx2", "avx512", "avx512vnni", "avx512bf16", "amx"};

#if defined(__x86_64__)
/// Whether the processor has tiles with products of BF16 and I8 (leaf 7 of CPUID), and the system lets this process use
/// them, which Linux is to be asked for once (Documentation/arch/x86/xstate.rst).
bool HasTiles() {
  uint32_t eax, ebx, ecx, edx;
  constexpr uint32_t kBf16 = 1u << 22, kTile = 1u << 24, kInt8 = 1u << 25, kAll = kBf16 | kTile | kInt8;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0 || (edx & kAll) != kAll) {
    return false;
  }
#if defined(__linux__)
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}
#endif

Isa current = BestIsa();

}  // namespace

std::span<const std::string_view> IsaNames() { return kNames; }

std::string_view IsaName(Isa isa) { return kNames[static_cast<size_t>(isa)]; }

bool HasIsa(Isa isa) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  switch (isa) {
    case Isa::kPortable:
      break;
    case Isa::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case Isa::kAvx512:
      return HasIsa(Isa::kAvx2) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    case Isa::kAvx512Vnni:
      return HasIsa(Isa::kAvx512) && __builtin_cpu_supports("avx512vnni");
    case Isa::kAvx512Bf16:
      return HasIsa(Isa::kAvx512Vnni) && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vbmi");
    case Isa::kAmx:
      static const bool has_tiles = HasTiles();
      return HasIsa(Isa::kAvx512Bf16) && has_tiles;
  }
#endif
  return isa == Isa::kPortable;
}

Isa BestIsa() {
  Isa best = Isa::kAmx;
#if defined(__x86_64__)
  if (!HasIsa(best) && __builtin_cpu_is("intel")) {
    best = Isa::kAvx512Vnni;
  }
#endif
  while (!HasIsa(best)) {
    best = static_cast<Isa>(static_cast<int>(best) - 1);
  }
  return best;
}

Isa CurrentIsa() { return current; }

Status ForceIsa(Isa isa) {
  if (!HasIsa(isa)) {
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
  return InvalidArgument("unknown instruction set '{}', expected {} or {}", name,
                         fmt::join(std::span(kNames).first(kNames.size() - 1), ", "), kNames.back());
}

}  // namespace nemotron::runtime::cpu
