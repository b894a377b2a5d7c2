// RUN: nemotron-opt %s -split-input-file -plan-memory -verify-plan | FileCheck %s
// RUN: nemotron-opt %s -split-input-file -plan-memory -plan-memory -verify-plan | FileCheck %s
// RUN: nemotron-opt %s -split-input-file -plan-memory=report=true -o /dev/null 2>&1 | FileCheck %s --check-prefix=REPORT

// A chain of equal buffers alternates between two places: 64 * 4 = 256 bytes each.
// CHECK-LABEL: plan.program @chain attributes {row_arena_bytes = 64 : i64, token_arena_bytes = 512 : i64}
// REPORT: remark: 512 bytes a token for 4 buffers, 1024 without reuse; 512 are live at once
// REPORT: remark: 64 bytes a row for 1 buffers, 64 without reuse; 64 are live at once
plan.program @chain {
  // CHECK: plan.buffer "a" {offset = [[A:[0-9]+]] : i64}
  %a = plan.buffer "a" : !plan.buffer<token, 64, f32>
  plan.dispatch "one" outs(output = %a : !plan.buffer<token, 64, f32>)
  // CHECK: plan.buffer "b" {offset = [[B:[0-9]+]] : i64}
  %b = plan.buffer "b" : !plan.buffer<token, 64, f32>
  plan.dispatch "two" ins(input = %a : !plan.buffer<token, 64, f32>) outs(output = %b : !plan.buffer<token, 64, f32>)
  // CHECK: plan.buffer "c" {offset = [[A]] : i64}
  %c = plan.buffer "c" : !plan.buffer<token, 64, f32>
  plan.dispatch "two" ins(input = %b : !plan.buffer<token, 64, f32>) outs(output = %c : !plan.buffer<token, 64, f32>)
  // CHECK: plan.buffer "d" {offset = [[B]] : i64}
  %d = plan.buffer "d" : !plan.buffer<token, 64, f32>
  plan.dispatch "two" ins(input = %c : !plan.buffer<token, 64, f32>) outs(output = %d : !plan.buffer<token, 64, f32>)
  %l = plan.buffer "l" : !plan.buffer<row, 8, f32>
  plan.dispatch "two" ins(input = %d : !plan.buffer<token, 64, f32>) outs(output = %l : !plan.buffer<row, 8, f32>)
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

// A view keeps its buffer alive: "next" may not lie where "wide" does.
// CHECK-LABEL: plan.program @view
// CHECK-SAME: token_arena_bytes = 640 : i64
plan.program @view {
  // CHECK: plan.buffer "wide" {offset = 0 : i64}
  %wide = plan.buffer "wide" : !plan.buffer<token, 128, f32>
  plan.dispatch "one" outs(output = %wide : !plan.buffer<token, 128, f32>)
  %part = plan.view %wide from 100 : !plan.buffer<token, 128, f32> to !plan.buffer<token, 28, f32>
  // CHECK: plan.buffer "next" {offset = 512 : i64}
  %next = plan.buffer "next" : !plan.buffer<token, 32, f32>
  plan.dispatch "one" outs(output = %next : !plan.buffer<token, 32, f32>)
  %l = plan.buffer "l" : !plan.buffer<row, 8, f32>
  plan.dispatch "two" ins(a = %part : !plan.buffer<token, 28, f32>, b = %next : !plan.buffer<token, 32, f32>)
    outs(output = %l : !plan.buffer<row, 8, f32>)
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

// Rows are rounded up to 64 bytes: 17 * 4 = 68 to 128, 1 * 4 to 64, 5 * 2 to 64, 65 * 1 to 128.
// CHECK-LABEL: plan.program @rounding
// CHECK-SAME: row_arena_bytes = 64 : i64, token_arena_bytes = 384 : i64
plan.program @rounding {
  %a = plan.buffer "a" : !plan.buffer<token, 17, f32>
  %b = plan.buffer "b" : !plan.buffer<token, 1, i32>
  %c = plan.buffer "c" : !plan.buffer<token, 5, bf16>
  %d = plan.buffer "d" : !plan.buffer<token, 65, f8E4M3FN>
  %l = plan.buffer "l" : !plan.buffer<row, 8, f32>
  plan.dispatch "one" outs(a = %a : !plan.buffer<token, 17, f32>, b = %b : !plan.buffer<token, 1, i32>,
    c = %c : !plan.buffer<token, 5, bf16>, d = %d : !plan.buffer<token, 65, f8E4M3FN>,
    l = %l : !plan.buffer<row, 8, f32>)
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

// Logits live to the end: "after" is written behind them although nobody reads them again.
// CHECK-LABEL: plan.program @logits_stay
// CHECK-SAME: row_arena_bytes = 128 : i64
plan.program @logits_stay {
  %l = plan.buffer "l" : !plan.buffer<row, 8, f32>
  plan.dispatch "one" outs(l = %l : !plan.buffer<row, 8, f32>)
  %after = plan.buffer "after" : !plan.buffer<row, 8, f32>
  plan.dispatch "one" outs(l = %after : !plan.buffer<row, 8, f32>)
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

// So do samples.
// CHECK-LABEL: plan.program @samples_stay
// CHECK-SAME: row_arena_bytes = 192 : i64
plan.program @samples_stay {
  %l = plan.buffer "l" : !plan.buffer<row, 8, f32>
  plan.dispatch "one" outs(l = %l : !plan.buffer<row, 8, f32>)
  %s = plan.buffer "s" : !plan.buffer<row, 16, i32>
  plan.dispatch "one" outs(s = %s : !plan.buffer<row, 16, i32>)
  %after = plan.buffer "after" : !plan.buffer<row, 8, f32>
  plan.dispatch "one" outs(l = %after : !plan.buffer<row, 8, f32>)
  plan.return %l : !plan.buffer<row, 8, f32> samples %s : !plan.buffer<row, 16, i32>
}

// -----

// Both placements are tried. By size: the large ones first, "small" finds the gap that is left while it lives.
// CHECK-LABEL: plan.program @gap
// CHECK-SAME: token_arena_bytes = 3072 : i64
plan.program @gap {
  %s = plan.buffer "small" : !plan.buffer<token, 128, f32>
  plan.dispatch "one" outs(l = %s : !plan.buffer<token, 128, f32>)
  %a = plan.buffer "large" : !plan.buffer<token, 512, f32>
  plan.dispatch "one" outs(l = %a : !plan.buffer<token, 512, f32>)
  %m = plan.buffer "medium" : !plan.buffer<token, 128, f32>
  plan.dispatch "two" ins(s = %s : !plan.buffer<token, 128, f32>, a = %a : !plan.buffer<token, 512, f32>)
    outs(l = %m : !plan.buffer<token, 128, f32>)
  %b = plan.buffer "last" : !plan.buffer<token, 640, f32>
  plan.dispatch "two" ins(m = %m : !plan.buffer<token, 128, f32>) outs(l = %b : !plan.buffer<token, 640, f32>)
  %l = plan.buffer "l" : !plan.buffer<row, 8, f32>
  plan.dispatch "two" ins(b = %b : !plan.buffer<token, 640, f32>) outs(l = %l : !plan.buffer<row, 8, f32>)
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

// States follow each other in the slot, KV caches in a page. Sizes are rounded up to 64 bytes in the slot, to 4 in the
// page, which has a multiple of 16 tokens: what is half in f8E4M3FN takes half.
// conv: 3 * 5 * 4 = 60 to 64. ssm: 2 * 4 * 4 * 4 = 128, of bf16 64. kv, of 4 or 3 dimensions padded to 16:
// 2 * 1 * 16 * 2 = 64; of f8E4M3FN 32.
// REPORT: remark: 320 bytes of state a sequence, 192 bytes of KV cache a token
// CHECK: plan.state @a.conv conv : tensor<3x5xf32> {offset = 0 : i64}
plan.state @a.conv conv : tensor<3x5xf32>
// CHECK: plan.state @a.kv kv_cache : tensor<2x1x4xbf16> {offset = 0 : i64}
plan.state @a.kv kv_cache : tensor<2x1x4xbf16>
// CHECK: plan.state @a.ssm ssm : tensor<2x4x4xf32> {offset = 64 : i64}
plan.state @a.ssm ssm : tensor<2x4x4xf32>
// CHECK: plan.state @b.kv kv_cache : tensor<2x1x4xf8E4M3FN> {offset = 64 : i64}
plan.state @b.kv kv_cache : tensor<2x1x4xf8E4M3FN>
// CHECK: plan.state @c.kv kv_cache : tensor<2x1x3xf8E4M3FN> {offset = 96 : i64}
plan.state @c.kv kv_cache : tensor<2x1x3xf8E4M3FN>
// CHECK: plan.state @d.kv kv_cache : tensor<2x1x4xbf16> {offset = 128 : i64}
plan.state @d.kv kv_cache : tensor<2x1x4xbf16>
// CHECK: plan.state @b.ssm ssm : tensor<2x4x4xbf16> {offset = 192 : i64}
plan.state @b.ssm ssm : tensor<2x4x4xbf16>
// CHECK: plan.state @b.conv conv : tensor<3x5xf32> {offset = 256 : i64}
plan.state @b.conv conv : tensor<3x5xf32>
plan.program @states {
  %l = plan.buffer "l" : !plan.buffer<row, 8, f32>
  plan.dispatch "one" outs(l = %l : !plan.buffer<row, 8, f32>)
  plan.return %l : !plan.buffer<row, 8, f32>
}

// -----

// Zeroed buffers lie side by side, apart from all others, however long they live: 3 * 4 and 1 * 4 bytes.
// CHECK-LABEL: plan.program @zeroed attributes {row_arena_bytes = 64 : i64, token_arena_bytes = 128 : i64, zeroed_bytes = 16 : i64}
// REPORT: remark: 128 bytes a token for 2 buffers, 128 without reuse; 128 are live at once
// REPORT: remark: 16 bytes a token are zeroed when a step begins
plan.program @zeroed {
  // CHECK: plan.buffer "counters" {offset = 0 : i64, zeroed}
  %counters = plan.buffer "counters" {zeroed} : !plan.buffer<token, 3, i32>
  // CHECK: plan.buffer "a" {offset = 0 : i64}
  %a = plan.buffer "a" : !plan.buffer<token, 16, f32>
  plan.dispatch "one" outs(a = %a : !plan.buffer<token, 16, f32>, counters = %counters : !plan.buffer<token, 3, i32>)
  // CHECK: plan.buffer "maxima" {offset = 12 : i64, zeroed}
  %maxima = plan.buffer "maxima" {zeroed} : !plan.buffer<token, 1, f32>
  // CHECK: plan.buffer "b" {offset = 64 : i64}
  %b = plan.buffer "b" : !plan.buffer<token, 16, f32>
  plan.dispatch "two" ins(a = %a : !plan.buffer<token, 16, f32>, maxima = %maxima : !plan.buffer<token, 1, f32>)
    outs(b = %b : !plan.buffer<token, 16, f32>)
  %l = plan.buffer "l" : !plan.buffer<row, 8, f32>
  plan.dispatch "two" ins(b = %b : !plan.buffer<token, 16, f32>) outs(l = %l : !plan.buffer<row, 8, f32>)
  plan.return %l : !plan.buffer<row, 8, f32>
}
