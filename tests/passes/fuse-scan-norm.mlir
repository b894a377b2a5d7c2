// RUN: nemotron-opt %s -nemotron-fuse-scan-norm | FileCheck %s
// RUN: nemotron-opt %s -nemotron-fuse-scan-norm -mlir-print-debuginfo | FileCheck %s --check-prefix=LOC

// 4 heads of 2 channels in 2 groups with a state of 3.
nemotron.state @ssm ssm : tensor<4x2x3xf32>
nemotron.state @other ssm : tensor<4x2x3xf32>
nemotron.weight @d : tensor<4xf32> from "D"
nemotron.weight @norm : tensor<8xf32> from "norm"

// CHECK-LABEL: @fuses_three
// CHECK-SAME:    (%[[X:.*]]: tensor<?x8xf32>, %[[B:.*]]: tensor<?x6xf32>, %[[C:.*]]: tensor<?x6xf32>, %[[DT:.*]]: tensor<?x4xf32>, %[[Z:.*]]: tensor<?x8xf32>,
// CHECK-SAME:     %[[H:.*]]: tensor<4xf32>, %[[BATCH:.*]]: !nemotron.batch)
// CHECK-NEXT:    %[[D:.*]] = nemotron.get_weight @d
// CHECK-NEXT:    %[[W:.*]] = nemotron.get_weight @norm
// CHECK-NEXT:    %[[Y:.*]] = nemotron.ssm_scan_gated_norm %[[X]], %[[B]], %[[C]], %[[DT]], %[[H]], %[[H]], %[[Z]], %[[D]], %[[W]] of %[[BATCH]] ssm @ssm
// CHECK-SAME:      {dt_max = 1.000000e-01 : f32, dt_min = 1.000000e-03 : f32, eps = 9.99999974E-6 : f32, head_dim = 2 : i64, n_groups = 2 : i64,
// CHECK-SAME:       nemotron.layer = 5 : i64, num_heads = 4 : i64, state_size = 3 : i64}
// CHECK-NEXT:    return %[[Y]]
// LOC-LABEL:   @fuses_three
// LOC:           nemotron.ssm_scan_gated_norm {{.*}} loc(#[[FUSED:.*]])
func.func @fuses_three(%x: tensor<?x8xf32>, %b: tensor<?x6xf32>, %c: tensor<?x6xf32>, %dt: tensor<?x4xf32>, %z: tensor<?x8xf32>,
                       %h: tensor<4xf32>, %batch: !nemotron.batch) -> tensor<?x8xf32> {
  %y = nemotron.ssm_scan %x, %b, %c, %dt, %h, %h of %batch ssm @ssm
       {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3, dt_min = 1.0e-3 : f32, dt_max = 0.1 : f32, nemotron.layer = 5}
     : (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x6xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>, !nemotron.batch) -> tensor<?x8xf32> loc("scan")
  %d = nemotron.get_weight @d : tensor<4xf32>
  %s = nemotron.ssm_skip %y, %x, %d {head_dim = 2, nemotron.layer = 5} : tensor<?x8xf32>, tensor<4xf32> loc("skip")
  %w = nemotron.get_weight @norm : tensor<8xf32>
  %n = nemotron.gated_rms_norm %s, %z, %w {n_groups = 2, eps = 1.0e-5 : f32, nemotron.layer = 5} : tensor<?x8xf32>, tensor<8xf32> loc("norm")
  return %n : tensor<?x8xf32>
}

// The scan does not move, so that a later use of its state may stand anywhere.
// CHECK-LABEL: @state_used_after
// CHECK-NEXT:    %[[N:.*]] = nemotron.ssm_scan_gated_norm %{{.*}} ssm @ssm
// CHECK-NEXT:    %[[V:.*]] = nemotron.ssm_scan %{{.*}} ssm @ssm
// CHECK-NEXT:    return %[[N]], %[[V]]
func.func @state_used_after(%x: tensor<?x8xf32>, %bc: tensor<?x6xf32>, %dt: tensor<?x4xf32>, %z: tensor<?x8xf32>, %h: tensor<4xf32>,
                            %w: tensor<8xf32>, %batch: !nemotron.batch) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %y = nemotron.ssm_scan %x, %bc, %bc, %dt, %h, %h of %batch ssm @ssm {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3}
     : (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x6xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  %v = nemotron.ssm_scan %x, %bc, %bc, %dt, %h, %h of %batch ssm @ssm {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3}
     : (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x6xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  %s = nemotron.ssm_skip %y, %x, %h {head_dim = 2} : tensor<?x8xf32>, tensor<4xf32>
  %n = nemotron.gated_rms_norm %s, %z, %w {n_groups = 2, eps = 1.0e-5 : f32} : tensor<?x8xf32>, tensor<8xf32>
  return %n, %v : tensor<?x8xf32>, tensor<?x8xf32>
}

// CHECK-LABEL: @gate_after_scan
// CHECK-NEXT:    %[[V:.*]] = nemotron.ssm_scan %{{.*}} ssm @other
// CHECK-NEXT:    %[[Z:.*]] = nemotron.relu2 %[[V]]
// CHECK-NEXT:    %[[N:.*]] = nemotron.ssm_scan_gated_norm %{{.*}}, %[[Z]], %{{.*}} ssm @ssm
// CHECK-NEXT:    return %[[N]]
func.func @gate_after_scan(%x: tensor<?x8xf32>, %bc: tensor<?x6xf32>, %dt: tensor<?x4xf32>, %h: tensor<4xf32>, %w: tensor<8xf32>,
                           %batch: !nemotron.batch) -> tensor<?x8xf32> {
  %y = nemotron.ssm_scan %x, %bc, %bc, %dt, %h, %h of %batch ssm @ssm {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3}
     : (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x6xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  %v = nemotron.ssm_scan %x, %bc, %bc, %dt, %h, %h of %batch ssm @other {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3}
     : (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x6xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  %z = nemotron.relu2 %v : tensor<?x8xf32>
  %s = nemotron.ssm_skip %y, %x, %h {head_dim = 2} : tensor<?x8xf32>, tensor<4xf32>
  %n = nemotron.gated_rms_norm %s, %z, %w {n_groups = 2, eps = 1.0e-5 : f32} : tensor<?x8xf32>, tensor<8xf32>
  return %n : tensor<?x8xf32>
}

// The gate comes later, and on the way to it the state is used: the scan must not pass.
// CHECK-LABEL: @state_used_before_gate
// CHECK-NEXT:    nemotron.ssm_scan %{{.*}} ssm @ssm
// CHECK-NEXT:    nemotron.ssm_scan %{{.*}} ssm @ssm
// CHECK-NEXT:    nemotron.ssm_skip
// CHECK-NEXT:    nemotron.gated_rms_norm
func.func @state_used_before_gate(%x: tensor<?x8xf32>, %bc: tensor<?x6xf32>, %dt: tensor<?x4xf32>, %h: tensor<4xf32>, %w: tensor<8xf32>,
                                  %batch: !nemotron.batch) -> tensor<?x8xf32> {
  %y = nemotron.ssm_scan %x, %bc, %bc, %dt, %h, %h of %batch ssm @ssm {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3}
     : (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x6xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  %z = nemotron.ssm_scan %x, %bc, %bc, %dt, %h, %h of %batch ssm @ssm {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3}
     : (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x6xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  %s = nemotron.ssm_skip %y, %x, %h {head_dim = 2} : tensor<?x8xf32>, tensor<4xf32>
  %n = nemotron.gated_rms_norm %s, %z, %w {n_groups = 2, eps = 1.0e-5 : f32} : tensor<?x8xf32>, tensor<8xf32>
  return %n : tensor<?x8xf32>
}

// A call does not tell its effects.
func.func private @gate() -> tensor<?x8xf32>

// CHECK-LABEL: @call_before_gate
// CHECK-NOT:     ssm_scan_gated_norm
func.func @call_before_gate(%x: tensor<?x8xf32>, %bc: tensor<?x6xf32>, %dt: tensor<?x4xf32>, %h: tensor<4xf32>, %w: tensor<8xf32>,
                            %batch: !nemotron.batch) -> tensor<?x8xf32> {
  %y = nemotron.ssm_scan %x, %bc, %bc, %dt, %h, %h of %batch ssm @ssm {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3}
     : (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x6xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  %z = call @gate() : () -> tensor<?x8xf32>
  %s = nemotron.ssm_skip %y, %x, %h {head_dim = 2} : tensor<?x8xf32>, tensor<4xf32>
  %n = nemotron.gated_rms_norm %s, %z, %w {n_groups = 2, eps = 1.0e-5 : f32} : tensor<?x8xf32>, tensor<8xf32>
  return %n : tensor<?x8xf32>
}

// CHECK-LABEL: @scan_has_two_uses
// CHECK-NOT:     ssm_scan_gated_norm
func.func @scan_has_two_uses(%x: tensor<?x8xf32>, %bc: tensor<?x6xf32>, %dt: tensor<?x4xf32>, %z: tensor<?x8xf32>, %h: tensor<4xf32>,
                             %w: tensor<8xf32>, %batch: !nemotron.batch) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %y = nemotron.ssm_scan %x, %bc, %bc, %dt, %h, %h of %batch ssm @ssm {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3}
     : (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x6xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  %s = nemotron.ssm_skip %y, %x, %h {head_dim = 2} : tensor<?x8xf32>, tensor<4xf32>
  %n = nemotron.gated_rms_norm %s, %z, %w {n_groups = 2, eps = 1.0e-5 : f32} : tensor<?x8xf32>, tensor<8xf32>
  return %n, %y : tensor<?x8xf32>, tensor<?x8xf32>
}

// CHECK-LABEL: @skip_has_two_uses
// CHECK-NOT:     ssm_scan_gated_norm
func.func @skip_has_two_uses(%x: tensor<?x8xf32>, %bc: tensor<?x6xf32>, %dt: tensor<?x4xf32>, %h: tensor<4xf32>, %w: tensor<8xf32>,
                             %batch: !nemotron.batch) -> tensor<?x8xf32> {
  %y = nemotron.ssm_scan %x, %bc, %bc, %dt, %h, %h of %batch ssm @ssm {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3}
     : (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x6xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  %s = nemotron.ssm_skip %y, %x, %h {head_dim = 2} : tensor<?x8xf32>, tensor<4xf32>
  %n = nemotron.gated_rms_norm %s, %s, %w {n_groups = 2, eps = 1.0e-5 : f32} : tensor<?x8xf32>, tensor<8xf32>
  return %n : tensor<?x8xf32>
}

// CHECK-LABEL: @skip_of_another_value
// CHECK-NOT:     ssm_scan_gated_norm
func.func @skip_of_another_value(%x: tensor<?x8xf32>, %bc: tensor<?x6xf32>, %dt: tensor<?x4xf32>, %z: tensor<?x8xf32>, %h: tensor<4xf32>,
                                 %w: tensor<8xf32>, %batch: !nemotron.batch) -> tensor<?x8xf32> {
  %y = nemotron.ssm_scan %x, %bc, %bc, %dt, %h, %h of %batch ssm @ssm {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3}
     : (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x6xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  %s = nemotron.ssm_skip %y, %z, %h {head_dim = 2} : tensor<?x8xf32>, tensor<4xf32>
  %n = nemotron.gated_rms_norm %s, %z, %w {n_groups = 2, eps = 1.0e-5 : f32} : tensor<?x8xf32>, tensor<8xf32>
  return %n : tensor<?x8xf32>
}

// The norm averages over all channels, the scan has two groups.
// CHECK-LABEL: @different_groups
// CHECK-NOT:     ssm_scan_gated_norm
func.func @different_groups(%x: tensor<?x8xf32>, %bc: tensor<?x6xf32>, %dt: tensor<?x4xf32>, %z: tensor<?x8xf32>, %h: tensor<4xf32>,
                            %w: tensor<8xf32>, %batch: !nemotron.batch) -> tensor<?x8xf32> {
  %y = nemotron.ssm_scan %x, %bc, %bc, %dt, %h, %h of %batch ssm @ssm {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3}
     : (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x6xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  %s = nemotron.ssm_skip %y, %x, %h {head_dim = 2} : tensor<?x8xf32>, tensor<4xf32>
  %n = nemotron.gated_rms_norm %s, %z, %w {n_groups = 1, eps = 1.0e-5 : f32} : tensor<?x8xf32>, tensor<8xf32>
  return %n : tensor<?x8xf32>
}

// CHECK-LABEL: @different_heads
// CHECK-NOT:     ssm_scan_gated_norm
func.func @different_heads(%x: tensor<?x8xf32>, %bc: tensor<?x6xf32>, %dt: tensor<?x4xf32>, %z: tensor<?x8xf32>, %h: tensor<4xf32>,
                           %d: tensor<8xf32>, %w: tensor<8xf32>, %batch: !nemotron.batch) -> tensor<?x8xf32> {
  %y = nemotron.ssm_scan %x, %bc, %bc, %dt, %h, %h of %batch ssm @ssm {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3}
     : (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x6xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  %s = nemotron.ssm_skip %y, %x, %d {head_dim = 1} : tensor<?x8xf32>, tensor<8xf32>
  %n = nemotron.gated_rms_norm %s, %z, %w {n_groups = 2, eps = 1.0e-5 : f32} : tensor<?x8xf32>, tensor<8xf32>
  return %n : tensor<?x8xf32>
}

// CHECK-LABEL: @one_group
// CHECK:         nemotron.ssm_scan_gated_norm %{{.*}} {eps = {{.*}} : f32, head_dim = 2 : i64, n_groups = 1 : i64, num_heads = 4 : i64, state_size = 3 : i64}
func.func @one_group(%x: tensor<?x8xf32>, %bc: tensor<?x3xf32>, %dt: tensor<?x4xf32>, %z: tensor<?x8xf32>, %h: tensor<4xf32>,
                     %w: tensor<8xf32>, %batch: !nemotron.batch) -> tensor<?x8xf32> {
  %y = nemotron.ssm_scan %x, %bc, %bc, %dt, %h, %h of %batch ssm @ssm {num_heads = 4, head_dim = 2, n_groups = 1, state_size = 3}
     : (tensor<?x8xf32>, tensor<?x3xf32>, tensor<?x3xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>, !nemotron.batch) -> tensor<?x8xf32>
  %s = nemotron.ssm_skip %y, %x, %h {head_dim = 2} : tensor<?x8xf32>, tensor<4xf32>
  %n = nemotron.gated_rms_norm %s, %z, %w {n_groups = 1, eps = 1.0e-5 : f32} : tensor<?x8xf32>, tensor<8xf32>
  return %n : tensor<?x8xf32>
}

// LOC: #[[SCAN:.*]] = loc("scan")
// LOC: #[[SKIP:.*]] = loc("skip")
// LOC: #[[NORM:.*]] = loc("norm")
// LOC: #[[FUSED]] = loc(fused[#[[SCAN]], #[[SKIP]], #[[NORM]]])
