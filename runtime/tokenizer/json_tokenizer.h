#ifndef RUNTIME_TOKENIZER_JSON_TOKENIZER_H_
#define RUNTIME_TOKENIZER_JSON_TOKENIZER_H_

#include <memory>
#include <string_view>

#include "runtime/base/status.h"
#include "runtime/tokenizer/tokenizer.h"

namespace nemotron::runtime {

/// The tokenizer that the text of a tokenizer.json describes. Errors as in `Tokenizer::Create`.
StatusOr<std::unique_ptr<Tokenizer>> CreateJsonTokenizer(std::string_view text);

}  // namespace nemotron::runtime

#endif  // RUNTIME_TOKENIZER_JSON_TOKENIZER_H_
