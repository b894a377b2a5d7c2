//===- PlanDialect.td - dialect, types and attributes -------------------------------------------------------------===//
#ifndef PLAN_DIALECT_TD
#define PLAN_DIALECT_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/BuiltinAttributeInterfaces.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"

def Plan_Dialect : Dialect {
  let name = "plan";
  let cppNamespace = "::nemotron::plan";
  let summary = "What a plan file holds: buffers, weights, states and dispatches of named kernels";
  let description = [{
    One to one with the plan file (runtime/plan/plan.fbs). A module holds `plan.weight`s, `plan.state`s and one
    `plan.program`. Buffers lie in an arena a space: the leading dimension of a `token` buffer counts the tokens of a
    step, that of a `row` buffer the rows whose logits are asked for; offsets and sizes are per unit, so one memory
    plan serves all step sizes.
  }];
  let dependentDialects = ["::nemotron::ir::NemotronDialect"];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
}

def Plan_Space : I32EnumAttr<"Space", "what the leading dimension of a buffer counts", [
    I32EnumAttrCase<"Token", 0, "token">, I32EnumAttrCase<"Row", 1, "row">]> {
  let cppNamespace = "::nemotron::plan";
  let genSpecializedAttr = 0;
}

def Plan_Layout : I32EnumAttr<"Layout", "how the elements of a weight lie", [
    I32EnumAttrCase<"RowMajor", 0, "row_major">, I32EnumAttrCase<"Panel", 1, "panel">,
    I32EnumAttrCase<"Fragment", 2, "fragment">]> {
  let cppNamespace = "::nemotron::plan";
  let genSpecializedAttr = 0;
}

/// Encoding of the type of a packed weight: `tensor<576x192xbf16, #plan.layout<panel>>`. The shape stays the
/// logical one.
def Plan_LayoutAttr : EnumAttr<Plan_Dialect, Plan_Layout, "layout"> {
  let assemblyFormat = "`<` $value `>`";
}

def Plan_BufferType : TypeDef<Plan_Dialect, "Buffer"> {
  let mnemonic = "buffer";
  let summary = "An activation in memory";
  let description = [{
    One row a token or a row of the step, `columns` elements each. How far rows lie apart is said by the `plan.buffer`.

    (C1) `1 <= columns <= 2^40`. (C2) Elements are f32, bf16, f16, f8E4M3FN, i8
    or i32.

    ```mlir
    !plan.buffer<token, 192, f32>
    ```
  }];
  let parameters = (ins EnumParameter<Plan_Space>:$space, "int64_t":$columns, "::mlir::Type":$elementType);
  let assemblyFormat = "`<` $space `,` $columns `,` $elementType `>`";
  let genVerifyDecl = 1;
}

#endif // PLAN_DIALECT_TD
