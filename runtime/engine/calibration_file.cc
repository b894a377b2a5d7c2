#include "runtime/engine/calibration_file.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "runtime/base/json.h"

namespace nemotron::runtime {
namespace {

constexpr int64_t kVersion = 1;
constexpr std::array<std::string_view, 3> kMethodNames = {"amax", "percentile", "mse"};

Json EntryJson(const CalibrationEntry& entry) {
  return {{"layer", entry.layer},
          {"count", entry.count},
          {"amax", entry.amax},
          {"percentile_value", entry.percentile_value},
          {"scale", entry.scale},
          {"saturated_share", entry.saturated_share},
          {"relative_error", entry.relative_error},
          {"sqnr_db", entry.sqnr_db()}};  // an infinity is written as null
}

/// The object under `key`.
StatusOr<const Json*> GetObject(const Json& parent, const std::string& key) {
  const auto found = parent.find(key);
  if (found == parent.end()) {
    return InvalidArgument("there is no '{}'", key);
  }
  if (!found->is_object()) {
    return InvalidArgument("'{}' is a JSON {}, expected an object", key, found->type_name());
  }
  return &*found;
}

StatusOr<CalibrationEntry> ParseEntry(const Json& parent, const std::string& key) {
  ASSIGN_OR_RETURN(const Json* object, GetObject(parent, key));
  CalibrationEntry entry;
  ASSIGN_OR_RETURN(entry.layer, GetInt(*object, "layer", entry.layer));
  ASSIGN_OR_RETURN(entry.count, GetInt(*object, "count", 0));
  ASSIGN_OR_RETURN(const double amax, GetDouble(*object, "amax", 0));
  entry.amax = static_cast<float>(amax);
  ASSIGN_OR_RETURN(const double percentile_value, GetDouble(*object, "percentile_value", 0));
  entry.percentile_value = static_cast<float>(percentile_value);
  if (!object->contains("scale")) {
    return InvalidArgument("there is no 'scale' in '{}'", key);
  }
  ASSIGN_OR_RETURN(const double scale, GetDouble(*object, "scale", 0));
  entry.scale = static_cast<float>(scale);
  if (!(entry.scale > 0) || !std::isfinite(entry.scale)) {
    return InvalidArgument("the scale of '{}' is {}, expected a finite F32 number above zero", key, scale);
  }
  ASSIGN_OR_RETURN(entry.saturated_share, GetDouble(*object, "saturated_share", 0));
  ASSIGN_OR_RETURN(entry.relative_error, GetDouble(*object, "relative_error", 0));
  return entry;
}

StatusOr<KvCalibration> ParseKv(const Json& parent, const std::string& key) {
  ASSIGN_OR_RETURN(const Json* object, GetObject(parent, key));
  KvCalibration kv;
  ASSIGN_OR_RETURN(kv.key, ParseEntry(*object, "key"));
  ASSIGN_OR_RETURN(kv.value, ParseEntry(*object, "value"));
  return kv;
}

/// Every value of the object `parent[section]`, read by `parse`, under its key in `entries`.
template <typename T>
Status ParseSection(const Json& parent, const std::string& section,
                    StatusOr<T> (*parse)(const Json&, const std::string&), std::map<std::string, T>* entries) {
  ASSIGN_OR_RETURN(const Json* object, GetObject(parent, section));
  for (const auto& item : object->items()) {
    StatusOr<T> entry = parse(*object, item.key());
    if (!entry.ok()) {
      return std::move(entry).status().WithContext(fmt::format("in '{}' of '{}'", item.key(), section));
    }
    entries->emplace(item.key(), *std::move(entry));
  }
  return OkStatus();
}

StatusOr<Calibration> FromJson(const Json& root) {
  if (!root.is_object()) {
    return InvalidArgument("the root is a JSON {}, expected an object", root.type_name());
  }
  if (!root.contains("version")) {
    return InvalidArgument("there is no 'version'");
  }
  ASSIGN_OR_RETURN(const int64_t version, GetInt(root, "version", 0));
  if (version != kVersion) {
    return Unimplemented("the version is {}, expected {}", version, kVersion);
  }
  Calibration calibration;
  ASSIGN_OR_RETURN(const std::string method, GetString(root, "method", kMethodNames[0]));
  ASSIGN_OR_RETURN(calibration.method, CalibrationMethodFromName(method));
  ASSIGN_OR_RETURN(calibration.percentile, GetDouble(root, "percentile", 0));
  ASSIGN_OR_RETURN(calibration.text_tokens, GetInt(root, "text_tokens", 0));
  ASSIGN_OR_RETURN(calibration.window, GetInt(root, "window", 0));
  RETURN_IF_ERROR(ParseSection(root, "activations", ParseEntry, &calibration.activations));
  RETURN_IF_ERROR(ParseSection(root, "kv_cache", ParseKv, &calibration.kv_cache));
  return calibration;
}

}  // namespace

std::string_view CalibrationMethodName(CalibrationMethod method) { return kMethodNames[static_cast<size_t>(method)]; }

StatusOr<CalibrationMethod> CalibrationMethodFromName(std::string_view name) {
  const auto found = std::find(kMethodNames.begin(), kMethodNames.end(), name);
  if (found == kMethodNames.end()) {
    return InvalidArgument("there is no calibration method '{}', expected 'amax', 'percentile' or 'mse'", name);
  }
  return static_cast<CalibrationMethod>(found - kMethodNames.begin());
}

double CalibrationEntry::sqnr_db() const { return -20 * std::log10(relative_error); }

std::string CalibrationJson(const Calibration& calibration) {
  Json activations = Json::object(), kv_cache = Json::object();
  for (const auto& [name, entry] : calibration.activations) {
    activations[name] = EntryJson(entry);
  }
  for (const auto& [name, kv] : calibration.kv_cache) {
    kv_cache[name] = {{"key", EntryJson(kv.key)}, {"value", EntryJson(kv.value)}};
  }
  const Json root = {{"version", kVersion},
                     {"method", CalibrationMethodName(calibration.method)},
                     {"percentile", calibration.percentile},
                     {"text_tokens", calibration.text_tokens},
                     {"window", calibration.window},
                     {"activations", std::move(activations)},
                     {"kv_cache", std::move(kv_cache)}};
  return root.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

StatusOr<Calibration> ParseCalibration(std::string_view json, std::string_view source) {
  StatusOr<Json> root = ParseJson(json);
  StatusOr<Calibration> calibration = root.ok() ? FromJson(*root) : std::move(root).status();
  if (!calibration.ok()) {
    return std::move(calibration).status().WithContext(fmt::format("in the calibration '{}'", source));
  }
  return calibration;
}

std::string CalibrationTable(const Calibration& calibration) {
  using Row = std::pair<std::string, CalibrationEntry>;
  std::vector<Row> matrices(calibration.activations.begin(), calibration.activations.end()), states;
  for (const auto& [name, kv] : calibration.kv_cache) {
    states.emplace_back(name + ".key", kv.key);
    states.emplace_back(name + ".value", kv.value);
  }
  std::string table = "name\tlayer\tamax\tscale\tsaturated_share\trelative_error\tsqnr_db\n";
  for (std::vector<Row>* rows : {&matrices, &states}) {
    std::sort(rows->begin(), rows->end(), [](const Row& a, const Row& b) {
      const auto layer = [](const Row& row) { return static_cast<uint64_t>(row.second.layer); };  // -1 is behind all
      return std::pair(layer(a), std::string_view(a.first)) < std::pair(layer(b), std::string_view(b.first));
    });
    for (const auto& [name, entry] : *rows) {
      table += fmt::format("{}\t{}\t{}\t{}\t{}\t{}\t{}\n", name, entry.layer, entry.amax, entry.scale,
                           entry.saturated_share, entry.relative_error, entry.sqnr_db());
    }
  }
  return table;
}

}  // namespace nemotron::runtime
