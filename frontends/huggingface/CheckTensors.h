//===- CheckTensors.h - do the tensors fit the config? --------------------------------------------------*- C++ -*-===//
#ifndef FRONTENDS_HUGGINGFACE_CHECK_TENSORS_H
#define FRONTENDS_HUGGINGFACE_CHECK_TENSORS_H

#include "frontends/huggingface/Checkpoint.h"
#include "frontends/huggingface/Config.h"
#include "frontends/huggingface/Manifest.h"

namespace nemotron::frontends {

/// The prefixes that the names in `source` have: those under which most layers are found.
Naming detectNaming(const TensorSource &source, const ModelConfig &config);

/// Takes from the tensors what they know better than the config: the vocabulary is the rows of the embedding, and a
/// list `intermediate_size` is read in the way that fits.
void fitToTensors(mlir::MLIRContext *context, const TensorSource &source, const Naming &naming, ModelConfig &config);

/// Emits an error for each tensor that is missing, too much, of the wrong shape or of a type that cannot be used. What
/// is ignored on purpose (multi-token prediction, rotary frequencies, the rest of a multimodal model) gives a remark.
/// Returns the number of parameters.
mlir::FailureOr<int64_t> checkTensors(mlir::MLIRContext *context, const TensorSource &source, const Naming &naming,
                                      const ModelConfig &config);

} // namespace nemotron::frontends

#endif // FRONTENDS_HUGGINGFACE_CHECK_TENSORS_H
