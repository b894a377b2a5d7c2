#include "tools/ptxsim/ptx/lexer.h"

#include <array>
#include <charconv>
#include <cstring>

namespace nemotron::ptxsim {
namespace {

constexpr uint8_t kIdentifierStart = 1, kIdentifierPart = 2, kDigit = 4, kHexDigit = 8;

constexpr std::array<uint8_t, 256> MakeClasses() {
  std::array<uint8_t, 256> classes = {};
  for (int c = 'a'; c <= 'z'; ++c) {
    classes[c] = classes[c - 'a' + 'A'] = kIdentifierStart | kIdentifierPart | (c <= 'f' ? kHexDigit : 0);
  }
  for (int c = '0'; c <= '9'; ++c) {
    classes[c] = kIdentifierPart | kDigit | kHexDigit;
  }
  classes['_'] = classes['$'] = kIdentifierStart | kIdentifierPart;
  classes['%'] = kIdentifierStart;
  return classes;
}
constexpr std::array<uint8_t, 256> kClasses = MakeClasses();

bool Is(char c, uint8_t mask) { return (kClasses[static_cast<uint8_t>(c)] & mask) != 0; }

}  // namespace

/// False for a block comment without end.
bool Lexer::SkipBlanks() {
  while (position_ < text_.size()) {
    const char c = text_[position_];
    if (c == '\n') {
      ++line_;
      ++position_;
    } else if (c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v') {
      ++position_;
    } else if (c == '/' && Peek(1) == '/') {
      position_ = std::min(text_.find('\n', position_), text_.size());
    } else if (c == '/' && Peek(1) == '*') {
      const size_t end = text_.find("*/", position_ + 2);
      if (end == std::string_view::npos) {
        return false;
      }
      for (; position_ < end + 2; ++position_) {
        line_ += text_[position_] == '\n';
      }
    } else {
      break;
    }
  }
  return true;
}

Token Lexer::Make(TokenKind kind, size_t begin) const {
  Token token;
  token.kind = kind;
  token.line = token_line_;
  token.text = text_.substr(begin, position_ - begin);
  return token;
}

Token Lexer::Invalid(std::string_view what) {
  Token token = Make(TokenKind::kInvalid, position_);
  token.text = what;
  position_ = text_.size();
  return token;
}

Token Lexer::Next() {
  const bool closed = SkipBlanks();
  token_begin_ = position_;
  token_line_ = line_;
  if (!closed) {
    return Invalid("a comment without '*/'");
  }
  if (position_ == text_.size()) {
    return Make(TokenKind::kEnd, position_);
  }
  const size_t begin = position_;
  const char c = text_[position_];
  if (Is(c, kIdentifierStart)) {
    do {
      ++position_;
    } while (Is(Peek(), kIdentifierPart));
    return Make(TokenKind::kIdentifier, begin);
  }
  if (Is(c, kDigit)) {
    return Number();
  }
  if (c == '.' && Is(Peek(1), kIdentifierPart)) {
    do {
      position_ += Peek() == ':' ? 2 : 1;  // ".shared::cta"
    } while (Is(Peek(), kIdentifierPart) || (Peek() == ':' && Peek(1) == ':' && Is(Peek(2), kIdentifierPart)));
    return Make(TokenKind::kDotted, begin);
  }
  if (c == '"') {
    const size_t end = text_.find_first_of("\"\n", position_ + 1);
    if (end == std::string_view::npos || text_[end] != '"') {
      return Invalid("a string without closing quote");
    }
    position_ = end + 1;
    return Make(TokenKind::kString, begin);
  }
  if (std::memchr("{}()[]<>,;:@!|+-=*~", c, 19) == nullptr) {
    return Invalid("a character that PTX does not have");
  }
  ++position_;
  return Make(TokenKind::kPunctuation, begin);
}

/// Section 4.5: 0x.. hexadecimal, 0b.. binary, 0.. octal, else decimal, with an optional U; 0f.. and 0d.. bits of
/// floats.
Token Lexer::Number() {
  const size_t begin = position_;
  int base = 10;
  if (Peek() == '0') {
    const char next = Peek(1) | 0x20;  // lower case
    if (next == 'f' || next == 'd') {
      return FloatBits(begin);
    }
    base = next == 'x' ? 16 : next == 'b' ? 2 : Is(Peek(1), kDigit) ? 8 : 10;
  }
  if (base == 10) {
    size_t digits = position_;
    while (digits < text_.size() && Is(text_[digits], kDigit)) {
      ++digits;
    }
    if (digits < text_.size() && (text_[digits] == '.' || (text_[digits] | 0x20) == 'e')) {
      return Decimal(begin);
    }
  }
  const char* first = text_.data() + begin + (base == 16 || base == 2 ? 2 : 0);
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(first, text_.data() + text_.size(), value, base);
  if (error == std::errc::result_out_of_range) {
    return Invalid("an integer of more than 64 bits");
  }
  position_ = end - text_.data();
  if (error == std::errc() && Peek() == 'U') {
    ++position_;
  }
  if (error != std::errc() || Is(Peek(), kIdentifierPart)) {
    return Invalid("a malformed integer");
  }
  Token token = Make(TokenKind::kInteger, begin);
  token.bits = value;
  return token;
}

Token Lexer::Decimal(size_t begin) {
  double value = 0;
  const auto [end, error] = std::from_chars(text_.data() + begin, text_.data() + text_.size(), value);
  position_ = end - text_.data();
  if (error != std::errc() || Is(Peek(), kIdentifierPart)) {
    return Invalid("a malformed floating-point number");
  }
  Token token = Make(TokenKind::kFloat, begin);
  std::memcpy(&token.bits, &value, sizeof(value));
  return token;
}

Token Lexer::FloatBits(size_t begin) {
  const bool is_single = (Peek(1) | 0x20) == 'f';
  const size_t num_digits = is_single ? 8 : 16;
  position_ += 2;
  const size_t digits = position_;
  while (Is(Peek(), kHexDigit)) {
    ++position_;
  }
  if (position_ - digits != num_digits || Is(Peek(), kIdentifierPart)) {
    return Invalid(is_single ? "a float that is not 0f and 8 digits" : "a double that is not 0d and 16 digits");
  }
  Token token = Make(TokenKind::kFloat, begin);
  token.is_single = is_single;
  std::from_chars(text_.data() + digits, text_.data() + position_, token.bits, 16);
  return token;
}

void Lexer::SkipLine() {
  position_ = std::min(text_.find('\n', token_begin_), text_.size());
  line_ = token_line_;
}

}  // namespace nemotron::ptxsim
