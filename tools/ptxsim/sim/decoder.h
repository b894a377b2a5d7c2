#ifndef TOOLS_PTXSIM_SIM_DECODER_H_
#define TOOLS_PTXSIM_SIM_DECODER_H_

#include <initializer_list>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/status.h"
#include "tools/ptxsim/sim/format.h"
#include "tools/ptxsim/sim/function.h"
#include "tools/ptxsim/sim/register_allocation.h"

namespace nemotron::ptxsim {

/// Decodes the instructions of one function, one after another. A family of instructions reads modifiers and operands
/// through it and emits ops:
///
///   void DecodeNot(Decoder& d) {
///     const Format format = d.TakeFormat();
///     d.Emit(NotHandler(format), {d.Result(0, format)}, {d.Source(1, format)});
///   }
///
/// The first failure sticks, and later calls return something harmless, so that families need not check each step. What
/// a family has not taken of modifiers and operands at its end fails the instruction: nothing is ever ignored. A null
/// handler fails too, so that tables may have holes.
class Decoder {
 public:
  Decoder(const DecodeContext& context, size_t function_index);

  runtime::StatusOr<std::unique_ptr<DecodedFunction>> Run() &&;

  const Instruction& instruction() const { return *instruction_; }
  const GpuModel& gpu() const { return *context_.gpu; }

  /// Takes a modifier if the instruction has it.
  bool Take(std::string_view modifier);
  /// Takes any of these that are there; for modifiers that only hint.
  void TakeHints(std::initializer_list<std::string_view> modifiers);
  /// Takes each modifier that begins so ("L2::").
  void TakePrefixed(std::string_view prefix);
  /// Takes the first of `names` that is there and returns its index; -1: none.
  int TakeOneOf(std::initializer_list<std::string_view> names);
  /// Takes the first remaining modifier that names a format; fails if there is none.
  Format TakeFormat();
  std::optional<Format> TakeOptionalFormat();
  /// The last modifier that names a format, not taken.
  Format LastFormat() const;

  size_t num_operands() const { return instruction_->operands.size(); }
  const Operand& operand(size_t index);

  /// Row of an operand that is written or read as `format`. `_` gives a scratch row.
  uint32_t Result(size_t index, Format format) { return Result(operand(index), format); }
  uint32_t Source(size_t index, Format format) { return Source(operand(index), format); }
  uint32_t Result(const Operand& operand, Format format);
  uint32_t Source(const Operand& operand, Format format);
  /// The same for registers that may be wider than `format`: of st and cvt (section 9.4.1), which read the low bits.
  uint32_t WideSource(const Operand& operand, Format format);

  /// A predicate that an instruction reads, and whether it is negated.
  struct PredicateSource {
    uint32_t row;
    bool negated;
  };
  PredicateSource Predicate(const Operand& operand);

  /// Elements of a vector or `p|q`; one element if the operand is not a list.
  std::vector<const Operand*> Elements(size_t index);

  /// A memory operand: row of the base and constant offset. Symbols, also without brackets, give constant rows.
  struct AddressSource {
    uint32_t row = 0;
    bool is_32bit = false;
    int64_t offset = 0;
  };
  AddressSource Address(size_t index);

  /// An immediate that must be known when decoding.
  int64_t Constant(size_t index);
  bool IsConstant(size_t index);

  uint32_t ConstantRow(uint64_t bits, int slot_bytes);
  uint32_t ScratchRow(int slot_bytes);
  uint32_t ScratchPredicate() { return ScratchRow(0); }
  int SlotBytes(const Operand& operand) const;  ///< of a register; 0 for all else

  const Symbol* FindSymbol(const std::string& name) const;
  const DecodeContext& context() const { return context_; }
  const Function& function() const { return function_; }

  /// Emits an op for this instruction, under its guard. The op may be changed until the next call of `Emit`.
  Op& Emit(Handler handler, std::initializer_list<uint32_t> results, std::initializer_list<uint32_t> sources) {
    return Emit(handler, std::span(results.begin(), results.size()), std::span(sources.begin(), sources.size()));
  }
  Op& Emit(Handler handler, std::span<const uint32_t> results, std::span<const uint32_t> sources);
  /// How the instructions of this call of the family are counted; by default as integer.
  void CountAs(InstructionClass counted_as) { counted_as_ = counted_as; }
  /// The emitted op branches to an instruction (in its `target`), and perhaps to the tables of brx.
  void BranchesTo(uint32_t instruction);
  void BranchesToTable(uint32_t table);
  uint32_t AddCall(CallSite call);

  /// Fails the instruction: kUnimplemented "line N: 'text': reason".
  void Fail(std::string_view reason);
  /// Fails if the GPU is older than the architecture, e.g. 90.
  void Requires(int architecture, std::string_view what);
  bool failed() const { return !status_.ok(); }

 private:
  struct BranchFix {
    size_t op;
    uint32_t instruction;
  };

  void DecodeInstruction();
  uint32_t RegisterRow(const RegisterRef& reg, Format format, bool exact);
  uint32_t SymbolRow(const SymbolRef& symbol, int slot_bytes);
  std::unique_ptr<DecodedFunction> Finish();

  const DecodeContext& context_;
  const Function& function_;
  const FrameLayout& layout_;
  const Instruction* instruction_ = nullptr;
  std::vector<bool> taken_;
  std::vector<bool> operand_used_;
  InstructionClass counted_as_ = InstructionClass::kInteger;
  runtime::Status status_;

  std::unique_ptr<DecodedFunction> decoded_;
  std::vector<DraftOp> drafts_;
  std::vector<int> register_bytes_;  // of virtual registers, scratch rows behind those of PTX
  std::vector<uint32_t> first_op_;   // of each instruction
  std::map<std::pair<uint64_t, int>, uint32_t> constant_rows_;
  size_t constant_bytes_ = 0;
};

/// An opcode and the family that decodes it, for those of its instructions whose last format is of the class.
struct OpcodeEntry {
  std::string_view opcode;
  std::optional<FormatClass> format_class;  ///< nothing: all
  void (*decode)(Decoder&);
};

std::span<const OpcodeEntry> AsyncOpcodes();
std::span<const OpcodeEntry> AtomicOpcodes();
std::span<const OpcodeEntry> BarrierOpcodes();
std::span<const OpcodeEntry> BitsOpcodes();
std::span<const OpcodeEntry> CompareSelectOpcodes();
std::span<const OpcodeEntry> ControlOpcodes();
std::span<const OpcodeEntry> ConvertOpcodes();
std::span<const OpcodeEntry> FloatOpcodes();
std::span<const OpcodeEntry> HalfOpcodes();
std::span<const OpcodeEntry> IntegerOpcodes();
std::span<const OpcodeEntry> MemoryOpcodes();
std::span<const OpcodeEntry> MovOpcodes();
std::span<const OpcodeEntry> SharedMatrixOpcodes();
std::span<const OpcodeEntry> SpecialFunctionOpcodes();
std::span<const OpcodeEntry> TensorOpcodes();
std::span<const OpcodeEntry> WarpOpcodes();

/// The op that reads a special register; its row has 4 or 8 bytes. Null: there is no such register.
Handler SpecialRegisterHandler(std::string_view name, int* slot_bytes);
/// The op that reads where dynamic shared memory begins, which is known at launch.
Handler DynamicSharedHandler(int slot_bytes);
/// The op that adds the depth of the call to the address of a local variable, its immediate; 64 bits.
Handler LocalAddressHandler();
/// The op that takes the low half of a 64-bit row.
Handler LowHalfHandler();

}  // namespace nemotron::ptxsim

#endif  // TOOLS_PTXSIM_SIM_DECODER_H_
