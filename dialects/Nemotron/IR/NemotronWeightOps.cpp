//===- NemotronWeightOps.cpp - verifiers and folders of weights, states and weight transforms ---------------------===//
#include "dialects/Nemotron/IR/VerifierUtils.h"

using namespace mlir;

namespace nemotron::ir {

//===----------------------------------------------------------------------===//
// Declarations
//===----------------------------------------------------------------------===//

LogicalResult WeightDeclOp::verify() {
  auto type = cast<RankedTensorType>(getType());
  Type element = type.getElementType();
  if (!type.hasStaticShape() || !(element.isF32() || element.isBF16() || element.isF16() || element.isFloat8E4M3FN())) {
    return emitOpError("has type ") << type << ", expected a static tensor of f32, bf16, f16 or f8E4M3FN"; // weight_c1
  }
  if (getSource().empty()) { // weight_c2
    return emitOpError("has an empty source, expected the name of a tensor of the checkpoint");
  }
  return success();
}

LogicalResult verifyStateType(StateKind kind, Type stateType, function_ref<InFlightDiagnostic()> emitError) {
  auto type = cast<RankedTensorType>(stateType);
  if (!type.hasStaticShape()) { // state_c1
    return emitError() << "has type " << type << ", expected a static tensor";
  }
  int64_t rank = kind == StateKind::Conv || kind == StateKind::Recent ? 2 : 3;
  if (type.getRank() != rank) { // state_c2
    return emitError() << "has rank " << type.getRank() << ", a " << stringifyStateKind(kind) << " has " << rank;
  }
  if (kind == StateKind::KvCache && type.getDimSize(0) != 2) { // state_c3
    return emitError() << "has a first dimension of " << type.getDimSize(0) << ", a kv_cache has 2 (keys, values)";
  }
  Type element = type.getElementType();
  bool isCache = kind == StateKind::KvCache;
  if (!element.isF32() && !element.isBF16() && !(isCache && element.isFloat8E4M3FN())) { // state_c4
    return emitError() << "has elements of " << element << ", expected f32"
                       << (isCache ? ", bf16 or f8E4M3FN" : " or bf16");
  }
  return success();
}

LogicalResult StateDeclOp::verify() {
  return verifyStateType(getKind(), getType(), [&] { return emitOpError(); });
}

LogicalResult GetWeightOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto decl = symbols.lookupNearestSymbolFrom<WeightDeclOp>(*this, getWeightAttr());
  if (!decl) { // get_weight_c1
    return emitOpError("reads ") << getWeightAttr() << ", which is not a nemotron.weight";
  }
  if (decl.getType() != getResult().getType()) { // get_weight_c2
    InFlightDiagnostic diag = emitOpError("result is ")
                              << getResult().getType() << ", but " << getWeightAttr() << " is " << decl.getType();
    diag.attachNote(decl.getLoc()) << "weight is declared here";
    return diag;
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Transforms: verifiers
//===----------------------------------------------------------------------===//

/// Whether the types agree in all but the first dimension. Neither may be a scalar.
static bool agreeAfterFirstDim(RankedTensorType a, RankedTensorType b) {
  return a.getRank() > 0 && b.getRank() > 0 && a.getElementType() == b.getElementType() &&
         a.getShape().drop_front() == b.getShape().drop_front();
}

LogicalResult ConcatOp::verify() {
  if (getInputs().empty()) { // concat_c1
    return emitOpError("has no inputs, expected at least one");
  }
  RankedTensorType result = getResult().getType();
  uint64_t rows = 0;
  for (Value input : getInputs()) {
    auto type = cast<RankedTensorType>(input.getType());
    if (!agreeAfterFirstDim(type, result)) { // concat_c2
      return emitOpError("input is ") << type << ", expected element type and dimensions after the first of " << result;
    }
    rows = llvm::SaturatingAdd<uint64_t>(rows, type.getDimSize(0));
  }
  if (rows != static_cast<uint64_t>(result.getDimSize(0))) { // concat_c3
    return emitOpError("inputs have ") << rows << " rows together, result has " << result.getDimSize(0);
  }
  return success();
}

LogicalResult StackOp::verify() {
  if (getInputs().empty()) { // stack_c1
    return emitOpError("has no inputs, expected at least one");
  }
  auto first = cast<RankedTensorType>(getInputs().front().getType());
  for (Value input : getInputs()) {
    if (input.getType() != first) { // stack_c2
      return emitOpError("input is ") << input.getType() << ", expected the type of the first, " << first;
    }
  }
  SmallVector<int64_t> shape{static_cast<int64_t>(getInputs().size())};
  llvm::append_range(shape, first.getShape());
  auto expected = RankedTensorType::get(shape, first.getElementType());
  if (getResult().getType() != expected) { // stack_c3
    return emitOpError("result is ") << getResult().getType() << ", expected " << expected;
  }
  return success();
}

LogicalResult SliceOp::verify() {
  RankedTensorType input = getInput().getType(), result = getResult().getType();
  if (!agreeAfterFirstDim(input, result)) { // slice_c2
    return emitOpError("result is ") << result << ", expected element type and dimensions after the first of " << input;
  }
  int64_t offset = getOffset();
  if (offset < 0 || result.getDimSize(0) > input.getDimSize(0) || offset > input.getDimSize(0) - result.getDimSize(0)) {
    return emitOpError("takes ") << result.getDimSize(0) << " rows from " << offset << ", input has " // slice_c1
                                 << input.getDimSize(0);
  }
  return success();
}

LogicalResult TransposeOp::verify() {
  RankedTensorType input = getInput().getType();
  auto expected = RankedTensorType::get({input.getDimSize(1), input.getDimSize(0)}, input.getElementType());
  if (getResult().getType() != expected) { // transpose_c1
    return emitOpError("result is ") << getResult().getType() << ", expected " << expected;
  }
  return success();
}

/// Number of elements, or the largest number if there are more.
static uint64_t countElements(RankedTensorType type) {
  uint64_t count = 1;
  for (int64_t dim : type.getShape()) {
    count = llvm::SaturatingMultiply<uint64_t>(count, dim);
  }
  return count;
}

LogicalResult ReshapeOp::verify() {
  RankedTensorType input = getInput().getType(), result = getResult().getType();
  uint64_t count = countElements(result), expected = countElements(input);
  if (count != expected || result.getElementType() != input.getElementType()) { // reshape_c1
    return emitOpError("gives ") << count << " elements of " << result.getElementType() << ", input has " << expected
                                 << " of " << input.getElementType();
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Transforms: folders
//===----------------------------------------------------------------------===//

/// The only input of an op that changes nothing, or nothing.
static OpFoldResult foldIdentity(Value input, Value result) {
  return input.getType() == result.getType() ? OpFoldResult(input) : OpFoldResult();
}

OpFoldResult CastOp::fold(FoldAdaptor) { return foldIdentity(getInput(), getResult()); }

OpFoldResult ConcatOp::fold(FoldAdaptor) {
  return getInputs().size() == 1 ? foldIdentity(getInputs().front(), getResult()) : OpFoldResult();
}

OpFoldResult SliceOp::fold(FoldAdaptor) { return foldIdentity(getInput(), getResult()); }

OpFoldResult ReshapeOp::fold(FoldAdaptor) {
  if (auto inner = getInput().getDefiningOp<ReshapeOp>()) {
    getInputMutable().assign(inner.getInput());
    return getResult();
  }
  return foldIdentity(getInput(), getResult());
}

} // namespace nemotron::ir

#define GET_OP_CLASSES
#include "dialects/Nemotron/IR/NemotronOps.cpp.inc"
