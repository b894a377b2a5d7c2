#ifndef TOOLS_PTXSIM_PTX_TOKEN_READER_H_
#define TOOLS_PTXSIM_PTX_TOKEN_READER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "runtime/base/status.h"
#include "tools/ptxsim/ptx/lexer.h"

namespace nemotron::ptxsim {

/// The tokens of a text, one of them the current one, and errors that name its line.
class TokenReader {
 public:
  explicit TokenReader(std::string_view text) : lexer_(text) { Next(); }

  const Token& token() const { return token_; }
  uint32_t line() const { return token_.line; }
  void Next() { token_ = lexer_.Next(); }
  /// Drops the rest of the current token's line, for directives that end with it.
  void SkipLine() {
    lexer_.SkipLine();
    Next();
  }

  bool Is(TokenKind kind) const { return token_.kind == kind; }
  bool Is(char punctuation) const { return token_.kind == TokenKind::kPunctuation && token_.text[0] == punctuation; }
  /// Whether the current token is this directive, given with its dot.
  bool Is(std::string_view directive) const { return token_.kind == TokenKind::kDotted && token_.text == directive; }

  /// Steps over the current token if it is what is asked for.
  template <typename What>
  bool Accept(What what) {
    if (!Is(what)) {
      return false;
    }
    Next();
    return true;
  }

  runtime::Status Expect(char punctuation);
  runtime::StatusOr<std::string_view> ExpectIdentifier(std::string_view what);
  /// An integer with an optional '-'.
  runtime::StatusOr<int64_t> ExpectInteger(std::string_view what);
  /// An integer in [0, limit].
  runtime::StatusOr<int64_t> ExpectSize(std::string_view what, int64_t limit);

  /// Steps over `.pragma "nounroll";`: hints to an optimizer.
  runtime::Status SkipPragma();

  /// "line N: found 'x', expected WHAT"
  runtime::Status Unexpected(std::string_view expected) const;

 private:
  Lexer lexer_;
  Token token_;
};

/// kInvalidArgument and kUnimplemented with "line N: " before the message.
template <typename... Args>
runtime::Status ErrorAt(uint32_t line, fmt::format_string<Args...> format, Args&&... args) {
  return runtime::InvalidArgument("line {}: {}", line, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
runtime::Status UnsupportedAt(uint32_t line, fmt::format_string<Args...> format, Args&&... args) {
  return runtime::Unimplemented("line {}: {}", line, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace nemotron::ptxsim

#endif  // TOOLS_PTXSIM_PTX_TOKEN_READER_H_
