//===- NemotronWeightOps.td - weights, states and what is done to weights -----------------------------------------===//
#ifndef NEMOTRON_WEIGHT_OPS_TD
#define NEMOTRON_WEIGHT_OPS_TD

include "dialects/Nemotron/IR/NemotronOpBase.td"

def Nemotron_WeightDeclOp : Nemotron_Op<"weight", [Symbol]> {
  let summary = "Names a tensor of the checkpoint";
  let description = [{
    Refers to bytes in the checkpoint, never holds them. `source` is the name of the tensor there; `type` is its type
    on disk.

    (C1) `type` is a static tensor of f32, bf16, f16 or f8E4M3FN. (C2) `source` is not empty.

    ```mlir
    nemotron.weight @layers.3.in_proj : tensor<18560x4096xbf16> from "backbone.layers.3.mixer.in_proj.weight"
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttrOf<AnyRankedTensor>:$type, StrAttr:$source);
  let assemblyFormat = "$sym_name `:` $type `from` $source attr-dict";
  let hasVerifier = 1;
}

def Nemotron_StateDeclOp : Nemotron_Op<"state", [Symbol]> {
  let summary = "Names a state that every sequence has";
  let description = [{
    Shapes: `kv_cache` per token [2, Kh, P] (keys, then values); `conv` per sequence [W - 1, C], oldest first; `ssm` per
    sequence [H, P, N]; `recent` per sequence [tokens, C], inputs of a scan that its kernel has yet to take into the `ssm`:
    targets add them, models have none.

    (C1) `type` is a static tensor. (C2) Its rank is 3 for `kv_cache` and `ssm`, 2 for `conv` and `recent`. (C3) The first dimension
    of `kv_cache` is 2. (C4) Elements are f32 or bf16, of a `kv_cache` also f8E4M3FN.

    ```mlir
    nemotron.state @layers.0.ssm ssm : tensor<128x64x128xf32>
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, Nemotron_StateKindAttr:$kind, TypeAttrOf<AnyRankedTensor>:$type);
  let assemblyFormat = "$sym_name `` $kind `:` $type attr-dict";
  let hasVerifier = 1;
}

def Nemotron_GetWeightOp : Nemotron_WeightOp<"get_weight", [DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "Reads a weight";
  let description = [{
    (C1) The symbol is a `nemotron.weight`. (C2) Its type is the type of the result.

    ```mlir
    %w = nemotron.get_weight @layers.3.in_proj : tensor<18560x4096xbf16>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$weight);
  let results = (outs Nemotron_Weight:$result);
  let assemblyFormat = "$weight attr-dict `:` type($result)";
}

def Nemotron_CastOp : Nemotron_WeightOp<"cast", [SameOperandsAndResultShape]> {
  let summary = "Converts the elements of a weight";
  let description = [{
    To a wider type the value is exact; to a narrower one it is rounded to nearest even.

    ```mlir
    %f = nemotron.cast %w : tensor<192xbf16> to tensor<192xf32>
    ```
  }];
  let arguments = (ins Nemotron_FloatWeight:$input);
  let results = (outs Nemotron_FloatWeight:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `to` type($result)";
  let hasFolder = 1;
}

def Nemotron_ConcatOp : Nemotron_WeightOp<"concat"> {
  let summary = "Joins weights along their first dimension";
  let description = [{
    (C1) At least one input. (C2) All inputs and the result have one element type and agree in all dimensions but the
    first.
    (C3) The first dimension of the result is the sum of those of the inputs.

    ```mlir
    %qkv = nemotron.concat %q, %k, %v : (tensor<256x192xbf16>, tensor<128x192xbf16>, tensor<128x192xbf16>)
         -> tensor<512x192xbf16>
    ```
  }];
  let arguments = (ins Variadic<Nemotron_Weight>:$inputs);
  let results = (outs Nemotron_Weight:$result);
  let assemblyFormat = "$inputs attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Nemotron_StackOp : Nemotron_WeightOp<"stack"> {
  let summary = "Stacks weights of one shape along a new first dimension";
  let description = [{
    (C1) At least one input. (C2) All inputs have one type. (C3) The result is [number of inputs, shape of an input] of
    the same element type.

    ```mlir
    %up = nemotron.stack %e0, %e1 : (tensor<64x96xbf16>, tensor<64x96xbf16>) -> tensor<2x64x96xbf16>
    ```
  }];
  let arguments = (ins Variadic<Nemotron_Weight>:$inputs);
  let results = (outs Nemotron_Weight:$result);
  let assemblyFormat = "$inputs attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Nemotron_SliceOp : Nemotron_WeightOp<"slice"> {
  let summary = "Takes a run along the first dimension of a weight";
  let description = [{
    (C1) `0 <= offset` and `offset + dim(result, 0) <= dim(input, 0)`. (C2) Other dimensions and the element type agree.

    ```mlir
    %k = nemotron.slice %qkv from 256 : tensor<512x192xbf16> to tensor<128x192xbf16>
    ```
  }];
  let arguments = (ins Nemotron_Weight:$input, I64Attr:$offset);
  let results = (outs Nemotron_Weight:$result);
  let assemblyFormat = "$input `from` $offset attr-dict `:` type($input) `to` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Nemotron_TransposeOp : Nemotron_WeightOp<"transpose"> {
  let summary = "Transposes a matrix";
  let description = [{
    (C1) The result has the dimensions of the input in reverse, and its element type.

    ```mlir
    %t = nemotron.transpose %w : tensor<512x4xf32> to tensor<4x512xf32>
    ```
  }];
  let arguments = (ins Nemotron_Matrix:$input);
  let results = (outs Nemotron_Matrix:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `to` type($result)";
  let hasVerifier = 1;
}

def Nemotron_ReshapeOp : Nemotron_WeightOp<"reshape"> {
  let summary = "Gives a weight another shape with the same elements in the same order";
  let description = [{
    (C1) Number of elements and element type agree.

    ```mlir
    %r = nemotron.reshape %w : tensor<512x1x4xbf16> to tensor<512x4xbf16>
    ```
  }];
  let arguments = (ins Nemotron_Weight:$input);
  let results = (outs Nemotron_Weight:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `to` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

#endif // NEMOTRON_WEIGHT_OPS_TD
