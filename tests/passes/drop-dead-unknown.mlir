// RUN: nemotron-opt %s -allow-unregistered-dialect -nemotron-drop-dead | FileCheck %s

// An unregistered op with a region may name any symbol, in a scope of its own or not: all stay.
// CHECK: nemotron.weight @w
nemotron.weight @w : tensor<8x4xf32> from "w"
// CHECK: nemotron.state @s
nemotron.state @s conv : tensor<3x8xf32>

// CHECK-LABEL: @unknown_op
// CHECK-NEXT:    nemotron.causal_conv1d
// CHECK-NEXT:    "other.op"
func.func @unknown_op(%x: tensor<?x8xf32>, %w: tensor<8x4xf32>, %batch: !nemotron.batch) {
  %r = nemotron.relu2 %x : tensor<?x8xf32>
  %a = nemotron.causal_conv1d %x, %w of %batch conv @s : (tensor<?x8xf32>, tensor<8x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  "other.op"() ({
    "other.yield"() : () -> ()
  }) : () -> ()
  return
}
