//===- ConfigReader.cpp - typed access to the fields of a JSON object ---------------------------------------------===//
#include "frontends/huggingface/ConfigReader.h"

#include <cmath>

#include <fmt/format.h>

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace nemotron::frontends;

std::string nemotron::frontends::preview(const Json &value) {
  std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
  if (text.size() > 60)
    text = text.substr(0, 60) + "...";
  return text;
}

Location ConfigReader::locationOf(StringRef field) const {
  // The first place where the quoted name is followed by a colon. A nested object may have the same name; then it is
  // off.
  const std::string quoted = ("\"" + field + "\"").str();
  for (size_t at = text.find(quoted); !field.empty() && at != StringRef::npos; at = text.find(quoted, at + 1)) {
    if (!text.substr(at + quoted.size()).ltrim().starts_with(":"))
      continue;
    const StringRef before = text.substr(0, at);
    const size_t lineStart = before.rfind('\n') == StringRef::npos ? 0 : before.rfind('\n') + 1;
    return FileLineColLoc::get(context, path, before.count('\n') + 1, at - lineStart + 1);
  }
  return FileLineColLoc::get(context, path, 0, 0);
}

InFlightDiagnostic ConfigReader::error(StringRef field) {
  countError();
  return emitError(locationOf(field));
}
InFlightDiagnostic ConfigReader::warning(StringRef field) { return emitWarning(locationOf(field)); }
InFlightDiagnostic ConfigReader::remark(StringRef field) { return emitRemark(locationOf(field)); }

const Json *ConfigReader::find(Names names, StringRef *found) {
  const Json *result = nullptr;
  StringRef resultName;
  for (StringRef name : names) {
    known[name] = true;
    auto it = object.find(name.str());
    if (it == object.end() || it->is_null())
      continue;
    if (!result) {
      result = &*it;
      resultName = name;
    } else if (*it != *result) {
      error(name) << "'" << name << "' is " << preview(*it) << ", but '" << resultName << "', which means the same, is "
                  << preview(*result);
    }
  }
  if (found && result)
    *found = resultName;
  return result;
}

std::optional<int64_t> ConfigReader::asSize(const Json &value, StringRef field, Range range) {
  std::optional<int64_t> count;
  if (value.is_number_unsigned()) {
    const uint64_t number = value.get<uint64_t>();
    count = number > uint64_t{INT64_MAX} ? INT64_MAX : static_cast<int64_t>(number);
  } else if (value.is_number_integer()) {
    count = value.get<int64_t>();
  } else if (value.is_number_float()) {
    const double number = value.get<double>();
    if (number == std::floor(number) && std::abs(number) < 0x1p53)
      count = static_cast<int64_t>(number);
  }
  if (!count) {
    error(field) << "'" << field << "' is " << preview(value) << ", expected an integer";
    return std::nullopt;
  }
  if (*count < range.min || *count > range.max) {
    error(field) << "'" << field << "' is " << preview(value) << ", expected " << range.min << " to " << range.max;
    return std::nullopt;
  }
  return count;
}

int64_t ConfigReader::size(Names names, int64_t fallback, Range range) {
  StringRef name = names.front();
  const Json *value = find(names, &name);
  return value ? asSize(*value, name, range).value_or(0) : fallback;
}

std::optional<double> ConfigReader::asNumber(const Json &value, StringRef field) {
  // Infinity is written bare, as a large number, as a string, or as {"__float__": "Infinity"}.
  const Json *inner = &value;
  if (value.is_object() && value.size() == 1 && value.contains("__float__"))
    inner = &value["__float__"];
  if (inner->is_number())
    return inner->get<double>();
  if (inner->is_string()) {
    const StringRef word = inner->get_ref<const std::string &>();
    if (word.equals_insensitive("infinity") || word.equals_insensitive("inf"))
      return std::numeric_limits<double>::infinity();
    if (double parsed; inner != &value && llvm::to_float(word, parsed))
      return parsed;
  }
  error(field) << "'" << field << "' is " << preview(value) << ", expected a number";
  return std::nullopt;
}

double ConfigReader::number(Names names, double fallback, double min, double max) {
  StringRef name = names.front();
  const Json *value = find(names, &name);
  if (!value)
    return fallback;
  const std::optional<double> result = asNumber(*value, name);
  if (!result)
    return fallback;
  if (!(*result >= min && *result <= max)) {
    error(name) << "'" << name << "' is " << preview(*value) << ", expected " << fmt::format("{} to {}", min, max);
    return fallback;
  }
  return *result;
}

bool ConfigReader::flag(Names names, bool fallback) {
  StringRef name = names.front();
  const Json *value = find(names, &name);
  if (!value)
    return fallback;
  if (value->is_boolean())
    return value->get<bool>();
  error(name) << "'" << name << "' is " << preview(*value) << ", expected true or false";
  return fallback;
}

std::string ConfigReader::string(Names names, StringRef fallback) {
  StringRef name = names.front();
  const Json *value = find(names, &name);
  if (!value)
    return fallback.str();
  if (value->is_string())
    return value->get<std::string>();
  error(name) << "'" << name << "' is " << preview(*value) << ", expected a string";
  return fallback.str();
}

int32_t ConfigReader::tokenId(StringRef name, int32_t fallback) {
  const Json *value = find({name});
  if (!value)
    return object.contains(name.str()) ? -1 : fallback;
  // Some files say -1 for none.
  return static_cast<int32_t>(asSize(*value, name, {-1, INT32_MAX}).value_or(-1));
}

std::vector<int32_t> ConfigReader::tokenIds(StringRef name, int32_t fallback) {
  std::vector<int32_t> ids;
  const Json *value = find({name});
  if (!value || !value->is_array()) {
    if (const int32_t id = tokenId(name, fallback); id >= 0)
      ids.push_back(id);
    return ids;
  }
  for (const Json &entry : *value)
    if (std::optional<int64_t> id = asSize(entry, name, {0, INT32_MAX}); id && !llvm::is_contained(ids, *id))
      ids.push_back(static_cast<int32_t>(*id));
  return ids;
}

void ConfigReader::ignore(Names names) {
  for (StringRef name : names)
    known[name] = true;
}

void ConfigReader::refuse(StringRef name, StringRef why, Names allowed) {
  const Json *value = find({name});
  if (!value || *value == Json(false) || *value == Json(0) || *value == Json(""))
    return;
  if (value->is_string() && llvm::is_contained(allowed, StringRef(value->get_ref<const std::string &>())))
    return;
  auto diagnostic = error(name);
  diagnostic << "'" << name << "' is " << preview(*value) << ", but " << why << " is not supported";
  if (!allowed.empty())
    diagnostic << "; supported: " << llvm::join(allowed, ", ");
}

void ConfigReader::warnUnknown() {
  for (const auto &[name, value] : object.items()) {
    // What is off or empty asks for nothing.
    if (known.contains(name) || StringRef(name).starts_with("_") || value.is_null() || value == Json(false))
      continue;
    warning(name) << "field '" << name << "' is not known and has no effect; its value is " << preview(value);
  }
}
