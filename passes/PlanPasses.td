//===- PlanPasses.td - from the nemotron dialect to a plan that can be written ---------------------------------------------===//
#ifndef PLAN_PASSES_TD
#define PLAN_PASSES_TD

include "mlir/Pass/PassBase.td"

def ConvertNemotronToPlanPass : Pass<"convert-nemotron-to-plan", "::mlir::ModuleOp"> {
  let summary = "Turn the step of a model into a program of dispatches for a target";
  let description = [{
    The function `@step` becomes a `plan.program @step`. Each op becomes what the target has for it, with a buffer for each result;
    `nemotron.split` becomes views, without a copy. What is done to a weight (cast, concat, stack, ..., then the layout
    of the target) is gathered into the region of a `plan.weight`, equal ones once; states become `plan.state`s. The target goes into
    the module's attribute `plan.target`, and the architectures that its kernels are compiled for into `plan.architectures`.

    An op that the target has no kernel for is an error at the op. A module without `@step`, such as one that was converted, is one too.

      %w = nemotron.get_weight @up             %x = ...
      %y = nemotron.linear %x, %w       ->     %y = plan.buffer "linear" : !plan.buffer<token, 576, f32>
                                               plan.dispatch "cpu.linear" ins(input = %x) outs(output = %y) weights(weight = @up)
  }];
  let options = [Option<"target", "target", "std::string", /*default=*/"\"cpu\"", "Device that the program runs on">,
                 ListOption<"architectures", "architectures", "std::string", "Of GPUs, e.g. sm_90a; none: any">];
  let dependentDialects = ["::nemotron::plan::PlanDialect"];
  let statistics = [Statistic<"numDispatches", "num-dispatches", "Dispatches in the program">,
                    Statistic<"numWeights", "num-weights", "Weights of the plan">];
}

def PlanFuseDispatchesPass : Pass<"plan-fuse-dispatches", "::mlir::ModuleOp"> {
  let summary = "Carry out several dispatches by one kernel of the target";
  let description = [{
    What ops may be fused for every target is done before they become dispatches; here is what only the kernels of the target in
    `plan.target` can do. For `cuda` a scan convolves what it reads, and a product adds the residual of the norm behind it, stores codes whose
    scale is known, and makes codes of what it reads; for `cpu` there is nothing. Results stay the same.

      plan.dispatch "cuda.linear" ins(input = %x) outs(output = %d)     ->   plan.dispatch "cuda.linear" ins(input = %x, residual = %r)
      plan.dispatch "cuda.add_rms_norm"                                        outs(output = %s)
        ins(residual = %r, delta = %d) outs(sum = %s, output = %y)           plan.dispatch "cuda.rms_norm" ins(input = %s) outs(output = %y)
  }];
  let dependentDialects = ["::nemotron::plan::PlanDialect"];
}

def PlanRetypeBuffersPass : Pass<"plan-retype-buffers", "::mlir::ModuleOp"> {
  let summary = "Store buffers in the type in which they are multiplied";
  let description = [{
    A buffer takes another type if each dispatch that reads it, or a view of it, prefers that one, and each that writes it can store it. The
    bits of all results stay the same. Products with bf16 matrices round f32 to bf16 first: stored so, it has half the bytes, and kernels copy
    it to where they multiply without a detour through registers. Codes of f8E4M3FN are stored as f16, which holds them exactly, where tensor
    cores do not multiply them. The target in `plan.target` knows its kernels; it says nothing for `cpu`.

      %x = plan.buffer "norm" : !plan.buffer<token, 192, f32>          %x = plan.buffer "norm" : !plan.buffer<token, 192, bf16>
      plan.dispatch "cuda.rms_norm" ... outs(output = %x)         ->   plan.dispatch "cuda.rms_norm" ... outs(output = %x)
      plan.dispatch "cuda.linear" ins(input = %x) ...                  plan.dispatch "cuda.linear" ins(input = %x) ...
  }];
  let dependentDialects = ["::nemotron::plan::PlanDialect"];
  let statistics = [Statistic<"numRetyped", "num-retyped", "Buffers that took another type">];
}

def PlanSpecializeKernelsPass : Pass<"plan-specialize-kernels", "::mlir::ModuleOp"> {
  let summary = "Give each dispatch a kernel that is made for its shapes and types";
  let description = [{
    Asks the target in the module's attribute `plan.target` for the kernel of each dispatch. Dispatches that need equal kernels share one
    `plan.kernel`. Does nothing for a target whose kernels are fixed, such as `cpu`, nor to a dispatch whose `plan.kernel` is there already.

      plan.dispatch "cuda.relu2" ins(...)   ->   plan.kernel "cuda.relu2.f32_192" body "elementwise" config "..." launches [...]
                                                 plan.dispatch "cuda.relu2.f32_192" ins(...)
  }];
  let dependentDialects = ["::nemotron::plan::PlanDialect"];
  let statistics = [Statistic<"numKernels", "num-kernels", "Kernels that were made">];
}

def PlanMemoryPass : Pass<"plan-memory", "::mlir::ModuleOp"> {
  let summary = "Give buffers and states of a program their places in memory";
  let description = [{
    A buffer lives from the first dispatch that uses it, or a view of it, to the last; what the program returns lives to the end. Buffers that are never
    live at once share memory, so an arena is about as large as the largest set that is live at once instead of the sum of
    all. An output never shares memory with another argument of its dispatch, because both are live there.

    Buffers are placed by descending size, and once more in order of first use, each into the smallest gap that holds it between
    those placed before; the smaller of the two arenas is taken. Offsets are in bytes per token or row, multiples of 64. `conv` and
    `ssm` states follow each other in the slot, at multiples of 64; `kv_cache` states in a page, where offsets are in bytes per token of the
    page and multiples of 4: a page has a multiple of 16 tokens.

    Zeroed buffers lie side by side and share memory with none, so that one fill clears those of a step; their offsets are
    multiples of 4.

    Sets `offset` of `plan.buffer` and `plan.state` and the arena sizes of `plan.program`, whatever they were before.
  }];
  let options = [Option<"report", "report", "bool", /*default=*/"false", "Emit a remark with the sizes, with and without reuse">];
  let statistics = [Statistic<"numBuffers", "num-buffers", "Buffers placed">,
                    Statistic<"tokenBytes", "token-arena-bytes", "Bytes per token">,
                    Statistic<"tokenBytesWithoutReuse", "token-bytes-without-reuse", "Bytes per token without reuse">,
                    Statistic<"rowBytes", "row-arena-bytes", "Bytes per row of logits">,
                    Statistic<"rowBytesWithoutReuse", "row-bytes-without-reuse", "Bytes per row of logits without reuse">];
}

def VerifyPlanPass : Pass<"verify-plan", "::mlir::ModuleOp"> {
  let summary = "Check that a module can be written as a plan file";
  let description = [{
    Stands last in the pipeline and changes nothing. Errors are: an op of the model that is left outside the regions of
    `plan.weight`s (declarations of the weights that these read may stay); not exactly one program; a layout that is not the last thing
    done to a weight; a dispatch without its `plan.kernel`, where a target specialises them, or two of one name; a buffer or state without a place or outside of its arena; a read of a buffer that no dispatch before has
    written, unless it is zeroed; a zeroed buffer for target `cpu`, which has none; two buffers that are live at once, or two states, that share memory.
  }];
}

#endif // PLAN_PASSES_TD
