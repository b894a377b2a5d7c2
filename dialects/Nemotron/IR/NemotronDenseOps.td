//===- NemotronDenseOps.td - embedding, matrices, elementwise ops, experts ----------------------------------------===//
#ifndef NEMOTRON_DENSE_OPS_TD
#define NEMOTRON_DENSE_OPS_TD

include "dialects/Nemotron/IR/NemotronOpBase.td"

def Nemotron_EmbeddingOp : Nemotron_Op<"embedding", [Pure]> {
  let summary = "Looks up a row of a table for each token";
  let description = [{
    (C1) `dim(result, 1) = dim(weight, 1)`.

    ```mlir
    %h = nemotron.embedding %tokens, %w : (tensor<?xi32>, tensor<4096x192xbf16>) -> tensor<?x192xf32>
    ```
  }];
  let arguments = (ins Nemotron_Tokens:$tokens,  // [T]
                       Nemotron_Matrix:$weight); // [V, D]
  let results = (outs Nemotron_Activations:$result); // [T, D]
  let assemblyFormat = "$tokens `,` $weight attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Nemotron_SelectRowsOp : Nemotron_Op<"select_rows", [Pure]> {
  let summary = "Keeps the rows whose logits the batch asks for";
  let description = [{
    (C1) Types of `input` and `result` agree (their leading dimensions are T and R).

    ```mlir
    %r = nemotron.select_rows %h of %batch : (tensor<?x192xf32>, !nemotron.batch) -> tensor<?x192xf32>
    ```
  }];
  let arguments = (ins Nemotron_Activations:$input, Nemotron_BatchType:$batch);
  let results = (outs Nemotron_Activations:$result);
  let assemblyFormat = "$input `of` $batch attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Nemotron_LinearOp : Nemotron_Op<"linear", [Pure]> {
  let summary = "Multiplies each row by a matrix";
  let description = [{
    `result = activation(input * weight^T + bias)`. A bf16 weight means that the input is rounded to bf16 first; sums
    in f32. With `split_input` the input is replaced by the sum of two bf16 numbers instead, a relative error of 2^-17
    in place of 2^-9 for twice the multiply-adds and the same bytes of weights.

    (C1) `dim(input, 1) = dim(weight, 1)`. (C2) `dim(result, 1) = dim(weight, 0)`. (C3) `dim(bias, 0) = dim(weight, 0)`.
    (C4) `activation` is `none` or `relu2`.

    ```mlir
    %y = nemotron.linear %x, %w : (tensor<?x192xf32>, tensor<576x192xbf16>) -> tensor<?x576xf32>
    %z = nemotron.linear %x, %w bias %b {activation = #nemotron.activation<relu2>}
       : (tensor<?x192xf32>, tensor<576x192xbf16>, tensor<576xf32>) -> tensor<?x576xf32>
    ```
  }];
  let arguments = (ins Nemotron_Activations:$input,       // [T, K]
                       Nemotron_Matrix:$weight,           // [N, K]
                       Optional<Nemotron_Channels>:$bias, // [N]
                       DefaultValuedAttr<Nemotron_ActivationAttr, "::nemotron::ir::Activation::None">:$activation,
                       UnitAttr:$split_input);
  let results = (outs Nemotron_Activations:$result);      // [T, N]
  let assemblyFormat = "$input `,` $weight (`bias` $bias^)? attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Nemotron_SplitOp : Nemotron_Op<"split", [Pure]> {
  let summary = "Cuts each row into runs of channels";
  let description = [{
    The runs follow each other; their widths are those of the results.

    (C1) Widths of the results add up to that of the input. (C2) Element types agree.

    ```mlir
    %q, %k, %v = nemotron.split %qkv : (tensor<?x512xf32>) -> (tensor<?x256xf32>, tensor<?x128xf32>, tensor<?x128xf32>)
    ```
  }];
  let arguments = (ins Nemotron_Activations:$input);
  let results = (outs Variadic<Nemotron_Activations>:$results);
  let assemblyFormat = "$input attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Nemotron_AddOp : Nemotron_Op<"add", [Pure, Commutative, SameOperandsAndResultType]> {
  let summary = "Adds two activations";
  let description = [{
    ```mlir
    %s = nemotron.add %a, %b : tensor<?x192xf32>
    ```
  }];
  let arguments = (ins Nemotron_Activations:$lhs, Nemotron_Activations:$rhs);
  let results = (outs Nemotron_Activations:$result);
  let assemblyFormat = "$lhs `,` $rhs attr-dict `:` type($result)";
}

def Nemotron_Relu2Op : Nemotron_Op<"relu2", [Pure, SameOperandsAndResultType]> {
  let summary = "Squared ReLU, max(x, 0)^2";
  let description = [{
    arXiv:2109.08668, section 3.

    ```mlir
    %y = nemotron.relu2 %x : tensor<?x576xf32>
    ```
  }];
  let arguments = (ins Nemotron_Activations:$input);
  let results = (outs Nemotron_Activations:$result);
  let assemblyFormat = "$input attr-dict `:` type($result)";
}

def Nemotron_SiluOp : Nemotron_Op<"silu", [Pure, SameOperandsAndResultType]> {
  let summary = "SiLU, x * sigmoid(x)";
  let description = [{
    ```mlir
    %y = nemotron.silu %x : tensor<?x640xf32>
    ```
  }];
  let arguments = (ins Nemotron_Activations:$input);
  let results = (outs Nemotron_Activations:$result);
  let assemblyFormat = "$input attr-dict `:` type($result)";
}

def Nemotron_MoeRouteOp : Nemotron_Op<"moe_route", [Pure]> {
  let summary = "Chooses experts for each token and weighs them";
  let description = [{
    `s = sigmoid(input * weight^T)`, all in f32. The k largest of `s + correction_bias` are picked; if `n_group > 1`,
    only from the `topk_group` groups of experts with the best sum of their two best choices. Of equal choices the
    lower index wins. Weights are `s` at the picks, divided by (sum + 1e-20) if `norm_topk_prob`, times
    `routed_scaling_factor`. Picks are ordered by expert. DeepSeek-V3, arXiv:2412.19437, section 2.1.2.

    (C1) `dim(input, 1) = dim(weight, 1)`. (C2) `dim(correction_bias, 0) = dim(weight, 0) = E`. (C3) `indices` and
    `weights` are [T, k] with one k, `1 <= k <= E`. (C4) `n_group` divides E, `1 <= topk_group <= n_group`. (C5) k
    experts fit in `topk_group` groups.

    ```mlir
    %i, %w = nemotron.moe_route %h, %gate, %bias
             {n_group = 1, topk_group = 1, norm_topk_prob = true, routed_scaling_factor = 2.5 : f32}
       : (tensor<?x96xf32>, tensor<8x96xf32>, tensor<8xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
    ```
  }];
  let arguments = (ins Nemotron_Activations:$input,        // [T, D]
                       Nemotron_Matrix:$weight,            // [E, D]
                       Nemotron_Channels:$correction_bias, // [E]
                       ConfinedAttr<I64Attr, [IntPositive]>:$n_group, ConfinedAttr<I64Attr, [IntPositive]>:$topk_group,
                       BoolAttr:$norm_topk_prob, F32Attr:$routed_scaling_factor);
  let results = (outs Nemotron_Indices:$indices,           // [T, k]
                      Nemotron_Activations:$weights);      // [T, k]
  let assemblyFormat = "$input `,` $weight `,` $correction_bias attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Nemotron_MoeExpertsOp : Nemotron_Op<"moe_experts", [Pure]> {
  let summary = "Applies the chosen experts and adds up their outputs";
  let description = [{
    `result = sum over picks of weight * down_e(relu2(up_e(input)))`, in the order of the picks, in f32. No token is
    dropped. `split_input` is that of `linear`, for both products.

    (C1) `up` is [E, F, K], `down` [E, K, F] with `K = dim(input, 1)`. (C2) `result` has the type of `input`. (C3)
    `indices` and `weights` have one width. (C4) `up` and `down` have one element type.

    ```mlir
    %y = nemotron.moe_experts %h, %i, %w, %up, %down : (tensor<?x96xf32>, tensor<?x2xi32>, tensor<?x2xf32>,
         tensor<8x64x96xbf16>, tensor<8x96x64xbf16>) -> tensor<?x96xf32>
    ```
  }];
  let arguments = (ins Nemotron_Activations:$input,   // [T, K]
                       Nemotron_Indices:$indices,     // [T, k]
                       Nemotron_Activations:$weights, // [T, k]
                       Nemotron_Matrices:$up,         // [E, F, K]
                       Nemotron_Matrices:$down,       // [E, K, F]
                       UnitAttr:$split_input);
  let results = (outs Nemotron_Activations:$result);  // [T, K]
  let assemblyFormat = [{
    $input `,` $indices `,` $weights `,` $up `,` $down attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

#endif // NEMOTRON_DENSE_OPS_TD
