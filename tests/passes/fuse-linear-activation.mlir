// RUN: nemotron-opt %s -nemotron-fuse-linear-activation | FileCheck %s
// RUN: nemotron-opt %s -nemotron-fuse-linear-activation -mlir-print-debuginfo | FileCheck %s --check-prefix=LOC

// CHECK-LABEL: @fuses_pair
// CHECK-SAME:    (%[[X:.*]]: tensor<?x4xf32>, %[[W:.*]]: tensor<8x4xbf16>)
// CHECK-NEXT:    %[[Y:.*]] = nemotron.linear %[[X]], %[[W]] {activation = #nemotron.activation<relu2>, nemotron.layer = 1 : i64}
// CHECK-NEXT:    return %[[Y]]
// LOC-LABEL:   @fuses_pair
// LOC:           nemotron.linear {{.*}} loc(#[[FUSED:.*]])
func.func @fuses_pair(%x: tensor<?x4xf32>, %w: tensor<8x4xbf16>) -> tensor<?x8xf32> {
  %u = nemotron.linear %x, %w {nemotron.layer = 1} : (tensor<?x4xf32>, tensor<8x4xbf16>) -> tensor<?x8xf32> loc("up")
  %y = nemotron.relu2 %u {nemotron.layer = 1} : tensor<?x8xf32> loc("relu2")
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @keeps_bias
// CHECK-NEXT:    %[[Y:.*]] = nemotron.linear %{{.*}}, %{{.*}} bias %{{.*}} {activation = #nemotron.activation<relu2>}
// CHECK-NEXT:    nemotron.relu2 %[[Y]]
// CHECK-NOT:     nemotron.relu2
func.func @keeps_bias(%x: tensor<?x4xf32>, %w: tensor<8x4xf32>, %b: tensor<8xf32>) -> tensor<?x8xf32> {
  %u = nemotron.linear %x, %w bias %b : (tensor<?x4xf32>, tensor<8x4xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  %y = nemotron.relu2 %u : tensor<?x8xf32>
  // A second one does not go into the same linear.
  %z = nemotron.relu2 %y : tensor<?x8xf32>
  return %z : tensor<?x8xf32>
}

// CHECK-LABEL: @two_uses
// CHECK-NEXT:    %[[U:.*]] = nemotron.linear %{{.*}}, %{{.*}} : (
// CHECK-NEXT:    %[[Y:.*]] = nemotron.relu2 %[[U]]
// CHECK-NEXT:    return %[[U]], %[[Y]]
func.func @two_uses(%x: tensor<?x4xf32>, %w: tensor<8x4xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %u = nemotron.linear %x, %w : (tensor<?x4xf32>, tensor<8x4xf32>) -> tensor<?x8xf32>
  %y = nemotron.relu2 %u : tensor<?x8xf32>
  return %u, %y : tensor<?x8xf32>, tensor<?x8xf32>
}

// split_input stays with the product.
// CHECK-LABEL: @split_input
// CHECK-NEXT:    nemotron.linear {{.*}} {activation = #nemotron.activation<relu2>, split_input}
func.func @split_input(%x: tensor<?x4xf32>, %w: tensor<8x4xbf16>) -> tensor<?x8xf32> {
  %u = nemotron.linear %x, %w {split_input} : (tensor<?x4xf32>, tensor<8x4xbf16>) -> tensor<?x8xf32>
  %y = nemotron.relu2 %u : tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @silu
// CHECK-NEXT:    nemotron.linear %{{.*}}, %{{.*}} : (
// CHECK-NEXT:    nemotron.silu
func.func @silu(%x: tensor<?x4xf32>, %w: tensor<8x4xf32>) -> tensor<?x8xf32> {
  %u = nemotron.linear %x, %w : (tensor<?x4xf32>, tensor<8x4xf32>) -> tensor<?x8xf32>
  %y = nemotron.silu %u : tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @has_activation
// CHECK-NEXT:    nemotron.linear {{.*}}activation = #nemotron.activation<relu2>
// CHECK-NEXT:    nemotron.relu2
func.func @has_activation(%x: tensor<?x4xf32>, %w: tensor<8x4xf32>) -> tensor<?x8xf32> {
  %u = nemotron.linear %x, %w {activation = #nemotron.activation<relu2>} : (tensor<?x4xf32>, tensor<8x4xf32>) -> tensor<?x8xf32>
  %y = nemotron.relu2 %u : tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @not_of_a_linear
// CHECK-NEXT:    nemotron.relu2
func.func @not_of_a_linear(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %y = nemotron.relu2 %x : tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// LOC: #[[UP:.*]] = loc("up")
// LOC: #[[RELU2:.*]] = loc("relu2")
// LOC: #[[FUSED]] = loc(fused[#[[UP]], #[[RELU2]]])

// CHECK-LABEL: @scaled
// CHECK-NEXT:    nemotron.scaled_matmul {{.*}} {activation = #nemotron.activation<relu2>}
// CHECK-NEXT:    return
func.func @scaled(%x: tensor<?x4xf32>, %w: tensor<8x4xf8E4M3FN>, %s: tensor<1xf32>) -> tensor<?x8xf32> {
  %u = nemotron.scaled_matmul %x, %w scaled %s : (tensor<?x4xf32>, tensor<8x4xf8E4M3FN>, tensor<1xf32>) -> tensor<?x8xf32>
  %y = nemotron.relu2 %u : tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
