//===- Plan.h - the plan dialect -------------------------------------------------------------------------*- C++ -*===//
#ifndef DIALECTS_PLAN_IR_PLAN_H
#define DIALECTS_PLAN_IR_PLAN_H

#include "dialects/Nemotron/IR/Nemotron.h"

#include "dialects/Plan/IR/PlanDialect.h.inc"
#include "dialects/Plan/IR/PlanEnums.h.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/Plan/IR/PlanAttrs.h.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/Plan/IR/PlanTypes.h.inc"
namespace nemotron::plan {

/// Whether a layout is there for matrices of this element type.
inline bool isElementOf(Layout layout, mlir::Type type) {
  switch (layout) {
  case Layout::RowMajor:
    return true;
  case Layout::Panel:
    return type.isF32() || type.isBF16() || ir::isCode(type);
  case Layout::Fragment:
    return type.isBF16() || type.isFloat8E4M3FN();
  }
}

/// What `isElementOf` takes, for messages.
inline llvm::StringRef elementsOf(Layout layout) {
  return layout == Layout::Fragment ? "bf16 or f8E4M3FN" : "f32, bf16, f8E4M3FN or i8";
}

} // namespace nemotron::plan

#define GET_OP_CLASSES
#include "dialects/Plan/IR/PlanOps.h.inc"

#endif // DIALECTS_PLAN_IR_PLAN_H
