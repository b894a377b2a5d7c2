// Any bytes are a tokenizer.json or an error; a tokenizer takes any text and any ids without a crash, and what it
// decodes is UTF-8. An input is a JSON text, optionally followed by a zero byte and a text to encode.

#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "runtime/tokenizer/tokenizer.h"
#include "runtime/tokenizer/utf8.h"

namespace {

using nemotron::runtime::FindInvalidUtf8;
using nemotron::runtime::StreamDecoder;
using nemotron::runtime::Tokenizer;

void Check(bool condition) {
  if (!condition) {
    std::abort();
  }
}

/// Whole and streamed decoding must agree.
void CheckDecode(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  for (const bool skip_special_tokens : {false, true}) {
    const auto whole = tokenizer.Decode(ids, skip_special_tokens);
    StreamDecoder decoder(tokenizer, skip_special_tokens);
    std::string streamed;
    for (const int32_t id : ids) {
      const auto piece = decoder.Append(id);
      if (!piece.ok()) {
        Check(!whole.ok());
        return;
      }
      Check(FindInvalidUtf8(*piece) == std::string::npos);
      streamed += *piece;
    }
    streamed += decoder.Flush();
    Check(whole.ok() && *whole == streamed);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t zero = input.find('\0');
  const auto tokenizer = Tokenizer::Create("tokenizer.json", input.substr(0, zero));
  if (!tokenizer.ok()) {
    Check(!tokenizer.status().message().empty());
    return 0;
  }
  for (const std::string_view text :
       {std::string_view("The  quick <s>brown fox's 12345 caf\xC3\xA9\n\n \xE6\x97\xA5\xF0\x9F\x99\x82"),
        zero == std::string_view::npos ? std::string_view() : input.substr(zero + 1)}) {
    const auto ids = (*tokenizer)->Encode(text, /*add_special_tokens=*/true);
    if (ids.ok()) {
      CheckDecode(**tokenizer, *ids);
    }
  }
  std::vector<int32_t> ids;
  for (size_t i = 0; i < size && i < 64; ++i) {
    ids.push_back(data[i] % ((*tokenizer)->vocab_size() + 1));
    (void)(*tokenizer)->TokenBytes(ids.back());
  }
  CheckDecode(**tokenizer, ids);
  return 0;
}
