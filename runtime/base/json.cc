#include "runtime/base/json.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "runtime/base/mapped_file.h"

namespace nemotron::runtime {
namespace {

constexpr size_t kMaxDepth = 256;

// What stands in for a number that JSON cannot say: the parser gets a string nobody writes, and hands it to the
// builder.
constexpr std::string_view kInfinity = "\x01nemotron:inf", kMinusInfinity = "\x01nemotron:-inf",
                           kNaN = "\x01nemotron:nan";

/// The number that a word of JavaScript or the name of a stand-in says.
std::optional<double> NumberOf(std::string_view word, std::string_view infinity, std::string_view minus_infinity,
                               std::string_view nan) {
  using Limits = std::numeric_limits<double>;
  return word == infinity         ? std::optional(Limits::infinity())
         : word == minus_infinity ? std::optional(-Limits::infinity())
         : word == nan            ? std::optional(Limits::quiet_NaN())
                                  : std::nullopt;
}

bool IsNumberByte(char c) { return (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.' || c == 'e' || c == 'E'; }

/// A text that the parser reads, and how its offsets are those of the original.
struct ParserInput {
  struct Edit {
    size_t end;           // in the new text
    size_t original_end;  // of the bytes replaced
  };
  std::string replaced;
  std::vector<Edit> edits;  // none: the original is read

  size_t OriginalOffset(size_t offset) const {
    const auto after = std::upper_bound(edits.begin(), edits.end(), offset,
                                        [](size_t value, const Edit& edit) { return value < edit.end; });
    return after == edits.begin() ? offset : (after - 1)->original_end + offset - (after - 1)->end;
  }
};

/// The length of a number at the start of `text` that is too large for a double, and its sign. Nothing if it fits.
std::optional<std::pair<size_t, bool>> OverflowingNumber(std::string_view text, size_t size) {
  const std::string number(text.substr(0, size));
  if (number.size() <= 300 && number.find_first_of("eE") == std::string::npos) {
    return std::nullopt;
  }
  char* stop = nullptr;
  const double value = std::strtod(number.c_str(), &stop);
  return std::isinf(value) && *stop == '\0' ? std::optional(std::pair(size, value < 0)) : std::nullopt;
}

/// Replaces Infinity, -Infinity, NaN and overflowing numbers outside strings by stand-ins.
ParserInput ReplaceSpecialNumbers(std::string_view text) {
  ParserInput input;
  size_t copied = 0;
  bool in_string = false;
  const auto replace = [&](size_t at, size_t length, std::string_view stand_in) {
    input.replaced.append(text.substr(copied, at - copied));
    input.replaced.append("\"\\u0001").append(stand_in.substr(1)).append("\"");
    copied = at + length;
    input.edits.push_back({input.replaced.size(), copied});
    return copied;
  };
  for (size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (in_string) {
      in_string = c != '"';
      i += c == '\\' ? 2 : 1;
    } else if (c == '"') {
      in_string = true;
      ++i;
    } else if (c == 'I' && text.substr(i, 8) == "Infinity") {
      i = replace(i, 8, kInfinity);
    } else if (c == '-' && text.substr(i, 9) == "-Infinity") {
      i = replace(i, 9, kMinusInfinity);
    } else if (c == 'N' && text.substr(i, 3) == "NaN") {
      i = replace(i, 3, kNaN);
    } else if (IsNumberByte(c)) {
      size_t end = i;
      while (end < text.size() && IsNumberByte(text[end])) {
        ++end;
      }
      const auto overflow = OverflowingNumber(text.substr(i), end - i);
      i = overflow ? replace(i, overflow->first, overflow->second ? kMinusInfinity : kInfinity) : end;
    } else {
      ++i;
    }
  }
  if (!input.edits.empty()) {
    input.replaced.append(text.substr(copied));
  }
  return input;
}

std::string Position(std::string_view text, size_t offset) {
  const std::string_view before = text.substr(0, offset);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const size_t newline = before.rfind('\n');
  return fmt::format("line {}, column {}", line,
                     newline == std::string_view::npos ? before.size() + 1 : before.size() - newline);
}

/// Builds the value from the parser's events. Unlike the library's own builder it throws nothing, refuses a key named
/// twice and bounds the depth. A handler that returns false stops the parser.
class Builder {
 public:
  Builder(std::string_view text, const ParserInput& input) : text_(text), input_(input) {}

  bool null() { return Put(nullptr); }
  bool boolean(bool value) { return Put(value); }
  bool number_integer(Json::number_integer_t value) { return Put(value); }
  bool number_unsigned(Json::number_unsigned_t value) { return Put(value); }
  bool number_float(Json::number_float_t value, const std::string&) { return Put(value); }
  bool string(std::string& value) {
    const auto number = input_.edits.empty() ? std::nullopt : NumberOf(value, kInfinity, kMinusInfinity, kNaN);
    return number ? Put(*number) : Put(std::move(value));
  }
  bool binary(Json::binary_t&) { return false; }
  bool start_object(size_t) { return Open(Json::object()); }
  bool start_array(size_t) { return Open(Json::array()); }
  bool end_object() { return Close(); }
  bool end_array() { return Close(); }
  bool key(std::string& name) {
    if (!input_.edits.empty() && NumberOf(name, kInfinity, kMinusInfinity, kNaN)) {
      status_ = DataLoss("JSON has a number where a key is expected");
      return false;
    }
    const auto [member, is_new] = open_.back()->get_ref<Json::object_t&>().emplace(name, nullptr);
    if (!is_new) {
      status_ = DataLoss("JSON names the key '{}' twice in one object", name);
    }
    member_ = &member->second;
    return is_new;
  }
  bool parse_error(size_t position, const std::string& last_token, const Json::exception&) {
    const size_t offset = std::min(text_.size(), input_.OriginalOffset(position == 0 ? 0 : position - 1));
    status_ = DataLoss("JSON is malformed at {}, byte {} of {}, after '{}'", Position(text_, offset), offset,
                       text_.size(), last_token.substr(0, 40));
    return false;
  }

  StatusOr<Json> Finish(bool parsed) && {
    if (!parsed && status_.ok()) {
      return DataLoss("JSON is malformed");
    }
    return status_.ok() ? StatusOr<Json>(std::move(root_)) : StatusOr<Json>(std::move(status_));
  }

 private:
  /// Where the next value goes.
  template <typename T>
  Json* Place(T&& value) {
    if (open_.empty()) {
      root_ = std::forward<T>(value);
      return &root_;
    }
    if (open_.back()->is_array()) {
      auto& array = open_.back()->get_ref<Json::array_t&>();
      return &array.emplace_back(std::forward<T>(value));
    }
    *member_ = std::forward<T>(value);
    return member_;
  }
  template <typename T>
  bool Put(T&& value) {
    Place(std::forward<T>(value));
    return true;
  }
  bool Open(Json value) {
    if (open_.size() == kMaxDepth) {
      status_ = DataLoss("JSON is nested deeper than {} levels", kMaxDepth);
      return false;
    }
    open_.push_back(Place(std::move(value)));
    return true;
  }
  bool Close() {
    open_.pop_back();
    return true;
  }

  std::string_view text_;
  const ParserInput& input_;
  Json root_;
  std::vector<Json*> open_;  // arrays and objects that values go to; only the last one grows, so they stay in place
  Json* member_ = nullptr;   // of the last open object
  Status status_;
};

const Json* Find(const Json& object, std::string_view key) {
  if (!object.is_object()) {
    return nullptr;
  }
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

Status WrongType(const Json& value, std::string_view key, std::string_view expected) {
  std::string found = value.is_structured() ? fmt::format("{} of {}", value.type_name(), value.size())
                                            : value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (found.size() > 60) {
    found = found.substr(0, 60) + "...";
  }
  return InvalidArgument("'{}' is {}, expected {}", key, found, expected);
}

/// `{"__float__": "Infinity"}`, as some exporters write what JSON cannot say, or its bare name.
std::optional<double> SpecialNumber(const Json& value) {
  const Json* text = &value;
  if (value.is_object()) {
    const auto found = value.find("__float__");
    text = found == value.end() ? &value : &*found;
  }
  return text->is_string() ? NumberOf(text->get_ref<const std::string&>(), "Infinity", "-Infinity", "NaN")
                           : std::nullopt;
}

}  // namespace

StatusOr<Json> ParseJson(std::string_view text) {
  const ParserInput input = ReplaceSpecialNumbers(text);
  const std::string_view read = input.edits.empty() ? text : std::string_view(input.replaced);
  Builder builder(text, input);
  const bool parsed = Json::sax_parse(read.begin(), read.end(), &builder);
  return std::move(builder).Finish(parsed);
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
