//===- PlanLiveness.h - when the buffers of a program hold data -------------------------------------------------*- C++
//-*-===//
#ifndef PASSES_PLANLIVENESS_H
#define PASSES_PLANLIVENESS_H

#include "dialects/Plan/IR/Plan.h"
#include "llvm/ADT/SmallVector.h"

namespace nemotron::passes {

/// A buffer and the dispatches that it is needed for, counted from 0 in order.
struct BufferLife {
  plan::BufferOp buffer;
  plan::Space space;
  int64_t bytes; ///< of a row
  size_t index;  ///< among the buffers of the program
  int64_t first; ///< the first dispatch that uses it
  int64_t last;  ///< the last one; of what the program returns the number of dispatches. Before `first` if no dispatch
                 ///< uses it

  bool isUsed() const { return first <= last; }
  bool meets(const BufferLife &other) const {
    return isUsed() && other.isUsed() && first <= other.last && other.first <= last;
  }
};

/// The lives of all buffers of `program`, in their order. A use of a view is a use of its buffer.
llvm::SmallVector<BufferLife> computeBufferLives(plan::ProgramOp program);

/// The columns of a buffer that `value`, a buffer or a view of one, stands for.
struct BufferColumns {
  plan::BufferOp buffer;
  int64_t begin, end;
};
BufferColumns resolveView(mlir::Value value);

/// Bytes of a state, rounded up so that all that follow each other lie at multiples of 64: in a slot to 64; in a page,
/// where they count for each of a multiple of 16 tokens, to 4.
int64_t stateBytes(plan::StateOp state);

} // namespace nemotron::passes

#endif // PASSES_PLANLIVENESS_H
