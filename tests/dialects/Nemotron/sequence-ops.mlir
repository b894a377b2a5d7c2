// RUN: nemotron-opt %s | nemotron-opt | FileCheck %s
// RUN: nemotron-opt %s -mlir-print-op-generic | nemotron-opt | FileCheck %s

// CHECK: nemotron.state @layers.0.conv conv : tensor<3x640xf32>
nemotron.state @layers.0.conv conv : tensor<3x640xf32>
// CHECK: nemotron.state @layers.0.ssm ssm : tensor<6x64x64xf32>
nemotron.state @layers.0.ssm ssm : tensor<6x64x64xf32>
// CHECK: nemotron.state @layers.7.kv kv_cache : tensor<2x2x64xbf16>
nemotron.state @layers.7.kv kv_cache : tensor<2x2x64xbf16>

// CHECK-LABEL: @rotary_embedding
func.func @rotary_embedding(%q: tensor<?x128xf32>, %batch: !nemotron.batch) {
  // CHECK: nemotron.rotary_embedding %{{.*}} of %{{.*}} {head_dim = 16 : i64, rotary_dim = 8 : i64, theta = 1.000000e+04 : f32}
  // CHECK-SAME: : (tensor<?x128xf32>, !nemotron.batch) -> tensor<?x128xf32>
  %0 = nemotron.rotary_embedding %q of %batch {head_dim = 16, rotary_dim = 8, theta = 1.0e4 : f32, position_scale = 1.0 : f32}
     : (tensor<?x128xf32>, !nemotron.batch) -> tensor<?x128xf32>
  // CHECK: position_scale = 2.500000e-01 : f32
  %1 = nemotron.rotary_embedding %q of %batch {head_dim = 16, rotary_dim = 8, theta = 1.0e4 : f32, position_scale = 0.25 : f32}
     : (tensor<?x128xf32>, !nemotron.batch) -> tensor<?x128xf32>
  return
}

// CHECK-LABEL: @attention
func.func @attention(%q: tensor<?x256xf32>, %k: tensor<?x128xf32>, %v: tensor<?x128xf32>, %batch: !nemotron.batch)
    -> tensor<?x256xf32> {
  // CHECK: nemotron.attention %{{.*}}, %{{.*}}, %{{.*}} of %{{.*}} cache @layers.7.kv
  // CHECK-SAME: {head_dim = 64 : i64, num_heads = 4 : i64, num_kv_heads = 2 : i64, scale = 1.250000e-01 : f32}
  // CHECK-SAME: : (tensor<?x256xf32>, tensor<?x128xf32>, tensor<?x128xf32>, !nemotron.batch) -> tensor<?x256xf32>
  %o = nemotron.attention %q, %k, %v of %batch cache @layers.7.kv
       {num_heads = 4, num_kv_heads = 2, head_dim = 64, scale = 0.125 : f32}
     : (tensor<?x256xf32>, tensor<?x128xf32>, tensor<?x128xf32>, !nemotron.batch) -> tensor<?x256xf32>
  return %o : tensor<?x256xf32>
}

// CHECK-LABEL: @causal_conv1d
func.func @causal_conv1d(%x: tensor<?x640xf32>, %w: tensor<640x4xf32>, %b: tensor<640xf32>, %batch: !nemotron.batch) {
  // CHECK: nemotron.causal_conv1d %{{.*}}, %{{.*}} bias %{{.*}} of %{{.*}} conv @layers.0.conv {activation = #nemotron.activation<silu>}
  // CHECK-SAME: : (tensor<?x640xf32>, tensor<640x4xf32>, tensor<640xf32>, !nemotron.batch) -> tensor<?x640xf32>
  %0 = nemotron.causal_conv1d %x, %w bias %b of %batch conv @layers.0.conv {activation = #nemotron.activation<silu>}
     : (tensor<?x640xf32>, tensor<640x4xf32>, tensor<640xf32>, !nemotron.batch) -> tensor<?x640xf32>
  // CHECK: nemotron.causal_conv1d %{{.*}}, %{{.*}} of %{{.*}} conv @layers.0.conv : (tensor<?x640xf32>,
  %1 = nemotron.causal_conv1d %x, %w of %batch conv @layers.0.conv
     : (tensor<?x640xf32>, tensor<640x4xf32>, !nemotron.batch) -> tensor<?x640xf32>
  return
}

// CHECK-LABEL: @ssm_scan
func.func @ssm_scan(%x: tensor<?x384xf32>, %b: tensor<?x128xf32>, %c: tensor<?x128xf32>, %dt: tensor<?x6xf32>,
                    %a_log: tensor<6xf32>, %dt_bias: tensor<6xf32>, %batch: !nemotron.batch) {
  // CHECK: nemotron.ssm_scan %{{.*}} of %{{.*}} ssm @layers.0.ssm
  // CHECK-SAME: {head_dim = 64 : i64, n_groups = 2 : i64, num_heads = 6 : i64, state_size = 64 : i64}
  // CHECK-SAME: : (tensor<?x384xf32>, tensor<?x128xf32>, tensor<?x128xf32>, tensor<?x6xf32>, tensor<6xf32>, tensor<6xf32>,
  // CHECK-SAME: !nemotron.batch) -> tensor<?x384xf32>
  %0 = nemotron.ssm_scan %x, %b, %c, %dt, %a_log, %dt_bias of %batch ssm @layers.0.ssm
       {num_heads = 6, head_dim = 64, n_groups = 2, state_size = 64}
     : (tensor<?x384xf32>, tensor<?x128xf32>, tensor<?x128xf32>, tensor<?x6xf32>, tensor<6xf32>, tensor<6xf32>,
        !nemotron.batch) -> tensor<?x384xf32>
  // CHECK: dt_max = 1.000000e-01 : f32, dt_min = 1.000000e-03 : f32
  %1 = nemotron.ssm_scan %x, %b, %c, %dt, %a_log, %dt_bias of %batch ssm @layers.0.ssm
       {num_heads = 6, head_dim = 64, n_groups = 2, state_size = 64, dt_min = 1.0e-3 : f32, dt_max = 0.1 : f32}
     : (tensor<?x384xf32>, tensor<?x128xf32>, tensor<?x128xf32>, tensor<?x6xf32>, tensor<6xf32>, tensor<6xf32>,
        !nemotron.batch) -> tensor<?x384xf32>
  return
}

// CHECK-LABEL: @ssm_skip
func.func @ssm_skip(%y: tensor<?x384xf32>, %x: tensor<?x384xf32>, %d: tensor<6xf32>) -> tensor<?x384xf32> {
  // CHECK: nemotron.ssm_skip %{{.*}}, %{{.*}}, %{{.*}} {head_dim = 64 : i64} : tensor<?x384xf32>, tensor<6xf32>
  %s = nemotron.ssm_skip %y, %x, %d {head_dim = 64} : tensor<?x384xf32>, tensor<6xf32>
  return %s : tensor<?x384xf32>
}

// CHECK-LABEL: @ssm_scan_gated_norm
func.func @ssm_scan_gated_norm(%x: tensor<?x384xf32>, %b: tensor<?x128xf32>, %c: tensor<?x128xf32>, %dt: tensor<?x6xf32>,
                               %a_log: tensor<6xf32>, %dt_bias: tensor<6xf32>, %z: tensor<?x384xf32>, %d: tensor<6xf32>,
                               %w: tensor<384xf32>, %batch: !nemotron.batch) -> tensor<?x384xf32> {
  // CHECK: nemotron.ssm_scan_gated_norm %{{.*}} of %{{.*}} ssm @layers.0.ssm
  // CHECK-SAME: {eps = {{.*}} : f32, head_dim = 64 : i64, n_groups = 2 : i64, num_heads = 6 : i64, state_size = 64 : i64}
  // CHECK-SAME: : (tensor<?x384xf32>, tensor<?x128xf32>, tensor<?x128xf32>, tensor<?x6xf32>, tensor<6xf32>, tensor<6xf32>,
  // CHECK-SAME: tensor<?x384xf32>, tensor<6xf32>, tensor<384xf32>, !nemotron.batch) -> tensor<?x384xf32>
  %y = nemotron.ssm_scan_gated_norm %x, %b, %c, %dt, %a_log, %dt_bias, %z, %d, %w of %batch ssm @layers.0.ssm
       {num_heads = 6, head_dim = 64, n_groups = 2, state_size = 64, eps = 1.0e-5 : f32}
     : (tensor<?x384xf32>, tensor<?x128xf32>, tensor<?x128xf32>, tensor<?x6xf32>, tensor<6xf32>, tensor<6xf32>,
        tensor<?x384xf32>, tensor<6xf32>, tensor<384xf32>, !nemotron.batch) -> tensor<?x384xf32>
  return %y : tensor<?x384xf32>
}
