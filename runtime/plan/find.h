#ifndef RUNTIME_PLAN_FIND_H_
#define RUNTIME_PLAN_FIND_H_

#include <string_view>

#include "runtime/plan/plan_generated.h"

namespace nemotron::runtime {

/// The argument of that kind and name; nullptr if the dispatch has none.
inline const schema::Argument* FindArgument(const schema::Dispatch& dispatch, schema::ArgumentKind kind,
                                            std::string_view name) {
  for (const schema::Argument* argument : *dispatch.arguments()) {
    if (argument->kind() == kind && argument->name()->string_view() == name) {
      return argument;
    }
  }
  return nullptr;
}

/// The parameter of that name; nullptr if the dispatch has none.
inline const schema::Parameter* FindParameter(const schema::Dispatch& dispatch, std::string_view name) {
  if (dispatch.parameters() != nullptr) {
    for (const schema::Parameter* parameter : *dispatch.parameters()) {
      if (parameter->name()->string_view() == name) {
        return parameter;
      }
    }
  }
  return nullptr;
}

/// What a kernel does, whatever the target: OP of "TARGET.OP" and of "TARGET.OP.SPECIALIZATION".
inline std::string_view KernelOp(std::string_view kernel) {
  const size_t begin = kernel.find('.') + 1;  // 0 if there is none
  return kernel.substr(begin, kernel.find('.', begin) - begin);
}

}  // namespace nemotron::runtime

#endif  // RUNTIME_PLAN_FIND_H_
