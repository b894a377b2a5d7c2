// RUN: nemotron-opt %s -nemotron-fuse-activation-quantize | FileCheck %s

// CHECK-LABEL: @fuses_pair
// CHECK-SAME:    (%[[X:.*]]: tensor<?x8xf32>)
// CHECK-NEXT:    nemotron.quantize %[[X]] {activation = #nemotron.activation<relu2>, nemotron.layer = 1 : i64, scaling = #nemotron.scaling<token>}
// CHECK-NEXT:    return
func.func @fuses_pair(%x: tensor<?x8xf32>) -> (tensor<?x8xf8E4M3FN>, tensor<?x1xf32>) {
  %u = nemotron.relu2 %x {nemotron.layer = 1} : tensor<?x8xf32>
  %q, %s = nemotron.quantize %u {scaling = #nemotron.scaling<token>} : tensor<?x8xf32> -> tensor<?x8xf8E4M3FN>, tensor<?x1xf32>
  return %q, %s : tensor<?x8xf8E4M3FN>, tensor<?x1xf32>
}

// CHECK-LABEL: @two_uses
// CHECK-NEXT:    %[[U:.*]] = nemotron.relu2
// CHECK-NEXT:    nemotron.quantize %[[U]] {scaling
func.func @two_uses(%x: tensor<?x8xf32>) -> (tensor<?x8xf8E4M3FN>, tensor<?x8xf32>) {
  %u = nemotron.relu2 %x : tensor<?x8xf32>
  %q, %s = nemotron.quantize %u {scaling = #nemotron.scaling<step>} : tensor<?x8xf32> -> tensor<?x8xf8E4M3FN>, tensor<?x1xf32>
  return %q, %u : tensor<?x8xf8E4M3FN>, tensor<?x8xf32>
}

// CHECK-LABEL: @has_activation
// CHECK-NEXT:    %[[U:.*]] = nemotron.relu2
// CHECK-NEXT:    nemotron.quantize %[[U]] {activation
func.func @has_activation(%x: tensor<?x8xf32>) -> tensor<?x8xf8E4M3FN> {
  %u = nemotron.relu2 %x : tensor<?x8xf32>
  %q, %s = nemotron.quantize %u {scaling = #nemotron.scaling<token>, activation = #nemotron.activation<relu2>}
         : tensor<?x8xf32> -> tensor<?x8xf8E4M3FN>, tensor<?x1xf32>
  return %q : tensor<?x8xf8E4M3FN>
}

// CHECK-LABEL: @silu
// CHECK-NEXT:    %[[U:.*]] = nemotron.silu
// CHECK-NEXT:    nemotron.quantize %[[U]]
func.func @silu(%x: tensor<?x8xf32>) -> tensor<?x8xf8E4M3FN> {
  %u = nemotron.silu %x : tensor<?x8xf32>
  %q, %s = nemotron.quantize %u {scaling = #nemotron.scaling<token>} : tensor<?x8xf32> -> tensor<?x8xf8E4M3FN>, tensor<?x1xf32>
  return %q : tensor<?x8xf8E4M3FN>
}
