// RUN: nemotron-opt %s | nemotron-opt | FileCheck %s
// RUN: nemotron-opt %s -mlir-print-op-generic | nemotron-opt | FileCheck %s
// RUN: nemotron-opt %s -emit-bytecode | nemotron-opt | FileCheck %s
// RUN: nemotron-opt %s -cse -canonicalize -symbol-dce | FileCheck %s

nemotron.weight @up.source : tensor<576x192xbf16> from "backbone.layers.1.mixer.up_proj.weight"

// CHECK-LABEL: plan.weight @up : tensor<576x192xbf16, #plan.layout<panel>> {
plan.weight @up : tensor<576x192xbf16, #plan.layout<panel>> {
  // CHECK-NEXT: %[[W:.*]] = nemotron.get_weight @up.source : tensor<576x192xbf16>
  %0 = nemotron.get_weight @up.source : tensor<576x192xbf16>
  // CHECK-NEXT: %[[P:.*]] = plan.pack %[[W]] : tensor<576x192xbf16> to tensor<576x192xbf16, #plan.layout<panel>>
  %1 = plan.pack %0 : tensor<576x192xbf16> to tensor<576x192xbf16, #plan.layout<panel>>
  // CHECK-NEXT: plan.yield %[[P]] : tensor<576x192xbf16, #plan.layout<panel>>
  plan.yield %1 : tensor<576x192xbf16, #plan.layout<panel>>
}

// CHECK-LABEL: plan.weight @embeddings : tensor<576x192xbf16>
plan.weight @embeddings : tensor<576x192xbf16> {
  %0 = nemotron.get_weight @up.source : tensor<576x192xbf16>
  plan.yield %0 : tensor<576x192xbf16>
}

// CHECK: plan.state @layers.0.ssm ssm : tensor<6x64x64xf32> {offset = 1024 : i64}
plan.state @layers.0.ssm ssm : tensor<6x64x64xf32> {offset = 1024}
// CHECK: plan.state @layers.0.conv conv : tensor<3x640xf32>{{$}}
plan.state @layers.0.conv conv : tensor<3x640xf32>

// CHECK-LABEL: plan.program @step attributes {row_arena_bytes = 2304 : i64, token_arena_bytes = 1024 : i64} {
plan.program @step attributes {row_arena_bytes = 2304, token_arena_bytes = 1024} {
  // CHECK-NEXT: %[[H:.*]] = plan.buffer "embedding" {offset = 0 : i64} : !plan.buffer<token, 192, f32>
  %h = plan.buffer "embedding" {offset = 0} : !plan.buffer<token, 192, f32>
  // CHECK-NEXT: %[[I:.*]] = plan.buffer "indices" : !plan.buffer<token, 2, i32>
  %i = plan.buffer "indices" : !plan.buffer<token, 2, i32>
  // CHECK-NEXT: plan.buffer "counters" {zeroed} : !plan.buffer<token, 8, i32>
  %n = plan.buffer "counters" {zeroed} : !plan.buffer<token, 8, i32>
  // CHECK-NEXT: %[[L:.*]] = plan.buffer "logits" : !plan.buffer<row, 576, f32>
  %logits = plan.buffer "logits" : !plan.buffer<row, 576, f32>
  // CHECK-NEXT: %[[V:.*]] = plan.view %[[H]] from 64 : !plan.buffer<token, 192, f32> to !plan.buffer<token, 128, f32>
  %v = plan.view %h from 64 : !plan.buffer<token, 192, f32> to !plan.buffer<token, 128, f32>

  // CHECK-NEXT: plan.dispatch "cpu.embedding" outs(output = %[[H]] : !plan.buffer<token, 192, f32>) weights(weight = @embeddings){{$}}
  plan.dispatch "cpu.embedding" outs(output = %h : !plan.buffer<token, 192, f32>) weights(weight = @embeddings)
  // CHECK-NEXT: plan.dispatch "test.all" ins(input = %[[H]] : !plan.buffer<token, 192, f32>, x = %[[V]] : !plan.buffer<token, 128, f32>)
  // CHECK-SAME: outs(output = %[[L]] : !plan.buffer<row, 576, f32>, indices = %[[I]] : !plan.buffer<token, 2, i32>)
  // CHECK-SAME: weights(bias = @embeddings, weight = @up) states(conv = @layers.0.conv, ssm = @layers.0.ssm)
  // CHECK-SAME: {activation = "relu2", eps = 1.000000e-01 : f64, n = 4 : i64, scale = 5.000000e-01 : f32, unit_offset = true} layer 1
  // CHECK-SAME: attributes {note = "discardable"}
  plan.dispatch "test.all" ins(input = %h : !plan.buffer<token, 192, f32>, x = %v : !plan.buffer<token, 128, f32>)
    outs(output = %logits : !plan.buffer<row, 576, f32>, indices = %i : !plan.buffer<token, 2, i32>)
    weights(weight = @up, bias = @embeddings) states(ssm = @layers.0.ssm, conv = @layers.0.conv)
    {activation = "relu2", eps = 0.1, n = 4, scale = 0.5 : f32, unit_offset = true} layer 1 attributes {note = "discardable"}
  // Names that are no identifiers are quoted. Equal dispatches stay two.
  // CHECK-NEXT: plan.dispatch "test.names" ins("1st" = %[[H]] : !plan.buffer<token, 192, f32>) layer 0{{$}}
  // CHECK-NEXT: plan.dispatch "test.names"
  plan.dispatch "test.names" ins("1st" = %h : !plan.buffer<token, 192, f32>) layer 0
  plan.dispatch "test.names" ins("1st" = %h : !plan.buffer<token, 192, f32>) layer 0
  // CHECK-NEXT: plan.dispatch "test.nothing"{{$}}
  plan.dispatch "test.nothing"
  // CHECK-NEXT: plan.return %[[L]] : !plan.buffer<row, 576, f32>
  plan.return %logits : !plan.buffer<row, 576, f32>
}

// CHECK-LABEL: plan.program @samples
plan.program @samples {
  %logits = plan.buffer "logits" : !plan.buffer<row, 576, f32>
  // CHECK: %[[S:.*]] = plan.buffer "samples"
  %samples = plan.buffer "samples" : !plan.buffer<row, 16, i32>
  // CHECK: plan.return %{{.*}} : !plan.buffer<row, 576, f32> samples %[[S]] : !plan.buffer<row, 16, i32>
  plan.return %logits : !plan.buffer<row, 576, f32> samples %samples : !plan.buffer<row, 16, i32>
}

// CHECK: plan.kernel "cuda.relu2.float_192" body "elementwise" config "struct Config {};"
// CHECK-SAME: launches [{arguments = ["input input", "output output"], block_threads = 64 : i64, function = "relu2",
// CHECK-SAME: grid = ["T", "1", "1"], shared_bytes = 0 : i64}]{{$}}
plan.kernel "cuda.relu2.float_192" body "elementwise" config "struct Config {};"
  launches [{function = "relu2", grid = ["T", "1", "1"], block_threads = 64 : i64, shared_bytes = 0 : i64,
             arguments = ["input input", "output output"]} ]
// CHECK: plan.kernel "test.split" {{.*}} scratch "S*ceil(C/512)*1040"
plan.kernel "test.split" body "split" config ""
  launches [{function = "split", grid = ["ceil(C/512)", "S", "1"], block_threads = 128 : i64, shared_bytes = 4096 : i64,
             arguments = ["step", "scratch"]} ] scratch "S*ceil(C/512)*1040"
