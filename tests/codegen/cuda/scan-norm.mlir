// RUN: nemotron-opt %s -split-input-file -convert-nemotron-to-plan=target=cuda -plan-specialize-kernels -plan-memory -verify-plan | FileCheck %s

// Blocks of the scan count themselves done and normalize in decode; a launch with as many threads does in other steps.
// CHECK: plan.kernel "cuda.ssm_scan_gated_norm.float_float_4x16x64_g2"
// CHECK-SAME: static constexpr int kNormThreads = 64;
// CHECK-SAME: "output counters"
// CHECK-SAME: {arguments = ["input gate", "output output", "weight weight", "step"], block_threads = 64 : i64, function = "ssm_scan_norm", grid = ["L<=1 ? 0 : T", "2", "1"]
// CHECK-LABEL: plan.program @step
// CHECK-SAME: zeroed_bytes = 8 : i64
// CHECK: %[[N:.*]] = plan.buffer "ssm_scan_gated_norm.counters" {offset = 0 : i64, zeroed} : !plan.buffer<token, 2, i32>
// CHECK: plan.dispatch "cuda.ssm_scan_gated_norm.float_float_4x16x64_g2"
// CHECK-SAME: counters = %[[N]] : !plan.buffer<token, 2, i32>
nemotron.weight @table : tensor<64x388xf32> from "table"
nemotron.weight @heads : tensor<4xf32> from "heads"
nemotron.weight @weight : tensor<64xf32> from "weight"
nemotron.state @ssm ssm : tensor<4x16x64xf32>
func.func @step(%tokens: tensor<?xi32>, %batch: !nemotron.batch) -> tensor<?x64xf32> {
  %table = nemotron.get_weight @table : tensor<64x388xf32>
  %h = nemotron.get_weight @heads : tensor<4xf32>
  %w = nemotron.get_weight @weight : tensor<64xf32>
  %e = nemotron.embedding %tokens, %table : (tensor<?xi32>, tensor<64x388xf32>) -> tensor<?x388xf32>
  %x, %b, %c, %dt, %z = nemotron.split %e : (tensor<?x388xf32>)
    -> (tensor<?x64xf32>, tensor<?x128xf32>, tensor<?x128xf32>, tensor<?x4xf32>, tensor<?x64xf32>)
  %y = nemotron.ssm_scan_gated_norm %x, %b, %c, %dt, %h, %h, %z, %h, %w of %batch ssm @ssm
       {num_heads = 4, head_dim = 16, n_groups = 2, state_size = 64, eps = 1.0e-5 : f32}
     : (tensor<?x64xf32>, tensor<?x128xf32>, tensor<?x128xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>,
        tensor<?x64xf32>, tensor<4xf32>, tensor<64xf32>, !nemotron.batch) -> tensor<?x64xf32>
  %r = nemotron.select_rows %y of %batch : (tensor<?x64xf32>, !nemotron.batch) -> tensor<?x64xf32>
  return %r : tensor<?x64xf32>
}

// -----

// A group of 34 * 32 channels is too wide for blocks of one warp, as a state of 16 elements has.
// CHECK: plan.kernel "cuda.ssm_scan_gated_norm.float_float_34x32x16_g1"
// CHECK-NOT: counters
// CHECK-SAME: block_threads = 544 : i64, function = "ssm_scan_norm", grid = ["T", "1", "1"]
// CHECK-LABEL: plan.program @step
// CHECK-NOT: zeroed
nemotron.weight @table : tensor<1088x2242xf32> from "table"
nemotron.weight @heads : tensor<34xf32> from "heads"
nemotron.weight @weight : tensor<1088xf32> from "weight"
nemotron.state @ssm ssm : tensor<34x32x16xf32>
func.func @step(%tokens: tensor<?xi32>, %batch: !nemotron.batch) -> tensor<?x1088xf32> {
  %table = nemotron.get_weight @table : tensor<1088x2242xf32>
  %h = nemotron.get_weight @heads : tensor<34xf32>
  %w = nemotron.get_weight @weight : tensor<1088xf32>
  %e = nemotron.embedding %tokens, %table : (tensor<?xi32>, tensor<1088x2242xf32>) -> tensor<?x2242xf32>
  %x, %b, %c, %dt, %z = nemotron.split %e : (tensor<?x2242xf32>)
    -> (tensor<?x1088xf32>, tensor<?x16xf32>, tensor<?x16xf32>, tensor<?x34xf32>, tensor<?x1088xf32>)
  %y = nemotron.ssm_scan_gated_norm %x, %b, %c, %dt, %h, %h, %z, %h, %w of %batch ssm @ssm
       {num_heads = 34, head_dim = 32, n_groups = 1, state_size = 16, eps = 1.0e-5 : f32}
     : (tensor<?x1088xf32>, tensor<?x16xf32>, tensor<?x16xf32>, tensor<?x34xf32>, tensor<34xf32>, tensor<34xf32>,
        tensor<?x1088xf32>, tensor<34xf32>, tensor<1088xf32>, !nemotron.batch) -> tensor<?x1088xf32>
  %r = nemotron.select_rows %y of %batch : (tensor<?x1088xf32>, !nemotron.batch) -> tensor<?x1088xf32>
  return %r : tensor<?x1088xf32>
}
