//===- WeightExpression.h - evaluates the region of a plan.weight, range by range --------------------*- C++ -*-===//
#ifndef CODEGEN_WEIGHTEXPRESSION_H
#define CODEGEN_WEIGHTEXPRESSION_H

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "codegen/Elements.h"
#include "dialects/Nemotron/Checkpoint.h"
#include "dialects/Plan/IR/Plan.h"
#include "dialects/Plan/IR/WeightNumbers.h"
#include "mlir/IR/SymbolTable.h"
#include "runtime/base/dtype.h"
#include "runtime/base/status.h"

namespace nemotron::codegen {

/// The element type of a tensor of f32, bf16, f16, f8E4M3FN or i8.
runtime::DType dtypeOf(mlir::Type tensor);

/// Scales that several weights of a module need: a matrix is divided by what is a weight itself. An absolute maximum is
/// a pass over its input, which is made once. Weights that compute the same share it, for as long as one of them is
/// still to be written.
class SharedScales {
public:
  using Scales = std::shared_ptr<std::vector<float>>; ///< empty until they are computed

  plan::WeightNumbers numbers; ///< of all weights
  /// Those of the ops that have this number.
  Scales scalesOf(unsigned number);

private:
  std::map<unsigned, std::weak_ptr<std::vector<float>>> scales;
};

/// What the region of a `plan.weight` computes, up to the cast or the rounding to codes, and the layout, that
/// come last; those are left to the packer.
///
/// A range of elements, in row-major order, of a concat, stack, slice, reshape or cast is made of ranges of its inputs,
/// so a weight is computed piece by piece, in any order, and never as a whole. Only the input of a transpose is, and it
/// is kept, as are scales.
class WeightExpression {
public:
  /// Errors are emitted at the ops: a transform that is not known here, a tensor that `source` does not have or has in
  /// another type or shape. `symbols` are those of the module; all three must outlive the result.
  static mlir::FailureOr<WeightExpression> create(plan::WeightOp weight, ir::WeightSource &source,
                                                  const mlir::SymbolTable &symbols, SharedScales &shared);

  runtime::DType dtype() const { return nodes[root].dtype; }
  int64_t numElements() const { return nodes[root].numElements; }

  /// Whether elements are to be divided by `readScales` and rounded to codes.
  bool isQuantized() const { return scaleRoot.has_value(); }

  /// From now on, elements that are not positive and finite are errors.
  void expectScales() { areScales = true; }

  /// Computes elements [first, first + count) into `output`. Errors are those of the source; a NaN of 8 bits, a number
  /// to quantize that is not finite, or a scale that is none. They name the tensor and the index in it.
  runtime::Status read(int64_t first, int64_t count, std::byte *output);

  /// The scales of elements [first, first + count), if they are quantized.
  runtime::StatusOr<RunScales> readScales(int64_t first, int64_t count);

  /// Drops what is kept of transposes, and scales that no other weight needs. A later read computes it again.
  void forget();

  /// Names of the tensors that are read, each once.
  const std::vector<std::string> &tensors() const { return names; }

private:
  enum class Kind { Tensor, Cast, Join, Slice, Transpose, Absmax, Quantize, Dequantize, Broadcast, Fill };
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
    int64_t group = 1;                ///< elements of the matrix to a scale; of a broadcast: copies of an element
    float value = 0;                  ///< of a fill; of an absolute maximum: what it is divided by
    SharedScales::Scales scales = {}; ///< of an absolute maximum
  };

  WeightExpression(ir::WeightSource &source, const mlir::SymbolTable &symbols) : source(&source), symbols(&symbols) {}
  void setRoot(plan::WeightOp weight, llvm::function_ref<size_t(mlir::Value)> nodeOf);
  mlir::FailureOr<Node> makeNode(mlir::Operation *op, llvm::function_ref<size_t(mlir::Value)> nodeOf);
  mlir::FailureOr<Node> makeTensor(ir::GetWeightOp op);
  runtime::Status read(size_t node, int64_t first, int64_t count, std::byte *output);
  template <typename Function> runtime::Status forChunks(size_t input, int64_t first, int64_t count, Function function);
  runtime::Status readConverted(const Node &node, int64_t first, int64_t count, std::byte *output);
  runtime::Status readJoin(const Node &node, int64_t first, int64_t count, std::byte *output);
  runtime::Status readBroadcast(const Node &node, int64_t first, int64_t count, std::byte *output);
  runtime::Status transpose(Node &node);
  runtime::Status computeScales(Node &node);
  runtime::StatusOr<RunScales> readScales(size_t node, int64_t group, int64_t first, int64_t count);
  runtime::Status checkFinite(size_t node, int64_t first, int64_t count, const std::byte *elements) const;
  runtime::Status checkScales(size_t node, int64_t first, int64_t count, const std::byte *elements) const;
  /// "tensor 'x' is nan at element 3": what element `index` of a node, which is `value`, comes from.
  std::string describe(size_t node, int64_t index, float value) const;

  ir::WeightSource *source;
  const mlir::SymbolTable *symbols;
  std::vector<Node> nodes;
  std::vector<std::string> names;
  size_t root = 0;
  std::optional<size_t> scaleRoot; ///< of what is left to the packer
  int64_t scaleGroup = 1;
  bool areScales = false;
};

} // namespace nemotron::codegen

#endif // CODEGEN_WEIGHTEXPRESSION_H
