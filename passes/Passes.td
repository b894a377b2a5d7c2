//===- Passes.td - passes on the nemotron dialect -----------------------------------------------------------------===//
#ifndef NEMOTRON_PASSES_TD
#define NEMOTRON_PASSES_TD

include "mlir/Pass/PassBase.td"

def FuseAddRMSNormPass : Pass<"nemotron-fuse-add-rms-norm", "::mlir::func::FuncOp"> {
  let summary = "Fuse a residual add into the RMSNorm that reads it";
  let description = [{
    Saves one read of the residual stream, [T, D], and one dispatch a norm. The sum stays a result, because the next
    residual add reads it.

    ```mlir
    %h = nemotron.add %r, %a                 %h, %y = nemotron.add_rms_norm %r, %a, %w
    %y = nemotron.rms_norm %h, %w     ->
    ```

    The fused op stands where the add stood; what computes the weight moves up if it has to. Of several norms of one sum
    the first is fused. A pair is left alone if the norm stands in another block than the add, or if its weight is not
    known above the add and is not made of weights only.
  }];
  let statistics = [Statistic<"numFused", "num-fused", "Pairs fused">];
}

def FuseAddLayerNormPass : Pass<"nemotron-fuse-add-layer-norm", "::mlir::func::FuncOp"> {
  let summary = "Fuse a residual add into the LayerNorm that reads it";
  let description = [{
    As `nemotron-fuse-add-rms-norm`, for the norm of Nemotron-4, with or without a bias; `unit_offset` is kept.

    ```mlir
    %h = nemotron.add %r, %a                            %h, %y = nemotron.add_layer_norm %r, %a, %w bias %b
    %y = nemotron.layer_norm %h, %w bias %b      ->
    ```
  }];
  let statistics = [Statistic<"numFused", "num-fused", "Pairs fused">];
}

def FuseQKVPass : Pass<"nemotron-fuse-qkv", "::mlir::func::FuncOp"> {
  let summary = "Compute query, key and value of an attention with one matrix";
  let description = [{
    One matrix of H + 2 Kh heads instead of three: the input, [T, D], is read (and rounded to bf16) once instead of
    three times, one dispatch replaces three, and the small matrices of keys and values no longer leave cores idle.
    `split` becomes views in the plan and costs nothing.

    ```mlir
    %q = nemotron.linear %x, %wq             %w = nemotron.concat %wq, %wk, %wv
    %k = nemotron.linear %x, %wk      ->     %qkv = nemotron.linear %x, %w
    %v = nemotron.linear %x, %wv             %q, %k, %v = nemotron.split %qkv
    %o = nemotron.attention %q, %k, %v       %o = nemotron.attention %q, %k, %v
    ```

    Queries and keys may pass through `rotary_embedding` on their way. The linears need not be next to each other; the
    fused one stands where the first stood. Nothing is done if the linears differ in their input, in the element type of
    weights or results, in having a bias (or its element type), or in their activation; if they stand in different
    blocks; or if a weight is not known above the first linear and is not made of weights only.
  }];
  let statistics = [Statistic<"numFused", "num-fused", "Attentions whose linears were fused">];
}

def FuseLinearActivationPass : Pass<"nemotron-fuse-linear-activation", "::mlir::func::FuncOp"> {
  let summary = "Apply a squared ReLU while the matrix product is still in registers";
  let description = [{
    Saves one write and one read of [T, F], the widest activation of a model, and one dispatch. With bf16 activations
    the product is no longer rounded before it is squared.

    ```mlir
    %u = nemotron.linear %x, %w      ->     %y = nemotron.linear %x, %w {activation = #nemotron.activation<relu2>}
    %y = nemotron.relu2 %u
    ```

    A linear whose result has another use, or that has an activation already, is left alone.
  }];
  let statistics = [Statistic<"numFused", "num-fused", "Activations fused">];
}

def FuseConvActivationPass : Pass<"nemotron-fuse-conv-activation", "::mlir::func::FuncOp"> {
  let summary = "Apply SiLU to the sums of a causal convolution";
  let description = [{
    Saves one write and one read of [T, C], the channels of x, B and C of a Mamba-2 layer, and one dispatch. The
    convolution, which uses a state, does not move. With bf16 activations the sum is no longer rounded before SiLU.

    ```mlir
    %u = nemotron.causal_conv1d %x, %w ...    ->    %y = nemotron.causal_conv1d %x, %w ... {activation = silu}
    %y = nemotron.silu %u
    ```

    A convolution whose result has another use, or that has an activation already, is left alone.
  }];
  let statistics = [Statistic<"numFused", "num-fused", "Activations fused">];
}

def FuseScanNormPass : Pass<"nemotron-fuse-scan-norm", "::mlir::func::FuncOp"> {
  let summary = "Skip, gate and normalize the output of a scan group by group";
  let description = [{
    The heads of a group are those that share B and C and those that the norm averages over. So the output of the scan,
    [T, H * P], is gated and normalized while it is in cache: two writes and three reads of it are saved, and two
    dispatches.

    ```mlir
    %y = nemotron.ssm_scan %x, %b, %c, %dt, %a_log, %dt_bias ...
    %s = nemotron.ssm_skip %y, %x, %d                              ->     %n = nemotron.ssm_scan_gated_norm %x, %b, %c,
    %n = nemotron.gated_rms_norm %s, %z, %w                                      %dt, %a_log, %dt_bias, %z, %d, %w ...
    ```

    The fused op stands where the scan stood, or, if the gate is computed later, right after the gate, as long as no op
    on the way may touch the state of the scan. Nothing is done if the output of scan or skip has another use, if the
    skip adds another value than the input of the scan, or if scan and norm differ in their groups, scan and skip in
    their heads.
  }];
  let statistics = [Statistic<"numFused", "num-fused", "Scans fused">];
}

def QuantizePass : Pass<"nemotron-quantize", "::mlir::ModuleOp"> {
  let summary = "Turn matrix products into products of 8-bit floats, as a recipe says";
  let description = [{
    Halves the bytes of the matrices that the recipe names (docs/quantization.md). Works on the ops of a frontend,
    before fusion, so that patterns see the names of the checkpoint. What becomes of a weight is IR: it is carried out
    while the plan is written, from the type on disk, without a rounding to bf16 on the way.

    ```mlir
    %y = nemotron.linear %x, %w      ->     %s = nemotron.absmax_scale %w
                                            %q = nemotron.quantize_weight %w, %s
                                            %a, %t = nemotron.quantize %x {scaling = #nemotron.scaling<token>}
                                            %y = nemotron.scaled_matmul %a scaled %t, %q scaled %s
    ```

    Experts become `scaled_moe_experts`, which quantize what enters their matrices themselves. A product whose op has
    the attribute `nemotron.input_scale`, a number from a calibration, gets static scaling (for experts also
    `nemotron.hidden_scale`, of what enters the second matrix). With `kv-cache=e4m3`, or a recipe that says so, the KV
    cache holds 8-bit floats, with the scales that attributes `nemotron.key_scale` and `nemotron.value_scale` of an
    attention give, else `kv-scale`.

    Products that are scaled already, routers and the embedding are left alone. Errors: a recipe that does not parse, a
    pattern that matches nothing, a static scale or a scale of a cache that nothing gives, a recipe that quantizes
    nothing. A layer is told by the attribute `nemotron.layer`, a name by the location of the op.
  }];
  let options = [
    Option<"recipe", "recipe", "std::string", "", "Name of a built-in recipe, or a file">,
    Option<"kvCache", "kv-cache", "std::string", "", "Type of the KV cache: e4m3, or empty: as the recipe says">,
    Option<"kvScale", "kv-scale", "float", "0.0f", "Scale of keys and values that no calibration gives; 0: none">
  ];
  let statistics = [Statistic<"numQuantized", "num-quantized", "Products quantized">,
                    Statistic<"numKept", "num-kept", "Products left alone">];
}

def FuseActivationQuantizePass : Pass<"nemotron-fuse-activation-quantize", "::mlir::func::FuncOp"> {
  let summary = "Apply a squared ReLU while its result is quantized";
  let description = [{
    Saves one write and one read of [T, F] and one dispatch where the activation cannot go into the product before it
    without leaving the quantization alone.

    ```mlir
    %u = nemotron.relu2 %x         ->     %q, %s = nemotron.quantize %x {activation = #nemotron.activation<relu2>, ...}
    %q, %s = nemotron.quantize %u
    ```

    A relu2 whose result has another use is left alone, and so is a quantize that has an activation already.
  }];
  let statistics = [Statistic<"numFused", "num-fused", "Activations fused">];
}

def FuseNormQuantizePass : Pass<"nemotron-fuse-norm-quantize", "::mlir::func::FuncOp"> {
  let summary = "Quantize the result of a norm while its row is in cache";
  let description = [{
    Saves one write and one read of [T, D] and one dispatch a norm; the row leaves in a quarter of its bytes.

    ```mlir
    %h, %y = nemotron.add_rms_norm %r, %a, %w      ->     %h, %q, %s = nemotron.add_rms_norm_quantize %r, %a, %w
    %q, %s = nemotron.quantize %y
    ```

    For RMSNorm and LayerNorm, with or without the add before them. Left alone: a norm whose result has another use (a
    router reads it too), scaling of a whole step, a quantize that applies an activation, and the gated norm of a scan,
    whose groups are normalized by tasks that do not know the whole row.
  }];
  let statistics = [Statistic<"numFused", "num-fused", "Pairs fused">];
}

def DropDeadPass : Pass<"nemotron-drop-dead", "::mlir::ModuleOp"> {
  let summary = "Remove what has no influence on the result of a step";
  let description = [{
    Removes ops without side effects whose results nobody uses, then whole dead layers: an op that uses a state has a
    side effect, but one that only its own later steps can see. Such ops go if the results of all ops that use the state
    are unused. At last, weights and states that no op uses any more, so that no plan holds them.

    ```mlir
    nemotron.weight @layers.1.in_proj ...
    nemotron.state @layers.1.conv conv ...                              ->     (nothing)
    %c = nemotron.causal_conv1d %x, %w ... conv @layers.1.conv
    ```

    Functions stay, called or not. A symbol that an op of another dialect names counts as used.
  }];
  let statistics = [Statistic<"numOps", "num-ops", "Ops without effects removed">,
                    Statistic<"numStateOps", "num-state-ops", "Ops that use a state removed">,
                    Statistic<"numStates", "num-states", "States removed">,
                    Statistic<"numWeights", "num-weights", "Weights removed">];
}

#endif // NEMOTRON_PASSES_TD
