//===- Nemotron.h - the nemotron dialect -----------------------------------------------------------------*- C++ -*===//
#ifndef DIALECTS_NEMOTRON_IR_NEMOTRON_H
#define DIALECTS_NEMOTRON_IR_NEMOTRON_H

#include <limits>

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/Nemotron/IR/NemotronDialect.h.inc"
#include "dialects/Nemotron/IR/NemotronEnums.h.inc"

namespace nemotron::ir {

/// What a step may change: the states of its sequences. Reads and writes of two states are told apart by their symbols.
struct StateResource : public mlir::SideEffects::Resource::Base<StateResource> {
  llvm::StringRef getName() final { return "nemotron.state"; }
};

/// Whether numbers are quantized to this type: codes of 8 bits that stand for their values times a scale.
inline bool isCode(mlir::Type element) { return element.isFloat8E4M3FN() || element.isInteger(8); }

/// Appends a read and a write of the state that `state` names.
void addStateEffects(mlir::FlatSymbolRefAttr state,
                     llvm::SmallVectorImpl<mlir::SideEffects::EffectInstance<mlir::MemoryEffects::Effect>> &effects);

/// Checks that a state of `kind` can have this type (state_c1 to state_c4). `emitError` starts the message.
llvm::LogicalResult verifyStateType(StateKind kind, mlir::Type type,
                                    llvm::function_ref<mlir::InFlightDiagnostic()> emitError);

namespace detail {
/// All operands and results are ranked tensors of static shape.
llvm::LogicalResult verifyWeightTransform(mlir::Operation *op);
} // namespace detail

/// Ops that compute a weight from weights. The plan writer carries them out, tensor by tensor; they never run in a
/// step.
template <typename ConcreteType>
class WeightTransform : public mlir::OpTrait::TraitBase<ConcreteType, WeightTransform> {
public:
  static llvm::LogicalResult verifyTrait(mlir::Operation *op) { return detail::verifyWeightTransform(op); }
};

} // namespace nemotron::ir

#define GET_ATTRDEF_CLASSES
#include "dialects/Nemotron/IR/NemotronAttrs.h.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/Nemotron/IR/NemotronTypes.h.inc"
#define GET_OP_CLASSES
#include "dialects/Nemotron/IR/NemotronOps.h.inc"

#endif // DIALECTS_NEMOTRON_IR_NEMOTRON_H
