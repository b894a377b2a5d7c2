// RUN: nemotron-opt %s -split-input-file -plan-retype-buffers | FileCheck %s
// RUN: nemotron-opt %s -split-input-file -plan-retype-buffers -plan-memory -verify-plan -o /dev/null

// Read by products alone, which round it; so is the product that only a product reads.
// CHECK-LABEL: plan.program @narrows
module attributes {plan.target = "cuda"} {
  plan.program @narrows {
    %x = plan.buffer "x" : !plan.buffer<token, 64, f32>
    plan.dispatch "cuda.embedding" outs(output = %x : !plan.buffer<token, 64, f32>)
    // CHECK: %[[N:.*]] = plan.buffer "n" : !plan.buffer<token, 64, bf16>
    %n = plan.buffer "n" : !plan.buffer<token, 64, f32>
    // CHECK: plan.dispatch "cuda.rms_norm" ins(input = %{{.*}} : !plan.buffer<token, 64, f32>) outs(output = %[[N]] : !plan.buffer<token, 64, bf16>)
    plan.dispatch "cuda.rms_norm" ins(input = %x : !plan.buffer<token, 64, f32>) outs(output = %n : !plan.buffer<token, 64, f32>)
    // CHECK: plan.buffer "h" : !plan.buffer<token, 96, bf16>
    %h = plan.buffer "h" : !plan.buffer<token, 96, f32>
    plan.dispatch "cuda.linear" ins(input = %n : !plan.buffer<token, 64, f32>) outs(output = %h : !plan.buffer<token, 96, f32>)
      {activation = "relu2", split_input = false}
    // CHECK: plan.view {{.*}} !plan.buffer<token, 96, bf16> to !plan.buffer<token, 32, bf16>
    %v = plan.view %h from 64 : !plan.buffer<token, 96, f32> to !plan.buffer<token, 32, f32>
    // CHECK: plan.buffer "y" : !plan.buffer<token, 64, f32>
    %y = plan.buffer "y" : !plan.buffer<token, 64, f32>
    plan.dispatch "cuda.linear" ins(input = %v : !plan.buffer<token, 32, f32>) outs(output = %y : !plan.buffer<token, 64, f32>)
      {activation = "none", split_input = false}
    %l = plan.buffer "l" : !plan.buffer<row, 64, f32>
    plan.dispatch "cuda.select_rows" ins(input = %y : !plan.buffer<token, 64, f32>) outs(output = %l : !plan.buffer<row, 64, f32>)
    plan.return %l : !plan.buffer<row, 64, f32>
  }
}

// -----

// The product splits its input, the sum is read by an add too, and the logits are returned.
// CHECK-LABEL: plan.program @keeps
// CHECK-NOT: bf16
module attributes {plan.target = "cuda"} {
  plan.program @keeps {
    %x = plan.buffer "x" : !plan.buffer<token, 64, f32>
    plan.dispatch "cuda.embedding" outs(output = %x : !plan.buffer<token, 64, f32>)
    %n = plan.buffer "n" : !plan.buffer<token, 64, f32>
    plan.dispatch "cuda.rms_norm" ins(input = %x : !plan.buffer<token, 64, f32>) outs(output = %n : !plan.buffer<token, 64, f32>)
    %y = plan.buffer "y" : !plan.buffer<token, 64, f32>
    plan.dispatch "cuda.linear" ins(input = %n : !plan.buffer<token, 64, f32>) outs(output = %y : !plan.buffer<token, 64, f32>)
      {activation = "none", split_input = true}
    %s = plan.buffer "s" : !plan.buffer<token, 64, f32>
    plan.dispatch "cuda.add" ins(lhs = %x : !plan.buffer<token, 64, f32>, rhs = %y : !plan.buffer<token, 64, f32>)
      outs(output = %s : !plan.buffer<token, 64, f32>)
    %l = plan.buffer "l" : !plan.buffer<row, 64, f32>
    plan.dispatch "cuda.select_rows" ins(input = %s : !plan.buffer<token, 64, f32>) outs(output = %l : !plan.buffer<row, 64, f32>)
    plan.return %l : !plan.buffer<row, 64, f32>
  }
}

// -----

// Codes that tensor cores do not multiply on every architecture of the plan.
// CHECK-LABEL: plan.program @codes
module attributes {plan.target = "cuda", plan.architectures = ["sm_89", "sm_90a"]} {
  plan.program @codes {
    %x = plan.buffer "x" : !plan.buffer<token, 64, f32>
    plan.dispatch "cuda.embedding" outs(output = %x : !plan.buffer<token, 64, f32>)
    // CHECK: plan.buffer "q" : !plan.buffer<token, 64, f16>
    %q = plan.buffer "q" : !plan.buffer<token, 64, f8E4M3FN>
    %s = plan.buffer "s" : !plan.buffer<token, 1, f32>
    plan.dispatch "cuda.quantize" ins(input = %x : !plan.buffer<token, 64, f32>)
      outs(output = %q : !plan.buffer<token, 64, f8E4M3FN>, scale = %s : !plan.buffer<token, 1, f32>)
    %l = plan.buffer "l" : !plan.buffer<row, 64, f32>
    plan.dispatch "cuda.scaled_matmul" ins(input = %q : !plan.buffer<token, 64, f8E4M3FN>, input_scale = %s : !plan.buffer<token, 1, f32>)
      outs(output = %l : !plan.buffer<row, 64, f32>)
    plan.return %l : !plan.buffer<row, 64, f32>
  }
}

// -----

// CHECK-LABEL: plan.program @codes_that_are_multiplied
module attributes {plan.target = "cuda", plan.architectures = ["sm_89", "sm_120a"]} {
  plan.program @codes_that_are_multiplied {
    %x = plan.buffer "x" : !plan.buffer<token, 64, f32>
    plan.dispatch "cuda.embedding" outs(output = %x : !plan.buffer<token, 64, f32>)
    // CHECK: plan.buffer "q" : !plan.buffer<token, 64, f8E4M3FN>
    %q = plan.buffer "q" : !plan.buffer<token, 64, f8E4M3FN>
    %s = plan.buffer "s" : !plan.buffer<token, 1, f32>
    plan.dispatch "cuda.quantize" ins(input = %x : !plan.buffer<token, 64, f32>)
      outs(output = %q : !plan.buffer<token, 64, f8E4M3FN>, scale = %s : !plan.buffer<token, 1, f32>)
    %l = plan.buffer "l" : !plan.buffer<row, 64, f32>
    plan.dispatch "cuda.scaled_matmul" ins(input = %q : !plan.buffer<token, 64, f8E4M3FN>, input_scale = %s : !plan.buffer<token, 1, f32>)
      outs(output = %l : !plan.buffer<row, 64, f32>)
    plan.return %l : !plan.buffer<row, 64, f32>
  }
}

// -----

// CHECK-LABEL: plan.program @of_the_cpu
// CHECK-NOT: bf16
module attributes {plan.target = "cpu"} {
  plan.program @of_the_cpu {
    %x = plan.buffer "x" : !plan.buffer<token, 64, f32>
    plan.dispatch "cpu.embedding" outs(output = %x : !plan.buffer<token, 64, f32>)
    %n = plan.buffer "n" : !plan.buffer<token, 64, f32>
    plan.dispatch "cpu.linear" ins(input = %x : !plan.buffer<token, 64, f32>) outs(output = %n : !plan.buffer<token, 64, f32>)
      {activation = "none", split_input = false}
    %l = plan.buffer "l" : !plan.buffer<row, 64, f32>
    plan.dispatch "cpu.select_rows" ins(input = %n : !plan.buffer<token, 64, f32>) outs(output = %l : !plan.buffer<row, 64, f32>)
    plan.return %l : !plan.buffer<row, 64, f32>
  }
}

// -----

// CHECK-LABEL: plan.program @zeroed
// CHECK-NOT: bf16
module attributes {plan.target = "cuda"} {
  plan.program @zeroed {
    %x = plan.buffer "x" {zeroed} : !plan.buffer<token, 64, f32>
    %n = plan.buffer "n" : !plan.buffer<token, 64, f32>
    plan.dispatch "cuda.linear" ins(input = %x : !plan.buffer<token, 64, f32>) outs(output = %n : !plan.buffer<token, 64, f32>)
      {activation = "none", split_input = false}
    %l = plan.buffer "l" : !plan.buffer<row, 64, f32>
    plan.dispatch "cuda.select_rows" ins(input = %n : !plan.buffer<token, 64, f32>) outs(output = %l : !plan.buffer<row, 64, f32>)
    plan.return %l : !plan.buffer<row, 64, f32>
  }
}
