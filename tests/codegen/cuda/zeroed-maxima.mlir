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

// -----

// Experts of up to 8 tokens are two launches: `up` gathers the maxima of what it gives, `down` makes codes by them.
// CHECK: plan.kernel "cuda.scaled_moe_experts.e4m3_2of8_72x96"
// CHECK-SAME: function = "quantize_input", grid = ["T>8 ? T : 0", "1", "1"]
// CHECK-SAME: "output hidden_maxima", "scratch", "step"], {{[^}]*}}function = "up_few_tokens", grid = ["T<=8 ? 5 : 0", "T*2", "1"]
// CHECK-SAME: function = "quantize_hidden", grid = ["T>8 ? T*2 : 0", "1", "1"]
// CHECK-SAME: "output hidden_maxima", "scratch", "step"], {{[^}]*}}function = "down_few_tokens", grid = ["T<=8 ? 6 : 0", "1", "1"]
// CHECK-SAME: function = "add_picks", grid = ["T>8 ? T : 0", "1", "1"]
// CHECK-LABEL: plan.program @step
// CHECK-SAME: zeroed_bytes = 8 : i64
// CHECK: %[[M:.*]] = plan.buffer "scaled_moe_experts.hidden_maxima" {offset = 0 : i64, zeroed} : !plan.buffer<token, 2, f32>
// CHECK: plan.dispatch "cuda.scaled_moe_experts.e4m3_2of8_72x96"
// CHECK-SAME: hidden_maxima = %[[M]] : !plan.buffer<token, 2, f32>
// Codes by a scale of the expert need no maximum.
// CHECK: plan.dispatch "cuda.scaled_moe_experts.e4m3_2of8_72x96.2"
// CHECK-NOT: hidden_maxima
nemotron.weight @table : tensor<64x96xf32> from "table"
nemotron.weight @gate : tensor<8x96xf32> from "gate"
nemotron.weight @bias : tensor<8xf32> from "bias"
nemotron.weight @up : tensor<8x72x96xf8E4M3FN> from "up"
nemotron.weight @down : tensor<8x96x72xf8E4M3FN> from "down"
nemotron.weight @scale : tensor<8x1xf32> from "scale"
nemotron.weight @static : tensor<8xf32> from "static"
func.func @step(%tokens: tensor<?xi32>, %batch: !nemotron.batch) -> tensor<?x96xf32> {
  %table = nemotron.get_weight @table : tensor<64x96xf32>
  %gate = nemotron.get_weight @gate : tensor<8x96xf32>
  %bias = nemotron.get_weight @bias : tensor<8xf32>
  %up = nemotron.get_weight @up : tensor<8x72x96xf8E4M3FN>
  %down = nemotron.get_weight @down : tensor<8x96x72xf8E4M3FN>
  %s = nemotron.get_weight @scale : tensor<8x1xf32>
  %static = nemotron.get_weight @static : tensor<8xf32>
  %x = nemotron.embedding %tokens, %table : (tensor<?xi32>, tensor<64x96xf32>) -> tensor<?x96xf32>
  %i, %p = nemotron.moe_route %x, %gate, %bias {n_group = 1, topk_group = 1, norm_topk_prob = true, routed_scaling_factor = 1.0 : f32}
     : (tensor<?x96xf32>, tensor<8x96xf32>, tensor<8xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
  %y = nemotron.scaled_moe_experts %x, %i, %p, %up scaled %s, %down scaled %s
     : (tensor<?x96xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x72x96xf8E4M3FN>, tensor<8x1xf32>,
        tensor<8x96x72xf8E4M3FN>, tensor<8x1xf32>) -> tensor<?x96xf32>
  %z = nemotron.scaled_moe_experts %y, %i, %p, %up scaled %s, %down scaled %s down_input %static
     : (tensor<?x96xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x72x96xf8E4M3FN>, tensor<8x1xf32>,
        tensor<8x96x72xf8E4M3FN>, tensor<8x1xf32>, tensor<8xf32>) -> tensor<?x96xf32>
  %r = nemotron.select_rows %z of %batch : (tensor<?x96xf32>, !nemotron.batch) -> tensor<?x96xf32>
  return %r : tensor<?x96xf32>
}
