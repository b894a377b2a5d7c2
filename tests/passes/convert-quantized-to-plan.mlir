// RUN: nemotron-opt %s -split-input-file -convert-nemotron-to-plan=target=cpu | FileCheck %s
// RUN: nemotron-opt %s -split-input-file -convert-nemotron-to-plan -plan-memory -verify-plan -o /dev/null

// A matrix that is quantized here keeps its name; its scales have it too. Equal constants are one weight.
nemotron.weight @embeddings : tensor<64x32xbf16> from "e"
nemotron.weight @layers.0.norm : tensor<32xf32> from "n"
nemotron.weight @layers.0.in_proj : tensor<48x32xbf16> from "i"

// CHECK-LABEL: plan.weight @layers.0.in_proj : tensor<48x32xf8E4M3FN, #plan.layout<panel>> {
// CHECK-NEXT: %[[W:.*]] = nemotron.get_weight @layers.0.in_proj.source : tensor<48x32xbf16>
// CHECK-NEXT: %[[S:.*]] = nemotron.absmax_scale %[[W]] : tensor<48x32xbf16> to tensor<1xf32>
// CHECK-NEXT: %[[Q:.*]] = nemotron.quantize_weight %[[W]], %[[S]]
// CHECK-NEXT: %[[P:.*]] = plan.pack %[[Q]] : tensor<48x32xf8E4M3FN> to tensor<48x32xf8E4M3FN, #plan.layout<panel>>
// CHECK-NEXT: plan.yield %[[P]]

// CHECK-LABEL: plan.weight @layers.0.in_proj.weight_scale : tensor<1xf32> {
// CHECK-NEXT: nemotron.get_weight @layers.0.in_proj.source
// CHECK-NEXT: %[[S:.*]] = nemotron.absmax_scale
// CHECK-NEXT: plan.yield %[[S]] : tensor<1xf32>

// The embedding, quantized for the head: the scales have the name, not the suffix of the layout.
// CHECK-LABEL: plan.weight @embeddings.panel : tensor<64x32xf8E4M3FN, #plan.layout<panel>> {
// CHECK-LABEL: plan.weight @embeddings.weight_scale : tensor<64xf32> {

// CHECK-LABEL: plan.program @step {
func.func @step(%tokens: tensor<?xi32>, %batch: !nemotron.batch) -> tensor<?x64xf32> {
  %e = nemotron.get_weight @embeddings : tensor<64x32xbf16>
  %h = nemotron.embedding %tokens, %e : (tensor<?xi32>, tensor<64x32xbf16>) -> tensor<?x32xf32>
  // CHECK: %[[Q:.*]] = plan.buffer "layers.0.rms_norm_quantize.output" : !plan.buffer<token, 32, f8E4M3FN>
  // CHECK: %[[S:.*]] = plan.buffer "layers.0.rms_norm_quantize.scale" : !plan.buffer<token, 1, f32>
  // CHECK: plan.dispatch "cpu.rms_norm_quantize" ins(input = %{{.*}}) outs(output = %[[Q]] : {{.*}}, scale = %[[S]] :
  // CHECK-SAME: weights(weight = @layers.0.norm) {eps = 9.99999974E-6 : f32, scale = 0.000000e+00 : f32, scaling = "token"} layer 0
  %n = nemotron.get_weight @layers.0.norm : tensor<32xf32>
  %q, %s = nemotron.rms_norm_quantize %h, %n {eps = 1.0e-5 : f32, scaling = #nemotron.scaling<token>, nemotron.layer = 0}
         : (tensor<?x32xf32>, tensor<32xf32>) -> (tensor<?x32xf8E4M3FN>, tensor<?x1xf32>)
  // CHECK: plan.dispatch "cpu.scaled_matmul" ins(input = %[[Q]] : {{.*}}, input_scale = %[[S]] : !plan.buffer<token, 1, f32>)
  // CHECK-SAME: weights(weight = @layers.0.in_proj, weight_scale = @layers.0.in_proj.weight_scale) {activation = "relu2"} layer 0
  %w = nemotron.get_weight @layers.0.in_proj : tensor<48x32xbf16>
  %ws = nemotron.absmax_scale %w : tensor<48x32xbf16> to tensor<1xf32>
  %wq = nemotron.quantize_weight %w, %ws : (tensor<48x32xbf16>, tensor<1xf32>) -> tensor<48x32xf8E4M3FN>
  %y = nemotron.scaled_matmul %q scaled %s, %wq scaled %ws {activation = #nemotron.activation<relu2>, nemotron.layer = 0}
     : (tensor<?x32xf8E4M3FN>, tensor<?x1xf32>, tensor<48x32xf8E4M3FN>, tensor<1xf32>) -> tensor<?x48xf32>
  %a, %b = nemotron.split %y : (tensor<?x48xf32>) -> (tensor<?x32xf32>, tensor<?x16xf32>)
  // CHECK: plan.buffer "quantize.output" : !plan.buffer<row, 32, f8E4M3FN>
  // CHECK: plan.buffer "quantize.scale" : !plan.buffer<row, 1, f32>
  // CHECK: plan.dispatch "cpu.quantize" {{.*}} {activation = "none", scale = 1.250000e-02 : f32, scaling = "static"}
  %r = nemotron.select_rows %a of %batch : (tensor<?x32xf32>, !nemotron.batch) -> tensor<?x32xf32>
  %rq, %rs = nemotron.quantize %r {scaling = #nemotron.scaling<static>, static_scale = 0.0125 : f32}
           : tensor<?x32xf32> -> tensor<?x32xf8E4M3FN>, tensor<?x1xf32>
  // CHECK: plan.dispatch "cpu.scaled_matmul" {{.*}} outs(output = %{{.*}} : !plan.buffer<row, 64, f32>)
  // CHECK-SAME: weights(weight = @embeddings.panel, weight_scale = @embeddings.weight_scale) {activation = "none"}
  %es = nemotron.absmax_scale %e : tensor<64x32xbf16> to tensor<64xf32>
  %eq = nemotron.quantize_weight %e, %es : (tensor<64x32xbf16>, tensor<64xf32>) -> tensor<64x32xf8E4M3FN>
  %l = nemotron.scaled_matmul %rq scaled %rs, %eq scaled %es
     : (tensor<?x32xf8E4M3FN>, tensor<?x1xf32>, tensor<64x32xf8E4M3FN>, tensor<64xf32>) -> tensor<?x64xf32>
  return %l : tensor<?x64xf32>
}

// -----

// The norms, with their static scales and without, and the activation of quantize.
nemotron.weight @w : tensor<32xf32> from "w"
nemotron.weight @b : tensor<32xbf16> from "b"
nemotron.weight @e : tensor<64x32xf32> from "e"
// CHECK-LABEL: plan.program @step {
func.func @step(%tokens: tensor<?xi32>, %batch: !nemotron.batch) -> tensor<?x64xf32> {
  %e = nemotron.get_weight @e : tensor<64x32xf32>
  %w = nemotron.get_weight @w : tensor<32xf32>
  %b = nemotron.get_weight @b : tensor<32xbf16>
  %h = nemotron.embedding %tokens, %e : (tensor<?xi32>, tensor<64x32xf32>) -> tensor<?x32xf32>
  // CHECK: plan.dispatch "cpu.add_rms_norm_quantize" ins(residual = %{{.*}}, delta = %{{.*}}) outs(
  // CHECK-SAME: sum = %[[SUM:[0-9]+]] : !plan.buffer<token, 32, f32>, output = %{{.*}} : !plan.buffer<token, 32, f8E4M3FN>, scale = %{{.*}} : !plan.buffer<token, 1, f32>)
  // CHECK-SAME: weights(weight = @w) {eps = {{.*}}, scale = 5.000000e-01 : f32, scaling = "static"}
  %0:3 = nemotron.add_rms_norm_quantize %h, %h, %w
         {eps = 1.0e-5 : f32, scaling = #nemotron.scaling<static>, static_scale = 0.5 : f32}
       : (tensor<?x32xf32>, tensor<?x32xf32>, tensor<32xf32>) -> (tensor<?x32xf32>, tensor<?x32xf8E4M3FN>, tensor<?x1xf32>)
  // CHECK: plan.dispatch "cpu.layer_norm_quantize" ins(input = %[[SUM]] : {{.*}}) outs(output = %{{.*}} : !plan.buffer<token, 32, f8E4M3FN>, scale =
  // CHECK-SAME: weights(bias = @b, weight = @w) {eps = {{.*}}, scale = 0.000000e+00 : f32, scaling = "token", unit_offset = true}
  %1:2 = nemotron.layer_norm_quantize %0#0, %w bias %b {eps = 1.0e-5 : f32, unit_offset, scaling = #nemotron.scaling<token>}
       : (tensor<?x32xf32>, tensor<32xf32>, tensor<32xbf16>) -> (tensor<?x32xf8E4M3FN>, tensor<?x1xf32>)
  // CHECK: plan.dispatch "cpu.add_layer_norm_quantize" ins(residual = %{{.*}}, delta = %{{.*}}) outs(sum = %{{.*}}, output = %{{.*}}, scale = %{{[0-9]+}} :
  // CHECK-SAME: weights(weight = @w) {eps = {{.*}}, scale = 0.000000e+00 : f32, scaling = "token", unit_offset = false}
  %2:3 = nemotron.add_layer_norm_quantize %h, %0#0, %w {eps = 1.0e-5 : f32, scaling = #nemotron.scaling<token>}
       : (tensor<?x32xf32>, tensor<?x32xf32>, tensor<32xf32>) -> (tensor<?x32xf32>, tensor<?x32xf8E4M3FN>, tensor<?x1xf32>)
  // CHECK: plan.dispatch "cpu.quantize" ins(input = %{{.*}}) outs(output = %{{.*}}, scale = %{{.*}}) {activation = "relu2", scale = 0.000000e+00 : f32, scaling = "step"}
  %q:2 = nemotron.quantize %2#0 {scaling = #nemotron.scaling<step>, activation = #nemotron.activation<relu2>}
       : tensor<?x32xf32> -> tensor<?x32xf8E4M3FN>, tensor<?x1xf32>
  %r = nemotron.select_rows %2#0 of %batch : (tensor<?x32xf32>, !nemotron.batch) -> tensor<?x32xf32>
  %l = nemotron.linear %r, %e : (tensor<?x32xf32>, tensor<64x32xf32>) -> tensor<?x64xf32>
  return %l : tensor<?x64xf32>
}

// -----

// What a checkpoint has: matrices of 8 bits as they are, scales of other types and shapes, joined by fuse-qkv; and a
// cache of 8 bits.
nemotron.weight @e : tensor<64x32xf32> from "e"
nemotron.weight @layers.1.q_proj : tensor<32x32xf8E4M3FN> from "q"
nemotron.weight @layers.1.q_proj.weight_scale : tensor<32x1xbf16> from "qs"
nemotron.weight @layers.1.k_proj : tensor<16x32xf8E4M3FN> from "k"
nemotron.weight @layers.1.k_proj.weight_scale : tensor<f32> from "ks"
nemotron.weight @layers.1.o_proj : tensor<32x32xf8E4M3FN> from "o"
nemotron.weight @layers.1.o_proj.weight_scale : tensor<1xbf16> from "os"
nemotron.weight @layers.1.o_proj.bias : tensor<32xbf16> from "ob"
// CHECK: plan.state @layers.1.kv kv_cache : tensor<2x1x16xf8E4M3FN>
nemotron.state @layers.1.kv kv_cache : tensor<2x1x16xf8E4M3FN>

// CHECK-LABEL: plan.weight @layers.1.qkv_proj : tensor<64x32xf8E4M3FN, #plan.layout<panel>> {
// CHECK: %[[J:.*]] = nemotron.concat
// CHECK-NEXT: plan.pack %[[J]]

// CHECK-LABEL: plan.weight @layers.1.qkv_proj.weight_scale : tensor<64xf32> {
// CHECK: nemotron.cast %{{.*}} : tensor<32xbf16> to tensor<32xf32>
// CHECK: nemotron.broadcast %{{.*}} : tensor<1xf32> to tensor<16xf32>
// CHECK: nemotron.fill 1.250000e-02 : tensor<16xf32>
// CHECK: %[[J:.*]] = nemotron.concat
// CHECK-NEXT: plan.yield %[[J]] : tensor<64xf32>

// CHECK-LABEL: plan.weight @layers.1.o_proj : tensor<32x32xf8E4M3FN, #plan.layout<panel>> {
// CHECK-NEXT: %[[O:.*]] = nemotron.get_weight @layers.1.o_proj.source : tensor<32x32xf8E4M3FN>
// CHECK-NEXT: plan.pack %[[O]]

// CHECK-LABEL: plan.weight @layers.1.o_proj.bias : tensor<32xf32> {
// CHECK-LABEL: plan.weight @layers.1.o_proj.weight_scale : tensor<1xf32> {
// CHECK: nemotron.cast %{{.*}} : tensor<1xbf16> to tensor<1xf32>

// CHECK-LABEL: plan.program @step {
func.func @step(%tokens: tensor<?xi32>, %batch: !nemotron.batch) -> tensor<?x64xf32> {
  %e = nemotron.get_weight @e : tensor<64x32xf32>
  %h = nemotron.embedding %tokens, %e : (tensor<?xi32>, tensor<64x32xf32>) -> tensor<?x32xf32>
  %q = nemotron.get_weight @layers.1.q_proj : tensor<32x32xf8E4M3FN>
  %k = nemotron.get_weight @layers.1.k_proj : tensor<16x32xf8E4M3FN>
  %w = nemotron.concat %q, %k, %k {nemotron.name = "layers.1.qkv_proj"}
     : (tensor<32x32xf8E4M3FN>, tensor<16x32xf8E4M3FN>, tensor<16x32xf8E4M3FN>) -> tensor<64x32xf8E4M3FN>
  %qs = nemotron.get_weight @layers.1.q_proj.weight_scale : tensor<32x1xbf16>
  %qr = nemotron.reshape %qs : tensor<32x1xbf16> to tensor<32xbf16>
  %qc = nemotron.cast %qr : tensor<32xbf16> to tensor<32xf32>
  %ks = nemotron.get_weight @layers.1.k_proj.weight_scale : tensor<f32>
  %kr = nemotron.reshape %ks : tensor<f32> to tensor<1xf32>
  %kb = nemotron.broadcast %kr : tensor<1xf32> to tensor<16xf32>
  %vs = nemotron.fill 0.0125 : tensor<16xf32>
  %ws = nemotron.concat %qc, %kb, %vs : (tensor<32xf32>, tensor<16xf32>, tensor<16xf32>) -> tensor<64xf32>
  // Only the weight is quantized: no input_scale.
  // CHECK: plan.dispatch "cpu.scaled_matmul" ins(input = %{{[0-9]+}} : !plan.buffer<token, 32, f32>) outs(
  // CHECK-SAME: weights(weight = @layers.1.qkv_proj, weight_scale = @layers.1.qkv_proj.weight_scale) {activation = "none"}
  %y = nemotron.scaled_matmul %h, %w scaled %ws
     : (tensor<?x32xf32>, tensor<64x32xf8E4M3FN>, tensor<64xf32>) -> tensor<?x64xf32>
  %yq, %yk, %yv = nemotron.split %y : (tensor<?x64xf32>) -> (tensor<?x32xf32>, tensor<?x16xf32>, tensor<?x16xf32>)
  // CHECK: plan.dispatch "cpu.attention"
  // CHECK-SAME: {head_dim = 16 : i64, key_scale = 5.000000e-01 : f32, num_heads = 2 : i64, num_kv_heads = 1 : i64, scale = 2.500000e-01 : f32, value_scale = 1.250000e-01 : f32}
  %a = nemotron.attention %yq, %yk, %yv of %batch cache @layers.1.kv
       {num_heads = 2, num_kv_heads = 1, head_dim = 16, scale = 0.25 : f32, key_scale = 0.5 : f32, value_scale = 0.125 : f32}
     : (tensor<?x32xf32>, tensor<?x16xf32>, tensor<?x16xf32>, !nemotron.batch) -> tensor<?x32xf32>
  // CHECK: plan.dispatch "cpu.scaled_matmul" {{.*}} weights(bias = @layers.1.o_proj.bias, weight = @layers.1.o_proj, weight_scale = @layers.1.o_proj.weight_scale)
  %o = nemotron.get_weight @layers.1.o_proj : tensor<32x32xf8E4M3FN>
  %os = nemotron.get_weight @layers.1.o_proj.weight_scale : tensor<1xbf16>
  %ob = nemotron.get_weight @layers.1.o_proj.bias : tensor<32xbf16>
  %z = nemotron.scaled_matmul %a, %o scaled %os bias %ob
     : (tensor<?x32xf32>, tensor<32x32xf8E4M3FN>, tensor<1xbf16>, tensor<32xbf16>) -> tensor<?x32xf32>
  %r = nemotron.select_rows %z of %batch : (tensor<?x32xf32>, !nemotron.batch) -> tensor<?x32xf32>
  %l = nemotron.linear %r, %e : (tensor<?x32xf32>, tensor<64x32xf32>) -> tensor<?x64xf32>
  return %l : tensor<?x64xf32>
}

// -----

// Experts: each of the two stacks has its scales and, where there are any, those of its inputs. The constants of both
// are equal and thus one weight.
nemotron.weight @e : tensor<64x32xf32> from "e"
nemotron.weight @layers.1.experts.0.up_proj : tensor<16x32xbf16> from "u0"
nemotron.weight @layers.1.experts.1.up_proj : tensor<16x32xbf16> from "u1"
nemotron.weight @layers.1.experts.0.down_proj : tensor<32x16xbf16> from "d0"
nemotron.weight @layers.1.experts.1.down_proj : tensor<32x16xbf16> from "d1"
nemotron.weight @layers.1.gate : tensor<2x32xf32> from "g"
nemotron.weight @layers.1.gate.bias : tensor<2xf32> from "gb"

// CHECK-LABEL: plan.weight @layers.1.experts.up_proj : tensor<2x16x32xf8E4M3FN, #plan.layout<panel>> {
// CHECK-LABEL: plan.weight @layers.1.experts.down_proj : tensor<2x32x16xf8E4M3FN, #plan.layout<panel>> {
// CHECK-LABEL: plan.weight @layers.1.experts.up_proj.weight_scale : tensor<2x1xf32> {
// CHECK-LABEL: plan.weight @layers.1.experts.down_proj.weight_scale : tensor<2x32xf32> {
// CHECK-LABEL: plan.weight @layers.1.experts.up_proj.input_scale : tensor<2xf32> {
// CHECK-NEXT: %[[F:.*]] = nemotron.fill 1.250000e-02 : tensor<2xf32>
// CHECK-NEXT: plan.yield %[[F]] : tensor<2xf32>
// CHECK-NOT: input_scale :

// CHECK-LABEL: plan.program @step {
func.func @step(%tokens: tensor<?xi32>, %batch: !nemotron.batch) -> tensor<?x64xf32> {
  %e = nemotron.get_weight @e : tensor<64x32xf32>
  %h = nemotron.embedding %tokens, %e : (tensor<?xi32>, tensor<64x32xf32>) -> tensor<?x32xf32>
  %g = nemotron.get_weight @layers.1.gate : tensor<2x32xf32>
  %gb = nemotron.get_weight @layers.1.gate.bias : tensor<2xf32>
  %i, %p = nemotron.moe_route %h, %g, %gb
           {n_group = 1, topk_group = 1, norm_topk_prob = true, routed_scaling_factor = 1.0 : f32}
         : (tensor<?x32xf32>, tensor<2x32xf32>, tensor<2xf32>) -> (tensor<?x1xi32>, tensor<?x1xf32>)
  %u0 = nemotron.get_weight @layers.1.experts.0.up_proj : tensor<16x32xbf16>
  %u1 = nemotron.get_weight @layers.1.experts.1.up_proj : tensor<16x32xbf16>
  %d0 = nemotron.get_weight @layers.1.experts.0.down_proj : tensor<32x16xbf16>
  %d1 = nemotron.get_weight @layers.1.experts.1.down_proj : tensor<32x16xbf16>
  %u = nemotron.stack %u0, %u1 : (tensor<16x32xbf16>, tensor<16x32xbf16>) -> tensor<2x16x32xbf16>
  %d = nemotron.stack %d0, %d1 : (tensor<32x16xbf16>, tensor<32x16xbf16>) -> tensor<2x32x16xbf16>
  %us = nemotron.absmax_scale %u : tensor<2x16x32xbf16> to tensor<2x1xf32>
  %uq = nemotron.quantize_weight %u, %us : (tensor<2x16x32xbf16>, tensor<2x1xf32>) -> tensor<2x16x32xf8E4M3FN>
  %ds = nemotron.absmax_scale %d : tensor<2x32x16xbf16> to tensor<2x32xf32>
  %dq = nemotron.quantize_weight %d, %ds : (tensor<2x32x16xbf16>, tensor<2x32xf32>) -> tensor<2x32x16xf8E4M3FN>
  %ui = nemotron.fill 0.0125 : tensor<2xf32>
  %di = nemotron.fill 0.0125 : tensor<2xf32>
  // CHECK: plan.dispatch "cpu.scaled_moe_experts" ins(input = %{{.*}}, indices = %{{.*}}, weights = %{{.*}}) outs(output = %{{[0-9]+}} :
  // CHECK-SAME: weights(down = @layers.1.experts.down_proj, down_input_scale = @layers.1.experts.up_proj.input_scale,
  // CHECK-SAME: down_scale = @layers.1.experts.down_proj.weight_scale, up = @layers.1.experts.up_proj,
  // CHECK-SAME: up_input_scale = @layers.1.experts.up_proj.input_scale, up_scale = @layers.1.experts.up_proj.weight_scale) {activations = "e4m3"}
  %y = nemotron.scaled_moe_experts %h, %i, %p, %uq scaled %us, %dq scaled %ds up_input %ui down_input %di
     : (tensor<?x32xf32>, tensor<?x1xi32>, tensor<?x1xf32>, tensor<2x16x32xf8E4M3FN>, tensor<2x1xf32>,
        tensor<2x32x16xf8E4M3FN>, tensor<2x32xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x32xf32>
  // CHECK: plan.dispatch "cpu.scaled_moe_experts"
  // CHECK-SAME: weights(down = @layers.1.experts.down_proj, down_scale = @layers.1.experts.down_proj.weight_scale,
  // CHECK-SAME: up = @layers.1.experts.up_proj, up_scale = @layers.1.experts.up_proj.weight_scale) {activations = "bf16"}
  %z = nemotron.scaled_moe_experts %y, %i, %p, %uq scaled %us, %dq scaled %ds {weight_only}
     : (tensor<?x32xf32>, tensor<?x1xi32>, tensor<?x1xf32>, tensor<2x16x32xf8E4M3FN>, tensor<2x1xf32>,
        tensor<2x32x16xf8E4M3FN>, tensor<2x32xf32>) -> tensor<?x32xf32>
  %r = nemotron.select_rows %z of %batch : (tensor<?x32xf32>, !nemotron.batch) -> tensor<?x32xf32>
  %l = nemotron.linear %r, %e : (tensor<?x32xf32>, tensor<64x32xf32>) -> tensor<?x64xf32>
  return %l : tensor<?x64xf32>
}

// -----

// A weight that is made of a constant alone is named after its place, or after what the kernel calls it.
nemotron.weight @e : tensor<64x32xf32> from "e"
// CHECK-LABEL: plan.weight @layers.0.norm : tensor<32xf32> {
// CHECK-NEXT: nemotron.fill 1.000000e+00
// CHECK-LABEL: plan.weight @weight : tensor<32xf32> {
// CHECK-NEXT: nemotron.fill 2.000000e+00
func.func @step(%tokens: tensor<?xi32>, %batch: !nemotron.batch) -> tensor<?x64xf32> {
  %e = nemotron.get_weight @e : tensor<64x32xf32>
  %h = nemotron.embedding %tokens, %e : (tensor<?xi32>, tensor<64x32xf32>) -> tensor<?x32xf32>
  %one = nemotron.fill 1.0 : tensor<32xf32> loc("layers.0.norm")
  %two = nemotron.fill 2.0 : tensor<32xf32> loc(unknown)
  %x = nemotron.rms_norm %h, %one {eps = 1.0e-5 : f32} : tensor<?x32xf32>, tensor<32xf32>
  %y = nemotron.rms_norm %x, %two {eps = 1.0e-5 : f32} : tensor<?x32xf32>, tensor<32xf32>
  %r = nemotron.select_rows %y of %batch : (tensor<?x32xf32>, !nemotron.batch) -> tensor<?x32xf32>
  %l = nemotron.linear %r, %e : (tensor<?x32xf32>, tensor<64x32xf32>) -> tensor<?x64xf32>
  return %l : tensor<?x64xf32>
}

// -----

// Integers of 8 bits. Scales of groups are packed as a matrix is.
nemotron.weight @e : tensor<64x32xf32> from "e"
nemotron.weight @layers.1.up_proj : tensor<16x32xbf16> from "u"
nemotron.weight @layers.1.experts.up_proj : tensor<2x16x16xbf16> from "eu"
nemotron.weight @layers.1.experts.down_proj : tensor<2x16x16xbf16> from "ed"
nemotron.weight @layers.1.gate : tensor<2x16xf32> from "g"
nemotron.weight @layers.1.gate.bias : tensor<2xf32> from "gb"

// CHECK-LABEL: plan.weight @layers.1.up_proj : tensor<16x32xi8, #plan.layout<panel>> {
// CHECK: nemotron.absmax_scale %{{.*}} {largest = 1.270000e+02 : f32} : tensor<16x32xbf16> to tensor<16xf32>
// CHECK: plan.pack %{{.*}} : tensor<16x32xi8> to tensor<16x32xi8, #plan.layout<panel>>
// CHECK-LABEL: plan.weight @layers.1.up_proj.weight_scale : tensor<16xf32> {
// CHECK: nemotron.absmax_scale %{{.*}} {largest = 1.270000e+02 : f32}
// CHECK-LABEL: plan.weight @layers.1.experts.up_proj.weight_scale : tensor<2x16x4xf32, #plan.layout<panel>> {
// CHECK: plan.pack %{{.*}} : tensor<2x16x4xf32> to tensor<2x16x4xf32, #plan.layout<panel>>
// CHECK-LABEL: plan.weight @layers.1.experts.down_proj.weight_scale : tensor<2x16xf32> {

// CHECK-LABEL: plan.program @step {
func.func @step(%tokens: tensor<?xi32>, %batch: !nemotron.batch) -> tensor<?x64xf32> {
  %e = nemotron.get_weight @e : tensor<64x32xf32>
  %h = nemotron.embedding %tokens, %e : (tensor<?xi32>, tensor<64x32xf32>) -> tensor<?x32xf32>
  // CHECK: plan.dispatch "cpu.quantize" ins(input = %{{.*}}) outs(output = %[[Q:.*]] : !plan.buffer<token, 32, i8>, scale = %[[S:.*]] : !plan.buffer<token, 1, f32>)
  %q, %s = nemotron.quantize %h {scaling = #nemotron.scaling<token>} : tensor<?x32xf32> -> tensor<?x32xi8>, tensor<?x1xf32>
  %u = nemotron.get_weight @layers.1.up_proj : tensor<16x32xbf16>
  %us = nemotron.absmax_scale %u {largest = 127.0 : f32} : tensor<16x32xbf16> to tensor<16xf32>
  %uq = nemotron.quantize_weight %u, %us : (tensor<16x32xbf16>, tensor<16xf32>) -> tensor<16x32xi8>
  // CHECK: plan.dispatch "cpu.scaled_matmul" ins(input = %[[Q]] : !plan.buffer<token, 32, i8>, input_scale = %[[S]] : !plan.buffer<token, 1, f32>)
  %y = nemotron.scaled_matmul %q scaled %s, %uq scaled %us
     : (tensor<?x32xi8>, tensor<?x1xf32>, tensor<16x32xi8>, tensor<16xf32>) -> tensor<?x16xf32>
  %g = nemotron.get_weight @layers.1.gate : tensor<2x16xf32>
  %gb = nemotron.get_weight @layers.1.gate.bias : tensor<2xf32>
  %i, %p = nemotron.moe_route %y, %g, %gb
           {n_group = 1, topk_group = 1, norm_topk_prob = true, routed_scaling_factor = 1.0 : f32}
         : (tensor<?x16xf32>, tensor<2x16xf32>, tensor<2xf32>) -> (tensor<?x1xi32>, tensor<?x1xf32>)
  %eu = nemotron.get_weight @layers.1.experts.up_proj : tensor<2x16x16xbf16>
  %ed = nemotron.get_weight @layers.1.experts.down_proj : tensor<2x16x16xbf16>
  %eus = nemotron.absmax_scale %eu {largest = 127.0 : f32} : tensor<2x16x16xbf16> to tensor<2x16x4xf32>
  %eds = nemotron.absmax_scale %ed {largest = 127.0 : f32} : tensor<2x16x16xbf16> to tensor<2x16xf32>
  %euq = nemotron.quantize_weight %eu, %eus : (tensor<2x16x16xbf16>, tensor<2x16x4xf32>) -> tensor<2x16x16xi8>
  %edq = nemotron.quantize_weight %ed, %eds : (tensor<2x16x16xbf16>, tensor<2x16xf32>) -> tensor<2x16x16xi8>
  // CHECK: plan.dispatch "cpu.scaled_moe_experts" {{.*}} {activations = "i8"}
  %z = nemotron.scaled_moe_experts %y, %i, %p, %euq scaled %eus, %edq scaled %eds
     : (tensor<?x16xf32>, tensor<?x1xi32>, tensor<?x1xf32>, tensor<2x16x16xi8>, tensor<2x16x4xf32>,
        tensor<2x16x16xi8>, tensor<2x16xf32>) -> tensor<?x16xf32>
  %r = nemotron.select_rows %h of %batch : (tensor<?x32xf32>, !nemotron.batch) -> tensor<?x32xf32>
  %l = nemotron.linear %r, %e : (tensor<?x32xf32>, tensor<64x32xf32>) -> tensor<?x64xf32>
  return %l : tensor<?x64xf32>
}
