//===- PlanLiveness.cpp - when the buffers of a program hold data -------------------------------------------------===//
#include "passes/PlanLiveness.h"
#include "runtime/plan/layout.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace nemotron::passes {

BufferColumns resolveView(Value value) {
  int64_t column = 0, columns = cast<plan::BufferType>(value.getType()).getColumns();
  while (auto view = value.getDefiningOp<plan::ViewOp>()) {
    column += view.getColumn();
    value = view.getBuffer();
  }
  return {value.getDefiningOp<plan::BufferOp>(), column, column + columns};
}

SmallVector<BufferLife> computeBufferLives(plan::ProgramOp program) {
  SmallVector<BufferLife> lives;
  llvm::DenseMap<Operation *, size_t> indices;
  Block &block = program.getBody().front();
  for (auto buffer : block.getOps<plan::BufferOp>()) {
    plan::BufferType type = buffer.getResult().getType();
    indices[buffer] = lives.size();
    lives.push_back({buffer, type.getSpace(), buffer.rowBytes(), lives.size(), /*first=*/0, /*last=*/-1});
  }
  int64_t position = 0;
  auto use = [&](Value value) {
    BufferLife &life = lives[indices.lookup(resolveView(value).buffer)];
    if (!life.isUsed()) {
      life.first = position;
    }
    life.last = position;
  };
  for (Operation &op : block) {
    if (auto dispatch = dyn_cast<plan::DispatchOp>(op)) {
      llvm::for_each(dispatch->getOperands(), use);
      ++position;
    }
  }
  llvm::for_each(block.back().getOperands(), use); // what the program returns
  return lives;
}

int64_t stateBytes(plan::StateOp state) {
  auto type = cast<RankedTensorType>(state.getType());
  const bool inPages = state.getKind() == ir::StateKind::KvCache;
  int64_t elements = type.getNumElements();
  if (inPages) {
    elements = runtime::KvCacheElements(elements, type.getShape().back());
  }
  return llvm::alignTo(elements * (type.getElementTypeBitWidth() / 8), inPages ? 4 : 64);
}

} // namespace nemotron::passes
