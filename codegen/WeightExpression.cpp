//===- WeightExpression.cpp - from the region of a plan.weight to nodes -------------------------------------------===//
#include "codegen/WeightExpression.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using nemotron::runtime::DType;

namespace nemotron::codegen {

DType dtypeOf(Type tensor) {
  Type element = cast<RankedTensorType>(tensor).getElementType();
  return element.isF32()            ? DType::kF32
         : element.isBF16()         ? DType::kBF16
         : element.isFloat8E4M3FN() ? DType::kF8E4M3
         : element.isInteger(8)     ? DType::kI8
                                    : DType::kF16;
}

static int64_t numElementsOf(Value value) { return cast<RankedTensorType>(value.getType()).getNumElements(); }

/// Elements of a matrix that share one of `scales`.
static int64_t groupSize(Value matrix, Value scales) {
  return std::max<int64_t>(1, numElementsOf(matrix) / std::max<int64_t>(1, numElementsOf(scales)));
}

//===----------------------------------------------------------------------===//
// SharedScales
//===----------------------------------------------------------------------===//

SharedScales::Scales SharedScales::scalesOf(unsigned number) {
  Scales found = scales[number].lock();
  if (!found) {
    found = std::make_shared<std::vector<float>>();
    scales[number] = found;
  }
  return found;
}

//===----------------------------------------------------------------------===//
// WeightExpression
//===----------------------------------------------------------------------===//

FailureOr<WeightExpression> WeightExpression::create(plan::WeightOp weight, ir::WeightSource &source,
                                                     const SymbolTable &symbols, SharedScales &shared) {
  WeightExpression expression(source, symbols);
  llvm::DenseMap<Value, size_t> indices;
  llvm::DenseMap<Value, unsigned> numbers;
  auto nodeOf = [&](Value value) { return indices.lookup(value); };
  Block &block = weight.getBody().front();
  for (Operation &op : block.without_terminator()) {
    if (auto pack = dyn_cast<plan::PackOp>(op)) {
      if (!llvm::all_of(pack->getUsers(), llvm::IsaPred<plan::YieldOp>)) {
        return pack.emitOpError() << "is not the last thing done to a weight, expected plan.yield next";
      }
      continue;
    }
    auto inputs = llvm::map_to_vector(op.getOperands(), [&](Value v) { return numbers.lookup(v); });
    const unsigned number = numbers[op.getResult(0)] = shared.numbers.numberOf(&op, inputs);
    if (auto reshape = dyn_cast<ir::ReshapeOp>(op)) {
      indices[reshape.getResult()] = nodeOf(reshape.getInput()); // the same elements in the same order
      continue;
    }
    FailureOr<Node> node = expression.makeNode(&op, nodeOf);
    if (failed(node)) {
      return failure();
    }
    if (node->kind == Kind::Absmax) {
      node->scales = shared.scalesOf(number);
    }
    indices[op.getResult(0)] = expression.nodes.size();
    expression.nodes.push_back(std::move(*node));
  }
  expression.setRoot(weight, nodeOf);
  return expression;
}

void WeightExpression::setRoot(plan::WeightOp weight, function_ref<size_t(Value)> nodeOf) {
  Value value = cast<plan::YieldOp>(weight.getBody().front().getTerminator()).getValue();
  if (auto pack = value.getDefiningOp<plan::PackOp>()) {
    value = pack.getInput();
  }
  if (auto cast = value.getDefiningOp<ir::CastOp>()) {
    value = cast.getInput();
  } else if (auto quantize = value.getDefiningOp<ir::QuantizeWeightOp>()) {
    value = quantize.getInput();
    scaleRoot = nodeOf(quantize.getScale());
    scaleGroup = groupSize(value, quantize.getScale());
  }
  root = nodeOf(value);
}

FailureOr<WeightExpression::Node> WeightExpression::makeNode(Operation *op, function_ref<size_t(Value)> nodeOf) {
  Node node{Kind::Tensor, dtypeOf(op->getResult(0).getType()), numElementsOf(op->getResult(0))};
  for (Value input : op->getOperands()) {
    node.inputs.push_back(nodeOf(input));
  }
  auto ofKind = [&](Kind kind, int64_t group = 1) {
    node.kind = kind;
    node.group = group;
    return node;
  };
  return llvm::TypeSwitch<Operation *, FailureOr<Node>>(op)
      .Case([&](ir::GetWeightOp get) { return makeTensor(get); })
      .Case([&](ir::CastOp) { return ofKind(Kind::Cast); })
      .Case([&](ir::AbsmaxScaleOp absmax) {
        node.value = absmax.getLargest().convertToFloat();
        return ofKind(Kind::Absmax, groupSize(absmax.getInput(), absmax.getResult()));
      })
      .Case([&](ir::QuantizeWeightOp quantize) {
        return ofKind(Kind::Quantize, groupSize(quantize.getInput(), quantize.getScale()));
      })
      .Case([&](ir::DequantizeOp dequantize) {
        return ofKind(Kind::Dequantize, groupSize(dequantize.getInput(), dequantize.getScale()));
      })
      .Case([&](ir::BroadcastOp broadcast) {
        return ofKind(Kind::Broadcast, groupSize(broadcast.getResult(), broadcast.getInput()));
      })
      .Case([&](ir::FillOp fill) {
        node.value = fill.getValue().convertToFloat();
        return ofKind(Kind::Fill);
      })
      .Case<ir::ConcatOp, ir::StackOp>([&](auto) {
        int64_t start = 0;
        for (Value input : op->getOperands()) {
          node.starts.push_back(start);
          start += numElementsOf(input);
        }
        return ofKind(Kind::Join);
      })
      .Case([&](ir::SliceOp slice) {
        int64_t rows = slice.getInput().getType().getDimSize(0);
        node.offset = rows == 0 ? 0 : slice.getOffset() * (numElementsOf(slice.getInput()) / rows);
        return ofKind(Kind::Slice);
      })
      .Case([&](ir::TransposeOp transpose) {
        node.rows = transpose.getInput().getType().getDimSize(0);
        node.columns = transpose.getInput().getType().getDimSize(1);
        return ofKind(Kind::Transpose);
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

} // namespace nemotron::codegen
