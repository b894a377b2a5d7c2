//===- PlanRetypeBuffers.cpp - buffers in the type that is multiplied ---------------------------------------------===//
#include "passes/PlanPasses.h"

#include "dialects/Plan/IR/Target.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace nemotron::passes {

#define GEN_PASS_DEF_PLANRETYPEBUFFERSPASS
#include "passes/PlanPasses.h.inc"

namespace {

/// The name of the argument of `dispatch` that `use` is, and whether it is an input.
std::pair<StringRef, bool> argumentOf(plan::DispatchOp dispatch, OpOperand &use) {
  const unsigned index = use.getOperandNumber(), numInputs = dispatch.getInputs().size();
  const bool isInput = index < numInputs;
  ArrayAttr names = isInput ? dispatch.getInputNames() : dispatch.getOutputNames();
  return {cast<StringAttr>(names[isInput ? index : index - numInputs]).getValue(), isInput};
}

struct PlanRetypeBuffersPass : public impl::PlanRetypeBuffersPassBase<PlanRetypeBuffersPass> {
  using Base::Base;

  void runOnOperation() override {
    FailureOr<const plan::Target *> target = plan::TargetRegistry::targetOf(getOperation());
    if (failed(target)) {
      return signalPassFailure();
    }
    for (auto program : getOperation().getOps<plan::ProgramOp>()) {
      for (auto buffer : program.getBody().getOps<plan::BufferOp>()) {
        SmallVector<Value> values{buffer.getResult()};
        if (Type type = buffer.getZeroed() ? Type() : commonPreference(**target, values)) {
          for (Value value : values) {
            auto old = cast<plan::BufferType>(value.getType());
            value.setType(plan::BufferType::get(&getContext(), old.getSpace(), old.getColumns(), type));
          }
          ++numRetyped;
        }
      }
    }
  }

private:
  /// The type that all who read `values`, a buffer, and its views, which are added, prefer, and all who write them can
  /// store; null if there is none.
  static Type commonPreference(const plan::Target &target, SmallVectorImpl<Value> &values) {
    SmallVector<std::pair<plan::DispatchOp, StringRef>> writers;
    Type common;
    for (size_t i = 0; i < values.size(); ++i) {
      for (OpOperand &use : values[i].getUses()) {
        if (auto view = dyn_cast<plan::ViewOp>(use.getOwner())) {
          values.push_back(view.getResult());
          continue;
        }
        auto dispatch = dyn_cast<plan::DispatchOp>(use.getOwner());
        if (!dispatch) {
          return {}; // the logits
        }
        auto [argument, isInput] = argumentOf(dispatch, use);
        if (!isInput) {
          writers.emplace_back(dispatch, argument);
          continue;
        }
        Type type = cast<plan::BufferType>(values[0].getType()).getElementType();
        Type preferred = target.preferredInput(dispatch, argument, type);
        if (!preferred || (common && preferred != common)) {
          return {};
        }
        common = preferred;
      }
    }
    const bool isStored = common && llvm::all_of(writers, [&](const auto &writer) {
                            return target.storesAs(writer.first, writer.second, common);
                          });
    return isStored ? common : Type();
  }
};

} // namespace
} // namespace nemotron::passes
