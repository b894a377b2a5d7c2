#ifndef TOOLS_PTXSIM_PTX_MODULE_H_
#define TOOLS_PTXSIM_PTX_MODULE_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

/// A PTX module as text structure: what the parser makes and the simulator decodes. Syntax only: which instructions and
/// modifiers exist is known to the decoder (sim/), which names the line of one that it lacks.
/// Source of all of it: "Parallel Thread Execution ISA", version 9.0, sections 4 (syntax), 5 (state spaces, types) and
/// 11 (directives).
namespace nemotron::ptxsim {

enum class Space : uint8_t { kNone, kParam, kGlobal, kShared, kLocal, kConst };

/// Fundamental types, section 5.2.1. Packed and alternate formats (bf16x2, e4m3x2, ...) appear only as modifiers of
/// instructions and stay text there.
enum class Type : uint8_t {
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
  kF32,
  kF64
};

/// Bytes of a value; of a predicate 0.
int SizeOf(Type type);

/// A register of a function: index into `Function::registers`.
struct RegisterRef {
  uint32_t index;
  bool negated = false;  ///< `!%p1`, as operand of instructions that take it
};

/// A special register, e.g. "%tid.x", "%laneid", "%clock64".
struct SpecialRef {
  std::string name;
};

/// An integer literal as 64 bits, two's complement.
struct IntImmediate {
  int64_t value;
};

/// A floating-point literal: `0f3F800000`, `0d...` or decimal. `bits` of an f32 literal are those of the float.
struct FloatImmediate {
  bool is_double;
  uint64_t bits;
};

/// The address of a variable of the module or function (`mov.u64 %rd1, name`), of a parameter, or a function. The
/// parser has looked it up: what is left is the name in this module, where those of the function come first.
struct SymbolRef {
  std::string name;
};

/// A label, as index of the instruction behind it: `instructions.size()` if there is none. The table of a `brx.idx` is
/// no label but an IntImmediate, its index in `Function::branch_targets`.
struct LabelRef {
  uint32_t instruction;
};

/// `_`, a result that is not wanted.
struct Discard {};

/// `[base + offset]`; the base is a register, a symbol (variable, parameter), or absent for `[16]`.
struct Address {
  std::variant<std::monostate, RegisterRef, SymbolRef> base;
  int64_t offset = 0;
};

struct Operand;
/// `{a, b, ...}`, an argument list `(a, b)` of a call, or `p|q` with two elements.
struct OperandList {
  std::vector<Operand> elements;
};

struct Operand {
  std::variant<Discard, RegisterRef, SpecialRef, IntImmediate, FloatImmediate, SymbolRef, LabelRef, Address,
               OperandList>
      value;
};

/// `@!%p ld.global.nc.v4.u32 {...}, [%rd1+16];` has guard %p negated, opcode "ld", modifiers "global", "nc", "v4",
/// "u32" and two operands. A modifier keeps its own colons ("L2::128B").
struct Instruction {
  std::optional<RegisterRef> guard;
  std::string opcode;
  std::vector<std::string> modifiers;
  std::vector<Operand> operands;
  uint32_t line;  ///< of the PTX text, from 1
};

struct Register {
  std::string name;  ///< with its '%'
  Type type;
};

/// A variable of global, const or shared space, or a local array or call parameter of a function.
struct Variable {
  /// Where a function declares a name again, in another block, the later ones get ".1", ".2", ... behind it.
  std::string name;
  Space space;
  Type type;
  int64_t align_bytes;
  int64_t size_bytes;                ///< 0: `extern .shared name[]`, dynamic shared memory
  std::vector<uint8_t> initializer;  ///< empty: zeros in global and const space, undefined elsewhere
  bool is_extern = false;
};

/// A parameter of an entry or function.
struct Parameter {
  std::string name;
  Type type;
  int64_t align_bytes;
  int64_t size_bytes;
  int64_t offset_bytes;  ///< in the parameter buffer of an entry, by natural alignment in order
};

struct Function {
  std::string name;
  bool is_entry = false;
  std::vector<Parameter> parameters;
  std::vector<Parameter> results;   ///< of `.func (...)`
  std::vector<Register> registers;  ///< those that occur, each of a block of its own, so that names may repeat
  std::vector<Variable> variables;  ///< .local, .shared and, for calls, .param declared in the body
  std::vector<Instruction> instructions;
  std::vector<std::vector<uint32_t>> branch_targets;  ///< tables of `.branchtargets`, instruction indices
  int64_t parameter_bytes = 0;
  std::array<uint32_t, 3> max_threads = {0, 0, 0};       ///< .maxntid; 0: not given
  std::array<uint32_t, 3> required_threads = {0, 0, 0};  ///< .reqntid; 0: not given
  uint32_t min_blocks_per_sm = 0;                        ///< .minnctapersm
  uint32_t line;
};

struct Module {
  std::string version;  ///< e.g. "9.0"
  std::string target;   ///< e.g. "sm_90a"
  int address_size = 64;
  std::vector<Variable> variables;
  std::vector<Function> functions;  ///< those with a body; one that is only declared is not here

  const Function* Find(const std::string& name) const;
};

}  // namespace nemotron::ptxsim

#endif  // TOOLS_PTXSIM_PTX_MODULE_H_
