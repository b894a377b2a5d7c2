// RUN: nemotron-opt %s -split-input-file -convert-nemotron-to-plan -verify-diagnostics
// RUN: not nemotron-opt %s -split-input-file -convert-nemotron-to-plan=target=abacus 2>&1 | FileCheck %s --check-prefix=TARGET
// TARGET: no target 'abacus', expected one of: cpu

// expected-error@+1 {{has no function @step to convert}}
module {
}

// -----

// expected-error@+1 {{function @main cannot be converted, expected only @step}}
func.func @main(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  return %x : tensor<?x4xf32>
}

// -----

// expected-error@+1 {{function @step has 1 blocks and 2 results, expected one each}}
func.func @step(%x: tensor<?x4xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
  return %x, %x : tensor<?x4xf32>, tensor<?x4xf32>
}

// -----

// A declaration has no block.
// expected-error@+1 {{function @step has 0 blocks and 1 results, expected one each}}
func.func private @step(%x: tensor<?x4xf32>) -> tensor<?x4xf32>

// -----

func.func @step(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  // expected-error@+1 {{returns a value that no op of the step computes, expected logits}}
  return %x : tensor<?x4xf32>
}

// -----

func.func @step(%tokens: tensor<?xi32>) -> tensor<?xi32> {
  // expected-error@+1 {{no kernel of target cpu for 'arith.addi'}}
  %x = arith.addi %tokens, %tokens : tensor<?xi32>
  return %x : tensor<?xi32>
}

// -----

func.func @step(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  // expected-error@+1 {{has an input that no op of the step computes, expected one that is}}
  %y = nemotron.silu %x : tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

func.func @step(%tokens: tensor<?xi32>, %w: tensor<8x4xf32>) -> tensor<?x4xf32> {
  // expected-error@+1 {{has a weight that is not made of nemotron.weights by weight transforms, expected one that is}}
  %y = nemotron.embedding %tokens, %w : (tensor<?xi32>, tensor<8x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

nemotron.weight @w : tensor<8x4xf32> from "w"
func.func @step(%tokens: tensor<?xi32>) -> tensor<?x4xbf16> {
  %w = nemotron.get_weight @w : tensor<8x4xf32>
  // expected-error@+1 {{has activations of 'tensor<?x4xbf16>', expected f32: kernels of target cpu have no other}}
  %y = nemotron.embedding %tokens, %w : (tensor<?xi32>, tensor<8x4xf32>) -> tensor<?x4xbf16>
  return %y : tensor<?x4xbf16>
}

// -----

nemotron.weight @w : tensor<8x4xf32> from "w"
func.func @step(%tokens: tensor<?xi32>, %batch: !nemotron.batch) -> tensor<?x4xf32> {
  %w = nemotron.get_weight @w : tensor<8x4xf32>
  %y = nemotron.embedding %tokens, %w : (tensor<?xi32>, tensor<8x4xf32>) -> tensor<?x4xf32>
  %s = nemotron.select_rows %y of %batch : (tensor<?x4xf32>, !nemotron.batch) -> tensor<?x4xf32>
  // expected-error@+1 {{reads selected rows and rows of all tokens, expected one of them}}
  %z = nemotron.add %s, %y : tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}

// -----

nemotron.weight @w : tensor<8x4xf32> from "w"
func.func @step(%tokens: tensor<?xi32>, %batch: !nemotron.batch) -> tensor<?x4xf32> {
  %w = nemotron.get_weight @w : tensor<8x4xf32>
  %y = nemotron.embedding %tokens, %w : (tensor<?xi32>, tensor<8x4xf32>) -> tensor<?x4xf32>
  %s = nemotron.select_rows %y of %batch : (tensor<?x4xf32>, !nemotron.batch) -> tensor<?x4xf32>
  // expected-error@+1 {{reads selected rows, expected rows of all tokens}}
  %z = nemotron.rotary_embedding %s of %batch {head_dim = 4, rotary_dim = 2, theta = 1.0e4 : f32}
     : (tensor<?x4xf32>, !nemotron.batch) -> tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}

// -----

nemotron.weight @w : tensor<8x4xf32> from "w"
func.func @step(%tokens: tensor<?xi32>) -> tensor<?x4xf32> {
  %w = nemotron.get_weight @w : tensor<8x4xf32>
  %y = nemotron.embedding %tokens, %w : (tensor<?xi32>, tensor<8x4xf32>) -> tensor<?x4xf32>
  // expected-error@+1 {{returns rows of all tokens, expected logits computed in f32 from selected rows}}
  return %y : tensor<?x4xf32>
}

// -----

nemotron.weight @w : tensor<8x4xf32> from "w"
func.func @step(%tokens: tensor<?xi32>, %batch: !nemotron.batch) -> tensor<?x2xf32> {
  %w = nemotron.get_weight @w : tensor<8x4xf32>
  %y = nemotron.embedding %tokens, %w : (tensor<?xi32>, tensor<8x4xf32>) -> tensor<?x4xf32>
  %s = nemotron.select_rows %y of %batch : (tensor<?x4xf32>, !nemotron.batch) -> tensor<?x4xf32>
  %a, %b = nemotron.split %s : (tensor<?x4xf32>) -> (tensor<?x2xf32>, tensor<?x2xf32>)
  // expected-error@+1 {{returns a part of a value, expected logits computed in f32 from selected rows}}
  return %a : tensor<?x2xf32>
}

// -----

nemotron.weight @e : tensor<8x4xbf16> from "e"
func.func @step(%tokens: tensor<?xi32>, %batch: !nemotron.batch, %s: tensor<1xf32>) -> tensor<?x8xf32> {
  %e = nemotron.get_weight @e : tensor<8x4xbf16>
  %h = nemotron.embedding %tokens, %e : (tensor<?xi32>, tensor<8x4xbf16>) -> tensor<?x4xf32>
  %r = nemotron.select_rows %h of %batch : (tensor<?x4xf32>, !nemotron.batch) -> tensor<?x4xf32>
  %f = nemotron.fill 0.5 : tensor<1xf32>
  %w = nemotron.quantize_weight %e, %f : (tensor<8x4xbf16>, tensor<1xf32>) -> tensor<8x4xf8E4M3FN>
  // expected-error@+1 {{has a weight_scale that is not made of nemotron.weights by weight transforms, expected one that is}}
  %l = nemotron.scaled_matmul %r, %w scaled %s : (tensor<?x4xf32>, tensor<8x4xf8E4M3FN>, tensor<1xf32>) -> tensor<?x8xf32>
  return %l : tensor<?x8xf32>
}

// -----

nemotron.weight @e : tensor<8x4xbf16> from "e"
func.func @step(%tokens: tensor<?xi32>, %batch: !nemotron.batch) -> tensor<?x4xf32> {
  %e = nemotron.get_weight @e : tensor<8x4xbf16>
  %h = nemotron.embedding %tokens, %e : (tensor<?xi32>, tensor<8x4xbf16>) -> tensor<?x4xf32>
  %f = nemotron.fill 0.5 : tensor<1xf32>
  %w = nemotron.quantize_weight %e, %f : (tensor<8x4xbf16>, tensor<1xf32>) -> tensor<8x4xf8E4M3FN>
  // expected-error@+1 {{has activations of 'tensor<?x8xbf16>', expected f32: kernels of target cpu have no other}}
  %y = nemotron.scaled_matmul %h, %w scaled %f : (tensor<?x4xf32>, tensor<8x4xf8E4M3FN>, tensor<1xf32>) -> tensor<?x8xbf16>
  return %h : tensor<?x4xf32>
}
