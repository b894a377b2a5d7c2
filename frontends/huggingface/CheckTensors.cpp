//===- CheckTensors.cpp - do the tensors fit the config? ----------------------------------------------------------===//
#include "frontends/huggingface/CheckTensors.h"

#include <map>

#include "frontends/huggingface/ConfigLimits.h"
#include "frontends/huggingface/Diagnostics.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;
using namespace nemotron;
using namespace nemotron::frontends;
using runtime::DType;

namespace {

StringRef embeddingName(const ModelConfig &config) {
  return std::holds_alternative<NemotronHConfig>(config) ? "embeddings.weight" : "embed_tokens.weight";
}

bool exists(const TensorSource &source, StringRef name) { return source.lookup(name).has_value(); }

/// Why a tensor that the model does not use may be there all the same; empty if it may not.
StringRef reasonToIgnore(const Naming &naming, StringRef name) {
  if (!name.consume_front(naming.wrapper))
    return "outside of the language model";
  if (name.starts_with("mtp."))
    return "for multi-token prediction";
  if (name.ends_with(".rotary_emb.inv_freq"))
    return "of rotary frequencies, which are computed";
  return "";
}

/// What could be the type of a tensor that cannot be used as `dtype`; empty if it can.
std::string expectedTypes(const TensorSpec &spec, DType dtype) {
  if (dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16)
    return "";
  if (spec.role != TensorRole::Matrix)
    return dtype == DType::kF8E4M3 ? "f32, bf16 or f16: only matrices of products can be quantized"
                                   : "f32, bf16 or f16";
  return dtype == DType::kF8E4M3 ? "" : "f32, bf16, f16 or f8e4m3";
}

} // namespace

Naming nemotron::frontends::detectNaming(const TensorSource &source, const ModelConfig &config) {
  Naming best = defaultNaming(config);
  int64_t bestScore = 0;
  for (StringRef wrapper : {"", "language_model."}) {
    for (StringRef body : {"backbone.", "model.", ""}) {
      const Naming naming{wrapper.str(), body.str()};
      const std::string layers = naming.inBody("layers.");
      int64_t score = exists(source, naming.inBody(embeddingName(config))) ? 1 : 0;
      for (StringRef name : source.names())
        score += name.starts_with(layers) ? 2 : 0;
      if (score > bestScore) {
        best = naming;
        bestScore = score;
      }
    }
  }
  return best;
}

void nemotron::frontends::fitToTensors(MLIRContext *context, const TensorSource &source, const Naming &naming,
                                       ModelConfig &config) {
  CommonConfig &shared = common(config);
  const std::string embedding = naming.inBody(embeddingName(config));
  const auto found = source.lookup(embedding);
  if (found && found->shape.size() == 2 && found->shape[0] != shared.vocabSize &&
      found->shape[0] >= limits::kVocab.min && found->shape[0] <= limits::kVocab.max) {
    emitRemark(fileLocation(context, source.fileOf(embedding), embedding))
        << "'" << embedding << "' has " << found->shape[0] << " rows, which counts; config.json says 'vocab_size' "
        << shared.vocabSize;
    shared.vocabSize = found->shape[0];
  }

  auto *hybrid = std::get_if<NemotronHConfig>(&config);
  if (!hybrid)
    return;
  // A list of widths is read either way as a whole.
  bool otherFits = false;
  for (auto [index, layer] : llvm::enumerate(hybrid->layers)) {
    const auto *mlp = std::get_if<MlpSizes>(&layer);
    const auto up = mlp ? source.lookup(naming.inLayer(index, "mixer.up_proj.weight")) : std::nullopt;
    if (up && up->shape.size() == 2 && mlp->otherIntermediateSize && up->shape[0] == *mlp->otherIntermediateSize)
      otherFits = true;
    else if (up && up->shape.size() == 2 && up->shape[0] == mlp->intermediateSize && mlp->otherIntermediateSize)
      return;
  }
  if (!otherFits)
    return;
  for (HybridLayer &layer : hybrid->layers)
    if (auto *mlp = std::get_if<MlpSizes>(&layer); mlp && mlp->otherIntermediateSize)
      mlp->intermediateSize = *mlp->otherIntermediateSize;
}

FailureOr<int64_t> nemotron::frontends::checkTensors(MLIRContext *context, const TensorSource &source,
                                                     const Naming &naming, const ModelConfig &config) {
  CappedErrors errors(fileLocation(context, source.fileOf("")), "errors in tensors");
  llvm::StringMap<bool> known;
  int64_t numParameters = 0;
  for (const TensorSpec &spec : listTensors(config, naming, [&](StringRef name) { return exists(source, name); })) {
    known[spec.name] = true;
    const Location location = fileLocation(context, source.fileOf(spec.name), spec.name);
    const auto found = source.lookup(spec.name);
    if (!found) {
      if (spec.required)
        errors.add(location, "'" + spec.name + "' is missing, config.json asks for " + formatShape(spec.shape));
      continue;
    }
    if (spec.role == TensorRole::Scale) // checked with its matrix
      continue;
    if (const std::string expected = expectedTypes(spec, found->dtype); !expected.empty())
      errors.add(location, "'" + spec.name + "' is of " + std::string(runtime::DTypeName(found->dtype)) +
                               ", expected " + expected);
    if (llvm::ArrayRef<int64_t>(found->shape) != llvm::ArrayRef<int64_t>(spec.shape))
      errors.add(location, "'" + spec.name + "' is " + formatShape(found->shape) + ", but config.json asks for " +
                               formatShape(spec.shape));
    numParameters += spec.numElements();
  }

  std::map<StringRef, int64_t> ignored; // by reason
  for (const std::string &name : source.names()) {
    if (known.contains(name))
      continue;
    if (StringRef reason = reasonToIgnore(naming, name); !reason.empty())
      ++ignored[reason];
    else
      errors.add(fileLocation(context, source.fileOf(name), name),
                 "'" + name + "' (" + formatShape(source.lookup(name)->shape) +
                     ") is not a tensor of the model that config.json describes");
  }
  if (errors.failed())
    return failure();
  for (const auto &[reason, count] : ignored)
    emitRemark(fileLocation(context, source.fileOf(""))) << count << " tensors " << reason << " are not used";
  if (!exists(source, naming.head()))
    emitRemark(fileLocation(context, source.fileOf("")))
        << "no '" << naming.head() << "': the embedding is also the output head";
  return numParameters;
}
