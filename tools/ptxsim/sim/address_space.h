#ifndef TOOLS_PTXSIM_SIM_ADDRESS_SPACE_H_
#define TOOLS_PTXSIM_SIM_ADDRESS_SPACE_H_

#include <cstdint>

namespace nemotron::ptxsim {

/// Generic addresses have a number in their upper 24 bits and an offset below. The number is that of an allocation of
/// global memory, or of one of three windows. An address in shared space is an offset alone, so that kernels may keep
/// it in 32 bits; addresses in local and parameter space are generic ones.
constexpr int kOffsetBits = 40;
constexpr uint64_t kOffsetMask = (uint64_t{1} << kOffsetBits) - 1;

constexpr uint64_t kSharedNumber = 1, kLocalNumber = 2, kParameterNumber = 3;
constexpr uint64_t kFirstAllocationNumber = 16;

constexpr bool IsGlobal(uint64_t address) { return address >> kOffsetBits >= kFirstAllocationNumber; }

constexpr uint64_t kSharedWindow = kSharedNumber << kOffsetBits;
constexpr uint64_t kLocalWindow = kLocalNumber << kOffsetBits;
constexpr uint64_t kParameterWindow = kParameterNumber << kOffsetBits;

/// Local memory has the depth of its call above these bits, so that a pointer into a frame that has returned is found.
constexpr int kFrameBits = 24;
constexpr uint64_t kFrameMask = (uint64_t{1} << kFrameBits) - 1;
constexpr uint32_t kMaxCallDepth = 1024;

}  // namespace nemotron::ptxsim

#endif  // TOOLS_PTXSIM_SIM_ADDRESS_SPACE_H_
