//===- Import.cpp - Hugging Face checkpoint to the nemotron dialect -----------------------------------------------===//
#include "frontends/huggingface/Import.h"

#include <cmath>

#include "dialects/Nemotron/IR/Nemotron.h"
#include "frontends/huggingface/CheckTensors.h"
#include "frontends/huggingface/Diagnostics.h"
#include "frontends/huggingface/GraphBuilder.h"
#include "frontends/huggingface/Hash.h"
#include "frontends/huggingface/ModelFiles.h"
#include "frontends/huggingface/Quantization.h"
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
  const Location location = UnknownLoc::get(context);
  const DType cache = options.kvCacheDtype.value_or(options.dtype);
  for (auto [what, dtype] : {std::pair("matrices", options.dtype), std::pair("SSM states", options.ssmStateDtype)})
    if (dtype != DType::kF32 && dtype != DType::kBF16)
      return emitError(location) << what << " can be f32 or bf16, not " << std::string(runtime::DTypeName(dtype));
  if (cache != DType::kF32 && cache != DType::kBF16 && cache != DType::kF8E4M3)
    return emitError(location) << "the KV cache can be f32, bf16 or f8e4m3, not "
                               << std::string(runtime::DTypeName(cache));
  if (options.kvScale && !(*options.kvScale > 0 && std::isfinite(*options.kvScale)))
    return emitError(location) << "the scale of the KV cache is " << std::to_string(*options.kvScale)
                               << ", expected a positive, finite number";
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
  if (!shared.hfQuantConfigText.empty())
    hasher.add(shared.hfQuantConfigText);
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
  FailureOr<Quantization> quantization = readQuantization(context, source, naming, config, options);
  if (failed(numParameters) || failed(quantization))
    return failure();

  ImportOptions resolved = options;
  if (!resolved.splitInputs)
    resolved.splitInputs = options.dtype == DType::kBF16 && layersBlockType(config).find('E') != std::string::npos;
  GraphBuilder builder(context, source, naming, common(config), *quantization, resolved);
  if (const auto *hybrid = std::get_if<NemotronHConfig>(&config))
    buildNemotronH(builder, *hybrid);
  else
    buildNemotron(builder, std::get<NemotronConfig>(config));
  ImportedModel model{builder.takeModule(), describe(config, source, *numParameters), std::move(quantization->report),
                      nullptr};
  if (failed(verify(*model.module)))
    return failure();
  return model;
}

FailureOr<ImportedModel> nemotron::frontends::importHuggingFace(MLIRContext *context, StringRef path,
                                                                const ImportOptions &options) {
  if (!llvm::sys::fs::is_directory(path))
    return emitError(fileLocation(context, path)) << "is not a folder with a checkpoint";
  FailureOr<ModelConfig> config = loadConfig(context, joinPath(path, "config.json"));
  if (failed(config))
    return failure();
  if (const std::string file = joinPath(path, "hf_quant_config.json"); llvm::sys::fs::exists(file)) {
    FailureOr<QuantizationConfig> quantization = loadHfQuantConfig(context, file, common(*config).hfQuantConfigText);
    if (failed(quantization))
      return failure();
    common(*config).quantization.push_back(std::move(*quantization));
  }
  FailureOr<std::unique_ptr<TensorSource>> source = openCheckpoint(context, path);
  if (failed(source))
    return failure();
  FailureOr<ImportedModel> model = importCheckpoint(context, **source, *config, options);
  return finishImport(context, path, std::move(model), std::move(*source));
}

FailureOr<ImportedModel> nemotron::frontends::importRandomWeights(MLIRContext *context, StringRef configPath,
                                                                  const ImportOptions &options) {
  FailureOr<ModelConfig> config = loadConfig(context, configPath);
  if (failed(config))
    return failure();
  if (!common(*config).quantization.empty())
    emitRemark(fileLocation(context, configPath))
        << "is of a quantized checkpoint, but random weights are not quantized";
  common(*config).quantization.clear();
  std::unique_ptr<TensorSource> source = makeRandomWeights(*config);
  FailureOr<ImportedModel> model = importCheckpoint(context, *source, *config, options);
  const StringRef folder = llvm::sys::path::parent_path(configPath);
  return finishImport(context, folder.empty() ? "." : folder, std::move(model), std::move(source));
}
