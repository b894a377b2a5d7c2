//===- WeightExpression.h - evaluates the region of a plan.weight, range by range ------------------------------*- C++
//-*-===//
#ifndef CODEGEN_WEIGHTEXPRESSION_H
#define CODEGEN_WEIGHTEXPRESSION_H

#include <cstddef>
#include <string>
#include <vector>

#include "dialects/Nemotron/Checkpoint.h"
#include "dialects/Plan/IR/Plan.h"
#include "mlir/IR/SymbolTable.h"
#include "runtime/base/dtype.h"
#include "runtime/base/status.h"

namespace nemotron::codegen {

/// The element type of a tensor of f32, bf16 or f16.
runtime::DType dtypeOf(mlir::Type tensor);

/// What the region of a `plan.weight` computes, up to the cast and the layout that come last; those two are left to the
/// packer.
///
/// A range of elements, in row-major order, of a concat, stack, slice, reshape or cast is made of ranges of its inputs,
/// so a weight is computed piece by piece, in any order, and never as a whole. Only the input of a transpose is, and it
/// is kept.
class WeightExpression {
public:
  /// Errors are emitted at the ops: a transform that is not known here, a tensor that `source` does not have or has in
  /// another type or shape. `symbols` are those of the module; both it and `source` must outlive the result.
  static mlir::FailureOr<WeightExpression> create(plan::WeightOp weight, ir::WeightSource &source,
                                                  const mlir::SymbolTable &symbols);

  runtime::DType dtype() const { return nodes[root].dtype; }
  int64_t numElements() const { return nodes[root].numElements; }

  /// Computes elements [first, first + count) into `output`. Errors are those of the source and name the tensor.
  runtime::Status read(int64_t first, int64_t count, std::byte *output) { return read(root, first, count, output); }

  /// Drops what is kept of transposes. A later read computes it again.
  void forget();

  /// Names of the tensors that are read, each once.
  const std::vector<std::string> &tensors() const { return names; }

private:
  enum class Kind { Tensor, Cast, Join, Slice, Transpose };
  struct Node {
    Kind kind;
    runtime::DType dtype;
    int64_t numElements;
    std::vector<size_t> inputs = {};  ///< indices of nodes
    std::vector<int64_t> starts = {}; ///< of a join: first element of each input
    size_t name = 0;                  ///< of a tensor, in `names`
    int64_t offset = 0;               ///< of a slice, in elements
    int64_t rows = 0, columns = 0;    ///< of the input of a transpose
    std::vector<std::byte> data = {}; ///< of a transpose: all elements, once they were needed
  };

  WeightExpression(ir::WeightSource &source, const mlir::SymbolTable &symbols) : source(&source), symbols(&symbols) {}
  mlir::FailureOr<Node> makeNode(mlir::Operation *op, llvm::function_ref<size_t(mlir::Value)> nodeOf);
  mlir::FailureOr<Node> makeTensor(ir::GetWeightOp op);
  runtime::Status read(size_t node, int64_t first, int64_t count, std::byte *output);
  runtime::Status readCast(const Node &node, int64_t first, int64_t count, std::byte *output);
  runtime::Status readJoin(const Node &node, int64_t first, int64_t count, std::byte *output);
  runtime::Status transpose(Node &node);

  ir::WeightSource *source;
  const mlir::SymbolTable *symbols;
  std::vector<Node> nodes;
  std::vector<std::string> names;
  size_t root = 0;
};

} // namespace nemotron::codegen

#endif // CODEGEN_WEIGHTEXPRESSION_H
