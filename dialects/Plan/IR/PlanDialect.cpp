//===- PlanDialect.cpp - registration, enums and types of the plan dialect ----------------------------------------===//
#include "dialects/Plan/IR/Plan.h"

#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

#include "dialects/Plan/IR/PlanDialect.cpp.inc"
#include "dialects/Plan/IR/PlanEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/Plan/IR/PlanAttrs.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/Plan/IR/PlanTypes.cpp.inc"

namespace nemotron::plan {

void PlanDialect::initialize() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialects/Plan/IR/PlanTypes.cpp.inc"
      >();
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/Plan/IR/PlanAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/Plan/IR/PlanOps.cpp.inc"
      >();
}

LogicalResult BufferType::verify(function_ref<InFlightDiagnostic()> emitError, Space, int64_t columns,
                                 Type elementType) {
  if (columns < 1 || columns > (int64_t(1) << 40)) { // buffer_type_c1
    return emitError() << "buffer has " << columns << " columns, expected 1 to 2^40";
  }
  if (!elementType.isF32() && !elementType.isBF16() && !elementType.isF16() && !ir::isCode(elementType) &&
      !elementType.isInteger(32)) { // buffer_type_c2
    return emitError() << "buffer has elements of " << elementType << ", expected f32, bf16, f16, f8E4M3FN, i8 or i32";
  }
  return success();
}

} // namespace nemotron::plan
