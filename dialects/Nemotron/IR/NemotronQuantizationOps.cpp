//===- NemotronQuantizationOps.cpp - verifiers of codes of 8 bits: activations, products, weights -----------------===//
#include "dialects/Nemotron/IR/VerifierUtils.h"

using namespace mlir;

namespace nemotron::ir {

LogicalResult verifyScale(Operation *op, StringRef name, const APFloat &scale) {
  if (scale.isFinite() && !scale.isNegative() && !scale.isZero()) {
    return success();
  }
  return op->emitOpError() << name << " is " << FloatAttr::get(Float32Type::get(op->getContext()), scale)
                           << ", expected a positive, finite number";
}

//===----------------------------------------------------------------------===//
// Activations
//===----------------------------------------------------------------------===//

/// A static scale is there exactly if `scaling` asks for it, and is a scale.
static LogicalResult verifyScaling(Operation *op, Scaling scaling, std::optional<APFloat> staticScale) {
  if (staticScale.has_value() != (scaling == Scaling::Static)) {
    return op->emitOpError("has ") << (staticScale ? "a" : "no") << " static_scale with scaling "
                                   << stringifyScaling(scaling);
  }
  return staticScale ? verifyScale(op, "static_scale", *staticScale) : success();
}

static LogicalResult verifyResultWidth(Operation *op, Tensor result, Tensor input) {
  if (width(result) == width(input)) {
    return success();
  }
  return op->emitOpError("result has ") << width(result) << " channels, input has " << width(input);
}

LogicalResult QuantizeOp::verify() {
  if (failed(verifyResultWidth(*this, getResult(), getInput())) ||    // quantize_c1
      failed(verifyScaling(*this, getScaling(), getStaticScale()))) { // quantize_c2
    return failure();
  }
  return verifyProductActivation(*this, getActivation()); // quantize_c3
}

LogicalResult ScaledMatmulOp::verify() {
  auto input = cast<Tensor>(getInput());
  if (failed(verifyProduct(*this, input, getWeight(), getBias(), getResult()))) { // c1 to c3
    return failure();
  }
  int64_t outputs = dim(getWeight(), 0), scales = dim(getWeightScale(), 0);
  if (scales != 1 && scales != outputs) { // scaled_matmul_c4
    return emitOpError("weight_scale has ") << scales << " elements, expected 1 or " << outputs;
  }
  Type element = input.getType().getElementType(), codes = getWeight().getType().getElementType();
  if (static_cast<bool>(getInputScale()) != isCode(element)) { // scaled_matmul_c5
    return emitOpError("has an input of ") << element << (getInputScale() ? " with" : " without") << " input_scale";
  }
  if (isCode(element) ? element != codes : !codes.isFloat8E4M3FN()) { // scaled_matmul_c7
    return emitOpError("multiplies ") << element << " by " << codes << ", expected "
                                      << (isCode(element) ? "one type" : "a weight of f8E4M3FN");
  }
  return verifyProductActivation(*this, getActivation()); // scaled_matmul_c6
}

LogicalResult ScaledMoeExpertsOp::verify() {
  if (failed(verifyExperts(*this,
                           {getInput(), getIndices(), getWeights(), getUp(), getDown(), getResult()}))) { // c1 to c3
    return failure();
  }
  RankedTensorType up = getUp().getType(), down = getDown().getType();
  int64_t experts = up.getDimSize(0);
  for (auto [name, scale, rows] : {std::tuple("up_scale", getUpScale(), up.getDimSize(1)),
                                   std::tuple("down_scale", getDownScale(), down.getDimSize(1))}) {
    if (dim(scale, 0) != experts || (dim(scale, 1) != 1 && dim(scale, 1) != rows)) { // scaled_moe_experts_c4
      return emitOpError(name) << " is " << scale.getType() << ", expected shape [" << experts << ", 1] or [" << experts
                               << ", " << rows << "]";
    }
  }
  for (auto [name, scale] :
       {std::pair("up_input_scale", getUpInputScale()), std::pair("down_input_scale", getDownInputScale())}) {
    if (scale && dim(scale, 0) != experts) { // scaled_moe_experts_c5
      return emitOpError(name) << " has " << dim(scale, 0) << " elements, expected one for each of " << experts
                               << " experts";
    }
    if (scale && getWeightOnly()) { // scaled_moe_experts_c6
      return emitOpError(name) << " is there, but weight_only says that inputs are not quantized";
    }
  }
  Type codes = up.getElementType();
  if (codes != down.getElementType() || (getWeightOnly() && !codes.isFloat8E4M3FN())) { // scaled_moe_experts_c7
    return emitOpError("has up of ") << codes << " and down of " << down.getElementType() << ", expected "
                                     << (getWeightOnly() ? "f8E4M3FN with weight_only" : "one type");
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Norms
//===----------------------------------------------------------------------===//

template <typename NormOp>
static LogicalResult verifyNorm(NormOp op, Tensor input, ArrayRef<std::pair<StringRef, Tensor>> channels) {
  for (auto [name, vector] : channels) { // rms_norm_quantize_c1, add_rms_norm_quantize_c1
    if (vector &&
        failed(verifyChannels(op, input, vector, name))) { // layer_norm_quantize_c1, add_layer_norm_quantize_c1
      return failure();
    }
  }
  // rms_norm_quantize_c2, add_rms_norm_quantize_c2, layer_norm_quantize_c2, add_layer_norm_quantize_c2
  if (failed(verifyResultWidth(op, op.getResult(), input))) {
    return failure();
  }
  // rms_norm_quantize_c3, add_rms_norm_quantize_c3, layer_norm_quantize_c3, add_layer_norm_quantize_c3
  if (op.getScaling() == Scaling::Step) {
    return op.emitOpError("has scaling step, expected token or static: a norm knows one row");
  }
  return verifyScaling(op, op.getScaling(), op.getStaticScale());
}

template <typename NormOp> static LogicalResult verifyAdd(NormOp op) {
  Type type = op.getResidual().getType();
  for (auto [name, value] : {std::pair("delta", Value(op.getDelta())), std::pair("sum", Value(op.getSum()))}) {
    if (value.getType() != type) { // add_rms_norm_quantize_c4, add_layer_norm_quantize_c4
      return op.emitOpError(name) << " is " << value.getType() << ", expected the type of residual, " << type;
    }
  }
  return success();
}

LogicalResult RMSNormQuantizeOp::verify() { return verifyNorm(*this, getInput(), {{"weight", getWeight()}}); }

LogicalResult AddRMSNormQuantizeOp::verify() {
  return failed(verifyAdd(*this)) ? failure() : verifyNorm(*this, getResidual(), {{"weight", getWeight()}});
}

LogicalResult LayerNormQuantizeOp::verify() {
  return verifyNorm(*this, getInput(), {{"weight", getWeight()}, {"bias", getBias()}});
}

LogicalResult AddLayerNormQuantizeOp::verify() {
  return failed(verifyAdd(*this)) ? failure()
                                  : verifyNorm(*this, getResidual(), {{"weight", getWeight()}, {"bias", getBias()}});
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

/// The shapes that scales of `weight` can have: one for each matrix, or one for each row.
static LogicalResult verifyScaleShape(Operation *op, StringRef name, RankedTensorType scale, RankedTensorType weight) {
  const int64_t rank = weight.getRank();
  if ((rank != 2 && rank != 3) || !scale.getElementType().isF32()) {
    return op->emitOpError("scales ") << weight << " by " << scale
                                      << ", expected a matrix or a stack of matrices, and elements of f32";
  }
  ArrayRef<int64_t> rows = weight.getShape().drop_back();
  SmallVector<int64_t> matrices(rows);
  matrices.back() = 1;
  if (scale.getShape() != rows && scale.getShape() != ArrayRef<int64_t>(matrices)) {
    return op->emitOpError(name) << " is " << scale << ", expected shape [" << matrices << "] or [" << rows << "]";
  }
  return success();
}

LogicalResult AbsmaxScaleOp::verify() {
  if (failed(verifyScale(*this, "largest", getLargest()))) { // absmax_scale_c2
    return failure();
  }
  return verifyScaleShape(*this, "result", getResult().getType(), getInput().getType()); // absmax_scale_c1
}

LogicalResult QuantizeWeightOp::verify() {
  RankedTensorType input = getInput().getType(), result = getResult().getType();
  if (result.getShape() != input.getShape() || !isCode(result.getElementType())) { // quantize_weight_c1
    return emitOpError("result is ") << result << ", expected f8E4M3FN or i8 in the shape of input, " << input;
  }
  return verifyScaleShape(*this, "scale", getScale().getType(), input); // quantize_weight_c2
}

LogicalResult DequantizeOp::verify() {
  RankedTensorType input = getInput().getType(), result = getResult().getType();
  if (!input.getElementType().isFloat8E4M3FN() || !result.getElementType().isF32() ||
      result.getShape() != input.getShape()) { // dequantize_c1
    return emitOpError("turns ") << input << " into " << result << ", expected f8E4M3FN into f32 of that shape";
  }
  return verifyScaleShape(*this, "scale", getScale().getType(), input); // dequantize_c2
}

LogicalResult BroadcastOp::verify() {
  RankedTensorType input = getInput().getType(), result = getResult().getType();
  if (input.getRank() == 0 || input.getShape().back() != 1) { // broadcast_c1
    return emitOpError("repeats ") << input << ", expected a last dimension of 1";
  }
  if (input.getElementType() != result.getElementType() || input.getRank() != result.getRank() ||
      input.getShape().drop_back() != result.getShape().drop_back()) { // broadcast_c2
    return emitOpError("result is ") << result << ", expected another last dimension of " << input << " at most";
  }
  return success();
}

OpFoldResult BroadcastOp::fold(FoldAdaptor) {
  return getInput().getType() == getResult().getType() ? OpFoldResult(getInput()) : OpFoldResult();
}

LogicalResult FillOp::verify() {
  if (!getResult().getType().getElementType().isF32()) { // fill_c1
    return emitOpError("result is ") << getResult().getType() << ", expected elements of f32";
  }
  return success();
}

} // namespace nemotron::ir
