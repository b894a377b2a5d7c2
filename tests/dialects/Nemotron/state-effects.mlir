// Upstream passes neither drop, merge nor reorder ops that use a state, but treat the others as values.
// RUN: nemotron-opt %s -cse -canonicalize -symbol-dce -remove-dead-values | FileCheck %s
// RUN: nemotron-opt %s -loop-invariant-code-motion -control-flow-sink | FileCheck %s --check-prefix=LOOP

nemotron.state @conv conv : tensor<3x8xf32>
nemotron.state @ssm ssm : tensor<2x4x4xf32>

// CHECK-LABEL: @unused_result_stays
func.func @unused_result_stays(%x: tensor<?x8xf32>, %w: tensor<8x4xf32>, %batch: !nemotron.batch) {
  // CHECK-NEXT: nemotron.causal_conv1d {{.*}} conv @conv
  %0 = nemotron.causal_conv1d %x, %w of %batch conv @conv
     : (tensor<?x8xf32>, tensor<8x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  // A value that nobody uses goes.
  // CHECK-NEXT: return
  %1 = nemotron.silu %0 : tensor<?x8xf32>
  return
}

// CHECK-LABEL: @equal_ops_stay_two
func.func @equal_ops_stay_two(%x: tensor<?x8xf32>, %w: tensor<8x4xf32>, %batch: !nemotron.batch)
    -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  // CHECK-NEXT: %[[A:.*]] = nemotron.causal_conv1d
  // CHECK-NEXT: %[[B:.*]] = nemotron.causal_conv1d
  // CHECK-NEXT: return %[[A]], %[[B]]
  %0 = nemotron.causal_conv1d %x, %w of %batch conv @conv
     : (tensor<?x8xf32>, tensor<8x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  %1 = nemotron.causal_conv1d %x, %w of %batch conv @conv
     : (tensor<?x8xf32>, tensor<8x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  return %0, %1 : tensor<?x8xf32>, tensor<?x8xf32>
}

// CHECK-LABEL: @equal_values_merge
func.func @equal_values_merge(%x: tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  // CHECK-NEXT: %[[A:.*]] = nemotron.silu
  // CHECK-NEXT: return %[[A]], %[[A]]
  %0 = nemotron.silu %x : tensor<?x8xf32>
  %1 = nemotron.silu %x : tensor<?x8xf32>
  return %0, %1 : tensor<?x8xf32>, tensor<?x8xf32>
}

// CHECK-LABEL: @order_stays
func.func @order_stays(%x: tensor<?x8xf32>, %b: tensor<?x4xf32>, %dt: tensor<?x2xf32>, %v: tensor<2xf32>,
                       %w: tensor<8x4xf32>, %batch: !nemotron.batch) -> tensor<?x8xf32> {
  // CHECK-NEXT: nemotron.ssm_scan
  // CHECK-NEXT: nemotron.causal_conv1d
  // CHECK-NEXT: nemotron.ssm_scan
  %0 = nemotron.ssm_scan %x, %b, %b, %dt, %v, %v of %batch ssm @ssm
       {num_heads = 2, head_dim = 4, n_groups = 1, state_size = 4}
     : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x2xf32>, tensor<2xf32>, tensor<2xf32>, !nemotron.batch)
     -> tensor<?x8xf32>
  %1 = nemotron.causal_conv1d %x, %w of %batch conv @conv
     : (tensor<?x8xf32>, tensor<8x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  %2 = nemotron.ssm_scan %1, %b, %b, %dt, %v, %v of %batch ssm @ssm
       {num_heads = 2, head_dim = 4, n_groups = 1, state_size = 4}
     : (tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x2xf32>, tensor<2xf32>, tensor<2xf32>, !nemotron.batch)
     -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}

// LOOP-LABEL: @stays_in_loop
func.func @stays_in_loop(%x: tensor<?x8xf32>, %w: tensor<8x4xf32>, %batch: !nemotron.batch, %n: index) {
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  // LOOP: nemotron.silu
  // LOOP: scf.for
  // LOOP-NEXT: nemotron.causal_conv1d
  scf.for %i = %zero to %n step %one {
    %s = nemotron.silu %x : tensor<?x8xf32>
    %0 = nemotron.causal_conv1d %s, %w of %batch conv @conv
       : (tensor<?x8xf32>, tensor<8x4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  }
  return
}

// CHECK-LABEL: nemotron.state @used_by_nobody_but_public
nemotron.state @used_by_nobody_but_public conv : tensor<3x8xf32>
