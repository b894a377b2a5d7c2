//===- WeightExpression.cpp - evaluates the region of a plan.weight, range by range -------------------------------===//
#include "codegen/WeightExpression.h"

#include <algorithm>
#include <cstring>

#include "codegen/cpu/Packing.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using nemotron::runtime::DType;
using nemotron::runtime::Status;

namespace nemotron::codegen {

/// Elements that are converted or transposed at once, between buffers of a few hundred KiB.
static constexpr int64_t kChunkElements = 1 << 16;

DType dtypeOf(Type tensor) {
  Type element = cast<RankedTensorType>(tensor).getElementType();
  return element.isF32() ? DType::kF32 : element.isBF16() ? DType::kBF16 : DType::kF16;
}

static int64_t numElementsOf(Value value) { return cast<RankedTensorType>(value.getType()).getNumElements(); }

//===----------------------------------------------------------------------===//
// From the region to nodes
//===----------------------------------------------------------------------===//

/// What the yielded value is computed from before the packer's part.
static Value valueBeforePacking(plan::WeightOp weight) {
  Value value = cast<plan::YieldOp>(weight.getBody().front().getTerminator()).getValue();
  if (auto pack = value.getDefiningOp<plan::PackOp>()) {
    value = pack.getInput();
  }
  if (auto cast = value.getDefiningOp<ir::CastOp>()) {
    value = cast.getInput();
  }
  return value;
}

FailureOr<WeightExpression> WeightExpression::create(plan::WeightOp weight, ir::WeightSource &source,
                                                     const SymbolTable &symbols) {
  WeightExpression expression(source, symbols);
  llvm::DenseMap<Value, size_t> indices;
  auto nodeOf = [&](Value value) { return indices.lookup(value); };
  Block &block = weight.getBody().front();
  for (Operation &op : block.without_terminator()) {
    if (auto pack = dyn_cast<plan::PackOp>(op)) {
      if (!llvm::all_of(pack->getUsers(), llvm::IsaPred<plan::YieldOp>)) {
        return pack.emitOpError() << "is not the last thing done to a weight, expected plan.yield next";
      }
      continue;
    }
    if (auto reshape = dyn_cast<ir::ReshapeOp>(op)) {
      indices[reshape.getResult()] = nodeOf(reshape.getInput()); // the same elements in the same order
      continue;
    }
    FailureOr<Node> node = expression.makeNode(&op, nodeOf);
    if (failed(node)) {
      return failure();
    }
    indices[op.getResult(0)] = expression.nodes.size();
    expression.nodes.push_back(std::move(*node));
  }
  expression.root = nodeOf(valueBeforePacking(weight));
  return expression;
}

FailureOr<WeightExpression::Node> WeightExpression::makeNode(Operation *op, function_ref<size_t(Value)> nodeOf) {
  Node node{Kind::Tensor, dtypeOf(op->getResult(0).getType()), numElementsOf(op->getResult(0))};
  for (Value input : op->getOperands()) {
    node.inputs.push_back(nodeOf(input));
  }
  return llvm::TypeSwitch<Operation *, FailureOr<Node>>(op)
      .Case([&](ir::GetWeightOp get) { return makeTensor(get); })
      .Case([&](ir::CastOp) {
        node.kind = Kind::Cast;
        return node;
      })
      .Case<ir::ConcatOp, ir::StackOp>([&](auto) {
        node.kind = Kind::Join;
        int64_t start = 0;
        for (Value input : op->getOperands()) {
          node.starts.push_back(start);
          start += numElementsOf(input);
        }
        return node;
      })
      .Case([&](ir::SliceOp slice) {
        node.kind = Kind::Slice;
        int64_t rows = slice.getInput().getType().getDimSize(0);
        node.offset = rows == 0 ? 0 : slice.getOffset() * (numElementsOf(slice.getInput()) / rows);
        return node;
      })
      .Case([&](ir::TransposeOp transpose) {
        node.kind = Kind::Transpose;
        node.rows = transpose.getInput().getType().getDimSize(0);
        node.columns = transpose.getInput().getType().getDimSize(1);
        return node;
      })
      .Default([](Operation *unknown) {
        return unknown->emitError() << "'" << unknown->getName() << "' cannot be carried out while a plan is written";
      });
}

FailureOr<WeightExpression::Node> WeightExpression::makeTensor(ir::GetWeightOp op) {
  auto decl = symbols->lookup<ir::WeightDeclOp>(op.getWeight());
  if (!decl) {
    return op.emitOpError() << "reads " << op.getWeightAttr() << ", which is not a nemotron.weight";
  }
  auto type = cast<RankedTensorType>(op.getType());
  std::string name = decl.getSource().str();
  std::optional<ir::WeightSource::Tensor> found = source->lookup(name);
  if (!found) {
    return emitError(op.getLoc()) << "the checkpoint has no tensor '" << name << "'";
  }
  if (found->dtype != dtypeOf(type) || ArrayRef(found->shape) != type.getShape()) {
    InFlightDiagnostic diag = emitError(op.getLoc());
    diag << "tensor '" << name << "' is " << std::string(runtime::DTypeName(found->dtype)) << " [";
    llvm::interleaveComma(found->shape, diag);
    return diag << "], expected " << type;
  }
  Node node{Kind::Tensor, dtypeOf(type), type.getNumElements()};
  node.name = llvm::find(names, name) - names.begin();
  if (node.name == names.size()) {
    names.push_back(std::move(name));
  }
  return node;
}

//===----------------------------------------------------------------------===//
// From nodes to elements
//===----------------------------------------------------------------------===//

Status WeightExpression::read(size_t index, int64_t first, int64_t count, std::byte *output) {
  Node &node = nodes[index];
  const int64_t size = runtime::SizeOf(node.dtype);
  switch (node.kind) {
  case Kind::Tensor:
    return source->read(names[node.name], first * size, std::span(output, count * size));
  case Kind::Cast:
    return readCast(node, first, count, output);
  case Kind::Join:
    return readJoin(node, first, count, output);
  case Kind::Slice:
    return read(node.inputs[0], node.offset + first, count, output);
  case Kind::Transpose:
    RETURN_IF_ERROR(transpose(node));
    std::memcpy(output, node.data.data() + first * size, count * size);
    return runtime::OkStatus();
  }
  return runtime::OkStatus();
}

Status WeightExpression::readCast(const Node &node, int64_t first, int64_t count, std::byte *output) {
  const DType from = nodes[node.inputs[0]].dtype;
  std::vector<std::byte> chunk(std::min(count, kChunkElements) * runtime::SizeOf(from));
  for (int64_t done = 0; done < count; done += kChunkElements) {
    const int64_t elements = std::min(kChunkElements, count - done);
    RETURN_IF_ERROR(read(node.inputs[0], first + done, elements, chunk.data()));
    convertElements(from, chunk.data(), node.dtype, output + done * runtime::SizeOf(node.dtype), elements);
  }
  return runtime::OkStatus();
}

Status WeightExpression::readJoin(const Node &node, int64_t first, int64_t count, std::byte *output) {
  size_t input = llvm::upper_bound(node.starts, first) - node.starts.begin() - 1;
  while (count > 0) {
    const int64_t offset = first - node.starts[input];
    const int64_t elements = std::min(count, nodes[node.inputs[input]].numElements - offset);
    if (elements > 0) { // inputs may be empty
      RETURN_IF_ERROR(read(node.inputs[input], offset, elements, output));
    }
    output += elements * runtime::SizeOf(node.dtype);
    first += elements;
    count -= elements;
    ++input;
  }
  return runtime::OkStatus();
}

template <typename T>
static void scatterRows(const std::byte *input, int64_t firstRow, int64_t numRows, int64_t rows, int64_t columns,
                        std::byte *output) {
  for (int64_t row = 0; row < numRows; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      std::memcpy(output + (column * rows + firstRow + row) * sizeof(T), input + (row * columns + column) * sizeof(T),
                  sizeof(T));
    }
  }
}

Status WeightExpression::transpose(Node &node) {
  if (!node.data.empty() || node.numElements == 0) {
    return runtime::OkStatus();
  }
  const int64_t size = runtime::SizeOf(node.dtype);
  const int64_t chunkRows = std::max<int64_t>(1, kChunkElements / node.columns);
  std::vector<std::byte> data(node.numElements * size);
  std::vector<std::byte> chunk(std::min(chunkRows, node.rows) * node.columns * size);
  for (int64_t row = 0; row < node.rows; row += chunkRows) {
    const int64_t numRows = std::min(chunkRows, node.rows - row);
    RETURN_IF_ERROR(read(node.inputs[0], row * node.columns, numRows * node.columns, chunk.data()));
    const auto scatter = size == 4 ? scatterRows<uint32_t> : scatterRows<uint16_t>;
    scatter(chunk.data(), row, numRows, node.rows, node.columns, data.data());
  }
  node.data = std::move(data);
  return runtime::OkStatus();
}

void WeightExpression::forget() {
  for (Node &node : nodes) {
    node.data = {};
  }
}

} // namespace nemotron::codegen
