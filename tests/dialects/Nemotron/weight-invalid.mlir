// RUN: nemotron-opt %s -split-input-file -verify-diagnostics

// expected-error@+1 {{has type 'tensor<?x4xf32>', expected a static tensor of f32, bf16, f16 or f8E4M3FN}}
nemotron.weight @weight_c1_dynamic : tensor<?x4xf32> from "w"

// -----

// expected-error@+1 {{has type 'tensor<8x4xf64>', expected a static tensor of f32, bf16, f16 or f8E4M3FN}}
nemotron.weight @weight_c1_type : tensor<8x4xf64> from "w"

// -----

// expected-error@+1 {{has an empty source, expected the name of a tensor of the checkpoint}}
nemotron.weight @weight_c2 : tensor<8x4xf32> from ""

// -----

// expected-error@+1 {{has type 'tensor<?x8xf32>', expected a static tensor}}
nemotron.state @state_c1 conv : tensor<?x8xf32>

// -----

// expected-error@+1 {{has rank 3, a conv has 2}}
nemotron.state @state_c2_conv conv : tensor<2x3x8xf32>

// -----

// expected-error@+1 {{has rank 2, a ssm has 3}}
nemotron.state @state_c2_ssm ssm : tensor<3x8xf32>

// -----

// expected-error@+1 {{has a first dimension of 3, a kv_cache has 2 (keys, values)}}
nemotron.state @state_c3 kv_cache : tensor<3x2x64xf32>

// -----

// expected-error@+1 {{has elements of 'f16', expected f32, bf16 or f8E4M3FN}}
nemotron.state @state_c4_cache kv_cache : tensor<2x2x64xf16>

// -----

// expected-error@+1 {{has elements of 'f8E4M3FN', expected f32 or bf16}}
nemotron.state @state_c4_conv conv : tensor<3x8xf8E4M3FN>

// -----

// expected-error@+1 {{has elements of 'f8E4M3FN', expected f32 or bf16}}
nemotron.state @state_c4_ssm ssm : tensor<2x4x8xf8E4M3FN>

// -----

nemotron.state @s conv : tensor<3x8xf32>
func.func @get_weight_c1() {
  // expected-error@+1 {{reads @s, which is not a nemotron.weight}}
  %w = nemotron.get_weight @s : tensor<3x8xf32>
  return
}

// -----

func.func @get_weight_c1_unknown() {
  // expected-error@+1 {{reads @none, which is not a nemotron.weight}}
  %w = nemotron.get_weight @none : tensor<3x8xf32>
  return
}

// -----

// expected-note@+1 {{weight is declared here}}
nemotron.weight @w : tensor<8x4xf32> from "w"
func.func @get_weight_c2() {
  // expected-error@+1 {{result is 'tensor<4x8xf32>', but @w is 'tensor<8x4xf32>'}}
  %w = nemotron.get_weight @w : tensor<4x8xf32>
  return
}

// -----

func.func @cast_shape(%w: tensor<8x4xf32>) {
  // expected-error@+1 {{requires the same shape for all operands and results}}
  %0 = nemotron.cast %w : tensor<8x4xf32> to tensor<4x8xbf16>
  return
}

// -----

func.func @cast_static(%w: tensor<?x4xf32>) {
  // expected-error@+1 {{must be weight of static shape of f32, bf16 or f16 values, but got 'tensor<?x4xf32>'}}
  %0 = nemotron.cast %w : tensor<?x4xf32> to tensor<?x4xbf16>
  return
}

// -----

func.func @concat_c1() {
  // expected-error@+1 {{has no inputs, expected at least one}}
  %0 = nemotron.concat : () -> tensor<0x4xf32>
  return
}

// -----

func.func @concat_c2(%a: tensor<8x4xf32>, %b: tensor<8x5xf32>) {
  // expected-error@+1 {{input is 'tensor<8x5xf32>', expected element type and dimensions after the first of 'tensor<16x4xf32>'}}
  %0 = nemotron.concat %a, %b : (tensor<8x4xf32>, tensor<8x5xf32>) -> tensor<16x4xf32>
  return
}

// -----

func.func @concat_c2_type(%a: tensor<8x4xf32>, %b: tensor<8x4xbf16>) {
  // expected-error@+1 {{input is 'tensor<8x4xbf16>', expected element type and dimensions after the first of 'tensor<16x4xf32>'}}
  %0 = nemotron.concat %a, %b : (tensor<8x4xf32>, tensor<8x4xbf16>) -> tensor<16x4xf32>
  return
}

// -----

func.func @concat_c2_scalar(%a: tensor<f32>) {
  // expected-error@+1 {{input is 'tensor<f32>', expected element type and dimensions after the first of 'tensor<f32>'}}
  %0 = nemotron.concat %a : (tensor<f32>) -> tensor<f32>
  return
}

// -----

func.func @concat_c3(%a: tensor<8x4xf32>) {
  // expected-error@+1 {{inputs have 16 rows together, result has 15}}
  %0 = nemotron.concat %a, %a : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<15x4xf32>
  return
}

// -----

func.func @stack_c1() {
  // expected-error@+1 {{has no inputs, expected at least one}}
  %0 = nemotron.stack : () -> tensor<0x4xf32>
  return
}

// -----

func.func @stack_c2(%a: tensor<8x4xf32>, %b: tensor<8x5xf32>) {
  // expected-error@+1 {{input is 'tensor<8x5xf32>', expected the type of the first, 'tensor<8x4xf32>'}}
  %0 = nemotron.stack %a, %b : (tensor<8x4xf32>, tensor<8x5xf32>) -> tensor<2x8x4xf32>
  return
}

// -----

func.func @stack_c3(%a: tensor<8x4xf32>) {
  // expected-error@+1 {{result is 'tensor<3x8x4xf32>', expected 'tensor<2x8x4xf32>'}}
  %0 = nemotron.stack %a, %a : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<3x8x4xf32>
  return
}

// -----

func.func @slice_c1(%a: tensor<8x4xf32>) {
  // expected-error@+1 {{takes 4 rows from 5, input has 8}}
  %0 = nemotron.slice %a from 5 : tensor<8x4xf32> to tensor<4x4xf32>
  return
}

// -----

func.func @slice_c1_negative(%a: tensor<8x4xf32>) {
  // expected-error@+1 {{takes 4 rows from -1, input has 8}}
  %0 = nemotron.slice %a from -1 : tensor<8x4xf32> to tensor<4x4xf32>
  return
}

// -----

func.func @slice_c1_overflow(%a: tensor<8x4xf32>) {
  // expected-error@+1 {{takes 4 rows from 9223372036854775807, input has 8}}
  %0 = nemotron.slice %a from 9223372036854775807 : tensor<8x4xf32> to tensor<4x4xf32>
  return
}

// -----

func.func @slice_c2(%a: tensor<8x4xf32>) {
  // expected-error@+1 {{result is 'tensor<4x3xf32>', expected element type and dimensions after the first of 'tensor<8x4xf32>'}}
  %0 = nemotron.slice %a from 0 : tensor<8x4xf32> to tensor<4x3xf32>
  return
}

// -----

func.func @transpose_c1(%a: tensor<8x4xf32>) {
  // expected-error@+1 {{result is 'tensor<8x4xf32>', expected 'tensor<4x8xf32>'}}
  %0 = nemotron.transpose %a : tensor<8x4xf32> to tensor<8x4xf32>
  return
}

// -----

func.func @reshape_c1(%a: tensor<8x4xf32>) {
  // expected-error@+1 {{gives 33 elements of 'f32', input has 32 of 'f32'}}
  %0 = nemotron.reshape %a : tensor<8x4xf32> to tensor<33xf32>
  return
}

// -----

func.func @reshape_c1_type(%a: tensor<8x4xf32>) {
  // expected-error@+1 {{gives 32 elements of 'bf16', input has 32 of 'f32'}}
  %0 = nemotron.reshape %a : tensor<8x4xf32> to tensor<32xbf16>
  return
}

// -----

func.func @reshape_c1_overflow(%a: tensor<4294967296x4294967296xf32>) {
  // expected-error@+1 {{gives 0 elements of 'f32', input has 18446744073709551615 of 'f32'}}
  %0 = nemotron.reshape %a : tensor<4294967296x4294967296xf32> to tensor<0xf32>
  return
}

// -----

// Numbers of 8 bits stand for themselves times a scale: nemotron.dequantize knows it.
func.func @cast_codes(%w: tensor<8x4xf8E4M3FN>) {
  // expected-error@+1 {{operand #0 must be weight of static shape of f32, bf16 or f16 values, but got 'tensor<8x4xf8E4M3FN>'}}
  %0 = nemotron.cast %w : tensor<8x4xf8E4M3FN> to tensor<8x4xf32>
  return
}
