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

LogicalResult LinearOp::verify() {
  int64_t outputs = dim(getWeight(), 0), inputs = dim(getWeight(), 1);
  if (width(getInput()) != inputs) { // linear_c1
    return emitOpError("input has ") << width(getInput()) << " channels, weight takes " << inputs;
  }
  if (width(getResult()) != outputs) { // linear_c2
    return emitOpError("result has ") << width(getResult()) << " channels, weight gives " << outputs;
  }
  if (getBias() && dim(getBias(), 0) != outputs) { // linear_c3
    return emitOpError("bias has ") << dim(getBias(), 0) << " elements, weight gives " << outputs << " channels";
  }
  if (getActivation() != Activation::None && getActivation() != Activation::Relu2) { // linear_c4
    return emitOpError("activation is ") << stringifyActivation(getActivation()) << ", expected none or relu2";
  }
  return success();
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

LogicalResult MoeExpertsOp::verify() {
  RankedTensorType up = getUp().getType(), down = getDown().getType();
  if (up.getDimSize(2) != width(getInput())) { // moe_experts_c1
    return emitOpError("input has ") << width(getInput()) << " channels, up takes " << up.getDimSize(2);
  }
  int64_t expected[] = {up.getDimSize(0), up.getDimSize(2), up.getDimSize(1)};
  if (down.getShape() != ArrayRef<int64_t>(expected)) { // moe_experts_c1
    return emitOpError("down is ") << down << ", expected shape [" << expected << "] to go with up, " << up;
  }
  if (getResult().getType() != getInput().getType()) { // moe_experts_c2
    return emitOpError("result is ") << getResult().getType() << ", expected the type of input, "
                                     << getInput().getType();
  }
  if (width(getIndices()) != width(getWeights())) { // moe_experts_c3
    return emitOpError("has ") << width(getIndices()) << " indices a token, but " << width(getWeights()) << " weights";
  }
  if (up.getElementType() != down.getElementType()) { // moe_experts_c4
    return emitOpError("up has elements of ") << up.getElementType() << ", down of " << down.getElementType();
  }
  return success();
}
