// RUN: nemotron-opt %s -nemotron-compile-pipeline | FileCheck %s
// RUN: nemotron-opt %s -nemotron-compile-pipeline=target=cpu -dump-pass-pipeline -o /dev/null 2>&1 | FileCheck %s --check-prefix=PIPELINE
// RUN: nemotron-opt %s '-nemotron-compile-pipeline=quantize=fp8-all kv-cache=e4m3 kv-scale=0.5' -dump-pass-pipeline -o /dev/null 2>&1 | FileCheck %s --check-prefix=QUANTIZED
// RUN: nemotron-opt %s -o /dev/null -dump-pass-pipeline 2>&1 \
// RUN:   -nemotron-compile-pipeline='before-fusion=inline,cse after-fusion=func.func(sccp) after-conversion=symbol-dce' \
// RUN:   | FileCheck %s --check-prefix=INSERTED
// RUN: not nemotron-opt %s -nemotron-compile-pipeline=target=abacus 2>&1 | FileCheck %s --check-prefix=TARGET
// RUN: not nemotron-opt %s -nemotron-compile-pipeline=after-fusion=no-such-pass 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// RUN: not nemotron-opt %s '-nemotron-compile-pipeline=after-fusion=builtin.module(cse)' 2>&1 | FileCheck %s --check-prefix=WRAPPED
// RUN: not nemotron-opt %s -nemotron-compile-pipeline=after-fusion=nemotron-fuse-qkv 2>&1 | FileCheck %s --check-prefix=NESTING

// PIPELINE:      builtin.module(
// PIPELINE-SAME:   nemotron-drop-dead,
// PIPELINE-SAME:   func.func(nemotron-fuse-activation-quantize,nemotron-fuse-conv-activation,nemotron-fuse-linear-activation,nemotron-fuse-scan-norm,nemotron-fuse-qkv,
// PIPELINE-SAME:             nemotron-fuse-add-rms-norm,nemotron-fuse-add-layer-norm,nemotron-fuse-norm-quantize),
// PIPELINE-SAME:   nemotron-drop-dead,convert-nemotron-to-plan{ target=cpu},plan-fuse-dispatches,plan-retype-buffers,plan-specialize-kernels,plan-memory{report=false},verify-plan)

// QUANTIZED:     builtin.module(nemotron-quantize{kv-cache=e4m3 kv-scale=5.000000e-01 recipe=fp8-all},canonicalize

// INSERTED:      builtin.module(inline{{.*}},cse,canonicalize
// INSERTED-SAME: nemotron-fuse-norm-quantize),func.func(sccp),canonicalize
// INSERTED-SAME: convert-nemotron-to-plan{ target=cpu},symbol-dce,plan-fuse-dispatches,plan-retype-buffers,plan-specialize-kernels,plan-memory

// TARGET:  error: no target 'abacus', expected one of: cpu
// WRAPPED: the passes at 'after-fusion' start with 'builtin.module(', expected only what stands inside it
// UNKNOWN: 'no-such-pass' does not refer to a registered pass
// UNKNOWN: in the passes at 'after-fusion': no-such-pass
// NESTING: in the passes at 'after-fusion': nemotron-fuse-qkv

// A Mamba-2 layer and a layer with attention, as a frontend writes them, and a layer that nobody reads.
nemotron.weight @embeddings : tensor<32x8xbf16> from "embeddings"
nemotron.weight @layers.0.norm : tensor<8xbf16> from "layers.0.norm"
nemotron.weight @layers.0.in_proj : tensor<32x8xbf16> from "layers.0.in_proj"
nemotron.weight @layers.0.conv1d : tensor<20x1x4xbf16> from "layers.0.conv1d"
nemotron.weight @layers.0.heads : tensor<4xf32> from "layers.0.heads"
nemotron.weight @layers.0.gated_norm : tensor<8xbf16> from "layers.0.gated_norm"
nemotron.weight @layers.0.out_proj : tensor<8x8xbf16> from "layers.0.out_proj"
nemotron.weight @layers.1.norm : tensor<8xbf16> from "layers.1.norm"
nemotron.weight @layers.1.q_proj : tensor<8x8xbf16> from "layers.1.q_proj"
nemotron.weight @layers.1.k_proj : tensor<4x8xbf16> from "layers.1.k_proj"
nemotron.weight @layers.1.v_proj : tensor<4x8xbf16> from "layers.1.v_proj"
nemotron.weight @layers.1.o_proj : tensor<8x8xbf16> from "layers.1.o_proj"
nemotron.weight @layers.2.conv1d : tensor<8x4xf32> from "layers.2.conv1d"
nemotron.weight @norm_f : tensor<8xbf16> from "norm_f"
nemotron.state @layers.0.conv conv : tensor<3x20xf32>
nemotron.state @layers.0.ssm ssm : tensor<4x2x3xf32>
nemotron.state @layers.1.kv kv_cache : tensor<2x2x2xbf16>
nemotron.state @layers.2.conv conv : tensor<3x8xf32>

// CHECK:       module attributes {plan.target = "cpu"}
// CHECK-NOT:   layers.2
// CHECK:       plan.weight @layers.1.qkv_proj : tensor<16x8xbf16, #plan.layout<panel>>
// CHECK:       plan.program @step
// CHECK-NOT:   layers.2
// CHECK:       plan.dispatch "cpu.embedding"
// CHECK:       plan.dispatch "cpu.rms_norm"
// CHECK:       plan.dispatch "cpu.linear" {{.*}} weights(weight = @layers.0.in_proj)
// CHECK:       plan.dispatch "cpu.causal_conv1d" {{.*}} {activation = "silu"}
// CHECK:       plan.dispatch "cpu.ssm_scan_gated_norm"
// CHECK:       plan.dispatch "cpu.linear"
// CHECK:       plan.dispatch "cpu.add_rms_norm"
// CHECK:       plan.dispatch "cpu.linear" {{.*}} weights(weight = @layers.1.qkv_proj)
// CHECK:       plan.dispatch "cpu.attention"
// CHECK:       plan.dispatch "cpu.linear"
// CHECK:       plan.dispatch "cpu.add_rms_norm"
// CHECK:       plan.dispatch "cpu.select_rows"
// CHECK:       plan.dispatch "cpu.linear"
// CHECK-NOT:   plan.dispatch
func.func @step(%tokens: tensor<?xi32>, %batch: !nemotron.batch) -> tensor<?x32xf32> {
  %e = nemotron.get_weight @embeddings : tensor<32x8xbf16>
  %x0 = nemotron.embedding %tokens, %e : (tensor<?xi32>, tensor<32x8xbf16>) -> tensor<?x8xf32>

  %n0 = nemotron.get_weight @layers.0.norm : tensor<8xbf16>
  %n0f = nemotron.cast %n0 : tensor<8xbf16> to tensor<8xf32>
  %h0 = nemotron.rms_norm %x0, %n0f {eps = 1.0e-5 : f32, nemotron.layer = 0} : tensor<?x8xf32>, tensor<8xf32>
  %wi = nemotron.get_weight @layers.0.in_proj : tensor<32x8xbf16>
  %p = nemotron.linear %h0, %wi {nemotron.layer = 0} : (tensor<?x8xf32>, tensor<32x8xbf16>) -> tensor<?x32xf32> loc("layers.0.in_proj")
  %z, %xbc, %dt = nemotron.split %p {nemotron.layer = 0} : (tensor<?x32xf32>) -> (tensor<?x8xf32>, tensor<?x20xf32>, tensor<?x4xf32>)
  %wc = nemotron.get_weight @layers.0.conv1d : tensor<20x1x4xbf16>
  %wcf = nemotron.cast %wc : tensor<20x1x4xbf16> to tensor<20x1x4xf32>
  %wcr = nemotron.reshape %wcf : tensor<20x1x4xf32> to tensor<20x4xf32>
  %c = nemotron.causal_conv1d %xbc, %wcr of %batch conv @layers.0.conv {nemotron.layer = 0}
     : (tensor<?x20xf32>, tensor<20x4xf32>, !nemotron.batch) -> tensor<?x20xf32>
  %cs = nemotron.silu %c {nemotron.layer = 0} : tensor<?x20xf32>
  %xs, %b, %cc = nemotron.split %cs {nemotron.layer = 0} : (tensor<?x20xf32>) -> (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x6xf32>)
  %heads = nemotron.get_weight @layers.0.heads : tensor<4xf32>
  %y = nemotron.ssm_scan %xs, %b, %cc, %dt, %heads, %heads of %batch ssm @layers.0.ssm
       {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3, nemotron.layer = 0}
     : (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x6xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  %d = nemotron.get_weight @layers.0.heads : tensor<4xf32>
  %ys = nemotron.ssm_skip %y, %xs, %d {head_dim = 2, nemotron.layer = 0} : tensor<?x8xf32>, tensor<4xf32>
  %wn = nemotron.get_weight @layers.0.gated_norm : tensor<8xbf16>
  %yn = nemotron.gated_rms_norm %ys, %z, %wn {n_groups = 2, eps = 1.0e-5 : f32, nemotron.layer = 0} : tensor<?x8xf32>, tensor<8xbf16>
  %wo = nemotron.get_weight @layers.0.out_proj : tensor<8x8xbf16>
  %m = nemotron.linear %yn, %wo {nemotron.layer = 0} : (tensor<?x8xf32>, tensor<8x8xbf16>) -> tensor<?x8xf32>
  %x1 = nemotron.add %x0, %m {nemotron.layer = 0} : tensor<?x8xf32>

  %n1 = nemotron.get_weight @layers.1.norm : tensor<8xbf16>
  %n1f = nemotron.cast %n1 : tensor<8xbf16> to tensor<8xf32>
  %h1 = nemotron.rms_norm %x1, %n1f {eps = 1.0e-5 : f32, nemotron.layer = 1} : tensor<?x8xf32>, tensor<8xf32>
  %wq = nemotron.get_weight @layers.1.q_proj : tensor<8x8xbf16>
  %q = nemotron.linear %h1, %wq {nemotron.layer = 1} : (tensor<?x8xf32>, tensor<8x8xbf16>) -> tensor<?x8xf32> loc("layers.1.q_proj")
  %wk = nemotron.get_weight @layers.1.k_proj : tensor<4x8xbf16>
  %k = nemotron.linear %h1, %wk {nemotron.layer = 1} : (tensor<?x8xf32>, tensor<4x8xbf16>) -> tensor<?x4xf32> loc("layers.1.k_proj")
  %wv = nemotron.get_weight @layers.1.v_proj : tensor<4x8xbf16>
  %v = nemotron.linear %h1, %wv {nemotron.layer = 1} : (tensor<?x8xf32>, tensor<4x8xbf16>) -> tensor<?x4xf32> loc("layers.1.v_proj")
  %a = nemotron.attention %q, %k, %v of %batch cache @layers.1.kv
       {num_heads = 4, num_kv_heads = 2, head_dim = 2, scale = 0.5 : f32, nemotron.layer = 1}
     : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  %wao = nemotron.get_weight @layers.1.o_proj : tensor<8x8xbf16>
  %ao = nemotron.linear %a, %wao {nemotron.layer = 1} : (tensor<?x8xf32>, tensor<8x8xbf16>) -> tensor<?x8xf32>
  %x2 = nemotron.add %x1, %ao {nemotron.layer = 1} : tensor<?x8xf32>

  // Goes first, so that it is no reader of the sum.
  %w2 = nemotron.get_weight @layers.2.conv1d : tensor<8x4xf32>
  %dead = nemotron.causal_conv1d %x2, %w2 of %batch conv @layers.2.conv {nemotron.layer = 2}
        : (tensor<?x8xf32>, tensor<8x4xf32>, !nemotron.batch) -> tensor<?x8xf32>

  %nf = nemotron.get_weight @norm_f : tensor<8xbf16>
  %nff = nemotron.cast %nf : tensor<8xbf16> to tensor<8xf32>
  %hf = nemotron.rms_norm %x2, %nff {eps = 1.0e-5 : f32} : tensor<?x8xf32>, tensor<8xf32>
  %r = nemotron.select_rows %hf of %batch : (tensor<?x8xf32>, !nemotron.batch) -> tensor<?x8xf32>
  %l = nemotron.linear %r, %e : (tensor<?x8xf32>, tensor<32x8xbf16>) -> tensor<?x32xf32>
  return %l : tensor<?x32xf32>
}
