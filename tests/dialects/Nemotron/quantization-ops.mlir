// RUN: nemotron-opt %s | nemotron-opt | FileCheck %s
// RUN: nemotron-opt %s -mlir-print-op-generic | nemotron-opt | FileCheck %s
// RUN: nemotron-opt %s -canonicalize | FileCheck %s --check-prefix=FOLD

// CHECK: nemotron.weight @layers.3.up : tensor<576x192xf8E4M3FN> from "backbone.layers.3.mixer.up_proj.weight"
nemotron.weight @layers.3.up : tensor<576x192xf8E4M3FN> from "backbone.layers.3.mixer.up_proj.weight"
// CHECK: nemotron.state @layers.7.kv kv_cache : tensor<2x2x64xf8E4M3FN>
nemotron.state @layers.7.kv kv_cache : tensor<2x2x64xf8E4M3FN>
// CHECK: nemotron.state @layers.0.ssm ssm : tensor<6x64x64xbf16>
nemotron.state @layers.0.ssm ssm : tensor<6x64x64xbf16>

// CHECK-LABEL: @quantize
func.func @quantize(%x: tensor<?x192xf32>, %b: tensor<?x192xbf16>) {
  // CHECK: %{{.*}}, %{{.*}} = nemotron.quantize %{{.*}} {scaling = #nemotron.scaling<token>}
  // CHECK-SAME: : tensor<?x192xf32> -> tensor<?x192xf8E4M3FN>, tensor<?x1xf32>
  %0, %s0 = nemotron.quantize %x {scaling = #nemotron.scaling<token>}
          : tensor<?x192xf32> -> tensor<?x192xf8E4M3FN>, tensor<?x1xf32>
  // CHECK: nemotron.quantize %{{.*}} {activation = #nemotron.activation<relu2>, scaling = #nemotron.scaling<step>}
  %1, %s1 = nemotron.quantize %b {scaling = #nemotron.scaling<step>, activation = #nemotron.activation<relu2>}
          : tensor<?x192xbf16> -> tensor<?x192xf8E4M3FN>, tensor<?x1xf32>
  // CHECK: nemotron.quantize %{{.*}} {scaling = #nemotron.scaling<static>, static_scale = 1.250000e-02 : f32}
  %2, %s2 = nemotron.quantize %x {scaling = #nemotron.scaling<static>, static_scale = 0.0125 : f32}
          : tensor<?x192xf32> -> tensor<?x192xf8E4M3FN>, tensor<?x1xf32>
  // CHECK: nemotron.quantize %{{.*}} {scaling = #nemotron.scaling<token>} : tensor<?x192xf32> -> tensor<?x192xi8>, tensor<?x1xf32>
  %3, %s3 = nemotron.quantize %x {scaling = #nemotron.scaling<token>}
          : tensor<?x192xf32> -> tensor<?x192xi8>, tensor<?x1xf32>
  return
}

// CHECK-LABEL: @scaled_matmul
func.func @scaled_matmul(%q: tensor<?x192xf8E4M3FN>, %s: tensor<?x1xf32>, %x: tensor<?x192xf32>,
                         %one: tensor<1xf32>, %rows: tensor<576xf32>, %b: tensor<576xf32>) {
  %w = nemotron.get_weight @layers.3.up : tensor<576x192xf8E4M3FN>
  // CHECK: nemotron.scaled_matmul %{{.*}} scaled %{{.*}}, %{{.*}} scaled %{{.*}} bias %{{.*}} {activation = #nemotron.activation<relu2>}
  // CHECK-SAME: : (tensor<?x192xf8E4M3FN>, tensor<?x1xf32>, tensor<576x192xf8E4M3FN>, tensor<576xf32>, tensor<576xf32>) -> tensor<?x576xf32>
  %0 = nemotron.scaled_matmul %q scaled %s, %w scaled %rows bias %b {activation = #nemotron.activation<relu2>}
     : (tensor<?x192xf8E4M3FN>, tensor<?x1xf32>, tensor<576x192xf8E4M3FN>, tensor<576xf32>, tensor<576xf32>)
       -> tensor<?x576xf32>
  // CHECK: nemotron.scaled_matmul %{{.*}}, %{{.*}} scaled %{{.*}} : (tensor<?x192xf32>, tensor<576x192xf8E4M3FN>, tensor<1xf32>)
  %1 = nemotron.scaled_matmul %x, %w scaled %one
     : (tensor<?x192xf32>, tensor<576x192xf8E4M3FN>, tensor<1xf32>) -> tensor<?x576xf32>
  return
}

nemotron.weight @layers.3.down : tensor<576x192xbf16> from "backbone.layers.3.mixer.down_proj.weight"
// CHECK-LABEL: @int8
func.func @int8(%x: tensor<?x192xf32>, %n: tensor<192xf32>) {
  %w = nemotron.get_weight @layers.3.down : tensor<576x192xbf16>
  // CHECK: nemotron.rms_norm_quantize {{.*}} -> (tensor<?x192xi8>, tensor<?x1xf32>)
  %q, %s = nemotron.rms_norm_quantize %x, %n {eps = 1.0e-5 : f32, scaling = #nemotron.scaling<token>}
         : (tensor<?x192xf32>, tensor<192xf32>) -> (tensor<?x192xi8>, tensor<?x1xf32>)
  // CHECK: nemotron.absmax_scale %{{.*}} {largest = 1.270000e+02 : f32} : tensor<576x192xbf16> to tensor<576xf32>
  %ws = nemotron.absmax_scale %w {largest = 127.0 : f32} : tensor<576x192xbf16> to tensor<576xf32>
  // CHECK: nemotron.quantize_weight %{{.*}}, %{{.*}} : (tensor<576x192xbf16>, tensor<576xf32>) -> tensor<576x192xi8>
  %wq = nemotron.quantize_weight %w, %ws : (tensor<576x192xbf16>, tensor<576xf32>) -> tensor<576x192xi8>
  // CHECK: nemotron.scaled_matmul {{.*}} : (tensor<?x192xi8>, tensor<?x1xf32>, tensor<576x192xi8>, tensor<576xf32>) -> tensor<?x576xf32>
  %y = nemotron.scaled_matmul %q scaled %s, %wq scaled %ws
     : (tensor<?x192xi8>, tensor<?x1xf32>, tensor<576x192xi8>, tensor<576xf32>) -> tensor<?x576xf32>
  // CHECK: nemotron.absmax_scale %{{.*}} {largest = 1.270000e+02 : f32} : tensor<576x192xbf16> to tensor<576x3xf32>
  %gs = nemotron.absmax_scale %w {largest = 127.0 : f32} : tensor<576x192xbf16> to tensor<576x3xf32>
  %gq = nemotron.quantize_weight %w, %gs : (tensor<576x192xbf16>, tensor<576x3xf32>) -> tensor<576x192xi8>
  // CHECK: nemotron.scaled_matmul {{.*}} : (tensor<?x192xi8>, tensor<?x1xf32>, tensor<576x192xi8>, tensor<576x3xf32>) -> tensor<?x576xf32>
  %z = nemotron.scaled_matmul %q scaled %s, %gq scaled %gs
     : (tensor<?x192xi8>, tensor<?x1xf32>, tensor<576x192xi8>, tensor<576x3xf32>) -> tensor<?x576xf32>
  return
}

// CHECK-LABEL: @scaled_moe_experts
func.func @scaled_moe_experts(%x: tensor<?x96xf32>, %i: tensor<?x2xi32>, %p: tensor<?x2xf32>,
                              %up: tensor<8x64x96xf8E4M3FN>, %down: tensor<8x96x64xf8E4M3FN>, %one: tensor<8x1xf32>,
                              %f: tensor<8x64xf32>, %k: tensor<8x96xf32>, %s: tensor<8xf32>) {
  // CHECK: nemotron.scaled_moe_experts %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} scaled %{{.*}}, %{{.*}} scaled %{{.*}} :
  %0 = nemotron.scaled_moe_experts %x, %i, %p, %up scaled %one, %down scaled %one
     : (tensor<?x96xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x64x96xf8E4M3FN>, tensor<8x1xf32>,
        tensor<8x96x64xf8E4M3FN>, tensor<8x1xf32>) -> tensor<?x96xf32>
  // CHECK: nemotron.scaled_moe_experts {{.*}} scaled %{{.*}} up_input %{{.*}} down_input %{{.*}} :
  %1 = nemotron.scaled_moe_experts %x, %i, %p, %up scaled %f, %down scaled %k up_input %s down_input %s
     : (tensor<?x96xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x64x96xf8E4M3FN>, tensor<8x64xf32>,
        tensor<8x96x64xf8E4M3FN>, tensor<8x96xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<?x96xf32>
  // CHECK: nemotron.scaled_moe_experts {{.*}} scaled %{{.*}} down_input %{{.*}} :
  %2 = nemotron.scaled_moe_experts %x, %i, %p, %up scaled %f, %down scaled %one down_input %s
     : (tensor<?x96xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x64x96xf8E4M3FN>, tensor<8x64xf32>,
        tensor<8x96x64xf8E4M3FN>, tensor<8x1xf32>, tensor<8xf32>) -> tensor<?x96xf32>
  // CHECK: nemotron.scaled_moe_experts {{.*}} {weight_only} :
  %3 = nemotron.scaled_moe_experts %x, %i, %p, %up scaled %one, %down scaled %one {weight_only}
     : (tensor<?x96xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x64x96xf8E4M3FN>, tensor<8x1xf32>,
        tensor<8x96x64xf8E4M3FN>, tensor<8x1xf32>) -> tensor<?x96xf32>
  return
}

// CHECK-LABEL: @norms
func.func @norms(%x: tensor<?x128xf32>, %w: tensor<128xf32>, %b: tensor<128xbf16>) {
  // CHECK: %{{.*}}, %{{.*}} = nemotron.rms_norm_quantize %{{.*}}, %{{.*}} {eps = {{.*}} : f32, scaling = #nemotron.scaling<token>}
  // CHECK-SAME: : (tensor<?x128xf32>, tensor<128xf32>) -> (tensor<?x128xf8E4M3FN>, tensor<?x1xf32>)
  %0, %s0 = nemotron.rms_norm_quantize %x, %w {eps = 1.0e-5 : f32, scaling = #nemotron.scaling<token>}
          : (tensor<?x128xf32>, tensor<128xf32>) -> (tensor<?x128xf8E4M3FN>, tensor<?x1xf32>)
  // CHECK: nemotron.add_rms_norm_quantize %{{.*}}, %{{.*}}, %{{.*}} {eps = {{.*}} : f32, scaling = #nemotron.scaling<static>, static_scale = 1.250000e-02 : f32}
  // CHECK-SAME: -> (tensor<?x128xf32>, tensor<?x128xf8E4M3FN>, tensor<?x1xf32>)
  %1:3 = nemotron.add_rms_norm_quantize %x, %x, %w
         {eps = 1.0e-5 : f32, scaling = #nemotron.scaling<static>, static_scale = 0.0125 : f32}
       : (tensor<?x128xf32>, tensor<?x128xf32>, tensor<128xf32>)
         -> (tensor<?x128xf32>, tensor<?x128xf8E4M3FN>, tensor<?x1xf32>)
  // CHECK: nemotron.layer_norm_quantize %{{.*}}, %{{.*}} {eps = {{.*}} : f32, scaling = #nemotron.scaling<token>, unit_offset}
  %2:2 = nemotron.layer_norm_quantize %x, %w {eps = 1.0e-5 : f32, unit_offset, scaling = #nemotron.scaling<token>}
       : (tensor<?x128xf32>, tensor<128xf32>) -> (tensor<?x128xf8E4M3FN>, tensor<?x1xf32>)
  // CHECK: nemotron.add_layer_norm_quantize %{{.*}}, %{{.*}}, %{{.*}} bias %{{.*}} {eps = {{.*}} : f32, scaling = #nemotron.scaling<token>}
  // CHECK-SAME: : (tensor<?x128xf32>, tensor<?x128xf32>, tensor<128xf32>, tensor<128xbf16>)
  %3:3 = nemotron.add_layer_norm_quantize %x, %x, %w bias %b {eps = 1.0e-5 : f32, scaling = #nemotron.scaling<token>}
       : (tensor<?x128xf32>, tensor<?x128xf32>, tensor<128xf32>, tensor<128xbf16>)
         -> (tensor<?x128xf32>, tensor<?x128xf8E4M3FN>, tensor<?x1xf32>)
  return
}

// CHECK-LABEL: @attention
func.func @attention(%q: tensor<?x256xf32>, %k: tensor<?x128xf32>, %batch: !nemotron.batch) -> tensor<?x256xf32> {
  // CHECK: nemotron.attention %{{.*}} cache @layers.7.kv
  // CHECK-SAME: {head_dim = 64 : i64, key_scale = 5.000000e-01 : f32, num_heads = 4 : i64, num_kv_heads = 2 : i64, scale = 1.250000e-01 : f32, value_scale = 2.500000e-01 : f32}
  %o = nemotron.attention %q, %k, %k of %batch cache @layers.7.kv
       {num_heads = 4, num_kv_heads = 2, head_dim = 64, scale = 0.125 : f32, key_scale = 0.5 : f32, value_scale = 0.25 : f32}
     : (tensor<?x256xf32>, tensor<?x128xf32>, tensor<?x128xf32>, !nemotron.batch) -> tensor<?x256xf32>
  return %o : tensor<?x256xf32>
}

// CHECK-LABEL: @transforms
func.func @transforms(%m: tensor<576x192xbf16>, %e: tensor<8x64x96xf16>) {
  // CHECK: nemotron.absmax_scale %{{.*}} : tensor<576x192xbf16> to tensor<1xf32>
  %s0 = nemotron.absmax_scale %m : tensor<576x192xbf16> to tensor<1xf32>
  // CHECK: nemotron.absmax_scale %{{.*}} : tensor<576x192xbf16> to tensor<576xf32>
  %s1 = nemotron.absmax_scale %m : tensor<576x192xbf16> to tensor<576xf32>
  // CHECK: nemotron.absmax_scale %{{.*}} : tensor<8x64x96xf16> to tensor<8x1xf32>
  %s2 = nemotron.absmax_scale %e : tensor<8x64x96xf16> to tensor<8x1xf32>
  // CHECK: nemotron.absmax_scale %{{.*}} : tensor<8x64x96xf16> to tensor<8x64xf32>
  %s3 = nemotron.absmax_scale %e : tensor<8x64x96xf16> to tensor<8x64xf32>
  // CHECK: nemotron.quantize_weight %{{.*}}, %{{.*}} : (tensor<576x192xbf16>, tensor<1xf32>) -> tensor<576x192xf8E4M3FN>
  %q0 = nemotron.quantize_weight %m, %s0 : (tensor<576x192xbf16>, tensor<1xf32>) -> tensor<576x192xf8E4M3FN>
  // CHECK: nemotron.quantize_weight %{{.*}}, %{{.*}} : (tensor<8x64x96xf16>, tensor<8x64xf32>) -> tensor<8x64x96xf8E4M3FN>
  %q1 = nemotron.quantize_weight %e, %s3 : (tensor<8x64x96xf16>, tensor<8x64xf32>) -> tensor<8x64x96xf8E4M3FN>
  // CHECK: nemotron.dequantize %{{.*}}, %{{.*}} : (tensor<8x64x96xf8E4M3FN>, tensor<8x1xf32>) -> tensor<8x64x96xf32>
  %d = nemotron.dequantize %q1, %s2 : (tensor<8x64x96xf8E4M3FN>, tensor<8x1xf32>) -> tensor<8x64x96xf32>
  // CHECK: nemotron.broadcast %{{.*}} : tensor<1xf32> to tensor<576xf32>
  %b0 = nemotron.broadcast %s0 : tensor<1xf32> to tensor<576xf32>
  // CHECK: nemotron.broadcast %{{.*}} : tensor<8x1xf32> to tensor<8x64xf32>
  %b1 = nemotron.broadcast %s2 : tensor<8x1xf32> to tensor<8x64xf32>
  // CHECK: nemotron.fill 1.250000e-02 : tensor<8xf32>
  %f = nemotron.fill 0.0125 : tensor<8xf32>
  // CHECK: nemotron.concat %{{.*}}, %{{.*}} : (tensor<576x192xf8E4M3FN>, tensor<576x192xf8E4M3FN>) -> tensor<1152x192xf8E4M3FN>
  %c = nemotron.concat %q0, %q0 : (tensor<576x192xf8E4M3FN>, tensor<576x192xf8E4M3FN>) -> tensor<1152x192xf8E4M3FN>
  // CHECK: nemotron.slice %{{.*}} from 576 : tensor<1152x192xf8E4M3FN> to tensor<576x192xf8E4M3FN>
  %l = nemotron.slice %c from 576 : tensor<1152x192xf8E4M3FN> to tensor<576x192xf8E4M3FN>
  // CHECK: nemotron.stack %{{.*}}, %{{.*}} : (tensor<576x192xf8E4M3FN>, tensor<576x192xf8E4M3FN>) -> tensor<2x576x192xf8E4M3FN>
  %k = nemotron.stack %l, %l : (tensor<576x192xf8E4M3FN>, tensor<576x192xf8E4M3FN>) -> tensor<2x576x192xf8E4M3FN>
  return
}

// FOLD-LABEL: @folds_broadcasts
// FOLD-SAME:    (%[[A:.*]]: tensor<4x1xf32>)
func.func @folds_broadcasts(%a: tensor<4x1xf32>) -> (tensor<4x1xf32>, tensor<4x2xf32>) {
  %0 = nemotron.broadcast %a : tensor<4x1xf32> to tensor<4x1xf32>
  // FOLD-NEXT: %[[B:.*]] = nemotron.broadcast %[[A]] : tensor<4x1xf32> to tensor<4x2xf32>
  %1 = nemotron.broadcast %0 : tensor<4x1xf32> to tensor<4x2xf32>
  // FOLD-NEXT: return %[[A]], %[[B]]
  return %0, %1 : tensor<4x1xf32>, tensor<4x2xf32>
}
