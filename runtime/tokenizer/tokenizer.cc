#include "runtime/tokenizer/tokenizer.h"

#include "runtime/tokenizer/json_tokenizer.h"
#include "runtime/tokenizer/sentencepiece_tokenizer.h"

namespace nemotron::runtime {

StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Create(std::string_view kind, std::string_view data,
                                                       const TokenizerOptions& options) {
  if (kind == "tokenizer.json") {
    return CreateJsonTokenizer(data);
  }
  if (kind == "sentencepiece") {
    return CreateSentencePieceTokenizer(data, options);
  }
  return Unimplemented("tokenizer kind is '{}', expected 'tokenizer.json' or 'sentencepiece'", kind);
}

StatusOr<std::string> Tokenizer::Decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  const std::unique_ptr<TokenStream> stream = NewStream(skip_special_tokens);
  std::string text;
  for (const int32_t id : ids) {
    ASSIGN_OR_RETURN(const std::string piece, stream->Append(id));
    text += piece;
  }
  return text + stream->Flush();
}

Status StreamDecoder::Skip(std::span<const int32_t> ids) {
  for (const int32_t id : ids) {
    RETURN_IF_ERROR(stream_->Append(id).status());
  }
  return OkStatus();
}

}  // namespace nemotron::runtime
