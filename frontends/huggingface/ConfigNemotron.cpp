//===- ConfigNemotron.cpp - config.json of the dense family -------------------------------------------------------===//
#include "frontends/huggingface/ConfigLimits.h"

using namespace mlir;
using namespace nemotron::frontends;

namespace {

/// `rope_scaling`, or `rope_parameters` since transformers 5: positions may be divided by a factor, nothing else.
void readRopeScaling(ConfigReader &reader, NemotronConfig &config) {
  const std::string kind = reader.string({"rope_type", "type"}, "default");
  const double factor = reader.number({"factor"}, 1.0, 1e-6, 1e6);
  if (kind == "linear") {
    config.positionScale = 1.0 / factor;
  } else if (kind != "default") {
    reader.error("rope_type") << "rope scaling of type '" << kind << "' is not supported; supported: default, linear";
  }
}

void readRope(ConfigReader &reader, NemotronConfig &config) {
  static constexpr StringRef factorNames[] = {"partial_rotary_factor", "rope_percent", "rope_percentage"};
  double factor = reader.number(factorNames, 0.5, 0.0, 1.0);
  config.ropeTheta = reader.number({"rope_theta", "rotary_base"}, 10000.0, 1.0, 1e12);
  StringRef name;
  if (const Json *scaling = reader.find({"rope_scaling"}, &name)) {
    if (!scaling->is_object()) {
      reader.error(name) << "'" << name << "' is " << preview(*scaling) << ", expected an object";
    } else {
      ConfigReader nested(reader, *scaling);
      readRopeScaling(nested, config);
      nested.ignore({"original_max_position_embeddings"});
      nested.warnUnknown();
    }
  }
  if (const Json *parameters = reader.find({"rope_parameters"}, &name)) {
    if (!parameters->is_object()) {
      reader.error(name) << "'" << name << "' is " << preview(*parameters) << ", expected an object";
    } else {
      ConfigReader nested(reader, *parameters);
      factor = nested.number(factorNames, factor, 0.0, 1.0);
      config.ropeTheta = nested.number({"rope_theta"}, config.ropeTheta, 1.0, 1e12);
      readRopeScaling(nested, config);
      nested.ignore({"original_max_position_embeddings"});
      nested.warnUnknown();
    }
  }
  // Of the head dim, not of hidden_size / heads: they differ in Minitron.
  config.rotaryDim = static_cast<int64_t>(static_cast<double>(config.attention.headDim) * factor);
  if (config.rotaryDim % 2 != 0)
    reader.error("partial_rotary_factor") << "'partial_rotary_factor' times head dim " << config.attention.headDim
                                          << " is " << config.rotaryDim << ", expected an even number";
}

} // namespace

void nemotron::frontends::readNemotron(ConfigReader &reader, NemotronConfig &config) {
  config.vocabSize = reader.size({"vocab_size"}, 256000, limits::kVocab);
  config.hiddenSize = reader.size({"hidden_size"}, 6144, limits::kHidden);
  config.intermediateSize = reader.size({"intermediate_size", "ffn_hidden_size"}, 24576, limits::kIntermediate);
  config.numHiddenLayers = reader.size({"num_hidden_layers"}, 32, {1, limits::kMaxLayers});
  config.normEps =
      reader.number({"norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_epsilon"}, 1e-5, 1e-30, 1.0);
  reader.refuse("hidden_act", "another activation", {"relu2"});
  reader.refuse("normalization", "another norm", {"layernorm1p"});
  reader.refuse("position_embedding_type", "another position embedding", {"rope"});

  // The head dim defaults to an equal share of the hidden size.
  const int64_t numHeads = reader.size({"num_attention_heads"}, 48, limits::kHeads);
  static constexpr StringRef headDimNames[] = {"head_dim", "kv_channels"};
  if (!reader.find(headDimNames))
    checkDivides(reader, "num_attention_heads", numHeads, "hidden_size", config.hiddenSize);
  const int64_t headDim = numHeads ? config.hiddenSize / numHeads : 0;
  config.attention = readAttention(reader, {48, /*numKvHeads=*/0, headDim}, headDimNames);
  readRope(reader, config);
}
