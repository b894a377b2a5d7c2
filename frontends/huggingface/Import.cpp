//===- Import.cpp - Hugging Face checkpoint to the nemotron dialect -----------------------------------------------===//
#include "frontends/huggingface/Import.h"

#include "dialects/Nemotron/IR/Nemotron.h"
#include "frontends/huggingface/CheckTensors.h"
#include "frontends/huggingface/Diagnostics.h"
#include "frontends/huggingface/GraphBuilder.h"
#include "frontends/huggingface/Hash.h"
#include "frontends/huggingface/ModelFiles.h"
#include "frontends/huggingface/RandomWeights.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Verifier.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace nemotron;
using namespace nemotron::frontends;
using runtime::DType;

namespace {

LogicalResult checkOptions(MLIRContext *context, const ImportOptions &options) {
  for (DType dtype : {options.dtype, options.kvCacheDtype.value_or(options.dtype)})
    if (dtype != DType::kF32 && dtype != DType::kBF16)
      return emitError(UnknownLoc::get(context))
             << "matrices and KV cache can be f32 or bf16, not " << std::string(runtime::DTypeName(dtype));
  return success();
}

std::string joinPath(StringRef folder, StringRef file) {
  llvm::SmallString<256> path(folder);
  llvm::sys::path::append(path, file);
  return path.str().str();
}

/// The last part of the path of a folder, also for "." and "model/".
std::string folderName(StringRef path) {
  llvm::SmallString<256> real;
  if (llvm::sys::fs::real_path(path, real))
    real = path;
  return llvm::sys::path::filename(real).str();
}

ir::ModelInfo describe(const ModelConfig &config, const TensorSource &source, int64_t numParameters) {
  const CommonConfig &shared = common(config);
  ir::ModelInfo info;
  info.architecture = shared.architecture;
  info.vocabSize = shared.vocabSize;
  info.hiddenSize = shared.hiddenSize;
  info.layersBlockType = layersBlockType(config);
  info.maxPositionEmbeddings = shared.maxPositionEmbeddings;
  info.numParameters = numParameters;
  info.bosTokenId = shared.bosTokenId;
  info.padTokenId = shared.padTokenId;
  info.eosTokenIds = shared.eosTokenIds;
  info.configJson = shared.text;
  Hasher hasher;
  hasher.add(shared.text);
  hasher.add(source.hash());
  info.checkpointHash = hasher.finish();
  return info;
}

/// Drops special tokens that the vocabulary does not have: they can be neither fed nor generated.
void dropForeignTokens(MLIRContext *context, StringRef path, ir::ModelInfo &info) {
  const auto isForeign = [&](StringRef what, int32_t id) {
    if (id < info.vocabSize)
      return false;
    emitWarning(fileLocation(context, path)) << what << " token " << id << " is not among the " << info.vocabSize
                                             << " tokens of the vocabulary and is ignored";
    return true;
  };
  if (isForeign("bos", info.bosTokenId))
    info.bosTokenId = -1;
  if (isForeign("pad", info.padTokenId))
    info.padTokenId = -1;
  llvm::erase_if(info.eosTokenIds, [&](int32_t id) { return isForeign("eos", id); });
}

/// What follows the weights: files beside them, and the name.
FailureOr<ImportedModel> finishImport(MLIRContext *context, StringRef folder, FailureOr<ImportedModel> model,
                                      std::unique_ptr<TensorSource> source) {
  if (failed(model))
    return failure();
  model->weights = std::move(source);
  model->info.name = folderName(folder);
  if (failed(readModelFiles(context, folder, model->info)))
    return failure();
  dropForeignTokens(context, folder, model->info);
  return model;
}

} // namespace

FailureOr<ImportedModel> nemotron::frontends::importCheckpoint(MLIRContext *context, TensorSource &source,
                                                               const ModelConfig &asked, const ImportOptions &options) {
  if (failed(checkOptions(context, options)))
    return failure();
  context->loadDialect<ir::NemotronDialect, func::FuncDialect>();
  ModelConfig config = asked;
  const Naming naming = detectNaming(source, config);
  fitToTensors(context, source, naming, config);
  const FailureOr<int64_t> numParameters = checkTensors(context, source, naming, config);
  if (failed(numParameters))
    return failure();

  ImportOptions resolved = options;
  if (!resolved.splitInputs)
    resolved.splitInputs = options.dtype == DType::kBF16 && layersBlockType(config).find('E') != std::string::npos;
  GraphBuilder builder(context, source, naming, common(config), resolved);
  if (const auto *hybrid = std::get_if<NemotronHConfig>(&config))
    buildNemotronH(builder, *hybrid);
  else
    buildNemotron(builder, std::get<NemotronConfig>(config));
  ImportedModel model{builder.takeModule(), describe(config, source, *numParameters), nullptr};
  if (failed(verify(*model.module)))
    return failure();
  return model;
}

FailureOr<ImportedModel> nemotron::frontends::importHuggingFace(MLIRContext *context, StringRef path,
                                                                const ImportOptions &options) {
  if (!llvm::sys::fs::is_directory(path))
    return emitError(fileLocation(context, path)) << "is not a folder with a checkpoint";
  if (const std::string quantized = joinPath(path, "hf_quant_config.json"); llvm::sys::fs::exists(quantized))
    return emitError(fileLocation(context, quantized)) << "is of a quantized checkpoint, which is not supported yet";
  const FailureOr<ModelConfig> config = loadConfig(context, joinPath(path, "config.json"));
  if (failed(config))
    return failure();
  FailureOr<std::unique_ptr<TensorSource>> source = openCheckpoint(context, path);
  if (failed(source))
    return failure();
  FailureOr<ImportedModel> model = importCheckpoint(context, **source, *config, options);
  return finishImport(context, path, std::move(model), std::move(*source));
}

FailureOr<ImportedModel> nemotron::frontends::importRandomWeights(MLIRContext *context, StringRef configPath,
                                                                  const ImportOptions &options) {
  const FailureOr<ModelConfig> config = loadConfig(context, configPath);
  if (failed(config))
    return failure();
  std::unique_ptr<TensorSource> source = makeRandomWeights(*config);
  FailureOr<ImportedModel> model = importCheckpoint(context, *source, *config, options);
  const StringRef folder = llvm::sys::path::parent_path(configPath);
  return finishImport(context, folder.empty() ? "." : folder, std::move(model), std::move(source));
}
