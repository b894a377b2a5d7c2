#ifndef RUNTIME_TOKENIZER_DECODER_H_
#define RUNTIME_TOKENIZER_DECODER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "runtime/base/json.h"
#include "runtime/base/status.h"
#include "runtime/tokenizer/normalizer.h"

namespace nemotron::runtime {

/// Turns tokens into text: the component "decoder" of a tokenizer.json, as a machine that takes one token at a time.
///
/// A decoder of Hugging Face maps a list of tokens to a list of strings; a `Sequence` applies several. Those in use are
/// three stages: rewrite each token (`Replace`, `Metaspace`), find the bytes it stands for (`ByteLevel` or
/// `ByteFallback`), and strip the start of the whole (`Fuse`, then `Strip`). Sequences in that order are read, others
/// refused.
///
/// Bytes that are no UTF-8 become U+FFFD: under `ByteLevel` one for each maximal subpart, as in Hugging Face; under
/// `ByteFallback` one for each byte that is not part of a character. (There Hugging Face also replaces the valid
/// characters of a run of byte tokens with an invalid one; that cannot be streamed, and SentencePiece does as we do.)
class Decoder {
 public:
  /// What a text decoded so far leaves behind. Made by `Start`.
  struct State {
    int64_t num_tokens = 0;
    int64_t strip_left = 0;  // characters that may still be stripped
    std::string pending;     // bytes of an incomplete character
  };

  /// kUnimplemented names a type, or an order of types, that is not known. Null joins the tokens with spaces.
  static StatusOr<Decoder> Parse(const Json& component);

  State Start() const { return {0, strip_start_, {}}; }
  /// The text that `token` completes. Fails, leaving the state as it was, only if a pattern to replace exceeds its
  /// limit.
  StatusOr<std::string> Append(std::string_view token, State* state) const;
  /// The text that the end completes.
  std::string Flush(State* state) const;
  /// The bytes that a token in the middle of a text stands for.
  StatusOr<std::string> TokenBytes(std::string_view token) const;

 private:
  struct Replace {
    std::unique_ptr<Normalizer> pattern;
  };
  struct Metaspace {
    std::string replacement;
    bool drop_first;  // those of the first token stand for nothing
  };
  enum class Bytes { kNone, kByteLevel, kByteFallback };

  Status AddStage(const Json& component);
  StatusOr<std::string> Rewrite(std::string_view token, bool is_first) const;
  void Strip(std::string* text, State* state) const;

  std::vector<std::variant<Replace, Metaspace>> rewrites_;
  Bytes bytes_ = Bytes::kNone;
  bool join_with_spaces_ = false;
  bool fused_ = false;
  std::string strip_;  // one character
  int64_t strip_start_ = 0;
};

}  // namespace nemotron::runtime

#endif  // RUNTIME_TOKENIZER_DECODER_H_
