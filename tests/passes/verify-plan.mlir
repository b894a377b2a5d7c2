// RUN: nemotron-opt %s -split-input-file -verify-plan -verify-diagnostics

nemotron.weight @w.source : tensor<4xf32> from "w"
plan.weight @w : tensor<4xf32> {
  %0 = nemotron.get_weight @w.source : tensor<4xf32>
  plan.yield %0 : tensor<4xf32>
}
plan.state @a conv : tensor<3x5xf32> {offset = 0}
plan.state @b ssm : tensor<2x4x4xf32> {offset = 64}
plan.state @c kv_cache : tensor<2x1x4xbf16> {offset = 0}
plan.program @good attributes {token_arena_bytes = 256, row_arena_bytes = 64} {
  %a = plan.buffer "a" {offset = 0} : !plan.buffer<token, 32, f32>
  %left = plan.view %a from 0 : !plan.buffer<token, 32, f32> to !plan.buffer<token, 20, f32>
  %right = plan.view %a from 20 : !plan.buffer<token, 32, f32> to !plan.buffer<token, 12, f32>
  plan.dispatch "one" outs(x = %left : !plan.buffer<token, 20, f32>, y = %right : !plan.buffer<token, 12, f32>)
  %b = plan.buffer "b" {offset = 128} : !plan.buffer<token, 32, f32>
  plan.dispatch "two" ins(x = %a : !plan.buffer<token, 32, f32>) outs(y = %b : !plan.buffer<token, 32, f32>)
  // Lies where "a" did, which is not needed any more.
  %c = plan.buffer "c" {offset = 0} : !plan.buffer<token, 32, f32>
  plan.dispatch "two" ins(x = %b : !plan.buffer<token, 32, f32>) outs(y = %c : !plan.buffer<token, 32, f32>)
  %l = plan.buffer "l" {offset = 0} : !plan.buffer<row, 8, f32>
  plan.dispatch "two" ins(x = %c : !plan.buffer<token, 32, f32>) outs(y = %l : !plan.buffer<row, 8, f32>)
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

// expected-error@+1 {{'func.func' is left after the conversion to a plan}}
func.func @step(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  return %x : tensor<?x4xf32>
}

// -----

// expected-error@+1 {{'nemotron.state' is left after the conversion to a plan}}
nemotron.state @s conv : tensor<3x5xf32>

// -----

// expected-error@+1 {{has 0 programs, expected one}}
module {
}

// -----

plan.weight @w : tensor<2x4x3xf32, #plan.layout<panel>> {
  %0 = nemotron.get_weight @w.source : tensor<4x3xf32>
  // expected-error@+1 {{'plan.pack' op is not the last thing done to @w, expected plan.yield next}}
  %1 = plan.pack %0 : tensor<4x3xf32> to tensor<4x3xf32, #plan.layout<panel>>
  %2 = nemotron.reshape %1 : tensor<4x3xf32, #plan.layout<panel>> to tensor<12xf32>
  %3 = nemotron.get_weight @v.source : tensor<2x4x3xf32>
  %4 = plan.pack %3 : tensor<2x4x3xf32> to tensor<2x4x3xf32, #plan.layout<panel>>
  plan.yield %4 : tensor<2x4x3xf32, #plan.layout<panel>>
}
nemotron.weight @w.source : tensor<4x3xf32> from "w"
nemotron.weight @v.source : tensor<2x4x3xf32> from "v"
plan.program @step attributes {token_arena_bytes = 0, row_arena_bytes = 64} {
  %l = plan.buffer "l" {offset = 0} : !plan.buffer<row, 8, f32>
  plan.dispatch "one" outs(l = %l : !plan.buffer<row, 8, f32>)
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

// expected-error@+1 {{'plan.program' op has no arena sizes, expected plan-memory to have set them}}
plan.program @step {
  %l = plan.buffer "l" : !plan.buffer<row, 8, f32>
  plan.dispatch "one" outs(l = %l : !plan.buffer<row, 8, f32>)
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

plan.program @step attributes {token_arena_bytes = 0, row_arena_bytes = 64} {
  // expected-error@+1 {{'plan.buffer' op has no offset, expected plan-memory to have set it}}
  %l = plan.buffer "l" : !plan.buffer<row, 8, f32>
  plan.dispatch "one" outs(l = %l : !plan.buffer<row, 8, f32>)
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

plan.program @step attributes {token_arena_bytes = 0, row_arena_bytes = 64} {
  // expected-error@+1 {{'plan.buffer' op ends at byte 128 of an arena of 64 bytes}}
  %l = plan.buffer "l" {offset = 64} : !plan.buffer<row, 8, f32>
  plan.dispatch "one" outs(l = %l : !plan.buffer<row, 8, f32>)
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

// expected-error@+1 {{'plan.state' op has no offset, expected plan-memory to have set it}}
plan.state @a conv : tensor<3x5xf32>
plan.program @step attributes {token_arena_bytes = 0, row_arena_bytes = 64} {
  %l = plan.buffer "l" {offset = 0} : !plan.buffer<row, 8, f32>
  plan.dispatch "one" outs(l = %l : !plan.buffer<row, 8, f32>)
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

// expected-note@+1 {{bytes 64 to 192 are taken by this}}
plan.state @a ssm : tensor<2x4x4xf32> {offset = 64}
// expected-error@+1 {{'plan.state' op lies at bytes 128 to 192 of the slot, which hold other data at that time}}
plan.state @b conv : tensor<3x5xf32> {offset = 128}
plan.program @step attributes {token_arena_bytes = 0, row_arena_bytes = 64} {
  %l = plan.buffer "l" {offset = 0} : !plan.buffer<row, 8, f32>
  plan.dispatch "one" outs(l = %l : !plan.buffer<row, 8, f32>)
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

// "a" is read last by the dispatch that writes "b".
plan.program @step attributes {token_arena_bytes = 192, row_arena_bytes = 64} {
  // expected-note@+1 {{bytes 0 to 128 are taken by this}}
  %a = plan.buffer "a" {offset = 0} : !plan.buffer<token, 32, f32>
  plan.dispatch "one" outs(x = %a : !plan.buffer<token, 32, f32>)
  // expected-error@+1 {{'plan.buffer' op lies at bytes 64 to 192 of the token arena, which hold other data at that time}}
  %b = plan.buffer "b" {offset = 64} : !plan.buffer<token, 32, f32>
  plan.dispatch "two" ins(x = %a : !plan.buffer<token, 32, f32>) outs(y = %b : !plan.buffer<token, 32, f32>)
  %l = plan.buffer "l" {offset = 0} : !plan.buffer<row, 8, f32>
  plan.dispatch "two" ins(x = %b : !plan.buffer<token, 32, f32>) outs(y = %l : !plan.buffer<row, 8, f32>)
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

plan.program @step attributes {token_arena_bytes = 128, row_arena_bytes = 64} {
  %a = plan.buffer "a" {offset = 0} : !plan.buffer<token, 32, f32>
  %left = plan.view %a from 0 : !plan.buffer<token, 32, f32> to !plan.buffer<token, 20, f32>
  plan.dispatch "one" outs(x = %left : !plan.buffer<token, 20, f32>)
  %l = plan.buffer "l" {offset = 0} : !plan.buffer<row, 8, f32>
  // expected-error@+1 {{'plan.dispatch' op reads 'x', which no dispatch before has written}}
  plan.dispatch "two" ins(x = %a : !plan.buffer<token, 32, f32>) outs(y = %l : !plan.buffer<row, 8, f32>)
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

plan.program @step attributes {token_arena_bytes = 0, row_arena_bytes = 64} {
  %l = plan.buffer "l" {offset = 0} : !plan.buffer<row, 8, f32>
  // expected-error@+1 {{'plan.return' op returns logits that no dispatch has written}}
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

plan.program @step attributes {token_arena_bytes = 0, row_arena_bytes = 128} {
  %l = plan.buffer "l" {offset = 0} : !plan.buffer<row, 8, f32>
  plan.dispatch "one" outs(l = %l : !plan.buffer<row, 8, f32>)
  %s = plan.buffer "s" {offset = 64} : !plan.buffer<row, 16, i32>
  // expected-error@+1 {{'plan.return' op returns samples that no dispatch has written}}
  plan.return %l : !plan.buffer<row, 8, f32> samples %s : !plan.buffer<row, 16, i32>
}

// -----

plan.program @step attributes {token_arena_bytes = 0, row_arena_bytes = 64} {
  %l = plan.buffer "l" {offset = 0} : !plan.buffer<row, 8, f32>
  plan.dispatch "one" outs(l = %l : !plan.buffer<row, 8, f32>)
  %v = plan.view %l from 0 : !plan.buffer<row, 8, f32> to !plan.buffer<row, 4, f32>
  // expected-error@+1 {{'plan.return' op returns a view, expected a buffer}}
  plan.return %v : !plan.buffer<row, 4, f32>
}

// -----

plan.kernel "k" body "b" config "" launches [{function = "f", grid = ["T", "1", "1"], block_threads = 32 : i64, shared_bytes = 0 : i64,
                                              arguments = []} ]
plan.program @missing_kernel attributes {token_arena_bytes = 0, row_arena_bytes = 64} {
  %l = plan.buffer "l" {offset = 0} : !plan.buffer<row, 8, f32>
  // expected-error@+1 {{has no plan.kernel 'other'}}
  plan.dispatch "other" outs(y = %l : !plan.buffer<row, 8, f32>)
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

plan.kernel "k" body "b" config "" launches [{function = "f", grid = ["T", "1", "1"], block_threads = 32 : i64, shared_bytes = 0 : i64,
                                              arguments = []} ]
// expected-error@+1 {{has the name of an earlier one, 'k'}}
plan.kernel "k" body "b" config "" launches [{function = "f", grid = ["T", "1", "1"], block_threads = 32 : i64, shared_bytes = 0 : i64,
                                              arguments = []} ]
plan.program @kernel_twice attributes {token_arena_bytes = 0, row_arena_bytes = 64} {
  %l = plan.buffer "l" {offset = 0} : !plan.buffer<row, 8, f32>
  plan.dispatch "k" outs(y = %l : !plan.buffer<row, 8, f32>)
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

// Zeroed buffers may be read before they are written, and written when others lie at the same offset of the arena.
plan.program @zeroed attributes {token_arena_bytes = 64, row_arena_bytes = 64, zeroed_bytes = 16} {
  %n = plan.buffer "n" {offset = 0, zeroed} : !plan.buffer<token, 3, i32>
  %m = plan.buffer "m" {offset = 12, zeroed} : !plan.buffer<token, 1, f32>
  %a = plan.buffer "a" {offset = 0} : !plan.buffer<token, 8, f32>
  plan.dispatch "one" ins(m = %m : !plan.buffer<token, 1, f32>)
    outs(a = %a : !plan.buffer<token, 8, f32>, n = %n : !plan.buffer<token, 3, i32>)
  %l = plan.buffer "l" {offset = 0} : !plan.buffer<row, 8, f32>
  plan.dispatch "two" ins(x = %a : !plan.buffer<token, 8, f32>) outs(y = %l : !plan.buffer<row, 8, f32>)
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

plan.program @zeroed_behind attributes {token_arena_bytes = 64, row_arena_bytes = 64, zeroed_bytes = 8} {
  // expected-error@+1 {{'plan.buffer' op ends at byte 12 of zeroed memory of 8 bytes}}
  %n = plan.buffer "n" {offset = 0, zeroed} : !plan.buffer<token, 3, i32>
  %l = plan.buffer "l" {offset = 0} : !plan.buffer<row, 8, f32>
  plan.dispatch "two" outs(n = %n : !plan.buffer<token, 3, i32>, y = %l : !plan.buffer<row, 8, f32>)
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

// "m" and "n" are never live at once.
plan.program @zeroed_shared attributes {token_arena_bytes = 64, row_arena_bytes = 64, zeroed_bytes = 12} {
  // expected-note@+1 {{bytes 0 to 12 are taken by this}}
  %n = plan.buffer "n" {offset = 0, zeroed} : !plan.buffer<token, 3, i32>
  plan.dispatch "one" outs(n = %n : !plan.buffer<token, 3, i32>)
  // expected-error@+1 {{'plan.buffer' op lies at bytes 8 to 12 of the zeroed memory, which hold other data at that time}}
  %m = plan.buffer "m" {offset = 8, zeroed} : !plan.buffer<token, 1, f32>
  %l = plan.buffer "l" {offset = 0} : !plan.buffer<row, 8, f32>
  plan.dispatch "two" outs(m = %m : !plan.buffer<token, 1, f32>, y = %l : !plan.buffer<row, 8, f32>)
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

module attributes {plan.target = "cpu"} {
  plan.program @zeroed_of_cpu attributes {token_arena_bytes = 64, row_arena_bytes = 64, zeroed_bytes = 12} {
    // expected-error@+1 {{'plan.buffer' op is zeroed, which target cpu has no memory for}}
    %n = plan.buffer "n" {offset = 0, zeroed} : !plan.buffer<token, 3, i32>
    %l = plan.buffer "l" {offset = 0} : !plan.buffer<row, 8, f32>
    plan.dispatch "two" outs(n = %n : !plan.buffer<token, 3, i32>, y = %l : !plan.buffer<row, 8, f32>)
    plan.return %l : !plan.buffer<row, 8, f32>
  }
}
