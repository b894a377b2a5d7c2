//===- CpuTarget.cpp - the kernels of target "cpu" ----------------------------------------------------------------===//
#include "codegen/cpu/CpuTarget.h"

#include "codegen/Dispatches.h"

using namespace mlir;

namespace nemotron::codegen {

/// Kernels read and write activations of f32, and those of codes that an op asks for; expert indices are i32.
static LogicalResult verifyActivations(Operation *op) {
  auto isStored = [](Type type) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    return !tensor || tensor.hasStaticShape() || !tensor.getElementType().isBF16();
  };
  for (TypeRange types : {TypeRange(op->getOperandTypes()), TypeRange(op->getResultTypes())}) {
    for (Type type : types) {
      if (!isStored(type)) {
        return op->emitOpError() << "has activations of " << type
                                 << ", expected f32: kernels of target cpu have no other";
      }
    }
  }
  return success();
}

LogicalResult CpuTarget::lower(Operation *op, plan::PlanBuilder &builder) const {
  if (failed(verifyActivations(op))) {
    return failure();
  }
  FailureOr<plan::DispatchSpec> spec = makeDispatch(op, getName());
  return failed(spec) ? failure() : builder.dispatch(op, *spec);
}

} // namespace nemotron::codegen
