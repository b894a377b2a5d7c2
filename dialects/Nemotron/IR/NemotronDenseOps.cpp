//===- NemotronDenseOps.cpp - verifiers of embedding, matrices, elementwise ops, experts --------------------------===//
#include "dialects/Nemotron/IR/VerifierUtils.h"

using namespace mlir;
using namespace nemotron::ir;

LogicalResult EmbeddingOp::verify() {
  if (width(getResult()) != dim(getWeight(), 1)) { // embedding_c1
    return emitOpError("result has ") << width(getResult()) << " channels, rows of weight have " << dim(getWeight(), 1);
  }
  return success();
}

LogicalResult SelectRowsOp::verify() {
  if (getInput().getType() != getResult().getType()) { // select_rows_c1
    return emitOpError("result is ") << getResult().getType() << ", expected the type of input, "
                                     << getInput().getType();
  }
  return success();
}

LogicalResult nemotron::ir::verifyProductActivation(Operation *op, Activation activation) {
  if (activation == Activation::None || activation == Activation::Relu2) {
    return success();
  }
  return op->emitOpError("activation is ") << stringifyActivation(activation) << ", expected none or relu2";
}

LogicalResult nemotron::ir::verifyProduct(Operation *op, Tensor input, Tensor weight, Tensor bias, Tensor result) {
  int64_t outputs = dim(weight, 0), inputs = dim(weight, 1);
  if (width(input) != inputs) { // linear_c1, scaled_matmul_c1
    return op->emitOpError("input has ") << width(input) << " channels, weight takes " << inputs;
  }
  if (width(result) != outputs) { // linear_c2, scaled_matmul_c2
    return op->emitOpError("result has ") << width(result) << " channels, weight gives " << outputs;
  }
  if (bias && dim(bias, 0) != outputs) { // linear_c3, scaled_matmul_c3
    return op->emitOpError("bias has ") << dim(bias, 0) << " elements, weight gives " << outputs << " channels";
  }
  return success();
}

LogicalResult LinearOp::verify() {
  if (failed(verifyProduct(*this, getInput(), getWeight(), getBias(), getResult()))) { // c1 to c3
    return failure();
  }
  return verifyProductActivation(*this, getActivation()); // linear_c4
}

LogicalResult SplitOp::verify() {
  uint64_t sum = 0;
  for (Value result : getResults()) {
    auto type = cast<RankedTensorType>(result.getType());
    if (type.getElementType() != getInput().getType().getElementType()) { // split_c2
      return emitOpError("result has elements of ")
             << type.getElementType() << ", input of " << getInput().getType().getElementType();
    }
    sum = llvm::SaturatingAdd<uint64_t>(sum, type.getDimSize(1));
  }
  if (sum != static_cast<uint64_t>(width(getInput()))) { // split_c1
    return emitOpError("results have ") << sum << " channels together, input has " << width(getInput());
  }
  return success();
}

LogicalResult MoeRouteOp::verify() {
  int64_t experts = dim(getWeight(), 0), k = width(getIndices());
  int64_t groups = getNGroup(), topkGroups = getTopkGroup();
  if (width(getInput()) != dim(getWeight(), 1)) { // moe_route_c1
    return emitOpError("input has ") << width(getInput()) << " channels, weight takes " << dim(getWeight(), 1);
  }
  if (dim(getCorrectionBias(), 0) != experts) { // moe_route_c2
    return emitOpError("correction_bias has ")
           << dim(getCorrectionBias(), 0) << " elements, weight has " << experts << " experts";
  }
  if (width(getWeights()) != k) { // moe_route_c3
    return emitOpError("picks ") << k << " experts a token, but gives " << width(getWeights()) << " weights";
  }
  if (k < 1 || k > experts) { // moe_route_c3
    return emitOpError("picks ") << k << " experts a token, expected 1 to " << experts;
  }
  if (experts % groups != 0) { // moe_route_c4
    return emitOpError("has ") << experts << " experts, not a multiple of " << groups << " groups";
  }
  if (topkGroups > groups) { // moe_route_c4
    return emitOpError("picks ") << topkGroups << " groups, expected 1 to " << groups;
  }
  if (k > topkGroups * (experts / groups)) { // moe_route_c5
    return emitOpError("picks ") << k << " experts a token, but " << topkGroups << " groups hold "
                                 << topkGroups * (experts / groups);
  }
  return success();
}

LogicalResult nemotron::ir::verifyExperts(Operation *op, const Experts &experts) {
  RankedTensorType up = experts.up.getType(), down = experts.down.getType(), input = experts.input.getType();
  if (up.getDimSize(2) != width(experts.input)) { // moe_experts_c1, scaled_moe_experts_c1
    return op->emitOpError("input has ") << width(experts.input) << " channels, up takes " << up.getDimSize(2);
  }
  int64_t expected[] = {up.getDimSize(0), up.getDimSize(2), up.getDimSize(1)};
  if (down.getShape() != ArrayRef<int64_t>(expected)) { // moe_experts_c1, scaled_moe_experts_c1
    return op->emitOpError("down is ") << down << ", expected shape [" << expected << "] to go with up, " << up;
  }
  if (experts.result.getType() != input) { // moe_experts_c2, scaled_moe_experts_c2
    return op->emitOpError("result is ") << experts.result.getType() << ", expected the type of input, " << input;
  }
  if (width(experts.indices) != width(experts.weights)) { // moe_experts_c3, scaled_moe_experts_c3
    return op->emitOpError("has ") << width(experts.indices) << " indices a token, but " << width(experts.weights)
                                   << " weights";
  }
  return success();
}

LogicalResult MoeExpertsOp::verify() {
  if (failed(verifyExperts(*this,
                           {getInput(), getIndices(), getWeights(), getUp(), getDown(), getResult()}))) { // c1 to c3
    return failure();
  }
  Type up = getUp().getType().getElementType(), down = getDown().getType().getElementType();
  if (up != down) { // moe_experts_c4
    return emitOpError("up has elements of ") << up << ", down of " << down;
  }
  return success();
}
