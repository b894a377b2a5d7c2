//===- Import.h - Hugging Face checkpoint to the nemotron dialect ---------------------------------------*- C++ -*-===//
#ifndef FRONTENDS_HUGGINGFACE_IMPORT_H
#define FRONTENDS_HUGGINGFACE_IMPORT_H

#include <memory>
#include <optional>

#include "dialects/Nemotron/Checkpoint.h"
#include "frontends/huggingface/Checkpoint.h"
#include "frontends/huggingface/Config.h"
#include "frontends/huggingface/QuantizationReport.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include "runtime/base/dtype.h"

namespace nemotron::frontends {

struct ImportOptions {
  /// Type that matrices are used in: kBF16 or kF32. Where the checkpoint has another type, a `nemotron.cast` is
  /// inserted.
  runtime::DType dtype = runtime::DType::kBF16;
  /// Type of the KV cache, kBF16, kF32 or kF8E4M3. If not given, kF8E4M3 where the checkpoint declares it or has scales
  /// for it, else that of the matrices.
  std::optional<runtime::DType> kvCacheDtype;
  /// Scale of keys and values of an FP8 KV cache in layers for which the checkpoint has none. Without it a checkpoint
  /// that declares an FP8 KV cache gets 1, with a remark for each layer, and another is an error.
  std::optional<float> kvScale;
  /// Type of the `ssm` states, kF32 or kBF16.
  runtime::DType ssmStateDtype = runtime::DType::kF32;
  /// Gives quantized matrices their values back, in `dtype`; else they stay as they are, with their scales.
  bool dequantize = false;
  /// Rounds the rotary frequencies to BF16. Formulas and implementations keep them in F32, but a model that was cast to
  /// BF16 as a whole (`model.to(torch.bfloat16)`) has rounded ones; this reproduces its numbers.
  bool bf16RopeFrequencies = false;
  /// Sets `split_input` on the matrix products of the layers. By default for models with experts and BF16 matrices:
  /// there the rounding of an input can turn the choice of an expert, which no later precision makes good.
  std::optional<bool> splitInputs;
};

/// A model in the unfused form of the papers: weights, states and one function `@step`.
struct ImportedModel {
  mlir::OwningOpRef<mlir::ModuleOp> module;
  ir::ModelInfo info;
  /// Which scales the checkpoint has, layer by layer.
  QuantizationReport quantization;
  /// Serves the bytes of every `nemotron.weight` of the module. Null if the caller of `importCheckpoint` owns it.
  std::unique_ptr<ir::WeightSource> weights;
};

/// Opens the checkpoint folder `path` and builds its module. Also reads the tokenizer, the chat template and the
/// generation defaults. Loads the dialects it needs into `context`. Whatever is wrong with the checkpoint is emitted as
/// a diagnostic at a location that names the file, the tensor or the layer; tensors that are ignored on purpose as
/// remarks.
mlir::FailureOr<ImportedModel> importHuggingFace(mlir::MLIRContext *context, llvm::StringRef path,
                                                 const ImportOptions &options = {});

/// Builds the module that the config.json at `configPath` describes, with random weights of the right shape
/// (RandomWeights.h). Files beside the config (tokenizer, generation defaults) are used if they are there.
mlir::FailureOr<ImportedModel> importRandomWeights(mlir::MLIRContext *context, llvm::StringRef configPath,
                                                   const ImportOptions &options = {});

/// The common part: checks the tensors of `source` against `config` by name and shape, and builds the module. Of the
/// result's `info` only what config and tensors say is filled in. `source` must outlive uses of the module's weights.
mlir::FailureOr<ImportedModel> importCheckpoint(mlir::MLIRContext *context, TensorSource &source,
                                                const ModelConfig &config, const ImportOptions &options = {});

} // namespace nemotron::frontends

#endif // FRONTENDS_HUGGINGFACE_IMPORT_H
