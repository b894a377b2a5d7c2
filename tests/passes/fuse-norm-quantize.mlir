// RUN: nemotron-opt %s -nemotron-fuse-norm-quantize | FileCheck %s

// CHECK-LABEL: @rms_norm
// CHECK-SAME:    (%[[X:.*]]: tensor<?x8xf32>, %[[W:.*]]: tensor<8xf32>)
// CHECK-NEXT:    %[[Q:.*]], %[[S:.*]] = nemotron.rms_norm_quantize %[[X]], %[[W]] {eps = {{.*}}, nemotron.layer = 2 : i64, scaling = #nemotron.scaling<token>}
// CHECK-NEXT:    return %[[Q]], %[[S]]
func.func @rms_norm(%x: tensor<?x8xf32>, %w: tensor<8xf32>) -> (tensor<?x8xf8E4M3FN>, tensor<?x1xf32>) {
  %y = nemotron.rms_norm %x, %w {eps = 1.0e-5 : f32, nemotron.layer = 2} : tensor<?x8xf32>, tensor<8xf32>
  %q, %s = nemotron.quantize %y {scaling = #nemotron.scaling<token>} : tensor<?x8xf32> -> tensor<?x8xf8E4M3FN>, tensor<?x1xf32>
  return %q, %s : tensor<?x8xf8E4M3FN>, tensor<?x1xf32>
}

// CHECK-LABEL: @add_rms_norm
// CHECK-NEXT:    %[[H:.*]], %[[Q:.*]], %[[S:.*]] = nemotron.add_rms_norm_quantize {{.*}}scaling = #nemotron.scaling<static>, static_scale = 2.500000e-01 : f32}
// CHECK-NEXT:    return %[[H]], %[[Q]], %[[S]]
func.func @add_rms_norm(%r: tensor<?x8xf32>, %a: tensor<?x8xf32>, %w: tensor<8xf32>)
    -> (tensor<?x8xf32>, tensor<?x8xf8E4M3FN>, tensor<?x1xf32>) {
  %h, %y = nemotron.add_rms_norm %r, %a, %w {eps = 1.0e-5 : f32} : tensor<?x8xf32>, tensor<8xf32>
  %q, %s = nemotron.quantize %y {scaling = #nemotron.scaling<static>, static_scale = 0.25 : f32}
         : tensor<?x8xf32> -> tensor<?x8xf8E4M3FN>, tensor<?x1xf32>
  return %h, %q, %s : tensor<?x8xf32>, tensor<?x8xf8E4M3FN>, tensor<?x1xf32>
}

// CHECK-LABEL: @layer_norm
// CHECK-NEXT:    nemotron.layer_norm_quantize %{{.*}}, %{{.*}} bias %{{.*}} {eps = {{.*}}unit_offset}
// CHECK-NEXT:    return
func.func @layer_norm(%x: tensor<?x8xf32>, %w: tensor<8xf32>, %b: tensor<8xf32>) -> tensor<?x8xf8E4M3FN> {
  %y = nemotron.layer_norm %x, %w bias %b {eps = 1.0e-5 : f32, unit_offset}
     : (tensor<?x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  %q, %s = nemotron.quantize %y {scaling = #nemotron.scaling<token>} : tensor<?x8xf32> -> tensor<?x8xf8E4M3FN>, tensor<?x1xf32>
  return %q : tensor<?x8xf8E4M3FN>
}

// CHECK-LABEL: @add_layer_norm
// CHECK-NEXT:    nemotron.add_layer_norm_quantize %{{.*}}, %{{.*}}, %{{.*}} {eps
// CHECK-NEXT:    return
func.func @add_layer_norm(%r: tensor<?x8xf32>, %a: tensor<?x8xf32>, %w: tensor<8xf32>) -> tensor<?x8xf8E4M3FN> {
  %h, %y = nemotron.add_layer_norm %r, %a, %w {eps = 1.0e-5 : f32}
         : (tensor<?x8xf32>, tensor<?x8xf32>, tensor<8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>)
  %q, %s = nemotron.quantize %y {scaling = #nemotron.scaling<token>} : tensor<?x8xf32> -> tensor<?x8xf8E4M3FN>, tensor<?x1xf32>
  return %q : tensor<?x8xf8E4M3FN>
}

// The sum is quantized, not the norm.
// CHECK-LABEL: @of_the_sum
// CHECK-NEXT:    nemotron.add_rms_norm %
// CHECK-NEXT:    nemotron.quantize
func.func @of_the_sum(%r: tensor<?x8xf32>, %a: tensor<?x8xf32>, %w: tensor<8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf8E4M3FN>) {
  %h, %y = nemotron.add_rms_norm %r, %a, %w {eps = 1.0e-5 : f32} : tensor<?x8xf32>, tensor<8xf32>
  %q, %s = nemotron.quantize %h {scaling = #nemotron.scaling<token>} : tensor<?x8xf32> -> tensor<?x8xf8E4M3FN>, tensor<?x1xf32>
  return %y, %q : tensor<?x8xf32>, tensor<?x8xf8E4M3FN>
}

// A router reads the norm too.
// CHECK-LABEL: @two_uses
// CHECK-NEXT:    nemotron.rms_norm %
// CHECK-NEXT:    nemotron.quantize
func.func @two_uses(%x: tensor<?x8xf32>, %w: tensor<8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf8E4M3FN>) {
  %y = nemotron.rms_norm %x, %w {eps = 1.0e-5 : f32} : tensor<?x8xf32>, tensor<8xf32>
  %q, %s = nemotron.quantize %y {scaling = #nemotron.scaling<token>} : tensor<?x8xf32> -> tensor<?x8xf8E4M3FN>, tensor<?x1xf32>
  return %y, %q : tensor<?x8xf32>, tensor<?x8xf8E4M3FN>
}

// CHECK-LABEL: @scaling_of_a_step
// CHECK-NEXT:    nemotron.rms_norm %
// CHECK-NEXT:    nemotron.quantize
func.func @scaling_of_a_step(%x: tensor<?x8xf32>, %w: tensor<8xf32>) -> tensor<?x8xf8E4M3FN> {
  %y = nemotron.rms_norm %x, %w {eps = 1.0e-5 : f32} : tensor<?x8xf32>, tensor<8xf32>
  %q, %s = nemotron.quantize %y {scaling = #nemotron.scaling<step>} : tensor<?x8xf32> -> tensor<?x8xf8E4M3FN>, tensor<?x1xf32>
  return %q : tensor<?x8xf8E4M3FN>
}

// CHECK-LABEL: @activation_between
// CHECK-NEXT:    nemotron.rms_norm %
// CHECK-NEXT:    nemotron.quantize
func.func @activation_between(%x: tensor<?x8xf32>, %w: tensor<8xf32>) -> tensor<?x8xf8E4M3FN> {
  %y = nemotron.rms_norm %x, %w {eps = 1.0e-5 : f32} : tensor<?x8xf32>, tensor<8xf32>
  %q, %s = nemotron.quantize %y {scaling = #nemotron.scaling<token>, activation = #nemotron.activation<relu2>}
         : tensor<?x8xf32> -> tensor<?x8xf8E4M3FN>, tensor<?x1xf32>
  return %q : tensor<?x8xf8E4M3FN>
}

// CHECK-LABEL: @gated_norm
// CHECK-NEXT:    nemotron.gated_rms_norm
// CHECK-NEXT:    nemotron.quantize
func.func @gated_norm(%x: tensor<?x8xf32>, %w: tensor<8xf32>) -> tensor<?x8xf8E4M3FN> {
  %y = nemotron.gated_rms_norm %x, %x, %w {n_groups = 2, eps = 1.0e-5 : f32} : tensor<?x8xf32>, tensor<8xf32>
  %q, %s = nemotron.quantize %y {scaling = #nemotron.scaling<token>} : tensor<?x8xf32> -> tensor<?x8xf8E4M3FN>, tensor<?x1xf32>
  return %q : tensor<?x8xf8E4M3FN>
}
