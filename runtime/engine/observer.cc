#include "runtime/engine/observer.h"

namespace nemotron::runtime {

DispatchInfo DescribeDispatch(const Plan& plan, uint32_t index) {
  const schema::Plan& root = plan.root();
  const schema::Dispatch& dispatch = *root.program()->dispatches()->Get(index);
  DispatchInfo info;
  info.index = index;
  info.kernel = root.program()->kernels()->Get(dispatch.kernel())->name()->string_view();
  info.layer = dispatch.layer();
  for (const schema::Argument* argument : *dispatch.arguments()) {
    const std::string_view role = argument->name()->string_view();
    if (argument->kind() == schema::ArgumentKind::Weight) {
      info.weights.emplace(role, root.weights()->Get(argument->index())->name()->string_view());
    } else if (argument->kind() == schema::ArgumentKind::State) {
      info.states.emplace(role, root.states()->Get(argument->index())->name()->string_view());
    }
  }
  return info;
}

}  // namespace nemotron::runtime
