#ifndef TOOLS_PTXSIM_PTX_BODY_H_
#define TOOLS_PTXSIM_PTX_BODY_H_

#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/base/status.h"
#include "tools/ptxsim/ptx/declarations.h"
#include "tools/ptxsim/ptx/module.h"
#include "tools/ptxsim/ptx/scopes.h"
#include "tools/ptxsim/ptx/token_reader.h"

namespace nemotron::ptxsim {

/// The body of a function, from its `{` to its `}` (ISA, sections 4.3 and 6). One pass; labels, which may stand behind
/// their use, are filled in at the end.
class BodyParser {
 public:
  /// All outlive this; the function has its parameters.
  BodyParser(TokenReader& reader, DeclarationParser& declarations, const ModuleNames& module_names, Function& function)
      : reader_(reader), declarations_(declarations), function_(function), scopes_(module_names, function) {}

  runtime::Status Parse();

 private:
  /// A name that is no register, variable or function: a label, if there is one.
  struct PendingLabel {
    std::string_view name;
    uint32_t line;
    uint32_t block;        // of `scopes_`
    uint32_t instruction;  // whose operand it is, or the table it stands in
    uint32_t operand;
    bool in_table = false;
  };

  runtime::Status ParseStatement();
  runtime::Status ParseDirective();
  runtime::Status ParseRegisters();
  runtime::Status ParseLabel(std::string_view name, uint32_t line);
  runtime::Status ParseBranchTargets();
  runtime::Status ParseGuard(Instruction& instruction);
  /// Behind the opcode.
  runtime::Status ParseInstruction(Instruction instruction);

  runtime::Status ParseOperand(Operand& operand);
  /// What fits in a list: a register, a number, a name.
  runtime::Status ParseScalar(Operand& operand, bool may_be_label);
  runtime::Status ParseNumber(Operand& operand);
  runtime::Status ParseName(Operand& operand, bool may_be_label);
  runtime::Status ParseSpecialRegister(std::string_view name, uint32_t line, Operand& operand);
  runtime::Status ParseList(char end, Operand& operand);
  runtime::Status ParsePair(Operand& operand);
  runtime::Status ParseAddress(Operand& operand);
  runtime::StatusOr<RegisterRef> ParseRegister();

  runtime::Status ResolveLabels();

  TokenReader& reader_;
  DeclarationParser& declarations_;
  Function& function_;
  Scopes scopes_;
  std::vector<PendingLabel> pending_;
  // Of the instruction at hand, kept for their memory.
  std::vector<std::string_view> modifiers_;
  std::vector<Operand> operands_;
};

}  // namespace nemotron::ptxsim

#endif  // TOOLS_PTXSIM_PTX_BODY_H_
