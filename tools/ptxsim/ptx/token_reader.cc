#include "tools/ptxsim/ptx/token_reader.h"

#include <limits>

namespace nemotron::ptxsim {

using runtime::Status;
using runtime::StatusOr;

Status TokenReader::Unexpected(std::string_view expected) const {
  switch (token_.kind) {
    case TokenKind::kEnd:
      return ErrorAt(line(), "the text ends, expected {}", expected);
    case TokenKind::kInvalid:
      return ErrorAt(line(), "found {}, expected {}", token_.text, expected);
    default:
      return ErrorAt(line(), "found '{}', expected {}", token_.text, expected);
  }
}

Status TokenReader::Expect(char punctuation) {
  if (!Accept(punctuation)) {
    return Unexpected(fmt::format("'{}'", punctuation));
  }
  return runtime::OkStatus();
}

Status TokenReader::SkipPragma() {
  Next();
  if (!Accept(TokenKind::kString)) {
    return Unexpected("a string");
  }
  return Expect(';');
}

StatusOr<std::string_view> TokenReader::ExpectIdentifier(std::string_view what) {
  if (!Is(TokenKind::kIdentifier)) {
    return Unexpected(what);
  }
  const std::string_view text = token_.text;
  Next();
  return text;
}

StatusOr<int64_t> TokenReader::ExpectInteger(std::string_view what) {
  const bool negative = Accept('-');
  if (!Is(TokenKind::kInteger)) {
    return Unexpected(what);
  }
  const uint64_t bits = token_.bits;
  Next();
  return static_cast<int64_t>(negative ? 0 - bits : bits);
}

StatusOr<int64_t> TokenReader::ExpectSize(std::string_view what, int64_t limit) {
  if (!Is(TokenKind::kInteger) || token_.bits > static_cast<uint64_t>(limit)) {
    return Unexpected(fmt::format("{}, at most {}", what, limit));
  }
  const auto value = static_cast<int64_t>(token_.bits);
  Next();
  return value;
}

}  // namespace nemotron::ptxsim
