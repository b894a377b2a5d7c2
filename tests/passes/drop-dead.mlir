// RUN: nemotron-opt %s -split-input-file -nemotron-drop-dead | FileCheck %s
// RUN: nemotron-opt %s -split-input-file -nemotron-drop-dead -allow-unregistered-dialect | FileCheck %s

// CHECK-NOT: @layers.0.conv
nemotron.state @layers.0.conv conv : tensor<3x8xf32>
// CHECK: nemotron.state @layers.1.conv conv
nemotron.state @layers.1.conv conv : tensor<3x8xf32>
// CHECK-NOT: @unused
nemotron.weight @unused : tensor<8x4xf32> from "unused"
// CHECK-NOT: @layers.0.weight
nemotron.weight @layers.0.weight : tensor<8x4xf32> from "conv0"
// CHECK: nemotron.weight @layers.1.weight
nemotron.weight @layers.1.weight : tensor<8x4xf32> from "conv1"

// CHECK-LABEL: @dead_layer
// CHECK-SAME:    (%[[X:.*]]: tensor<?x8xf32>, %[[BATCH:.*]]: !nemotron.batch)
// CHECK-NEXT:    %[[W:.*]] = nemotron.get_weight @layers.1.weight
// CHECK-NEXT:    %[[C:.*]] = nemotron.causal_conv1d %[[X]], %[[W]] of %[[BATCH]] conv @layers.1.conv
// CHECK-NEXT:    return %[[C]]
func.func @dead_layer(%x: tensor<?x8xf32>, %batch: !nemotron.batch) -> tensor<?x8xf32> {
  %w0 = nemotron.get_weight @layers.0.weight : tensor<8x4xf32>
  %u = nemotron.get_weight @unused : tensor<8x4xf32>
  %c0 = nemotron.causal_conv1d %x, %w0 of %batch conv @layers.0.conv : (tensor<?x8xf32>, tensor<8x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  %s = nemotron.add %c0, %x : tensor<?x8xf32>
  %w1 = nemotron.get_weight @layers.1.weight : tensor<8x4xf32>
  %c1 = nemotron.causal_conv1d %x, %w1 of %batch conv @layers.1.conv : (tensor<?x8xf32>, tensor<8x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  return %c1 : tensor<?x8xf32>
}

// -----

// A dead layer that reads a dead layer, each with a state.
// CHECK-NOT: nemotron.state
nemotron.state @a conv : tensor<3x8xf32>
nemotron.state @b conv : tensor<3x8xf32>

// CHECK-LABEL: @chain_of_dead_layers
// CHECK-NEXT:    return
func.func @chain_of_dead_layers(%x: tensor<?x8xf32>, %w: tensor<8x4xf32>, %batch: !nemotron.batch) {
  %a = nemotron.causal_conv1d %x, %w of %batch conv @a : (tensor<?x8xf32>, tensor<8x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  %s = nemotron.silu %a : tensor<?x8xf32>
  %b = nemotron.causal_conv1d %s, %w of %batch conv @b : (tensor<?x8xf32>, tensor<8x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  return
}

// -----

// What the first op writes, the second reads, and its result is needed.
// CHECK: nemotron.state @shared
nemotron.state @shared conv : tensor<3x8xf32>

// CHECK-LABEL: @state_has_live_reader
// CHECK-NEXT:    nemotron.causal_conv1d
// CHECK-NEXT:    %[[C:.*]] = nemotron.causal_conv1d
// CHECK-NEXT:    return %[[C]]
func.func @state_has_live_reader(%x: tensor<?x8xf32>, %w: tensor<8x4xf32>, %batch: !nemotron.batch) -> tensor<?x8xf32> {
  %a = nemotron.causal_conv1d %x, %w of %batch conv @shared : (tensor<?x8xf32>, tensor<8x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  %b = nemotron.causal_conv1d %x, %w of %batch conv @shared : (tensor<?x8xf32>, tensor<8x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  return %b : tensor<?x8xf32>
}

// -----

// In another function, too.
// CHECK: nemotron.state @shared
nemotron.state @shared conv : tensor<3x8xf32>

// CHECK-LABEL: @writer
// CHECK-NEXT:    nemotron.causal_conv1d
func.func @writer(%x: tensor<?x8xf32>, %w: tensor<8x4xf32>, %batch: !nemotron.batch) {
  %a = nemotron.causal_conv1d %x, %w of %batch conv @shared : (tensor<?x8xf32>, tensor<8x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  return
}
// CHECK-LABEL: @reader
// CHECK-NEXT:    nemotron.causal_conv1d
func.func @reader(%x: tensor<?x8xf32>, %w: tensor<8x4xf32>, %batch: !nemotron.batch) -> tensor<?x8xf32> {
  %a = nemotron.causal_conv1d %x, %w of %batch conv @shared : (tensor<?x8xf32>, tensor<8x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  return %a : tensor<?x8xf32>
}

// -----

// All users of one state are dead.
// CHECK-NOT: nemotron.state
nemotron.state @shared conv : tensor<3x8xf32>

// CHECK-LABEL: @all_users_dead
// CHECK-NEXT:    return
func.func @all_users_dead(%x: tensor<?x8xf32>, %w: tensor<8x4xf32>, %batch: !nemotron.batch) {
  %a = nemotron.causal_conv1d %x, %w of %batch conv @shared : (tensor<?x8xf32>, tensor<8x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  %b = nemotron.causal_conv1d %x, %w of %batch conv @shared : (tensor<?x8xf32>, tensor<8x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  return
}

// -----

// A symbol that something else names stays, and so does what uses it; calls and functions stay.
// CHECK: nemotron.state @named
nemotron.state @named conv : tensor<3x8xf32>
// CHECK: nemotron.weight @named_weight
nemotron.weight @named_weight : tensor<8x4xf32> from "w"

// CHECK: func.func private @effect
func.func private @effect() -> tensor<?x8xf32>

// CHECK-LABEL: @named_elsewhere
// CHECK-SAME:    attributes {keep = [@named, @named_weight]}
// CHECK-NEXT:    call @effect
// CHECK-NEXT:    nemotron.causal_conv1d
// CHECK-NEXT:    return
func.func @named_elsewhere(%x: tensor<?x8xf32>, %w: tensor<8x4xf32>, %batch: !nemotron.batch) attributes {keep = [@named, @named_weight]} {
  %e = call @effect() : () -> tensor<?x8xf32>
  %a = nemotron.causal_conv1d %x, %w of %batch conv @named : (tensor<?x8xf32>, tensor<8x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  return
}
