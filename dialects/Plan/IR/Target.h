//===- Target.h - what a device offers to the conversion to plans -------------------------------------------*- C++
//-*-===//
#ifndef DIALECTS_PLAN_IR_TARGET_H
#define DIALECTS_PLAN_IR_TARGET_H

#include <memory>

#include "dialects/Plan/IR/PlanBuilder.h"

namespace nemotron::plan {

/// The kernels of a device, asked by `convert-nemotron-to-plan`: which dispatch an op becomes, and how its weights must
/// lie. Implemented in codegen/<target>/; passes know targets by name only. Immutable, so one target may serve several
/// threads.
class Target {
public:
  virtual ~Target();

  /// As in `target=` of the pass and in the plan file, e.g. "cpu".
  virtual llvm::StringRef getName() const = 0;

  /// Adds the dispatches of `op`, an op of a step that is neither a weight transform nor a `nemotron.split`, to
  /// `builder`. An op that this target has no kernel for, or not for these types, is an error at the op.
  virtual llvm::LogicalResult lower(mlir::Operation *op, PlanBuilder &builder) const = 0;
};

/// The targets of this process. A tool fills it before it runs passes (codegen/Targets.h); not thread-safe while it is
/// filled.
class TargetRegistry {
public:
  /// Adds a target. One that has the name of an earlier one replaces it.
  static void add(std::unique_ptr<Target> target);

  /// Null if there is none of that name.
  static const Target *lookup(llvm::StringRef name);

  /// Sorted.
  static llvm::SmallVector<llvm::StringRef> names();
};

} // namespace nemotron::plan

#endif // DIALECTS_PLAN_IR_TARGET_H
