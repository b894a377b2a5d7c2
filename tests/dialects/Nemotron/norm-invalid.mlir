// RUN: nemotron-opt %s -split-input-file -verify-diagnostics

func.func @rms_norm_c1(%x: tensor<?x8xf32>, %w: tensor<8xf32>) {
  // expected-error@+1 {{failed to verify that all of {input, result} have same type}}
  %y = "nemotron.rms_norm"(%x, %w) {eps = 1.0e-5 : f32} : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x9xf32>
  return
}

// -----

func.func @rms_norm_c2(%x: tensor<?x8xf32>, %w: tensor<9xf32>) {
  // expected-error@+1 {{weight has 9 elements, input has 8 channels}}
  %y = nemotron.rms_norm %x, %w {eps = 1.0e-5 : f32} : tensor<?x8xf32>, tensor<9xf32>
  return
}

// -----

func.func @add_rms_norm_c1(%x: tensor<?x8xf32>, %d: tensor<?x9xf32>, %w: tensor<8xf32>) {
  // expected-error@+1 {{failed to verify that all of {residual, delta, sum, result} have same type}}
  %s, %y = "nemotron.add_rms_norm"(%x, %d, %w) {eps = 1.0e-5 : f32}
         : (tensor<?x8xf32>, tensor<?x9xf32>, tensor<8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>)
  return
}

// -----

func.func @add_rms_norm_c2(%x: tensor<?x8xf32>, %w: tensor<9xf32>) {
  // expected-error@+1 {{weight has 9 elements, input has 8 channels}}
  %s, %y = nemotron.add_rms_norm %x, %x, %w {eps = 1.0e-5 : f32} : tensor<?x8xf32>, tensor<9xf32>
  return
}

// -----

func.func @layer_norm_c1(%x: tensor<?x8xf32>, %w: tensor<8xf32>) {
  // expected-error@+1 {{failed to verify that all of {input, result} have same type}}
  %y = nemotron.layer_norm %x, %w {eps = 1.0e-5 : f32} : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xbf16>
  return
}

// -----

func.func @layer_norm_c2(%x: tensor<?x8xf32>, %w: tensor<9xf32>) {
  // expected-error@+1 {{weight has 9 elements, input has 8 channels}}
  %y = nemotron.layer_norm %x, %w {eps = 1.0e-5 : f32} : (tensor<?x8xf32>, tensor<9xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @layer_norm_c3(%x: tensor<?x8xf32>, %w: tensor<8xf32>, %b: tensor<7xf32>) {
  // expected-error@+1 {{bias has 7 elements, input has 8 channels}}
  %y = nemotron.layer_norm %x, %w bias %b {eps = 1.0e-5 : f32}
     : (tensor<?x8xf32>, tensor<8xf32>, tensor<7xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @add_layer_norm_c1(%x: tensor<?x8xf32>, %w: tensor<8xf32>) {
  // expected-error@+1 {{failed to verify that all of {residual, delta, sum, result} have same type}}
  %s, %y = nemotron.add_layer_norm %x, %x, %w {eps = 1.0e-5 : f32}
         : (tensor<?x8xf32>, tensor<?x8xf32>, tensor<8xf32>) -> (tensor<?x8xbf16>, tensor<?x8xf32>)
  return
}

// -----

func.func @add_layer_norm_c2(%x: tensor<?x8xf32>, %w: tensor<9xf32>) {
  // expected-error@+1 {{weight has 9 elements, input has 8 channels}}
  %s, %y = nemotron.add_layer_norm %x, %x, %w {eps = 1.0e-5 : f32}
         : (tensor<?x8xf32>, tensor<?x8xf32>, tensor<9xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>)
  return
}

// -----

func.func @add_layer_norm_c3(%x: tensor<?x8xf32>, %w: tensor<8xf32>, %b: tensor<7xf32>) {
  // expected-error@+1 {{bias has 7 elements, input has 8 channels}}
  %s, %y = nemotron.add_layer_norm %x, %x, %w bias %b {eps = 1.0e-5 : f32}
         : (tensor<?x8xf32>, tensor<?x8xf32>, tensor<8xf32>, tensor<7xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>)
  return
}

// -----

func.func @gated_rms_norm_c1(%x: tensor<?x8xf32>, %z: tensor<?x8xbf16>, %w: tensor<8xf32>) {
  // expected-error@+1 {{failed to verify that all of {input, gate, result} have same type}}
  %y = "nemotron.gated_rms_norm"(%x, %z, %w) {n_groups = 4 : i64, eps = 1.0e-5 : f32}
     : (tensor<?x8xf32>, tensor<?x8xbf16>, tensor<8xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @gated_rms_norm_c2(%x: tensor<?x8xf32>, %w: tensor<9xf32>) {
  // expected-error@+1 {{weight has 9 elements, input has 8 channels}}
  %y = nemotron.gated_rms_norm %x, %x, %w {n_groups = 4, eps = 1.0e-5 : f32} : tensor<?x8xf32>, tensor<9xf32>
  return
}

// -----

func.func @gated_rms_norm_c3(%x: tensor<?x10xf32>, %w: tensor<10xf32>) {
  // expected-error@+1 {{has 10 channels, not a multiple of 4 groups}}
  %y = nemotron.gated_rms_norm %x, %x, %w {n_groups = 4, eps = 1.0e-5 : f32} : tensor<?x10xf32>, tensor<10xf32>
  return
}
