//===- DropDead.cpp - what has no influence on a step goes --------------------------------------------------------===//
#include "mlir/IR/SymbolTable.h"
#include "passes/FusionUtils.h"
#include "passes/Passes.h"

using namespace mlir;

namespace nemotron::passes {

#define GEN_PASS_DEF_DROPDEADPASS
#include "passes/Passes.h.inc"

namespace {

/// Whether all that `op` does is to use states: it may go once nobody needs its results and these states.
bool onlyUsesStates(Operation *op) {
  auto interface = dyn_cast<MemoryEffectOpInterface>(op);
  if (!interface || op->getNumRegions() != 0 || op->hasTrait<OpTrait::IsTerminator>()) {
    return false;
  }
  SmallVector<MemoryEffects::EffectInstance> effects;
  interface.getEffects(effects);
  return !effects.empty() && llvm::all_of(effects, [](const MemoryEffects::EffectInstance &effect) {
    return effect.getResource() == ir::StateResource::get() && effect.getSymbolRef();
  });
}

struct DropDeadPass : public impl::DropDeadPassBase<DropDeadPass> {
  void runOnOperation() override {
    do {
      dropPureOps();
    } while (dropStateOps());
    dropSymbols();
  }

private:
  /// Last ops first, so that one walk takes whole chains.
  void dropPureOps() {
    getOperation()->walk<WalkOrder::PostOrder, ReverseIterator>([&](Operation *op) {
      if (isOpTriviallyDead(op)) {
        op->erase();
        ++numOps;
      }
    });
  }

  /// Removes the ops on each state that has no op with a result in use. Returns whether there were any.
  bool dropStateOps() {
    SymbolTableCollection symbols;
    SymbolUserMap users(symbols, getOperation());
    DenseSet<Operation *> live; // users of a live state, which keep the other states that they use
    SmallVector<ir::StateDeclOp> states;
    getOperation()->walk([&](ir::StateDeclOp state) { states.push_back(state); });
    auto isDead = [&](Operation *op) { return op->use_empty() && onlyUsesStates(op) && !live.contains(op); };
    for (bool changed = true; changed;) {
      changed = false;
      for (ir::StateDeclOp state : states) {
        ArrayRef<Operation *> ops = users.getUsers(state);
        if (!llvm::all_of(ops, isDead)) {
          for (Operation *op : ops) {
            changed |= live.insert(op).second;
          }
        }
      }
    }
    llvm::SetVector<Operation *> dead;
    for (ir::StateDeclOp state : states) {
      dead.insert_range(llvm::make_filter_range(users.getUsers(state), isDead));
    }
    return !dead.empty();
  }

  void dropSymbols() {}
};

} // namespace
} // namespace nemotron::passes
