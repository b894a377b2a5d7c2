//===- Target.cpp - registry of targets ---------------------------------------------------------------------------===//
#include "dialects/Plan/IR/Target.h"

#include <map>
#include <string>

using namespace mlir;

namespace nemotron::plan {

Target::~Target() = default;

FailureOr<KernelSpec> Target::specialize(DispatchOp dispatch) const {
  return dispatch.emitOpError() << "cannot be specialised: kernels of target " << getName() << " are fixed";
}

static std::map<std::string, std::unique_ptr<Target>, std::less<>> &registry() {
  static std::map<std::string, std::unique_ptr<Target>, std::less<>> targets;
  return targets;
}

void TargetRegistry::add(std::unique_ptr<Target> target) {
  std::string name = target->getName().str();
  registry()[name] = std::move(target);
}

const Target *TargetRegistry::lookup(StringRef name) {
  auto it = registry().find(std::string_view(name));
  return it == registry().end() ? nullptr : it->second.get();
}

FailureOr<const Target *> TargetRegistry::targetOf(ModuleOp module) {
  auto name = module->getAttrOfType<StringAttr>("plan.target");
  if (const Target *target = name ? lookup(name.getValue()) : nullptr) {
    return target;
  }
  return module.emitError() << "has no known target in plan.target, expected convert-nemotron-to-plan to have run";
}

SmallVector<StringRef> TargetRegistry::names() {
  SmallVector<StringRef> names;
  for (const auto &[name, target] : registry()) {
    names.push_back(name);
  }
  return names;
}

} // namespace nemotron::plan
