#ifndef RUNTIME_TOKENIZER_ADDED_TOKENS_H_
#define RUNTIME_TOKENIZER_ADDED_TOKENS_H_

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "runtime/base/json.h"
#include "runtime/base/status.h"
#include "runtime/tokenizer/bpe.h"
#include "runtime/tokenizer/normalizer.h"
#include "runtime/tokenizer/regex.h"

namespace nemotron::runtime {

/// A token that is found in the text before the model sees it.
struct AddedToken {
  int32_t id;
  std::string content;
  std::string spelling;  ///< what is looked for and what decoding reads: `content`, normalized if `normalized`
  bool single_word;      ///< only where no word character touches it
  bool lstrip;           ///< takes the white space to its left along
  bool rstrip;           ///< takes the white space to its right along
  bool normalized;       ///< is looked for in the normalized text
  bool special;          ///< `skip_special_tokens` leaves it out
};

/// Finds the longest of a set of strings at each place, leftmost first.
class StringMatcher {
 public:
  struct Match {
    TextRange range;
    int32_t value;
  };
  StringMatcher() : nodes_(1) {}
  /// `text` must not be empty. Of equal texts the first counts.
  void Add(std::string_view text, int32_t value);
  std::vector<Match> FindAll(std::string_view text) const;

 private:
  struct Node {
    std::map<uint8_t, uint32_t> children;
    int32_t value = -1;
  };
  std::vector<Node> nodes_;  // a trie; nodes_[0] is the root
  std::array<bool, 256> starts_{};
};

/// The "added_tokens" of a tokenizer.json.
class AddedTokens {
 public:
  /// A part of a text: an added token, or text between them.
  struct Part {
    TextRange range;
    int32_t id;  ///< -1: text
  };

  /// Reads the array. kDataLoss if an entry is malformed, an id is used twice or differs from the vocabulary's.
  static StatusOr<AddedTokens> Parse(const Json& array, const Bpe& model, const Normalizer& normalizer);

  /// Cuts a text as it came at the tokens that are not `normalized`.
  std::vector<Part> SplitRaw(std::string_view text) const { return Split(text, raw_); }
  /// Cuts a normalized text at those that are.
  std::vector<Part> SplitNormalized(std::string_view text) const { return Split(text, normalized_); }

  /// nullptr if `id` is not an added token.
  const AddedToken* Find(int32_t id) const;
  std::optional<int32_t> Id(std::string_view content) const;
  /// The largest id + 1, 0 if there are none.
  int64_t size() const { return size_; }

 private:
  std::vector<Part> Split(std::string_view text, const StringMatcher& matcher) const;

  std::unordered_map<int32_t, AddedToken> tokens_;
  TokenMap ids_;
  StringMatcher raw_, normalized_;
  std::optional<Regex> word_before_, word_after_;  // if a token is `single_word`
  int64_t size_ = 0;
};

}  // namespace nemotron::runtime

#endif  // RUNTIME_TOKENIZER_ADDED_TOKENS_H_
