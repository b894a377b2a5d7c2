#include "tools/ptxsim/ptx/scopes.h"

#include <charconv>
#include <utility>

namespace nemotron::ptxsim {

Scopes::Scopes(const ModuleNames& module_names, Function& function)
    : module_names_(module_names), function_(function), blocks_(1) {
  for (const auto* parameters : {&function.parameters, &function.results}) {
    for (const Parameter& parameter : *parameters) {
      const std::string& name = *unique_names_.insert(parameter.name).first;
      blocks_[0].names.emplace(name, name);
      num_declarations_[name] = 1;
    }
  }
}

void Scopes::Open() {
  blocks_.emplace_back().parent = current_;
  current_ = static_cast<uint32_t>(blocks_.size() - 1);
}

bool Scopes::Close() {
  if (current_ == 0) {
    return false;
  }
  current_ = blocks_[current_].parent;
  return true;
}

/// "%r12" is in "%r<13>", "%r012" and "%r13" are not.
bool Scopes::RegisterRange::Contains(std::string_view name) const {
  if (name.size() <= prefix.size() || !name.starts_with(prefix)) {
    return false;
  }
  const std::string_view digits = name.substr(prefix.size());
  uint32_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return error == std::errc() && end == digits.data() + digits.size() && number < count &&
         (digits.size() == 1 || digits[0] != '0');
}

Scopes::Meaning Scopes::AddRegister(Block& block, std::string_view name, Type type) {
  const RegisterRef reference{static_cast<uint32_t>(function_.registers.size())};
  function_.registers.push_back({std::string(name), type});
  block.names.emplace(name, reference);
  return reference;
}

bool Scopes::DeclareRegister(std::string_view name, Type type) {
  Block& block = blocks_[current_];
  for (const RegisterRange& range : block.ranges) {
    if (range.Contains(name)) {
      return false;
    }
  }
  if (block.names.contains(name)) {
    return false;
  }
  AddRegister(block, name, type);
  return true;
}

bool Scopes::DeclareRegisters(std::string_view prefix, uint32_t count, Type type) {
  Block& block = blocks_[current_];
  const RegisterRange range{prefix, count, type};
  for (const RegisterRange& other : block.ranges) {
    if (other.prefix == prefix) {
      return false;
    }
  }
  for (const auto& [name, meaning] : block.names) {
    if (range.Contains(name)) {
      return false;
    }
  }
  block.ranges.push_back(range);
  return true;
}

bool Scopes::DeclareVariable(Variable variable) {
  Block& block = blocks_[current_];
  uint32_t& count = num_declarations_.try_emplace(variable.name, module_names_.contains(variable.name)).first->second;
  const std::string& declared = *unique_names_.insert(variable.name).first;
  if (count > 0) {
    variable.name += "." + std::to_string(count);
  }
  const std::string& unique = *unique_names_.insert(variable.name).first;
  if (!block.names.emplace(declared, unique).second) {
    return false;
  }
  ++count;
  function_.variables.push_back(std::move(variable));
  return true;
}

bool Scopes::DeclareLabel(std::string_view name, Label label) {
  return blocks_[current_].labels.emplace(name, label).second;
}

std::optional<Scopes::Meaning> Scopes::Find(std::string_view name) {
  for (uint32_t index = current_;; index = blocks_[index].parent) {
    Block& block = blocks_[index];
    if (const auto found = block.names.find(name); found != block.names.end()) {
      return found->second;
    }
    for (const RegisterRange& range : block.ranges) {
      if (range.Contains(name)) {
        return AddRegister(block, name, range.type);
      }
    }
    if (index == 0) {
      break;
    }
  }
  if (const auto found = module_names_.find(std::string(name)); found != module_names_.end()) {
    return std::string_view(found->first);
  }
  return std::nullopt;
}

std::optional<Scopes::Label> Scopes::FindLabel(std::string_view name, uint32_t block) const {
  for (uint32_t index = block;; index = blocks_[index].parent) {
    if (const auto found = blocks_[index].labels.find(name); found != blocks_[index].labels.end()) {
      return found->second;
    }
    if (index == 0) {
      return std::nullopt;
    }
  }
}

}  // namespace nemotron::ptxsim
