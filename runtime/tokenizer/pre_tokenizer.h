#ifndef RUNTIME_TOKENIZER_PRE_TOKENIZER_H_
#define RUNTIME_TOKENIZER_PRE_TOKENIZER_H_

#include <memory>
#include <string>
#include <vector>

#include "runtime/base/json.h"
#include "runtime/base/status.h"
#include "runtime/tokenizer/regex.h"

namespace nemotron::runtime {

/// A text and the pieces of it that are tokenized one by one: in order, not empty, not overlapping. What lies in no
/// piece was removed.
struct SplitText {
  std::string text;
  std::vector<TextRange> pieces;
  bool at_start;  ///< no text and no token stands before this one

  std::string_view Piece(const TextRange& piece) const {
    return std::string_view(text).substr(piece.begin, piece.end - piece.begin);
  }
};

/// Cuts pieces into smaller ones, and may rewrite them: `Sequence`, `Split`, `ByteLevel`, `Digits`, `Metaspace`.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;

  /// Reads the component "pre_tokenizer"; null gives one that changes nothing. kUnimplemented names an unknown type.
  static StatusOr<std::unique_ptr<PreTokenizer>> Parse(const Json& component);

  /// Errors are those of `Regex::FindAll`.
  virtual Status Apply(SplitText* text) const = 0;
};

/// What becomes of the matches of a split pattern.
enum class SplitBehavior {
  kRemoved,             ///< dropped
  kIsolated,            ///< pieces of their own
  kMergedWithPrevious,  ///< part of the piece before
  kMergedWithNext,      ///< part of the piece behind
  kContiguous,          ///< matches next to each other are one piece
};

/// Cuts `piece` at `matches` (relative to its start) and adds the parts that are not empty to `*pieces`. With `invert`,
/// what lies between the matches counts as the matches.
void SplitAtMatches(const TextRange& piece, const std::vector<TextRange>& matches, SplitBehavior behavior, bool invert,
                    std::vector<TextRange>* pieces);

}  // namespace nemotron::runtime

#endif  // RUNTIME_TOKENIZER_PRE_TOKENIZER_H_
