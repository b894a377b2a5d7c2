//===- PlanMemory.cpp - places for buffers and states -------------------------------------------------------------===//
#include "passes/PlanPasses.h"

#include "mlir/IR/Diagnostics.h"
#include "passes/PlanLiveness.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace nemotron::passes {

#define GEN_PASS_DEF_PLANMEMORYPASS
#include "passes/PlanPasses.h.inc"

namespace {

/// The buffers of one space and where they lie.
struct Arena {
  SmallVector<BufferLife *> buffers;
  llvm::DenseMap<BufferLife *, int64_t> offsets;
  int64_t size = 0;
};

/// Puts each buffer, in the order given, into the smallest gap that holds it between the buffers placed before that
/// live at the same time, or behind them.
Arena place(ArrayRef<BufferLife *> buffers) {
  Arena arena;
  arena.buffers.append(buffers.begin(), buffers.end());
  SmallVector<std::pair<int64_t, BufferLife *>> placed; // by offset
  for (BufferLife *buffer : buffers) {
    int64_t bytes = buffer->bytes, end = 0, best = -1, bestGap = 0;
    for (auto [offset, other] : placed) {
      if (!buffer->meets(*other)) {
        continue;
      }
      int64_t gap = offset - end;
      if (gap >= bytes && (best < 0 || gap < bestGap)) {
        best = end;
        bestGap = gap;
      }
      end = std::max(end, offset + other->bytes);
    }
    int64_t offset = best < 0 ? end : best;
    arena.offsets[buffer] = offset;
    arena.size = std::max(arena.size, offset + bytes);
    std::pair entry(offset, buffer);
    placed.insert(llvm::upper_bound(placed, entry, llvm::less_first()), entry);
  }
  return arena;
}

/// Large buffers first leaves gaps that small ones fill; in order of use, a chain of equal buffers alternates between
/// two places. Neither is best for all programs, both are cheap.
Arena placeBest(SmallVector<BufferLife *> buffers) {
  Arena byUse = place(buffers);
  llvm::sort(buffers, [](BufferLife *a, BufferLife *b) {
    return std::pair(-a->bytes, a->index) < std::pair(-b->bytes, b->index);
  });
  Arena bySize = place(buffers);
  return bySize.size <= byUse.size ? bySize : byUse;
}

int64_t sumOfBytes(const Arena &arena) {
  int64_t sum = 0;
  for (BufferLife *buffer : arena.buffers) {
    sum += buffer->bytes;
  }
  return sum;
}

/// The most bytes that are live at one dispatch: no placement needs less.
int64_t largestLiveSet(const Arena &arena) {
  SmallVector<std::pair<int64_t, int64_t>> changes; // position, bytes; ends before beginnings
  for (BufferLife *buffer : arena.buffers) {
    if (buffer->isUsed()) {
      changes.push_back({buffer->first, buffer->bytes});
      changes.push_back({buffer->last + 1, -buffer->bytes});
    }
  }
  llvm::sort(changes);
  int64_t live = 0, largest = 0;
  for (auto [position, bytes] : changes) {
    live += bytes;
    largest = std::max(largest, live);
  }
  return largest;
}

struct PlanMemoryPass : public impl::PlanMemoryPassBase<PlanMemoryPass> {
  using Base::Base;

  void runOnOperation() override {
    for (auto program : getOperation().getOps<plan::ProgramOp>()) {
      placeBuffers(program);
    }
    placeStates();
  }

private:
  void placeBuffers(plan::ProgramOp program) {
    SmallVector<BufferLife> lives = computeBufferLives(program);
    SmallVector<BufferLife *> buffers[2];
    int64_t zeroedBytes = 0;
    for (BufferLife &life : lives) {
      if (life.buffer.getZeroed()) {
        life.buffer.setOffset(zeroedBytes);
        zeroedBytes += life.bytes;
      } else {
        buffers[static_cast<size_t>(life.space)].push_back(&life);
      }
    }
    Arena tokens = placeBest(std::move(buffers[static_cast<size_t>(plan::Space::Token)]));
    Arena rows = placeBest(std::move(buffers[static_cast<size_t>(plan::Space::Row)]));
    for (const Arena *arena : {&tokens, &rows}) {
      for (auto [life, offset] : arena->offsets) {
        life->buffer.setOffset(offset);
      }
    }
    program.setTokenArenaBytes(tokens.size);
    program.setRowArenaBytes(rows.size);
    program.setZeroedBytes(zeroedBytes == 0 ? std::nullopt : std::optional(zeroedBytes));

    numBuffers += lives.size();
    tokenBytes += tokens.size;
    tokenBytesWithoutReuse += sumOfBytes(tokens);
    rowBytes += rows.size;
    rowBytesWithoutReuse += sumOfBytes(rows);
    if (report) {
      for (auto [what, arena] : {std::pair("token", &tokens), std::pair("row", &rows)}) {
        emitRemark(program.getLoc()) << arena->size << " bytes a " << what << " for " << arena->buffers.size()
                                     << " buffers, " << sumOfBytes(*arena) << " without reuse; "
                                     << largestLiveSet(*arena) << " are live at once";
      }
      if (zeroedBytes != 0) {
        emitRemark(program.getLoc()) << zeroedBytes << " bytes a token are zeroed when a step begins";
      }
    }
  }

  void placeStates() {
    int64_t slot = 0, page = 0;
    for (auto state : getOperation().getOps<plan::StateOp>()) {
      int64_t &end = state.getKind() == ir::StateKind::KvCache ? page : slot;
      state.setOffset(end);
      end += stateBytes(state);
    }
    if (report) {
      emitRemark(getOperation().getLoc())
          << slot << " bytes of state a sequence, " << page << " bytes of KV cache a token";
    }
  }
};

} // namespace
} // namespace nemotron::passes
