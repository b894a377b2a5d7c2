#ifndef TOOLS_PTXSIM_PTX_SCOPES_H_
#define TOOLS_PTXSIM_PTX_SCOPES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <variant>
#include <vector>

#include "tools/ptxsim/ptx/module.h"

namespace nemotron::ptxsim {

struct ModuleName {
  bool is_function = false;
  bool is_defined = false;  ///< not only declared
};
/// Variables and functions of a module.
using ModuleNames = std::unordered_map<std::string, ModuleName>;

/// The names a function body can use, block by block. Inner blocks hide names of outer ones, and each declaration is a
/// register, variable or label of its own: inline assembly that is inlined twice declares its names twice.
///
/// `.reg .b32 %r<1000>;` costs nothing: a register enters `Function::registers` when it is first used.
class Scopes {
 public:
  /// What a name stands for in the body; a string is the unique name of a variable, parameter or function.
  using Meaning = std::variant<RegisterRef, std::string_view>;
  using Label = std::variant<LabelRef, IntImmediate>;

  /// Both outlive this.
  Scopes(const ModuleNames& module_names, Function& function);

  void Open();
  /// False if only the body itself is open.
  bool Close();
  uint32_t current() const { return current_; }

  /// These declare in the current block, and return false where it has the name already.
  bool DeclareRegister(std::string_view name, Type type);
  bool DeclareRegisters(std::string_view prefix, uint32_t count, Type type);  ///< prefix0, prefix1, ...
  bool DeclareVariable(Variable variable);
  bool DeclareLabel(std::string_view name, Label label);

  std::optional<Meaning> Find(std::string_view name);
  /// A label that `block` sees; all must have been declared.
  std::optional<Label> FindLabel(std::string_view name, uint32_t block) const;

 private:
  struct RegisterRange {
    std::string_view prefix;
    uint32_t count;
    Type type;

    bool Contains(std::string_view name) const;
  };
  struct Block {
    uint32_t parent;
    std::unordered_map<std::string_view, Meaning> names;
    std::vector<RegisterRange> ranges;
    std::unordered_map<std::string_view, Label> labels;
  };

  Meaning AddRegister(Block& block, std::string_view name, Type type);

  const ModuleNames& module_names_;
  Function& function_;
  std::vector<Block> blocks_;  // the tree, each behind its parent; the first is the body
  uint32_t current_ = 0;
  std::unordered_map<std::string, uint32_t> num_declarations_;  // of variables, to tell them apart
  std::unordered_set<std::string> unique_names_;                // owns the text of `Meaning`
};

}  // namespace nemotron::ptxsim

#endif  // TOOLS_PTXSIM_PTX_SCOPES_H_
