#include "tools/ptxsim/ptx/body.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace nemotron::ptxsim {

using runtime::OkStatus;
using runtime::Status;

Status BodyParser::Parse() {
  RETURN_IF_ERROR(reader_.Expect('{'));
  while (true) {
    if (reader_.Accept('{')) {
      scopes_.Open();
    } else if (reader_.Accept('}')) {
      if (!scopes_.Close()) {
        return ResolveLabels();
      }
    } else {
      RETURN_IF_ERROR(ParseStatement());
    }
  }
}

Status BodyParser::ParseStatement() {
  if (reader_.Is(TokenKind::kDotted)) {
    return ParseDirective();
  }
  Instruction instruction;
  instruction.line = reader_.line();
  if (reader_.Accept('@')) {
    RETURN_IF_ERROR(ParseGuard(instruction));
  }
  ASSIGN_OR_RETURN(const std::string_view name, reader_.ExpectIdentifier("a statement or '}'"));
  if (!instruction.guard.has_value() && reader_.Accept(':')) {
    return ParseLabel(name, instruction.line);
  }
  instruction.opcode = name;
  return ParseInstruction(std::move(instruction));
}

Status BodyParser::ParseDirective() {
  constexpr std::pair<std::string_view, Space> kSpaces[] = {
      {".param", Space::kParam}, {".local", Space::kLocal}, {".shared", Space::kShared}};
  if (reader_.Accept(".reg")) {
    return ParseRegisters();
  }
  for (const auto& [name, space] : kSpaces) {
    const uint32_t line = reader_.line();
    if (reader_.Accept(name)) {
      std::vector<Variable> variables;
      RETURN_IF_ERROR(declarations_.ParseVariables(space, /*is_extern=*/false, variables));
      for (Variable& variable : variables) {
        const std::string name = variable.name;
        if (!scopes_.DeclareVariable(std::move(variable))) {
          return ErrorAt(line, "'{}' is declared twice in one block", name);
        }
      }
      return OkStatus();
    }
  }
  if (reader_.Is(".loc") || reader_.Is(".file")) {
    reader_.SkipLine();
    return OkStatus();
  }
  if (reader_.Is(".pragma")) {
    return reader_.SkipPragma();
  }
  return UnsupportedAt(reader_.line(), "directive '{}' in a function is not supported", reader_.token().text);
}

/// `.reg .b32 %r<12>, %a;`
Status BodyParser::ParseRegisters() {
  if (reader_.Is(".v2") || reader_.Is(".v4")) {
    return UnsupportedAt(reader_.line(), "vectors of registers are not supported");
  }
  ASSIGN_OR_RETURN(const Type type, declarations_.ParseType());
  do {
    const uint32_t line = reader_.line();
    ASSIGN_OR_RETURN(const std::string_view name, reader_.ExpectIdentifier("the name of a register"));
    bool is_new = false;
    if (reader_.Accept('<')) {
      ASSIGN_OR_RETURN(const int64_t count, reader_.ExpectSize("a number of registers", UINT32_MAX));
      RETURN_IF_ERROR(reader_.Expect('>'));
      is_new = scopes_.DeclareRegisters(name, static_cast<uint32_t>(count), type);
    } else {
      is_new = scopes_.DeclareRegister(name, type);
    }
    if (!is_new) {
      return ErrorAt(line, "'{}' is declared twice in one block", name);
    }
  } while (reader_.Accept(','));
  return reader_.Expect(';');
}

Status BodyParser::ParseLabel(std::string_view name, uint32_t line) {
  if (reader_.Is(".callprototype") || reader_.Is(".calltargets")) {
    return UnsupportedAt(reader_.line(), "indirect calls ('{}') are not supported", reader_.token().text);
  }
  Scopes::Label label = LabelRef{static_cast<uint32_t>(function_.instructions.size())};
  if (reader_.Accept(".branchtargets")) {
    label = IntImmediate{static_cast<int64_t>(function_.branch_targets.size())};
    RETURN_IF_ERROR(ParseBranchTargets());
  }
  if (!scopes_.DeclareLabel(name, label)) {
    return ErrorAt(line, "label '{}' is declared twice in one block", name);
  }
  return OkStatus();
}

Status BodyParser::ParseBranchTargets() {
  const auto table = static_cast<uint32_t>(function_.branch_targets.size());
  uint32_t count = 0;
  do {
    const uint32_t line = reader_.line();
    ASSIGN_OR_RETURN(const std::string_view name, reader_.ExpectIdentifier("a label"));
    pending_.push_back({name, line, scopes_.current(), table, count++, /*in_table=*/true});
  } while (reader_.Accept(','));
  function_.branch_targets.emplace_back(count);
  return reader_.Expect(';');
}

/// `@%p` or `@!%p`, behind the '@'.
Status BodyParser::ParseGuard(Instruction& instruction) {
  const bool negated = reader_.Accept('!');
  ASSIGN_OR_RETURN(RegisterRef guard, ParseRegister());
  const Register& predicate = function_.registers[guard.index];
  if (predicate.type != Type::kPred) {
    return ErrorAt(instruction.line, "'{}' as a guard, expected a predicate", predicate.name);
  }
  guard.negated = negated;
  instruction.guard = guard;
  return OkStatus();
}

Status BodyParser::ParseInstruction(Instruction instruction) {
  modifiers_.clear();
  while (reader_.Is(TokenKind::kDotted)) {
    modifiers_.push_back(reader_.token().text.substr(1));
    reader_.Next();
  }
  instruction.modifiers.assign(modifiers_.begin(), modifiers_.end());
  operands_.clear();
  if (!reader_.Is(';')) {
    do {
      RETURN_IF_ERROR(ParseOperand(operands_.emplace_back()));
    } while (reader_.Accept(','));
  }
  RETURN_IF_ERROR(reader_.Expect(';'));
  if (instruction.opcode == "call") {
    for (const Operand& operand : operands_) {
      if (std::holds_alternative<RegisterRef>(operand.value)) {
        return UnsupportedAt(instruction.line, "a call through register '{}' is not supported",
                             function_.registers[std::get<RegisterRef>(operand.value).index].name);
      }
    }
  }
  instruction.operands.assign(std::make_move_iterator(operands_.begin()), std::make_move_iterator(operands_.end()));
  function_.instructions.push_back(std::move(instruction));
  return OkStatus();
}

Status BodyParser::ResolveLabels() {
  for (const PendingLabel& use : pending_) {
    const auto label = scopes_.FindLabel(use.name, use.block);
    if (!label.has_value()) {
      return ErrorAt(use.line, "'{}' is not declared", use.name);
    }
    if (!use.in_table) {
      std::visit([&](auto target) { function_.instructions[use.instruction].operands[use.operand].value = target; },
                 *label);
    } else if (const auto* target = std::get_if<LabelRef>(&*label)) {
      function_.branch_targets[use.instruction][use.operand] = target->instruction;
    } else {
      return ErrorAt(use.line, "table '{}' among branch targets, expected a label", use.name);
    }
  }
  return OkStatus();
}

}  // namespace nemotron::ptxsim
