// RUN: nemotron-opt %s -nemotron-fuse-conv-activation | FileCheck %s
// RUN: nemotron-opt %s -nemotron-fuse-conv-activation -mlir-print-debuginfo | FileCheck %s --check-prefix=LOC

nemotron.state @conv conv : tensor<3x8xf32>

// CHECK-LABEL: @fuses_pair
// CHECK-SAME:    (%[[X:.*]]: tensor<?x8xf32>, %[[W:.*]]: tensor<8x4xf32>, %[[B:.*]]: tensor<8xf32>, %[[BATCH:.*]]: !nemotron.batch)
// CHECK-NEXT:    %[[Y:.*]] = nemotron.causal_conv1d %[[X]], %[[W]] bias %[[B]] of %[[BATCH]] conv @conv
// CHECK-SAME:      {activation = #nemotron.activation<silu>, nemotron.layer = 0 : i64}
// CHECK-NEXT:    return %[[Y]]
// LOC-LABEL:   @fuses_pair
// LOC:           nemotron.causal_conv1d {{.*}} loc(#[[FUSED:.*]])
func.func @fuses_pair(%x: tensor<?x8xf32>, %w: tensor<8x4xf32>, %b: tensor<8xf32>, %batch: !nemotron.batch) -> tensor<?x8xf32> {
  %u = nemotron.causal_conv1d %x, %w bias %b of %batch conv @conv {nemotron.layer = 0}
     : (tensor<?x8xf32>, tensor<8x4xf32>, tensor<8xf32>, !nemotron.batch) -> tensor<?x8xf32> loc("conv1d")
  %y = nemotron.silu %u : tensor<?x8xf32> loc("silu")
  return %y : tensor<?x8xf32>
}

// The convolution stays where it is, before the next use of the state.
// CHECK-LABEL: @keeps_order_of_effects
// CHECK-NEXT:    %[[U:.*]] = nemotron.causal_conv1d %{{.*}} {activation = #nemotron.activation<silu>}
// CHECK-NEXT:    %[[V:.*]] = nemotron.causal_conv1d %{{.*}} conv @conv :
// CHECK-NEXT:    return %[[U]], %[[V]]
func.func @keeps_order_of_effects(%x: tensor<?x8xf32>, %w: tensor<8x4xf32>, %batch: !nemotron.batch)
    -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %u = nemotron.causal_conv1d %x, %w of %batch conv @conv : (tensor<?x8xf32>, tensor<8x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  %v = nemotron.causal_conv1d %x, %w of %batch conv @conv : (tensor<?x8xf32>, tensor<8x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  %y = nemotron.silu %u : tensor<?x8xf32>
  return %y, %v : tensor<?x8xf32>, tensor<?x8xf32>
}

// CHECK-LABEL: @two_uses
// CHECK-NEXT:    %[[U:.*]] = nemotron.causal_conv1d %{{.*}} conv @conv :
// CHECK-NEXT:    nemotron.silu %[[U]]
func.func @two_uses(%x: tensor<?x8xf32>, %w: tensor<8x4xf32>, %batch: !nemotron.batch) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %u = nemotron.causal_conv1d %x, %w of %batch conv @conv : (tensor<?x8xf32>, tensor<8x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  %y = nemotron.silu %u : tensor<?x8xf32>
  return %u, %y : tensor<?x8xf32>, tensor<?x8xf32>
}

// CHECK-LABEL: @has_activation
// CHECK-NEXT:    %[[U:.*]] = nemotron.causal_conv1d
// CHECK-NEXT:    nemotron.silu %[[U]]
func.func @has_activation(%x: tensor<?x8xf32>, %w: tensor<8x4xf32>, %batch: !nemotron.batch) -> tensor<?x8xf32> {
  %u = nemotron.causal_conv1d %x, %w of %batch conv @conv {activation = #nemotron.activation<silu>}
     : (tensor<?x8xf32>, tensor<8x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  %y = nemotron.silu %u : tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: @relu2
// CHECK-NEXT:    nemotron.causal_conv1d %{{.*}} conv @conv :
// CHECK-NEXT:    nemotron.relu2
func.func @relu2(%x: tensor<?x8xf32>, %w: tensor<8x4xf32>, %batch: !nemotron.batch) -> tensor<?x8xf32> {
  %u = nemotron.causal_conv1d %x, %w of %batch conv @conv : (tensor<?x8xf32>, tensor<8x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  %y = nemotron.relu2 %u : tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// LOC: #[[CONV:.*]] = loc("conv1d")
// LOC: #[[SILU:.*]] = loc("silu")
// LOC: #[[FUSED]] = loc(fused[#[[CONV]], #[[SILU]]])
