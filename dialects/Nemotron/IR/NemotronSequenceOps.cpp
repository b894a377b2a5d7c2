//===- NemotronSequenceOps.cpp - verifiers of ops that mix tokens of a sequence -----------------------------------===//
#include "dialects/Nemotron/IR/VerifierUtils.h"

#include "mlir/IR/TypeUtilities.h"

using namespace mlir;

namespace nemotron::ir {

LogicalResult verifyStateUse(Operation *op, SymbolTableCollection &symbols, FlatSymbolRefAttr state, StateKind kind,
                             ArrayRef<int64_t> shape) {
  auto decl = symbols.lookupNearestSymbolFrom<StateDeclOp>(op, state);
  if (!decl) {
    return op->emitOpError("uses ") << state << ", which is not a nemotron.state";
  }
  auto type = dyn_cast<RankedTensorType>(decl.getType());
  if (decl.getKind() != kind || !type || type.getShape() != shape) {
    InFlightDiagnostic diag = op->emitOpError("needs a ")
                              << stringifyStateKind(kind) << " state of [" << shape << "], but " << state << " is a "
                              << stringifyStateKind(decl.getKind()) << " of " << decl.getType();
    diag.attachNote(decl.getLoc()) << "state is declared here";
    return diag;
  }
  return success();
}

LogicalResult RotaryEmbeddingOp::verify() {
  int64_t headDim = getHeadDim(), rotaryDim = getRotaryDim();
  if (width(getInput()) % headDim != 0) { // rotary_embedding_c2
    return emitOpError("has ") << width(getInput()) << " channels, not a multiple of head_dim " << headDim;
  }
  if (rotaryDim % 2 != 0 || rotaryDim > headDim) { // rotary_embedding_c3
    return emitOpError("rotary_dim is ") << rotaryDim << ", expected an even number up to head_dim " << headDim;
  }
  return success();
}

LogicalResult AttentionOp::verify() {
  int64_t heads = getNumHeads(), kvHeads = getNumKvHeads(), headDim = getHeadDim();
  if (!isProduct(width(getQuery()), heads, headDim)) { // attention_c1
    return emitOpError("query has ") << width(getQuery()) << " channels, expected " << heads << " heads of " << headDim;
  }
  for (auto [name, value] : {std::pair("key", getKey()), std::pair("value", getValue())}) {
    if (!isProduct(width(value), kvHeads, headDim)) { // attention_c2
      return emitOpError(name) << " has " << width(value) << " channels, expected " << kvHeads << " heads of "
                               << headDim;
    }
  }
  if (heads % kvHeads != 0) { // attention_c3
    return emitOpError("has ") << heads << " query heads, not a multiple of " << kvHeads << " key/value heads";
  }
  if (getResult().getType() != getQuery().getType()) { // attention_c4
    return emitOpError("result is ") << getResult().getType() << ", expected the type of query, "
                                     << getQuery().getType();
  }
  if (getKeyScale() && failed(verifyScale(*this, "key_scale", *getKeyScale()))) { // attention_c7
    return failure();
  }
  return getValueScale() ? verifyScale(*this, "value_scale", *getValueScale()) : success(); // attention_c7
}

LogicalResult AttentionOp::verifySymbolUses(SymbolTableCollection &symbols) {
  int64_t shape[] = {2, static_cast<int64_t>(getNumKvHeads()), static_cast<int64_t>(getHeadDim())};
  if (failed(verifyStateUse(*this, symbols, getStateAttr(), StateKind::KvCache, shape))) { // attention_c5
    return failure();
  }
  Type cache = symbols.lookupNearestSymbolFrom<StateDeclOp>(*this, getStateAttr()).getType();
  const bool needsScales = getElementTypeOrSelf(cache).isFloat8E4M3FN();
  if (getKeyScale().has_value() != needsScales || getValueScale().has_value() != needsScales) { // attention_c6
    return emitOpError("has a cache of ")
           << cache << ", expected " << (needsScales ? "" : "no ") << "key_scale and value_scale";
  }
  return success();
}

LogicalResult CausalConv1dOp::verify() {
  int64_t channels = width(getInput());
  if (dim(getWeight(), 0) != channels) { // causal_conv1d_c1
    return emitOpError("weight has ") << dim(getWeight(), 0) << " rows, input has " << channels << " channels";
  }
  if (getBias() && dim(getBias(), 0) != channels) { // causal_conv1d_c1
    return emitOpError("bias has ") << dim(getBias(), 0) << " elements, input has " << channels << " channels";
  }
  if (getResult().getType() != getInput().getType()) { // causal_conv1d_c2
    return emitOpError("result is ") << getResult().getType() << ", expected the type of input, "
                                     << getInput().getType();
  }
  if (getActivation() != Activation::None && getActivation() != Activation::Silu) { // causal_conv1d_c4
    return emitOpError("activation is ") << stringifyActivation(getActivation()) << ", expected none or silu";
  }
  return success();
}

LogicalResult CausalConv1dOp::verifySymbolUses(SymbolTableCollection &symbols) {
  int64_t shape[] = {dim(getWeight(), 1) - 1, width(getInput())};
  return verifyStateUse(*this, symbols, getStateAttr(), StateKind::Conv, shape); // causal_conv1d_c3
}

/// Constraints C1 to C4 and C6 of `ssm_scan`, which the fused scan has too.
template <typename ScanOp> static LogicalResult verifyScan(ScanOp op) {
  int64_t heads = op.getNumHeads(), headDim = op.getHeadDim(), groups = op.getNGroups(), state = op.getStateSize();
  for (auto [name, value] : {std::pair("x", op.getX()), std::pair("result", Tensor(op.getResult()))}) {
    if (!isProduct(width(value), heads, headDim)) { // ssm_scan_c1, ssm_scan_gated_norm_c1
      return op.emitOpError(name) << " has " << width(value) << " channels, expected " << heads << " heads of "
                                  << headDim;
    }
  }
  for (auto [name, value] : {std::pair("b", op.getB()), std::pair("c", op.getC())}) {
    if (!isProduct(width(value), groups, state)) { // ssm_scan_c2, ssm_scan_gated_norm_c2
      return op.emitOpError(name) << " has " << width(value) << " channels, expected " << groups << " groups of "
                                  << state;
    }
  }
  if (width(op.getDt()) != heads) { // ssm_scan_c3, ssm_scan_gated_norm_c3
    return op.emitOpError("dt has ") << width(op.getDt()) << " channels, expected one for each of " << heads
                                     << " heads";
  }
  for (auto [name, value] : {std::pair("a_log", op.getALog()), std::pair("dt_bias", op.getDtBias())}) {
    if (dim(value, 0) != heads) { // ssm_scan_c3, ssm_scan_gated_norm_c3
      return op.emitOpError(name) << " has " << dim(value, 0) << " elements, expected one for each of " << heads
                                  << " heads";
    }
  }
  if (heads % groups != 0) { // ssm_scan_c4, ssm_scan_gated_norm_c4
    return op.emitOpError("has ") << heads << " heads, not a multiple of " << groups << " groups";
  }
  float dtMin = op.getDtMin().convertToFloat(), dtMax = op.getDtMax().convertToFloat();
  if (!(0 <= dtMin && dtMin < dtMax)) { // ssm_scan_c6, ssm_scan_gated_norm_c6
    return op.emitOpError("clamps dt to ")
           << op.getDtMinAttr() << " and " << op.getDtMaxAttr() << ", expected 0 <= dt_min < dt_max";
  }
  return success();
}

template <typename ScanOp> static LogicalResult verifyScanState(ScanOp op, SymbolTableCollection &symbols) {
  int64_t shape[] = {static_cast<int64_t>(op.getNumHeads()), static_cast<int64_t>(op.getHeadDim()),
                     static_cast<int64_t>(op.getStateSize())};
  return verifyStateUse(op, symbols, op.getStateAttr(), StateKind::Ssm, shape); // ssm_scan_c5, ssm_scan_gated_norm_c5
}

LogicalResult SsmScanOp::verify() { return verifyScan(*this); }

LogicalResult SsmScanOp::verifySymbolUses(SymbolTableCollection &symbols) { return verifyScanState(*this, symbols); }

LogicalResult SsmSkipOp::verify() {
  int64_t headDim = getHeadDim();
  if (width(getY()) % headDim != 0 || width(getY()) / headDim != dim(getD(), 0)) { // ssm_skip_c2
    return emitOpError("has ") << width(getY()) << " channels, expected " << dim(getD(), 0) << " heads of " << headDim;
  }
  return success();
}

LogicalResult SsmScanGatedNormOp::verify() {
  if (failed(verifyScan(*this))) { // c1 to c4, c6
    return failure();
  }
  if (getGate().getType() != getX().getType()) { // ssm_scan_gated_norm_c7
    return emitOpError("gate is ") << getGate().getType() << ", expected the type of x, " << getX().getType();
  }
  if (dim(getD(), 0) != static_cast<int64_t>(getNumHeads())) { // ssm_scan_gated_norm_c8
    return emitOpError("d has ") << dim(getD(), 0) << " elements, expected one for each of " << getNumHeads()
                                 << " heads";
  }
  if (dim(getWeight(), 0) != width(getX())) { // ssm_scan_gated_norm_c9
    return emitOpError("weight has ") << dim(getWeight(), 0) << " elements, x has " << width(getX()) << " channels";
  }
  return success();
}

LogicalResult SsmScanGatedNormOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyScanState(*this, symbols);
}

} // namespace nemotron::ir
