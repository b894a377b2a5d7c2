#ifndef RUNTIME_TOKENIZER_TOKENIZER_H_
#define RUNTIME_TOKENIZER_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/status.h"

namespace nemotron::runtime {

/// What a plan says beside the tokenizer's own bytes. Only kind "sentencepiece" heeds it: a tokenizer.json holds its
/// template.
struct TokenizerOptions {
  bool add_bos = false;  ///< Encode with special tokens puts BOS first
  bool add_eos = false;  ///< Encode with special tokens puts EOS last
};

/// Turns tokens, one after another, into text that is whole UTF-8 at every step. Made by `Tokenizer::NewStream`, which
/// it must not outlive; used by one thread at a time.
class TokenStream {
 public:
  virtual ~TokenStream() = default;

  /// The text that `id` completes; empty while a character is incomplete. kInvalidArgument if there is no such token,
  /// and then the stream is as before.
  virtual StatusOr<std::string> Append(int32_t id) = 0;
  /// What is left: an incomplete character becomes U+FFFD. The stream is then as new.
  virtual std::string Flush() = 0;
};

/// Text to token ids and back, as the checkpoint's tokenizer does it. Immutable, so any number of threads may use it.
///
/// kind "tokenizer.json" follows Hugging Face `tokenizers` for byte-level BPE and for what its Llama converter writes;
/// a component it does not have is kUnimplemented at `Create`, never skipped. Of the file's fields "truncation" and
/// "padding" are not applied: they are the caller's. kind "sentencepiece" uses the sentencepiece library.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Reads `data`, the bytes stored in a plan, of kind "tokenizer.json" or "sentencepiece". `data` need not stay.
  /// kDataLoss if it is malformed, kUnimplemented for a component or kind that is not known; messages name it.
  static StatusOr<std::unique_ptr<Tokenizer>> Create(std::string_view kind, std::string_view data,
                                                     const TokenizerOptions& options = {});

  /// Token ids of `text`. Special tokens written in the text are recognized always; `add_special_tokens` adds those of
  /// the template (BOS, EOS). kInvalidArgument if the text is not UTF-8, with the byte where, or if it has a character
  /// that the vocabulary cannot express; kResourceExhausted if a split pattern exceeds its match limit.
  virtual StatusOr<std::vector<int32_t>> Encode(std::string_view text, bool add_special_tokens) const = 0;

  /// Text of `ids`, always UTF-8: bytes that are not become U+FFFD. kInvalidArgument for an id that is no token.
  /// Equal to what a TokenStream gives, pieces joined.
  StatusOr<std::string> Decode(std::span<const int32_t> ids, bool skip_special_tokens) const;

  /// Starts to decode a text token by token.
  virtual std::unique_ptr<TokenStream> NewStream(bool skip_special_tokens) const = 0;

  /// The largest id + 1. A model's V may be larger, and ids between may be unused.
  virtual int64_t vocab_size() const = 0;
  /// True for tokens that `skip_special_tokens` leaves out; false for an id that is no token.
  virtual bool IsSpecial(int32_t id) const = 0;
  /// The bytes that one token stands for in the middle of a text; may be a part of a UTF-8 character.
  virtual StatusOr<std::string> TokenBytes(int32_t id) const = 0;
  /// The id of the token that is spelled `content` in the vocabulary (`Ġthe`, `▁the`, `<s>`).
  virtual std::optional<int32_t> TokenId(std::string_view content) const = 0;
};

/// Decodes generated tokens for display: each piece is whole UTF-8, and the pieces joined are the decoded text.
///
///   StreamDecoder decoder(tokenizer);
///   RETURN_IF_ERROR(decoder.Skip(prompt_ids));  // so that a leading space of the first new token is kept
///   while (...) { ASSIGN_OR_RETURN(std::string piece, decoder.Append(id)); ... }
///   Show(decoder.Flush());
class StreamDecoder {
 public:
  /// `tokenizer` must outlive the decoder.
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens = true)
      : stream_(tokenizer.NewStream(skip_special_tokens)) {}

  /// Takes tokens that stand before the ones to decode and drops their text.
  Status Skip(std::span<const int32_t> ids);
  /// Feeds a token, returns the text that is complete now, maybe none. kInvalidArgument if there is no such token; the
  /// decoder is then as before.
  StatusOr<std::string> Append(int32_t id) { return stream_->Append(id); }
  /// Ends the text: an incomplete character becomes U+FFFD. The decoder is then as new.
  std::string Flush() { return stream_->Flush(); }

 private:
  std::unique_ptr<TokenStream> stream_;
};

}  // namespace nemotron::runtime

#endif  // RUNTIME_TOKENIZER_TOKENIZER_H_
