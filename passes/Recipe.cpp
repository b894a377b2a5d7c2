//===- Recipe.cpp - which matrices are quantized, and how ---------------------------------------------------------===//
#include "passes/Recipe.h"

#include <algorithm>

#include "runtime/base/json.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/GlobPattern.h"
#include "llvm/Support/MemoryBuffer.h"

using llvm::ArrayRef;
using llvm::StringRef;
using nemotron::runtime::InvalidArgument;
using nemotron::runtime::Json;
using nemotron::runtime::Status;
using nemotron::runtime::StatusOr;

namespace nemotron::passes {

//===----------------------------------------------------------------------===//
// Built-in recipes: the files of passes/recipes/
//===----------------------------------------------------------------------===//

namespace {

struct Builtin {
  StringRef name, json;
};

constexpr Builtin kBuiltins[] = {
#include "passes/Recipes.inc"
};

} // namespace

ArrayRef<StringRef> Recipe::builtinNames() {
  static const std::vector<StringRef> names = [] {
    std::vector<StringRef> sorted;
    for (const Builtin &builtin : kBuiltins) {
      sorted.push_back(builtin.name);
    }
    llvm::sort(sorted);
    return sorted;
  }();
  return names;
}

StatusOr<Recipe> Recipe::load(StringRef nameOrPath) {
  const StringRef name = nameOrPath == "fp8" ? "nemotron-h" : nameOrPath;
  for (const Builtin &builtin : kBuiltins) {
    if (builtin.name == name) {
      return parse(builtin.json, builtin.name);
    }
  }
  if (!llvm::sys::fs::exists(nameOrPath)) {
    return Status(runtime::StatusCode::kNotFound,
                  "'" + nameOrPath.str() + "' is neither a file nor a built-in recipe, expected one of fp8, " +
                      llvm::join(builtinNames(), ", "));
  }
  auto file = llvm::MemoryBuffer::getFile(nameOrPath, /*IsText=*/true);
  if (!file) {
    return Status(runtime::StatusCode::kNotFound,
                  "recipe '" + nameOrPath.str() + "' cannot be read: " + file.getError().message());
  }
  return parse((*file)->getBuffer(), nameOrPath);
}

//===----------------------------------------------------------------------===//
// Patterns
//===----------------------------------------------------------------------===//

StatusOr<LayerPattern> LayerPattern::parse(StringRef text) {
  static constexpr std::pair<StringRef, LayerKind> kKinds[] = {{"mamba", LayerKind::Mamba},
                                                               {"attention", LayerKind::Attention},
                                                               {"mlp", LayerKind::Mlp},
                                                               {"moe", LayerKind::Moe}};
  LayerPattern pattern;
  pattern.source = text.str();
  auto number = [](StringRef digits, int64_t &value) { return !digits.getAsInteger(10, value) && value >= 0; };
  for (auto [name, kind] : kKinds) {
    if (text == name) {
      pattern.kind = Kind::OfKind;
      pattern.layerKind = kind;
      return pattern;
    }
  }
  StringRef count = text;
  if (text == "all") {
    pattern.kind = Kind::All;
  } else if (text == "head") {
    pattern.kind = Kind::Head;
  } else if (text == "mamba before attention") {
    pattern.kind = Kind::MambaBeforeAttention;
  } else if (count.consume_front("first ") && number(count, pattern.end) && pattern.end > 0) {
    pattern.kind = Kind::First;
  } else if (count = text; count.consume_front("last ") && number(count, pattern.end) && pattern.end > 0) {
    pattern.kind = Kind::Last;
  } else if (auto [from, to] = text.split('-'); number(from, pattern.begin) &&
                                                number(to.empty() ? from : to, pattern.end) &&
                                                pattern.begin <= pattern.end && !text.ends_with("-")) {
    pattern.kind = Kind::Range;
  } else {
    return InvalidArgument("layers '{}' are not known, expected all, head, first N, last N, N, N-M, mamba, attention, "
                           "mlp, moe or mamba before attention",
                           text.str());
  }
  return pattern;
}

bool LayerPattern::matches(const ModelFacts &model, int64_t layer) const {
  const int64_t count = model.size();
  if (layer < 0 || kind == Kind::Head) {
    return layer < 0 && kind == Kind::Head;
  }
  auto is = [&](int64_t index, LayerKind wanted) { return model[index].count(wanted) != 0; };
  switch (kind) {
  case Kind::All:
    return true;
  case Kind::First:
    return layer < end;
  case Kind::Last:
    return layer >= count - end;
  case Kind::Range:
    return begin <= layer && layer <= end;
  case Kind::OfKind:
    return is(layer, layerKind);
  case Kind::MambaBeforeAttention:
    for (int64_t next = layer + 1; is(layer, LayerKind::Mamba) && next < count && !is(next, LayerKind::Mamba); ++next) {
      if (is(next, LayerKind::Attention)) {
        return true;
      }
    }
    return false;
  case Kind::Head:
    break;
  }
  return false;
}

static bool matchesGlob(StringRef glob, StringRef name) {
  llvm::Expected<llvm::GlobPattern> pattern = llvm::GlobPattern::create(glob);
  if (!pattern) {
    llvm::consumeError(pattern.takeError()); // parseRule has checked it
    return false;
  }
  return pattern->match(name);
}

//===----------------------------------------------------------------------===//
// Files
//===----------------------------------------------------------------------===//

/// `object` is one, and has no other keys.
static Status checkKeys(const Json &object, StringRef what, ArrayRef<StringRef> keys) {
  if (!object.is_object()) {
    return InvalidArgument("{} is not an object", what.str());
  }
  for (const auto &[key, value] : object.items()) {
    if (!llvm::is_contained(keys, StringRef(key))) {
      return InvalidArgument("{} has a key '{}', expected only {}", what.str(), key, llvm::join(keys, ", "));
    }
  }
  return runtime::OkStatus();
}

/// A string, or a list of strings that is not empty; `fallback` if there is none.
static StatusOr<std::vector<std::string>> readStrings(const Json &object, StringRef key, StringRef fallback) {
  const auto found = object.find(key.str());
  if (found == object.end()) {
    return std::vector<std::string>{fallback.str()};
  }
  if (found->is_string()) {
    return std::vector<std::string>{found->get<std::string>()};
  }
  if (!found->is_array() || found->empty() || !llvm::all_of(*found, [](const Json &v) { return v.is_string(); })) {
    return InvalidArgument("'{}' is neither a string nor a list of strings", key.str());
  }
  return found->get<std::vector<std::string>>();
}

/// The string at `key`, one of `values`.
static StatusOr<std::string> readChoice(const Json &object, StringRef key, ArrayRef<StringRef> values,
                                        StringRef fallback) {
  ASSIGN_OR_RETURN(std::string value, runtime::GetString(object, key.str(), fallback.str()));
  if (value != fallback && !llvm::is_contained(values, StringRef(value))) {
    return InvalidArgument("'{}' is '{}', expected one of {}", key.str(), value, llvm::join(values, ", "));
  }
  return value;
}

/// Activations of a matrix whose weights are `codes`, "e4m3" or "int8".
static Status parseActivations(const Json &json, StringRef codes, MatrixFormat &format) {
  RETURN_IF_ERROR(checkKeys(json, "'activations'", {"dtype", "granularity", "scale"}));
  ASSIGN_OR_RETURN(std::string dtype, readChoice(json, "dtype", {"e4m3", "int8", "bf16"}, ""));
  ASSIGN_OR_RETURN(std::string granularity, readChoice(json, "granularity", {"tensor", "token"}, ""));
  ASSIGN_OR_RETURN(std::string scale, readChoice(json, "scale", {"static", "current"}, ""));
  if (dtype.empty()) {
    return InvalidArgument("'activations' have no 'dtype', expected e4m3, int8 or bf16");
  }
  const bool isI8 = codes == "int8";
  if (dtype != codes && (isI8 || dtype != "bf16")) {
    return InvalidArgument("weights of {} have 'activations' of {}, expected {}", codes.str(), dtype,
                           isI8 ? "int8" : "e4m3 or bf16");
  }
  format.quantizesActivations = dtype != "bf16";
  if (!format.quantizesActivations && !(granularity.empty() && scale.empty())) {
    return InvalidArgument("'activations' of bf16 have a granularity or scale, expected none");
  }
  // One scale for each token is measured in the step; a scale for all tokens is calibrated, unless it is asked for.
  if (granularity == "token" && scale == "static") {
    return InvalidArgument("'activations' have a static scale for each token, expected granularity tensor");
  }
  if (granularity == "tensor" && scale.empty()) {
    scale = "static";
  }
  if (isI8 && scale == "static") {
    return InvalidArgument("'activations' of int8 have a static scale, which calibrations give to e4m3 only");
  }
  format.scale = scale == "static"                                      ? MatrixFormat::Scale::Static
                 : scale == "current" || granularity == "token" || isI8 ? MatrixFormat::Scale::Current
                                                                        : MatrixFormat::Scale::Auto;
  format.perStep = granularity == "tensor" && scale == "current";
  return runtime::OkStatus();
}

/// What CPU kernels take a group to be a multiple of.
static constexpr int64_t kGroupUnit = 32;

static StatusOr<std::optional<MatrixFormat>> parseFormat(const Json &rule) {
  ASSIGN_OR_RETURN(bool keep, runtime::GetBool(rule, "keep", false));
  if (keep) {
    if (rule.contains("weights") || rule.contains("activations")) {
      return InvalidArgument("'keep' goes without 'weights' and 'activations'");
    }
    return std::optional<MatrixFormat>();
  }
  MatrixFormat format;
  if (!rule.contains("weights") || !rule.contains("activations")) {
    return InvalidArgument("has no 'weights' and 'activations', and not 'keep' either");
  }
  const Json &weights = rule["weights"];
  RETURN_IF_ERROR(checkKeys(weights, "'weights'", {"dtype", "granularity", "group_size"}));
  ASSIGN_OR_RETURN(std::string dtype, readChoice(weights, "dtype", {"e4m3", "int8"}, ""));
  if (dtype.empty()) {
    return InvalidArgument("'weights' have no 'dtype', expected e4m3 or int8");
  }
  format.codes = dtype == "int8" ? runtime::DType::kI8 : runtime::DType::kF8E4M3;
  ASSIGN_OR_RETURN(std::string granularity,
                   readChoice(weights, "granularity", {"tensor", "channel", "group"}, "tensor"));
  format.perChannel = granularity == "channel";
  if (granularity == "group" && format.codes != runtime::DType::kI8) {
    return InvalidArgument("'weights' of {} have scales for groups, expected int8", dtype);
  }
  if (weights.contains("group_size") != (granularity == "group")) {
    return InvalidArgument("'weights' of granularity {} have {} 'group_size'", granularity,
                           granularity == "group" ? "no" : "a");
  }
  if (granularity == "group") {
    ASSIGN_OR_RETURN(format.groupSize, runtime::GetInt(weights, "group_size", 0));
    if (format.groupSize < 1 || format.groupSize % kGroupUnit != 0) {
      return InvalidArgument("'group_size' is {}, expected a multiple of {}", format.groupSize, kGroupUnit);
    }
  }
  RETURN_IF_ERROR(parseActivations(rule["activations"], dtype, format));
  return std::optional<MatrixFormat>(format);
}

static StatusOr<RecipeRule> parseRule(const Json &json) {
  RETURN_IF_ERROR(checkKeys(json, "it", {"layers", "matrices", "optional", "keep", "weights", "activations"}));
  RecipeRule rule;
  ASSIGN_OR_RETURN(std::vector<std::string> layers, readStrings(json, "layers", "all"));
  for (const std::string &text : layers) {
    ASSIGN_OR_RETURN(LayerPattern pattern, LayerPattern::parse(text));
    rule.layers.push_back(std::move(pattern));
  }
  ASSIGN_OR_RETURN(rule.matrices, readStrings(json, "matrices", "*"));
  for (const std::string &glob : rule.matrices) {
    if (llvm::Expected<llvm::GlobPattern> pattern = llvm::GlobPattern::create(glob); !pattern) {
      return InvalidArgument("matrices '{}' are not a pattern: {}", glob, llvm::toString(pattern.takeError()));
    }
  }
  ASSIGN_OR_RETURN(rule.isOptional, runtime::GetBool(json, "optional", false));
  ASSIGN_OR_RETURN(rule.format, parseFormat(json));
  return rule;
}

StatusOr<Recipe> Recipe::parse(StringRef text, StringRef name) {
  auto fail = [&](Status status, const std::string &where = "") {
    return std::move(status).WithContext("in recipe '" + name.str() + "'" + where);
  };
  StatusOr<Json> json = runtime::ParseJson(std::string_view(text));
  if (!json.ok()) {
    return fail(json.status());
  }
  Recipe recipe;
  recipe.recipeName = name.str();
  if (Status keys = checkKeys(*json, "it", {"description", "source", "rules", "kv_cache"}); !keys.ok()) {
    return fail(keys);
  }
  const auto rules = json->find("rules");
  if (rules == json->end() || !rules->is_array()) {
    return fail(InvalidArgument("'rules' is not a list"));
  }
  for (const Json &item : *rules) {
    StatusOr<RecipeRule> rule = parseRule(item);
    if (!rule.ok()) {
      return fail(rule.status(), ", rules[" + std::to_string(recipe.rules.size()) + "]");
    }
    recipe.rules.push_back(std::move(*rule));
  }
  if (const auto cache = json->find("kv_cache"); cache != json->end()) {
    Status keys = checkKeys(*cache, "'kv_cache'", {"dtype"});
    StatusOr<std::string> dtype = keys.ok() ? readChoice(*cache, "dtype", {"e4m3"}, "") : StatusOr<std::string>(keys);
    if (!dtype.ok() || dtype->empty()) {
      return fail(dtype.ok() ? InvalidArgument("'kv_cache' has no 'dtype', expected e4m3") : dtype.status());
    }
    recipe.cache = true;
  }
  if (recipe.rules.empty() && !recipe.cache) {
    return fail(InvalidArgument("has neither rules nor a kv_cache"));
  }
  return recipe;
}

//===----------------------------------------------------------------------===//
// Decisions
//===----------------------------------------------------------------------===//

std::optional<MatrixFormat> Recipe::formatOf(const ModelFacts &model, const MatrixFacts &matrix) const {
  for (const RecipeRule &rule : rules) {
    if (llvm::any_of(rule.layers, [&](const LayerPattern &p) { return p.matches(model, matrix.layer); }) &&
        llvm::any_of(rule.matrices, [&](const std::string &glob) { return matchesGlob(glob, matrix.name); })) {
      return rule.format;
    }
  }
  return std::nullopt;
}

Status Recipe::check(const ModelFacts &model, ArrayRef<MatrixFacts> matrices) const {
  for (auto [index, rule] : llvm::enumerate(rules)) {
    if (rule.isOptional) {
      continue;
    }
    auto fail = [&, index = index](const std::string &what) {
      return InvalidArgument("in recipe '{}', rules[{}]: {} in this model of {} layers", recipeName, index, what,
                             model.size());
    };
    std::vector<const MatrixFacts *> inLayers;
    for (const LayerPattern &pattern : rule.layers) {
      const size_t before = inLayers.size();
      for (const MatrixFacts &matrix : matrices) {
        if (pattern.matches(model, matrix.layer)) {
          inLayers.push_back(&matrix);
        }
      }
      if (inLayers.size() == before) {
        return fail("layers '" + pattern.text().str() + "' match nothing");
      }
    }
    for (const std::string &glob : rule.matrices) {
      if (llvm::none_of(inLayers, [&](const MatrixFacts *matrix) { return matchesGlob(glob, matrix->name); })) {
        return fail("matrices '" + glob + "' match nothing");
      }
    }
  }
  return runtime::OkStatus();
}

} // namespace nemotron::passes
