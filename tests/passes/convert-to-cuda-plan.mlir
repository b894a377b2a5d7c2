// RUN: nemotron-opt %s -convert-nemotron-to-plan=target=cuda | FileCheck %s
// RUN: nemotron-opt %s -convert-nemotron-to-plan=target=cuda -plan-fuse-dispatches -plan-retype-buffers -plan-specialize-kernels -plan-memory -verify-plan | FileCheck %s --check-prefix=KERNELS

// Behind the logits a kernel draws tokens from them, for steps that ask for tokens: a grid of A blocks, 0 in all others.
nemotron.weight @head : tensor<512x64xbf16> from "h"
// KERNELS: plan.kernel "cuda.sample.f32_512" body "sample" config "struct Config {\0A  static constexpr int kColumns = 512;\0A  static constexpr int kStride = 512;
// KERNELS-SAME: launches [{arguments = ["input logits", "output rows", "step"], block_threads = 1024 : i64, function = "sample", grid = ["A", "1", "1"]
// A matrix in a second layout is called as it is for the CPU, whose program reads it too.
// CHECK-LABEL: plan.weight @head.panel : tensor<512x64xbf16, #plan.layout<fragment>>
// CHECK-LABEL: plan.program @step
func.func @step(%tokens: tensor<?xi32>, %batch: !nemotron.batch) -> tensor<?x512xf32> {
  %w = nemotron.get_weight @head : tensor<512x64xbf16>
  %h = nemotron.embedding %tokens, %w : (tensor<?xi32>, tensor<512x64xbf16>) -> tensor<?x64xf32>
  %r = nemotron.select_rows %h of %batch : (tensor<?x64xf32>, !nemotron.batch) -> tensor<?x64xf32>
  // CHECK: plan.dispatch "cuda.linear" {{.*}} outs(output = %[[LOGITS:.*]] : !plan.buffer<row, 512, f32>)
  %y = nemotron.linear %r, %w : (tensor<?x64xf32>, tensor<512x64xbf16>) -> tensor<?x512xf32>
  // CHECK: %[[SAMPLES:.*]] = plan.buffer "samples" : !plan.buffer<row, 16, i32>
  // CHECK: plan.dispatch "cuda.sample" ins(logits = %[[LOGITS]] : !plan.buffer<row, 512, f32>) outs(rows = %[[SAMPLES]] : !plan.buffer<row, 16, i32>)
  // CHECK: plan.return %[[LOGITS]] : !plan.buffer<row, 512, f32> samples %[[SAMPLES]] : !plan.buffer<row, 16, i32>
  return %y : tensor<?x512xf32>
}
