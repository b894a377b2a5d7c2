//===- NemotronNormOps.cpp - verifiers of the normalisations ------------------------------------------------------===//
#include "dialects/Nemotron/IR/VerifierUtils.h"

using namespace mlir;
using namespace nemotron::ir;

LogicalResult nemotron::ir::verifyChannels(Operation *op, Tensor activations, Tensor vector, StringRef name) {
  if (dim(vector, 0) == width(activations)) {
    return success();
  }
  return op->emitOpError(name) << " has " << dim(vector, 0) << " elements, input has " << width(activations)
                               << " channels";
}

LogicalResult RMSNormOp::verify() {
  return verifyChannels(*this, getInput(), getWeight(), "weight"); // rms_norm_c2
}

LogicalResult AddRMSNormOp::verify() {
  return verifyChannels(*this, getResidual(), getWeight(), "weight"); // add_rms_norm_c2
}

LogicalResult LayerNormOp::verify() {
  if (failed(verifyChannels(*this, getInput(), getWeight(), "weight"))) { // layer_norm_c2
    return failure();
  }
  return getBias() ? verifyChannels(*this, getInput(), getBias(), "bias") : success(); // layer_norm_c3
}

LogicalResult AddLayerNormOp::verify() {
  if (failed(verifyChannels(*this, getResidual(), getWeight(), "weight"))) { // add_layer_norm_c2
    return failure();
  }
  return getBias() ? verifyChannels(*this, getResidual(), getBias(), "bias") : success(); // add_layer_norm_c3
}

LogicalResult GatedRMSNormOp::verify() {
  if (failed(verifyChannels(*this, getInput(), getWeight(), "weight"))) { // gated_rms_norm_c2
    return failure();
  }
  if (width(getInput()) % getNGroups() != 0) { // gated_rms_norm_c3
    return emitOpError("has ") << width(getInput()) << " channels, not a multiple of " << getNGroups() << " groups";
  }
  return success();
}
