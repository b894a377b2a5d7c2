// RUN: nemotron-opt %s -split-input-file -plan-specialize-kernels -verify-diagnostics | FileCheck %s

// Equal shapes share a kernel; what the name does not tell gives it a number.
// CHECK: plan.kernel "cuda.relu2.float_64" body "elementwise" config "struct Config {\0A  using Input = float;
// CHECK-SAME: static constexpr int kColumns = 64;
// CHECK-SAME: extern \22C\22 __global__ void __launch_bounds__(32) relu2(const float* __restrict__ input, float* output)
// CHECK-SAME: launches [{arguments = ["input input", "output output"], block_threads = 32 : i64, function = "relu2", grid = ["T", "1", "1"], shared_bytes = 0 : i64}]
// CHECK: plan.kernel "cuda.relu2.float_64.2"
// CHECK-SAME: grid = ["R", "1", "1"]
// CHECK-NOT: plan.kernel
// CHECK-LABEL: plan.program @shares
module attributes {plan.target = "cuda"} {
  plan.program @shares {
    %x = plan.buffer "x" : !plan.buffer<token, 64, f32>
    %y = plan.buffer "y" : !plan.buffer<token, 64, f32>
    %z = plan.buffer "z" : !plan.buffer<token, 64, f32>
    // CHECK: plan.dispatch "cuda.relu2.float_64" ins
    plan.dispatch "cuda.relu2" ins(input = %x : !plan.buffer<token, 64, f32>) outs(output = %y : !plan.buffer<token, 64, f32>)
    // CHECK: plan.dispatch "cuda.relu2.float_64" ins
    plan.dispatch "cuda.relu2" ins(input = %y : !plan.buffer<token, 64, f32>) outs(output = %z : !plan.buffer<token, 64, f32>)
    %a = plan.buffer "a" : !plan.buffer<row, 64, f32>
    %b = plan.buffer "b" : !plan.buffer<row, 64, f32>
    // CHECK: plan.dispatch "cuda.relu2.float_64.2" ins
    plan.dispatch "cuda.relu2" ins(input = %a : !plan.buffer<row, 64, f32>) outs(output = %b : !plan.buffer<row, 64, f32>)
    plan.return %b : !plan.buffer<row, 64, f32>
  }
}

// -----

// A kernel that is there already is kept.
// CHECK: plan.kernel "mine" body "b"
// CHECK-NOT: plan.kernel
module attributes {plan.target = "cuda"} {
  plan.kernel "mine" body "b" config "c" launches [{function = "f", grid = ["T", "1", "1"], block_threads = 32 : i64,
                                                    shared_bytes = 0 : i64, arguments = ["output y"]} ] scratch "S*8"
  plan.program @keeps {
    %l = plan.buffer "l" : !plan.buffer<row, 64, f32>
    plan.dispatch "mine" outs(y = %l : !plan.buffer<row, 64, f32>)
    plan.return %l : !plan.buffer<row, 64, f32>
  }
}

// -----

module attributes {plan.target = "cuda"} {
  plan.program @unknown {
    %l = plan.buffer "l" : !plan.buffer<row, 64, f32>
    // expected-error@+1 {{names a kernel that target cuda does not have}}
    plan.dispatch "cuda.nothing" outs(y = %l : !plan.buffer<row, 64, f32>)
    plan.return %l : !plan.buffer<row, 64, f32>
  }
}

// -----

module attributes {plan.target = "cuda"} {
  plan.program @scaling_of_a_step {
    %x = plan.buffer "x" : !plan.buffer<row, 64, f32>
    %l = plan.buffer "l" : !plan.buffer<row, 64, f8E4M3FN>
    %s = plan.buffer "s" : !plan.buffer<row, 1, f32>
    // expected-error@+1 {{scales by the maximum of a step, expected a zeroed output 'maximum' to gather it}}
    plan.dispatch "cuda.quantize" ins(input = %x : !plan.buffer<row, 64, f32>)
      outs(output = %l : !plan.buffer<row, 64, f8E4M3FN>, scale = %s : !plan.buffer<row, 1, f32>)
      {activation = "none", scaling = "step", scale = 0.0 : f32}
    plan.return %x : !plan.buffer<row, 64, f32>
  }
}

// -----

module attributes {plan.target = "cuda"} {
  plan.program @norm_scaled_by_a_step {
    %x = plan.buffer "x" : !plan.buffer<row, 64, f32>
    %l = plan.buffer "l" : !plan.buffer<row, 64, f8E4M3FN>
    %s = plan.buffer "s" : !plan.buffer<row, 1, f32>
    // expected-error@+1 {{scales by the maximum of a step, expected scaling token or static of a norm}}
    plan.dispatch "cuda.rms_norm_quantize" ins(input = %x : !plan.buffer<row, 64, f32>)
      outs(output = %l : !plan.buffer<row, 64, f8E4M3FN>, scale = %s : !plan.buffer<row, 1, f32>)
      {eps = 1.0e-5 : f32, scaling = "step", scale = 0.0 : f32}
    plan.return %x : !plan.buffer<row, 64, f32>
  }
}

// -----

module attributes {plan.target = "cuda"} {
  nemotron.weight @m : tensor<8x64x64xf8E4M3FN> from "m"
  nemotron.weight @s.source : tensor<8x1xf32> from "s"
  plan.weight @w : tensor<8x64x64xf8E4M3FN, #plan.layout<fragment>> {
    %0 = nemotron.get_weight @m : tensor<8x64x64xf8E4M3FN>
    %1 = plan.pack %0 : tensor<8x64x64xf8E4M3FN> to tensor<8x64x64xf8E4M3FN, #plan.layout<fragment>>
    plan.yield %1 : tensor<8x64x64xf8E4M3FN, #plan.layout<fragment>>
  }
  plan.weight @s : tensor<8x1xf32> {
    %0 = nemotron.get_weight @s.source : tensor<8x1xf32>
    plan.yield %0 : tensor<8x1xf32>
  }
  plan.program @experts_without_maxima {
    %x = plan.buffer "x" : !plan.buffer<token, 64, f32>
    %i = plan.buffer "i" : !plan.buffer<token, 2, i32>
    %p = plan.buffer "p" : !plan.buffer<token, 2, f32>
    %y = plan.buffer "y" : !plan.buffer<token, 64, f32>
    // expected-error@+1 {{quantizes rows by their maximum, expected a zeroed output 'hidden_maxima' to gather it}}
    plan.dispatch "cuda.scaled_moe_experts" ins(input = %x : !plan.buffer<token, 64, f32>, indices = %i : !plan.buffer<token, 2, i32>,
                                                weights = %p : !plan.buffer<token, 2, f32>)
      outs(output = %y : !plan.buffer<token, 64, f32>) weights(up = @w, up_scale = @s, down = @w, down_scale = @s) {activations = "e4m3"}
    %l = plan.buffer "l" : !plan.buffer<row, 64, f32>
    plan.return %l : !plan.buffer<row, 64, f32>
  }
}

// -----

// expected-error@+1 {{has no known target in plan.target}}
module {
}
