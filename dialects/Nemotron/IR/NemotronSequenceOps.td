//===- NemotronSequenceOps.td - ops that mix tokens of a sequence, and their state --------------------------------===//
#ifndef NEMOTRON_SEQUENCE_OPS_TD
#define NEMOTRON_SEQUENCE_OPS_TD

include "dialects/Nemotron/IR/NemotronOpBase.td"

def Nemotron_RotaryEmbeddingOp : Nemotron_Op<"rotary_embedding",
    [Pure, AllTypesMatch<["input", "result"]> /*rotary_embedding_c1*/]> {
  let summary = "Rotates pairs of channels by an angle that grows with the position";
  let description = [{
    Of each head the first `rotary_dim` channels rotate, the rest pass. Channel j pairs with j + rotary_dim/2; the
    angle is `position * position_scale * theta^(-2j / rotary_dim)`, in f32. arXiv:2104.09864, section 3.4, in split
    halves.

    With `bf16_frequencies` the powers of theta are rounded to bf16 first, as in a model that was cast to bf16 as a whole.

    (C1) `input` and `result` have one type. (C2) `head_dim` divides `dim(input, 1)`. (C3) `rotary_dim` is even,
    `0 < rotary_dim <= head_dim`.

    ```mlir
    %r = nemotron.rotary_embedding %q of %batch
         {head_dim = 16, rotary_dim = 8, theta = 1.0e4 : f32, position_scale = 1.0 : f32}
       : (tensor<?x128xf32>, !nemotron.batch) -> tensor<?x128xf32>
    ```
  }];
  let arguments = (ins Nemotron_Activations:$input, Nemotron_BatchType:$batch,
                       ConfinedAttr<I64Attr, [IntPositive]>:$head_dim, ConfinedAttr<I64Attr, [IntPositive]>:$rotary_dim,
                       F32Attr:$theta, DefaultValuedAttr<F32Attr, "1.0f">:$position_scale,
                       UnitAttr:$bf16_frequencies);
  let results = (outs Nemotron_Activations:$result);
  let assemblyFormat = "$input `of` $batch attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Nemotron_AttentionOp : Nemotron_StateOp<"attention"> {
  let summary = "Causal grouped-query attention over the KV cache";
  let description = [{
    Keys and values of the step are stored in the cache; each query then reads all positions up to its own. Query head
    q reads key/value head q / (num_heads / num_kv_heads). Scores are scaled by `scale`; softmax in f32.

    (C1) `dim(query, 1) = num_heads * head_dim`. (C2) `dim(key, 1) = dim(value, 1) = num_kv_heads * head_dim`.
    (C3) `num_kv_heads` divides `num_heads`. (C4) `result` has the type of `query`. (C5) `state` is a `kv_cache` of
    [2, num_kv_heads, head_dim]. (C6) `key_scale` and `value_scale` are there if and only if the cache is of 8-bit
    floats: a key k is stored as f8E4M3FN(k / key_scale). (C7) They are positive and finite.

    ```mlir
    %o = nemotron.attention %q, %k, %v of %batch cache @layers.7.kv
         {num_heads = 4, num_kv_heads = 2, head_dim = 64, scale = 0.125 : f32}
       : (tensor<?x256xf32>, tensor<?x128xf32>, tensor<?x128xf32>, !nemotron.batch) -> tensor<?x256xf32>
    ```
  }];
  let arguments = (ins Nemotron_Activations:$query, Nemotron_Activations:$key, Nemotron_Activations:$value,
                       Nemotron_BatchType:$batch, FlatSymbolRefAttr:$state,
                       ConfinedAttr<I64Attr, [IntPositive]>:$num_heads,
                       ConfinedAttr<I64Attr, [IntPositive]>:$num_kv_heads,
                       ConfinedAttr<I64Attr, [IntPositive]>:$head_dim, F32Attr:$scale,
                       OptionalAttr<F32Attr>:$key_scale, OptionalAttr<F32Attr>:$value_scale);
  let results = (outs Nemotron_Activations:$result);
  let assemblyFormat = [{
    $query `,` $key `,` $value `of` $batch `cache` $state attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def Nemotron_CausalConv1dOp : Nemotron_StateOp<"causal_conv1d"> {
  let summary = "Depthwise causal convolution";
  let description = [{
    `result[t, c] = activation(bias[c] + sum over w of weight[c, w] * input[t - (W - 1) + w, c])`; inputs before the
    step come from the state (zero at the start of a sequence), which then holds the last W - 1 inputs. Sums in f32.

    (C1) `dim(weight, 0) = dim(bias, 0) = dim(input, 1)`. (C2) `result` has the type of `input`. (C3) `state` is a
    `conv` of [W - 1, C]. (C4) `activation` is `none` or `silu`.

    ```mlir
    %c = nemotron.causal_conv1d %x, %w bias %b of %batch conv @layers.0.conv {activation = #nemotron.activation<silu>}
       : (tensor<?x640xf32>, tensor<640x4xf32>, tensor<640xf32>, !nemotron.batch) -> tensor<?x640xf32>
    ```
  }];
  let arguments = (ins Nemotron_Activations:$input, Nemotron_Matrix:$weight, Optional<Nemotron_Channels>:$bias,
                       Nemotron_BatchType:$batch, FlatSymbolRefAttr:$state,
                       DefaultValuedAttr<Nemotron_ActivationAttr, "::nemotron::ir::Activation::None">:$activation);
  let results = (outs Nemotron_Activations:$result);
  let assemblyFormat = [{
    $input `,` $weight (`bias` $bias^)? `of` $batch `conv` $state attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

class Nemotron_ScanArguments {
  dag inputs = (ins Nemotron_Activations:$x,    // [T, H * P]
                    Nemotron_Activations:$b,    // [T, G * N]
                    Nemotron_Activations:$c,    // [T, G * N]
                    Nemotron_Activations:$dt,   // [T, H]
                    Nemotron_Channels:$a_log,   // [H]
                    Nemotron_Channels:$dt_bias); // [H]
  dag attributes = (ins Nemotron_BatchType:$batch, FlatSymbolRefAttr:$state,
                        ConfinedAttr<I64Attr, [IntPositive]>:$num_heads, ConfinedAttr<I64Attr, [IntPositive]>:$head_dim,
                        ConfinedAttr<I64Attr, [IntPositive]>:$n_groups,
                        ConfinedAttr<I64Attr, [IntPositive]>:$state_size,
                        DefaultValuedAttr<F32Attr, "0.0f">:$dt_min,
                        DefaultValuedAttr<F32Attr, "::std::numeric_limits<float>::infinity()">:$dt_max);
}

def Nemotron_SsmScanOp : Nemotron_StateOp<"ssm_scan"> {
  let summary = "Selective state-space scan of Mamba-2";
  let description = [{
    Per head h of group g = h / (H / G), with `dt = clamp(softplus(dt + dt_bias), dt_min, dt_max)` (softplus is the
    identity above 20) and `A = -exp(a_log)`: `S <- exp(dt * A) * S + (dt * x) outer b_g`, `result = S * c_g`. S is [P,
    N], zero at the start of a sequence, kept in the state. All in f32. arXiv:2405.21060, section 3.

    (C1) `dim(x, 1) = dim(result, 1) = num_heads * head_dim`. (C2) `dim(b, 1) = dim(c, 1) = n_groups * state_size`.
    (C3) `dim(dt, 1)`, `dim(a_log, 0)`, `dim(dt_bias, 0)` are `num_heads`. (C4) `n_groups` divides `num_heads`. (C5)
    `state` is an `ssm` of [num_heads, head_dim, state_size]. (C6) `0 <= dt_min < dt_max`.

    ```mlir
    %y = nemotron.ssm_scan %x, %b, %c, %dt, %a_log, %dt_bias of %batch ssm @layers.0.ssm
         {num_heads = 6, head_dim = 64, n_groups = 2, state_size = 64}
       : (tensor<?x384xf32>, tensor<?x128xf32>, tensor<?x128xf32>, tensor<?x6xf32>, tensor<6xf32>, tensor<6xf32>,
          !nemotron.batch) -> tensor<?x384xf32>
    ```
  }];
  let arguments = !con(Nemotron_ScanArguments<>.inputs, Nemotron_ScanArguments<>.attributes);
  let results = (outs Nemotron_Activations:$result);
  let assemblyFormat = [{
    $x `,` $b `,` $c `,` $dt `,` $a_log `,` $dt_bias `of` $batch `ssm` $state attr-dict
    `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def Nemotron_SsmSkipOp : Nemotron_Op<"ssm_skip", [Pure, AllTypesMatch<["y", "x", "result"]> /*ssm_skip_c1*/]> {
  let summary = "Adds the input of a scan to its output, scaled by head";
  let description = [{
    `result = y + d_h * x`, in f32.

    (C1) `y`, `x`, `result` have one type. (C2) `dim(y, 1) = dim(d, 0) * head_dim`.

    ```mlir
    %s = nemotron.ssm_skip %y, %x, %d {head_dim = 64} : tensor<?x384xf32>, tensor<6xf32>
    ```
  }];
  let arguments = (ins Nemotron_Activations:$y, Nemotron_Activations:$x, Nemotron_Channels:$d,
                       ConfinedAttr<I64Attr, [IntPositive]>:$head_dim);
  let results = (outs Nemotron_Activations:$result);
  let assemblyFormat = "$y `,` $x `,` $d attr-dict `:` type($y) `,` type($d)";
  let hasVerifier = 1;
}

def Nemotron_SsmScanGatedNormOp : Nemotron_StateOp<"ssm_scan_gated_norm"> {
  let summary = "Scan, skip and gated norm in one";
  let description = [{
    `result = gated_rms_norm(ssm_skip(ssm_scan(x, b, c, dt), x, d), gate, weight)`: the output of the scan never leaves
    the group that the norm reads.

    (C1) to (C6) as for `ssm_scan`. (C7) `gate` has the type of `x`. (C8) `dim(d, 0) = num_heads`. (C9) `dim(weight, 0)
    = dim(x, 1)`, and `n_groups` is also the number of groups of the norm.

    ```mlir
    %y = nemotron.ssm_scan_gated_norm %x, %b, %c, %dt, %a_log, %dt_bias, %z, %d, %w of %batch ssm @layers.0.ssm
         {num_heads = 6, head_dim = 64, n_groups = 2, state_size = 64, eps = 1.0e-5 : f32}
       : (tensor<?x384xf32>, tensor<?x128xf32>, tensor<?x128xf32>, tensor<?x6xf32>, tensor<6xf32>, tensor<6xf32>,
          tensor<?x384xf32>, tensor<6xf32>, tensor<384xf32>, !nemotron.batch) -> tensor<?x384xf32>
    ```
  }];
  let arguments = !con(Nemotron_ScanArguments<>.inputs,
                       (ins Nemotron_Activations:$gate, // [T, H * P]
                            Nemotron_Channels:$d,       // [H]
                            Nemotron_Channels:$weight), // [H * P]
                       Nemotron_ScanArguments<>.attributes, (ins F32Attr:$eps));
  let results = (outs Nemotron_Activations:$result);
  let assemblyFormat = [{
    $x `,` $b `,` $c `,` $dt `,` $a_log `,` $dt_bias `,` $gate `,` $d `,` $weight `of` $batch `ssm` $state attr-dict
    `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

#endif // NEMOTRON_SEQUENCE_OPS_TD
