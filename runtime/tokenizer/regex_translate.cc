#include <algorithm>
#include <cctype>
#include <utility>

#include "runtime/tokenizer/regex.h"

namespace nemotron::runtime {
namespace {

constexpr std::string_view kWord = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}";
constexpr std::string_view kHexDigit = "0-9A-Fa-f";

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

class Translator {
 public:
  explicit Translator(std::string_view pattern) : in_(pattern) {}

  StatusOr<std::string> Run() {
    while (at_ < in_.size()) {
      RETURN_IF_ERROR(in_class_ ? ClassItem() : Item());
    }
    return std::move(out_);
  }

 private:
  bool Follows(std::string_view text) const { return in_.substr(at_).starts_with(text); }
  char Peek(size_t ahead) const { return at_ + ahead < in_.size() ? in_[at_ + ahead] : '\0'; }
  void Copy(size_t count) {
    out_ += in_.substr(at_, count);
    at_ += count;
  }
  void Replace(size_t count, std::string_view text) {
    out_ += text;
    at_ += count;
  }
  Status Unsupported(std::string_view what) const {
    return Unimplemented("regular expression '{}' has {} at byte {}, which is not supported", in_, what, at_);
  }

  Status Item() {
    switch (in_[at_]) {
      case '\\':
        return Escape();
      case '[':
        in_class_ = true;
        Copy(1);
        if (Peek(0) == '^') {
          Copy(1);
        }
        if (Peek(0) == ']') {  // literal when first
          Copy(1);
        }
        return OkStatus();
      case '(':
        return Group();
      case '{':
        return Interval();
      default:
        Copy(1);
        return OkStatus();
    }
  }

  Status ClassItem() {
    switch (in_[at_]) {
      case '\\':
        return Escape();
      case ']':
        in_class_ = false;
        Copy(1);
        return OkStatus();
      case '[':
        return Follows("[:") ? PosixClass() : Unsupported("a bracket in brackets");
      case '&':
        if (Follows("&&")) {
          return Unsupported("an intersection '&&'");
        }
        [[fallthrough]];
      default:
        Copy(1);
        return OkStatus();
    }
  }

  Status PosixClass() {
    constexpr std::pair<std::string_view, std::string_view> kClasses[] = {{"[:space:]", "\\p{White_Space}"},
                                                                          {"[:alpha:]", "\\p{Alphabetic}"},
                                                                          {"[:digit:]", "\\p{Nd}"},
                                                                          {"[:upper:]", "\\p{Uppercase}"},
                                                                          {"[:lower:]", "\\p{Lowercase}"}};
    for (const auto& [name, property] : kClasses) {
      if (Follows(name)) {
        Replace(name.size(), property);
        return OkStatus();
      }
    }
    return Unsupported("a bracket in brackets");
  }

  /// `text` in brackets, which a class already has around it.
  void ReplaceBySet(std::string_view negation, std::string_view text) {
    Replace(2, in_class_ ? std::string(text) : fmt::format("[{}{}]", negation, text));
  }

  Status Escape() {
    const char c = Peek(1);
    if (c == '\0') {
      return DataLoss("regular expression '{}' ends in a backslash", in_);
    }
    if (in_class_ && (c == 'W' || c == 'H')) {
      return Unsupported(fmt::format("'\\{}' in brackets", c));
    }
    switch (c) {
      case 's':
        Replace(2, "\\p{White_Space}");
        return OkStatus();
      case 'S':
        Replace(2, "\\P{White_Space}");
        return OkStatus();
      case 'd':
        Replace(2, "\\p{Nd}");
        return OkStatus();
      case 'D':
        Replace(2, "\\P{Nd}");
        return OkStatus();
      case 'w':
      case 'W':
        ReplaceBySet(c == 'W' ? "^" : "", kWord);
        return OkStatus();
      case 'h':
      case 'H':
        ReplaceBySet(c == 'H' ? "^" : "", kHexDigit);
        return OkStatus();
      case 'v':
        Replace(2, "\\x0B");
        return OkStatus();
      case 'b':
      case 'B':
        if (in_class_) {
          Copy(2);  // backspace
        } else {
          // A word character on one side only, or (\B) on both sides or neither.
          const std::string_view first = c == 'b' ? "!" : "=", second = c == 'b' ? "=" : "!";
          Replace(2, fmt::format("(?:(?<=[{0}])(?{1}[{0}])|(?<![{0}])(?{2}[{0}]))", kWord, first, second));
        }
        return OkStatus();
      case 'u': {
        for (size_t i = 2; i < 6; ++i) {
          if (std::isxdigit(static_cast<unsigned char>(Peek(i))) == 0) {
            return DataLoss("regular expression '{}' has '\\u' without four hexadecimal digits at byte {}", in_, at_);
          }
        }
        out_ += fmt::format("\\x{{{}}}", in_.substr(at_ + 2, 4));
        at_ += 6;
        return OkStatus();
      }
      default:
        // The rest of the letters mean the same in both, or are refused.
        if (std::isalpha(static_cast<unsigned char>(c)) != 0 &&
            std::string_view("tnrfaexpPAzZGkgRXN").find(c) == std::string_view::npos) {
          return Unsupported(fmt::format("'\\{}'", c));
        }
        Copy(2);
        if (std::string_view("pPxgkN").find(c) != std::string_view::npos &&
            Peek(0) == '{') {  // a name, not an interval
          Copy(std::min(in_.find('}', at_), in_.size() - 1) - at_ + 1);
        }
        return OkStatus();
    }
  }

  Status Group() {
    if (Follows("(*")) {
      return Unsupported("'(*'");
    }
    if (Follows("(?#")) {
      const size_t end = in_.find(')', at_);
      if (end == std::string_view::npos) {
        return DataLoss("regular expression '{}' has a comment without end", in_);
      }
      at_ = end + 1;
      return OkStatus();
    }
    if (Follows("(?~")) {
      return Unsupported("the absent operator '(?~'");
    }
    if (!Follows("(?")) {
      Copy(1);
      return OkStatus();
    }
    Copy(2);
    // Options: i, m (PCRE2: s), - and the end of the list. Anything else starts another kind of group.
    const size_t end = in_.find_first_not_of("imx-", at_);
    if (end != std::string_view::npos && end != at_ && (in_[end] == ':' || in_[end] == ')')) {
      for (; at_ < end;) {
        if (in_[at_] == 'x') {
          return Unsupported("the option 'x'");
        }
        in_[at_] == 'm' ? Replace(1, "s") : Copy(1);
      }
      Copy(1);
    } else if (std::string_view(":=!>").find(Peek(0)) != std::string_view::npos && Peek(0) != '\0') {
      Copy(1);
    } else if (Peek(0) == '<') {
      Copy(Peek(1) == '=' || Peek(1) == '!' ? 2 : 1);
    } else {
      return Unsupported(fmt::format("the group '(?{}'", in_.substr(at_, 1)));
    }
    return OkStatus();
  }

  /// `{n}`, `{n,}`, `{n,m}`, `{,m}`, or a literal brace.
  Status Interval() {
    size_t end = at_ + 1;
    while (end < in_.size() && (IsDigit(in_[end]) || in_[end] == ',')) {
      ++end;
    }
    const std::string_view body = in_.substr(at_ + 1, end - at_ - 1);
    if (end == in_.size() || in_[end] != '}' || body.empty() || body == "," || body.find(',') != body.rfind(',')) {
      Replace(1, "\\{");
      return OkStatus();
    }
    if (end + 1 < in_.size() && in_[end + 1] == '+') {
      // Ruby: the interval repeated; PCRE2: possessive.
      return Unsupported("an interval followed by '+'");
    }
    out_ += fmt::format("{{{}{}}}", body.front() == ',' ? "0" : "", body);
    at_ = end + 1;
    return OkStatus();
  }

  std::string_view in_;
  std::string out_;
  size_t at_ = 0;
  bool in_class_ = false;
};

}  // namespace

StatusOr<std::string> TranslatePattern(std::string_view pattern) { return Translator(pattern).Run(); }

}  // namespace nemotron::runtime
