//===- NemotronDialect.td - dialect, types and attributes ---------------------------------------------------------===//
#ifndef NEMOTRON_DIALECT_TD
#define NEMOTRON_DIALECT_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"

def Nemotron_Dialect : Dialect {
  let name = "nemotron";
  let cppNamespace = "::nemotron::ir";
  let summary = "What a Nemotron model computes, in tensors with value semantics";
  let description = [{
    A module holds *weights* and *states*, both symbols, and one function `@step` over a ragged batch: T tokens of S
    sequences, each bringing any number of new tokens. Prefill, chunked prefill, decode and continuous batching are this
    one function.

    ```mlir
    nemotron.weight @embeddings : tensor<4096x192xbf16> from "backbone.embeddings.weight"
    nemotron.state @layers.0.ssm ssm : tensor<6x64x64xf32>
    func.func @step(%tokens: tensor<?xi32>, %batch: !nemotron.batch) -> tensor<?x4096xf32>
    ```

    **Dimensions.** T tokens of the step, R rows whose logits are asked for, D hidden, H heads, P head dim, G groups,
    N state, W convolution window, E experts, V vocabulary. The leading dimension of every activation is dynamic (T
    or R).

    **Numbers.** Activations are f32 or bf16, one row a token. Vectors (norms, biases, `A_log`, `D`, `dt_bias`) are used
    in f32 whatever their type. A `linear` whose weight is bf16 rounds its input to bf16 (nearest even); products are
    exact, sums are f32. A `scaled_matmul` multiplies codes of 8 bits, floats (f8E4M3FN) or integers (i8), which stand for
    themselves times a scale.

    **Weights** are read with `get_weight` and changed with weight transforms (`cast`, `concat`, `stack`, `slice`,
    `transpose`, `reshape`, `quantize_weight` and its like), which are carried out tensor by tensor while the plan is written.

    **States** are named by symbol. Ops that use one declare a read and a write of that symbol, so that no pass may
    drop, duplicate or reorder them.
  }];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
}

def Nemotron_BatchType : TypeDef<Nemotron_Dialect, "Batch"> {
  let mnemonic = "batch";
  let summary = "The ragged batch of a step";
  let description = [{
    Says, for each of S sequences, which rows of the step are its tokens, the position of the first, and where its state
    lies (slot and pages). Also says which rows' logits are asked for. Opaque in the IR.
  }];
}

def Nemotron_StateKind : I32EnumAttr<"StateKind", "kind of a state", [
    I32EnumAttrCase<"KvCache", 0, "kv_cache">, I32EnumAttrCase<"Conv", 1, "conv">, I32EnumAttrCase<"Ssm", 2, "ssm">,
    I32EnumAttrCase<"Recent", 3, "recent">]> {
  let cppNamespace = "::nemotron::ir";
  let genSpecializedAttr = 0;
}
def Nemotron_StateKindAttr : EnumAttr<Nemotron_Dialect, Nemotron_StateKind, "state_kind">;

def Nemotron_Activation : I32EnumAttr<"Activation", "elementwise function fused into an op", [
    I32EnumAttrCase<"None", 0, "none">, I32EnumAttrCase<"Relu2", 1, "relu2">, I32EnumAttrCase<"Silu", 2, "silu">]> {
  let cppNamespace = "::nemotron::ir";
  let genSpecializedAttr = 0;
}
def Nemotron_ActivationAttr : EnumAttr<Nemotron_Dialect, Nemotron_Activation, "activation"> {
  let assemblyFormat = "`<` $value `>`";
}

def Nemotron_Scaling : I32EnumAttr<"Scaling", "where the scale of quantized activations comes from", [
    I32EnumAttrCase<"Token", 0, "token">, I32EnumAttrCase<"Step", 1, "step">, I32EnumAttrCase<"Static", 2, "static">]> {
  let cppNamespace = "::nemotron::ir";
  let genSpecializedAttr = 0;
}
def Nemotron_ScalingAttr : EnumAttr<Nemotron_Dialect, Nemotron_Scaling, "scaling"> {
  let assemblyFormat = "`<` $value `>`";
}

// Operand types. [T, D] has a dynamic first and a static second dimension; weights are static.
def Nemotron_Float : AnyTypeOf<[F32, BF16, F16]>;
class Nemotron_TensorOf<list<Type> types, list<Pred> preds, string summary>
    : Type<And<!listconcat([TensorOf<types>.predicate], preds)>, summary, "::mlir::RankedTensorType">;
def Nemotron_RankedPred : CPred<"::llvm::isa<::mlir::RankedTensorType>($_self)">;
class Nemotron_IsRank<int rank>
    : CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).getRank() == " # rank>;
def Nemotron_IsStatic : CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).hasStaticShape()">;
def Nemotron_IsRagged : CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).isDynamicDim(0) && "
                              "!::llvm::cast<::mlir::RankedTensorType>($_self).isDynamicDim(1)">;

def Nemotron_Tokens : Nemotron_TensorOf<[I32], [Nemotron_RankedPred, Nemotron_IsRank<1>], "token ids [T]">;
def Nemotron_Activations : Nemotron_TensorOf<[F32, BF16], [Nemotron_RankedPred, Nemotron_IsRank<2>, Nemotron_IsRagged],
                                             "activations [T, D] of f32 or bf16 values">;
def Nemotron_Indices : Nemotron_TensorOf<[I32], [Nemotron_RankedPred, Nemotron_IsRank<2>, Nemotron_IsRagged],
                                         "indices [T, k] of i32 values">;
// Codes of 8 bits, which stand for their values times a scale.
def Nemotron_CodeActivations : Nemotron_TensorOf<[F8E4M3FN, I8],
                                                 [Nemotron_RankedPred, Nemotron_IsRank<2>, Nemotron_IsRagged],
                                                 "activations [T, D] of f8E4M3FN or i8 values">;
def Nemotron_RowScales : Nemotron_TensorOf<[F32], [Nemotron_RankedPred, Nemotron_IsRank<2>, Nemotron_IsRagged,
                                                   CPred<"::llvm::cast<::mlir::RankedTensorType>($_self)"
                                                         ".getDimSize(1) == 1">],
                                           "scales of rows [T, 1] of f32 values">;
def Nemotron_Weight : Nemotron_TensorOf<[F32, BF16, F16, F8E4M3FN, I8], [Nemotron_RankedPred, Nemotron_IsStatic],
                                        "weight of static shape">;
def Nemotron_FloatWeight : Nemotron_TensorOf<[F32, BF16, F16], [Nemotron_RankedPred, Nemotron_IsStatic],
                                             "weight of static shape of f32, bf16 or f16 values">;
def Nemotron_Channels : Nemotron_TensorOf<[F32, BF16, F16],
                                          [Nemotron_RankedPred, Nemotron_IsRank<1>, Nemotron_IsStatic],
                                          "vector [D] of static size">;
def Nemotron_Matrix : Nemotron_TensorOf<[F32, BF16, F16], [Nemotron_RankedPred, Nemotron_IsRank<2>, Nemotron_IsStatic],
                                        "matrix [out, in] of static shape">;
def Nemotron_Matrices : Nemotron_TensorOf<[F32, BF16, F16],
                                          [Nemotron_RankedPred, Nemotron_IsRank<3>, Nemotron_IsStatic],
                                          "matrices [E, out, in] of static shape">;
def Nemotron_CodeMatrix : Nemotron_TensorOf<[F8E4M3FN, I8],
                                            [Nemotron_RankedPred, Nemotron_IsRank<2>, Nemotron_IsStatic],
                                            "matrix [out, in] of static shape of f8E4M3FN or i8 values">;
def Nemotron_CodeMatrices : Nemotron_TensorOf<[F8E4M3FN, I8],
                                              [Nemotron_RankedPred, Nemotron_IsRank<3>, Nemotron_IsStatic],
                                              "matrices [E, out, in] of static shape of f8E4M3FN or i8 values">;

def Nemotron_MatrixScales : AnyTypeOf<[Nemotron_Channels, Nemotron_Matrix], "scales [1], [N] or [N, G]",
                                      "::mlir::RankedTensorType">;
def Nemotron_MatricesScales : AnyTypeOf<[Nemotron_Matrix, Nemotron_Matrices], "scales [E, 1], [E, N] or [E, N, G]",
                                        "::mlir::RankedTensorType">;

#endif // NEMOTRON_DIALECT_TD
