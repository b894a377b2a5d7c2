//===- ConfigNemotronH.cpp - config.json of the hybrid family -----------------------------------------------------===//
#include "frontends/huggingface/ConfigLimits.h"

#include <cfloat>

#include "llvm/ADT/StringSwitch.h"

using namespace mlir;
using namespace nemotron::frontends;

namespace {

/// M, *, - or E for the name of a block in `layers_block_type`; 0 for none.
char blockLetter(StringRef name) {
  return llvm::StringSwitch<char>(name)
      .Cases("mamba", "mamba2", "linear_attention", 'M')
      .Cases("attention", "full_attention", '*')
      .Case("mlp", '-')
      .Case("moe", 'E')
      .Default(0);
}

/// The schedule of a list of block names. `nameOf` takes the name out of an entry.
std::string readBlockList(ConfigReader &reader, StringRef field, const Json &list,
                          llvm::function_ref<const Json *(const Json &)> nameOf) {
  std::string letters;
  if (!list.is_array() || list.empty()) {
    reader.error(field) << "'" << field << "' is " << preview(list) << ", expected a list of block types";
    return letters;
  }
  for (auto [index, entry] : llvm::enumerate(list)) {
    const Json *name = nameOf(entry);
    const char letter = name && name->is_string() ? blockLetter(name->get_ref<const std::string &>()) : 0;
    if (!letter) {
      reader.error(field) << "entry " << index << " of '" << field << "' is " << preview(name ? *name : entry)
                          << ", expected mamba, attention, mlp or moe (or linear_attention, full_attention)";
      return letters;
    }
    letters += letter;
  }
  return letters;
}

/// The schedule of a pattern string. Megatron's also have `|` where a pipeline is cut, and `/…` for each MTP depth.
std::string readPattern(ConfigReader &reader, StringRef field, StringRef pattern) {
  std::string letters;
  for (char c : pattern.take_until([](char c) { return c == '/'; })) {
    if (c == '|')
      continue;
    if (!StringRef("M*-E").contains(c)) {
      reader.error(field) << "'" << field << "' has the letter '" << StringRef(&c, 1) << "', expected M, *, - or E";
      return letters;
    }
    letters += c;
  }
  return letters;
}

/// One letter a layer. What the most special of the fields says counts.
std::string readSchedule(ConfigReader &reader) {
  StringRef field;
  std::string letters;
  const Json *list = reader.find({"layers_block_type", "layer_types"}, &field);
  const Json *blocks = reader.find({"block_configs"});
  StringRef patternField;
  std::string pattern;
  if (reader.find({"hybrid_override_pattern", "hybrid_layer_pattern"}, &patternField))
    pattern = reader.string({patternField}, "");
  const bool hasBlockTypes = blocks && blocks->is_array() && !blocks->empty() && blocks->front().is_object() &&
                             blocks->front().contains("block_type");
  if (hasBlockTypes) {
    field = "block_configs";
    letters = readBlockList(reader, field, *blocks, [](const Json &entry) -> const Json * {
      return entry.is_object() && entry.contains("block_type") ? &entry["block_type"] : nullptr;
    });
  } else if (list) {
    letters = readBlockList(reader, field, *list, [](const Json &entry) { return &entry; });
  } else if (!pattern.empty()) {
    field = patternField;
    letters = readPattern(reader, field, pattern);
  } else if (!patternField.empty()) {
    field = patternField;
  } else {
    reader.error("") << "has neither 'layers_block_type' nor 'hybrid_override_pattern': no layers";
  }
  if (reader.failed())
    return letters;

  if (letters.empty())
    reader.error(field) << "'" << field << "' has no layers";
  if (letters.size() > size_t{limits::kMaxLayers})
    reader.error(field) << "'" << field << "' has " << letters.size() << " layers, expected at most "
                        << limits::kMaxLayers;
  if (!pattern.empty() && field != patternField && readPattern(reader, patternField, pattern) != letters)
    reader.warning(patternField) << "'" << patternField << "' differs from '" << field << "', which counts";
  if (const Json *depth = reader.find({"num_hidden_layers"})) {
    const std::optional<int64_t> count = reader.asSize(*depth, "num_hidden_layers", {1, limits::kMaxLayers});
    if (count && *count != static_cast<int64_t>(letters.size()))
      reader.error("num_hidden_layers") << "'num_hidden_layers' is " << *count << ", but '" << field << "' has "
                                        << letters.size() << " layers";
  }
  return letters;
}

/// `time_step_limit`: two numbers, or null.
void readTimeStepLimit(ConfigReader &reader, NemotronHConfig &config) {
  StringRef field;
  const Json *limit = reader.find({"time_step_limit", "mamba_dt_limit"}, &field);
  if (!limit)
    return;
  if (!limit->is_array() || limit->size() != 2) {
    reader.error(field) << "'" << field << "' is " << preview(*limit) << ", expected a list of two numbers";
    return;
  }
  const std::optional<double> low = reader.asNumber(limit->at(0), field), high = reader.asNumber(limit->at(1), field);
  if (!low || !high)
    return;
  if (!(*low >= 0 && *low < *high && *low <= FLT_MAX)) {
    reader.error(field) << "'" << field << "' is " << preview(*limit) << ", expected 0 <= lower < upper";
    return;
  }
  config.dtMin = *low;
  config.dtMax = *high > FLT_MAX ? std::numeric_limits<double>::infinity() : *high;
}

MambaSizes readMamba(ConfigReader &reader, const MambaSizes &defaults) {
  MambaSizes sizes;
  sizes.numHeads = reader.size({"mamba_num_heads"}, defaults.numHeads, limits::kHeads);
  sizes.headDim = reader.size({"mamba_head_dim"}, defaults.headDim, limits::kHeadDim);
  sizes.nGroups = reader.size({"n_groups", "mamba_n_groups"}, defaults.nGroups, limits::kHeads);
  sizes.stateSize = reader.size({"ssm_state_size", "mamba_d_state"}, defaults.stateSize, limits::kState);
  sizes.convKernel = reader.size({"conv_kernel", "mamba_d_conv"}, defaults.convKernel, limits::kConvKernel);
  checkDivides(reader, "n_groups", sizes.nGroups, "mamba_num_heads", sizes.numHeads);
  checkWidth(reader, "mamba_num_heads",
             "the width of in_proj ('mamba_num_heads', 'mamba_head_dim', 'n_groups', 'ssm_state_size')",
             sizes.inProjSize());
  return sizes;
}

MoeSizes readMoe(ConfigReader &reader, const MoeSizes &defaults) {
  MoeSizes sizes;
  sizes.nRoutedExperts =
      reader.size({"n_routed_experts", "num_local_experts"}, defaults.nRoutedExperts, limits::kExperts);
  sizes.numExpertsPerTok = reader.size({"num_experts_per_tok"}, defaults.numExpertsPerTok, limits::kExperts);
  sizes.intermediateSize = reader.size({"moe_intermediate_size"}, defaults.intermediateSize, limits::kIntermediate);
  sizes.latentSize = reader.size({"moe_latent_size"}, defaults.latentSize, {0, limits::kHidden.max});
  sizes.nGroup = reader.size({"n_group"}, defaults.nGroup, limits::kExperts);
  sizes.topkGroup = reader.size({"topk_group"}, defaults.topkGroup, limits::kExperts);
  sizes.normTopkProb = reader.flag({"norm_topk_prob"}, defaults.normTopkProb);
  sizes.routedScalingFactor = reader.number({"routed_scaling_factor"}, defaults.routedScalingFactor, 1e-6, 1e6);
  // Several shared experts are one of their joint width.
  const int64_t numShared = reader.size({"n_shared_experts"}, 1, {0, limits::kExperts.max});
  const int64_t sharedSize = reader.size({"moe_shared_expert_intermediate_size"}, defaults.sharedIntermediateSize,
                                         {0, limits::kIntermediate.max});
  sizes.sharedIntermediateSize = numShared * sharedSize;
  checkWidth(reader, "n_shared_experts", "'n_shared_experts' times 'moe_shared_expert_intermediate_size'",
             sizes.sharedIntermediateSize);
  return sizes;
}

/// What the sizes of one layer must satisfy together.
void checkMoe(ConfigReader &reader, const MoeSizes &sizes) {
  if (reader.failed())
    return;
  if (sizes.nRoutedExperts % sizes.nGroup != 0)
    return checkDivides(reader, "n_group", sizes.nGroup, "n_routed_experts", sizes.nRoutedExperts);
  const int64_t groupSize = sizes.nRoutedExperts / sizes.nGroup;
  if (sizes.nGroup > 1 && groupSize < 2) {
    // A group is chosen by the sum of its two best experts.
    reader.error("n_group") << "'n_group' is " << sizes.nGroup << ", which leaves fewer than two experts a group";
  } else if (sizes.topkGroup > sizes.nGroup) {
    reader.error("topk_group") << "'topk_group' is " << sizes.topkGroup << ", more than 'n_group', " << sizes.nGroup;
  } else if (sizes.numExpertsPerTok > sizes.topkGroup * groupSize) {
    reader.error("num_experts_per_tok") << "'num_experts_per_tok' is " << sizes.numExpertsPerTok << ", but "
                                        << sizes.topkGroup * groupSize << " of the " << sizes.nRoutedExperts
                                        << " experts can be chosen";
  }
}

/// The feed-forward widths of the `-` layers: one number, or a list that is read by MLP or by layer.
class MlpWidths {
public:
  MlpWidths(ConfigReader &reader, StringRef schedule) {
    const Json *value = reader.find({"intermediate_size", "ffn_hidden_size"}, &field);
    if (!value)
      return;
    if (schedule.count('-') == 0)
      return;
    if (!value->is_array()) {
      widths = {reader.asSize(*value, field, limits::kIntermediate).value_or(1)};
      return;
    }
    const size_t numMlps = schedule.count('-');
    // A list by layer may have any number where there is no MLP.
    const bool mayBeByLayer = value->size() == schedule.size();
    for (auto [index, entry] : llvm::enumerate(*value)) {
      const bool unused = mayBeByLayer && value->size() > numMlps && schedule[index] != '-';
      const ConfigReader::Range range =
          unused ? ConfigReader::Range{0, limits::kIntermediate.max} : limits::kIntermediate;
      widths.push_back(entry.is_null() && unused ? 0 : reader.asSize(entry, field, range).value_or(1));
    }
    byLayer = mayBeByLayer;
    if (widths.size() != 1 && widths.size() != numMlps && !byLayer)
      reader.error(field) << "'" << field << "' has " << widths.size() << " entries, expected 1, " << numMlps
                          << " (one an MLP) or " << schedule.size() << " (one a layer)";
  }

  /// Of layer `layer`, the `mlp`-th MLP. A list as long as the schedule is read by layer, unless the tensors say
  /// otherwise.
  MlpSizes at(size_t layer, size_t mlp) const {
    if (widths.size() <= 1)
      return {widths.empty() ? 21504 : widths.front(), std::nullopt};
    if (!byLayer)
      return {widths[mlp], std::nullopt};
    MlpSizes sizes{widths[layer], std::nullopt};
    if (widths[mlp] != widths[layer] && widths[mlp] > 0)
      sizes.otherIntermediateSize = widths[mlp];
    return sizes;
  }

private:
  StringRef field;
  SmallVector<int64_t> widths;
  bool byLayer = false;
};

/// Sizes of the config as a whole, from which each layer starts.
struct Defaults {
  MambaSizes mamba;
  AttentionSizes attention;
  MoeSizes moe;
};

/// Reads the sizes of those kinds of layers that there are; the config may say what it likes about others.
Defaults readDefaults(ConfigReader &reader, StringRef schedule) {
  Defaults defaults{{128, 64, 8, 128, 4}, {32, 8, 128}, {8, 2, 7688, 0, 7688, 1, 1, true, 1.0}};
  if (schedule.contains('M'))
    defaults.mamba = readMamba(reader, defaults.mamba);
  if (schedule.contains('*'))
    defaults.attention = readAttention(reader, defaults.attention, {"head_dim", "attention_head_dim"});
  if (schedule.contains('E'))
    defaults.moe = readMoe(reader, defaults.moe);
  reader.ignore({"mamba_num_heads",
                 "mamba_head_dim",
                 "n_groups",
                 "mamba_n_groups",
                 "ssm_state_size",
                 "mamba_d_state",
                 "conv_kernel",
                 "mamba_d_conv",
                 "num_attention_heads",
                 "num_key_value_heads",
                 "head_dim",
                 "attention_head_dim",
                 "n_routed_experts",
                 "num_local_experts",
                 "num_experts_per_tok",
                 "moe_intermediate_size",
                 "moe_latent_size",
                 "n_group",
                 "topk_group",
                 "norm_topk_prob",
                 "routed_scaling_factor",
                 "n_shared_experts",
                 "moe_shared_expert_intermediate_size"});
  return defaults;
}

/// One layer; `reader` is that of its entry in `block_configs`, or of the whole config.
HybridLayer readLayer(ConfigReader &reader, char letter, const Defaults &defaults, const MlpSizes &mlp) {
  switch (letter) {
  case 'M':
    return readMamba(reader, defaults.mamba);
  case '*':
    return readAttention(reader, defaults.attention, {"head_dim", "attention_head_dim"});
  case '-':
    return MlpSizes{reader.size({"intermediate_size"}, mlp.intermediateSize, limits::kIntermediate),
                    reader.find({"intermediate_size"}) ? std::nullopt : mlp.otherIntermediateSize};
  default:
    const MoeSizes sizes = readMoe(reader, defaults.moe);
    checkMoe(reader, sizes);
    return sizes;
  }
}

} // namespace

void nemotron::frontends::readNemotronH(ConfigReader &reader, NemotronHConfig &config) {
  config.vocabSize = reader.size({"vocab_size"}, 131072, limits::kVocab);
  config.hiddenSize = reader.size({"hidden_size"}, 4096, limits::kHidden);
  config.normEps = reader.number({"layer_norm_epsilon", "norm_eps", "rms_norm_eps"}, 1e-5, 1e-30, 1.0);
  config.useBias = reader.flag({"use_bias"}, false);
  config.useConvBias = reader.flag({"use_conv_bias", "mamba_conv_bias"}, true);
  reader.refuse("mlp_hidden_act", "another activation", {"relu2"});
  reader.refuse("mamba_hidden_act", "another activation", {"silu", "swish"});
  reader.refuse("position_embedding_type", "a position embedding", {"none"});
  reader.refuse("scoring_func", "another routing function", {"sigmoid"});
  reader.refuse("topk_method", "another choice of experts", {"noaux_tc"});
  readTimeStepLimit(reader, config);
  // Positions have no effect in these models, chunks only on rounding, the others on initialisation or scheduling. The
  // state is kept in f32 and the residual stream too, whatever is asked. Biases are those that the checkpoint has.
  reader.ignore({"rope_theta",
                 "rope_scaling",
                 "rope_parameters",
                 "partial_rotary_factor",
                 "chunk_size",
                 "mamba_chunk_size",
                 "expand",
                 "mamba_expand",
                 "time_step_rank",
                 "time_step_min",
                 "time_step_max",
                 "time_step_floor",
                 "time_step_init_scheme",
                 "mamba_dt_min",
                 "mamba_dt_max",
                 "mamba_dt_init_floor",
                 "mamba_proj_bias",
                 "mamba_ssm_cache_dtype",
                 "residual_in_fp32",
                 "rescale_prenorm_residual",
                 "use_mamba_kernels",
                 "moe_shared_expert_overlap",
                 "num_nextn_predict_layers",
                 "mtp_layers_block_type",
                 "mtp_hybrid_override_pattern",
                 "mtp_block_configs",
                 "hidden_act"});

  const std::string schedule = readSchedule(reader);
  const Defaults defaults = readDefaults(reader, schedule);
  const MlpWidths widths(reader, schedule);
  const Json *blocks = reader.find({"block_configs"});
  if (blocks && (!blocks->is_array() || blocks->size() != schedule.size())) {
    reader.error("block_configs") << "'block_configs' has " << (blocks->is_array() ? blocks->size() : 0)
                                  << " entries, expected one for each of " << schedule.size() << " layers";
  }
  if (reader.failed())
    return;

  size_t mlp = 0;
  int64_t numExperts = 0;
  const Json noOverrides = Json::object();
  for (auto [index, letter] : llvm::enumerate(schedule)) {
    const Json &overrides = blocks ? (*blocks)[index] : noOverrides;
    if (!overrides.is_object()) {
      reader.error("block_configs") << "entry " << index << " of 'block_configs' is " << preview(overrides)
                                    << ", expected an object";
      return;
    }
    ConfigReader layerReader(reader, overrides);
    layerReader.ignore({"block_type"});
    const MlpSizes sizes = letter == '-' ? widths.at(index, mlp++) : MlpSizes{0, std::nullopt};
    config.layers.push_back(readLayer(layerReader, letter, defaults, sizes));
    layerReader.warnUnknown();
    if (layerReader.failed())
      return;
    if (const auto *moe = std::get_if<MoeSizes>(&config.layers.back()))
      numExperts += moe->nRoutedExperts;
  }
  if (numExperts > limits::kMaxExpertsInAll)
    reader.error("n_routed_experts") << "the layers have " << numExperts << " experts in all, expected at most "
                                     << limits::kMaxExpertsInAll;
}
