// Any text is a module or an error with a line, and all indices of a module lie within it.

#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <variant>

#include "tools/ptxsim/ptx/parser.h"

namespace {

using namespace nemotron::ptxsim;

void Check(bool condition) {
  if (!condition) {
    std::abort();
  }
}

void CheckOperand(const Function& function, const Operand& operand) {
  if (const auto* reference = std::get_if<RegisterRef>(&operand.value)) {
    Check(reference->index < function.registers.size());
  } else if (const auto* label = std::get_if<LabelRef>(&operand.value)) {
    Check(label->instruction <= function.instructions.size());
  } else if (const auto* symbol = std::get_if<SymbolRef>(&operand.value)) {
    Check(!symbol->name.empty());
  } else if (const auto* address = std::get_if<Address>(&operand.value)) {
    if (const auto* base = std::get_if<RegisterRef>(&address->base)) {
      Check(base->index < function.registers.size());
    }
  } else if (const auto* list = std::get_if<OperandList>(&operand.value)) {
    for (const Operand& element : list->elements) {
      CheckOperand(function, element);
    }
  }
}

void CheckVariable(const Variable& variable) {
  Check(variable.size_bytes > 0 || variable.is_extern);
  Check(variable.align_bytes > 0);
  Check(variable.initializer.empty() || static_cast<int64_t>(variable.initializer.size()) == variable.size_bytes);
}

void CheckFunction(const Function& function) {
  for (const Instruction& instruction : function.instructions) {
    Check(!instruction.opcode.empty() && instruction.line > 0);
    Check(!instruction.guard.has_value() || instruction.guard->index < function.registers.size());
    for (const Operand& operand : instruction.operands) {
      CheckOperand(function, operand);
    }
  }
  for (const auto& table : function.branch_targets) {
    for (const uint32_t target : table) {
      Check(target <= function.instructions.size());
    }
  }
  for (const Variable& variable : function.variables) {
    CheckVariable(variable);
  }
  for (const Parameter& parameter : function.parameters) {
    Check(parameter.offset_bytes % parameter.align_bytes == 0);
    Check(parameter.offset_bytes + parameter.size_bytes <= function.parameter_bytes);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto module = ParsePtx(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!module.ok()) {
    Check(module.status().message().starts_with("line "));
    return 0;
  }
  for (const Variable& variable : module->variables) {
    CheckVariable(variable);
  }
  for (const Function& function : module->functions) {
    CheckFunction(function);
    Check(module->Find(function.name) != nullptr);
  }
  return 0;
}
