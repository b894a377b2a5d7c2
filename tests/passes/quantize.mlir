// RUN: split-file %s %t
// RUN: nemotron-opt %t/model.mlir -nemotron-quantize=recipe=fp8-all | FileCheck %s --check-prefixes=CHECK,ALL
// RUN: nemotron-opt %t/model.mlir -nemotron-quantize=recipe=weight-only | FileCheck %s --check-prefix=WEIGHTS
// RUN: nemotron-opt %t/model.mlir -nemotron-quantize=recipe=int8 | FileCheck %s --check-prefix=INT8
// RUN: nemotron-opt %t/calibrated.mlir -nemotron-quantize=recipe=int8 | FileCheck %s --check-prefix=UNCALIBRATED
// RUN: nemotron-opt %t/model.mlir '-nemotron-quantize=recipe=nemotron-3 kv-scale=0.5' | FileCheck %s --check-prefix=THREE
// RUN: nemotron-opt %t/model.mlir -nemotron-quantize=recipe=%t/own.json | FileCheck %s --check-prefix=OWN
// RUN: nemotron-opt %t/model.mlir '-nemotron-quantize=kv-cache=e4m3 kv-scale=0.25' | FileCheck %s --check-prefix=CACHE
// RUN: nemotron-opt %t/calibrated.mlir '-nemotron-quantize=recipe=fp8-all kv-cache=e4m3' | FileCheck %s --check-prefix=STATIC

// From the stored weight, not from its cast to the type of the plan.
// CHECK-LABEL: @step
// CHECK-SAME:    (%[[X:.*]]: tensor<?x8xf32>
// CHECK:         %[[W:.*]] = nemotron.get_weight @layers.0.in_proj {{.*}}: tensor<16x8xf32>
// CHECK:         %[[S:.*]] = nemotron.absmax_scale %[[W]] {nemotron.layer = 0 : i64} : tensor<16x8xf32> to tensor<1xf32>
// CHECK-NEXT:    %[[Q:.*]] = nemotron.quantize_weight %[[W]], %[[S]] {nemotron.layer = 0 : i64} : (tensor<16x8xf32>, tensor<1xf32>) -> tensor<16x8xf8E4M3FN>
// CHECK-NEXT:    %[[A:.*]], %[[T:.*]] = nemotron.quantize %[[X]] {nemotron.layer = 0 : i64, scaling = #nemotron.scaling<token>}
// CHECK-NEXT:    %[[Y:.*]] = nemotron.scaled_matmul %[[A]] scaled %[[T]], %[[Q]] scaled %[[S]] {nemotron.layer = 0 : i64}
// CHECK:         nemotron.split %[[Y]]
// A bias and an activation stay with the product.
// ALL:           nemotron.scaled_matmul {{.*}} bias %{{.*}} {activation = #nemotron.activation<relu2>, nemotron.layer = 1 : i64}
// One scale for each expert.
// ALL:           %[[US:.*]] = nemotron.absmax_scale %[[U:.*]] {nemotron.layer = 2 : i64} : tensor<2x6x8xbf16> to tensor<2x1xf32>
// ALL:           %[[UQ:.*]] = nemotron.quantize_weight %[[U]], %[[US]]
// ALL:           nemotron.scaled_moe_experts {{.*}}, %[[UQ]] scaled %[[US]], %{{.*}} scaled %{{.*}} {nemotron.layer = 2 : i64}
// ALL:           nemotron.scaled_matmul {{.*}}tensor<32x8xf8E4M3FN>
// ALL-NOT:       nemotron.linear

// WEIGHTS:       nemotron.absmax_scale {{.*}}: tensor<16x8xf32> to tensor<16xf32>
// WEIGHTS-NOT:   nemotron.quantize %
// WEIGHTS:       nemotron.scaled_matmul %arg0, %{{.*}} scaled %{{.*}} : (tensor<?x8xf32>
// WEIGHTS:       nemotron.scaled_moe_experts {{.*}} weight_only
// WEIGHTS:       nemotron.linear {{.*}}tensor<32x8xbf16>

// INT8:          %[[S:.*]] = nemotron.absmax_scale %[[W:.*]] {largest = 1.270000e+02 : f32, nemotron.layer = 0 : i64} : tensor<16x8xf32> to tensor<16xf32>
// INT8-NEXT:     %[[Q:.*]] = nemotron.quantize_weight %[[W]], %[[S]] {nemotron.layer = 0 : i64} : (tensor<16x8xf32>, tensor<16xf32>) -> tensor<16x8xi8>
// INT8-NEXT:     %[[A:.*]], %[[T:.*]] = nemotron.quantize %{{.*}} {nemotron.layer = 0 : i64, scaling = #nemotron.scaling<token>} : tensor<?x8xf32> -> tensor<?x8xi8>, tensor<?x1xf32>
// INT8-NEXT:     nemotron.scaled_matmul %[[A]] scaled %[[T]], %[[Q]] scaled %[[S]]
// INT8:          %[[US:.*]] = nemotron.absmax_scale {{.*}} : tensor<2x6x8xbf16> to tensor<2x6xf32>
// INT8:          nemotron.scaled_moe_experts {{.*}} scaled %[[US]], %{{.*}} scaled %{{.*}} {nemotron.layer = 2 : i64} : {{.*}}tensor<2x8x6xi8>
// INT8:          nemotron.scaled_matmul {{.*}}tensor<32x8xi8>
// INT8-NOT:      nemotron.linear
// Scales of a calibration are those of 8-bit floats.
// UNCALIBRATED-LABEL: @step
// UNCALIBRATED-NOT:   static
// UNCALIBRATED-NOT:   up_input
// UNCALIBRATED:       return

// Layer 0 is the Mamba layer before the attention of layer 3; the MLP of layer 1 and the experts are quantized.
// THREE:         nemotron.state @layers.3.kv kv_cache : tensor<2x1x4xf8E4M3FN>
// THREE-LABEL:   @step
// THREE:         nemotron.linear {{.*}}nemotron.layer = 0
// THREE:         nemotron.scaled_matmul {{.*}}nemotron.layer = 1
// THREE:         nemotron.scaled_moe_experts {{.*}}nemotron.layer = 2
// THREE:         nemotron.linear {{.*}}nemotron.layer = 3
// THREE:         nemotron.attention {{.*}}key_scale = 5.000000e-01 : f32, {{.*}}value_scale = 5.000000e-01 : f32
// THREE:         nemotron.linear {{.*}}tensor<32x8xbf16>

// The first rule that matches decides: up_proj of layer 1 by the second, the head by none.
// OWN-LABEL:     @step
// OWN:           nemotron.linear {{.*}}nemotron.layer = 0
// OWN:           nemotron.absmax_scale {{.*}}nemotron.layer = 1{{.*}} to tensor<8xf32>
// OWN:           nemotron.quantize {{.*}}scaling = #nemotron.scaling<step>
// OWN:           nemotron.scaled_moe_experts {{.*}}nemotron.layer = 2
// OWN:           nemotron.linear {{.*}}nemotron.layer = 3
// OWN:           nemotron.linear {{.*}}tensor<32x8xbf16>

// CACHE:         nemotron.state @layers.3.kv kv_cache : tensor<2x1x4xf8E4M3FN>
// CACHE-NOT:     scaled_matmul
// CACHE:         nemotron.attention {{.*}}key_scale = 2.500000e-01 : f32, {{.*}}value_scale = 2.500000e-01 : f32

// What a calibration measured is used, and does not stay in the IR.
// STATIC-LABEL:  @step
// STATIC-NOT:    nemotron.input_scale
// STATIC:        nemotron.quantize {{.*}} {scaling = #nemotron.scaling<static>, static_scale = 1.250000e-01 : f32}
// STATIC:        %[[F1:.*]] = nemotron.fill 2.500000e-01{{.*}} : tensor<2xf32>
// STATIC:        %[[F2:.*]] = nemotron.fill 5.000000e-01{{.*}} : tensor<2xf32>
// STATIC:        nemotron.scaled_moe_experts {{.*}} up_input %[[F1]] down_input %[[F2]] {
// STATIC:        nemotron.attention {{.*}}key_scale = 2.000000e+00 : f32, {{.*}}value_scale = 3.000000e+00 : f32

//--- model.mlir
nemotron.weight @layers.0.in_proj : tensor<16x8xf32> from "in"
nemotron.weight @layers.1.up_proj : tensor<8x8xbf16> from "up"
nemotron.weight @layers.1.bias : tensor<8xf32> from "bias"
nemotron.weight @layers.2.gate : tensor<2x8xf32> from "gate"
nemotron.weight @layers.2.correction : tensor<2xf32> from "correction"
nemotron.weight @layers.2.up : tensor<2x6x8xbf16> from "experts.up"
nemotron.weight @layers.2.down : tensor<2x8x6xbf16> from "experts.down"
nemotron.weight @layers.3.q_proj : tensor<4x8xbf16> from "q"
nemotron.weight @lm_head : tensor<32x8xbf16> from "head"
nemotron.state @layers.3.kv kv_cache : tensor<2x1x4xbf16>
nemotron.state @layers.0.ssm ssm : tensor<4x2x2xf32>
nemotron.weight @layers.0.heads : tensor<4xf32> from "heads"
func.func @step(%x: tensor<?x8xf32>, %batch: !nemotron.batch) -> tensor<?x32xf32> {
  %w0 = nemotron.get_weight @layers.0.in_proj {nemotron.layer = 0} : tensor<16x8xf32>
  %c0 = nemotron.cast %w0 {nemotron.layer = 0} : tensor<16x8xf32> to tensor<16x8xbf16>
  %y0 = nemotron.linear %x, %c0 {nemotron.layer = 0} : (tensor<?x8xf32>, tensor<16x8xbf16>) -> tensor<?x16xf32> loc("layers.0.in_proj")
  %p:3 = nemotron.split %y0 : (tensor<?x16xf32>) -> (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>)
  %h = nemotron.get_weight @layers.0.heads {nemotron.layer = 0} : tensor<4xf32>
  %s = nemotron.ssm_scan %p#0, %p#1, %p#1, %p#2, %h, %h of %batch ssm @layers.0.ssm
       {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 2, nemotron.layer = 0}
     : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  %w1 = nemotron.get_weight @layers.1.up_proj {nemotron.layer = 1} : tensor<8x8xbf16>
  %b1 = nemotron.get_weight @layers.1.bias {nemotron.layer = 1} : tensor<8xf32>
  %y1 = nemotron.linear %s, %w1 bias %b1 {nemotron.layer = 1, activation = #nemotron.activation<relu2>}
      : (tensor<?x8xf32>, tensor<8x8xbf16>, tensor<8xf32>) -> tensor<?x8xf32> loc("layers.1.up_proj")
  %r1 = nemotron.relu2 %y1 {nemotron.layer = 1} : tensor<?x8xf32>
  %g = nemotron.get_weight @layers.2.gate {nemotron.layer = 2} : tensor<2x8xf32>
  %gc = nemotron.get_weight @layers.2.correction {nemotron.layer = 2} : tensor<2xf32>
  %i, %k = nemotron.moe_route %r1, %g, %gc
           {n_group = 1, topk_group = 1, norm_topk_prob = true, routed_scaling_factor = 1.0 : f32, nemotron.layer = 2}
         : (tensor<?x8xf32>, tensor<2x8xf32>, tensor<2xf32>) -> (tensor<?x1xi32>, tensor<?x1xf32>)
  %up = nemotron.get_weight @layers.2.up {nemotron.layer = 2} : tensor<2x6x8xbf16>
  %down = nemotron.get_weight @layers.2.down {nemotron.layer = 2} : tensor<2x8x6xbf16>
  %y2 = nemotron.moe_experts %r1, %i, %k, %up, %down {nemotron.layer = 2, split_input} : (tensor<?x8xf32>, tensor<?x1xi32>,
        tensor<?x1xf32>, tensor<2x6x8xbf16>, tensor<2x8x6xbf16>) -> tensor<?x8xf32> loc("layers.2.experts")
  %w3 = nemotron.get_weight @layers.3.q_proj {nemotron.layer = 3} : tensor<4x8xbf16>
  %q = nemotron.linear %y2, %w3 {nemotron.layer = 3} : (tensor<?x8xf32>, tensor<4x8xbf16>) -> tensor<?x4xf32> loc("layers.3.q_proj")
  %o = nemotron.attention %q, %q, %q of %batch cache @layers.3.kv
       {num_heads = 1, num_kv_heads = 1, head_dim = 4, scale = 0.5 : f32, nemotron.layer = 3}
     : (tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>, !nemotron.batch) -> tensor<?x4xf32>
  %w4 = nemotron.get_weight @lm_head : tensor<32x8xbf16>
  %logits = nemotron.linear %y2, %w4 : (tensor<?x8xf32>, tensor<32x8xbf16>) -> tensor<?x32xf32> loc("lm_head")
  return %logits : tensor<?x32xf32>
}

//--- own.json
{
  "description": "a user's own",
  "rules": [
    { "layers": ["mamba", "3"], "keep": true },
    {
      "layers": "1-2", "matrices": "up_*",
      "weights": { "dtype": "e4m3", "granularity": "channel" },
      "activations": { "dtype": "e4m3", "granularity": "tensor", "scale": "current" }
    },
    { "layers": "last 2", "matrices": ["experts"], "weights": { "dtype": "e4m3" }, "activations": { "dtype": "bf16" } },
    { "layers": "moe", "keep": true }
  ]
}

//--- calibrated.mlir
nemotron.weight @w : tensor<8x8xbf16> from "w"
nemotron.weight @gate : tensor<2x8xf32> from "gate"
nemotron.weight @correction : tensor<2xf32> from "correction"
nemotron.weight @up : tensor<2x6x8xbf16> from "experts.up"
nemotron.weight @down : tensor<2x8x6xbf16> from "experts.down"
nemotron.state @kv kv_cache : tensor<2x1x8xbf16>
func.func @step(%x: tensor<?x8xf32>, %batch: !nemotron.batch) -> tensor<?x8xf32> {
  %w = nemotron.get_weight @w : tensor<8x8xbf16>
  %y = nemotron.linear %x, %w {nemotron.input_scale = 0.125 : f32} : (tensor<?x8xf32>, tensor<8x8xbf16>) -> tensor<?x8xf32>
  %g = nemotron.get_weight @gate : tensor<2x8xf32>
  %gc = nemotron.get_weight @correction : tensor<2xf32>
  %i, %k = nemotron.moe_route %y, %g, %gc
           {n_group = 1, topk_group = 1, norm_topk_prob = true, routed_scaling_factor = 1.0 : f32, nemotron.layer = 0}
         : (tensor<?x8xf32>, tensor<2x8xf32>, tensor<2xf32>) -> (tensor<?x1xi32>, tensor<?x1xf32>)
  %up = nemotron.get_weight @up : tensor<2x6x8xbf16>
  %down = nemotron.get_weight @down : tensor<2x8x6xbf16>
  %e = nemotron.moe_experts %y, %i, %k, %up, %down
       {nemotron.input_scale = 0.25 : f32, nemotron.hidden_scale = 0.5 : f32, nemotron.layer = 0}
     : (tensor<?x8xf32>, tensor<?x1xi32>, tensor<?x1xf32>, tensor<2x6x8xbf16>, tensor<2x8x6xbf16>) -> tensor<?x8xf32>
  %o = nemotron.attention %e, %e, %e of %batch cache @kv {num_heads = 1, num_kv_heads = 1, head_dim = 8,
       scale = 0.5 : f32, nemotron.key_scale = 2.0 : f32, nemotron.value_scale = 3.0 : f32}
     : (tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32>, !nemotron.batch) -> tensor<?x8xf32>
  return %o : tensor<?x8xf32>
}
