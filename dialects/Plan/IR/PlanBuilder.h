//===- PlanBuilder.h - builds the plan dialect from a step ----------------------------------------------------*- C++
//-*-===//
#ifndef DIALECTS_PLAN_IR_PLANBUILDER_H
#define DIALECTS_PLAN_IR_PLANBUILDER_H

#include "dialects/Plan/IR/Plan.h"
#include "dialects/Plan/IR/WeightBuilder.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringSet.h"

namespace nemotron::plan {

/// A dispatch before its buffers exist: what the kernel's arguments are called (docs/kernels.md), in values of the
/// step.
class DispatchSpec {
public:
  explicit DispatchSpec(llvm::StringRef kernel) : kernel(kernel.str()) {}

  /// An activation that the kernel reads.
  DispatchSpec &input(llvm::StringRef name, mlir::Value value);
  /// A result of the op, for which a buffer is made.
  DispatchSpec &output(llvm::StringRef name, mlir::Value value);
  /// A buffer of the kernel's own that it updates, zero when a step begins: [T, columns] of i32 or f32.
  DispatchSpec &zeroed(llvm::StringRef name, int64_t columns, mlir::Type element);
  /// A weight in the layout that the kernel reads. A null value is an optional weight that is not there. If it belongs
  /// to another weight, as scales do, `partOf` says how it is named.
  DispatchSpec &weight(llvm::StringRef name, mlir::Value value, WeightFormat format, WeightPart partOf = {});
  DispatchSpec &state(llvm::StringRef name, mlir::FlatSymbolRefAttr state);
  /// A state of the kernel's own, which the model does not have: a `plan.state` called after `of` and `name`.
  DispatchSpec &ownState(llvm::StringRef name, mlir::FlatSymbolRefAttr of, ir::StateKind kind,
                         mlir::RankedTensorType type);
  /// An i64, f32, f64, bool or string attribute. A null one is an optional parameter that is not there.
  DispatchSpec &parameter(llvm::StringRef name, mlir::Attribute value);
  /// Kernel "OP" becomes "TARGET.OP".
  DispatchSpec &onTarget(llvm::StringRef target);
  /// Weights in layout Panel go to `layout` instead, or row major where their elements do not go into it.
  DispatchSpec &layMatrices(Layout layout);
  /// The outputs have one row for each row whose logits are asked for, whatever the inputs have.
  DispatchSpec &selectsRows();

private:
  friend class PlanBuilder;
  struct Argument {
    llvm::StringRef name;
    mlir::Value value;
  };
  struct WeightArgument {
    llvm::StringRef name;
    mlir::Value value;
    WeightFormat format;
    WeightPart partOf;
  };
  std::string kernel;
  struct ZeroedArgument {
    llvm::StringRef name;
    int64_t columns;
    mlir::Type element;
  };
  llvm::SmallVector<Argument, 10> inputs, outputs;
  llvm::SmallVector<ZeroedArgument, 1> zeroedOutputs;
  llvm::SmallVector<WeightArgument, 4> weights;
  struct OwnState {
    llvm::StringRef name;
    mlir::FlatSymbolRefAttr of;
    ir::StateKind kind;
    mlir::RankedTensorType type;
  };
  llvm::SmallVector<std::pair<llvm::StringRef, mlir::FlatSymbolRefAttr>, 1> states;
  llvm::SmallVector<OwnState, 1> ownStates;
  llvm::SmallVector<std::pair<llvm::StringRef, mlir::Attribute>, 8> parameters;
  bool rows = false;
};

/// The kernel that draws tokens from `logits`, into `columns` of i32 a row, its `rows`. An empty name: there is none,
/// and the host draws.
struct SamplerSpec {
  llvm::StringRef kernel;
  int64_t columns = 0;
};

/// Grows a `plan.program` next to a step of the nemotron dialect: each activation gets a buffer, or a view where it is
/// a part of another; each weight that a kernel reads a `plan.weight`; each state a `plan.state`.
///
/// A value is of space `token` unless it is computed from selected rows; then it is of space `row`.
class PlanBuilder {
public:
  /// Creates an empty program named `name` after `step`, the op whose only block is the step, and turns the
  /// `nemotron.state`s of `module` into `plan.state`s. `plan.weight`s are put before `step`. The names of
  /// `nemotron.weight`s get the suffix ".source", so that `plan.weight`s can have theirs.
  PlanBuilder(mlir::ModuleOp module, mlir::Operation *step, llvm::StringRef name);

  /// Adds a dispatch with buffers for its outputs. `op` is where it comes from: its location, its layer
  /// (`nemotron.layer`). An error at `op` if an input is in no buffer, inputs are of both spaces, or a weight is not
  /// made of weights.
  llvm::LogicalResult dispatch(mlir::Operation *op, const DispatchSpec &spec);

  /// `results` become views of the columns of `input`, side by side.
  llvm::LogicalResult split(mlir::Operation *op, mlir::Value input, mlir::ValueRange results);

  /// Ends the program with `logits`, which must be a whole buffer of f32 rows, and with what `sampler` draws from them.
  /// Errors go to `op`.
  llvm::LogicalResult finish(mlir::Operation *op, mlir::Value logits, const SamplerSpec &sampler);

  ProgramOp getProgram() { return program; }

private:
  /// The columns of a buffer that hold a value.
  struct Place {
    mlir::Value buffer;
    int64_t column;
    mlir::Value view; ///< `buffer`, or a plan.view of it
  };

  const Place *placeOf(mlir::Value value) const;
  /// The `plan.state` of a kernel, made where it is not there yet, behind the one it belongs to.
  mlir::FlatSymbolRefAttr makeState(mlir::Operation *op, const DispatchSpec::OwnState &state);
  /// The space that an op works in: that of its inputs.
  mlir::FailureOr<Space> spaceOf(mlir::Operation *op, const DispatchSpec &spec) const;
  /// Declares a buffer for the output of `op` called `output`.
  mlir::FailureOr<mlir::Value> makeBuffer(mlir::Operation *op, llvm::StringRef output, bool isOnlyOutput, Space space,
                                          int64_t columns, mlir::Type element, bool zeroed);
  /// Adds the dispatch of `sampler` and the buffer that it fills.
  mlir::Value sample(mlir::Operation *op, mlir::Value logits, const SamplerSpec &sampler);
  /// After the location of the op, if it has a name ("layers.3.in_proj"), else after the op ("layers.3.linear").
  std::string uniqueBufferName(mlir::Operation *op, llvm::StringRef output, bool isOnlyOutput);

  mlir::ModuleOp module;
  mlir::OpBuilder builder; ///< at the end of the program
  ProgramOp program;
  WeightBuilder weights;
  llvm::DenseMap<mlir::Value, Place> places;
  llvm::StringSet<> bufferNames;
};

} // namespace nemotron::plan

#endif // DIALECTS_PLAN_IR_PLANBUILDER_H
