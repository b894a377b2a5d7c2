//===- DropDead.cpp - what has no influence on a step goes --------------------------------------------------------===//
#include "mlir/IR/Iterators.h"
#include "mlir/IR/SymbolTable.h"
#include "passes/Passes.h"

using namespace mlir;

namespace nemotron::passes {

#define GEN_PASS_DEF_DROPDEADPASS
#include "passes/Passes.h.inc"

namespace {

/// Ops that name a symbol, by its name.
using SymbolUsers = DenseMap<StringAttr, SmallVector<Operation *>>;

/// Whether nobody needs the results of `op`, and all that it does else is to use `state`.
bool isDeadUserOf(Operation *op, ir::StateDeclOp state) {
  auto interface = dyn_cast<MemoryEffectOpInterface>(op);
  if (!interface || !op->use_empty() || op->getNumRegions() != 0 || op->hasTrait<OpTrait::IsTerminator>()) {
    return false;
  }
  SmallVector<MemoryEffects::EffectInstance> effects;
  interface.getEffects(effects);
  return llvm::all_of(effects, [&](const MemoryEffects::EffectInstance &effect) {
    SymbolRefAttr symbol = effect.getSymbolRef();
    return effect.getResource() == ir::StateResource::get() && symbol &&
           symbol.getLeafReference() == state.getSymNameAttr();
  });
}

struct DropDeadPass : public impl::DropDeadPassBase<DropDeadPass> {
  void runOnOperation() override {
    do {
      dropPureOps();
    } while (dropStateOps());
    dropDeclarations();
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

  /// Removes the users of each state that has dead ones only. Returns whether there were any.
  bool dropStateOps() {
    std::optional<SymbolUsers> users = findSymbolUsers();
    if (!users) {
      return false;
    }
    SmallVector<Operation *> dead;
    for (auto state : getOperation().getOps<ir::StateDeclOp>()) {
      ArrayRef<Operation *> ops = (*users)[state.getSymNameAttr()];
      if (llvm::all_of(ops, [&](Operation *op) { return isDeadUserOf(op, state); })) {
        llvm::append_range(dead, ops);
      }
    }
    for (Operation *op : dead) {
      op->erase();
      ++numStateOps;
    }
    return !dead.empty();
  }

  void dropDeclarations() {
    std::optional<SymbolUsers> users = findSymbolUsers();
    if (!users) {
      return;
    }
    for (Operation &op : llvm::make_early_inc_range(getOperation().getOps())) {
      if (!isa<ir::WeightDeclOp, ir::StateDeclOp>(op) || users->contains(SymbolTable::getSymbolName(&op))) {
        continue;
      }
      isa<ir::WeightDeclOp>(op) ? ++numWeights : ++numStates;
      op.erase();
    }
  }

  /// Nothing if there is an unregistered op with a region, which may name any symbol.
  std::optional<SymbolUsers> findSymbolUsers() {
    std::optional<SymbolTable::UseRange> uses = SymbolTable::getSymbolUses(&getOperation().getBodyRegion());
    if (!uses) {
      return std::nullopt;
    }
    SymbolUsers users;
    for (SymbolTable::SymbolUse use : *uses) {
      SmallVector<Operation *> &ops = users[use.getSymbolRef().getRootReference()];
      if (ops.empty() || ops.back() != use.getUser()) { // an op's uses follow each other
        ops.push_back(use.getUser());
      }
    }
    return users;
  }
};

} // namespace
} // namespace nemotron::passes
