// RUN: nemotron-opt %s -split-input-file -verify-diagnostics

func.func @operand_rank(%x: tensor<?xf32>) {
  // expected-error@+1 {{must be activations [T, D] of f32 or bf16 values, but got 'tensor<?xf32>'}}
  %y = nemotron.relu2 %x : tensor<?xf32>
  return
}

// -----

func.func @operand_static(%x: tensor<8x8xf32>) {
  // expected-error@+1 {{must be activations [T, D] of f32 or bf16 values, but got 'tensor<8x8xf32>'}}
  %y = nemotron.relu2 %x : tensor<8x8xf32>
  return
}

// -----

func.func @operand_type(%x: tensor<?x8xf16>) {
  // expected-error@+1 {{must be activations [T, D] of f32 or bf16 values, but got 'tensor<?x8xf16>'}}
  %y = nemotron.relu2 %x : tensor<?x8xf16>
  return
}

// -----

func.func @operand_unranked(%x: tensor<*xf32>) {
  // expected-error@+1 {{must be activations [T, D] of f32 or bf16 values, but got 'tensor<*xf32>'}}
  %y = "nemotron.relu2"(%x) : (tensor<*xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @embedding_c1(%tokens: tensor<?xi32>, %w: tensor<16x8xf32>) {
  // expected-error@+1 {{result has 9 channels, rows of weight have 8}}
  %h = nemotron.embedding %tokens, %w : (tensor<?xi32>, tensor<16x8xf32>) -> tensor<?x9xf32>
  return
}

// -----

func.func @select_rows_c1(%h: tensor<?x8xf32>, %batch: !nemotron.batch) {
  // expected-error@+1 {{result is 'tensor<?x8xbf16>', expected the type of input, 'tensor<?x8xf32>'}}
  %r = nemotron.select_rows %h of %batch : (tensor<?x8xf32>, !nemotron.batch) -> tensor<?x8xbf16>
  return
}

// -----

func.func @linear_c1(%x: tensor<?x8xf32>, %w: tensor<16x9xf32>) {
  // expected-error@+1 {{input has 8 channels, weight takes 9}}
  %y = nemotron.linear %x, %w : (tensor<?x8xf32>, tensor<16x9xf32>) -> tensor<?x16xf32>
  return
}

// -----

func.func @linear_c2(%x: tensor<?x8xf32>, %w: tensor<16x8xf32>) {
  // expected-error@+1 {{result has 8 channels, weight gives 16}}
  %y = nemotron.linear %x, %w : (tensor<?x8xf32>, tensor<16x8xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @linear_c3(%x: tensor<?x8xf32>, %w: tensor<16x8xf32>, %b: tensor<8xf32>) {
  // expected-error@+1 {{bias has 8 elements, weight gives 16 channels}}
  %y = nemotron.linear %x, %w bias %b : (tensor<?x8xf32>, tensor<16x8xf32>, tensor<8xf32>) -> tensor<?x16xf32>
  return
}

// -----

func.func @linear_c4(%x: tensor<?x8xf32>, %w: tensor<16x8xf32>) {
  // expected-error@+1 {{activation is silu, expected none or relu2}}
  %y = nemotron.linear %x, %w {activation = #nemotron.activation<silu>}
     : (tensor<?x8xf32>, tensor<16x8xf32>) -> tensor<?x16xf32>
  return
}

// -----

func.func @split_c1(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{results have 7 channels together, input has 8}}
  %a, %b = nemotron.split %x : (tensor<?x8xf32>) -> (tensor<?x4xf32>, tensor<?x3xf32>)
  return
}

// -----

func.func @split_c1_overflow(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{results have 18446744073709551615 channels together, input has 8}}
  %a, %b, %c = nemotron.split %x : (tensor<?x8xf32>)
    -> (tensor<?x9223372036854775807xf32>, tensor<?x9223372036854775807xf32>, tensor<?x10xf32>)
  return
}

// -----

func.func @split_c2(%x: tensor<?x8xf32>) {
  // expected-error@+1 {{result has elements of 'bf16', input of 'f32'}}
  %a, %b = nemotron.split %x : (tensor<?x8xf32>) -> (tensor<?x4xf32>, tensor<?x4xbf16>)
  return
}

// -----

func.func @add_types(%a: tensor<?x8xf32>, %b: tensor<?x9xf32>) {
  // expected-error@+1 {{requires the same type for all operands and results}}
  %s = "nemotron.add"(%a, %b) : (tensor<?x8xf32>, tensor<?x9xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @moe_route_c1(%h: tensor<?x8xf32>, %gate: tensor<4x9xf32>, %bias: tensor<4xf32>) {
  // expected-error@+1 {{input has 8 channels, weight takes 9}}
  %i, %w = nemotron.moe_route %h, %gate, %bias
           {n_group = 1, topk_group = 1, norm_topk_prob = true, routed_scaling_factor = 1.0 : f32}
         : (tensor<?x8xf32>, tensor<4x9xf32>, tensor<4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
  return
}

// -----

func.func @moe_route_c2(%h: tensor<?x8xf32>, %gate: tensor<4x8xf32>, %bias: tensor<5xf32>) {
  // expected-error@+1 {{correction_bias has 5 elements, weight has 4 experts}}
  %i, %w = nemotron.moe_route %h, %gate, %bias
           {n_group = 1, topk_group = 1, norm_topk_prob = true, routed_scaling_factor = 1.0 : f32}
         : (tensor<?x8xf32>, tensor<4x8xf32>, tensor<5xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
  return
}

// -----

func.func @moe_route_c3_width(%h: tensor<?x8xf32>, %gate: tensor<4x8xf32>, %bias: tensor<4xf32>) {
  // expected-error@+1 {{picks 2 experts a token, but gives 3 weights}}
  %i, %w = nemotron.moe_route %h, %gate, %bias
           {n_group = 1, topk_group = 1, norm_topk_prob = true, routed_scaling_factor = 1.0 : f32}
         : (tensor<?x8xf32>, tensor<4x8xf32>, tensor<4xf32>) -> (tensor<?x2xi32>, tensor<?x3xf32>)
  return
}

// -----

func.func @moe_route_c3(%h: tensor<?x8xf32>, %gate: tensor<4x8xf32>, %bias: tensor<4xf32>) {
  // expected-error@+1 {{picks 5 experts a token, expected 1 to 4}}
  %i, %w = nemotron.moe_route %h, %gate, %bias
           {n_group = 1, topk_group = 1, norm_topk_prob = true, routed_scaling_factor = 1.0 : f32}
         : (tensor<?x8xf32>, tensor<4x8xf32>, tensor<4xf32>) -> (tensor<?x5xi32>, tensor<?x5xf32>)
  return
}

// -----

func.func @moe_route_c4(%h: tensor<?x8xf32>, %gate: tensor<4x8xf32>, %bias: tensor<4xf32>) {
  // expected-error@+1 {{has 4 experts, not a multiple of 3 groups}}
  %i, %w = nemotron.moe_route %h, %gate, %bias
           {n_group = 3, topk_group = 1, norm_topk_prob = true, routed_scaling_factor = 1.0 : f32}
         : (tensor<?x8xf32>, tensor<4x8xf32>, tensor<4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
  return
}

// -----

func.func @moe_route_c4_topk(%h: tensor<?x8xf32>, %gate: tensor<4x8xf32>, %bias: tensor<4xf32>) {
  // expected-error@+1 {{picks 3 groups, expected 1 to 2}}
  %i, %w = nemotron.moe_route %h, %gate, %bias
           {n_group = 2, topk_group = 3, norm_topk_prob = true, routed_scaling_factor = 1.0 : f32}
         : (tensor<?x8xf32>, tensor<4x8xf32>, tensor<4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
  return
}

// -----

func.func @moe_route_c4_positive(%h: tensor<?x8xf32>, %gate: tensor<4x8xf32>, %bias: tensor<4xf32>) {
  // expected-error@+2 {{attribute 'n_group' failed to satisfy constraint: 64-bit signless integer attribute whose value is positive}}
  %i, %w = nemotron.moe_route %h, %gate, %bias
           {n_group = 0, topk_group = 1, norm_topk_prob = true, routed_scaling_factor = 1.0 : f32}
         : (tensor<?x8xf32>, tensor<4x8xf32>, tensor<4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)
  return
}

// -----

func.func @moe_route_c5(%h: tensor<?x8xf32>, %gate: tensor<4x8xf32>, %bias: tensor<4xf32>) {
  // expected-error@+1 {{picks 3 experts a token, but 1 groups hold 2}}
  %i, %w = nemotron.moe_route %h, %gate, %bias
           {n_group = 2, topk_group = 1, norm_topk_prob = true, routed_scaling_factor = 1.0 : f32}
         : (tensor<?x8xf32>, tensor<4x8xf32>, tensor<4xf32>) -> (tensor<?x3xi32>, tensor<?x3xf32>)
  return
}

// -----

func.func @moe_experts_c1_up(%h: tensor<?x8xf32>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<4x16x9xf32>,
                             %down: tensor<4x9x16xf32>) {
  // expected-error@+1 {{input has 8 channels, up takes 9}}
  %y = nemotron.moe_experts %h, %i, %w, %up, %down
     : (tensor<?x8xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<4x16x9xf32>, tensor<4x9x16xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @moe_experts_c1_down(%h: tensor<?x8xf32>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<4x16x8xf32>,
                               %down: tensor<5x8x16xf32>) {
  // expected-error@+1 {{down is 'tensor<5x8x16xf32>', expected shape [4, 8, 16] to go with up, 'tensor<4x16x8xf32>'}}
  %y = nemotron.moe_experts %h, %i, %w, %up, %down
     : (tensor<?x8xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<4x16x8xf32>, tensor<5x8x16xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @moe_experts_c2(%h: tensor<?x8xf32>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<4x16x8xf32>,
                          %down: tensor<4x8x16xf32>) {
  // expected-error@+1 {{result is 'tensor<?x9xf32>', expected the type of input, 'tensor<?x8xf32>'}}
  %y = nemotron.moe_experts %h, %i, %w, %up, %down
     : (tensor<?x8xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<4x16x8xf32>, tensor<4x8x16xf32>) -> tensor<?x9xf32>
  return
}

// -----

func.func @moe_experts_c3(%h: tensor<?x8xf32>, %i: tensor<?x3xi32>, %w: tensor<?x2xf32>, %up: tensor<4x16x8xf32>,
                          %down: tensor<4x8x16xf32>) {
  // expected-error@+1 {{has 3 indices a token, but 2 weights}}
  %y = nemotron.moe_experts %h, %i, %w, %up, %down
     : (tensor<?x8xf32>, tensor<?x3xi32>, tensor<?x2xf32>, tensor<4x16x8xf32>, tensor<4x8x16xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @moe_experts_c4(%h: tensor<?x8xf32>, %i: tensor<?x2xi32>, %w: tensor<?x2xf32>, %up: tensor<4x16x8xf32>,
                          %down: tensor<4x8x16xbf16>) {
  // expected-error@+1 {{up has elements of 'f32', down of 'bf16'}}
  %y = nemotron.moe_experts %h, %i, %w, %up, %down
     : (tensor<?x8xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<4x16x8xf32>, tensor<4x8x16xbf16>) -> tensor<?x8xf32>
  return
}
