//===- ModelFiles.h - tokenizer, chat template and generation defaults of a checkpoint ------------------*- C++ -*-===//
#ifndef FRONTENDS_HUGGINGFACE_MODEL_FILES_H
#define FRONTENDS_HUGGINGFACE_MODEL_FILES_H

#include "dialects/Nemotron/Checkpoint.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Support/LLVM.h"
#include "llvm/ADT/StringRef.h"

namespace nemotron::frontends {

/// Reads the files of `folder` that stand beside the weights into `info`, which already holds what config.json says:
/// - generation_config.json: end-of-sequence ids (they win over those of config.json) and how to sample;
/// - tokenizer.json, or else a SentencePiece `*.model`; neither: the tokenizer stays empty;
/// - tokenizer_config.json: whether SentencePiece adds BOS and EOS, the chat template;
/// - chat_template.jinja, which wins over the former.
/// A file that is there and wrong is an error.
mlir::LogicalResult readModelFiles(mlir::MLIRContext *context, llvm::StringRef folder, ir::ModelInfo &info);

} // namespace nemotron::frontends

#endif // FRONTENDS_HUGGINGFACE_MODEL_FILES_H
