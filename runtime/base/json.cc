#include "runtime/base/json.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <set>
#include <vector>

#include "runtime/base/mapped_file.h"

namespace nemotron::runtime {
namespace {

constexpr int kMaxDepth = 256;

// What stands in for a number that JSON cannot say. The parser gets a string nobody writes, and the value is put back after.
constexpr std::string_view kInfinity = "\x01nemotron:inf", kMinusInfinity = "\x01nemotron:-inf", kNaN = "\x01nemotron:nan";

bool IsNumberByte(char c) { return (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.' || c == 'e' || c == 'E'; }

/// Replaces Infinity, -Infinity, NaN and overflowing numbers outside strings by quoted stand-ins, keeping the rest. Nothing if the text has none.
std::optional<std::string> ReplaceSpecialNumbers(std::string_view text) {
  std::string result;
  size_t copied = 0;
  bool in_string = false;
  const auto replace = [&](size_t at, size_t length, std::string_view stand_in) {
    result.append(text.substr(copied, at - copied));
    result.append("\"\\u0001").append(stand_in.substr(1)).append("\"");
    copied = at + length;
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (text.substr(i, 8) == "Infinity") {
      replace(i, 8, kInfinity);
      i += 7;
    } else if (text.substr(i, 9) == "-Infinity") {
      replace(i, 9, kMinusInfinity);
      i += 8;
    } else if (text.substr(i, 3) == "NaN") {
      replace(i, 3, kNaN);
      i += 2;
    } else if (IsNumberByte(c)) {
      size_t end = i;
      while (end < text.size() && IsNumberByte(text[end])) {
        ++end;
      }
      const std::string number(text.substr(i, std::min<size_t>(end - i, 400)));
      if (number.find_first_of("eE") != std::string::npos || number.size() > 300) {
        char* stop = nullptr;
        const double value = std::strtod(number.c_str(), &stop);
        if (std::isinf(value) && *stop == '\0') {
          replace(i, end - i, value > 0 ? kInfinity : kMinusInfinity);
        }
      }
      i = end - 1;
    }
  }
  if (copied == 0) {
    return std::nullopt;
  }
  result.append(text.substr(copied));
  return result;
}

void RestoreSpecialNumbers(Json& value) {
  if (value.is_structured()) {
    for (Json& child : value) {
      RestoreSpecialNumbers(child);
    }
  } else if (value.is_string()) {
    const std::string& text = value.get_ref<const std::string&>();
    if (text == kInfinity || text == kMinusInfinity) {
      value = text == kInfinity ? std::numeric_limits<double>::infinity() : -std::numeric_limits<double>::infinity();
    } else if (text == kNaN) {
      value = std::numeric_limits<double>::quiet_NaN();
    }
  }
}

std::string Position(std::string_view text, size_t offset) {
  const std::string_view before = text.substr(0, offset);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const size_t newline = before.rfind('\n');
  return fmt::format("line {}, column {}", line, newline == std::string_view::npos ? offset + 1 : offset - newline);
}

const Json* Find(const Json& object, std::string_view key) {
  if (!object.is_object()) {
    return nullptr;
  }
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

Status WrongType(const Json& value, std::string_view key, std::string_view expected) {
  std::string found = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (found.size() > 60) {
    found = found.substr(0, 60) + "...";
  }
  return InvalidArgument("'{}' is {}, expected {}", key, found, expected);
}

std::optional<double> SpecialNumber(const Json& value) {
  const Json* text = value.is_object() && value.contains("__float__") ? &value["__float__"] : &value;
  if (!text->is_string()) {
    return std::nullopt;
  }
  const std::string& name = text->get_ref<const std::string&>();
  const double infinity = std::numeric_limits<double>::infinity();
  return name == "Infinity"    ? std::optional(infinity)
         : name == "-Infinity" ? std::optional(-infinity)
         : name == "NaN"       ? std::optional(std::numeric_limits<double>::quiet_NaN())
                               : std::nullopt;
}

}  // namespace

StatusOr<Json> ParseJson(std::string_view text) {
  const std::optional<std::string> replaced = ReplaceSpecialNumbers(text);
  const std::string_view input = replaced ? std::string_view(*replaced) : text;
  std::vector<std::set<std::string>> keys;  // of the open objects
  Status problem;
  const auto check = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > kMaxDepth && problem.ok()) {
      problem = DataLoss("JSON is nested deeper than {} levels", kMaxDepth);
    }
    if (event == Json::parse_event_t::object_start) {
      keys.emplace_back();
    } else if (event == Json::parse_event_t::object_end && !keys.empty()) {
      keys.pop_back();
    } else if (event == Json::parse_event_t::key && !keys.empty() && problem.ok() &&
               !keys.back().insert(parsed.get_ref<const std::string&>()).second) {
      problem = DataLoss("JSON names the key '{}' twice in one object", parsed.get_ref<const std::string&>());
    }
    return problem.ok();
  };
  try {
    Json value = Json::parse(input.begin(), input.end(), check);
    RETURN_IF_ERROR(problem);
    if (replaced) {
      RestoreSpecialNumbers(value);
    }
    return value;
  } catch (const Json::parse_error& error) {
    RETURN_IF_ERROR(problem);
    // Stand-ins shift what follows them in a line, so the column is then only near.
    return DataLoss("JSON is malformed at {}", Position(input, error.byte == 0 ? 0 : error.byte - 1));
  } catch (const std::exception& error) {
    return DataLoss("JSON cannot be read: {}", error.what());
  }
}

StatusOr<Json> ReadJsonFile(const std::string& path) {
  ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  auto value = ParseJson({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()});
  if (!value.ok()) {
    return std::move(value).status().WithContext(fmt::format("while reading '{}'", path));
  }
  return value;
}

StatusOr<int64_t> GetInt(const Json& object, std::string_view key, int64_t fallback) {
  const Json* value = Find(object, key);
  if (value == nullptr) {
    return fallback;
  }
  if (value->is_number_unsigned() && value->get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()}) {
    return WrongType(*value, key, "a 64-bit integer");
  }
  if (value->is_number_integer()) {
    return value->get<int64_t>();
  }
  if (value->is_number_float() && std::abs(value->get<double>()) < 9e15 &&
      value->get<double>() == std::floor(value->get<double>())) {
    return static_cast<int64_t>(value->get<double>());
  }
  return WrongType(*value, key, "an integer");
}

StatusOr<double> GetDouble(const Json& object, std::string_view key, double fallback) {
  const Json* value = Find(object, key);
  if (value == nullptr) {
    return fallback;
  }
  if (value->is_number()) {
    return value->get<double>();
  }
  if (const std::optional<double> special = SpecialNumber(*value)) {
    return *special;
  }
  return WrongType(*value, key, "a number");
}

StatusOr<bool> GetBool(const Json& object, std::string_view key, bool fallback) {
  const Json* value = Find(object, key);
  if (value == nullptr) {
    return fallback;
  }
  if (!value->is_boolean()) {
    return WrongType(*value, key, "true or false");
  }
  return value->get<bool>();
}

StatusOr<std::string> GetString(const Json& object, std::string_view key, std::string_view fallback) {
  const Json* value = Find(object, key);
  if (value == nullptr) {
    return std::string(fallback);
  }
  if (!value->is_string()) {
    return WrongType(*value, key, "a string");
  }
  return value->get<std::string>();
}

}  // namespace nemotron::runtime
