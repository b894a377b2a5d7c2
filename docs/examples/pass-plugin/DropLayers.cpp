//===- DropLayers.cpp - a model with some layers less -------------------------------------------------------------===//
//
// The residual stream passes by each layer: x <- x + layer(x). Without the add, the layer has no reader left, and
// `nemotron-drop-dead` removes its ops, states and weights. A first look at which layers a model can do without.
//
//===--------------------------------------------------------------------------------------------------------------===//
#include "Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace nemotron;

namespace {

bool isInLayer(Operation *op, int64_t layer) { return example::layerOf(op) == layer; }

/// The operand of `add` that comes into `layer` from outside, if the other one is computed in it. Null otherwise.
Value incomingStream(ir::AddOp add, int64_t layer) {
  bool lhs = isInLayer(add.getLhs().getDefiningOp(), layer), rhs = isInLayer(add.getRhs().getDefiningOp(), layer);
  return lhs == rhs ? Value() : lhs ? add.getRhs() : add.getLhs();
}

struct DropLayersPass : public PassWrapper<DropLayersPass, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(DropLayersPass)

  DropLayersPass() = default;
  DropLayersPass(const DropLayersPass &other) : PassWrapper(other) {}

  StringRef getArgument() const final { return "example-drop-layers"; }
  StringRef getDescription() const final { return "Let the residual stream pass by some layers"; }

  void runOnOperation() override {
    for (int64_t layer : layers) {
      if (failed(drop(layer))) {
        return signalPassFailure();
      }
    }
  }

private:
  LogicalResult drop(int64_t layer) {
    SmallVector<ir::AddOp> adds;
    getOperation().walk([&](ir::AddOp add) {
      bool isRead = llvm::any_of(add->getUsers(), [&](Operation *user) { return !isInLayer(user, layer); });
      if (isInLayer(add, layer) && isRead && incomingStream(add, layer)) {
        adds.push_back(add);
      }
    });
    if (adds.size() != 1) {
      return getOperation().emitError() << "layer " << layer << " has " << adds.size()
                                        << " adds to the residual stream, expected 1: is there such a layer, and has it"
                                           " not been fused yet?";
    }
    adds.front().getResult().replaceAllUsesWith(incomingStream(adds.front(), layer));
    return success();
  }

  ListOption<int64_t> layers{*this, "layers", llvm::cl::desc("Layers to leave out, from 0")};
};

} // namespace

std::unique_ptr<Pass> example::createDropLayersPass() { return std::make_unique<DropLayersPass>(); }
