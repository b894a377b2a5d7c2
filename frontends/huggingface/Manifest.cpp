//===- Manifest.cpp - the tensors that a config asks for ----------------------------------------------------------===//
#include "frontends/huggingface/Manifest.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/Twine.h"

using namespace nemotron::frontends;
using llvm::ArrayRef;
using llvm::Twine;

int64_t TensorSpec::numElements() const {
  int64_t count = 1;
  for (int64_t dim : shape)
    count *= dim;
  return count;
}

std::string nemotron::frontends::formatShape(ArrayRef<int64_t> shape) {
  return shape.empty() ? "scalar"
                       : llvm::join(llvm::map_range(shape, [](int64_t d) { return std::to_string(d); }), "x");
}

Naming nemotron::frontends::defaultNaming(const ModelConfig &config) {
  const bool isBackbone =
      std::holds_alternative<NemotronHConfig>(config) && common(config).architecture != "NemotronHPuzzleForCausalLM";
  return {"", isBackbone ? "backbone." : "model."};
}

namespace {

/// Collects specs; `prefix` is put before each name.
class Lister {
public:
  Lister(const Naming &naming, llvm::function_ref<bool(llvm::StringRef)> exists) : naming(naming), exists(exists) {}

  void enterLayer(int64_t index) {
    layer = index;
    prefix = naming.inLayer(index, "");
  }
  void enterBody() {
    layer = -1;
    prefix = naming.inBody("");
  }

  void add(const Twine &name, ArrayRef<int64_t> shape, TensorRole role) {
    append((prefix + name).str(), shape, role, true, true);
  }
  void addOptional(const Twine &name, ArrayRef<int64_t> shape, TensorRole role, bool expected) {
    append((prefix + name).str(), shape, role, false, expected);
  }
  void addHead(ArrayRef<int64_t> shape, bool expected) {
    append(naming.head(), shape, TensorRole::Matrix, false, expected);
    appendScales(naming.head());
  }

  /// A matrix [out, in], and its scales if it is quantized.
  void addMatrix(const Twine &module, int64_t out, int64_t in) {
    add(module + ".weight", {out, in}, TensorRole::Matrix);
    appendScales((prefix + module + ".weight").str());
  }

  /// A projection [out, in] with an optional bias.
  void addProjection(const Twine &name, int64_t out, int64_t in, bool expectBias) {
    addMatrix(name, out, in);
    addOptional(name + ".bias", {out}, TensorRole::Bias, expectBias);
  }

  /// The scales of an FP8 KV cache, where ModelOpt and where compressed-tensors put them.
  void addCacheScales(const Twine &attention) {
    for (const char *name : {".k_proj.k_scale", ".v_proj.v_scale", ".k_scale", ".v_scale"})
      addOptional(attention + name, {}, TensorRole::Scale, /*expected=*/false);
  }

  void addMixer(const MambaSizes &sizes, const NemotronHConfig &config);
  void addMixer(const AttentionSizes &sizes, const NemotronHConfig &config);
  void addMixer(const MlpSizes &sizes, const NemotronHConfig &config);
  void addMixer(const MoeSizes &sizes, const NemotronHConfig &config);

  void list(const NemotronHConfig &config);
  void list(const NemotronConfig &config);

  std::vector<TensorSpec> specs;

private:
  void append(std::string name, ArrayRef<int64_t> shape, TensorRole role, bool required, bool expected) {
    specs.push_back({std::move(name), llvm::SmallVector<int64_t, 3>(shape), role, required, expected, layer});
  }
  void appendScales(llvm::StringRef weight) {
    weight.consume_back("weight");
    append((weight + "weight_scale").str(), {}, TensorRole::Scale, false, false);
    append((weight + "input_scale").str(), {}, TensorRole::Scale, false, false);
  }

  const Naming &naming;
  llvm::function_ref<bool(llvm::StringRef)> exists;
  std::string prefix;
  int64_t layer = -1;
};

void Lister::addMixer(const MambaSizes &sizes, const NemotronHConfig &config) {
  addProjection("mixer.in_proj", sizes.inProjSize(), config.hiddenSize, config.useBias);
  add("mixer.conv1d.weight", {sizes.convChannels(), 1, sizes.convKernel}, TensorRole::Conv);
  addOptional("mixer.conv1d.bias", {sizes.convChannels()}, TensorRole::Bias, config.useConvBias);
  add("mixer.A_log", {sizes.numHeads}, TensorRole::ALog);
  add("mixer.D", {sizes.numHeads}, TensorRole::SkipD);
  add("mixer.dt_bias", {sizes.numHeads}, TensorRole::DtBias);
  add("mixer.norm.weight", {sizes.innerSize()}, TensorRole::Norm);
  addProjection("mixer.out_proj", config.hiddenSize, sizes.innerSize(), config.useBias);
}

void Lister::addMixer(const AttentionSizes &sizes, const NemotronHConfig &config) {
  addProjection("mixer.q_proj", sizes.querySize(), config.hiddenSize, config.attentionBias);
  addProjection("mixer.k_proj", sizes.keySize(), config.hiddenSize, config.attentionBias);
  addProjection("mixer.v_proj", sizes.keySize(), config.hiddenSize, config.attentionBias);
  addProjection("mixer.o_proj", config.hiddenSize, sizes.querySize(), config.attentionBias);
  addCacheScales("mixer");
}

void Lister::addMixer(const MlpSizes &sizes, const NemotronHConfig &config) {
  addProjection("mixer.up_proj", sizes.intermediateSize, config.hiddenSize, config.mlpBias);
  addProjection("mixer.down_proj", config.hiddenSize, sizes.intermediateSize, config.mlpBias);
}

void Lister::addMixer(const MoeSizes &sizes, const NemotronHConfig &config) {
  const int64_t numExperts = sizes.nRoutedExperts, width = sizes.intermediateSize;
  const int64_t expertInput = sizes.latentSize ? sizes.latentSize : config.hiddenSize;
  add("mixer.gate.weight", {numExperts, config.hiddenSize}, TensorRole::Router);
  add("mixer.gate.e_score_correction_bias", {numExperts}, TensorRole::CorrectionBias);
  if (exists(prefix + "mixer.experts.up_proj") || exists(prefix + "mixer.experts.down_proj")) {
    add("mixer.experts.up_proj", {numExperts, width, expertInput}, TensorRole::Matrix);
    add("mixer.experts.down_proj", {numExperts, expertInput, width}, TensorRole::Matrix);
  } else {
    for (int64_t e = 0; e < numExperts; ++e) {
      const std::string expert = "mixer.experts." + std::to_string(e);
      addMatrix(expert + ".up_proj", width, expertInput);
      addMatrix(expert + ".down_proj", expertInput, width);
    }
  }
  if (sizes.latentSize) {
    addProjection("mixer.fc1_latent_proj", sizes.latentSize, config.hiddenSize, config.mlpBias);
    addProjection("mixer.fc2_latent_proj", config.hiddenSize, sizes.latentSize, config.mlpBias);
  }
  if (sizes.sharedIntermediateSize) {
    addProjection("mixer.shared_experts.up_proj", sizes.sharedIntermediateSize, config.hiddenSize, config.mlpBias);
    addProjection("mixer.shared_experts.down_proj", config.hiddenSize, sizes.sharedIntermediateSize, config.mlpBias);
  }
}

void Lister::list(const NemotronHConfig &config) {
  enterBody();
  add("embeddings.weight", {config.vocabSize, config.hiddenSize}, TensorRole::Embedding);
  for (auto [index, layer] : llvm::enumerate(config.layers)) {
    enterLayer(index);
    add("norm.weight", {config.hiddenSize}, TensorRole::Norm);
    std::visit([&](const auto &sizes) { addMixer(sizes, config); }, layer);
  }
  enterBody();
  add("norm_f.weight", {config.hiddenSize}, TensorRole::Norm);
  // Releases are untied whatever the flag says, and so are files that transformers writes.
  addHead({config.vocabSize, config.hiddenSize}, /*expected=*/true);
}

void Lister::list(const NemotronConfig &config) {
  const int64_t hidden = config.hiddenSize;
  const AttentionSizes &attention = config.attention;
  auto addNorm = [&](const Twine &name) {
    add(name + ".weight", {hidden}, TensorRole::OffsetNorm);
    addOptional(name + ".bias", {hidden}, TensorRole::Bias, true);
  };
  enterBody();
  add("embed_tokens.weight", {config.vocabSize, hidden}, TensorRole::Embedding);
  for (int64_t layer = 0; layer < config.numHiddenLayers; ++layer) {
    enterLayer(layer);
    addNorm("input_layernorm");
    addProjection("self_attn.q_proj", attention.querySize(), hidden, config.attentionBias);
    addProjection("self_attn.k_proj", attention.keySize(), hidden, config.attentionBias);
    addProjection("self_attn.v_proj", attention.keySize(), hidden, config.attentionBias);
    addProjection("self_attn.o_proj", hidden, attention.querySize(), config.attentionBias);
    addCacheScales("self_attn");
    addNorm("post_attention_layernorm");
    addProjection("mlp.up_proj", config.intermediateSize, hidden, config.mlpBias);
    addProjection("mlp.down_proj", hidden, config.intermediateSize, config.mlpBias);
  }
  enterBody();
  addNorm("norm");
  addHead({config.vocabSize, hidden}, !config.tieWordEmbeddings);
}

} // namespace

std::vector<TensorSpec> nemotron::frontends::listTensors(const ModelConfig &config, const Naming &naming,
                                                         llvm::function_ref<bool(llvm::StringRef)> exists) {
  Lister lister(naming, exists);
  std::visit([&](const auto &c) { lister.list(c); }, config);
  return std::move(lister.specs);
}

std::vector<TensorSpec> nemotron::frontends::listExpectedTensors(const ModelConfig &config) {
  std::vector<TensorSpec> specs = listTensors(config, defaultNaming(config), [](llvm::StringRef) { return false; });
  llvm::erase_if(specs, [](const TensorSpec &spec) { return !spec.expected; });
  return specs;
}
