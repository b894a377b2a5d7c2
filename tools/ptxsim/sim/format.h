#ifndef TOOLS_PTXSIM_SIM_FORMAT_H_
#define TOOLS_PTXSIM_SIM_FORMAT_H_

#include <cstdint>
#include <optional>
#include <string_view>

#include "tools/ptxsim/ptx/module.h"

namespace nemotron::ptxsim {

/// What the last parts of an instruction's name can say of a value: the types of registers and the formats that exist
/// only inside of instructions. PTX ISA 9.0, sections 5.2.1 to 5.2.4.
enum class Format : uint8_t {
  kNone,
  kPred,
  kB8,
  kB16,
  kB32,
  kB64,
  kB128,
  kU8,
  kU16,
  kU32,
  kU64,
  kS8,
  kS16,
  kS32,
  kS64,
  kF16,
  kF16x2,
  kBf16,
  kBf16x2,
  kF32,
  kF64,
  kTf32,
  kE4m3,
  kE5m2,
  kE4m3x2,
  kE5m2x2,
};

/// Families of formats that share an opcode but not a decoder: `add` is three instructions.
enum class FormatClass : uint8_t { kInteger, kFloat, kHalf, kPred, kOther };

/// The format a modifier names; nothing if it names none.
std::optional<Format> ParseFormat(std::string_view modifier);

FormatClass ClassOf(Format format);

/// Bytes of a value in memory; of a predicate 0.
int BytesOf(Format format);

/// Bytes of the register that holds the format: at least 4, for narrow values lie in slots of 32 bits.
inline int SlotBytesOf(Format format) { return BytesOf(format) < 4 ? 4 : BytesOf(format); }
int SlotBytesOf(Type type);

bool IsSigned(Format format);

}  // namespace nemotron::ptxsim

#endif  // TOOLS_PTXSIM_SIM_FORMAT_H_
