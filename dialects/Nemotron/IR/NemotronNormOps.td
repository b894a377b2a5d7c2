//===- NemotronNormOps.td - normalisations ------------------------------------------------------------------------===//
#ifndef NEMOTRON_NORM_OPS_TD
#define NEMOTRON_NORM_OPS_TD

include "dialects/Nemotron/IR/NemotronOpBase.td"

def Nemotron_RMSNormOp : Nemotron_Op<"rms_norm", [Pure, AllTypesMatch<["input", "result"]> /*rms_norm_c1*/]> {
  let summary = "Divides each row by its root mean square";
  let description = [{
    `result = input * rsqrt(mean(input^2) + eps) * weight`, all in f32. arXiv:1910.07467.

    (C1) `input` and `result` have one type. (C2) `dim(weight, 0) = dim(input, 1)`.

    ```mlir
    %y = nemotron.rms_norm %x, %w {eps = 1.0e-5 : f32} : tensor<?x192xf32>, tensor<192xf32>
    ```
  }];
  let arguments = (ins Nemotron_Activations:$input, Nemotron_Channels:$weight, F32Attr:$eps);
  let results = (outs Nemotron_Activations:$result);
  let assemblyFormat = "$input `,` $weight attr-dict `:` type($input) `,` type($weight)";
  let hasVerifier = 1;
}

def Nemotron_AddRMSNormOp : Nemotron_Op<"add_rms_norm",
    [Pure, AllTypesMatch<["residual", "delta", "sum", "result"]> /*add_rms_norm_c1*/]> {
  let summary = "Adds to the residual stream and normalises the sum";
  let description = [{
    `sum = residual + delta`, `result = rms_norm(sum)`.

    (C1) `residual`, `delta`, `sum` and `result` have one type. (C2) `dim(weight, 0) = dim(residual, 1)`.

    ```mlir
    %h, %y = nemotron.add_rms_norm %r, %a, %w {eps = 1.0e-5 : f32} : tensor<?x192xf32>, tensor<192xf32>
    ```
  }];
  let arguments = (ins Nemotron_Activations:$residual, Nemotron_Activations:$delta, Nemotron_Channels:$weight,
                       F32Attr:$eps);
  let results = (outs Nemotron_Activations:$sum, Nemotron_Activations:$result);
  let assemblyFormat = "$residual `,` $delta `,` $weight attr-dict `:` type($residual) `,` type($weight)";
  let hasVerifier = 1;
}

def Nemotron_LayerNormOp : Nemotron_Op<"layer_norm", [Pure, AllTypesMatch<["input", "result"]> /*layer_norm_c1*/]> {
  let summary = "Subtracts the mean of each row and divides by its standard deviation";
  let description = [{
    `result = (input - mean) * rsqrt(var + eps) * gain + bias` with the biased variance, all in f32. The gain is
    `weight`, or `weight + 1` if `unit_offset` (LayerNorm1P of Nemotron-4), added in f32. arXiv:1607.06450.

    (C1) `input` and `result` have one type. (C2) `dim(weight, 0) = dim(input, 1)`. (C3) `dim(bias, 0) = dim(input, 1)`.

    ```mlir
    %y = nemotron.layer_norm %x, %w bias %b {eps = 1.0e-5 : f32, unit_offset}
       : (tensor<?x128xf32>, tensor<128xf32>, tensor<128xf32>) -> tensor<?x128xf32>
    ```
  }];
  let arguments = (ins Nemotron_Activations:$input, Nemotron_Channels:$weight, Optional<Nemotron_Channels>:$bias,
                       F32Attr:$eps, UnitAttr:$unit_offset);
  let results = (outs Nemotron_Activations:$result);
  let assemblyFormat = "$input `,` $weight (`bias` $bias^)? attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Nemotron_AddLayerNormOp : Nemotron_Op<"add_layer_norm",
    [Pure, AllTypesMatch<["residual", "delta", "sum", "result"]> /*add_layer_norm_c1*/]> {
  let summary = "Adds to the residual stream and layer-normalises the sum";
  let description = [{
    `sum = residual + delta`, `result = layer_norm(sum)`.

    (C1) `residual`, `delta`, `sum` and `result` have one type. (C2) `dim(weight, 0) = dim(residual, 1)`.
    (C3) `dim(bias, 0) = dim(residual, 1)`.

    ```mlir
    %h, %y = nemotron.add_layer_norm %r, %a, %w bias %b {eps = 1.0e-5 : f32, unit_offset}
       : (tensor<?x128xf32>, tensor<?x128xf32>, tensor<128xf32>, tensor<128xf32>)
         -> (tensor<?x128xf32>, tensor<?x128xf32>)
    ```
  }];
  let arguments = (ins Nemotron_Activations:$residual, Nemotron_Activations:$delta, Nemotron_Channels:$weight,
                       Optional<Nemotron_Channels>:$bias, F32Attr:$eps, UnitAttr:$unit_offset);
  let results = (outs Nemotron_Activations:$sum, Nemotron_Activations:$result);
  let assemblyFormat = [{
    $residual `,` $delta `,` $weight (`bias` $bias^)? attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def Nemotron_GatedRMSNormOp : Nemotron_Op<"gated_rms_norm",
    [Pure, AllTypesMatch<["input", "gate", "result"]> /*gated_rms_norm_c1*/]> {
  let summary = "Grouped RMSNorm of a gated input";
  let description = [{
    With `u = input * silu(gate)`, each row of `u` is split into `n_groups` equal runs of channels; a run is divided by
    its root mean square and scaled by `weight`. Means and products in f32. Mamba-2, arXiv:2405.21060, section 7.

    (C1) `input`, `gate`, `result` have one type. (C2) `dim(weight, 0) = dim(input, 1)`. (C3) `n_groups` divides it.

    ```mlir
    %y = nemotron.gated_rms_norm %x, %z, %w {n_groups = 8, eps = 1.0e-5 : f32} : tensor<?x8192xf32>, tensor<8192xf32>
    ```
  }];
  let arguments = (ins Nemotron_Activations:$input, Nemotron_Activations:$gate, Nemotron_Channels:$weight,
                       ConfinedAttr<I64Attr, [IntPositive]>:$n_groups, F32Attr:$eps);
  let results = (outs Nemotron_Activations:$result);
  let assemblyFormat = "$input `,` $gate `,` $weight attr-dict `:` type($input) `,` type($weight)";
  let hasVerifier = 1;
}

#endif // NEMOTRON_NORM_OPS_TD
