// RUN: nemotron-opt %s -split-input-file -convert-nemotron-to-plan=target=cuda -plan-specialize-kernels -plan-memory -verify-plan | FileCheck %s

// Scaling of a step: a launch gathers its maximum in one number, the next one stores codes.
// CHECK: plan.kernel "cuda.quantize.e4m3_64"
// CHECK-SAME: static constexpr Scaling kScaling = Scaling::kStep;
// CHECK-SAME: launches [{arguments = ["input input", "output maximum"], {{.*}}function = "step_maximum", grid = ["T", "1", "1"]
// CHECK-SAME: {arguments = ["input input", "output output", "output scale", "output maximum", "parameter scale"], {{.*}}function = "quantize", grid = ["T", "1", "1"]
// CHECK-LABEL: plan.program @step
// CHECK-SAME: zeroed_bytes = 4 : i64
// CHECK: %[[M:.*]] = plan.buffer "quantize.maximum" {offset = 0 : i64, zeroed} : !plan.buffer<token, 1, f32>
// CHECK: plan.dispatch "cuda.quantize.e4m3_64"
// CHECK-SAME: maximum = %[[M]] : !plan.buffer<token, 1, f32>
nemotron.weight @table : tensor<64x64xf32> from "table"
nemotron.weight @matrix : tensor<64x64xf8E4M3FN> from "matrix"
nemotron.weight @scale : tensor<1xf32> from "scale"
func.func @step(%tokens: tensor<?xi32>, %batch: !nemotron.batch) -> tensor<?x64xf32> {
  %table = nemotron.get_weight @table : tensor<64x64xf32>
  %w = nemotron.get_weight @matrix : tensor<64x64xf8E4M3FN>
  %s = nemotron.get_weight @scale : tensor<1xf32>
  %x = nemotron.embedding %tokens, %table : (tensor<?xi32>, tensor<64x64xf32>) -> tensor<?x64xf32>
  %q, %qs = nemotron.quantize %x {scaling = #nemotron.scaling<step>} : tensor<?x64xf32> -> tensor<?x64xf8E4M3FN>, tensor<?x1xf32>
  %y = nemotron.scaled_matmul %q scaled %qs, %w scaled %s
     : (tensor<?x64xf8E4M3FN>, tensor<?x1xf32>, tensor<64x64xf8E4M3FN>, tensor<1xf32>) -> tensor<?x64xf32>
  %r = nemotron.select_rows %y of %batch : (tensor<?x64xf32>, !nemotron.batch) -> tensor<?x64xf32>
  return %r : tensor<?x64xf32>
}
