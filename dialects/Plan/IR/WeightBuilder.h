//===- WeightBuilder.h - collects what is done to weights into plan.weights -----------------------------------*- C++
//-*-===//
#ifndef DIALECTS_PLAN_IR_WEIGHTBUILDER_H
#define DIALECTS_PLAN_IR_WEIGHTBUILDER_H

#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "dialects/Plan/IR/Plan.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringSet.h"

namespace nemotron::plan {

/// How a kernel reads a weight.
struct WeightFormat {
  Layout layout = Layout::RowMajor;
  mlir::Type elementType = {}; ///< null: as the weight is
  bool transposed = false;     ///< of a matrix
};

/// A weight that is named after another: "layers.3.in_proj.weight_scale" with `name` "weight_scale".
struct WeightPart {
  mlir::Value whole = {}; ///< null: it is named after what it is made of
  llvm::StringRef name = {};
};

/// `name` as plans take it: up to 200 printable characters without spaces, quotes and backslashes, never none.
std::string legalName(llvm::StringRef name);

/// Makes `plan.weight`s. The region of one is the backward slice of a value of the step, down to `nemotron.get_weight`,
/// then what the format asks for: cast, transpose, pack. Equal slices in one format are one `plan.weight`.
///
/// Names: that of the `nemotron.weight` at the root; for a concat or stack its attribute `nemotron.name`, or the name
/// of its location (a NameLoc), or what the names of its parts have in common ("layers.1.experts.up_proj"). Scales are
/// named after the matrix that they scale. The same slice in another format, or another slice of that name, gets a
/// suffix: its layout, or ".bias".
class WeightBuilder {
public:
  /// `step` is the op whose block uses the weights; `plan.weight`s are put before it.
  WeightBuilder(mlir::ModuleOp module, mlir::Operation *step);

  /// The `plan.weight` that holds `weight` in `format`. An error at `op` if the value is not made by weight transforms
  /// from weights, or cannot have that format; `role` is what the kernel calls it.
  mlir::FailureOr<mlir::FlatSymbolRefAttr> get(mlir::Operation *op, llvm::StringRef role, mlir::Value weight,
                                               const WeightFormat &format, const WeightPart &partOf = {});

private:
  /// What `nemotron.weight`s are renamed to, so that `plan.weight`s can have their names.
  static constexpr llvm::StringLiteral kSourceSuffix = ".source";

  void renameSources();
  void numberValues(mlir::Block &step);
  llvm::LogicalResult checkFormat(mlir::Operation *op, llvm::StringRef role, mlir::Value weight,
                                  const WeightFormat &format) const;
  std::string baseName(mlir::Value weight, llvm::StringRef role) const;
  std::string uniqueName(std::string base, llvm::StringRef suffix);
  WeightOp create(mlir::Value weight, const WeightFormat &format, llvm::StringRef name);

  mlir::ModuleOp module;
  mlir::Operation *step;
  /// Equal slices have equal numbers.
  llvm::DenseMap<mlir::Value, unsigned> numbers;
  std::map<std::tuple<unsigned, Layout, const void *, bool>, mlir::FlatSymbolRefAttr> made;
  llvm::StringSet<> names;
};

} // namespace nemotron::plan

#endif // DIALECTS_PLAN_IR_WEIGHTBUILDER_H
