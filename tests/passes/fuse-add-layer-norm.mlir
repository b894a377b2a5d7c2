// RUN: nemotron-opt %s -nemotron-fuse-add-layer-norm | FileCheck %s
// RUN: nemotron-opt %s -nemotron-fuse-add-layer-norm -mlir-print-debuginfo | FileCheck %s --check-prefix=LOC

nemotron.weight @gain : tensor<8xf32> from "gain"
nemotron.weight @bias : tensor<8xf32> from "bias"

// CHECK-LABEL: @fuses_pair
// CHECK-SAME:    (%[[R:.*]]: tensor<?x8xf32>, %[[A:.*]]: tensor<?x8xf32>, %[[W:.*]]: tensor<8xf32>, %[[B:.*]]: tensor<8xf32>)
// CHECK-NEXT:    %[[H:.*]], %[[Y:.*]] = nemotron.add_layer_norm %[[R]], %[[A]], %[[W]] bias %[[B]]
// CHECK-SAME:      {eps = {{.*}} : f32, nemotron.layer = 4 : i64, unit_offset}
// CHECK-NEXT:    return %[[H]], %[[Y]]
// LOC-LABEL:   @fuses_pair
// LOC:           nemotron.add_layer_norm {{.*}} loc(#[[FUSED:.*]])
func.func @fuses_pair(%r: tensor<?x8xf32>, %a: tensor<?x8xf32>, %w: tensor<8xf32>, %b: tensor<8xf32>)
    -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %h = nemotron.add %r, %a {nemotron.layer = 3} : tensor<?x8xf32> loc("layers.3.residual")
  %y = nemotron.layer_norm %h, %w bias %b {eps = 1.0e-5 : f32, nemotron.layer = 4, unit_offset}
     : (tensor<?x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<?x8xf32> loc("layers.4.norm")
  return %h, %y : tensor<?x8xf32>, tensor<?x8xf32>
}

// CHECK-LABEL: @without_bias_and_offset
// CHECK-NOT:     nemotron.add %
// CHECK:         nemotron.add_layer_norm %{{.*}}, %{{.*}}, %{{.*}} {eps = {{.*}} : f32} : (tensor<?x8xbf16>, tensor<?x8xbf16>, tensor<8xf32>)
func.func @without_bias_and_offset(%r: tensor<?x8xbf16>, %a: tensor<?x8xbf16>, %w: tensor<8xf32>) -> tensor<?x8xbf16> {
  %h = nemotron.add %r, %a : tensor<?x8xbf16>
  %y = nemotron.layer_norm %h, %w {eps = 1.0e-5 : f32} : (tensor<?x8xbf16>, tensor<8xf32>) -> tensor<?x8xbf16>
  return %y : tensor<?x8xbf16>
}

// CHECK-LABEL: @moves_gain_and_bias_up
// CHECK-NEXT:    %[[W:.*]] = nemotron.get_weight @gain
// CHECK-NEXT:    %[[B:.*]] = nemotron.get_weight @bias
// CHECK-NEXT:    %[[H:.*]], %[[Y:.*]] = nemotron.add_layer_norm %{{.*}}, %{{.*}}, %[[W]] bias %[[B]]
// CHECK-NEXT:    nemotron.relu2 %[[H]]
func.func @moves_gain_and_bias_up(%r: tensor<?x8xf32>, %a: tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %h = nemotron.add %r, %a : tensor<?x8xf32>
  %u = nemotron.relu2 %h : tensor<?x8xf32>
  %w = nemotron.get_weight @gain : tensor<8xf32>
  %b = nemotron.get_weight @bias : tensor<8xf32>
  %y = nemotron.layer_norm %h, %w bias %b {eps = 1.0e-5 : f32} : (tensor<?x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  return %u, %y : tensor<?x8xf32>, tensor<?x8xf32>
}

// Nothing moves if one of the two cannot.
func.func private @bias_from_elsewhere() -> tensor<8xf32>

// CHECK-LABEL: @bias_cannot_move
// CHECK-NEXT:    nemotron.add %
// CHECK-NEXT:    nemotron.get_weight @gain
// CHECK-NEXT:    call
// CHECK-NEXT:    nemotron.layer_norm
func.func @bias_cannot_move(%r: tensor<?x8xf32>, %a: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %h = nemotron.add %r, %a : tensor<?x8xf32>
  %w = nemotron.get_weight @gain : tensor<8xf32>
  %b = call @bias_from_elsewhere() : () -> tensor<8xf32>
  %y = nemotron.layer_norm %h, %w bias %b {eps = 1.0e-5 : f32} : (tensor<?x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @rms_norm
// CHECK:         nemotron.add %
// CHECK-NEXT:    nemotron.rms_norm
func.func @rms_norm(%r: tensor<?x8xf32>, %a: tensor<?x8xf32>, %w: tensor<8xf32>) -> tensor<?x8xf32> {
  %h = nemotron.add %r, %a : tensor<?x8xf32>
  %y = nemotron.rms_norm %h, %w {eps = 1.0e-5 : f32} : tensor<?x8xf32>, tensor<8xf32>
  return %y : tensor<?x8xf32>
}

// LOC: #[[ADD:.*]] = loc("layers.3.residual")
// LOC: #[[NORM:.*]] = loc("layers.4.norm")
// LOC: #[[FUSED]] = loc(fused[#[[ADD]], #[[NORM]]])
