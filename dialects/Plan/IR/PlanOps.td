//===- PlanOps.td - ops of the plan dialect -----------------------------------------------------------------------===//
#ifndef PLAN_OPS_TD
#define PLAN_OPS_TD

include "dialects/Nemotron/IR/NemotronDialect.td"
include "dialects/Nemotron/IR/NemotronOpBase.td"
include "dialects/Plan/IR/PlanDialect.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class Plan_Op<string mnemonic, list<Trait> traits = []> : Op<Plan_Dialect, mnemonic, traits>;

def Plan_WeightOp : Plan_Op<"weight", [Symbol, SingleBlock, IsolatedFromAbove]> {
  let summary = "A weight of the plan file and how it is made from the checkpoint";
  let description = [{
    The region computes the weight from tensors of the checkpoint; it is carried out while the plan is written.

    (C1) The region holds weight transforms only and ends in `plan.yield` of a value of type `type`.

    ```mlir
    plan.weight @layers.1.up_proj : tensor<576x192xbf16, #plan.layout<panel>> {
      %0 = nemotron.get_weight @layers.1.up_proj.source : tensor<576x192xbf16>
      %1 = plan.pack %0 : tensor<576x192xbf16> to tensor<576x192xbf16, #plan.layout<panel>>
      plan.yield %1 : tensor<576x192xbf16, #plan.layout<panel>>
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttrOf<AnyRankedTensor>:$type);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name `:` $type $body attr-dict";
  let hasVerifier = 1;
}

def Plan_YieldOp : Plan_Op<"yield", [Pure, Terminator, HasParent<"WeightOp">]> {
  let summary = "The value of a weight";
  let arguments = (ins AnyRankedTensor:$value);
  let assemblyFormat = "$value attr-dict `:` type($value)";
}

def Plan_PackOp : Plan_Op<"pack", [Pure, Nemotron_WeightTransform]> {
  let summary = "Lays a matrix out as the kernels of the target read it";
  let description = [{
    The layouts are described in runtime/plan/layout.h.

    (C1) The result differs from the input only in its encoding, a `#plan.layout`. (C2) The input has no encoding.
    (C3) Layouts `panel` and `fragment` are for matrices [N, K] and stacks [E, N, K], `panel` of f32, bf16, f8E4M3FN or
    i8, `fragment` of bf16 or f8E4M3FN.
  }];
  let arguments = (ins AnyRankedTensor:$input);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `to` type($result)";
  let hasVerifier = 1;
}

def Plan_StateOp : Plan_Op<"state", [Symbol]> {
  let summary = "A state and where it lies";
  let description = [{
    `offset` is in bytes: in the slot of a sequence for `conv` and `ssm`; in a page, per token of the page, for
    `kv_cache`. Absent until `plan-memory`.

    (C1) `offset`, if present, is a non-negative multiple of 64, of a `kv_cache` of 4: a page has a multiple of 16
    tokens. (C2) `type` is one that a `nemotron.state` of this
    kind can have.

    ```mlir
    plan.state @layers.0.ssm ssm : tensor<6x64x64xf32> {offset = 1024}
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, Nemotron_StateKindAttr:$kind, TypeAttrOf<AnyRankedTensor>:$type,
                       OptionalAttr<I64Attr>:$offset);
  let assemblyFormat = "$sym_name `` $kind `:` $type attr-dict";
  let hasVerifier = 1;
}

def Plan_KernelOp : Plan_Op<"kernel"> {
  let summary = "A kernel specialised for the dispatches that name it";
  let description = [{
    Targets whose kernels are compiled for a plan have one for each `kernel` that a `plan.dispatch` names; `plan-specialize-kernels`
    makes them. `body` names a source of the target, `config` is text in its language that specialises it and
    holds the entries. A dispatch carries out `launches`, in order: dictionaries of
    `function` (an entry), `grid` (three expressions over T, S, R, A, L and C, runtime/plan/grid_expression.h), `block_threads`, `shared_bytes`, and
    `arguments`, each "SOURCE" or "SOURCE NAME" with the sources of plan.fbs in lower case: `input`, `output`, `weight`, `state`, `parameter`, `step`, `scratch`.
    `scratch`, if present, is such an expression too: the bytes of memory that the launches of a dispatch share.

    (C1) A launch has these five entries, of these types. (C2) There is at least one.

    ```mlir
    plan.kernel "cuda.relu2.f32_192" body "elementwise" config "..."
      launches [{function = "relu2", grid = ["T", "1", "1"], block_threads = 128 : i64, shared_bytes = 0 : i64,
                 arguments = ["input input", "output output"]} ]
    ```
  }];
  let arguments = (ins StrAttr:$name, StrAttr:$body, StrAttr:$config, ArrayAttr:$launches, OptionalAttr<StrAttr>:$scratch);
  let assemblyFormat = "$name `body` $body `config` $config `launches` $launches (`scratch` $scratch^)? attr-dict";
  let hasVerifier = 1;
}

def Plan_ProgramOp : Plan_Op<"program", [Symbol, SingleBlock, IsolatedFromAbove]> {
  let summary = "The dispatches of a step, in order";
  let description = [{
    Arena sizes are set by `plan-memory`: bytes per token and per row of the step's capacity; `zeroed_bytes`, absent where
    there are none, those of zeroed buffers per token of the step.

    (C1) The region has no arguments. (C2) It holds `plan.buffer`, `plan.view` and `plan.dispatch` only and ends in
    `plan.return`.
    (C3) Arena sizes, if present, are non-negative multiples of 64, `zeroed_bytes` a positive multiple of 4.

    ```mlir
    plan.program @step {
      %h = plan.buffer "embedding" : !plan.buffer<token, 192, f32>
      plan.dispatch "cpu.embedding" outs(output = %h : !plan.buffer<token, 192, f32>) weights(weight = @embeddings)
      plan.return %logits : !plan.buffer<row, 4096, f32>
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, OptionalAttr<I64Attr>:$token_arena_bytes,
                       OptionalAttr<I64Attr>:$row_arena_bytes, OptionalAttr<I64Attr>:$zeroed_bytes);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name attr-dict-with-keyword $body";
  let hasVerifier = 1;
}

def Plan_BufferOp : Plan_Op<"buffer", [HasParent<"ProgramOp">]> {
  let summary = "Declares a buffer";
  let description = [{
    `offset` is in bytes per unit in the arena of its space; absent until `plan-memory`. Rows are `rowBytes()` apart:
    columns times the size of an element, rounded up to 64.

    A `zeroed` buffer is zero when a step begins, and has its memory to itself: for counters and maxima, which dispatches
    update with atomics and may read before any has written them. They are to be small: rows are not rounded up, and
    `offset` is in bytes per token of the step among the bytes of all zeroed buffers.

    (C1) `offset`, if present, is a non-negative multiple of 64, of a zeroed buffer of 4. (C2) A zeroed buffer is of space
    `token` and of i32 or f32.

    ```mlir
    %n = plan.buffer "layers.0.ssm_scan.counters" {zeroed} : !plan.buffer<token, 8, i32>
    ```
  }];
  let arguments = (ins StrAttr:$name, OptionalAttr<I64Attr>:$offset, UnitAttr:$zeroed);
  let results = (outs Plan_BufferType:$result);
  let extraClassDeclaration = [{
    /// Bytes from one row to the next.
    int64_t rowBytes();
  }];
  let assemblyFormat = "$name attr-dict `:` qualified(type($result))";
  let hasVerifier = 1;
}

def Plan_ViewOp : Plan_Op<"view", [Pure]> {
  let summary = "A run of columns of a buffer";
  let description = [{
    (C1) `column >= 0` and `column + columns(result) <= columns(buffer)`. (C2) Space and element type agree.

    ```mlir
    %k = plan.view %qkv from 256 : !plan.buffer<token, 512, f32> to !plan.buffer<token, 128, f32>
    ```
  }];
  let arguments = (ins Plan_BufferType:$buffer, I64Attr:$column);
  let results = (outs Plan_BufferType:$result);
  let assemblyFormat = "$buffer `from` $column attr-dict `:` qualified(type($buffer)) `to` qualified(type($result))";
  let hasVerifier = 1;
}

def Plan_DispatchOp : Plan_Op<"dispatch",
    [AttrSizedOperandSegments, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "Runs a kernel";
  let description = [{
    Arguments have names, as the kernel's documentation gives them (docs/kernels.md). A dispatch is never pure: it
    writes `outs` and states.

    (C1) As many names as operands, no name twice. (C2) `weights` and `states` name `plan.weight`s and `plan.state`s.
    (C3) Parameters are i64, f32, f64, bool or string attributes, strings not empty. (C4) `layer`, if present, is in
    [0, 2^31).
    (C5) No output shares columns of a buffer with an input or another output.

    ```mlir
    plan.dispatch "cpu.linear" ins(input = %x : !plan.buffer<token, 192, f32>)
      outs(output = %y : !plan.buffer<token, 576, f32>) weights(weight = @layers.1.up_proj)
      {activation = "relu2"} layer 1
    ```
  }];
  let arguments = (ins StrAttr:$kernel, Variadic<Plan_BufferType>:$inputs, Variadic<Plan_BufferType>:$outputs,
                       StrArrayAttr:$input_names, StrArrayAttr:$output_names,
                       DictionaryAttr:$weights, DictionaryAttr:$states, DictionaryAttr:$parameters,
                       OptionalAttr<I64Attr>:$layer);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
}

def Plan_ReturnOp : Plan_Op<"return", [Terminator, HasParent<"ProgramOp">]> {
  let summary = "The logits of the step, and what was drawn from them";
  let description = [{
    `samples`, if present, holds what a kernel of the target drew, in steps that ask for tokens instead of logits.

    (C1) `logits` is a `row` buffer of f32. (C2) `samples` is a `row` buffer of i32.

    ```mlir
    plan.return %logits : !plan.buffer<row, 4096, f32> samples %drawn : !plan.buffer<row, 16, i32>
    ```
  }];
  let arguments = (ins Plan_BufferType:$logits, Optional<Plan_BufferType>:$samples);
  let assemblyFormat = [{
    $logits attr-dict `:` qualified(type($logits)) (`samples` $samples^ `:` qualified(type($samples)))?
  }];
  let hasVerifier = 1;
}

#endif // PLAN_OPS_TD
