//===- NemotronDialect.cpp - registration, enums and types, state effects -----------------------------------------===//
#include "dialects/Nemotron/IR/Nemotron.h"
#include "dialects/Nemotron/IR/VerifierUtils.h"

#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

#include "dialects/Nemotron/IR/NemotronDialect.cpp.inc"
#include "dialects/Nemotron/IR/NemotronEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/Nemotron/IR/NemotronAttrs.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/Nemotron/IR/NemotronTypes.cpp.inc"

using namespace mlir;

namespace nemotron::ir {

void NemotronDialect::initialize() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialects/Nemotron/IR/NemotronTypes.cpp.inc"
      >();
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/Nemotron/IR/NemotronAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/Nemotron/IR/NemotronOps.cpp.inc"
      >();
}

void addStateEffects(FlatSymbolRefAttr state,
                     SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>> &effects) {
  effects.emplace_back(MemoryEffects::Read::get(), state, StateResource::get());
  effects.emplace_back(MemoryEffects::Write::get(), state, StateResource::get());
}

LogicalResult detail::verifyWeightTransform(Operation *op) {
  auto verify = [&](TypeRange types, StringRef what) -> LogicalResult {
    for (auto [index, type] : llvm::enumerate(types)) {
      auto tensor = dyn_cast<RankedTensorType>(type);
      if (!tensor || !tensor.hasStaticShape()) {
        return op->emitOpError(what) << " #" << index << " must be a tensor of static shape, found " << type;
      }
    }
    return success();
  };
  return failure(failed(verify(op->getOperandTypes(), "operand")) || failed(verify(op->getResultTypes(), "result")));
}

} // namespace nemotron::ir
