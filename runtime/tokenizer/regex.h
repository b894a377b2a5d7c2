#ifndef RUNTIME_TOKENIZER_REGEX_H_
#define RUNTIME_TOKENIZER_REGEX_H_

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/status.h"

namespace nemotron::runtime {

/// Bytes [begin, end) of a text.
struct TextRange {
  size_t begin, end;
  bool empty() const { return begin == end; }
};

/// A compiled regular expression. The patterns of tokenizer.json are written for Oniguruma's Ruby syntax; they are
/// rewritten to mean the same in PCRE2 (see `TranslatePattern`). Immutable; any number of threads may match at once.
class Regex {
 public:
  /// kDataLoss for a malformed pattern and kUnimplemented for syntax that PCRE2 has no equal for; messages quote the
  /// pattern.
  static StatusOr<Regex> Compile(std::string_view pattern);
  /// Matches exactly `text`.
  static StatusOr<Regex> CompileLiteral(std::string_view text);

  /// Sets `matches` to all non-overlapping matches in order, as Oniguruma finds them one after another: an empty match
  /// right behind the last one does not count. `text` must be UTF-8. kResourceExhausted if a match needs more than
  /// kMatchLimit backtracking steps.
  Status FindAll(std::string_view text, std::vector<TextRange>* matches) const;

  /// Steps of backtracking for one match; the split patterns in use need some hundred at most.
  static constexpr unsigned kMatchLimit = 1'000'000;

 private:
  struct Code;  // pcre2_code with its match limits
  struct CodeDeleter {
    void operator()(Code* code) const;
  };
  static StatusOr<Regex> CompileTranslated(std::string_view pattern, std::string_view translated);

  std::string pattern_;  // as given, for messages
  std::unique_ptr<Code, CodeDeleter> code_;
};

/// Rewrites a pattern from Oniguruma's Ruby syntax to PCRE2's where one spelling means two things: `\s` is White_Space,
/// `\w` has marks and connectors, `\h` is a hex digit, `\v` is U+000B, `(?m)` lets the dot match newlines, `{,n}`
/// starts at zero. What cannot be said in PCRE2 10.42 (set operations in brackets, absent operator, ...) is
/// kUnimplemented.
StatusOr<std::string> TranslatePattern(std::string_view pattern);

}  // namespace nemotron::runtime

#endif  // RUNTIME_TOKENIZER_REGEX_H_
