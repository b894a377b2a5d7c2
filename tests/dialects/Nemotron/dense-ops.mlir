// RUN: nemotron-opt %s | nemotron-opt | FileCheck %s
// RUN: nemotron-opt %s -mlir-print-op-generic | nemotron-opt | FileCheck %s

// CHECK-LABEL: @embedding
func.func @embedding(%tokens: tensor<?xi32>, %w: tensor<4096x192xbf16>) -> tensor<?x192xf32> {
  // CHECK: nemotron.embedding %{{.*}}, %{{.*}} : (tensor<?xi32>, tensor<4096x192xbf16>) -> tensor<?x192xf32>
  %h = nemotron.embedding %tokens, %w : (tensor<?xi32>, tensor<4096x192xbf16>) -> tensor<?x192xf32>
  return %h : tensor<?x192xf32>
}

// CHECK-LABEL: @select_rows
func.func @select_rows(%h: tensor<?x192xf32>, %batch: !nemotron.batch) -> tensor<?x192xf32> {
  // CHECK: nemotron.select_rows %{{.*}} of %{{.*}} : (tensor<?x192xf32>, !nemotron.batch) -> tensor<?x192xf32>
  %r = nemotron.select_rows %h of %batch : (tensor<?x192xf32>, !nemotron.batch) -> tensor<?x192xf32>
  return %r : tensor<?x192xf32>
}

// CHECK-LABEL: @linear
func.func @linear(%x: tensor<?x192xf32>, %w: tensor<576x192xbf16>, %b: tensor<576xf32>) {
  // CHECK: nemotron.linear %{{.*}}, %{{.*}} : (tensor<?x192xf32>, tensor<576x192xbf16>) -> tensor<?x576xf32>
  %0 = nemotron.linear %x, %w : (tensor<?x192xf32>, tensor<576x192xbf16>) -> tensor<?x576xf32>
  // CHECK: nemotron.linear %{{.*}}, %{{.*}} bias %{{.*}} {activation = #nemotron.activation<relu2>}
  // CHECK-SAME: : (tensor<?x192xf32>, tensor<576x192xbf16>, tensor<576xf32>) -> tensor<?x576xf32>
  %1 = nemotron.linear %x, %w bias %b {activation = #nemotron.activation<relu2>}
     : (tensor<?x192xf32>, tensor<576x192xbf16>, tensor<576xf32>) -> tensor<?x576xf32>
  // The default is not printed.
  // CHECK: nemotron.linear %{{.*}}, %{{.*}} : (tensor<?x192xf32>,
  %2 = nemotron.linear %x, %w {activation = #nemotron.activation<none>}
     : (tensor<?x192xf32>, tensor<576x192xbf16>) -> tensor<?x576xf32>
  return
}

// CHECK-LABEL: @split
func.func @split(%qkv: tensor<?x512xf32>) {
  // CHECK: %{{.*}}:3 = nemotron.split %{{.*}} : (tensor<?x512xf32>)
  // CHECK-SAME: -> (tensor<?x256xf32>, tensor<?x128xf32>, tensor<?x128xf32>)
  %q, %k, %v = nemotron.split %qkv : (tensor<?x512xf32>) -> (tensor<?x256xf32>, tensor<?x128xf32>, tensor<?x128xf32>)
  return
}

// CHECK-LABEL: @elementwise
func.func @elementwise(%a: tensor<?x192xf32>, %b: tensor<?x192xf32>) {
  // CHECK: nemotron.add %{{.*}}, %{{.*}} : tensor<?x192xf32>
  %s = nemotron.add %a, %b : tensor<?x192xf32>
  // CHECK: nemotron.relu2 %{{.*}} : tensor<?x192xf32>
  %r = nemotron.relu2 %s : tensor<?x192xf32>
  // CHECK: nemotron.silu %{{.*}} : tensor<?x192xf32>
  %y = nemotron.silu %r : tensor<?x192xf32>
  return
}

// CHECK-LABEL: @moe
func.func @moe(%h: tensor<?x96xf32>, %gate: tensor<8x96xf32>, %bias: tensor<8xf32>, %up: tensor<8x64x96xbf16>,
               %down: tensor<8x96x64xbf16>) -> tensor<?x96xf32> {
  // CHECK: nemotron.moe_route %arg0, %arg1, %arg2
  // CHECK-SAME: {n_group = 1 : i64, norm_topk_prob = true, routed_scaling_factor = 2.500000e+00 : f32, topk_group = 1 : i64}
  // CHECK-SAME: : (tensor<?x96xf32>, tensor<8x96xf32>, tensor<8xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
  %i, %w = nemotron.moe_route %h, %gate, %bias
           {n_group = 1, topk_group = 1, norm_topk_prob = true, routed_scaling_factor = 2.5 : f32}
         : (tensor<?x96xf32>, tensor<8x96xf32>, tensor<8xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
  // CHECK: nemotron.moe_experts %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} : (tensor<?x96xf32>, tensor<?x2xi32>,
  // CHECK-SAME: tensor<?x2xf32>, tensor<8x64x96xbf16>, tensor<8x96x64xbf16>) -> tensor<?x96xf32>
  %y = nemotron.moe_experts %h, %i, %w, %up, %down
     : (tensor<?x96xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x64x96xbf16>, tensor<8x96x64xbf16>) -> tensor<?x96xf32>
  return %y : tensor<?x96xf32>
}
