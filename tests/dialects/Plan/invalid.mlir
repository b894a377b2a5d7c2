// RUN: nemotron-opt %s -split-input-file -verify-diagnostics -allow-unregistered-dialect

// expected-error@+2 {{to be one of: token, row}}
// expected-error@+1 {{failed to parse Plan_BufferType parameter 'space'}}
func.func private @buffer_type_space(!plan.buffer<sequence, 4, f32>)

// -----

// expected-error@+1 {{buffer has 0 columns, expected 1 to 2^40}}
func.func private @buffer_type_c1(!plan.buffer<token, 0, f32>)

// -----

// expected-error@+1 {{buffer has 1099511627777 columns, expected 1 to 2^40}}
func.func private @buffer_type_c1_large(!plan.buffer<token, 1099511627777, f32>)

// -----

// expected-error@+1 {{buffer has elements of 'f64', expected f32, bf16, f16, f8E4M3FN, i8 or i32}}
func.func private @buffer_type_c2(!plan.buffer<token, 4, f64>)

// -----

nemotron.weight @w : tensor<8x4xf32> from "w"
// expected-error@+1 {{holds 'test.op', expected weight transforms only}}
plan.weight @plan_weight_c1_transforms : tensor<8x4xf32> {
  // expected-note@+1 {{it is here}}
  "test.op"() : () -> ()
  %0 = nemotron.get_weight @w : tensor<8x4xf32>
  plan.yield %0 : tensor<8x4xf32>
}

// -----

nemotron.weight @w : tensor<8x4xf32> from "w"
// expected-error@+1 {{yields 'tensor<8x4xf32>', expected 'tensor<4x8xf32>'}}
plan.weight @plan_weight_c1_type : tensor<4x8xf32> {
  %0 = nemotron.get_weight @w : tensor<8x4xf32>
  plan.yield %0 : tensor<8x4xf32>
}

// -----

// expected-error@+1 {{ends in 'test.end', expected plan.yield}}
plan.weight @plan_weight_c1_yield : tensor<4x8xf32> {
  "test.end"() : () -> ()
}

// -----

// expected-error@+1 {{has a region with 1 arguments, expected none}}
plan.weight @plan_weight_c1_arguments : tensor<4x8xf32> {
^body(%0: tensor<4x8xf32>):
  plan.yield %0 : tensor<4x8xf32>
}

// -----

// expected-error@+1 {{expects a non-empty block}}
plan.weight @plan_weight_c1_empty : tensor<4x8xf32> {
^body:
}

// -----

nemotron.weight @w : tensor<8x4xf32> from "w"
%0 = nemotron.get_weight @w : tensor<8x4xf32>
// expected-note@+1 {{required by region isolation constraints}}
plan.weight @plan_weight_isolated : tensor<8x4xf32> {
  // expected-error@+1 {{using value defined outside the region}}
  plan.yield %0 : tensor<8x4xf32>
}

// -----

func.func @pack_c1_shape(%w: tensor<8x4xf32>) {
  // expected-error@+1 {{result is 'tensor<4x8xf32, #plan.layout<panel>>', expected 'tensor<8x4xf32>' with a #plan.layout}}
  %0 = plan.pack %w : tensor<8x4xf32> to tensor<4x8xf32, #plan.layout<panel>>
  return
}

// -----

func.func @pack_c1_encoding(%w: tensor<8x4xf32>) {
  // expected-error@+1 {{result is 'tensor<8x4xf32, "panel">', expected 'tensor<8x4xf32>' with a #plan.layout}}
  %0 = plan.pack %w : tensor<8x4xf32> to tensor<8x4xf32, "panel">
  return
}

// -----

func.func @pack_c2(%w: tensor<8x4xf32, #plan.layout<panel>>) {
  // expected-error@+1 {{input has encoding #plan.layout<panel>, expected none}}
  %0 = plan.pack %w : tensor<8x4xf32, #plan.layout<panel>> to tensor<8x4xf32, #plan.layout<row_major>>
  return
}

// -----

func.func @pack_c3_rank(%w: tensor<8xf32>) {
  // expected-error@+1 {{lays out 'tensor<8xf32>' in panels, expected matrices [N, K] or [E, N, K] of f32, bf16, f8E4M3FN or i8}}
  %0 = plan.pack %w : tensor<8xf32> to tensor<8xf32, #plan.layout<panel>>
  return
}

// -----

func.func @pack_c3_type(%w: tensor<8x4xf16>) {
  // expected-error@+1 {{lays out 'tensor<8x4xf16>' in panels}}
  %0 = plan.pack %w : tensor<8x4xf16> to tensor<8x4xf16, #plan.layout<panel>>
  return
}

// -----

func.func @weight_transform(%w: tensor<?x4xf32>) {
  // expected-error@+1 {{operand #0 must be a tensor of static shape, found 'tensor<?x4xf32>'}}
  %0 = plan.pack %w : tensor<?x4xf32> to tensor<?x4xf32, #plan.layout<panel>>
  return
}

// -----

// expected-error@+1 {{has offset 96, expected a non-negative multiple of 64}}
plan.state @plan_state_c1 conv : tensor<3x8xf32> {offset = 96}

// -----

// expected-error@+1 {{has offset -64, expected a non-negative multiple of 64}}
plan.state @plan_state_c1_negative conv : tensor<3x8xf32> {offset = -64}

// -----

// expected-error@+1 {{has offset 66, expected a non-negative multiple of 4}}
plan.state @plan_state_c1_page kv_cache : tensor<2x1x4xbf16> {offset = 66}

// -----

// expected-error@+1 {{has offset 4, expected a non-negative multiple of 64}}
plan.state @plan_state_c1_slot ssm : tensor<2x1x4xbf16> {offset = 4}

// -----

// expected-error@+1 {{has rank 3, a conv has 2}}
plan.state @plan_state_c2 conv : tensor<3x8x8xf32>

// -----

// expected-error@+1 {{has a region with 1 arguments, expected none}}
plan.program @program_c1 {
^body(%l: !plan.buffer<row, 8, f32>):
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

// expected-error@+1 {{holds 'test.op', expected plan.buffer, plan.view or plan.dispatch}}
plan.program @program_c2 {
  // expected-note@+1 {{it is here}}
  %l = "test.op"() : () -> !plan.buffer<row, 8, f32>
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

// expected-error@+1 {{ends in 'plan.buffer', expected plan.return}}
plan.program @program_c2_end {
  // expected-note@+1 {{it is here}}
  %l = plan.buffer "logits" : !plan.buffer<row, 8, f32>
}

// -----

// expected-error@+1 {{token_arena_bytes is 100, expected a non-negative multiple of 64}}
plan.program @program_c3 attributes {token_arena_bytes = 100} {
  %l = plan.buffer "logits" : !plan.buffer<row, 8, f32>
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

// expected-error@+1 {{row_arena_bytes is -64, expected a non-negative multiple of 64}}
plan.program @program_c3_negative attributes {row_arena_bytes = -64} {
  %l = plan.buffer "logits" : !plan.buffer<row, 8, f32>
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

plan.program @buffer_c1 {
  // expected-error@+1 {{has offset 32, expected a non-negative multiple of 64}}
  %l = plan.buffer "logits" {offset = 32} : !plan.buffer<row, 8, f32>
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

// expected-error@+1 {{zeroed_bytes is 6, expected a positive multiple of 4}}
plan.program @program_c3_zeroed attributes {zeroed_bytes = 6} {
  %l = plan.buffer "logits" : !plan.buffer<row, 8, f32>
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

plan.program @buffer_c1_zeroed {
  // expected-error@+1 {{has offset 6, expected a non-negative multiple of 4}}
  %n = plan.buffer "n" {offset = 6, zeroed} : !plan.buffer<token, 8, i32>
  %l = plan.buffer "logits" : !plan.buffer<row, 8, f32>
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

plan.program @buffer_c2 {
  // expected-error@+1 {{is '!plan.buffer<token, 8, bf16>', expected a zeroed buffer to be of space token and of i32 or f32}}
  %n = plan.buffer "n" {zeroed} : !plan.buffer<token, 8, bf16>
  %l = plan.buffer "logits" : !plan.buffer<row, 8, f32>
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

plan.program @buffer_c2_row {
  // expected-error@+1 {{is '!plan.buffer<row, 8, i32>', expected a zeroed buffer}}
  %n = plan.buffer "n" {zeroed} : !plan.buffer<row, 8, i32>
  %l = plan.buffer "logits" : !plan.buffer<row, 8, f32>
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

plan.program @view_c1 {
  %l = plan.buffer "logits" : !plan.buffer<row, 8, f32>
  // expected-error@+1 {{takes 4 columns from 6, buffer has 8}}
  %v = plan.view %l from 6 : !plan.buffer<row, 8, f32> to !plan.buffer<row, 4, f32>
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

plan.program @view_c1_negative {
  %l = plan.buffer "logits" : !plan.buffer<row, 8, f32>
  // expected-error@+1 {{takes 4 columns from -1, buffer has 8}}
  %v = plan.view %l from -1 : !plan.buffer<row, 8, f32> to !plan.buffer<row, 4, f32>
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

plan.program @view_c1_overflow {
  %l = plan.buffer "logits" : !plan.buffer<row, 8, f32>
  // expected-error@+1 {{takes 4 columns from 9223372036854775807, buffer has 8}}
  %v = plan.view %l from 9223372036854775807 : !plan.buffer<row, 8, f32> to !plan.buffer<row, 4, f32>
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

plan.program @view_c2 {
  %l = plan.buffer "logits" : !plan.buffer<row, 8, f32>
  // expected-error@+1 {{result is '!plan.buffer<token, 4, f32>', expected space and element type of '!plan.buffer<row, 8, f32>'}}
  %v = plan.view %l from 0 : !plan.buffer<row, 8, f32> to !plan.buffer<token, 4, f32>
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

plan.program @dispatch_c1_count {
  %l = plan.buffer "logits" : !plan.buffer<row, 8, f32>
  // expected-error@+1 {{has 1 outputs, but 2 names of them}}
  "plan.dispatch"(%l) <{input_names = [], kernel = "k", operandSegmentSizes = array<i32: 0, 1>, output_names = ["a", "b"],
                        parameters = {}, states = {}, weights = {}}> : (!plan.buffer<row, 8, f32>) -> ()
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

plan.program @dispatch_c1_twice {
  %l = plan.buffer "logits" : !plan.buffer<row, 8, f32>
  %m = plan.buffer "more" : !plan.buffer<row, 8, f32>
  // expected-error@+1 {{has two arguments named 'x'}}
  plan.dispatch "k" ins(x = %m : !plan.buffer<row, 8, f32>) outs(x = %l : !plan.buffer<row, 8, f32>)
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

plan.program @dispatch_c1_symbols {
  // expected-error@+1 {{has two arguments named 'x'}}
  plan.dispatch "k" weights(x = @a, x = @b)
}

// -----

plan.state @s conv : tensor<3x8xf32>
plan.program @dispatch_c2_weight {
  %l = plan.buffer "logits" : !plan.buffer<row, 8, f32>
  // expected-error@+1 {{argument "weight" is @s, which is not a plan.weight}}
  plan.dispatch "k" outs(x = %l : !plan.buffer<row, 8, f32>) weights(weight = @s)
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

nemotron.state @s conv : tensor<3x8xf32>
plan.program @dispatch_c2_state {
  %l = plan.buffer "logits" : !plan.buffer<row, 8, f32>
  // expected-error@+1 {{argument "conv" is @s, which is not a plan.state}}
  plan.dispatch "k" outs(x = %l : !plan.buffer<row, 8, f32>) states(conv = @s)
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

plan.program @dispatch_c2_attribute {
  %l = plan.buffer "logits" : !plan.buffer<row, 8, f32>
  // expected-error@+1 {{argument "w" is 1 : i64, which is not a plan.weight}}
  "plan.dispatch"() <{input_names = [], kernel = "k", operandSegmentSizes = array<i32: 0, 0>, output_names = [],
                      parameters = {}, states = {}, weights = {w = 1}}> : () -> ()
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

plan.program @dispatch_c3 {
  %l = plan.buffer "logits" : !plan.buffer<row, 8, f32>
  // expected-error@+1 {{has parameter "n" = 4 : i32, expected an i64, f32, f64, bool or non-empty string}}
  plan.dispatch "k" outs(x = %l : !plan.buffer<row, 8, f32>) {n = 4 : i32}
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

plan.program @dispatch_c4 {
  %l = plan.buffer "logits" : !plan.buffer<row, 8, f32>
  // expected-error@+1 {{has layer -1, expected 0 to 2^31 - 1}}
  plan.dispatch "k" outs(x = %l : !plan.buffer<row, 8, f32>) layer -1
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

plan.program @dispatch_c5_input {
  %l = plan.buffer "logits" : !plan.buffer<row, 8, f32>
  %a = plan.view %l from 0 : !plan.buffer<row, 8, f32> to !plan.buffer<row, 6, f32>
  %b = plan.view %a from 3 : !plan.buffer<row, 6, f32> to !plan.buffer<row, 2, f32>
  %c = plan.view %l from 4 : !plan.buffer<row, 8, f32> to !plan.buffer<row, 4, f32>
  // expected-error@+1 {{writes 'y' over 'x'}}
  plan.dispatch "k" ins(x = %b : !plan.buffer<row, 2, f32>) outs(y = %c : !plan.buffer<row, 4, f32>)
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

plan.program @dispatch_c5_output {
  %l = plan.buffer "logits" : !plan.buffer<row, 8, f32>
  // expected-error@+1 {{writes 'y' over 'x'}}
  plan.dispatch "k" outs(x = %l : !plan.buffer<row, 8, f32>, y = %l : !plan.buffer<row, 8, f32>)
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

// A cycle of views is found by the check of dominance, and does not hang the checks before it.
plan.program @dispatch_c5_cycle {
  %l = plan.buffer "logits" : !plan.buffer<row, 8, f32>
  // expected-error@+1 {{operand #0 does not dominate this use}}
  %a = plan.view %b from 0 : !plan.buffer<row, 8, f32> to !plan.buffer<row, 8, f32>
  // expected-note@+1 {{operand defined here}}
  %b = plan.view %a from 0 : !plan.buffer<row, 8, f32> to !plan.buffer<row, 8, f32>
  plan.dispatch "k" ins(x = %a : !plan.buffer<row, 8, f32>) outs(y = %l : !plan.buffer<row, 8, f32>)
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

plan.program @return_c1_space {
  %l = plan.buffer "logits" : !plan.buffer<token, 8, f32>
  // expected-error@+1 {{returns '!plan.buffer<token, 8, f32>', expected a row buffer of f32}}
  plan.return %l : !plan.buffer<token, 8, f32>
}

// -----

plan.program @return_c1_type {
  %l = plan.buffer "logits" : !plan.buffer<row, 8, bf16>
  // expected-error@+1 {{returns '!plan.buffer<row, 8, bf16>', expected a row buffer of f32}}
  plan.return %l : !plan.buffer<row, 8, bf16>
}

// -----

plan.program @return_c2 {
  %l = plan.buffer "logits" : !plan.buffer<row, 8, f32>
  %s = plan.buffer "samples" : !plan.buffer<row, 16, f32>
  // expected-error@+1 {{returns samples in '!plan.buffer<row, 16, f32>', expected a row buffer of i32}}
  plan.return %l : !plan.buffer<row, 8, f32> samples %s : !plan.buffer<row, 16, f32>
}

// -----

plan.program @dispatch_c5_late_view {
  %l = plan.buffer "logits" : !plan.buffer<row, 8, f32>
  plan.dispatch "k" ins(x = %v : !plan.buffer<row, 4, f32>) outs(y = %l : !plan.buffer<row, 8, f32>)
  // expected-error@+1 {{takes 4 columns from 9223372036854775807, buffer has 8}}
  %v = plan.view %l from 9223372036854775807 : !plan.buffer<row, 8, f32> to !plan.buffer<row, 4, f32>
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

// Not a symbol, so its name is here: @kernel_c1.
// expected-error@+1 {{has launch {function = "f"}, expected function, grid of three, block_threads, shared_bytes and arguments}}
plan.kernel "test.kernel" body "b" config "" launches [{function = "f"}]

// -----

// @kernel_c1_grid
// expected-error@+1 {{expected function, grid of three}}
plan.kernel "test.kernel" body "b" config "" launches [{function = "f", grid = ["T"], block_threads = 32 : i64,
                                                        shared_bytes = 0 : i64, arguments = []}]

// -----

// @kernel_c2
// expected-error@+1 {{has no launches, expected at least one}}
plan.kernel "test.kernel" body "b" config "" launches []
