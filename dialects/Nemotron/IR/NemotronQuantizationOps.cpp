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

/// The shapes that scales of `weight`, a matrix or a stack of them, can have: one for each matrix, one for each row, or
/// G for each row, where G divides its length.
static bool isScaleShape(ArrayRef<int64_t> scale, ArrayRef<int64_t> weight) {
  ArrayRef<int64_t> rows = weight.drop_back();
  if (scale.size() == weight.size()) {
    return scale.drop_back() == rows && scale.back() > 0 && weight.back() % scale.back() == 0;
  }
  return scale == rows || (scale.size() == rows.size() && scale.drop_back() == rows.drop_back() && scale.back() == 1);
}

/// "shape [4, 1], [4, 6] or [4, 6, G], G a divisor of 8".
static void describeScaleShapes(InFlightDiagnostic &diag, ArrayRef<int64_t> weight, bool hasGroups) {
  ArrayRef<int64_t> rows = weight.drop_back();
  SmallVector<int64_t> matrices(rows);
  matrices.back() = 1;
  diag << "shape [" << ArrayRef<int64_t>(matrices) << "]" << (hasGroups ? ", [" : " or [") << rows << "]";
  if (hasGroups) {
    diag << " or [" << rows << ", G], G a divisor of " << weight.back();
  }
}

/// Scales of the matrices that a product takes; those of groups are for i8.
static LogicalResult verifyMatrixScale(Operation *op, StringRef name, Tensor scale, RankedTensorType weight) {
  RankedTensorType type = scale.getType();
  const bool hasGroups = weight.getElementType().isInteger(8);
  if (isScaleShape(type.getShape(), weight.getShape()) && (hasGroups || type.getRank() < weight.getRank())) {
    return success();
  }
  InFlightDiagnostic diag = op->emitOpError(name) << " is " << type << ", expected ";
  describeScaleShapes(diag, weight.getShape(), hasGroups);
  return diag;
}

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
  if (failed(verifyMatrixScale(*this, "weight_scale", getWeightScale(), getWeight().getType()))) { // scaled_matmul_c4
    return failure();
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
  if (failed(verifyMatrixScale(*this, "up_scale", getUpScale(), up)) ||
      failed(verifyMatrixScale(*this, "down_scale", getDownScale(), down))) { // scaled_moe_experts_c4
    return failure();
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

static LogicalResult verifyScaleShape(Operation *op, StringRef name, RankedTensorType scale, RankedTensorType weight) {
  const int64_t rank = weight.getRank();
  if ((rank != 2 && rank != 3) || !scale.getElementType().isF32()) {
    return op->emitOpError("scales ") << weight << " by " << scale
                                      << ", expected a matrix or a stack of matrices, and elements of f32";
  }
  if (isScaleShape(scale.getShape(), weight.getShape())) {
    return success();
  }
  InFlightDiagnostic diag = op->emitOpError(name) << " is " << scale << ", expected ";
  describeScaleShapes(diag, weight.getShape(), /*hasGroups=*/true);
  return diag;
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
