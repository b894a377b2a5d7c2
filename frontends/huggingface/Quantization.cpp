//===- Quantization.cpp - the matrices of 8-bit floats of a checkpoint, and their scales --------------------------===//
#include "frontends/huggingface/Quantization.h"

#include <cmath>
#include <cstring>

#include <fmt/format.h>

#include "frontends/huggingface/Diagnostics.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace nemotron;
using namespace nemotron::frontends;
using runtime::DType;
using Report = QuantizationReport;

namespace {

float toF32(DType dtype, const std::byte *element) {
  if (dtype == DType::kF32) {
    float value;
    std::memcpy(&value, element, sizeof(value));
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, element, sizeof(bits));
  return dtype == DType::kBF16 ? runtime::BF16ToF32(bits) : runtime::F16ToF32(bits);
}

StringRef kindOf(char letter) {
  switch (letter) {
  case 'M':
    return "mamba";
  case '*':
    return "attention";
  case 'E':
    return "moe";
  case 'D':
    return "decoder";
  default:
    return "mlp";
  }
}

/// Whether layers of this letter have a KV cache.
bool hasCache(char letter) { return letter == '*' || letter == 'D'; }

/// Modules that share a remark: the first few by name.
struct ModuleList {
  int64_t count = 0;
  std::string names;

  void add(StringRef module) {
    if (++count <= 3)
      names += (count > 1 ? ", " : "") + module.str();
  }
  std::string text() const { return count > 3 ? fmt::format("{} and {} more", names, count - 3) : names; }
};

class Reader {
public:
  Reader(MLIRContext *context, TensorSource &source, const Naming &naming, const ModelConfig &config,
         const ImportOptions &options)
      : context(context), source(source), naming(naming), config(config), options(options),
        files(common(config).quantization),
        errors(fileLocation(context, source.fileOf("")), "errors in scales and quantized tensors"),
        letters(layersBlockType(config)) {
    for (auto [index, letter] : llvm::enumerate(letters))
      result.report.layers.push_back({static_cast<int64_t>(index), kindOf(letter).str(), {}, std::nullopt});
    result.report.layers.push_back({-1, "head", {}, std::nullopt});
  }

  FailureOr<Quantization> read();

private:
  struct Expert {
    std::string module;
    bool isUp, isQuantized;
  };

  Location locationOf(StringRef tensor) const { return fileLocation(context, source.fileOf(tensor), tensor); }
  void error(StringRef tensor, const llvm::Twine &message) {
    errors.add(locationOf(tensor), "'" + tensor + "' " + message);
  }

  void readMatrix(const TensorSpec &spec);
  std::optional<QuantizedMatrix> readQuantizedMatrix(const TensorSpec &spec, StringRef module);
  std::optional<ActivationScheme> declaredActivations(StringRef weight, StringRef module);
  bool isDeclaredQuantized(StringRef module) const;
  std::optional<std::vector<float>> readScale(const std::string &name, int64_t rows = 0);
  void addToReport(const TensorSpec &spec, StringRef module, const QuantizedMatrix *quantized, DType dtype);

  bool agree(const Expert &a, const Expert &b) const;
  void checkExperts(int64_t layer, ArrayRef<Expert> experts);

  std::string findCacheScale(const std::string &attention, StringRef projection, StringRef name);
  void readCaches();
  void chooseCacheScales(const std::map<int64_t, Quantization::CacheScales> &found);

  void emitRemarks();

  MLIRContext *context;
  TensorSource &source;
  const Naming &naming;
  const ModelConfig &config;
  const ImportOptions &options;
  ArrayRef<QuantizationConfig> files;
  CappedErrors errors;
  const std::string letters; // of layers
  Quantization result;
  std::map<int64_t, SmallVector<Expert>> experts; // by layer
  ModuleList notQuantized, withoutInputScale, undeclared;
};

//===----------------------------------------------------------------------===//
// Scales
//===----------------------------------------------------------------------===//

/// The elements of a scale for a matrix of `rows` rows, one or one for each; only one if `rows` is 0.
std::optional<std::vector<float>> Reader::readScale(const std::string &name, int64_t rows) {
  const ir::WeightSource::Tensor found = *source.lookup(name);
  if (found.dtype != DType::kF32 && found.dtype != DType::kBF16 && found.dtype != DType::kF16) {
    error(name, "is of " + llvm::Twine(std::string(runtime::DTypeName(found.dtype))) + ", expected f32, bf16 or f16");
    return std::nullopt;
  }
  std::vector<std::vector<int64_t>> shapes = {{}, {1}};
  if (rows > 0)
    shapes.insert(shapes.end(), {{rows}, {rows, 1}});
  if (!llvm::is_contained(shapes, found.shape)) {
    error(name, "is " + formatShape(found.shape) + ", expected " +
                    llvm::join(llvm::map_range(shapes, [](auto &shape) { return formatShape(shape); }), " or "));
    return std::nullopt;
  }
  const int64_t count = found.shape.empty() ? 1 : found.shape[0], size = runtime::SizeOf(found.dtype);
  std::vector<std::byte> bytes(count * size);
  if (const runtime::Status status = source.read(name, 0, bytes); !status.ok()) {
    errors.add(locationOf(name), status.message());
    return std::nullopt;
  }
  std::vector<float> values;
  for (int64_t i = 0; i < count; ++i) {
    values.push_back(toF32(found.dtype, &bytes[i * size]));
    if (values[i] > 0 && std::isfinite(values[i]))
      continue;
    const std::string element = count > 1 ? fmt::format(" at row {}", i) : "";
    error(name, llvm::Twine(fmt::format("is {}{}, expected a positive, finite number", values[i], element)));
    return std::nullopt;
  }
  return values;
}

//===----------------------------------------------------------------------===//
// Matrices
//===----------------------------------------------------------------------===//

/// The name of `path` without its folder.
std::string fileName(const QuantizationConfig &file) { return llvm::sys::path::filename(file.path).str(); }

/// What `find` gives for the name of a module, or for the name without the prefix of a multimodal model.
template <typename FindFn> auto findByName(const Naming &naming, StringRef module, FindFn find) {
  auto found = find(module);
  const bool isFound = static_cast<bool>(found);
  return !isFound && module.consume_front(naming.wrapper) ? find(module) : found;
}

const QuantizationConfig::Group *groupOf(const QuantizationConfig &file, const Naming &naming, StringRef module) {
  return findByName(naming, module, [&](StringRef name) { return file.groupOf(name); });
}

std::string exclusionOf(const QuantizationConfig &file, const Naming &naming, StringRef module) {
  const auto found = findByName(naming, module, [&](StringRef name) -> std::optional<std::string> {
    const std::string pattern = file.exclusions.find(name);
    return pattern.empty() ? std::nullopt : std::optional(pattern);
  });
  return found.value_or("");
}

bool Reader::isDeclaredQuantized(StringRef module) const {
  return !files.empty() && llvm::all_of(files, [&](const QuantizationConfig &file) {
    return groupOf(file, naming, module) && exclusionOf(file, naming, module).empty();
  });
}

/// How the files say that the input of a quantized module is; dynamic if none says so. Nothing after an error.
std::optional<ActivationScheme> Reader::declaredActivations(StringRef weight, StringRef module) {
  std::optional<ActivationScheme> scheme;
  for (const QuantizationConfig &file : files) {
    if (const std::string pattern = exclusionOf(file, naming, module); !pattern.empty()) {
      error(weight, "is of f8e4m3, but '" + pattern + "' is in '" + file.exclusionField + "' of " + fileName(file));
      return std::nullopt;
    }
    const QuantizationConfig::Group *group = groupOf(file, naming, module);
    if (!group) {
      error(weight, "is of f8e4m3, but " + fileName(file) + " does not say that it is quantized");
      return std::nullopt;
    }
    if (scheme && *scheme != group->activations) {
      error(weight, "has activations that are " + describeScheme(*scheme) + " by " + fileName(files.front()) +
                        ", but " + describeScheme(group->activations) + " by " + fileName(file));
      return std::nullopt;
    }
    scheme = group->activations;
  }
  return scheme.value_or(ActivationScheme::Dynamic);
}

std::optional<QuantizedMatrix> Reader::readQuantizedMatrix(const TensorSpec &spec, StringRef module) {
  const std::optional<ActivationScheme> declared = declaredActivations(spec.name, module);
  if (!declared)
    return std::nullopt;
  const std::string weightScale = (module + ".weight_scale").str(), inputScale = (module + ".input_scale").str();
  if (!source.lookup(weightScale)) {
    error(spec.name, "is of f8e4m3, but there is no '" + weightScale + "'");
    return std::nullopt;
  }
  const auto scales = readScale(weightScale, spec.shape[0]);
  if (!scales)
    return std::nullopt;
  QuantizedMatrix matrix{scales->size() > 1, *declared};
  if (!source.lookup(inputScale)) {
    if (matrix.activations == ActivationScheme::Static) {
      matrix.activations = ActivationScheme::Dynamic;
      matrix.lacksInputScale = true;
      withoutInputScale.add(module);
    } else if (files.empty()) {
      undeclared.add(module);
    }
    return matrix;
  }
  if (!files.empty() && *declared != ActivationScheme::Static) {
    error(inputScale, "is there, but activations are " + describeScheme(*declared) + " by " + fileName(files.front()));
    return std::nullopt;
  }
  const auto input = readScale(inputScale);
  if (!input)
    return std::nullopt;
  matrix.activations = ActivationScheme::Static;
  matrix.inputScale = input->front();
  return matrix;
}

void Reader::readMatrix(const TensorSpec &spec) {
  const auto found = source.lookup(spec.name);
  if (!found) // required ones are checked elsewhere
    return;
  StringRef module = spec.name;
  const bool isStack = !module.consume_back(".weight");
  const bool isQuantized = found->dtype == DType::kF8E4M3;
  if (isQuantized && isStack)
    return error(spec.name, "is of f8e4m3: experts that are stacked in one tensor can only be f32, bf16 or f16, for "
                            "there is no format of their scales");
  if (isQuantized) {
    if (const std::optional<QuantizedMatrix> matrix = readQuantizedMatrix(spec, module)) {
      result.matrices[module.str()] = *matrix;
      addToReport(spec, module, &*matrix, found->dtype);
    }
  } else {
    for (StringRef suffix : {".weight_scale", ".input_scale"})
      if (const std::string scale = (module + suffix).str(); !isStack && source.lookup(scale))
        error(scale, "scales '" + llvm::Twine(spec.name) + "', which is of " +
                         std::string(runtime::DTypeName(found->dtype)) + ", expected f8e4m3");
    if (isDeclaredQuantized(module))
      notQuantized.add(module);
    addToReport(spec, module, nullptr, found->dtype);
  }
  StringRef inLayer = module;
  if (spec.layer >= 0 && inLayer.consume_front(naming.inLayer(spec.layer, "mixer.experts.")) && !isStack)
    experts[spec.layer].push_back({module.str(), inLayer.ends_with(".up_proj"), isQuantized});
}

/// "scaled by row, activations static".
std::string describeMatrix(const QuantizedMatrix &matrix) {
  return fmt::format("scaled by {}, activations {}", matrix.perChannel ? "row" : "matrix",
                     std::string_view(describeScheme(matrix.activations)));
}

/// Whether two experts of a layer can stand in one op: their up and down projections may differ, but not in whether
/// inputs are quantized.
bool Reader::agree(const Expert &a, const Expert &b) const {
  const QuantizedMatrix &own = *result.find(a.module), &other = *result.find(b.module);
  if (a.isUp == b.isUp)
    return own.perChannel == other.perChannel && own.activations == other.activations;
  return (own.activations == ActivationScheme::None) == (other.activations == ActivationScheme::None);
}

void Reader::checkExperts(int64_t layer, ArrayRef<Expert> experts) {
  const auto quantized = llvm::find_if(experts, [](const Expert &expert) { return expert.isQuantized; });
  const auto plain = llvm::find_if_not(experts, [](const Expert &expert) { return expert.isQuantized; });
  if (quantized == experts.end())
    return;
  if (plain != experts.end())
    return error(plain->module + ".weight", "is not of f8e4m3, but '" + llvm::Twine(quantized->module) +
                                                ".weight' is: experts of layer " + llvm::Twine(layer) +
                                                " can be quantized only all of them");
  for (const Expert &expert : experts)
    for (const Expert &reference : experts.take_front(2)) // up and down projection of the first
      if (!agree(expert, reference))
        return error(expert.module + ".weight",
                     "is " + describeMatrix(*result.find(expert.module)) + ", but '" + reference.module +
                         ".weight' is " + describeMatrix(*result.find(reference.module)) + ": experts of layer " +
                         llvm::Twine(layer) + " must be quantized alike");
}

//===----------------------------------------------------------------------===//
// KV cache
//===----------------------------------------------------------------------===//

/// The tensor `<attention>.<projection>.<name>` or `<attention>.<name>`; empty if there is neither.
std::string Reader::findCacheScale(const std::string &attention, StringRef projection, StringRef name) {
  const std::string inner = (attention + "." + projection + "." + name).str(), outer = (attention + "." + name).str();
  if (source.lookup(inner) && source.lookup(outer))
    error(inner, "and '" + outer + "' are the same scale, expected one of them");
  return source.lookup(inner) ? inner : source.lookup(outer) ? outer : "";
}

void Reader::readCaches() {
  std::map<int64_t, Quantization::CacheScales> found;
  for (auto [layer, letter] : llvm::enumerate(letters)) {
    if (!hasCache(letter))
      continue;
    const std::string attention = naming.inLayer(layer, letter == 'D' ? "self_attn" : "mixer");
    const std::string keyName = findCacheScale(attention, "k_proj", "k_scale");
    const std::string valueName = findCacheScale(attention, "v_proj", "v_scale");
    if (keyName.empty() != valueName.empty())
      error(keyName + valueName, llvm::Twine("is there without a ") + (keyName.empty() ? "k_scale" : "v_scale") +
                                     " of layer " + llvm::Twine(layer) + ", expected both or neither");
    if (keyName.empty() || valueName.empty())
      continue;
    const auto key = readScale(keyName), value = readScale(valueName);
    if (key && value)
      found[layer] = {key->front(), value->front()};
  }
  if (!errors.failed())
    chooseCacheScales(found);
}

void Reader::chooseCacheScales(const std::map<int64_t, Quantization::CacheScales> &found) {
  using Cache = Report::Cache;
  const bool isDeclared = llvm::any_of(files, [](const QuantizationConfig &file) { return file.kvCache; });
  const bool isFp8 = isDeclared || !found.empty();
  result.kvCacheDtype = options.kvCacheDtype.value_or(isFp8 ? DType::kF8E4M3 : options.dtype);
  if (!found.empty() && !isDeclared && !files.empty())
    emitRemark(fileLocation(context, files.front().path))
        << "does not say that the KV cache is FP8, but " << found.size() << " layers have scales for it, which counts";
  for (auto [index, letter] : llvm::enumerate(letters)) {
    Report::Layer &layer = result.report.layers[index];
    const auto scales = found.find(layer.index);
    if (!hasCache(letter) || (result.kvCacheDtype != DType::kF8E4M3 && scales == found.end()))
      continue;
    if (scales != found.end()) {
      const auto used = result.kvCacheDtype == DType::kF8E4M3 ? Cache::Source::Checkpoint : Cache::Source::Unused;
      layer.cache = Cache{used, scales->second.key, scales->second.value};
    } else if (options.kvScale) {
      layer.cache = Cache{Cache::Source::Option, *options.kvScale, *options.kvScale};
    } else if (isFp8) {
      emitRemark(fileLocation(context, source.fileOf("")))
          << "layer " << layer.index << " has neither k_scale nor v_scale for its FP8 KV cache: both are taken to be 1";
      layer.cache = Cache{Cache::Source::Default, 1.0f, 1.0f};
    } else {
      errors.add(fileLocation(context, source.fileOf("")),
                 "has no scales for an FP8 KV cache: give one (--kv-scale), or measure them (--calibrate)");
      return;
    }
    if (result.kvCacheDtype == DType::kF8E4M3)
      result.cacheScales[layer.index] = {layer.cache->key, layer.cache->value};
  }
}

//===----------------------------------------------------------------------===//
// All of it
//===----------------------------------------------------------------------===//

void Reader::addToReport(const TensorSpec &spec, StringRef module, const QuantizedMatrix *quantized, DType dtype) {
  // "mixer.experts.3.up_proj" is one of "experts.up_proj".
  StringRef name = module;
  SmallVector<StringRef> parts;
  if (spec.layer >= 0)
    name.consume_front(naming.inLayer(spec.layer, ""));
  else
    name.consume_front(naming.wrapper);
  name.split(parts, '.');
  if (spec.layer >= 0)
    parts.erase(parts.begin());
  llvm::erase_if(parts, [](StringRef part) { return llvm::all_of(part, llvm::isDigit); });
  Report::Matrix matrix{llvm::join(parts, "."), 1, dtype};
  if (quantized) {
    matrix.perChannel = quantized->perChannel;
    matrix.activations = quantized->activations;
    matrix.lacksInputScale = quantized->lacksInputScale;
  }
  auto &matrices = (spec.layer < 0 ? result.report.layers.back() : result.report.layers[spec.layer]).matrices;
  const auto same = llvm::find_if(matrices, [&](const Report::Matrix &other) { return other.name == matrix.name; });
  if (same == matrices.end())
    matrices.push_back(matrix);
  else
    ++same->count;
}

void Reader::emitRemarks() {
  if (notQuantized.count > 0)
    emitRemark(fileLocation(context, files.front().path))
        << "calls modules quantized that are not: " << notQuantized.text();
  if (options.dequantize)
    return; // nothing is said about activations that stay as they are
  if (withoutInputScale.count > 0)
    emitRemark(fileLocation(context, files.front().path))
        << "calls for static activations, but the input of modules without input_scale is scaled token by token: "
        << withoutInputScale.text();
  if (undeclared.count > 0)
    emitRemark(fileLocation(context, source.fileOf("")))
        << "neither config.json nor hf_quant_config.json says how activations are quantized; the input of modules "
        << "without input_scale is scaled token by token: " << undeclared.text();
}

FailureOr<Quantization> Reader::read() {
  for (const TensorSpec &spec : listTensors(config, naming, [&](StringRef n) { return source.lookup(n).has_value(); }))
    if (spec.role == TensorRole::Matrix)
      readMatrix(spec);
  if (!errors.failed())
    for (const auto &[layer, list] : experts)
      checkExperts(layer, list);
  readCaches();
  if (errors.failed())
    return failure();
  emitRemarks();
  result.report.dequantized = options.dequantize;
  const bool hasCaches = llvm::any_of(result.report.layers, [](const auto &layer) { return layer.cache.has_value(); });
  const bool isEmpty = result.matrices.empty() && !hasCaches;
  llvm::erase_if(result.report.layers, [&](const auto &layer) { return isEmpty || layer.matrices.empty(); });
  return std::move(result);
}

} // namespace

FailureOr<Quantization> nemotron::frontends::readQuantization(MLIRContext *context, TensorSource &source,
                                                              const Naming &naming, const ModelConfig &config,
                                                              const ImportOptions &options) {
  return Reader(context, source, naming, config, options).read();
}
