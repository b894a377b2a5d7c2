//===- PlanNarrowBuffers.cpp - buffers that are only read rounded -------------------------------------------------===//
#include "passes/PlanPasses.h"

#include "dialects/Plan/IR/Target.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace nemotron::passes {

#define GEN_PASS_DEF_PLANNARROWBUFFERSPASS
#include "passes/PlanPasses.h.inc"

namespace {

/// The name of the argument of `dispatch` that `use` is, and whether it is an input.
std::pair<StringRef, bool> argumentOf(plan::DispatchOp dispatch, OpOperand &use) {
  const unsigned index = use.getOperandNumber(), numInputs = dispatch.getInputs().size();
  const bool isInput = index < numInputs;
  ArrayAttr names = isInput ? dispatch.getInputNames() : dispatch.getOutputNames();
  return {cast<StringAttr>(names[isInput ? index : index - numInputs]).getValue(), isInput};
}

struct PlanNarrowBuffersPass : public impl::PlanNarrowBuffersPassBase<PlanNarrowBuffersPass> {
  using Base::Base;

  void runOnOperation() override {
    FailureOr<const plan::Target *> target = plan::TargetRegistry::targetOf(getOperation());
    if (failed(target)) {
      return signalPassFailure();
    }
    for (auto program : getOperation().getOps<plan::ProgramOp>()) {
      for (auto buffer : program.getBody().getOps<plan::BufferOp>()) {
        SmallVector<Value> values{buffer.getResult()};
        if (buffer.getResult().getType().getElementType().isF32() && allRound(**target, values)) {
          narrow(values);
          ++numNarrowed;
        }
      }
    }
  }

private:
  /// Whether all uses of `values`, a buffer, and of its views, which are added, can have bf16.
  static bool allRound(const plan::Target &target, SmallVectorImpl<Value> &values) {
    bool isRead = false;
    for (size_t i = 0; i < values.size(); ++i) {
      for (OpOperand &use : values[i].getUses()) {
        if (auto view = dyn_cast<plan::ViewOp>(use.getOwner())) {
          values.push_back(view.getResult());
          continue;
        }
        auto dispatch = dyn_cast<plan::DispatchOp>(use.getOwner());
        if (!dispatch) {
          return false; // the logits
        }
        auto [argument, isInput] = argumentOf(dispatch, use);
        if (!(isInput ? target.roundsInput(dispatch, argument) : target.storesBF16(dispatch, argument))) {
          return false;
        }
        isRead |= isInput;
      }
    }
    return isRead;
  }

  static void narrow(ArrayRef<Value> values) {
    for (Value value : values) {
      auto type = cast<plan::BufferType>(value.getType());
      value.setType(plan::BufferType::get(value.getContext(), type.getSpace(), type.getColumns(),
                                          BFloat16Type::get(value.getContext())));
    }
  }
};

} // namespace
} // namespace nemotron::passes
