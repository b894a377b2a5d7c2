#ifndef TOOLS_PTXSIM_PTX_LEXER_H_
#define TOOLS_PTXSIM_PTX_LEXER_H_

#include <cstdint>
#include <string_view>

namespace nemotron::ptxsim {

enum class TokenKind : uint8_t {
  kEnd,
  kIdentifier,   ///< name, register or opcode, with its '%', '$' or '_'
  kDotted,       ///< directive or modifier: ".reg", ".shared::cta", ".2d"
  kInteger,      ///< `bits` are the value
  kFloat,        ///< `bits` are those of an f64, or of an f32 if it was written 0f...
  kString,       ///< with its quotes
  kPunctuation,  ///< one character
  kInvalid,      ///< `text` is what is wrong with it
};

/// A piece of the text, which must outlive it.
struct Token {
  TokenKind kind = TokenKind::kEnd;
  bool is_single = false;  ///< of a float: written as 0f...
  uint32_t line = 1;
  std::string_view text;
  uint64_t bits = 0;
};

/// Cuts PTX (section 4 of the ISA) into tokens; comments are skipped.
class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  /// The next token; at the end kEnd, again and again.
  Token Next();
  /// Goes on behind the end of the line on which the last token began.
  void SkipLine();

 private:
  char Peek(size_t ahead = 0) const { return position_ + ahead < text_.size() ? text_[position_ + ahead] : '\0'; }
  bool SkipBlanks();
  Token Make(TokenKind kind, size_t begin) const;
  Token Invalid(std::string_view what);
  Token Number();
  Token Decimal(size_t begin);
  Token FloatBits(size_t begin);

  std::string_view text_;
  size_t position_ = 0;
  uint32_t line_ = 1;
  size_t token_begin_ = 0;
  uint32_t token_line_ = 1;
};

}  // namespace nemotron::ptxsim

#endif  // TOOLS_PTXSIM_PTX_LEXER_H_
