// RUN: nemotron-opt %s | nemotron-opt | FileCheck %s
// RUN: nemotron-opt %s -mlir-print-op-generic | nemotron-opt | FileCheck %s

// CHECK-LABEL: @rms_norm
func.func @rms_norm(%x: tensor<?x192xf32>, %w: tensor<192xf32>) -> tensor<?x192xf32> {
  // CHECK: nemotron.rms_norm %{{.*}}, %{{.*}} {eps = {{.*}} : f32} : tensor<?x192xf32>, tensor<192xf32>
  %y = nemotron.rms_norm %x, %w {eps = 1.0e-5 : f32} : tensor<?x192xf32>, tensor<192xf32>
  return %y : tensor<?x192xf32>
}

// CHECK-LABEL: @add_rms_norm
func.func @add_rms_norm(%r: tensor<?x192xf32>, %a: tensor<?x192xf32>, %w: tensor<192xbf16>) -> tensor<?x192xf32> {
  // CHECK: %{{.*}}, %{{.*}} = nemotron.add_rms_norm %{{.*}}, %{{.*}}, %{{.*}} {eps = {{.*}} : f32}
  // CHECK-SAME: : tensor<?x192xf32>, tensor<192xbf16>
  %h, %y = nemotron.add_rms_norm %r, %a, %w {eps = 1.0e-5 : f32} : tensor<?x192xf32>, tensor<192xbf16>
  return %y : tensor<?x192xf32>
}

// CHECK-LABEL: @layer_norm
func.func @layer_norm(%x: tensor<?x128xf32>, %w: tensor<128xf32>, %b: tensor<128xf32>) {
  // CHECK: nemotron.layer_norm %{{.*}}, %{{.*}} bias %{{.*}} {eps = {{.*}} : f32, unit_offset}
  // CHECK-SAME: : (tensor<?x128xf32>, tensor<128xf32>, tensor<128xf32>) -> tensor<?x128xf32>
  %0 = nemotron.layer_norm %x, %w bias %b {eps = 1.0e-5 : f32, unit_offset}
     : (tensor<?x128xf32>, tensor<128xf32>, tensor<128xf32>) -> tensor<?x128xf32>
  // CHECK: nemotron.layer_norm %{{.*}}, %{{.*}} {eps = {{.*}} : f32} : (tensor<?x128xf32>, tensor<128xf32>)
  %1 = nemotron.layer_norm %x, %w {eps = 1.0e-5 : f32} : (tensor<?x128xf32>, tensor<128xf32>) -> tensor<?x128xf32>
  return
}

// CHECK-LABEL: @add_layer_norm
func.func @add_layer_norm(%r: tensor<?x128xf32>, %a: tensor<?x128xf32>, %w: tensor<128xf32>, %b: tensor<128xf32>) {
  // CHECK: %{{.*}}, %{{.*}} = nemotron.add_layer_norm %{{.*}}, %{{.*}}, %{{.*}} bias %{{.*}} {eps = {{.*}} : f32, unit_offset}
  // CHECK-SAME: : (tensor<?x128xf32>, tensor<?x128xf32>, tensor<128xf32>, tensor<128xf32>)
  // CHECK-SAME: -> (tensor<?x128xf32>, tensor<?x128xf32>)
  %h, %y = nemotron.add_layer_norm %r, %a, %w bias %b {eps = 1.0e-5 : f32, unit_offset}
         : (tensor<?x128xf32>, tensor<?x128xf32>, tensor<128xf32>, tensor<128xf32>) -> (tensor<?x128xf32>, tensor<?x128xf32>)
  // CHECK: nemotron.add_layer_norm %{{.*}}, %{{.*}}, %{{.*}} {eps = {{.*}} : f32} : (tensor<?x128xf32>,
  %i, %z = nemotron.add_layer_norm %r, %a, %w {eps = 1.0e-5 : f32}
         : (tensor<?x128xf32>, tensor<?x128xf32>, tensor<128xf32>) -> (tensor<?x128xf32>, tensor<?x128xf32>)
  return
}

// CHECK-LABEL: @gated_rms_norm
func.func @gated_rms_norm(%x: tensor<?x8192xbf16>, %z: tensor<?x8192xbf16>, %w: tensor<8192xbf16>) -> tensor<?x8192xbf16> {
  // CHECK: nemotron.gated_rms_norm %{{.*}}, %{{.*}}, %{{.*}} {eps = {{.*}} : f32, n_groups = 8 : i64}
  // CHECK-SAME: : tensor<?x8192xbf16>, tensor<8192xbf16>
  %y = nemotron.gated_rms_norm %x, %z, %w {n_groups = 8, eps = 1.0e-5 : f32} : tensor<?x8192xbf16>, tensor<8192xbf16>
  return %y : tensor<?x8192xbf16>
}
