#include "tools/run_input.h"

#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <iterator>
#include <memory>
#include <string_view>
#include <utility>

#include "runtime/base/json.h"
#include "runtime/base/mapped_file.h"
#include "runtime/engine/engine.h"
#include "tools/run_report.h"

namespace nemotron::tools {

using namespace nemotron::runtime;  // NOLINT: a tool is made of nothing else
using nlohmann::json;

StatusOr<std::string> ReadText(const std::string& path) {
  if (path == "-") {
    return std::string(std::istreambuf_iterator<char>(std::cin), {});
  }
  ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  return std::string(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
}

StatusOr<std::vector<int32_t>> ReadTokenIds(const std::string& path, int64_t vocab_size) {
  ASSIGN_OR_RETURN(const json ids, ReadJsonFile(path));
  if (!ids.is_array()) {
    return InvalidArgument("'{}' holds a JSON {}, expected a list of token ids", path, ids.type_name());
  }
  std::vector<int32_t> tokens;
  for (const json& id : ids) {
    if (!id.is_number_integer() || id < 0 || id >= vocab_size) {
      return InvalidArgument("entry {} of '{}' is {}, expected a token id from 0 to {}", tokens.size(), path, Dump(id),
                             vocab_size - 1);
    }
    tokens.push_back(id.get<int32_t>());
  }
  return tokens;
}

Status Tokenize(const Plan& plan, const std::string& path) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, LoadTokenizer(plan));
  ASSIGN_OR_RETURN(const std::string text, ReadText(path));
  size_t line_number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = std::string_view(text).substr(begin, end - begin);
    begin = end + 1;
    ++line_number;
    if (line.empty()) {
      continue;
    }
    const auto parsed = ParseJson(line);
    if (!parsed.ok() || !parsed->is_string()) {
      return InvalidArgument("line {} of '{}' is no JSON string", line_number, path);
    }
    auto ids = tokenizer->Encode(parsed->get_ref<const std::string&>(), /*add_special_tokens=*/true);
    if (!ids.ok()) {
      return std::move(ids).status().WithContext(fmt::format("in line {} of '{}'", line_number, path));
    }
    fmt::print("{}\n", json(*ids).dump());
  }
  return OkStatus();
}

}  // namespace nemotron::tools
