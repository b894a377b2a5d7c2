//===- NemotronOpBase.td - base classes of the ops ----------------------------------------------------------------===//
#ifndef NEMOTRON_OP_BASE_TD
#define NEMOTRON_OP_BASE_TD

include "dialects/Nemotron/IR/NemotronDialect.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class Nemotron_Op<string mnemonic, list<Trait> traits = []> : Op<Nemotron_Dialect, mnemonic, traits>;

/// The op computes a weight from weights; it is carried out while the plan is written.
def Nemotron_WeightTransform : NativeOpTrait<"WeightTransform"> {
  let cppNamespace = "::nemotron::ir";
}

class Nemotron_WeightOp<string mnemonic, list<Trait> traits = []>
    : Nemotron_Op<mnemonic, !listconcat([Pure, Nemotron_WeightTransform], traits)>;

/// The op reads and writes the state that its attribute `state` names, and must name one of the right kind.
class Nemotron_StateOp<string mnemonic, list<Trait> traits = []>
    : Nemotron_Op<mnemonic, !listconcat([MemoryEffectsOpInterface, DeclareOpInterfaceMethods<SymbolUserOpInterface>],
                                        traits)> {
  code stateEffects = [{
    /// Reads and writes the state symbol.
    void getEffects(::llvm::SmallVectorImpl<
        ::mlir::SideEffects::EffectInstance<::mlir::MemoryEffects::Effect>> &effects) {
      addStateEffects(getStateAttr(), effects);
    }
  }];
  let extraClassDeclaration = stateEffects;
}

#endif // NEMOTRON_OP_BASE_TD
