// RUN: nemotron-opt %s -split-input-file -verify-diagnostics

func.func @quantize_c1(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{result has 9 channels, input has 8}}
  %q, %s = nemotron.quantize %x {scaling = #nemotron.scaling<token>} : tensor<?x8xf32> -> tensor<?x9xf8E4M3FN>, tensor<?x1xf32>
  return
}

// -----

func.func @quantize_c2_none(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{has no static_scale with scaling static}}
  %q, %s = nemotron.quantize %x {scaling = #nemotron.scaling<static>} : tensor<?x8xf32> -> tensor<?x8xf8E4M3FN>, tensor<?x1xf32>
  return
}

// -----

func.func @quantize_c2_token(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{has a static_scale with scaling token}}
  %q, %s = nemotron.quantize %x {scaling = #nemotron.scaling<token>, static_scale = 0.5 : f32} : tensor<?x8xf32> -> tensor<?x8xf8E4M3FN>, tensor<?x1xf32>
  return
}

// -----

func.func @quantize_c2_step(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{has a static_scale with scaling step}}
  %q, %s = nemotron.quantize %x {scaling = #nemotron.scaling<step>, static_scale = 0.5 : f32} : tensor<?x8xf32> -> tensor<?x8xf8E4M3FN>, tensor<?x1xf32>
  return
}

// -----

func.func @quantize_c2_zero(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{static_scale is 0.000000e+00 : f32, expected a positive, finite number}}
  %q, %s = nemotron.quantize %x {scaling = #nemotron.scaling<static>, static_scale = 0.0 : f32} : tensor<?x8xf32> -> tensor<?x8xf8E4M3FN>, tensor<?x1xf32>
  return
}

// -----

func.func @quantize_c2_nan(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{static_scale is 0x7FC00000 : f32, expected a positive, finite number}}
  %q, %s = nemotron.quantize %x {scaling = #nemotron.scaling<static>, static_scale = 0x7FC00000 : f32} : tensor<?x8xf32> -> tensor<?x8xf8E4M3FN>, tensor<?x1xf32>
  return
}

// -----

func.func @quantize_c3(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{activation is silu, expected none or relu2}}
  %q, %s = nemotron.quantize %x {scaling = #nemotron.scaling<token>, activation = #nemotron.activation<silu>} : tensor<?x8xf32> -> tensor<?x8xf8E4M3FN>, tensor<?x1xf32>
  return
}

// -----

func.func @quantize_scale_type(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{result #1 must be scales of rows [T, 1] of f32 values, but got 'tensor<?x8xf32>'}}
  %q, %s = nemotron.quantize %x {scaling = #nemotron.scaling<token>} : tensor<?x8xf32> -> tensor<?x8xf8E4M3FN>, tensor<?x8xf32>
  return
}

// -----

func.func @scaled_matmul_c1(%q: tensor<?x8xf8E4M3FN>, %s: tensor<?x1xf32>, %w: tensor<6x7xf8E4M3FN>, %ws: tensor<1xf32>) {
  // expected-error@+1 {{input has 8 channels, weight takes 7}}
  %y = nemotron.scaled_matmul %q scaled %s, %w scaled %ws : (tensor<?x8xf8E4M3FN>, tensor<?x1xf32>, tensor<6x7xf8E4M3FN>, tensor<1xf32>) -> tensor<?x6xf32>
  return
}

// -----

func.func @scaled_matmul_c2(%q: tensor<?x8xf8E4M3FN>, %s: tensor<?x1xf32>, %w: tensor<6x8xf8E4M3FN>, %ws: tensor<1xf32>) {
  // expected-error@+1 {{result has 5 channels, weight gives 6}}
  %y = nemotron.scaled_matmul %q scaled %s, %w scaled %ws : (tensor<?x8xf8E4M3FN>, tensor<?x1xf32>, tensor<6x8xf8E4M3FN>, tensor<1xf32>) -> tensor<?x5xf32>
  return
}

// -----

func.func @scaled_matmul_c3(%q: tensor<?x8xf8E4M3FN>, %s: tensor<?x1xf32>, %w: tensor<6x8xf8E4M3FN>, %ws: tensor<1xf32>, %b: tensor<5xf32>) {
  // expected-error@+1 {{bias has 5 elements, weight gives 6 channels}}
  %y = nemotron.scaled_matmul %q scaled %s, %w scaled %ws bias %b : (tensor<?x8xf8E4M3FN>, tensor<?x1xf32>, tensor<6x8xf8E4M3FN>, tensor<1xf32>, tensor<5xf32>) -> tensor<?x6xf32>
  return
}

// -----

func.func @scaled_matmul_c4(%q: tensor<?x8xf8E4M3FN>, %s: tensor<?x1xf32>, %w: tensor<6x8xf8E4M3FN>, %ws: tensor<8xf32>) {
  // expected-error@+1 {{weight_scale is 'tensor<8xf32>', expected shape [1] or [6]}}
  %y = nemotron.scaled_matmul %q scaled %s, %w scaled %ws : (tensor<?x8xf8E4M3FN>, tensor<?x1xf32>, tensor<6x8xf8E4M3FN>, tensor<8xf32>) -> tensor<?x6xf32>
  return
}

// -----

func.func @scaled_matmul_c5_without(%q: tensor<?x8xf8E4M3FN>, %s: tensor<?x1xf32>, %w: tensor<6x8xf8E4M3FN>, %ws: tensor<1xf32>) {
  // expected-error@+1 {{has an input of 'f8E4M3FN' without input_scale}}
  %y = nemotron.scaled_matmul %q, %w scaled %ws : (tensor<?x8xf8E4M3FN>, tensor<6x8xf8E4M3FN>, tensor<1xf32>) -> tensor<?x6xf32>
  return
}

// -----

func.func @scaled_matmul_c5_with(%q: tensor<?x8xf8E4M3FN>, %s: tensor<?x1xf32>, %w: tensor<6x8xf8E4M3FN>, %ws: tensor<1xf32>, %x: tensor<?x8xf32>) {
  // expected-error@+1 {{has an input of 'f32' with input_scale}}
  %y = nemotron.scaled_matmul %x scaled %s, %w scaled %ws : (tensor<?x8xf32>, tensor<?x1xf32>, tensor<6x8xf8E4M3FN>, tensor<1xf32>) -> tensor<?x6xf32>
  return
}

// -----

func.func @scaled_matmul_c6(%q: tensor<?x8xf8E4M3FN>, %s: tensor<?x1xf32>, %w: tensor<6x8xf8E4M3FN>, %ws: tensor<1xf32>) {
  // expected-error@+1 {{activation is silu, expected none or relu2}}
  %y = nemotron.scaled_matmul %q scaled %s, %w scaled %ws {activation = #nemotron.activation<silu>} : (tensor<?x8xf8E4M3FN>, tensor<?x1xf32>, tensor<6x8xf8E4M3FN>, tensor<1xf32>) -> tensor<?x6xf32>
  return
}

// -----

func.func @scaled_matmul_c4_groups(%q: tensor<?x8xi8>, %s: tensor<?x1xf32>, %w: tensor<6x8xi8>, %ws: tensor<6x3xf32>) {
  // expected-error@+1 {{weight_scale is 'tensor<6x3xf32>', expected shape [1], [6] or [6, G], G a divisor of 8}}
  %y = nemotron.scaled_matmul %q scaled %s, %w scaled %ws : (tensor<?x8xi8>, tensor<?x1xf32>, tensor<6x8xi8>, tensor<6x3xf32>) -> tensor<?x6xf32>
  return
}

// -----

func.func @scaled_matmul_c4_groups_of_floats(%q: tensor<?x8xf8E4M3FN>, %s: tensor<?x1xf32>, %w: tensor<6x8xf8E4M3FN>, %ws: tensor<6x2xf32>) {
  // expected-error@+1 {{weight_scale is 'tensor<6x2xf32>', expected shape [1] or [6]}}
  %y = nemotron.scaled_matmul %q scaled %s, %w scaled %ws : (tensor<?x8xf8E4M3FN>, tensor<?x1xf32>, tensor<6x8xf8E4M3FN>, tensor<6x2xf32>) -> tensor<?x6xf32>
  return
}

// -----

func.func @scaled_moe_experts_c4_groups(%x: tensor<?x8xf32>, %i: tensor<?x2xi32>, %p: tensor<?x2xf32>, %u: tensor<4x6x8xi8>,
                                        %us: tensor<4x6x4xf32>, %d: tensor<4x8x6xi8>, %ds: tensor<4x8x4xf32>) {
  // expected-error@+1 {{down_scale is 'tensor<4x8x4xf32>', expected shape [4, 1], [4, 8] or [4, 8, G], G a divisor of 6}}
  %y = nemotron.scaled_moe_experts %x, %i, %p, %u scaled %us, %d scaled %ds
     : (tensor<?x8xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<4x6x8xi8>,
        tensor<4x6x4xf32>, tensor<4x8x6xi8>, tensor<4x8x4xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @scaled_matmul_c7(%q: tensor<?x8xf8E4M3FN>, %s: tensor<?x1xf32>, %w: tensor<6x8xi8>, %ws: tensor<6xf32>) {
  // expected-error@+1 {{multiplies 'f8E4M3FN' by 'i8', expected one type}}
  %y = nemotron.scaled_matmul %q scaled %s, %w scaled %ws : (tensor<?x8xf8E4M3FN>, tensor<?x1xf32>, tensor<6x8xi8>, tensor<6xf32>) -> tensor<?x6xf32>
  return
}

// -----

func.func @scaled_matmul_c7_weight_only(%x: tensor<?x8xf32>, %w: tensor<6x8xi8>, %ws: tensor<6xf32>) {
  // expected-error@+1 {{multiplies 'f32' by 'i8', expected a weight of f8E4M3FN}}
  %y = nemotron.scaled_matmul %x, %w scaled %ws : (tensor<?x8xf32>, tensor<6x8xi8>, tensor<6xf32>) -> tensor<?x6xf32>
  return
}

// -----

func.func @scaled_matmul_weight_type(%q: tensor<?x8xf8E4M3FN>, %s: tensor<?x1xf32>, %w: tensor<6x8xbf16>, %ws: tensor<1xf32>) {
  // expected-error@+1 {{must be matrix [out, in] of static shape of f8E4M3FN or i8 values, but got 'tensor<6x8xbf16>'}}
  %y = nemotron.scaled_matmul %q scaled %s, %w scaled %ws : (tensor<?x8xf8E4M3FN>, tensor<?x1xf32>, tensor<6x8xbf16>, tensor<1xf32>) -> tensor<?x6xf32>
  return
}

// -----

func.func @scaled_moe_experts_c7(%x: tensor<?x8xf32>, %i: tensor<?x2xi32>, %p: tensor<?x2xf32>, %u: tensor<4x6x8xi8>,
                                 %us: tensor<4x1xf32>, %d: tensor<4x8x6xf8E4M3FN>, %ds: tensor<4x1xf32>) {
  // expected-error@+1 {{has up of 'i8' and down of 'f8E4M3FN', expected one type}}
  %y = nemotron.scaled_moe_experts %x, %i, %p, %u scaled %us, %d scaled %ds
     : (tensor<?x8xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<4x6x8xi8>,
        tensor<4x1xf32>, tensor<4x8x6xf8E4M3FN>, tensor<4x1xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @scaled_moe_experts_c7_weight_only(%x: tensor<?x8xf32>, %i: tensor<?x2xi32>, %p: tensor<?x2xf32>,
                                             %u: tensor<4x6x8xi8>, %us: tensor<4x1xf32>, %d: tensor<4x8x6xi8>, %ds: tensor<4x1xf32>) {
  // expected-error@+1 {{has up of 'i8' and down of 'i8', expected f8E4M3FN with weight_only}}
  %y = nemotron.scaled_moe_experts %x, %i, %p, %u scaled %us, %d scaled %ds {weight_only}
     : (tensor<?x8xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<4x6x8xi8>,
        tensor<4x1xf32>, tensor<4x8x6xi8>, tensor<4x1xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @scaled_moe_experts_c1_up(%x: tensor<?x7xf32>, %i: tensor<?x2xi32>, %p: tensor<?x2xf32>, %u: tensor<4x6x8xf8E4M3FN>,
                                    %us: tensor<4x1xf32>, %d: tensor<4x8x6xf8E4M3FN>, %ds: tensor<4x1xf32>) {
  // expected-error@+1 {{input has 7 channels, up takes 8}}
  %y = nemotron.scaled_moe_experts %x, %i, %p, %u scaled %us, %d scaled %ds
     : (tensor<?x7xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<4x6x8xf8E4M3FN>,
        tensor<4x1xf32>, tensor<4x8x6xf8E4M3FN>, tensor<4x1xf32>) -> tensor<?x7xf32>
  return
}

// -----

func.func @scaled_moe_experts_c1_down(%x: tensor<?x8xf32>, %i: tensor<?x2xi32>, %p: tensor<?x2xf32>, %u: tensor<4x6x8xf8E4M3FN>,
                                      %us: tensor<4x1xf32>, %d: tensor<4x6x8xf8E4M3FN>, %ds: tensor<4x1xf32>) {
  // expected-error@+1 {{down is 'tensor<4x6x8xf8E4M3FN>', expected shape [4, 8, 6] to go with up, 'tensor<4x6x8xf8E4M3FN>'}}
  %y = nemotron.scaled_moe_experts %x, %i, %p, %u scaled %us, %d scaled %ds
     : (tensor<?x8xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<4x6x8xf8E4M3FN>,
        tensor<4x1xf32>, tensor<4x6x8xf8E4M3FN>, tensor<4x1xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @scaled_moe_experts_c2(%x: tensor<?x8xf32>, %i: tensor<?x2xi32>, %p: tensor<?x2xf32>, %u: tensor<4x6x8xf8E4M3FN>,
                                 %us: tensor<4x1xf32>, %d: tensor<4x8x6xf8E4M3FN>, %ds: tensor<4x1xf32>) {
  // expected-error@+1 {{result is 'tensor<?x8xbf16>', expected the type of input, 'tensor<?x8xf32>'}}
  %y = nemotron.scaled_moe_experts %x, %i, %p, %u scaled %us, %d scaled %ds
     : (tensor<?x8xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<4x6x8xf8E4M3FN>,
        tensor<4x1xf32>, tensor<4x8x6xf8E4M3FN>, tensor<4x1xf32>) -> tensor<?x8xbf16>
  return
}

// -----

func.func @scaled_moe_experts_c3(%x: tensor<?x8xf32>, %i: tensor<?x2xi32>, %p: tensor<?x3xf32>, %u: tensor<4x6x8xf8E4M3FN>,
                                 %us: tensor<4x1xf32>, %d: tensor<4x8x6xf8E4M3FN>, %ds: tensor<4x1xf32>) {
  // expected-error@+1 {{has 2 indices a token, but 3 weights}}
  %y = nemotron.scaled_moe_experts %x, %i, %p, %u scaled %us, %d scaled %ds
     : (tensor<?x8xf32>, tensor<?x2xi32>, tensor<?x3xf32>, tensor<4x6x8xf8E4M3FN>,
        tensor<4x1xf32>, tensor<4x8x6xf8E4M3FN>, tensor<4x1xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @scaled_moe_experts_c4_up(%x: tensor<?x8xf32>, %i: tensor<?x2xi32>, %p: tensor<?x2xf32>, %u: tensor<4x6x8xf8E4M3FN>,
                                    %us: tensor<4x8xf32>, %d: tensor<4x8x6xf8E4M3FN>, %ds: tensor<4x1xf32>) {
  // expected-error@+1 {{up_scale is 'tensor<4x8xf32>', expected shape [4, 1] or [4, 6]}}
  %y = nemotron.scaled_moe_experts %x, %i, %p, %u scaled %us, %d scaled %ds
     : (tensor<?x8xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<4x6x8xf8E4M3FN>,
        tensor<4x8xf32>, tensor<4x8x6xf8E4M3FN>, tensor<4x1xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @scaled_moe_experts_c4_down(%x: tensor<?x8xf32>, %i: tensor<?x2xi32>, %p: tensor<?x2xf32>, %u: tensor<4x6x8xf8E4M3FN>,
                                      %us: tensor<4x1xf32>, %d: tensor<4x8x6xf8E4M3FN>, %ds: tensor<1x8xf32>) {
  // expected-error@+1 {{down_scale is 'tensor<1x8xf32>', expected shape [4, 1] or [4, 8]}}
  %y = nemotron.scaled_moe_experts %x, %i, %p, %u scaled %us, %d scaled %ds
     : (tensor<?x8xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<4x6x8xf8E4M3FN>,
        tensor<4x1xf32>, tensor<4x8x6xf8E4M3FN>, tensor<1x8xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @scaled_moe_experts_c5_up(%x: tensor<?x8xf32>, %i: tensor<?x2xi32>, %p: tensor<?x2xf32>, %u: tensor<4x6x8xf8E4M3FN>,
                                    %us: tensor<4x1xf32>, %d: tensor<4x8x6xf8E4M3FN>, %ds: tensor<4x1xf32>, %ui: tensor<3xf32>) {
  // expected-error@+1 {{up_input_scale has 3 elements, expected one for each of 4 experts}}
  %y = nemotron.scaled_moe_experts %x, %i, %p, %u scaled %us, %d scaled %ds up_input %ui
     : (tensor<?x8xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<4x6x8xf8E4M3FN>,
        tensor<4x1xf32>, tensor<4x8x6xf8E4M3FN>, tensor<4x1xf32>, tensor<3xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @scaled_moe_experts_c5_down(%x: tensor<?x8xf32>, %i: tensor<?x2xi32>, %p: tensor<?x2xf32>, %u: tensor<4x6x8xf8E4M3FN>,
                                      %us: tensor<4x1xf32>, %d: tensor<4x8x6xf8E4M3FN>, %ds: tensor<4x1xf32>, %di: tensor<1xf32>) {
  // expected-error@+1 {{down_input_scale has 1 elements, expected one for each of 4 experts}}
  %y = nemotron.scaled_moe_experts %x, %i, %p, %u scaled %us, %d scaled %ds down_input %di
     : (tensor<?x8xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<4x6x8xf8E4M3FN>,
        tensor<4x1xf32>, tensor<4x8x6xf8E4M3FN>, tensor<4x1xf32>, tensor<1xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @scaled_moe_experts_c6_up(%x: tensor<?x8xf32>, %i: tensor<?x2xi32>, %p: tensor<?x2xf32>, %u: tensor<4x6x8xf8E4M3FN>,
                                    %us: tensor<4x1xf32>, %d: tensor<4x8x6xf8E4M3FN>, %ds: tensor<4x1xf32>, %ui: tensor<4xf32>) {
  // expected-error@+1 {{up_input_scale is there, but weight_only says that inputs are not quantized}}
  %y = nemotron.scaled_moe_experts %x, %i, %p, %u scaled %us, %d scaled %ds up_input %ui {weight_only}
     : (tensor<?x8xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<4x6x8xf8E4M3FN>,
        tensor<4x1xf32>, tensor<4x8x6xf8E4M3FN>, tensor<4x1xf32>, tensor<4xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @scaled_moe_experts_c6_down(%x: tensor<?x8xf32>, %i: tensor<?x2xi32>, %p: tensor<?x2xf32>, %u: tensor<4x6x8xf8E4M3FN>,
                                      %us: tensor<4x1xf32>, %d: tensor<4x8x6xf8E4M3FN>, %ds: tensor<4x1xf32>, %di: tensor<4xf32>) {
  // expected-error@+1 {{down_input_scale is there, but weight_only says that inputs are not quantized}}
  %y = nemotron.scaled_moe_experts %x, %i, %p, %u scaled %us, %d scaled %ds down_input %di {weight_only}
     : (tensor<?x8xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<4x6x8xf8E4M3FN>,
        tensor<4x1xf32>, tensor<4x8x6xf8E4M3FN>, tensor<4x1xf32>, tensor<4xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @rms_norm_quantize_c1(%x: tensor<?x8xf32>, %w: tensor<9xf32>) {
  // expected-error@+1 {{weight has 9 elements, input has 8 channels}}
  %y:2 = nemotron.rms_norm_quantize %x, %w {eps = 1.0e-5 : f32, scaling = #nemotron.scaling<token>}
       : (tensor<?x8xf32>, tensor<9xf32>) -> (tensor<?x8xf8E4M3FN>, tensor<?x1xf32>)
  return
}

// -----

func.func @rms_norm_quantize_c2(%x: tensor<?x8xf32>, %w: tensor<8xf32>) {
  // expected-error@+1 {{result has 9 channels, input has 8}}
  %y:2 = nemotron.rms_norm_quantize %x, %w {eps = 1.0e-5 : f32, scaling = #nemotron.scaling<token>}
       : (tensor<?x8xf32>, tensor<8xf32>) -> (tensor<?x9xf8E4M3FN>, tensor<?x1xf32>)
  return
}

// -----

func.func @rms_norm_quantize_c3_step(%x: tensor<?x8xf32>, %w: tensor<8xf32>) {
  // expected-error@+1 {{has scaling step, expected token or static: a norm knows one row}}
  %y:2 = nemotron.rms_norm_quantize %x, %w {eps = 1.0e-5 : f32, scaling = #nemotron.scaling<step>}
       : (tensor<?x8xf32>, tensor<8xf32>) -> (tensor<?x8xf8E4M3FN>, tensor<?x1xf32>)
  return
}

// -----

func.func @rms_norm_quantize_c3_none(%x: tensor<?x8xf32>, %w: tensor<8xf32>) {
  // expected-error@+1 {{has no static_scale with scaling static}}
  %y:2 = nemotron.rms_norm_quantize %x, %w {eps = 1.0e-5 : f32, scaling = #nemotron.scaling<static>}
       : (tensor<?x8xf32>, tensor<8xf32>) -> (tensor<?x8xf8E4M3FN>, tensor<?x1xf32>)
  return
}

// -----

func.func @rms_norm_quantize_c3_scale(%x: tensor<?x8xf32>, %w: tensor<8xf32>) {
  // expected-error@+1 {{static_scale is -5.000000e-01 : f32, expected a positive, finite number}}
  %y:2 = nemotron.rms_norm_quantize %x, %w {eps = 1.0e-5 : f32, scaling = #nemotron.scaling<static>, static_scale = -0.5 : f32}
       : (tensor<?x8xf32>, tensor<8xf32>) -> (tensor<?x8xf8E4M3FN>, tensor<?x1xf32>)
  return
}

// -----

func.func @add_rms_norm_quantize_c1(%x: tensor<?x8xf32>, %d: tensor<?x8xf32>, %w: tensor<9xf32>) {
  // expected-error@+1 {{weight has 9 elements, input has 8 channels}}
  %y:3 = nemotron.add_rms_norm_quantize %x, %d, %w {eps = 1.0e-5 : f32, scaling = #nemotron.scaling<token>}
       : (tensor<?x8xf32>, tensor<?x8xf32>, tensor<9xf32>) -> (tensor<?x8xf32>, tensor<?x8xf8E4M3FN>, tensor<?x1xf32>)
  return
}

// -----

func.func @add_rms_norm_quantize_c2(%x: tensor<?x8xf32>, %d: tensor<?x8xf32>, %w: tensor<8xf32>) {
  // expected-error@+1 {{result has 9 channels, input has 8}}
  %y:3 = nemotron.add_rms_norm_quantize %x, %d, %w {eps = 1.0e-5 : f32, scaling = #nemotron.scaling<token>}
       : (tensor<?x8xf32>, tensor<?x8xf32>, tensor<8xf32>) -> (tensor<?x8xf32>, tensor<?x9xf8E4M3FN>, tensor<?x1xf32>)
  return
}

// -----

func.func @add_rms_norm_quantize_c3_step(%x: tensor<?x8xf32>, %d: tensor<?x8xf32>, %w: tensor<8xf32>) {
  // expected-error@+1 {{has scaling step, expected token or static: a norm knows one row}}
  %y:3 = nemotron.add_rms_norm_quantize %x, %d, %w {eps = 1.0e-5 : f32, scaling = #nemotron.scaling<step>}
       : (tensor<?x8xf32>, tensor<?x8xf32>, tensor<8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf8E4M3FN>, tensor<?x1xf32>)
  return
}

// -----

func.func @add_rms_norm_quantize_c3_none(%x: tensor<?x8xf32>, %d: tensor<?x8xf32>, %w: tensor<8xf32>) {
  // expected-error@+1 {{has no static_scale with scaling static}}
  %y:3 = nemotron.add_rms_norm_quantize %x, %d, %w {eps = 1.0e-5 : f32, scaling = #nemotron.scaling<static>}
       : (tensor<?x8xf32>, tensor<?x8xf32>, tensor<8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf8E4M3FN>, tensor<?x1xf32>)
  return
}

// -----

func.func @add_rms_norm_quantize_c3_scale(%x: tensor<?x8xf32>, %d: tensor<?x8xf32>, %w: tensor<8xf32>) {
  // expected-error@+1 {{static_scale is -5.000000e-01 : f32, expected a positive, finite number}}
  %y:3 = nemotron.add_rms_norm_quantize %x, %d, %w {eps = 1.0e-5 : f32, scaling = #nemotron.scaling<static>, static_scale = -0.5 : f32}
       : (tensor<?x8xf32>, tensor<?x8xf32>, tensor<8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf8E4M3FN>, tensor<?x1xf32>)
  return
}

// -----

func.func @add_rms_norm_quantize_c4_delta(%x: tensor<?x8xf32>, %d: tensor<?x9xf32>, %w: tensor<8xf32>) {
  // expected-error@+1 {{delta is 'tensor<?x9xf32>', expected the type of residual, 'tensor<?x8xf32>'}}
  %y:3 = nemotron.add_rms_norm_quantize %x, %d, %w {eps = 1.0e-5 : f32, scaling = #nemotron.scaling<token>}
       : (tensor<?x8xf32>, tensor<?x9xf32>, tensor<8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf8E4M3FN>, tensor<?x1xf32>)
  return
}

// -----

func.func @add_rms_norm_quantize_c4_sum(%x: tensor<?x8xf32>, %d: tensor<?x8xf32>, %w: tensor<8xf32>) {
  // expected-error@+1 {{sum is 'tensor<?x9xf32>', expected the type of residual, 'tensor<?x8xf32>'}}
  %y:3 = nemotron.add_rms_norm_quantize %x, %d, %w {eps = 1.0e-5 : f32, scaling = #nemotron.scaling<token>}
       : (tensor<?x8xf32>, tensor<?x8xf32>, tensor<8xf32>) -> (tensor<?x9xf32>, tensor<?x8xf8E4M3FN>, tensor<?x1xf32>)
  return
}

// -----

func.func @layer_norm_quantize_c1(%x: tensor<?x8xf32>, %w: tensor<9xf32>) {
  // expected-error@+1 {{weight has 9 elements, input has 8 channels}}
  %y:2 = nemotron.layer_norm_quantize %x, %w {eps = 1.0e-5 : f32, scaling = #nemotron.scaling<token>}
       : (tensor<?x8xf32>, tensor<9xf32>) -> (tensor<?x8xf8E4M3FN>, tensor<?x1xf32>)
  return
}

// -----

func.func @layer_norm_quantize_c1_bias(%x: tensor<?x8xf32>, %w: tensor<8xf32>, %b: tensor<7xf32>) {
  // expected-error@+1 {{bias has 7 elements, input has 8 channels}}
  %y:2 = nemotron.layer_norm_quantize %x, %w bias %b {eps = 1.0e-5 : f32, scaling = #nemotron.scaling<token>}
       : (tensor<?x8xf32>, tensor<8xf32>, tensor<7xf32>) -> (tensor<?x8xf8E4M3FN>, tensor<?x1xf32>)
  return
}

// -----

func.func @layer_norm_quantize_c2(%x: tensor<?x8xf32>, %w: tensor<8xf32>) {
  // expected-error@+1 {{result has 9 channels, input has 8}}
  %y:2 = nemotron.layer_norm_quantize %x, %w {eps = 1.0e-5 : f32, scaling = #nemotron.scaling<token>}
       : (tensor<?x8xf32>, tensor<8xf32>) -> (tensor<?x9xf8E4M3FN>, tensor<?x1xf32>)
  return
}

// -----

func.func @layer_norm_quantize_c3_step(%x: tensor<?x8xf32>, %w: tensor<8xf32>) {
  // expected-error@+1 {{has scaling step, expected token or static: a norm knows one row}}
  %y:2 = nemotron.layer_norm_quantize %x, %w {eps = 1.0e-5 : f32, scaling = #nemotron.scaling<step>}
       : (tensor<?x8xf32>, tensor<8xf32>) -> (tensor<?x8xf8E4M3FN>, tensor<?x1xf32>)
  return
}

// -----

func.func @layer_norm_quantize_c3_none(%x: tensor<?x8xf32>, %w: tensor<8xf32>) {
  // expected-error@+1 {{has no static_scale with scaling static}}
  %y:2 = nemotron.layer_norm_quantize %x, %w {eps = 1.0e-5 : f32, scaling = #nemotron.scaling<static>}
       : (tensor<?x8xf32>, tensor<8xf32>) -> (tensor<?x8xf8E4M3FN>, tensor<?x1xf32>)
  return
}

// -----

func.func @layer_norm_quantize_c3_scale(%x: tensor<?x8xf32>, %w: tensor<8xf32>) {
  // expected-error@+1 {{static_scale is -5.000000e-01 : f32, expected a positive, finite number}}
  %y:2 = nemotron.layer_norm_quantize %x, %w {eps = 1.0e-5 : f32, scaling = #nemotron.scaling<static>, static_scale = -0.5 : f32}
       : (tensor<?x8xf32>, tensor<8xf32>) -> (tensor<?x8xf8E4M3FN>, tensor<?x1xf32>)
  return
}

// -----

func.func @add_layer_norm_quantize_c1(%x: tensor<?x8xf32>, %d: tensor<?x8xf32>, %w: tensor<9xf32>) {
  // expected-error@+1 {{weight has 9 elements, input has 8 channels}}
  %y:3 = nemotron.add_layer_norm_quantize %x, %d, %w {eps = 1.0e-5 : f32, scaling = #nemotron.scaling<token>}
       : (tensor<?x8xf32>, tensor<?x8xf32>, tensor<9xf32>) -> (tensor<?x8xf32>, tensor<?x8xf8E4M3FN>, tensor<?x1xf32>)
  return
}

// -----

func.func @add_layer_norm_quantize_c1_bias(%x: tensor<?x8xf32>, %d: tensor<?x8xf32>, %w: tensor<8xf32>, %b: tensor<7xf32>) {
  // expected-error@+1 {{bias has 7 elements, input has 8 channels}}
  %y:3 = nemotron.add_layer_norm_quantize %x, %d, %w bias %b {eps = 1.0e-5 : f32, scaling = #nemotron.scaling<token>}
       : (tensor<?x8xf32>, tensor<?x8xf32>, tensor<8xf32>, tensor<7xf32>) -> (tensor<?x8xf32>, tensor<?x8xf8E4M3FN>, tensor<?x1xf32>)
  return
}

// -----

func.func @add_layer_norm_quantize_c2(%x: tensor<?x8xf32>, %d: tensor<?x8xf32>, %w: tensor<8xf32>) {
  // expected-error@+1 {{result has 9 channels, input has 8}}
  %y:3 = nemotron.add_layer_norm_quantize %x, %d, %w {eps = 1.0e-5 : f32, scaling = #nemotron.scaling<token>}
       : (tensor<?x8xf32>, tensor<?x8xf32>, tensor<8xf32>) -> (tensor<?x8xf32>, tensor<?x9xf8E4M3FN>, tensor<?x1xf32>)
  return
}

// -----

func.func @add_layer_norm_quantize_c3_step(%x: tensor<?x8xf32>, %d: tensor<?x8xf32>, %w: tensor<8xf32>) {
  // expected-error@+1 {{has scaling step, expected token or static: a norm knows one row}}
  %y:3 = nemotron.add_layer_norm_quantize %x, %d, %w {eps = 1.0e-5 : f32, scaling = #nemotron.scaling<step>}
       : (tensor<?x8xf32>, tensor<?x8xf32>, tensor<8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf8E4M3FN>, tensor<?x1xf32>)
  return
}

// -----

func.func @add_layer_norm_quantize_c3_none(%x: tensor<?x8xf32>, %d: tensor<?x8xf32>, %w: tensor<8xf32>) {
  // expected-error@+1 {{has no static_scale with scaling static}}
  %y:3 = nemotron.add_layer_norm_quantize %x, %d, %w {eps = 1.0e-5 : f32, scaling = #nemotron.scaling<static>}
       : (tensor<?x8xf32>, tensor<?x8xf32>, tensor<8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf8E4M3FN>, tensor<?x1xf32>)
  return
}

// -----

func.func @add_layer_norm_quantize_c3_scale(%x: tensor<?x8xf32>, %d: tensor<?x8xf32>, %w: tensor<8xf32>) {
  // expected-error@+1 {{static_scale is -5.000000e-01 : f32, expected a positive, finite number}}
  %y:3 = nemotron.add_layer_norm_quantize %x, %d, %w {eps = 1.0e-5 : f32, scaling = #nemotron.scaling<static>, static_scale = -0.5 : f32}
       : (tensor<?x8xf32>, tensor<?x8xf32>, tensor<8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf8E4M3FN>, tensor<?x1xf32>)
  return
}

// -----

func.func @add_layer_norm_quantize_c4_delta(%x: tensor<?x8xf32>, %d: tensor<?x9xf32>, %w: tensor<8xf32>) {
  // expected-error@+1 {{delta is 'tensor<?x9xf32>', expected the type of residual, 'tensor<?x8xf32>'}}
  %y:3 = nemotron.add_layer_norm_quantize %x, %d, %w {eps = 1.0e-5 : f32, scaling = #nemotron.scaling<token>}
       : (tensor<?x8xf32>, tensor<?x9xf32>, tensor<8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf8E4M3FN>, tensor<?x1xf32>)
  return
}

// -----

func.func @add_layer_norm_quantize_c4_sum(%x: tensor<?x8xf32>, %d: tensor<?x8xf32>, %w: tensor<8xf32>) {
  // expected-error@+1 {{sum is 'tensor<?x9xf32>', expected the type of residual, 'tensor<?x8xf32>'}}
  %y:3 = nemotron.add_layer_norm_quantize %x, %d, %w {eps = 1.0e-5 : f32, scaling = #nemotron.scaling<token>}
       : (tensor<?x8xf32>, tensor<?x8xf32>, tensor<8xf32>) -> (tensor<?x9xf32>, tensor<?x8xf8E4M3FN>, tensor<?x1xf32>)
  return
}

// -----

func.func @absmax_scale_c1_shape(%w: tensor<6x8xbf16>) {
  // expected-error@+1 {{result is 'tensor<8xf32>', expected shape [1], [6] or [6, G], G a divisor of 8}}
  %s = nemotron.absmax_scale %w : tensor<6x8xbf16> to tensor<8xf32>
  return
}

// -----

func.func @absmax_scale_c1_stack(%w: tensor<4x6x8xbf16>) {
  // expected-error@+1 {{result is 'tensor<4xf32>', expected shape [4, 1], [4, 6] or [4, 6, G], G a divisor of 8}}
  %s = nemotron.absmax_scale %w : tensor<4x6x8xbf16> to tensor<4xf32>
  return
}

// -----

func.func @absmax_scale_c1_type(%w: tensor<6x8xbf16>) {
  // expected-error@+1 {{scales 'tensor<6x8xbf16>' by 'tensor<1xbf16>', expected a matrix or a stack of matrices, and elements of f32}}
  %s = nemotron.absmax_scale %w : tensor<6x8xbf16> to tensor<1xbf16>
  return
}

// -----

func.func @absmax_scale_c1_rank(%w: tensor<8xbf16>) {
  // expected-error@+1 {{scales 'tensor<8xbf16>' by 'tensor<1xf32>', expected a matrix or a stack of matrices, and elements of f32}}
  %s = nemotron.absmax_scale %w : tensor<8xbf16> to tensor<1xf32>
  return
}

// -----

func.func @absmax_scale_c2(%w: tensor<6x8xbf16>) {
  // expected-error@+1 {{largest is 0.000000e+00 : f32, expected a positive, finite number}}
  %s = nemotron.absmax_scale %w {largest = 0.0 : f32} : tensor<6x8xbf16> to tensor<1xf32>
  return
}

// -----

func.func @quantize_weight_c1_shape(%w: tensor<6x8xbf16>, %s: tensor<1xf32>) {
  // expected-error@+1 {{result is 'tensor<8x6xf8E4M3FN>', expected f8E4M3FN or i8 in the shape of input, 'tensor<6x8xbf16>'}}
  %q = nemotron.quantize_weight %w, %s : (tensor<6x8xbf16>, tensor<1xf32>) -> tensor<8x6xf8E4M3FN>
  return
}

// -----

func.func @quantize_weight_c1_type(%w: tensor<6x8xbf16>, %s: tensor<1xf32>) {
  // expected-error@+1 {{result is 'tensor<6x8xf16>', expected f8E4M3FN or i8 in the shape of input, 'tensor<6x8xbf16>'}}
  %q = nemotron.quantize_weight %w, %s : (tensor<6x8xbf16>, tensor<1xf32>) -> tensor<6x8xf16>
  return
}

// -----

func.func @quantize_weight_c2_shape(%w: tensor<6x8xbf16>, %s: tensor<6x3xf32>) {
  // expected-error@+1 {{scale is 'tensor<6x3xf32>', expected shape [1], [6] or [6, G], G a divisor of 8}}
  %q = nemotron.quantize_weight %w, %s : (tensor<6x8xbf16>, tensor<6x3xf32>) -> tensor<6x8xf8E4M3FN>
  return
}

// -----

func.func @quantize_weight_c2_type(%w: tensor<6x8xbf16>, %s: tensor<6xf16>) {
  // expected-error@+1 {{scales 'tensor<6x8xbf16>' by 'tensor<6xf16>', expected a matrix or a stack of matrices, and elements of f32}}
  %q = nemotron.quantize_weight %w, %s : (tensor<6x8xbf16>, tensor<6xf16>) -> tensor<6x8xf8E4M3FN>
  return
}

// -----

func.func @dequantize_c1_input(%w: tensor<6x8xbf16>, %s: tensor<1xf32>) {
  // expected-error@+1 {{turns 'tensor<6x8xbf16>' into 'tensor<6x8xf32>', expected f8E4M3FN into f32 of that shape}}
  %q = nemotron.dequantize %w, %s : (tensor<6x8xbf16>, tensor<1xf32>) -> tensor<6x8xf32>
  return
}

// -----

func.func @dequantize_c1_result(%w: tensor<6x8xf8E4M3FN>, %s: tensor<1xf32>) {
  // expected-error@+1 {{turns 'tensor<6x8xf8E4M3FN>' into 'tensor<6x8xbf16>', expected f8E4M3FN into f32 of that shape}}
  %q = nemotron.dequantize %w, %s : (tensor<6x8xf8E4M3FN>, tensor<1xf32>) -> tensor<6x8xbf16>
  return
}

// -----

func.func @dequantize_c1_shape(%w: tensor<6x8xf8E4M3FN>, %s: tensor<1xf32>) {
  // expected-error@+1 {{turns 'tensor<6x8xf8E4M3FN>' into 'tensor<8x6xf32>', expected f8E4M3FN into f32 of that shape}}
  %q = nemotron.dequantize %w, %s : (tensor<6x8xf8E4M3FN>, tensor<1xf32>) -> tensor<8x6xf32>
  return
}

// -----

func.func @dequantize_c2(%w: tensor<4x6x8xf8E4M3FN>, %s: tensor<6xf32>) {
  // expected-error@+1 {{scale is 'tensor<6xf32>', expected shape [4, 1], [4, 6] or [4, 6, G], G a divisor of 8}}
  %q = nemotron.dequantize %w, %s : (tensor<4x6x8xf8E4M3FN>, tensor<6xf32>) -> tensor<4x6x8xf32>
  return
}

// -----

func.func @broadcast_c1(%s: tensor<2xf32>) {
  // expected-error@+1 {{repeats 'tensor<2xf32>', expected a last dimension of 1}}
  %b = nemotron.broadcast %s : tensor<2xf32> to tensor<8xf32>
  return
}

// -----

func.func @broadcast_c1_scalar(%s: tensor<f32>) {
  // expected-error@+1 {{repeats 'tensor<f32>', expected a last dimension of 1}}
  %b = nemotron.broadcast %s : tensor<f32> to tensor<8xf32>
  return
}

// -----

func.func @broadcast_c2_shape(%s: tensor<4x1xf32>) {
  // expected-error@+1 {{result is 'tensor<5x8xf32>', expected another last dimension of 'tensor<4x1xf32>' at most}}
  %b = nemotron.broadcast %s : tensor<4x1xf32> to tensor<5x8xf32>
  return
}

// -----

func.func @broadcast_c2_rank(%s: tensor<4x1xf32>) {
  // expected-error@+1 {{result is 'tensor<4xf32>', expected another last dimension of 'tensor<4x1xf32>' at most}}
  %b = nemotron.broadcast %s : tensor<4x1xf32> to tensor<4xf32>
  return
}

// -----

func.func @broadcast_c2_type(%s: tensor<1xf32>) {
  // expected-error@+1 {{result is 'tensor<8xbf16>', expected another last dimension of 'tensor<1xf32>' at most}}
  %b = nemotron.broadcast %s : tensor<1xf32> to tensor<8xbf16>
  return
}

// -----

func.func @fill_c1() {
  // expected-error@+1 {{result is 'tensor<8xbf16>', expected elements of f32}}
  %f = nemotron.fill 0.5 : tensor<8xbf16>
  return
}
