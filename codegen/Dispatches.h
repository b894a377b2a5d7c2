//===- Dispatches.h - which kernel an op becomes ---------------------------------------------------------------*- C++
//-*-===//
#ifndef CODEGEN_DISPATCHES_H
#define CODEGEN_DISPATCHES_H

#include "dialects/Plan/IR/PlanBuilder.h"

namespace nemotron::codegen {

/// The dispatch "TARGET.OP" that carries out `op`, with arguments and parameters as docs/kernels.md has them, matrices
/// in layout Panel and all else row major; f16 matrices are widened to f32. An op without a kernel is an error at the
/// op.
mlir::FailureOr<plan::DispatchSpec> makeDispatch(mlir::Operation *op, llvm::StringRef target);

} // namespace nemotron::codegen

#endif // CODEGEN_DISPATCHES_H
