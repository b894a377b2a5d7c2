// RUN: nemotron-opt %s -split-input-file -plan-fuse-dispatches | FileCheck %s
// RUN: nemotron-opt %s -split-input-file -plan-fuse-dispatches -plan-memory -verify-plan -o /dev/null

// The product adds the residual, the norm reads the sum.
// CHECK-LABEL: plan.program @residual
module attributes {plan.target = "cuda"} {
  plan.program @residual {
    %r = plan.buffer "r" : !plan.buffer<token, 64, f32>
    plan.dispatch "cuda.embedding" outs(output = %r : !plan.buffer<token, 64, f32>)
    %d = plan.buffer "d" : !plan.buffer<token, 64, f32>
    // CHECK-NOT: "d"
    // CHECK: %[[S:.*]] = plan.buffer "s"
    // CHECK: plan.dispatch "cuda.linear" ins(input = %[[R:.*]] : {{.*}}, residual = %[[R]] : {{.*}}) outs(output = %[[S]] :
    // CHECK-SAME: {activation = "none", split_input = false} layer 3
    plan.dispatch "cuda.linear" ins(input = %r : !plan.buffer<token, 64, f32>) outs(output = %d : !plan.buffer<token, 64, f32>)
      {activation = "none", split_input = false} layer 3
    %s = plan.buffer "s" : !plan.buffer<token, 64, f32>
    %n = plan.buffer "n" : !plan.buffer<token, 64, f32>
    // CHECK: plan.dispatch "cuda.rms_norm" ins(input = %[[S]] : {{.*}}) outs(output = %{{.*}}) {eps = 1.000000e-05 : f64}
    plan.dispatch "cuda.add_rms_norm" ins(residual = %r : !plan.buffer<token, 64, f32>, delta = %d : !plan.buffer<token, 64, f32>)
      outs(sum = %s : !plan.buffer<token, 64, f32>, output = %n : !plan.buffer<token, 64, f32>) {eps = 1.0e-05 : f64}
    %l = plan.buffer "l" : !plan.buffer<row, 64, f32>
    plan.dispatch "cuda.select_rows" ins(input = %n : !plan.buffer<token, 64, f32>) outs(output = %l : !plan.buffer<row, 64, f32>)
    plan.return %l : !plan.buffer<row, 64, f32>
  }
}

// -----

// What else reads the product needs it as it is, and a residual that is written later cannot be added.
// CHECK-LABEL: plan.program @no_residual
// CHECK-NOT: residual = %{{.*}}) outs(output
// CHECK-COUNT-2: "cuda.add_rms_norm"
module attributes {plan.target = "cuda"} {
  plan.program @no_residual {
    %x = plan.buffer "x" : !plan.buffer<token, 64, f32>
    plan.dispatch "cuda.embedding" outs(output = %x : !plan.buffer<token, 64, f32>)
    %d = plan.buffer "d" : !plan.buffer<token, 64, f32>
    plan.dispatch "cuda.linear" ins(input = %x : !plan.buffer<token, 64, f32>) outs(output = %d : !plan.buffer<token, 64, f32>)
      {activation = "none", split_input = false}
    %e = plan.buffer "e" : !plan.buffer<token, 64, f32>
    plan.dispatch "cuda.linear" ins(input = %d : !plan.buffer<token, 64, f32>) outs(output = %e : !plan.buffer<token, 64, f32>)
      {activation = "none", split_input = false}
    %r = plan.buffer "r" : !plan.buffer<token, 64, f32>
    plan.dispatch "cuda.add" ins(lhs = %x : !plan.buffer<token, 64, f32>, rhs = %x : !plan.buffer<token, 64, f32>)
      outs(output = %r : !plan.buffer<token, 64, f32>)
    %s = plan.buffer "s" : !plan.buffer<token, 64, f32>
    %n = plan.buffer "n" : !plan.buffer<token, 64, f32>
    plan.dispatch "cuda.add_rms_norm" ins(residual = %x : !plan.buffer<token, 64, f32>, delta = %d : !plan.buffer<token, 64, f32>)
      outs(sum = %s : !plan.buffer<token, 64, f32>, output = %n : !plan.buffer<token, 64, f32>)
    %t = plan.buffer "t" : !plan.buffer<token, 64, f32>
    %m = plan.buffer "m" : !plan.buffer<token, 64, f32>
    plan.dispatch "cuda.add_rms_norm" ins(residual = %r : !plan.buffer<token, 64, f32>, delta = %e : !plan.buffer<token, 64, f32>)
      outs(sum = %t : !plan.buffer<token, 64, f32>, output = %m : !plan.buffer<token, 64, f32>)
    %l = plan.buffer "l" : !plan.buffer<row, 64, f32>
    plan.dispatch "cuda.select_rows" ins(input = %m : !plan.buffer<token, 64, f32>) outs(output = %l : !plan.buffer<row, 64, f32>)
    plan.return %l : !plan.buffer<row, 64, f32>
  }
}

// -----

// Codes whose scale is known are stored by the product, with the activation function of the quantize.
// CHECK-LABEL: plan.program @codes
module attributes {plan.target = "cuda"} {
  plan.program @codes {
    %x = plan.buffer "x" : !plan.buffer<token, 64, f32>
    plan.dispatch "cuda.embedding" outs(output = %x : !plan.buffer<token, 64, f32>)
    %u = plan.buffer "u" : !plan.buffer<token, 96, f32>
    // CHECK: plan.dispatch "cuda.linear" {{.*}} outs(output = %{{.*}} : !plan.buffer<token, 96, f8E4M3FN>, scale = %{{.*}} : !plan.buffer<token, 1, f32>)
    // CHECK-SAME: {activation = "relu2", output_scale = 2.500000e-01 : f32, split_input = false}
    plan.dispatch "cuda.linear" ins(input = %x : !plan.buffer<token, 64, f32>) outs(output = %u : !plan.buffer<token, 96, f32>)
      {activation = "none", split_input = false}
    %q = plan.buffer "q" : !plan.buffer<token, 96, f8E4M3FN>
    %s = plan.buffer "s" : !plan.buffer<token, 1, f32>
    // CHECK-NOT: cuda.quantize
    plan.dispatch "cuda.quantize" ins(input = %u : !plan.buffer<token, 96, f32>)
      outs(output = %q : !plan.buffer<token, 96, f8E4M3FN>, scale = %s : !plan.buffer<token, 1, f32>)
      {activation = "relu2", scale = 0.25 : f32, scaling = "static"}
    %y = plan.buffer "y" : !plan.buffer<token, 64, f32>
    plan.dispatch "cuda.scaled_matmul" ins(input = %q : !plan.buffer<token, 96, f8E4M3FN>, input_scale = %s : !plan.buffer<token, 1, f32>)
      outs(output = %y : !plan.buffer<token, 64, f32>) {activation = "none"}
    %l = plan.buffer "l" : !plan.buffer<row, 64, f32>
    plan.dispatch "cuda.select_rows" ins(input = %y : !plan.buffer<token, 64, f32>) outs(output = %l : !plan.buffer<row, 64, f32>)
    plan.return %l : !plan.buffer<row, 64, f32>
  }
}

// -----

// CHECK-LABEL: plan.program @of_the_cpu
// CHECK: "cpu.add_rms_norm"
module attributes {plan.target = "cpu"} {
  plan.program @of_the_cpu {
    %r = plan.buffer "r" : !plan.buffer<token, 64, f32>
    plan.dispatch "cpu.embedding" outs(output = %r : !plan.buffer<token, 64, f32>)
    %d = plan.buffer "d" : !plan.buffer<token, 64, f32>
    plan.dispatch "cpu.linear" ins(input = %r : !plan.buffer<token, 64, f32>) outs(output = %d : !plan.buffer<token, 64, f32>)
      {activation = "none", split_input = false}
    %s = plan.buffer "s" : !plan.buffer<token, 64, f32>
    %n = plan.buffer "n" : !plan.buffer<token, 64, f32>
    plan.dispatch "cpu.add_rms_norm" ins(residual = %r : !plan.buffer<token, 64, f32>, delta = %d : !plan.buffer<token, 64, f32>)
      outs(sum = %s : !plan.buffer<token, 64, f32>, output = %n : !plan.buffer<token, 64, f32>)
    %l = plan.buffer "l" : !plan.buffer<row, 64, f32>
    plan.dispatch "cpu.select_rows" ins(input = %n : !plan.buffer<token, 64, f32>) outs(output = %l : !plan.buffer<row, 64, f32>)
    plan.return %l : !plan.buffer<row, 64, f32>
  }
}

// -----

// A scale of each row: the product that makes it gathers the maximum, the one that reads it quantizes.
// CHECK-LABEL: plan.program @codes_of_tokens
module attributes {plan.target = "cuda"} {
  plan.program @codes_of_tokens {
    %x = plan.buffer "x" : !plan.buffer<token, 64, f32>
    plan.dispatch "cuda.embedding" outs(output = %x : !plan.buffer<token, 64, f32>)
    // CHECK: %[[U:.*]] = plan.buffer "u"
    %u = plan.buffer "u" : !plan.buffer<token, 96, f32>
    // CHECK: %[[M:.*]] = plan.buffer "u.maximum" {zeroed} : !plan.buffer<token, 1, f32>
    // CHECK: plan.dispatch "cuda.linear" {{.*}} outs(output = %[[U]] : {{.*}}, maximum = %[[M]] : {{.*}}) {activation = "relu2"
    plan.dispatch "cuda.linear" ins(input = %x : !plan.buffer<token, 64, f32>) outs(output = %u : !plan.buffer<token, 96, f32>)
      {activation = "none", split_input = false}
    %q = plan.buffer "q" : !plan.buffer<token, 96, f8E4M3FN>
    %s = plan.buffer "s" : !plan.buffer<token, 1, f32>
    // CHECK-NOT: cuda.quantize
    plan.dispatch "cuda.quantize" ins(input = %u : !plan.buffer<token, 96, f32>)
      outs(output = %q : !plan.buffer<token, 96, f8E4M3FN>, scale = %s : !plan.buffer<token, 1, f32>)
      {activation = "relu2", scale = 0.0 : f32, scaling = "token"}
    %y = plan.buffer "y" : !plan.buffer<token, 64, f32>
    // CHECK: plan.dispatch "cuda.scaled_matmul" ins(input = %[[U]] : {{.*}}, input_maximum = %[[M]] : {{.*}})
    // CHECK-SAME: {activation = "none", input_activation = "none", scale = 0.000000e+00 : f32, scaling = "token"}
    plan.dispatch "cuda.scaled_matmul" ins(input = %q : !plan.buffer<token, 96, f8E4M3FN>, input_scale = %s : !plan.buffer<token, 1, f32>)
      outs(output = %y : !plan.buffer<token, 64, f32>) {activation = "none"}
    %l = plan.buffer "l" : !plan.buffer<row, 64, f32>
    plan.dispatch "cuda.select_rows" ins(input = %y : !plan.buffer<token, 64, f32>) outs(output = %l : !plan.buffer<row, 64, f32>)
    plan.return %l : !plan.buffer<row, 64, f32>
  }
}

// -----

// What gathers no maximum leaves it to the product; two products that read the same codes leave them as they are.
// CHECK-LABEL: plan.program @codes_of_others
module attributes {plan.target = "cuda"} {
  plan.program @codes_of_others {
    %x = plan.buffer "x" : !plan.buffer<token, 64, f32>
    plan.dispatch "cuda.embedding" outs(output = %x : !plan.buffer<token, 64, f32>)
    %q = plan.buffer "q" : !plan.buffer<token, 64, f8E4M3FN>
    %s = plan.buffer "s" : !plan.buffer<token, 1, f32>
    plan.dispatch "cuda.quantize" ins(input = %x : !plan.buffer<token, 64, f32>)
      outs(output = %q : !plan.buffer<token, 64, f8E4M3FN>, scale = %s : !plan.buffer<token, 1, f32>)
      {activation = "none", scale = 0.0 : f32, scaling = "token"}
    %y = plan.buffer "y" : !plan.buffer<token, 64, f32>
    // CHECK: plan.dispatch "cuda.scaled_matmul" ins(input = %{{.*}} : !plan.buffer<token, 64, f32>) outs(
    // CHECK-SAME: input_activation = "none"
    plan.dispatch "cuda.scaled_matmul" ins(input = %q : !plan.buffer<token, 64, f8E4M3FN>, input_scale = %s : !plan.buffer<token, 1, f32>)
      outs(output = %y : !plan.buffer<token, 64, f32>) {activation = "none"}
    %r = plan.buffer "r" : !plan.buffer<token, 64, f8E4M3FN>
    %t = plan.buffer "t" : !plan.buffer<token, 1, f32>
    // CHECK: cuda.quantize
    plan.dispatch "cuda.quantize" ins(input = %y : !plan.buffer<token, 64, f32>)
      outs(output = %r : !plan.buffer<token, 64, f8E4M3FN>, scale = %t : !plan.buffer<token, 1, f32>)
      {activation = "none", scale = 0.0 : f32, scaling = "token"}
    %a = plan.buffer "a" : !plan.buffer<token, 64, f32>
    %b = plan.buffer "b" : !plan.buffer<token, 64, f32>
    // CHECK-COUNT-2: input_scale = %
    plan.dispatch "cuda.scaled_matmul" ins(input = %r : !plan.buffer<token, 64, f8E4M3FN>, input_scale = %t : !plan.buffer<token, 1, f32>)
      outs(output = %a : !plan.buffer<token, 64, f32>) {activation = "none"}
    plan.dispatch "cuda.scaled_matmul" ins(input = %r : !plan.buffer<token, 64, f8E4M3FN>, input_scale = %t : !plan.buffer<token, 1, f32>)
      outs(output = %b : !plan.buffer<token, 64, f32>) {activation = "none"}
    %c = plan.buffer "c" : !plan.buffer<token, 64, f32>
    plan.dispatch "cuda.add" ins(lhs = %a : !plan.buffer<token, 64, f32>, rhs = %b : !plan.buffer<token, 64, f32>)
      outs(output = %c : !plan.buffer<token, 64, f32>)
    %l = plan.buffer "l" : !plan.buffer<row, 64, f32>
    plan.dispatch "cuda.select_rows" ins(input = %c : !plan.buffer<token, 64, f32>) outs(output = %l : !plan.buffer<row, 64, f32>)
    plan.return %l : !plan.buffer<row, 64, f32>
  }
}

// -----

// The scan convolves what it reads.
// CHECK-LABEL: plan.program @convolution
module attributes {plan.target = "cuda"} {
  plan.weight @conv : tensor<4x128xf32> {
    %w = nemotron.get_weight @conv.source : tensor<4x128xf32>
    plan.yield %w : tensor<4x128xf32>
  }
  nemotron.weight @conv.source : tensor<4x128xf32> from "conv"
  plan.state @state conv : tensor<3x128xf32>
  plan.program @convolution {
    %x = plan.buffer "x" : !plan.buffer<token, 128, f32>
    plan.dispatch "cuda.embedding" outs(output = %x : !plan.buffer<token, 128, f32>)
    %y = plan.buffer "y" : !plan.buffer<token, 128, f32>
    // CHECK-NOT: cuda.causal_conv1d
    plan.dispatch "cuda.causal_conv1d" ins(input = %x : !plan.buffer<token, 128, f32>) outs(output = %y : !plan.buffer<token, 128, f32>)
      weights(weight = @conv) states(conv = @state) {activation = "silu"}
    %a = plan.view %y from 0 : !plan.buffer<token, 128, f32> to !plan.buffer<token, 64, f32>
    %b = plan.view %y from 64 : !plan.buffer<token, 128, f32> to !plan.buffer<token, 32, f32>
    %c = plan.view %y from 96 : !plan.buffer<token, 128, f32> to !plan.buffer<token, 32, f32>
    %n = plan.buffer "n" {zeroed} : !plan.buffer<token, 1, i32>
    %l = plan.buffer "l" : !plan.buffer<token, 64, f32>
    // CHECK: plan.dispatch "cuda.ssm_scan_gated_norm" ins(dt = %{{.*}} : {{.*}}, conv_input = %{{.*}} : !plan.buffer<token, 128, f32>)
    // CHECK-SAME: weights(conv_weight = @conv) states(conv = @state)
    // CHECK-SAME: {b_column = 64 : i64, c_column = 96 : i64, conv_activation = "silu", x_column = 0 : i64}
    plan.dispatch "cuda.ssm_scan_gated_norm"
      ins(x = %a : !plan.buffer<token, 64, f32>, b = %b : !plan.buffer<token, 32, f32>, c = %c : !plan.buffer<token, 32, f32>,
          dt = %x : !plan.buffer<token, 128, f32>)
      outs(output = %l : !plan.buffer<token, 64, f32>, counters = %n : !plan.buffer<token, 1, i32>)
    %r = plan.buffer "r" : !plan.buffer<row, 64, f32>
    plan.dispatch "cuda.select_rows" ins(input = %l : !plan.buffer<token, 64, f32>) outs(output = %r : !plan.buffer<row, 64, f32>)
    plan.return %r : !plan.buffer<row, 64, f32>
  }
}

// -----

// Blocks of a wide group are not counted, so nothing could move the window of b and c on.
// CHECK-LABEL: plan.program @convolution_of_a_wide_group
// CHECK: cuda.causal_conv1d
module attributes {plan.target = "cuda"} {
  plan.weight @conv : tensor<4x128xf32> {
    %w = nemotron.get_weight @conv.source : tensor<4x128xf32>
    plan.yield %w : tensor<4x128xf32>
  }
  nemotron.weight @conv.source : tensor<4x128xf32> from "conv"
  plan.state @state conv : tensor<3x128xf32>
  plan.program @convolution_of_a_wide_group {
    %x = plan.buffer "x" : !plan.buffer<token, 128, f32>
    plan.dispatch "cuda.embedding" outs(output = %x : !plan.buffer<token, 128, f32>)
    %y = plan.buffer "y" : !plan.buffer<token, 128, f32>
    plan.dispatch "cuda.causal_conv1d" ins(input = %x : !plan.buffer<token, 128, f32>) outs(output = %y : !plan.buffer<token, 128, f32>)
      weights(weight = @conv) states(conv = @state) {activation = "silu"}
    %a = plan.view %y from 0 : !plan.buffer<token, 128, f32> to !plan.buffer<token, 64, f32>
    %b = plan.view %y from 64 : !plan.buffer<token, 128, f32> to !plan.buffer<token, 32, f32>
    %c = plan.view %y from 96 : !plan.buffer<token, 128, f32> to !plan.buffer<token, 32, f32>
    %l = plan.buffer "l" : !plan.buffer<token, 64, f32>
    plan.dispatch "cuda.ssm_scan_gated_norm"
      ins(x = %a : !plan.buffer<token, 64, f32>, b = %b : !plan.buffer<token, 32, f32>, c = %c : !plan.buffer<token, 32, f32>,
          dt = %x : !plan.buffer<token, 128, f32>)
      outs(output = %l : !plan.buffer<token, 64, f32>)
    %r = plan.buffer "r" : !plan.buffer<row, 64, f32>
    plan.dispatch "cuda.select_rows" ins(input = %l : !plan.buffer<token, 64, f32>) outs(output = %r : !plan.buffer<row, 64, f32>)
    plan.return %r : !plan.buffer<row, 64, f32>
  }
}
