//===- NemotronQuantizationOps.td - codes of 8 bits: activations, products, weights -------------------------------===//
#ifndef NEMOTRON_QUANTIZATION_OPS_TD
#define NEMOTRON_QUANTIZATION_OPS_TD

include "dialects/Nemotron/IR/NemotronOpBase.td"

// A number x is stored as a code of 8 bits, q = code(x / scale), rounded to nearest even and saturated, and stands for
// q * scale. Codes are f8E4M3FN, E4M3 of the OCP 8-bit floating point specification, 1.0, at most 448 (the recipe:
// arXiv:2209.05433), or i8, integers from -127 to 127.

//===----------------------------------------------------------------------===//
// Activations
//===----------------------------------------------------------------------===//

def Nemotron_QuantizeOp : Nemotron_Op<"quantize", [Pure]> {
  let summary = "Rounds activations to codes of 8 bits";
  let description = [{
    `result = code(activation(input) / scale)`, of f8E4M3FN or i8. By `scaling`, the scale of a row is its absolute
    maximum / 448 (i8: / 127) (`token`), the absolute maximum of all rows of the step / 448 (`step`), or `static_scale`
    (`static`); a maximum of zero gives 2^-126. `step` makes a row depend on the batch around it; no recipe of ours asks
    for it. A NaN stays one in f8E4M3FN; i8 has none, and the scale of the row becomes NaN.

    (C1) `result` has the channels of `input`. (C2) `static_scale` is there if and only if `scaling` is `static`; it is
    positive and finite. (C3) `activation` is `none` or `relu2`.

    ```mlir
    %q, %s = nemotron.quantize %x {scaling = #nemotron.scaling<token>}
           : tensor<?x192xf32> -> tensor<?x192xf8E4M3FN>, tensor<?x1xf32>
    ```
  }];
  let arguments = (ins Nemotron_Activations:$input, Nemotron_ScalingAttr:$scaling, OptionalAttr<F32Attr>:$static_scale,
                       DefaultValuedAttr<Nemotron_ActivationAttr, "::nemotron::ir::Activation::None">:$activation);
  let results = (outs Nemotron_CodeActivations:$result, Nemotron_RowScales:$scale);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result) `,` type($scale)";
  let hasVerifier = 1;
}

def Nemotron_ScaledMatmulOp : Nemotron_Op<"scaled_matmul", [Pure, AttrSizedOperandSegments]> {
  let summary = "Multiplies each row by a matrix of codes of 8 bits";
  let description = [{
    `result = activation((input * weight^T) * (input_scale * weight_scale) + bias)`. Products are exact, sums of
    f8E4M3FN in f32, those of i8 exact; scales in f32. Without `input_scale` only the weight is quantized, to f8E4M3FN:
    the input is rounded to bf16 first.

    (C1) `dim(input, 1) = dim(weight, 1)`. (C2) `dim(result, 1) = dim(weight, 0)`. (C3) `dim(bias, 0) = dim(weight, 0)`.
    (C4) `weight_scale` has one element, one for each row of `weight`, or is [N, G] for G equal groups of inputs of an
    i8 `weight`: a sum for each, scaled, in order. (C5) `input_scale` is there if and only if
    `input` is of codes. (C6) `activation` is `none` or `relu2`. (C7) `input` is of the codes of `weight`, or `weight` of
    f8E4M3FN.

    ```mlir
    %y = nemotron.scaled_matmul %q scaled %s, %w scaled %ws : (tensor<?x192xf8E4M3FN>, tensor<?x1xf32>,
         tensor<576x192xf8E4M3FN>, tensor<1xf32>) -> tensor<?x576xf32>
    %z = nemotron.scaled_matmul %x, %w scaled %ws
       : (tensor<?x192xf32>, tensor<576x192xf8E4M3FN>, tensor<576xf32>) -> tensor<?x576xf32>
    ```
  }];
  let arguments = (ins AnyTypeOf<[Nemotron_Activations, Nemotron_CodeActivations]>:$input, // [T, K]
                       Optional<Nemotron_RowScales>:$input_scale,                          // [T, 1]
                       Nemotron_CodeMatrix:$weight,                                        // [N, K]
                       Nemotron_MatrixScales:$weight_scale,                                // [1], [N] or [N, G]
                       Optional<Nemotron_Channels>:$bias,                                  // [N]
                       DefaultValuedAttr<Nemotron_ActivationAttr, "::nemotron::ir::Activation::None">:$activation);
  let results = (outs Nemotron_Activations:$result);                                       // [T, N]
  let assemblyFormat = [{
    $input (`scaled` $input_scale^)? `,` $weight `scaled` $weight_scale (`bias` $bias^)? attr-dict
    `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def Nemotron_ScaledMoeExpertsOp : Nemotron_Op<"scaled_moe_experts", [Pure, AttrSizedOperandSegments]> {
  let summary = "Applies the chosen experts, whose matrices are of codes of 8 bits";
  let description = [{
    `moe_experts` with both products as in `scaled_matmul`. The rows that enter a product are quantized first: by the
    static scale of the expert if `up_input_scale` (`down_input_scale`) is there, else each row by its absolute maximum.
    With `weight_only` they are rounded to bf16 instead.

    (C1) `up` is [E, F, K], `down` [E, K, F] with `K = dim(input, 1)`. (C2) `result` has the type of `input`. (C3)
    `indices` and `weights` have one width. (C4) `up_scale` is [E, 1] or [E, F], `down_scale` [E, 1] or [E, K]; for i8 also
    [E, F, G] and [E, K, G], as in `scaled_matmul`. (C5)
    Static scales are [E]. (C6) There are none with `weight_only`. (C7) `up` and `down` are of the same codes, with
    `weight_only` of f8E4M3FN.

    ```mlir
    %y = nemotron.scaled_moe_experts %h, %i, %w, %up scaled %us, %down scaled %ds
       : (tensor<?x96xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x64x96xf8E4M3FN>, tensor<8x1xf32>,
          tensor<8x96x64xf8E4M3FN>, tensor<8x1xf32>) -> tensor<?x96xf32>
    ```
  }];
  let arguments = (ins Nemotron_Activations:$input,                   // [T, K]
                       Nemotron_Indices:$indices,                     // [T, k]
                       Nemotron_Activations:$weights,                 // [T, k]
                       Nemotron_CodeMatrices:$up,                     // [E, F, K]
                       Nemotron_MatricesScales:$up_scale,             // [E, 1], [E, F] or [E, F, G]
                       Nemotron_CodeMatrices:$down,                   // [E, K, F]
                       Nemotron_MatricesScales:$down_scale,           // [E, 1], [E, K] or [E, K, G]
                       Optional<Nemotron_Channels>:$up_input_scale,   // [E]
                       Optional<Nemotron_Channels>:$down_input_scale, // [E]
                       UnitAttr:$weight_only);
  let results = (outs Nemotron_Activations:$result);                  // [T, K]
  let assemblyFormat = [{
    $input `,` $indices `,` $weights `,` $up `scaled` $up_scale `,` $down `scaled` $down_scale
    (`up_input` $up_input_scale^)? (`down_input` $down_input_scale^)? attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Norms that quantize what they give
//===----------------------------------------------------------------------===//

class Nemotron_NormQuantizeOp<string mnemonic, dag operands, dag moreAttributes, dag moreResults, string format>
    : Nemotron_Op<mnemonic, [Pure]> {
  let arguments = !con(operands, (ins F32Attr:$eps), moreAttributes,
                       (ins Nemotron_ScalingAttr:$scaling, OptionalAttr<F32Attr>:$static_scale));
  let results = !con(moreResults, (outs Nemotron_CodeActivations:$result, Nemotron_RowScales:$scale));
  let assemblyFormat = format # " attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Nemotron_RMSNormQuantizeOp : Nemotron_NormQuantizeOp<"rms_norm_quantize",
    (ins Nemotron_Activations:$input, Nemotron_Channels:$weight), (ins), (outs), "$input `,` $weight"> {
  let summary = "RMSNorm whose result is rounded to codes of 8 bits";
  let description = [{
    `result, scale = quantize(rms_norm(input, weight))`, for `scaling` of a token or static.

    (C1) `dim(weight, 0) = dim(input, 1)`. (C2) `result` has the channels of `input`. (C3) `scaling` is `token`, or
    `static` with a `static_scale` that is positive and finite.

    ```mlir
    %q, %s = nemotron.rms_norm_quantize %x, %w {eps = 1.0e-5 : f32, scaling = #nemotron.scaling<token>}
           : (tensor<?x192xf32>, tensor<192xf32>) -> (tensor<?x192xf8E4M3FN>, tensor<?x1xf32>)
    ```
  }];
}

def Nemotron_AddRMSNormQuantizeOp : Nemotron_NormQuantizeOp<"add_rms_norm_quantize",
    (ins Nemotron_Activations:$residual, Nemotron_Activations:$delta, Nemotron_Channels:$weight), (ins),
    (outs Nemotron_Activations:$sum), "$residual `,` $delta `,` $weight"> {
  let summary = "Residual add and RMSNorm whose result is rounded to codes of 8 bits";
  let description = [{
    `sum, y = add_rms_norm(residual, delta, weight)`, `result, scale = quantize(y)`.

    (C1) `dim(weight, 0) = dim(residual, 1)`. (C2) `result` has the channels of `residual`. (C3) `scaling` as for
    `rms_norm_quantize`. (C4) `residual`, `delta` and `sum` have one type.

    ```mlir
    %h, %q, %s = nemotron.add_rms_norm_quantize %r, %a, %w
                 {eps = 1.0e-5 : f32, scaling = #nemotron.scaling<static>, static_scale = 0.0125 : f32}
               : (tensor<?x192xf32>, tensor<?x192xf32>, tensor<192xf32>)
                 -> (tensor<?x192xf32>, tensor<?x192xf8E4M3FN>, tensor<?x1xf32>)
    ```
  }];
}

def Nemotron_LayerNormQuantizeOp : Nemotron_NormQuantizeOp<"layer_norm_quantize",
    (ins Nemotron_Activations:$input, Nemotron_Channels:$weight, Optional<Nemotron_Channels>:$bias),
    (ins UnitAttr:$unit_offset), (outs), "$input `,` $weight (`bias` $bias^)?"> {
  let summary = "LayerNorm whose result is rounded to codes of 8 bits";
  let description = [{
    `result, scale = quantize(layer_norm(input, weight, bias))`.

    (C1) `dim(weight, 0) = dim(input, 1)`, and so is `dim(bias, 0)`. (C2) `result` has the channels of `input`. (C3)
    `scaling` as for `rms_norm_quantize`.

    ```mlir
    %q, %s = nemotron.layer_norm_quantize %x, %w {eps = 1.0e-5 : f32, unit_offset, scaling = #nemotron.scaling<token>}
           : (tensor<?x128xf32>, tensor<128xf32>) -> (tensor<?x128xf8E4M3FN>, tensor<?x1xf32>)
    ```
  }];
}

def Nemotron_AddLayerNormQuantizeOp : Nemotron_NormQuantizeOp<"add_layer_norm_quantize",
    (ins Nemotron_Activations:$residual, Nemotron_Activations:$delta, Nemotron_Channels:$weight,
         Optional<Nemotron_Channels>:$bias),
    (ins UnitAttr:$unit_offset), (outs Nemotron_Activations:$sum),
    "$residual `,` $delta `,` $weight (`bias` $bias^)?"> {
  let summary = "Residual add and LayerNorm whose result is rounded to codes of 8 bits";
  let description = [{
    `sum, y = add_layer_norm(residual, delta, weight, bias)`, `result, scale = quantize(y)`.

    (C1) `dim(weight, 0) = dim(residual, 1)`, and so is `dim(bias, 0)`. (C2) `result` has the channels of `residual`.
    (C3) `scaling` as for `rms_norm_quantize`. (C4) `residual`, `delta` and `sum` have one type.

    ```mlir
    %h, %q, %s = nemotron.add_layer_norm_quantize %r, %a, %w bias %b
                 {eps = 1.0e-5 : f32, unit_offset, scaling = #nemotron.scaling<token>}
               : (tensor<?x128xf32>, tensor<?x128xf32>, tensor<128xf32>, tensor<128xf32>)
                 -> (tensor<?x128xf32>, tensor<?x128xf8E4M3FN>, tensor<?x1xf32>)
    ```
  }];
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

def Nemotron_AbsmaxScaleOp : Nemotron_WeightOp<"absmax_scale"> {
  let summary = "The scale that maps the absolute maximum of a weight to the largest code";
  let description = [{
    `result = max(|input|) / largest`, 448 for f8E4M3FN and 127 for i8, at least 2^-126, over what an element of the result stands for: of a matrix [N, K]
    all of it ([1]), each row ([N]), or each of G equal groups of a row ([N, G]); of a stack [E, N, K] each matrix
    ([E, 1]), each row ([E, N]), or each group ([E, N, G]).

    (C1) `result` has one of these shapes and elements of f32. (C2) `largest` is positive and finite.

    ```mlir
    %s = nemotron.absmax_scale %w : tensor<576x192xbf16> to tensor<1xf32>
    %t = nemotron.absmax_scale %w {largest = 127.0 : f32} : tensor<576x192xbf16> to tensor<576xf32>
    ```
  }];
  let arguments = (ins Nemotron_FloatWeight:$input, DefaultValuedAttr<F32Attr, "448.0f">:$largest);
  let results = (outs Nemotron_FloatWeight:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `to` type($result)";
  let hasVerifier = 1;
}

def Nemotron_QuantizeWeightOp : Nemotron_WeightOp<"quantize_weight"> {
  let summary = "Rounds a weight to codes of 8 bits";
  let description = [{
    `result = code(input / scale)`, in f32, rounded to nearest even and saturated.

    (C1) `result` has the shape of `input` and elements of f8E4M3FN or i8. (C2) `scale` has one of the shapes of
    `absmax_scale` and elements of f32.

    ```mlir
    %q = nemotron.quantize_weight %w, %s : (tensor<576x192xbf16>, tensor<1xf32>) -> tensor<576x192xf8E4M3FN>
    ```
  }];
  let arguments = (ins Nemotron_FloatWeight:$input, Nemotron_FloatWeight:$scale);
  let results = (outs Nemotron_Weight:$result);
  let assemblyFormat = "$input `,` $scale attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Nemotron_DequantizeOp : Nemotron_WeightOp<"dequantize"> {
  let summary = "Gives a weight of 8-bit floats back its values";
  let description = [{
    `result = input * scale`, one product in f32.

    (C1) `result` has the shape of `input`, of f8E4M3FN, and elements of f32. (C2) `scale` has one of the shapes of
    `absmax_scale` and elements of f32.

    ```mlir
    %w = nemotron.dequantize %q, %s : (tensor<576x192xf8E4M3FN>, tensor<1xf32>) -> tensor<576x192xf32>
    ```
  }];
  let arguments = (ins Nemotron_Weight:$input, Nemotron_FloatWeight:$scale);
  let results = (outs Nemotron_FloatWeight:$result);
  let assemblyFormat = "$input `,` $scale attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Nemotron_BroadcastOp : Nemotron_WeightOp<"broadcast"> {
  let summary = "Repeats the only element of the last dimension of a weight";
  let description = [{
    (C1) The last dimension of `input` is 1. (C2) `result` differs from `input` in the last dimension only.

    ```mlir
    %r = nemotron.broadcast %s : tensor<1xf32> to tensor<256xf32>
    ```
  }];
  let arguments = (ins Nemotron_FloatWeight:$input);
  let results = (outs Nemotron_FloatWeight:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `to` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Nemotron_FillOp : Nemotron_WeightOp<"fill"> {
  let summary = "A weight whose elements are all the same number";
  let description = [{
    (C1) Elements of the result are f32.

    ```mlir
    %s = nemotron.fill 0.0125 : tensor<8xf32>
    ```
  }];
  let arguments = (ins F32Attr:$value);
  let results = (outs Nemotron_FloatWeight:$result);
  let assemblyFormat = "$value attr-dict `:` type($result)";
  let hasVerifier = 1;
}

#endif // NEMOTRON_QUANTIZATION_OPS_TD
