#ifndef RUNTIME_TOKENIZER_SENTENCEPIECE_TOKENIZER_H_
#define RUNTIME_TOKENIZER_SENTENCEPIECE_TOKENIZER_H_

#include <memory>
#include <string_view>

#include "runtime/base/status.h"
#include "runtime/tokenizer/tokenizer.h"

namespace nemotron::runtime {

/// The tokenizer of a serialized SentencePiece ModelProto. Errors as in `Tokenizer::Create`.
StatusOr<std::unique_ptr<Tokenizer>> CreateSentencePieceTokenizer(std::string_view model,
                                                                  const TokenizerOptions& options);

}  // namespace nemotron::runtime

#endif  // RUNTIME_TOKENIZER_SENTENCEPIECE_TOKENIZER_H_
