//===- Target.h - what a device offers to the conversion to plans -------------------------------------------*- C++
//-*-===//
#ifndef DIALECTS_PLAN_IR_TARGET_H
#define DIALECTS_PLAN_IR_TARGET_H

#include <memory>
#include <string>

#include "dialects/Plan/IR/PlanBuilder.h"

namespace nemotron::plan {

/// A `plan.kernel` before it is one.
struct KernelSpec {
  std::string name, body, config;
  llvm::SmallVector<mlir::Attribute, 2> launches;
  std::string scratch; ///< empty: none
};

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

  /// Replaces dispatches of `program` that `lower` added by such that do more at once, with the same results.
  /// `plan-fuse-dispatches` asks.
  virtual void fuse(ProgramOp program) const {}

  /// The type that the kernel of `dispatch` takes its input called `input` in, if it would rather have another than the
  /// buffer's `type`, with the same results to the last bit; null if not. `plan-retype-buffers` asks.
  virtual mlir::Type preferredInput(DispatchOp dispatch, llvm::StringRef input, mlir::Type type) const { return {}; }
  /// Whether it can write its output called `output` as `type`, rounded to nearest even.
  virtual bool storesAs(DispatchOp dispatch, llvm::StringRef output, mlir::Type type) const { return false; }

  /// The kernel that draws tokens from the logits, behind all that `lower` added.
  virtual SamplerSpec sampler() const { return {}; }

  /// Whether kernels are compiled for each plan, so that `plan-specialize-kernels` asks for them.
  virtual bool specializes() const { return false; }

  /// The kernel that carries out `dispatch`, one of those that `lower` added. Its name begins with that of the
  /// dispatch; equal kernels have equal names. A type or shape that the kernel is not there for is an error at the op.
  virtual mlir::FailureOr<KernelSpec> specialize(DispatchOp dispatch) const;
};

/// The targets of this process. A tool fills it before it runs passes (codegen/Targets.h); not thread-safe while it is
/// filled.
class TargetRegistry {
public:
  /// Adds a target. One that has the name of an earlier one replaces it.
  static void add(std::unique_ptr<Target> target);

  /// Null if there is none of that name.
  static const Target *lookup(llvm::StringRef name);

  /// The one that `plan.target` of `module` names. An error at the module if it was not converted to a plan.
  static mlir::FailureOr<const Target *> targetOf(mlir::ModuleOp module);

  /// Sorted.
  static llvm::SmallVector<llvm::StringRef> names();
};

} // namespace nemotron::plan

#endif // DIALECTS_PLAN_IR_TARGET_H
