//===- QuantizationConfig.cpp - what JSON files say about quantized matrices --------------------------------------===//
#include "frontends/huggingface/QuantizationConfig.h"

#include <map>

#include "frontends/huggingface/ConfigReader.h"
#include "frontends/huggingface/Diagnostics.h"
#include "runtime/base/json.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace mlir;
using namespace nemotron;
using namespace nemotron::frontends;

StringRef nemotron::frontends::describeScheme(ActivationScheme scheme) {
  switch (scheme) {
  case ActivationScheme::Static:
    return "static";
  case ActivationScheme::Dynamic:
    return "dynamic";
  case ActivationScheme::None:
    return "not quantized";
  }
  llvm_unreachable("all are listed");
}

const QuantizationConfig::Group *QuantizationConfig::groupOf(StringRef module) const {
  for (const Group &group : groups)
    if (!group.targets.find(module).empty())
      return &group;
  auto all = llvm::find_if(groups, [](const Group &group) { return group.targetsAll; });
  return all == groups.end() ? nullptr : &*all;
}

namespace {

using Group = QuantizationConfig::Group;

bool isEmpty(const Json *value) { return !value || value->empty() || *value == Json(false); }

/// The rest of the message about a format that is none of ours.
constexpr StringLiteral kOnlyFp8 = ": of quantized formats only FP8 (E4M3) with a scale for a matrix or each of its "
                                   "rows is supported";

/// "'num_bits' of 'weights'".
std::string fieldIn(StringRef field, StringRef object) { return ("'" + field + "' of '" + object + "'").str(); }

/// An error unless `field` of `scheme` is absent or one of `expected`.
void expect(ConfigReader &scheme, StringRef name, StringRef field, ArrayRef<Json> expected) {
  const Json *value = scheme.find({field});
  if (!value || llvm::is_contained(expected, *value))
    return;
  scheme.error(field) << fieldIn(field, name) << " is " << preview(*value) << ", expected "
                      << llvm::join(llvm::map_range(expected, preview), " or ") << kOnlyFp8;
}

/// Reads `weights`, `input_activations` or `kv_cache_scheme`: an error unless it is FP8 with one of `strategies`.
/// Whether its scales are dynamic; nothing if it is absent or null.
std::optional<bool> readScheme(ConfigReader &reader, StringRef name, ArrayRef<Json> strategies) {
  const Json *value = reader.find({name});
  if (!value)
    return std::nullopt;
  if (!value->is_object()) {
    reader.error(name) << "'" << name << "' is " << preview(*value) << ", expected an object";
    return std::nullopt;
  }
  ConfigReader scheme(reader, *value);
  expect(scheme, name, "num_bits", {Json(8)});
  expect(scheme, name, "type", {Json("float")});
  expect(scheme, name, "strategy", strategies);
  expect(scheme, name, "symmetric", {Json(true)});
  scheme.refuse("group_size", "FP8 with a scale for each group of a row");
  scheme.refuse("block_structure", "FP8 with scales for blocks of a matrix");
  scheme.ignore({"observer", "observer_kwargs", "actorder", "scale_dtype", "zp_dtype"});
  const bool dynamic = scheme.flag({"dynamic"}, false);
  scheme.warnUnknown();
  return dynamic;
}

void readPatterns(ConfigReader &reader, StringRef field, const Json &list, ModulePatterns &patterns) {
  if (!list.is_array())
    return (void)(reader.error(field) << "'" << field << "' is " << preview(list) << ", expected a list of modules");
  for (const Json &entry : list) {
    if (!entry.is_string())
      reader.error(field) << "'" << field << "' has " << preview(entry) << ", expected the name of a module";
    else if (!patterns.add(entry.get_ref<const std::string &>()))
      reader.error(field) << "'" << field << "' has the pattern " << preview(entry) << ", which cannot be read";
  }
}

void readExclusions(ConfigReader &reader, ConfigReader::Names names, QuantizationConfig &config) {
  StringRef field;
  const Json *list = reader.find(names, &field);
  if (!list)
    return;
  config.exclusionField = field.str();
  readPatterns(reader, field, *list, config.exclusions);
}

/// `config_groups`: an object of groups, or a list of them.
void readGroups(ConfigReader &reader, const Json &groups, QuantizationConfig &config) {
  if (!groups.is_structured())
    return (void)(reader.error("config_groups") << "'config_groups' is " << preview(groups) << ", expected an object");
  for (const Json &object : groups) {
    if (!object.is_object()) {
      reader.error("config_groups") << "'config_groups' has " << preview(object) << ", expected an object";
      continue;
    }
    ConfigReader group(reader, object);
    Group &result = config.groups.emplace_back();
    if (const Json *targets = group.find({"targets"})) {
      readPatterns(group, "targets", *targets, result.targets);
      result.targetsAll = result.targets.find("Linear") == "Linear"; // the class of all matrices
    }
    if (!group.find({"weights"}))
      group.error("weights") << "a group of 'config_groups' has no 'weights', expected FP8 weights";
    else if (readScheme(group, "weights", {Json("tensor"), Json("channel")}).value_or(false))
      group.error("weights") << fieldIn("dynamic", "weights") << " is true, expected false" << kOnlyFp8;
    const std::optional<bool> inputs = readScheme(group, "input_activations", {Json("tensor"), Json("token")});
    result.activations = !inputs   ? ActivationScheme::None
                         : *inputs ? ActivationScheme::Dynamic
                                   : ActivationScheme::Static;
    group.refuse("output_activations", "quantization of what a module gives");
    expect(group, "config_groups", "format", {Json("float-quantized"), Json("naive-quantized")});
    group.warnUnknown();
  }
}

/// `kv_cache_scheme`: an object, or "static".
void readKvCacheScheme(ConfigReader &reader, QuantizationConfig &config) {
  const Json *scheme = reader.find({"kv_cache_scheme"});
  config.kvCache |= scheme != nullptr;
  if (!scheme || *scheme == "static")
    return;
  if (readScheme(reader, "kv_cache_scheme", {Json("tensor")}).value_or(false))
    reader.error("kv_cache_scheme") << fieldIn("dynamic", "kv_cache_scheme")
                                    << " is true, expected false: scales of the KV cache are constants";
}

/// The scheme that the name of an algorithm stands for; nothing after an error. `what` names the field.
std::optional<ActivationScheme> schemeOf(ConfigReader &reader, const llvm::Twine &what, const Json &algorithm) {
  if (algorithm == "FP8")
    return ActivationScheme::Static;
  if (algorithm == "FP8_PER_CHANNEL_PER_TOKEN")
    return ActivationScheme::Dynamic;
  reader.error("quant_algo") << what << " is " << preview(algorithm)
                             << ", expected \"FP8\" or \"FP8_PER_CHANNEL_PER_TOKEN\"" << kOnlyFp8;
  return std::nullopt;
}

/// `quantized_layers` of a model with several algorithms: module -> algorithm.
void readQuantizedLayers(ConfigReader &reader, QuantizationConfig &config) {
  const Json *layers = reader.find({"quantized_layers"});
  if (!layers || !layers->is_object())
    return (void)(reader.error("quant_algo")
                  << "'quant_algo' is MIXED_PRECISION, but there is no object 'quantized_layers'");
  std::map<ActivationScheme, Group> groups;
  for (const auto &[module, entry] : layers->items()) {
    const Json algorithm = entry.is_object() && entry.contains("quant_algo") ? entry["quant_algo"] : entry;
    const auto scheme =
        schemeOf(reader, "'quant_algo' of '" + llvm::Twine(module) + "' in 'quantized_layers'", algorithm);
    if (!scheme)
      return; // there would be thousands
    Group &group = groups[*scheme];
    group.activations = *scheme;
    group.targets.add(module);
  }
  for (auto &[scheme, group] : groups)
    config.groups.push_back(std::move(group));
}

void readModelOpt(ConfigReader &reader, QuantizationConfig &config) {
  const Json *algorithm = reader.find({"quant_algo"});
  const Json *groups = reader.find({"config_groups"});
  if (algorithm && *algorithm == "MIXED_PRECISION") {
    readQuantizedLayers(reader, config);
  } else if (const auto scheme = algorithm ? schemeOf(reader, "'quant_algo'", *algorithm) : std::nullopt) {
    if (!groups) {
      config.groups.push_back({{}, /*targetsAll=*/true, *scheme});
    }
  }
  if (groups && config.groups.empty())
    readGroups(reader, *groups, config);
  readExclusions(reader, {"exclude_modules", "ignore"}, config);
  readKvCacheScheme(reader, config);
  if (const Json *cache = reader.find({"kv_cache_quant_algo"})) {
    config.kvCache = true;
    if (*cache != "FP8")
      reader.error("kv_cache_quant_algo")
          << "'kv_cache_quant_algo' is " << preview(*cache) << ", expected \"FP8\" or null";
  }
  reader.refuse("pre_quant_scale", "a scaling of activations by channel");
  reader.ignore({"group_size", "quantized_layers", "producer", "quant_method", "has_zero_point"});
}

void readCompressedTensors(ConfigReader &reader, QuantizationConfig &config) {
  expect(reader, "quantization_config", "format",
         {Json("float-quantized"), Json("naive-quantized"), Json("mixed-precision"), Json("dense")});
  if (const Json *groups = reader.find({"config_groups"}))
    readGroups(reader, *groups, config);
  readExclusions(reader, {"ignore"}, config);
  readKvCacheScheme(reader, config);
  const Json *sparsity = reader.find({"sparsity_config"});
  if (!isEmpty(sparsity) && !(sparsity->is_object() && sparsity->value("format", Json()) == "dense"))
    reader.error("sparsity_config") << "'sparsity_config' is " << preview(*sparsity)
                                    << ", but sparse matrices are not supported";
  if (const Json *transform = reader.find({"transform_config"}); !isEmpty(transform))
    reader.error("transform_config") << "'transform_config' is " << preview(*transform)
                                     << ", but transforms of activations are not supported";
  reader.ignore({"quant_method", "quantization_status", "global_compression_ratio", "version"});
}

void readFp8(ConfigReader &reader, QuantizationConfig &config) {
  const std::string scheme = reader.string({"activation_scheme"}, "dynamic");
  config.groups.push_back(
      {{}, /*targetsAll=*/true, scheme == "static" ? ActivationScheme::Static : ActivationScheme::Dynamic});
  if (scheme != "static" && scheme != "dynamic")
    reader.error("activation_scheme") << "'activation_scheme' is \"" << scheme << "\", expected static or dynamic";
  readExclusions(reader, {"ignored_layers", "modules_to_not_convert"}, config);
  readKvCacheScheme(reader, config);
  reader.refuse("weight_block_size", "FP8 with scales for blocks of a matrix");
  reader.refuse("scale_fmt", "a scale of another type");
  reader.refuse("fmt", "an 8-bit float other than E4M3", {"e4m3"});
  reader.ignore({"quant_method"});
}

} // namespace

QuantizationConfig nemotron::frontends::readQuantizationConfig(ConfigReader &reader, StringRef path) {
  QuantizationConfig config;
  config.path = path.str();
  const Json *producer = reader.find({"producer"});
  const bool isModelOpt = producer && producer->is_object() && producer->value("name", Json()) == "modelopt";
  const std::string method = reader.string({"quant_method"}, isModelOpt ? "modelopt" : "");
  if (method == "modelopt")
    readModelOpt(reader, config);
  else if (method == "compressed-tensors" || method == "compressed_tensors")
    readCompressedTensors(reader, config);
  else if (method == "fp8")
    readFp8(reader, config);
  else
    reader.error("quant_method") << "'quant_method' is \"" << method
                                 << "\", expected modelopt, compressed-tensors or fp8" << kOnlyFp8;
  if (!reader.failed())
    reader.warnUnknown();
  return config;
}

FailureOr<QuantizationConfig> nemotron::frontends::loadHfQuantConfig(MLIRContext *context, StringRef path,
                                                                     std::string &text) {
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!buffer)
    return emitError(fileLocation(context, path)) << "cannot be read: " << buffer.getError().message();
  text = (*buffer)->getBuffer().str();
  const runtime::StatusOr<Json> root = runtime::ParseJson(text);
  if (!root.ok())
    return emitError(fileLocation(context, path)) << root.status().message();
  if (!root->is_object() || !root->contains("quantization") || !(*root)["quantization"].is_object())
    return emitError(fileLocation(context, path)) << "has no object 'quantization'";
  ConfigReader reader(context, path, text, (*root)["quantization"]);
  QuantizationConfig config;
  config.path = path.str();
  readModelOpt(reader, config);
  if (reader.failed())
    return failure();
  reader.warnUnknown();
  return config;
}
