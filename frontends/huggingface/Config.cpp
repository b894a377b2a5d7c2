//===- Config.cpp - config.json: the family, and what the families have in common ---------------------------------===//
#include "frontends/huggingface/Config.h"

#include "frontends/huggingface/ConfigLimits.h"
#include "frontends/huggingface/Diagnostics.h"
#include "frontends/huggingface/Manifest.h"
#include "runtime/base/json.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace mlir;
using namespace nemotron;
using namespace nemotron::frontends;

namespace {

struct Architecture {
  StringRef name, modelType;
  bool isHybrid;
};
constexpr Architecture kArchitectures[] = {
    {"NemotronHForCausalLM", "nemotron_h", true},
    {"NemotronHPuzzleForCausalLM", "nemotron_h_puzzle", true},
    {"NemotronForCausalLM", "nemotron", false},
    {"NemotronModel", "nemotron", false}, // a file of the body alone
};

/// Why a model that is called Nemotron may not be one.
StringRef explainUnsupported(StringRef architecture) {
  if (architecture.starts_with("Llama") || architecture.starts_with("DeciLM"))
    return "; Llama-Nemotron and Llama-3.1-Minitron are Llama models";
  if (architecture.starts_with("Mistral"))
    return "; Mistral-NeMo-Minitron is a Mistral model";
  if (architecture.starts_with("Qwen"))
    return "; OpenReasoning-Nemotron and OpenCodeReasoning-Nemotron are Qwen models";
  if (architecture == "NemotronForSequenceClassification")
    return "; reward models have no language head";
  return "";
}

/// Finds the family by `architectures` and `model_type`; null after an error.
const Architecture *readArchitecture(ConfigReader &reader) {
  std::string name;
  if (const Json *list = reader.find({"architectures"})) {
    if (!list->is_array() || list->size() != 1 || !list->front().is_string()) {
      reader.error("architectures") << "'architectures' is " << preview(*list) << ", expected a list of one name";
      return nullptr;
    }
    name = list->front().get<std::string>();
  }
  const std::string modelType = reader.string({"model_type"}, "");
  for (const Architecture &candidate : kArchitectures) {
    const bool sameType = candidate.modelType == modelType ||
                          // Puzzle files are also published as plain nemotron_h.
                          (candidate.isHybrid && modelType == "nemotron_h");
    if ((candidate.name == name || name.empty()) && (sameType || modelType.empty()) &&
        !(name.empty() && modelType.empty()))
      return &candidate;
  }
  SmallVector<std::string> supported;
  for (const Architecture &candidate : kArchitectures)
    supported.push_back((candidate.name + " (" + candidate.modelType + ")").str());
  reader.error(name.empty() ? "model_type" : "architectures")
      << "architecture '" << name << "' with model_type '" << modelType << "' is not supported; supported are "
      << llvm::join(supported, ", ") << explainUnsupported(name);
  return nullptr;
}

/// `quantization_config`, called `compression_config` once.
void readQuantization(ConfigReader &reader, CommonConfig &config) {
  StringRef field;
  const Json *section = reader.find({"quantization_config", "compression_config"}, &field);
  if (!section)
    return;
  if (!section->is_object()) {
    reader.error(field) << "'" << field << "' is " << preview(*section) << ", expected an object";
    return;
  }
  ConfigReader sectionReader(reader, *section);
  config.quantization.push_back(readQuantizationConfig(sectionReader, config.path));
}

/// What other families have and these do not; in a config that sets one of them the model is another.
void refuseForeignFields(ConfigReader &reader) {
  for (StringRef name : {"attn_logit_softcapping", "final_logit_softcapping", "attention_softcap"})
    reader.refuse(name, "a soft cap on logits");
  for (StringRef name : {"qk_norm", "use_qk_norm", "qk_layernorm"})
    reader.refuse(name, "a norm of queries and keys");
  for (StringRef name : {"embedding_multiplier", "residual_multiplier", "attention_multiplier", "logits_scaling",
                         "logit_scale", "query_pre_attn_scalar"})
    if (const Json *value = reader.find({name}); value && *value != Json(1))
      reader.refuse(name, "a scaling of activations");
  for (StringRef name : {"parallel_attn", "use_parallel_residual"})
    reader.refuse(name, "attention beside the MLP");
  reader.refuse("attention_chunk_size", "attention in chunks");
  reader.refuse("attention_sinks", "attention with sinks");
  if (reader.flag({"use_sliding_window"}, true))
    reader.refuse("sliding_window", "attention in a sliding window");
  reader.ignore({"sliding_window"});
}

void readCommon(ConfigReader &reader, bool isHybrid, CommonConfig &config) {
  config.maxPositionEmbeddings = reader.size({"max_position_embeddings"}, 4096, limits::kPositions);
  config.attentionBias = reader.flag({"attention_bias"}, false);
  config.mlpBias = reader.flag({"mlp_bias"}, false);
  config.tieWordEmbeddings = reader.flag({"tie_word_embeddings"}, false);
  config.bosTokenId = reader.tokenId("bos_token_id", isHybrid ? 1 : 2);
  config.padTokenId = reader.tokenId("pad_token_id", isHybrid ? 0 : -1);
  config.eosTokenIds = reader.tokenIds("eos_token_id", isHybrid ? 2 : 3);
  refuseForeignFields(reader);

  // Training, initialisation, caching, and what the library around a model keeps here.
  reader.ignore({"attention_dropout",
                 "hidden_dropout",
                 "initializer_range",
                 "initializer_factor",
                 "use_cache",
                 "dtype",
                 "torch_dtype",
                 "transformers_version",
                 "auto_map",
                 "name_or_path",
                 "_name_or_path",
                 "pretraining_tp",
                 "output_attentions",
                 "output_hidden_states",
                 "output_router_logits",
                 "router_aux_loss_coef",
                 "num_logits_to_keep",
                 "return_dict",
                 "is_decoder",
                 "is_encoder_decoder",
                 "add_cross_attention",
                 "chunk_size_feed_forward",
                 "id2label",
                 "label2id",
                 "problem_type",
                 "task_specific_params",
                 "tokenizer_class",
                 "prefix",
                 "sep_token_id",
                 "decoder_start_token_id",
                 "cross_attention_hidden_size",
                 "tie_encoder_decoder",
                 "pruned_heads",
                 "torchscript",
                 "use_bfloat16",
                 "finetuning_task",
                 "bad_words_ids",
                 "begin_suppress_tokens",
                 "suppress_tokens",
                 "forced_bos_token_id",
                 "forced_eos_token_id",
                 "max_length",
                 "min_length",
                 "do_sample",
                 "early_stopping",
                 "num_beams",
                 "num_beam_groups",
                 "num_return_sequences",
                 "diversity_penalty",
                 "length_penalty",
                 "encoder_no_repeat_ngram_size",
                 "no_repeat_ngram_size",
                 "exponential_decay_length_penalty",
                 "remove_invalid_values",
                 "repetition_penalty",
                 "return_dict_in_generate",
                 "output_scores",
                 "temperature",
                 "top_k",
                 "top_p",
                 "typical_p",
                 "tf_legacy_loss",
                 "bos_token",
                 "eos_token",
                 "ignore_keys_at_rope_validation",
                 "attn_implementation",
                 "max_sequence_length",
                 "seq_length",
                 "layer_types_validation"});
}

} // namespace

void nemotron::frontends::checkWidth(ConfigReader &reader, StringRef field, StringRef what, int64_t count) {
  if (count > limits::kMaxWidth)
    reader.error(field) << what << " is " << count << ", expected at most " << limits::kMaxWidth;
}

void nemotron::frontends::checkDivides(ConfigReader &reader, StringRef divisorField, int64_t divisor,
                                       StringRef countField, int64_t count) {
  if (divisor != 0 && count % divisor != 0)
    reader.error(divisorField) << "'" << divisorField << "' is " << divisor << ", which does not divide '" << countField
                               << "', " << count;
}

AttentionSizes nemotron::frontends::readAttention(ConfigReader &reader, AttentionSizes defaults,
                                                  ConfigReader::Names headDimNames) {
  AttentionSizes sizes;
  sizes.numHeads = reader.size({"num_attention_heads"}, defaults.numHeads, limits::kHeads);
  sizes.numKvHeads =
      reader.size({"num_key_value_heads"}, defaults.numKvHeads ? defaults.numKvHeads : sizes.numHeads, limits::kHeads);
  sizes.headDim = reader.size(headDimNames, defaults.headDim, limits::kHeadDim);
  if (sizes.numHeads > 0 && sizes.numKvHeads > sizes.numHeads)
    reader.error("num_key_value_heads") << "'num_key_value_heads' is " << sizes.numKvHeads
                                        << ", more than 'num_attention_heads', " << sizes.numHeads;
  else
    checkDivides(reader, "num_key_value_heads", sizes.numKvHeads, "num_attention_heads", sizes.numHeads);
  checkWidth(reader, "num_attention_heads", "'num_attention_heads' times head dim", sizes.querySize());
  return sizes;
}

std::string nemotron::frontends::layersBlockType(const ModelConfig &config) {
  if (const auto *dense = std::get_if<NemotronConfig>(&config))
    return std::string(dense->numHiddenLayers, 'D');
  std::string letters;
  for (const HybridLayer &layer : std::get<NemotronHConfig>(config).layers)
    letters += "M*-E"[layer.index()];
  return letters;
}

FailureOr<ModelConfig> nemotron::frontends::parseConfig(MLIRContext *context, StringRef path, StringRef text) {
  runtime::StatusOr<Json> root = runtime::ParseJson(text);
  if (!root.ok())
    return emitError(fileLocation(context, path)) << root.status().message();
  if (!root->is_object())
    return emitError(fileLocation(context, path)) << "is " << preview(*root) << ", expected a JSON object";

  // Multimodal models hold the config of their language model under one of these names.
  const Json *object = &*root;
  for (const char *name : {"llm_config", "text_config"}) {
    auto it = root->find(name);
    if (it == root->end() || !it->is_object() || !it->contains("hidden_size"))
      continue;
    object = &*it;
    break;
  }
  ConfigReader reader(context, path, text, *object);
  ConfigReader rootReader(reader, *root);
  if (object != &*root) {
    rootReader.remark("") << "is of a multimodal model, of which only the language model is compiled";
  }
  const Architecture *architecture = readArchitecture(reader);
  if (!architecture)
    return failure();
  ModelConfig config;
  if (!architecture->isHybrid)
    config = NemotronConfig();
  CommonConfig &shared = common(config);
  shared.path = path.str();
  shared.text = text.str();
  shared.architecture = architecture->name.str();
  readCommon(reader, architecture->isHybrid, shared);
  readQuantization(reader, shared);
  if (object != &*root)
    readQuantization(rootReader, shared);
  if (auto *hybrid = std::get_if<NemotronHConfig>(&config))
    readNemotronH(reader, *hybrid);
  else
    readNemotron(reader, std::get<NemotronConfig>(config));
  if (reader.failed() || rootReader.failed())
    return failure();
  reader.warnUnknown();

  // Each tensor fits in 64 bits; the sum need not.
  constexpr int64_t kMaxParameters = int64_t{1} << 50;
  int64_t numParameters = 0;
  for (const TensorSpec &spec : listExpectedTensors(config)) {
    numParameters += std::min(spec.numElements(), kMaxParameters);
    if (numParameters > kMaxParameters)
      return emitError(fileLocation(context, path)) << "asks for more than " << kMaxParameters << " parameters";
  }
  return config;
}

FailureOr<ModelConfig> nemotron::frontends::loadConfig(MLIRContext *context, StringRef path) {
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!buffer)
    return emitError(fileLocation(context, path)) << "cannot be read: " << buffer.getError().message();
  return parseConfig(context, path, (*buffer)->getBuffer());
}
