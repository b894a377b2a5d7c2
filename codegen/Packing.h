//===- Packing.h - layouts of matrices -------------------------------------------------------------------------*- C++
//-*-===//
#ifndef CODEGEN_PACKING_H
#define CODEGEN_PACKING_H

#include <cstddef>
#include <cstdint>

#include "runtime/base/dtype.h"
#include "runtime/plan/plan_generated.h"

namespace nemotron::codegen {

/// A run of panels of a stack of matrices [N, K], or of bands, which are panels of layout Fragment; they are counted
/// through the stack (runtime/plan/layout.h).
struct PanelRun {
  schema::Layout layout; ///< Panel or Fragment
  runtime::DType from;   ///< of the input
  runtime::DType to;     ///< of the panels: those of the layout; kF8E4M3 and kI8 from themselves
  int64_t n, k;          ///< of one matrix
  int64_t first, count;

  int64_t panelsPerMatrix() const;
  /// Where the rows of panel `panel` begin, in elements of the row-major stack.
  int64_t elementOf(int64_t panel) const;
  /// Elements of the stack that the run takes, from `elementOf(first)` on.
  int64_t numElements() const { return elementOf(first + count) - elementOf(first); }
  int64_t panelBytes() const; ///< of one, packed
  int64_t outputBytes() const { return count * panelBytes(); }
};

/// Packs a run. `input` holds its `numElements()` elements, `output` has space for `outputBytes()`; rows and columns
/// that the matrix does not have are zeros.
void packPanels(const PanelRun &run, const std::byte *input, std::byte *output);

} // namespace nemotron::codegen

#endif // CODEGEN_PACKING_H
