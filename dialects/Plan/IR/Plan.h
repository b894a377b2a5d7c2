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

/// Whether layout Panel is there for this element type.
inline bool isPanelElement(mlir::Type type) { return type.isF32() || type.isBF16() || ir::isCode(type); }

} // namespace nemotron::plan

#define GET_OP_CLASSES
#include "dialects/Plan/IR/PlanOps.h.inc"

#endif // DIALECTS_PLAN_IR_PLAN_H
