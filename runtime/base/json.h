#ifndef RUNTIME_BASE_JSON_H_
#define RUNTIME_BASE_JSON_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "runtime/base/status.h"

namespace nemotron::runtime {

using Json = nlohmann::json;

/// Parses JSON as Python writes it: besides the standard, bare `Infinity`, `-Infinity` and `NaN` are numbers, and
/// numbers too large for a double become infinite. Errors are kDataLoss with line, column and byte. Objects that name a
/// key twice, invalid UTF-8 and nesting deeper than 256 are errors. No exception leaves.
StatusOr<Json> ParseJson(std::string_view text);

/// Reads and parses the file; errors name it.
StatusOr<Json> ReadJsonFile(const std::string& path);

/// Typed fields of an object. An absent key or null gives `fallback`; another type is kInvalidArgument naming the key,
/// what was found and what was expected. GetInt takes integral floats such as 4.0; GetDouble takes `{"__float__":
/// "Infinity"}` and "Infinity" too.
StatusOr<int64_t> GetInt(const Json& object, std::string_view key, int64_t fallback);
StatusOr<double> GetDouble(const Json& object, std::string_view key, double fallback);
StatusOr<bool> GetBool(const Json& object, std::string_view key, bool fallback);
StatusOr<std::string> GetString(const Json& object, std::string_view key, std::string_view fallback);

}  // namespace nemotron::runtime

#endif  // RUNTIME_BASE_JSON_H_
