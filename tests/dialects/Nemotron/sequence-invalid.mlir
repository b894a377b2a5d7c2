// RUN: nemotron-opt %s -split-input-file -verify-diagnostics

func.func @rotary_embedding_c1(%q: tensor<?x12xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{failed to verify that all of {input, result} have same type}}
  %r = nemotron.rotary_embedding %q of %batch {head_dim = 6, rotary_dim = 4, theta = 1.0e4 : f32}
     : (tensor<?x12xf32>, !nemotron.batch) -> tensor<?x12xbf16>
  return
}

// -----

func.func @rotary_embedding_c2(%q: tensor<?x13xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{has 13 channels, not a multiple of head_dim 6}}
  %r = nemotron.rotary_embedding %q of %batch {head_dim = 6, rotary_dim = 4, theta = 1.0e4 : f32}
     : (tensor<?x13xf32>, !nemotron.batch) -> tensor<?x13xf32>
  return
}

// -----

func.func @rotary_embedding_c3_even(%q: tensor<?x12xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{rotary_dim is 3, expected an even number up to head_dim 6}}
  %r = nemotron.rotary_embedding %q of %batch {head_dim = 6, rotary_dim = 3, theta = 1.0e4 : f32}
     : (tensor<?x12xf32>, !nemotron.batch) -> tensor<?x12xf32>
  return
}

// -----

func.func @rotary_embedding_c3_large(%q: tensor<?x12xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{rotary_dim is 8, expected an even number up to head_dim 6}}
  %r = nemotron.rotary_embedding %q of %batch {head_dim = 6, rotary_dim = 8, theta = 1.0e4 : f32}
     : (tensor<?x12xf32>, !nemotron.batch) -> tensor<?x12xf32>
  return
}

// -----

func.func @rotary_embedding_c3_positive(%q: tensor<?x12xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{attribute 'rotary_dim' failed to satisfy constraint: 64-bit signless integer attribute whose value is positive}}
  %r = nemotron.rotary_embedding %q of %batch {head_dim = 6, rotary_dim = 0, theta = 1.0e4 : f32}
     : (tensor<?x12xf32>, !nemotron.batch) -> tensor<?x12xf32>
  return
}

// -----

nemotron.state @kv kv_cache : tensor<2x2x4xf32>
func.func @attention_c1(%q: tensor<?x17xf32>, %k: tensor<?x8xf32>, %v: tensor<?x8xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{query has 17 channels, expected 4 heads of 4}}
  %o = nemotron.attention %q, %k, %v of %batch cache @kv {num_heads = 4, num_kv_heads = 2, head_dim = 4, scale = 0.5 : f32}
     : (tensor<?x17xf32>, tensor<?x8xf32>, tensor<?x8xf32>, !nemotron.batch) -> tensor<?x17xf32>
  return
}

// -----

nemotron.state @kv kv_cache : tensor<2x2x4xf32>
func.func @attention_c1_overflow(%q: tensor<?x16xf32>, %k: tensor<?x8xf32>, %v: tensor<?x8xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{query has 16 channels, expected 4611686018427387908 heads of 4}}
  %o = nemotron.attention %q, %k, %v of %batch cache @kv {num_heads = 4611686018427387908, num_kv_heads = 2, head_dim = 4, scale = 0.5 : f32}
     : (tensor<?x16xf32>, tensor<?x8xf32>, tensor<?x8xf32>, !nemotron.batch) -> tensor<?x16xf32>
  return
}

// -----

nemotron.state @kv kv_cache : tensor<2x2x4xf32>
func.func @attention_c2_key(%q: tensor<?x16xf32>, %k: tensor<?x9xf32>, %v: tensor<?x8xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{key has 9 channels, expected 2 heads of 4}}
  %o = nemotron.attention %q, %k, %v of %batch cache @kv {num_heads = 4, num_kv_heads = 2, head_dim = 4, scale = 0.5 : f32}
     : (tensor<?x16xf32>, tensor<?x9xf32>, tensor<?x8xf32>, !nemotron.batch) -> tensor<?x16xf32>
  return
}

// -----

nemotron.state @kv kv_cache : tensor<2x2x4xf32>
func.func @attention_c2_value(%q: tensor<?x16xf32>, %k: tensor<?x8xf32>, %v: tensor<?x16xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{value has 16 channels, expected 2 heads of 4}}
  %o = nemotron.attention %q, %k, %v of %batch cache @kv {num_heads = 4, num_kv_heads = 2, head_dim = 4, scale = 0.5 : f32}
     : (tensor<?x16xf32>, tensor<?x8xf32>, tensor<?x16xf32>, !nemotron.batch) -> tensor<?x16xf32>
  return
}

// -----

nemotron.state @kv kv_cache : tensor<2x2x4xf32>
func.func @attention_c3(%q: tensor<?x20xf32>, %k: tensor<?x8xf32>, %v: tensor<?x8xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{has 5 query heads, not a multiple of 2 key/value heads}}
  %o = nemotron.attention %q, %k, %v of %batch cache @kv {num_heads = 5, num_kv_heads = 2, head_dim = 4, scale = 0.5 : f32}
     : (tensor<?x20xf32>, tensor<?x8xf32>, tensor<?x8xf32>, !nemotron.batch) -> tensor<?x20xf32>
  return
}

// -----

nemotron.state @kv kv_cache : tensor<2x2x4xf32>
func.func @attention_c4(%q: tensor<?x16xf32>, %k: tensor<?x8xf32>, %v: tensor<?x8xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{result is 'tensor<?x8xf32>', expected the type of query, 'tensor<?x16xf32>'}}
  %o = nemotron.attention %q, %k, %v of %batch cache @kv {num_heads = 4, num_kv_heads = 2, head_dim = 4, scale = 0.5 : f32}
     : (tensor<?x16xf32>, tensor<?x8xf32>, tensor<?x8xf32>, !nemotron.batch) -> tensor<?x8xf32>
  return
}

// -----

// expected-note@+1 {{state is declared here}}
nemotron.state @kv ssm : tensor<2x2x4xf32>
func.func @attention_c5_kind(%q: tensor<?x16xf32>, %k: tensor<?x8xf32>, %v: tensor<?x8xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{needs a kv_cache state of [2, 2, 4], but @kv is a ssm of 'tensor<2x2x4xf32>'}}
  %o = nemotron.attention %q, %k, %v of %batch cache @kv {num_heads = 4, num_kv_heads = 2, head_dim = 4, scale = 0.5 : f32}
     : (tensor<?x16xf32>, tensor<?x8xf32>, tensor<?x8xf32>, !nemotron.batch) -> tensor<?x16xf32>
  return
}

// -----

// expected-note@+1 {{state is declared here}}
nemotron.state @kv kv_cache : tensor<2x3x4xf32>
func.func @attention_c5_shape(%q: tensor<?x16xf32>, %k: tensor<?x8xf32>, %v: tensor<?x8xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{needs a kv_cache state of [2, 2, 4], but @kv is a kv_cache of 'tensor<2x3x4xf32>'}}
  %o = nemotron.attention %q, %k, %v of %batch cache @kv {num_heads = 4, num_kv_heads = 2, head_dim = 4, scale = 0.5 : f32}
     : (tensor<?x16xf32>, tensor<?x8xf32>, tensor<?x8xf32>, !nemotron.batch) -> tensor<?x16xf32>
  return
}

// -----

nemotron.state @kv kv_cache : tensor<2x2x4xf32>
func.func @attention_c5_unknown(%q: tensor<?x16xf32>, %k: tensor<?x8xf32>, %v: tensor<?x8xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{uses @none, which is not a nemotron.state}}
  %o = nemotron.attention %q, %k, %v of %batch cache @none {num_heads = 4, num_kv_heads = 2, head_dim = 4, scale = 0.5 : f32}
     : (tensor<?x16xf32>, tensor<?x8xf32>, tensor<?x8xf32>, !nemotron.batch) -> tensor<?x16xf32>
  return
}

// -----

nemotron.state @kv kv_cache : tensor<2x2x4xf8E4M3FN>
func.func @attention_c6_none(%q: tensor<?x16xf32>, %k: tensor<?x8xf32>, %v: tensor<?x8xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{has a cache of 'tensor<2x2x4xf8E4M3FN>', expected key_scale and value_scale}}
  %o = nemotron.attention %q, %k, %v of %batch cache @kv
       {num_heads = 4, num_kv_heads = 2, head_dim = 4, scale = 0.5 : f32}
     : (tensor<?x16xf32>, tensor<?x8xf32>, tensor<?x8xf32>, !nemotron.batch) -> tensor<?x16xf32>
  return
}

// -----

nemotron.state @kv kv_cache : tensor<2x2x4xf8E4M3FN>
func.func @attention_c6_key(%q: tensor<?x16xf32>, %k: tensor<?x8xf32>, %v: tensor<?x8xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{has a cache of 'tensor<2x2x4xf8E4M3FN>', expected key_scale and value_scale}}
  %o = nemotron.attention %q, %k, %v of %batch cache @kv
       {num_heads = 4, num_kv_heads = 2, head_dim = 4, scale = 0.5 : f32, value_scale = 0.25 : f32}
     : (tensor<?x16xf32>, tensor<?x8xf32>, tensor<?x8xf32>, !nemotron.batch) -> tensor<?x16xf32>
  return
}

// -----

nemotron.state @kv kv_cache : tensor<2x2x4xf8E4M3FN>
func.func @attention_c6_value(%q: tensor<?x16xf32>, %k: tensor<?x8xf32>, %v: tensor<?x8xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{has a cache of 'tensor<2x2x4xf8E4M3FN>', expected key_scale and value_scale}}
  %o = nemotron.attention %q, %k, %v of %batch cache @kv
       {num_heads = 4, num_kv_heads = 2, head_dim = 4, scale = 0.5 : f32, key_scale = 0.5 : f32}
     : (tensor<?x16xf32>, tensor<?x8xf32>, tensor<?x8xf32>, !nemotron.batch) -> tensor<?x16xf32>
  return
}

// -----

nemotron.state @kv kv_cache : tensor<2x2x4xbf16>
func.func @attention_c6_bf16(%q: tensor<?x16xf32>, %k: tensor<?x8xf32>, %v: tensor<?x8xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{has a cache of 'tensor<2x2x4xbf16>', expected no key_scale and value_scale}}
  %o = nemotron.attention %q, %k, %v of %batch cache @kv
       {num_heads = 4, num_kv_heads = 2, head_dim = 4, scale = 0.5 : f32, key_scale = 0.5 : f32, value_scale = 0.25 : f32}
     : (tensor<?x16xf32>, tensor<?x8xf32>, tensor<?x8xf32>, !nemotron.batch) -> tensor<?x16xf32>
  return
}

// -----

nemotron.state @kv kv_cache : tensor<2x2x4xf8E4M3FN>
func.func @attention_c7_key(%q: tensor<?x16xf32>, %k: tensor<?x8xf32>, %v: tensor<?x8xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{key_scale is 0.000000e+00 : f32, expected a positive, finite number}}
  %o = nemotron.attention %q, %k, %v of %batch cache @kv
       {num_heads = 4, num_kv_heads = 2, head_dim = 4, scale = 0.5 : f32, key_scale = 0.0 : f32, value_scale = 0.25 : f32}
     : (tensor<?x16xf32>, tensor<?x8xf32>, tensor<?x8xf32>, !nemotron.batch) -> tensor<?x16xf32>
  return
}

// -----

nemotron.state @kv kv_cache : tensor<2x2x4xf8E4M3FN>
func.func @attention_c7_negative(%q: tensor<?x16xf32>, %k: tensor<?x8xf32>, %v: tensor<?x8xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{key_scale is -1.000000e+00 : f32, expected a positive, finite number}}
  %o = nemotron.attention %q, %k, %v of %batch cache @kv
       {num_heads = 4, num_kv_heads = 2, head_dim = 4, scale = 0.5 : f32, key_scale = -1.0 : f32, value_scale = 0.25 : f32}
     : (tensor<?x16xf32>, tensor<?x8xf32>, tensor<?x8xf32>, !nemotron.batch) -> tensor<?x16xf32>
  return
}

// -----

nemotron.state @kv kv_cache : tensor<2x2x4xf8E4M3FN>
func.func @attention_c7_value(%q: tensor<?x16xf32>, %k: tensor<?x8xf32>, %v: tensor<?x8xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{value_scale is 0x7F800000 : f32, expected a positive, finite number}}
  %o = nemotron.attention %q, %k, %v of %batch cache @kv
       {num_heads = 4, num_kv_heads = 2, head_dim = 4, scale = 0.5 : f32, key_scale = 0.5 : f32, value_scale = 0x7F800000 : f32}
     : (tensor<?x16xf32>, tensor<?x8xf32>, tensor<?x8xf32>, !nemotron.batch) -> tensor<?x16xf32>
  return
}

// -----

nemotron.state @conv conv : tensor<3x8xf32>
func.func @causal_conv1d_c1_weight(%x: tensor<?x8xf32>, %w: tensor<9x4xf32>, %b: tensor<8xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{weight has 9 rows, input has 8 channels}}
  %c = nemotron.causal_conv1d %x, %w bias %b of %batch conv @conv {activation = #nemotron.activation<silu>}
     : (tensor<?x8xf32>, tensor<9x4xf32>, tensor<8xf32>, !nemotron.batch) -> tensor<?x8xf32>
  return
}

// -----

nemotron.state @conv conv : tensor<3x8xf32>
func.func @causal_conv1d_c1_bias(%x: tensor<?x8xf32>, %w: tensor<8x4xf32>, %b: tensor<9xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{bias has 9 elements, input has 8 channels}}
  %c = nemotron.causal_conv1d %x, %w bias %b of %batch conv @conv {activation = #nemotron.activation<silu>}
     : (tensor<?x8xf32>, tensor<8x4xf32>, tensor<9xf32>, !nemotron.batch) -> tensor<?x8xf32>
  return
}

// -----

nemotron.state @conv conv : tensor<3x8xf32>
func.func @causal_conv1d_c2(%x: tensor<?x8xf32>, %w: tensor<8x4xf32>, %b: tensor<8xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{result is 'tensor<?x9xf32>', expected the type of input, 'tensor<?x8xf32>'}}
  %c = nemotron.causal_conv1d %x, %w bias %b of %batch conv @conv {activation = #nemotron.activation<silu>}
     : (tensor<?x8xf32>, tensor<8x4xf32>, tensor<8xf32>, !nemotron.batch) -> tensor<?x9xf32>
  return
}

// -----

// expected-note@+1 {{state is declared here}}
nemotron.state @conv conv : tensor<4x8xf32>
func.func @causal_conv1d_c3(%x: tensor<?x8xf32>, %w: tensor<8x4xf32>, %b: tensor<8xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{needs a conv state of [3, 8], but @conv is a conv of 'tensor<4x8xf32>'}}
  %c = nemotron.causal_conv1d %x, %w bias %b of %batch conv @conv {activation = #nemotron.activation<silu>}
     : (tensor<?x8xf32>, tensor<8x4xf32>, tensor<8xf32>, !nemotron.batch) -> tensor<?x8xf32>
  return
}

// -----

// expected-note@+1 {{state is declared here}}
nemotron.state @conv ssm : tensor<1x3x8xf32>
func.func @causal_conv1d_c3_kind(%x: tensor<?x8xf32>, %w: tensor<8x4xf32>, %b: tensor<8xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{needs a conv state of [3, 8], but @conv is a ssm of 'tensor<1x3x8xf32>'}}
  %c = nemotron.causal_conv1d %x, %w bias %b of %batch conv @conv {activation = #nemotron.activation<silu>}
     : (tensor<?x8xf32>, tensor<8x4xf32>, tensor<8xf32>, !nemotron.batch) -> tensor<?x8xf32>
  return
}

// -----

nemotron.state @conv conv : tensor<3x8xf32>
func.func @causal_conv1d_c4(%x: tensor<?x8xf32>, %w: tensor<8x4xf32>, %b: tensor<8xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{activation is relu2, expected none or silu}}
  %c = nemotron.causal_conv1d %x, %w bias %b of %batch conv @conv {activation = #nemotron.activation<relu2>}
     : (tensor<?x8xf32>, tensor<8x4xf32>, tensor<8xf32>, !nemotron.batch) -> tensor<?x8xf32>
  return
}

// -----

nemotron.state @ssm ssm : tensor<4x2x3xf32>
func.func @ssm_scan_c1_x(%x: tensor<?x9xf32>, %b: tensor<?x6xf32>, %c: tensor<?x6xf32>, %dt: tensor<?x4xf32>,
                         %a_log: tensor<4xf32>, %dt_bias: tensor<4xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{x has 9 channels, expected 4 heads of 2}}
  %y = nemotron.ssm_scan %x, %b, %c, %dt, %a_log, %dt_bias of %batch ssm @ssm
       {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3}
     : (tensor<?x9xf32>, tensor<?x6xf32>, tensor<?x6xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>,
        !nemotron.batch)
     -> tensor<?x9xf32>
  return
}

// -----

nemotron.state @ssm ssm : tensor<4x2x3xf32>
func.func @ssm_scan_c1_result(%x: tensor<?x8xf32>, %b: tensor<?x6xf32>, %c: tensor<?x6xf32>, %dt: tensor<?x4xf32>,
                              %a_log: tensor<4xf32>, %dt_bias: tensor<4xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{result has 9 channels, expected 4 heads of 2}}
  %y = nemotron.ssm_scan %x, %b, %c, %dt, %a_log, %dt_bias of %batch ssm @ssm
       {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3}
     : (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x6xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>,
        !nemotron.batch)
     -> tensor<?x9xf32>
  return
}

// -----

nemotron.state @ssm ssm : tensor<4x2x3xf32>
func.func @ssm_scan_c2_b(%x: tensor<?x8xf32>, %b: tensor<?x7xf32>, %c: tensor<?x6xf32>, %dt: tensor<?x4xf32>,
                         %a_log: tensor<4xf32>, %dt_bias: tensor<4xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{b has 7 channels, expected 2 groups of 3}}
  %y = nemotron.ssm_scan %x, %b, %c, %dt, %a_log, %dt_bias of %batch ssm @ssm
       {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3}
     : (tensor<?x8xf32>, tensor<?x7xf32>, tensor<?x6xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>,
        !nemotron.batch)
     -> tensor<?x8xf32>
  return
}

// -----

nemotron.state @ssm ssm : tensor<4x2x3xf32>
func.func @ssm_scan_c2_c(%x: tensor<?x8xf32>, %b: tensor<?x6xf32>, %c: tensor<?x5xf32>, %dt: tensor<?x4xf32>,
                         %a_log: tensor<4xf32>, %dt_bias: tensor<4xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{c has 5 channels, expected 2 groups of 3}}
  %y = nemotron.ssm_scan %x, %b, %c, %dt, %a_log, %dt_bias of %batch ssm @ssm
       {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3}
     : (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x5xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>,
        !nemotron.batch)
     -> tensor<?x8xf32>
  return
}

// -----

nemotron.state @ssm ssm : tensor<4x2x3xf32>
func.func @ssm_scan_c3_dt(%x: tensor<?x8xf32>, %b: tensor<?x6xf32>, %c: tensor<?x6xf32>, %dt: tensor<?x5xf32>,
                          %a_log: tensor<4xf32>, %dt_bias: tensor<4xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{dt has 5 channels, expected one for each of 4 heads}}
  %y = nemotron.ssm_scan %x, %b, %c, %dt, %a_log, %dt_bias of %batch ssm @ssm
       {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3}
     : (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x6xf32>, tensor<?x5xf32>, tensor<4xf32>, tensor<4xf32>,
        !nemotron.batch)
     -> tensor<?x8xf32>
  return
}

// -----

nemotron.state @ssm ssm : tensor<4x2x3xf32>
func.func @ssm_scan_c3_a_log(%x: tensor<?x8xf32>, %b: tensor<?x6xf32>, %c: tensor<?x6xf32>, %dt: tensor<?x4xf32>,
                             %a_log: tensor<5xf32>, %dt_bias: tensor<4xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{a_log has 5 elements, expected one for each of 4 heads}}
  %y = nemotron.ssm_scan %x, %b, %c, %dt, %a_log, %dt_bias of %batch ssm @ssm
       {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3}
     : (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x6xf32>, tensor<?x4xf32>, tensor<5xf32>, tensor<4xf32>,
        !nemotron.batch)
     -> tensor<?x8xf32>
  return
}

// -----

nemotron.state @ssm ssm : tensor<4x2x3xf32>
func.func @ssm_scan_c3_dt_bias(%x: tensor<?x8xf32>, %b: tensor<?x6xf32>, %c: tensor<?x6xf32>, %dt: tensor<?x4xf32>,
                               %a_log: tensor<4xf32>, %dt_bias: tensor<3xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{dt_bias has 3 elements, expected one for each of 4 heads}}
  %y = nemotron.ssm_scan %x, %b, %c, %dt, %a_log, %dt_bias of %batch ssm @ssm
       {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3}
     : (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x6xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<3xf32>,
        !nemotron.batch)
     -> tensor<?x8xf32>
  return
}

// -----

nemotron.state @ssm ssm : tensor<4x2x3xf32>
func.func @ssm_scan_c4(%x: tensor<?x8xf32>, %b: tensor<?x9xf32>, %c: tensor<?x9xf32>, %dt: tensor<?x4xf32>,
                       %a_log: tensor<4xf32>, %dt_bias: tensor<4xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{has 4 heads, not a multiple of 3 groups}}
  %y = nemotron.ssm_scan %x, %b, %c, %dt, %a_log, %dt_bias of %batch ssm @ssm
       {num_heads = 4, head_dim = 2, n_groups = 3, state_size = 3}
     : (tensor<?x8xf32>, tensor<?x9xf32>, tensor<?x9xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>,
        !nemotron.batch)
     -> tensor<?x8xf32>
  return
}

// -----

// expected-note@+1 {{state is declared here}}
nemotron.state @ssm ssm : tensor<4x3x2xf32>
func.func @ssm_scan_c5(%x: tensor<?x8xf32>, %b: tensor<?x6xf32>, %c: tensor<?x6xf32>, %dt: tensor<?x4xf32>,
                       %a_log: tensor<4xf32>, %dt_bias: tensor<4xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{needs a ssm state of [4, 2, 3], but @ssm is a ssm of 'tensor<4x3x2xf32>'}}
  %y = nemotron.ssm_scan %x, %b, %c, %dt, %a_log, %dt_bias of %batch ssm @ssm
       {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3}
     : (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x6xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>,
        !nemotron.batch)
     -> tensor<?x8xf32>
  return
}

// -----

nemotron.state @ssm ssm : tensor<4x2x3xf32>
func.func @ssm_scan_c6(%x: tensor<?x8xf32>, %b: tensor<?x6xf32>, %c: tensor<?x6xf32>, %dt: tensor<?x4xf32>,
                       %a_log: tensor<4xf32>, %dt_bias: tensor<4xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{expected 0 <= dt_min < dt_max}}
  %y = nemotron.ssm_scan %x, %b, %c, %dt, %a_log, %dt_bias of %batch ssm @ssm
       {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3, dt_min = 0.5 : f32, dt_max = 0.25 : f32}
     : (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x6xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>,
        !nemotron.batch)
     -> tensor<?x8xf32>
  return
}

// -----

nemotron.state @ssm ssm : tensor<4x2x3xf32>
func.func @ssm_scan_c6_negative(%x: tensor<?x8xf32>, %b: tensor<?x6xf32>, %c: tensor<?x6xf32>, %dt: tensor<?x4xf32>,
                                %a_log: tensor<4xf32>, %dt_bias: tensor<4xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{expected 0 <= dt_min < dt_max}}
  %y = nemotron.ssm_scan %x, %b, %c, %dt, %a_log, %dt_bias of %batch ssm @ssm
       {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3, dt_min = -0.5 : f32}
     : (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x6xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>,
        !nemotron.batch)
     -> tensor<?x8xf32>
  return
}

// -----

nemotron.state @ssm ssm : tensor<4x2x3xf32>
func.func @ssm_scan_c6_nan(%x: tensor<?x8xf32>, %b: tensor<?x6xf32>, %c: tensor<?x6xf32>, %dt: tensor<?x4xf32>,
                           %a_log: tensor<4xf32>, %dt_bias: tensor<4xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{expected 0 <= dt_min < dt_max}}
  %y = nemotron.ssm_scan %x, %b, %c, %dt, %a_log, %dt_bias of %batch ssm @ssm
       {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3, dt_max = 0x7FC00000 : f32}
     : (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x6xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>,
        !nemotron.batch)
     -> tensor<?x8xf32>
  return
}

// -----

nemotron.state @ssm ssm : tensor<4x2x3xf32>
func.func @ssm_scan_gated_norm_c1_x(%x: tensor<?x9xf32>, %b: tensor<?x6xf32>, %c: tensor<?x6xf32>,
                                    %dt: tensor<?x4xf32>, %a_log: tensor<4xf32>, %dt_bias: tensor<4xf32>,
                                    %z: tensor<?x8xf32>, %d: tensor<4xf32>, %w: tensor<8xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{x has 9 channels, expected 4 heads of 2}}
  %y = nemotron.ssm_scan_gated_norm %x, %b, %c, %dt, %a_log, %dt_bias, %z, %d, %w of %batch ssm @ssm
       {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3, eps = 1.0e-5 : f32}
     : (tensor<?x9xf32>, tensor<?x6xf32>, tensor<?x6xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>,
        tensor<?x8xf32>, tensor<4xf32>, tensor<8xf32>, !nemotron.batch)
     -> tensor<?x9xf32>
  return
}

// -----

nemotron.state @ssm ssm : tensor<4x2x3xf32>
func.func @ssm_scan_gated_norm_c1_result(%x: tensor<?x8xf32>, %b: tensor<?x6xf32>, %c: tensor<?x6xf32>,
                                         %dt: tensor<?x4xf32>, %a_log: tensor<4xf32>, %dt_bias: tensor<4xf32>,
                                         %z: tensor<?x8xf32>, %d: tensor<4xf32>, %w: tensor<8xf32>,
                                         %batch: !nemotron.batch) {
  // expected-error@+1 {{result has 9 channels, expected 4 heads of 2}}
  %y = nemotron.ssm_scan_gated_norm %x, %b, %c, %dt, %a_log, %dt_bias, %z, %d, %w of %batch ssm @ssm
       {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3, eps = 1.0e-5 : f32}
     : (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x6xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>,
        tensor<?x8xf32>, tensor<4xf32>, tensor<8xf32>, !nemotron.batch)
     -> tensor<?x9xf32>
  return
}

// -----

nemotron.state @ssm ssm : tensor<4x2x3xf32>
func.func @ssm_scan_gated_norm_c2_b(%x: tensor<?x8xf32>, %b: tensor<?x7xf32>, %c: tensor<?x6xf32>,
                                    %dt: tensor<?x4xf32>, %a_log: tensor<4xf32>, %dt_bias: tensor<4xf32>,
                                    %z: tensor<?x8xf32>, %d: tensor<4xf32>, %w: tensor<8xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{b has 7 channels, expected 2 groups of 3}}
  %y = nemotron.ssm_scan_gated_norm %x, %b, %c, %dt, %a_log, %dt_bias, %z, %d, %w of %batch ssm @ssm
       {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3, eps = 1.0e-5 : f32}
     : (tensor<?x8xf32>, tensor<?x7xf32>, tensor<?x6xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>,
        tensor<?x8xf32>, tensor<4xf32>, tensor<8xf32>, !nemotron.batch)
     -> tensor<?x8xf32>
  return
}

// -----

nemotron.state @ssm ssm : tensor<4x2x3xf32>
func.func @ssm_scan_gated_norm_c2_c(%x: tensor<?x8xf32>, %b: tensor<?x6xf32>, %c: tensor<?x5xf32>,
                                    %dt: tensor<?x4xf32>, %a_log: tensor<4xf32>, %dt_bias: tensor<4xf32>,
                                    %z: tensor<?x8xf32>, %d: tensor<4xf32>, %w: tensor<8xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{c has 5 channels, expected 2 groups of 3}}
  %y = nemotron.ssm_scan_gated_norm %x, %b, %c, %dt, %a_log, %dt_bias, %z, %d, %w of %batch ssm @ssm
       {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3, eps = 1.0e-5 : f32}
     : (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x5xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>,
        tensor<?x8xf32>, tensor<4xf32>, tensor<8xf32>, !nemotron.batch)
     -> tensor<?x8xf32>
  return
}

// -----

nemotron.state @ssm ssm : tensor<4x2x3xf32>
func.func @ssm_scan_gated_norm_c3_dt(%x: tensor<?x8xf32>, %b: tensor<?x6xf32>, %c: tensor<?x6xf32>,
                                     %dt: tensor<?x5xf32>, %a_log: tensor<4xf32>, %dt_bias: tensor<4xf32>,
                                     %z: tensor<?x8xf32>, %d: tensor<4xf32>, %w: tensor<8xf32>,
                                     %batch: !nemotron.batch) {
  // expected-error@+1 {{dt has 5 channels, expected one for each of 4 heads}}
  %y = nemotron.ssm_scan_gated_norm %x, %b, %c, %dt, %a_log, %dt_bias, %z, %d, %w of %batch ssm @ssm
       {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3, eps = 1.0e-5 : f32}
     : (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x6xf32>, tensor<?x5xf32>, tensor<4xf32>, tensor<4xf32>,
        tensor<?x8xf32>, tensor<4xf32>, tensor<8xf32>, !nemotron.batch)
     -> tensor<?x8xf32>
  return
}

// -----

nemotron.state @ssm ssm : tensor<4x2x3xf32>
func.func @ssm_scan_gated_norm_c3_a_log(%x: tensor<?x8xf32>, %b: tensor<?x6xf32>, %c: tensor<?x6xf32>,
                                        %dt: tensor<?x4xf32>, %a_log: tensor<5xf32>, %dt_bias: tensor<4xf32>,
                                        %z: tensor<?x8xf32>, %d: tensor<4xf32>, %w: tensor<8xf32>,
                                        %batch: !nemotron.batch) {
  // expected-error@+1 {{a_log has 5 elements, expected one for each of 4 heads}}
  %y = nemotron.ssm_scan_gated_norm %x, %b, %c, %dt, %a_log, %dt_bias, %z, %d, %w of %batch ssm @ssm
       {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3, eps = 1.0e-5 : f32}
     : (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x6xf32>, tensor<?x4xf32>, tensor<5xf32>, tensor<4xf32>,
        tensor<?x8xf32>, tensor<4xf32>, tensor<8xf32>, !nemotron.batch)
     -> tensor<?x8xf32>
  return
}

// -----

nemotron.state @ssm ssm : tensor<4x2x3xf32>
func.func @ssm_scan_gated_norm_c3_dt_bias(%x: tensor<?x8xf32>, %b: tensor<?x6xf32>, %c: tensor<?x6xf32>,
                                          %dt: tensor<?x4xf32>, %a_log: tensor<4xf32>, %dt_bias: tensor<3xf32>,
                                          %z: tensor<?x8xf32>, %d: tensor<4xf32>, %w: tensor<8xf32>,
                                          %batch: !nemotron.batch) {
  // expected-error@+1 {{dt_bias has 3 elements, expected one for each of 4 heads}}
  %y = nemotron.ssm_scan_gated_norm %x, %b, %c, %dt, %a_log, %dt_bias, %z, %d, %w of %batch ssm @ssm
       {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3, eps = 1.0e-5 : f32}
     : (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x6xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<3xf32>,
        tensor<?x8xf32>, tensor<4xf32>, tensor<8xf32>, !nemotron.batch)
     -> tensor<?x8xf32>
  return
}

// -----

nemotron.state @ssm ssm : tensor<4x2x3xf32>
func.func @ssm_scan_gated_norm_c4(%x: tensor<?x8xf32>, %b: tensor<?x9xf32>, %c: tensor<?x9xf32>, %dt: tensor<?x4xf32>,
                                  %a_log: tensor<4xf32>, %dt_bias: tensor<4xf32>, %z: tensor<?x8xf32>,
                                  %d: tensor<4xf32>, %w: tensor<8xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{has 4 heads, not a multiple of 3 groups}}
  %y = nemotron.ssm_scan_gated_norm %x, %b, %c, %dt, %a_log, %dt_bias, %z, %d, %w of %batch ssm @ssm
       {num_heads = 4, head_dim = 2, n_groups = 3, state_size = 3, eps = 1.0e-5 : f32}
     : (tensor<?x8xf32>, tensor<?x9xf32>, tensor<?x9xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>,
        tensor<?x8xf32>, tensor<4xf32>, tensor<8xf32>, !nemotron.batch)
     -> tensor<?x8xf32>
  return
}

// -----

// expected-note@+1 {{state is declared here}}
nemotron.state @ssm ssm : tensor<4x3x2xf32>
func.func @ssm_scan_gated_norm_c5(%x: tensor<?x8xf32>, %b: tensor<?x6xf32>, %c: tensor<?x6xf32>, %dt: tensor<?x4xf32>,
                                  %a_log: tensor<4xf32>, %dt_bias: tensor<4xf32>, %z: tensor<?x8xf32>,
                                  %d: tensor<4xf32>, %w: tensor<8xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{needs a ssm state of [4, 2, 3], but @ssm is a ssm of 'tensor<4x3x2xf32>'}}
  %y = nemotron.ssm_scan_gated_norm %x, %b, %c, %dt, %a_log, %dt_bias, %z, %d, %w of %batch ssm @ssm
       {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3, eps = 1.0e-5 : f32}
     : (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x6xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>,
        tensor<?x8xf32>, tensor<4xf32>, tensor<8xf32>, !nemotron.batch)
     -> tensor<?x8xf32>
  return
}

// -----

nemotron.state @ssm ssm : tensor<4x2x3xf32>
func.func @ssm_scan_gated_norm_c6(%x: tensor<?x8xf32>, %b: tensor<?x6xf32>, %c: tensor<?x6xf32>, %dt: tensor<?x4xf32>,
                                  %a_log: tensor<4xf32>, %dt_bias: tensor<4xf32>, %z: tensor<?x8xf32>,
                                  %d: tensor<4xf32>, %w: tensor<8xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{expected 0 <= dt_min < dt_max}}
  %y = nemotron.ssm_scan_gated_norm %x, %b, %c, %dt, %a_log, %dt_bias, %z, %d, %w of %batch ssm @ssm
       {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3, dt_min = 0.5 : f32, dt_max = 0.25 : f32, eps = 1.0e-5 : f32}
     : (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x6xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>,
        tensor<?x8xf32>, tensor<4xf32>, tensor<8xf32>, !nemotron.batch)
     -> tensor<?x8xf32>
  return
}

// -----

nemotron.state @ssm ssm : tensor<4x2x3xf32>
func.func @ssm_scan_gated_norm_c6_negative(%x: tensor<?x8xf32>, %b: tensor<?x6xf32>, %c: tensor<?x6xf32>,
                                           %dt: tensor<?x4xf32>, %a_log: tensor<4xf32>, %dt_bias: tensor<4xf32>,
                                           %z: tensor<?x8xf32>, %d: tensor<4xf32>, %w: tensor<8xf32>,
                                           %batch: !nemotron.batch) {
  // expected-error@+1 {{expected 0 <= dt_min < dt_max}}
  %y = nemotron.ssm_scan_gated_norm %x, %b, %c, %dt, %a_log, %dt_bias, %z, %d, %w of %batch ssm @ssm
       {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3, dt_min = -0.5 : f32, eps = 1.0e-5 : f32}
     : (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x6xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>,
        tensor<?x8xf32>, tensor<4xf32>, tensor<8xf32>, !nemotron.batch)
     -> tensor<?x8xf32>
  return
}

// -----

nemotron.state @ssm ssm : tensor<4x2x3xf32>
func.func @ssm_scan_gated_norm_c6_nan(%x: tensor<?x8xf32>, %b: tensor<?x6xf32>, %c: tensor<?x6xf32>,
                                      %dt: tensor<?x4xf32>, %a_log: tensor<4xf32>, %dt_bias: tensor<4xf32>,
                                      %z: tensor<?x8xf32>, %d: tensor<4xf32>, %w: tensor<8xf32>,
                                      %batch: !nemotron.batch) {
  // expected-error@+1 {{expected 0 <= dt_min < dt_max}}
  %y = nemotron.ssm_scan_gated_norm %x, %b, %c, %dt, %a_log, %dt_bias, %z, %d, %w of %batch ssm @ssm
       {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3, dt_max = 0x7FC00000 : f32, eps = 1.0e-5 : f32}
     : (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x6xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>,
        tensor<?x8xf32>, tensor<4xf32>, tensor<8xf32>, !nemotron.batch)
     -> tensor<?x8xf32>
  return
}

// -----

nemotron.state @ssm ssm : tensor<4x2x3xf32>
func.func @ssm_scan_gated_norm_c7(%x: tensor<?x8xf32>, %b: tensor<?x6xf32>, %c: tensor<?x6xf32>, %dt: tensor<?x4xf32>,
                                  %a_log: tensor<4xf32>, %dt_bias: tensor<4xf32>, %z: tensor<?x9xf32>,
                                  %d: tensor<4xf32>, %w: tensor<8xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{gate is 'tensor<?x9xf32>', expected the type of x, 'tensor<?x8xf32>'}}
  %y = nemotron.ssm_scan_gated_norm %x, %b, %c, %dt, %a_log, %dt_bias, %z, %d, %w of %batch ssm @ssm
       {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3, eps = 1.0e-5 : f32}
     : (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x6xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>,
        tensor<?x9xf32>, tensor<4xf32>, tensor<8xf32>, !nemotron.batch)
     -> tensor<?x8xf32>
  return
}

// -----

nemotron.state @ssm ssm : tensor<4x2x3xf32>
func.func @ssm_scan_gated_norm_c8(%x: tensor<?x8xf32>, %b: tensor<?x6xf32>, %c: tensor<?x6xf32>, %dt: tensor<?x4xf32>,
                                  %a_log: tensor<4xf32>, %dt_bias: tensor<4xf32>, %z: tensor<?x8xf32>,
                                  %d: tensor<5xf32>, %w: tensor<8xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{d has 5 elements, expected one for each of 4 heads}}
  %y = nemotron.ssm_scan_gated_norm %x, %b, %c, %dt, %a_log, %dt_bias, %z, %d, %w of %batch ssm @ssm
       {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3, eps = 1.0e-5 : f32}
     : (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x6xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>,
        tensor<?x8xf32>, tensor<5xf32>, tensor<8xf32>, !nemotron.batch)
     -> tensor<?x8xf32>
  return
}

// -----

nemotron.state @ssm ssm : tensor<4x2x3xf32>
func.func @ssm_scan_gated_norm_c9(%x: tensor<?x8xf32>, %b: tensor<?x6xf32>, %c: tensor<?x6xf32>, %dt: tensor<?x4xf32>,
                                  %a_log: tensor<4xf32>, %dt_bias: tensor<4xf32>, %z: tensor<?x8xf32>,
                                  %d: tensor<4xf32>, %w: tensor<9xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{weight has 9 elements, x has 8 channels}}
  %y = nemotron.ssm_scan_gated_norm %x, %b, %c, %dt, %a_log, %dt_bias, %z, %d, %w of %batch ssm @ssm
       {num_heads = 4, head_dim = 2, n_groups = 2, state_size = 3, eps = 1.0e-5 : f32}
     : (tensor<?x8xf32>, tensor<?x6xf32>, tensor<?x6xf32>, tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>,
        tensor<?x8xf32>, tensor<4xf32>, tensor<9xf32>, !nemotron.batch)
     -> tensor<?x8xf32>
  return
}

// -----

func.func @ssm_skip_c1(%y: tensor<?x8xf32>, %x: tensor<?x9xf32>, %d: tensor<4xf32>) {
  // expected-error@+1 {{failed to verify that all of {y, x, result} have same type}}
  %s = "nemotron.ssm_skip"(%y, %x, %d) {head_dim = 2 : i64} : (tensor<?x8xf32>, tensor<?x9xf32>, tensor<4xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @ssm_skip_c2(%y: tensor<?x8xf32>, %d: tensor<3xf32>) {
  // expected-error@+1 {{has 8 channels, expected 3 heads of 2}}
  %s = nemotron.ssm_skip %y, %y, %d {head_dim = 2} : tensor<?x8xf32>, tensor<3xf32>
  return
}
