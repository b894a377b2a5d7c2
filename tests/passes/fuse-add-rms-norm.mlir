// RUN: nemotron-opt %s -nemotron-fuse-add-rms-norm | FileCheck %s
// RUN: nemotron-opt %s -nemotron-fuse-add-rms-norm -mlir-print-debuginfo | FileCheck %s --check-prefix=LOC

nemotron.weight @norm : tensor<8xbf16> from "norm"

// CHECK-LABEL: @fuses_pair
// CHECK-SAME:    (%[[R:.*]]: tensor<?x8xf32>, %[[A:.*]]: tensor<?x8xf32>, %[[W:.*]]: tensor<8xf32>)
// CHECK-NEXT:    %[[H:.*]], %[[Y:.*]] = nemotron.add_rms_norm %[[R]], %[[A]], %[[W]] {eps = {{.*}} : f32, nemotron.layer = 4 : i64}
// CHECK-NEXT:    return %[[H]], %[[Y]]
// LOC-LABEL:   @fuses_pair
// LOC:           nemotron.add_rms_norm {{.*}} loc(#[[FUSED:.*]])
func.func @fuses_pair(%r: tensor<?x8xf32>, %a: tensor<?x8xf32>, %w: tensor<8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %h = nemotron.add %r, %a {nemotron.layer = 3} : tensor<?x8xf32> loc("layers.3.residual")
  %y = nemotron.rms_norm %h, %w {eps = 1.0e-5 : f32, nemotron.layer = 4} : tensor<?x8xf32>, tensor<8xf32> loc("layers.4.norm")
  return %h, %y : tensor<?x8xf32>, tensor<?x8xf32>
}

// The last norm belongs to no layer.
// CHECK-LABEL: @keeps_layer_of_add
// CHECK:         nemotron.add_rms_norm {{.*}} {eps = {{.*}} : f32, nemotron.layer = 3 : i64}
func.func @keeps_layer_of_add(%r: tensor<?x8xf32>, %a: tensor<?x8xf32>, %w: tensor<8xf32>) -> tensor<?x8xf32> {
  %h = nemotron.add %r, %a {nemotron.layer = 3} : tensor<?x8xf32>
  %y = nemotron.rms_norm %h, %w {eps = 1.0e-5 : f32} : tensor<?x8xf32>, tensor<8xf32>
  return %y : tensor<?x8xf32>
}

// The sum has a reader before the norm, so the weight moves up.
// CHECK-LABEL: @moves_weight_up
// CHECK-NEXT:    %[[G:.*]] = nemotron.get_weight @norm
// CHECK-NEXT:    %[[W:.*]] = nemotron.cast %[[G]]
// CHECK-NEXT:    %[[H:.*]], %[[Y:.*]] = nemotron.add_rms_norm %{{.*}}, %{{.*}}, %[[W]]
// CHECK-NEXT:    %[[U:.*]] = nemotron.relu2 %[[H]]
// CHECK-NEXT:    return %[[U]], %[[Y]]
func.func @moves_weight_up(%r: tensor<?x8xf32>, %a: tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %h = nemotron.add %r, %a : tensor<?x8xf32>
  %u = nemotron.relu2 %h : tensor<?x8xf32>
  %g = nemotron.get_weight @norm : tensor<8xbf16>
  %w = nemotron.cast %g : tensor<8xbf16> to tensor<8xf32>
  %y = nemotron.rms_norm %h, %w {eps = 1.0e-5 : f32} : tensor<?x8xf32>, tensor<8xf32>
  return %u, %y : tensor<?x8xf32>, tensor<?x8xf32>
}

// CHECK-LABEL: @chain_of_layers
// CHECK:         %[[H0:.*]], %[[Y0:.*]] = nemotron.add_rms_norm %{{.*}}, %{{.*}}, %{{.*}}
// CHECK-NEXT:    %{{.*}}, %[[Y1:.*]] = nemotron.add_rms_norm %[[H0]], %[[Y0]], %{{.*}}
// CHECK-NEXT:    return %[[Y1]]
func.func @chain_of_layers(%r: tensor<?x8xbf16>, %a: tensor<?x8xbf16>, %w: tensor<8xf32>) -> tensor<?x8xbf16> {
  %h0 = nemotron.add %r, %a : tensor<?x8xbf16>
  %y0 = nemotron.rms_norm %h0, %w {eps = 1.0e-5 : f32} : tensor<?x8xbf16>, tensor<8xf32>
  %h1 = nemotron.add %h0, %y0 : tensor<?x8xbf16>
  %y1 = nemotron.rms_norm %h1, %w {eps = 1.0e-5 : f32} : tensor<?x8xbf16>, tensor<8xf32>
  return %y1 : tensor<?x8xbf16>
}

// CHECK-LABEL: @first_of_two_norms
// CHECK:         %[[H:.*]], %[[Y:.*]] = nemotron.add_rms_norm {{.*}} {eps = 9.99999974E-6 : f32}
// CHECK-NEXT:    %[[Z:.*]] = nemotron.rms_norm %[[H]], %{{.*}} {eps = 9.99999997E-7 : f32}
// CHECK-NEXT:    return %[[Y]], %[[Z]]
func.func @first_of_two_norms(%r: tensor<?x8xf32>, %a: tensor<?x8xf32>, %w: tensor<8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %h = nemotron.add %r, %a : tensor<?x8xf32>
  %y = nemotron.rms_norm %h, %w {eps = 1.0e-5 : f32} : tensor<?x8xf32>, tensor<8xf32>
  %z = nemotron.rms_norm %h, %w {eps = 1.0e-6 : f32} : tensor<?x8xf32>, tensor<8xf32>
  return %y, %z : tensor<?x8xf32>, tensor<?x8xf32>
}

// CHECK-LABEL: @no_add
// CHECK-NOT:     add_rms_norm
func.func @no_add(%h: tensor<?x8xf32>, %w: tensor<8xf32>) -> tensor<?x8xf32> {
  %u = nemotron.relu2 %h : tensor<?x8xf32>
  %y = nemotron.rms_norm %u, %w {eps = 1.0e-5 : f32} : tensor<?x8xf32>, tensor<8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @layer_norm
// CHECK:         nemotron.add %
// CHECK-NEXT:    nemotron.layer_norm
func.func @layer_norm(%r: tensor<?x8xf32>, %a: tensor<?x8xf32>, %w: tensor<8xf32>) -> tensor<?x8xf32> {
  %h = nemotron.add %r, %a : tensor<?x8xf32>
  %y = nemotron.layer_norm %h, %w {eps = 1.0e-5 : f32} : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @other_block
// CHECK:         nemotron.add %
// CHECK:       ^bb1:
// CHECK-NEXT:    nemotron.rms_norm
func.func @other_block(%r: tensor<?x8xf32>, %a: tensor<?x8xf32>, %w: tensor<8xf32>) -> tensor<?x8xf32> {
  %h = nemotron.add %r, %a : tensor<?x8xf32>
  cf.br ^next
^next:
  %y = nemotron.rms_norm %h, %w {eps = 1.0e-5 : f32} : tensor<?x8xf32>, tensor<8xf32>
  return %y : tensor<?x8xf32>
}

// What a call returns may depend on what was called before: it does not move.
func.func private @weight_from_elsewhere() -> tensor<8xf32>

// CHECK-LABEL: @weight_cannot_move
// CHECK:         nemotron.add %
// CHECK-NEXT:    call
// CHECK-NEXT:    nemotron.rms_norm
func.func @weight_cannot_move(%r: tensor<?x8xf32>, %a: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %h = nemotron.add %r, %a : tensor<?x8xf32>
  %w = call @weight_from_elsewhere() : () -> tensor<8xf32>
  %y = nemotron.rms_norm %h, %w {eps = 1.0e-5 : f32} : tensor<?x8xf32>, tensor<8xf32>
  return %y : tensor<?x8xf32>
}

// LOC: #[[ADD:.*]] = loc("layers.3.residual")
// LOC: #[[NORM:.*]] = loc("layers.4.norm")
// LOC: #[[FUSED]] = loc(fused[#[[ADD]], #[[NORM]]])
