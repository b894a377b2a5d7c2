// RUN: nemotron-opt %s -split-input-file -convert-nemotron-to-plan=target=cpu | FileCheck %s
// RUN: nemotron-opt %s -split-input-file -convert-nemotron-to-plan -plan-memory -verify-plan -o /dev/null

// Buffers for values, views for parts, plan.weights for slices. The matrix of the head is that of the embedding: one
// tensor of the checkpoint, two layouts.
// CHECK: module attributes {plan.target = "cpu"}
// CHECK: nemotron.weight @embeddings.source : tensor<512x64xbf16> from "e"
nemotron.weight @embeddings : tensor<512x64xbf16> from "e"
nemotron.weight @layers.0.norm : tensor<64xbf16> from "n"
nemotron.weight @layers.0.q : tensor<64x64xbf16> from "q"
nemotron.weight @layers.0.k : tensor<32x64xbf16> from "k"
nemotron.weight @layers.0.v : tensor<32x64xbf16> from "v"
// CHECK: plan.state @layers.0.kv kv_cache : tensor<2x2x16xbf16>
nemotron.state @layers.0.kv kv_cache : tensor<2x2x16xbf16>

// CHECK-LABEL: plan.weight @embeddings : tensor<512x64xbf16> {
// CHECK-NEXT: %[[E:.*]] = nemotron.get_weight @embeddings.source : tensor<512x64xbf16>
// CHECK-NEXT: plan.yield %[[E]]

// A vector is widened.
// CHECK-LABEL: plan.weight @layers.0.norm : tensor<64xf32> {
// CHECK: nemotron.cast %{{.*}} : tensor<64xbf16> to tensor<64xf32>

// CHECK-LABEL: plan.weight @layers.0.qkv : tensor<128x64xbf16, #plan.layout<panel>> {
// CHECK: %[[QKV:.*]] = nemotron.concat
// CHECK: plan.pack %[[QKV]] : tensor<128x64xbf16> to tensor<128x64xbf16, #plan.layout<panel>>

// CHECK-LABEL: plan.weight @embeddings.panel : tensor<512x64xbf16, #plan.layout<panel>> {

// CHECK-LABEL: plan.program @step {
// CHECK-NOT: func.func
func.func @step(%tokens: tensor<?xi32>, %batch: !nemotron.batch) -> tensor<?x512xf32> {
  // CHECK: %[[H:.*]] = plan.buffer "embedding" : !plan.buffer<token, 64, f32>
  // CHECK: plan.dispatch "cpu.embedding" outs(output = %[[H]] : !plan.buffer<token, 64, f32>) weights(weight = @embeddings)
  %e = nemotron.get_weight @embeddings : tensor<512x64xbf16>
  %h = nemotron.embedding %tokens, %e : (tensor<?xi32>, tensor<512x64xbf16>) -> tensor<?x64xf32>
  // CHECK: %[[X:.*]] = plan.buffer "layers.0.rms_norm"
  // CHECK: plan.dispatch "cpu.rms_norm" {{.*}} weights(weight = @layers.0.norm) {eps = {{.*}} : f32} layer 0
  %n = nemotron.get_weight @layers.0.norm : tensor<64xbf16>
  %x = nemotron.rms_norm %h, %n {eps = 1.0e-5 : f32, nemotron.layer = 0} : tensor<?x64xf32>, tensor<64xbf16>
  // CHECK: %[[Y:.*]] = plan.buffer "layers.0.linear" : !plan.buffer<token, 128, f32>
  // CHECK: plan.dispatch "cpu.linear" ins(input = %[[X]] : {{.*}}) outs(output = %[[Y]] : {{.*}}) weights(weight = @layers.0.qkv)
  %q = nemotron.get_weight @layers.0.q : tensor<64x64xbf16>
  %k = nemotron.get_weight @layers.0.k : tensor<32x64xbf16>
  %v = nemotron.get_weight @layers.0.v : tensor<32x64xbf16>
  %qkv = nemotron.concat %q, %k, %v {nemotron.name = "layers.0.qkv"}
       : (tensor<64x64xbf16>, tensor<32x64xbf16>, tensor<32x64xbf16>) -> tensor<128x64xbf16>
  %y = nemotron.linear %x, %qkv {nemotron.layer = 0} : (tensor<?x64xf32>, tensor<128x64xbf16>) -> tensor<?x128xf32>
  // CHECK: %[[Q:.*]] = plan.view %[[Y]] from 0
  // CHECK: %[[K:.*]] = plan.view %[[Y]] from 64
  // CHECK: %[[V:.*]] = plan.view %[[Y]] from 96
  %yq, %yk, %yv = nemotron.split %y : (tensor<?x128xf32>) -> (tensor<?x64xf32>, tensor<?x32xf32>, tensor<?x32xf32>)
  // CHECK: plan.dispatch "cpu.attention" ins(query = %[[Q]] : {{.*}}, key = %[[K]] : {{.*}}, value = %[[V]] :
  // CHECK-SAME: states(cache = @layers.0.kv)
  // CHECK-SAME: {head_dim = 16 : i64, num_heads = 4 : i64, num_kv_heads = 2 : i64, scale = 2.500000e-01 : f32} layer 0
  %a = nemotron.attention %yq, %yk, %yv of %batch cache @layers.0.kv
       {num_heads = 4, num_kv_heads = 2, head_dim = 16, scale = 0.25 : f32, nemotron.layer = 0}
     : (tensor<?x64xf32>, tensor<?x32xf32>, tensor<?x32xf32>, !nemotron.batch) -> tensor<?x64xf32>
  // From here on, a row for each row whose logits are asked for.
  // CHECK: plan.buffer "select_rows" : !plan.buffer<row, 64, f32>
  // CHECK: plan.dispatch "cpu.select_rows"
  %s = nemotron.select_rows %a of %batch : (tensor<?x64xf32>, !nemotron.batch) -> tensor<?x64xf32>
  // An equal slice is the same weight.
  // CHECK: plan.buffer "rms_norm" : !plan.buffer<row, 64, f32>
  // CHECK: plan.dispatch "cpu.rms_norm" {{.*}} weights(weight = @layers.0.norm) {eps = {{.*}} : f32}{{$}}
  %n2 = nemotron.get_weight @layers.0.norm : tensor<64xbf16>
  %f = nemotron.rms_norm %s, %n2 {eps = 1.0e-5 : f32} : tensor<?x64xf32>, tensor<64xbf16>
  // CHECK: %[[L:.*]] = plan.buffer "linear" : !plan.buffer<row, 512, f32>
  // CHECK: plan.dispatch "cpu.linear" {{.*}} weights(weight = @embeddings.panel) {activation = "none", split_input = false}
  %l = nemotron.linear %f, %e : (tensor<?x64xf32>, tensor<512x64xbf16>) -> tensor<?x512xf32>
  // CHECK: plan.return %[[L]]
  return %l : tensor<?x512xf32>
}

// -----

// Every op has a kernel.
nemotron.weight @emb : tensor<16x8xf32> from "0"
nemotron.weight @vec : tensor<8xf32> from "1"
nemotron.weight @mat : tensor<8x8xf16> from "2"
nemotron.weight @conv_w : tensor<8x1x4xbf16> from "3"
nemotron.weight @head : tensor<2xf32> from "4"
nemotron.weight @gate : tensor<4x8xbf16> from "5"
nemotron.weight @bias : tensor<4xf32> from "6"
nemotron.weight @experts.0.up : tensor<12x8xbf16> from "7"
nemotron.weight @experts.1.up : tensor<12x8xbf16> from "8"
nemotron.weight @experts.2.up : tensor<12x8xbf16> from "9"
nemotron.weight @experts.3.up : tensor<12x8xbf16> from "10"
nemotron.weight @down : tensor<4x8x12xbf16> from "11"
nemotron.weight @lm_head : tensor<16x8xf32> from "12"
nemotron.state @conv conv : tensor<3x8xf32>
nemotron.state @ssm ssm : tensor<2x4x4xf32>
nemotron.state @ssm2 ssm : tensor<2x4x4xf32>

// The kernel keeps the inputs of a chunk of 16 tokens: x [8], b [4] and dt [2] of each.
// CHECK: plan.state @ssm ssm : tensor<2x4x4xf32>
// CHECK-NEXT: plan.state @ssm.recent recent : tensor<16x14xf32>
// F16 matrices are widened: kernels know F32 and BF16, and BF16 would round the input.
// CHECK-LABEL: plan.weight @mat : tensor<8x8xf32, #plan.layout<panel>>
// The kernel reads [W, C].
// CHECK-LABEL: plan.weight @conv_w : tensor<4x8xf32> {
// CHECK: %[[C:.*]] = nemotron.cast %{{.*}} : tensor<8x4xbf16> to tensor<8x4xf32>
// CHECK: nemotron.transpose %[[C]] : tensor<8x4xf32> to tensor<4x8xf32>
// CHECK-LABEL: plan.weight @gate : tensor<4x8xf32, #plan.layout<panel>>
// What is joined without a name is called what its parts have in common.
// CHECK-LABEL: plan.weight @experts.up : tensor<4x12x8xbf16, #plan.layout<panel>>
// CHECK-LABEL: plan.weight @down : tensor<4x8x12xbf16, #plan.layout<panel>>
// CHECK-LABEL: plan.program @step
func.func @step(%tokens: tensor<?xi32>, %batch: !nemotron.batch) -> tensor<?x16xf32> {
  %emb = nemotron.get_weight @emb : tensor<16x8xf32>
  %vec = nemotron.get_weight @vec : tensor<8xf32>
  %mat = nemotron.get_weight @mat : tensor<8x8xf16>
  %head = nemotron.get_weight @head : tensor<2xf32>
  // CHECK: "cpu.embedding"
  %x = nemotron.embedding %tokens, %emb : (tensor<?xi32>, tensor<16x8xf32>) -> tensor<?x8xf32>
  // CHECK: "cpu.layer_norm" {{.*}} weights(bias = @vec, weight = @vec) {eps = {{.*}}, unit_offset = true}
  %ln = nemotron.layer_norm %x, %vec bias %vec {eps = 1.0e-5 : f32, unit_offset}
      : (tensor<?x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  // CHECK: "cpu.add_layer_norm" ins(residual = %{{.*}}, delta
  // CHECK-SAME: outs(sum = %{{.*}}, output = %{{.*}}) weights(weight = @vec) {eps = {{.*}}, unit_offset = false}
  %sum, %aln = nemotron.add_layer_norm %ln, %x, %vec {eps = 1.0e-5 : f32}
      : (tensor<?x8xf32>, tensor<?x8xf32>, tensor<8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>)
  // CHECK: plan.buffer "add_rms_norm.sum"
  // CHECK: plan.buffer "add_rms_norm.output"
  // CHECK: "cpu.add_rms_norm" ins(residual
  %sum2, %arn = nemotron.add_rms_norm %sum, %aln, %vec {eps = 1.0e-5 : f32} : tensor<?x8xf32>, tensor<8xf32>
  // CHECK: "cpu.linear" {{.*}} weights(bias = @vec, weight = @mat) {activation = "relu2", split_input = false}
  %lin = nemotron.linear %arn, %mat bias %vec {activation = #nemotron.activation<relu2>}
      : (tensor<?x8xf32>, tensor<8x8xf16>, tensor<8xf32>) -> tensor<?x8xf32>
  // CHECK: "cpu.rotary_embedding" {{.*}} {bf16_frequencies = false, head_dim = 4 : i64, position_scale = 5.000000e-01 : f32, rotary_dim = 2 : i64, theta = 1.000000e+04 : f32}
  %rot = nemotron.rotary_embedding %lin of %batch
      {head_dim = 4, rotary_dim = 2, theta = 1.0e4 : f32, position_scale = 0.5 : f32}
      : (tensor<?x8xf32>, !nemotron.batch) -> tensor<?x8xf32>
  // CHECK: "cpu.causal_conv1d" {{.*}} weights(bias = @vec, weight = @conv_w) states(conv = @conv) {activation = "silu"}
  %cw = nemotron.get_weight @conv_w : tensor<8x1x4xbf16>
  %cr = nemotron.reshape %cw : tensor<8x1x4xbf16> to tensor<8x4xbf16>
  %c = nemotron.causal_conv1d %rot, %cr bias %vec of %batch conv @conv {activation = #nemotron.activation<silu>}
      : (tensor<?x8xf32>, tensor<8x4xbf16>, tensor<8xf32>, !nemotron.batch) -> tensor<?x8xf32>
  %b, %dt, %rest = nemotron.split %c : (tensor<?x8xf32>) -> (tensor<?x4xf32>, tensor<?x2xf32>, tensor<?x2xf32>)
  // CHECK: "cpu.ssm_scan" ins(x = {{.*}}, b = {{.*}}, c = {{.*}}, dt = {{.*}}) outs(output = {{.*}}) weights(a_log = @head, dt_bias = @head) states(recent = @ssm.recent, ssm = @ssm)
  // CHECK-SAME: {dt_max = 0x7F800000 : f32, dt_min = 0.000000e+00 : f32, head_dim = 4 : i64, n_groups = 1 : i64, num_heads = 2 : i64, state_size = 4 : i64}
  %scan = nemotron.ssm_scan %x, %b, %b, %dt, %head, %head of %batch ssm @ssm
      {num_heads = 2, head_dim = 4, n_groups = 1, state_size = 4}
      : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x2xf32>, tensor<2xf32>, tensor<2xf32>, !nemotron.batch)
      -> tensor<?x8xf32>
  // CHECK: "cpu.ssm_skip" {{.*}} weights(d = @head) {head_dim = 4 : i64, num_heads = 2 : i64}
  %skip = nemotron.ssm_skip %scan, %x, %head {head_dim = 4} : tensor<?x8xf32>, tensor<2xf32>
  // CHECK: "cpu.gated_rms_norm" ins(input = {{.*}}, gate = {{.*}}) {{.*}} {eps = {{.*}}, n_groups = 2 : i64}
  %gn = nemotron.gated_rms_norm %skip, %x, %vec {n_groups = 2, eps = 1.0e-5 : f32} : tensor<?x8xf32>, tensor<8xf32>
  // CHECK: "cpu.ssm_scan_gated_norm" ins({{.*}}, gate = {{.*}}) {{.*}} weights(a_log = @head, d = @head, dt_bias = @head, weight = @vec) states(recent = @ssm2.recent, ssm = @ssm2)
  %fused = nemotron.ssm_scan_gated_norm %gn, %b, %b, %dt, %head, %head, %x, %head, %vec of %batch ssm @ssm2
      {num_heads = 2, head_dim = 4, n_groups = 1, state_size = 4, eps = 1.0e-5 : f32}
      : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<?x8xf32>,
         tensor<2xf32>, tensor<8xf32>, !nemotron.batch) -> tensor<?x8xf32>
  // CHECK: "cpu.relu2"
  %r = nemotron.relu2 %fused : tensor<?x8xf32>
  // CHECK: "cpu.silu"
  %si = nemotron.silu %r : tensor<?x8xf32>
  // CHECK: "cpu.add"
  %ad = nemotron.add %si, %fused : tensor<?x8xf32>
  // CHECK: plan.buffer "moe_route.indices" : !plan.buffer<token, 2, i32>
  // CHECK: "cpu.moe_route" {{.*}} weights(correction_bias = @bias, weight = @gate)
  // CHECK-SAME: {n_group = 1 : i64, norm_topk_prob = true, num_experts_per_tok = 2 : i64, routed_scaling_factor = 2.500000e+00 : f32, topk_group = 1 : i64}
  %g = nemotron.get_weight @gate : tensor<4x8xbf16>
  %bi = nemotron.get_weight @bias : tensor<4xf32>
  %i, %w = nemotron.moe_route %ad, %g, %bi
      {n_group = 1, topk_group = 1, norm_topk_prob = true, routed_scaling_factor = 2.5 : f32}
      : (tensor<?x8xf32>, tensor<4x8xbf16>, tensor<4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
  %u0 = nemotron.get_weight @experts.0.up : tensor<12x8xbf16>
  %u1 = nemotron.get_weight @experts.1.up : tensor<12x8xbf16>
  %u2 = nemotron.get_weight @experts.2.up : tensor<12x8xbf16>
  %u3 = nemotron.get_weight @experts.3.up : tensor<12x8xbf16>
  %up = nemotron.stack %u0, %u1, %u2, %u3
      : (tensor<12x8xbf16>, tensor<12x8xbf16>, tensor<12x8xbf16>, tensor<12x8xbf16>) -> tensor<4x12x8xbf16>
  %dn = nemotron.get_weight @down : tensor<4x8x12xbf16>
  // CHECK: "cpu.moe_experts" ins(input = {{.*}}, indices = {{.*}}, weights = {{.*}}) {{.*}} weights(down = @down, up = @experts.up)
  %m = nemotron.moe_experts %ad, %i, %w, %up, %dn
      : (tensor<?x8xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<4x12x8xbf16>, tensor<4x8x12xbf16>) -> tensor<?x8xf32>
  %s = nemotron.select_rows %m of %batch : (tensor<?x8xf32>, !nemotron.batch) -> tensor<?x8xf32>
  %lm = nemotron.get_weight @lm_head : tensor<16x8xf32>
  %l = nemotron.linear %s, %lm : (tensor<?x8xf32>, tensor<16x8xf32>) -> tensor<?x16xf32>
  return %l : tensor<?x16xf32>
}

// -----

// A part of a part is a view of the whole; a split that splits nothing is the buffer itself.
nemotron.weight @emb : tensor<16x8xf32> from "0"
nemotron.weight @head : tensor<16x2xf32> from "1"
// CHECK-LABEL: plan.program @step
func.func @step(%tokens: tensor<?xi32>, %batch: !nemotron.batch) -> tensor<?x16xf32> {
  // CHECK: %[[H:.*]] = plan.buffer "embedding"
  %emb = nemotron.get_weight @emb : tensor<16x8xf32>
  %h = nemotron.embedding %tokens, %emb : (tensor<?xi32>, tensor<16x8xf32>) -> tensor<?x8xf32>
  %a, %b = nemotron.split %h : (tensor<?x8xf32>) -> (tensor<?x2xf32>, tensor<?x6xf32>)
  // CHECK: %[[C:.*]] = plan.view %[[H]] from 6 : {{.*}} to !plan.buffer<token, 2, f32>
  // CHECK: plan.dispatch "cpu.select_rows" ins(input = %[[C]] :
  %c, %d = nemotron.split %b : (tensor<?x6xf32>) -> (tensor<?x4xf32>, tensor<?x2xf32>)
  %s = nemotron.select_rows %d of %batch : (tensor<?x2xf32>, !nemotron.batch) -> tensor<?x2xf32>
  %w = nemotron.get_weight @head : tensor<16x2xf32>
  %l = nemotron.linear %s, %w : (tensor<?x2xf32>, tensor<16x2xf32>) -> tensor<?x16xf32>
  %same = nemotron.split %l : (tensor<?x16xf32>) -> tensor<?x16xf32>
  // CHECK: plan.return
  return %same : tensor<?x16xf32>
}
