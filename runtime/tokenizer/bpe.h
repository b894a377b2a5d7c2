#ifndef RUNTIME_TOKENIZER_BPE_H_
#define RUNTIME_TOKENIZER_BPE_H_

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "runtime/base/json.h"
#include "runtime/base/status.h"

namespace nemotron::runtime {

/// Token ids that a tokenizer.json may use lie below this: it bounds the tables made for a malformed one.
inline constexpr int64_t kMaxTokenId = int64_t{1} << 22;

/// Lets maps with string keys be searched by string_view.
struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};
using TokenMap = std::unordered_map<std::string, int32_t, StringHash, std::equal_to<>>;

/// (left id, right id) -> what they merge into. Open addressing, because an encoder asks it for each pair of
/// neighbours.
class MergeTable {
 public:
  struct Merge {
    int32_t rank;  ///< position in the file: the smallest is applied first
    int32_t id;    ///< of the merged token
  };

  /// Room for `count` merges.
  explicit MergeTable(size_t count);
  /// A pair that is there already is replaced.
  void Insert(int32_t left, int32_t right, const Merge& merge);
  /// nullptr if the two do not merge.
  const Merge* Find(int32_t left, int32_t right) const;

 private:
  struct Slot {
    uint64_t key;
    Merge merge;
  };
  size_t SlotOf(uint64_t key) const;
  std::vector<Slot> slots_;  // a power of two of them, at least a third empty
};

/// The BPE model of a tokenizer.json: a vocabulary and ranked merges.
class Bpe {
 public:
  /// Reads the component "model". kDataLoss if it is malformed: no vocabulary, an id out of range or used twice, a
  /// merge of tokens that the vocabulary lacks; kUnimplemented for another model type, dropout, or affixes of subwords.
  static StatusOr<Bpe> Parse(const Json& model);

  /// Adds the tokens of `word`, UTF-8 and not empty, to `*ids`. The merge of the smallest rank is applied first, the
  /// leftmost of equal ones, by a queue: O(n log n). kInvalidArgument if a character is not in the vocabulary and there
  /// is neither byte fallback nor an unknown token. (Hugging Face drops such a character; a prompt should not lose text
  /// silently.)
  Status Tokenize(std::string_view word, std::vector<int32_t>* ids) const;

  /// The largest id + 1.
  int64_t size() const { return static_cast<int64_t>(tokens_.size()); }
  /// nullptr if the id is not in use.
  const std::string* Token(int32_t id) const { return id >= 0 && id < size() ? tokens_[id] : nullptr; }
  std::optional<int32_t> Id(std::string_view token) const;

 private:
  Bpe() : merges_(0) {}
  Status ParseVocab(const Json& model);
  Status ParseMerges(const Json& model);
  Status InitialSymbols(std::string_view word, std::vector<int32_t>* symbols) const;
  void MergeSymbols(const std::vector<int32_t>& symbols, std::vector<int32_t>* ids) const;

  TokenMap ids_;
  std::vector<const std::string*> tokens_;  // by id, keys of ids_
  std::vector<int32_t> char_ids_;           // of characters up to the last that stands for a byte; -1: none
  std::array<int32_t, 256> byte_ids_;       // of `<0x00>` to `<0xFF>`; -1: none
  MergeTable merges_;
  std::optional<int32_t> unknown_id_;
  bool fuse_unknown_ = false, byte_fallback_ = false, ignore_merges_ = false;
};

}  // namespace nemotron::runtime

#endif  // RUNTIME_TOKENIZER_BPE_H_
