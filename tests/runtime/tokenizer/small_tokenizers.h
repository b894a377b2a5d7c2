#ifndef TESTS_RUNTIME_TOKENIZER_SMALL_TOKENIZERS_H_
#define TESTS_RUNTIME_TOKENIZER_SMALL_TOKENIZERS_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/json.h"
#include "runtime/tokenizer/tokenizer.h"

namespace nemotron::runtime {

/// A tokenizer.json as byte-level BPE models have it: ids 0 to 255 are the bytes in order, 256 `th`, 257 `the`, 258
/// `Ġthe`, 259 `aa`; special tokens 260 `<s>`, 261 `</s>`. The template adds `<s>`.
Json ByteLevelJson();

/// One as the Llama converter writes it: 0 `<unk>`, 1 `<s>`, 2 `</s>`, 3 to 258 `<0x00>` to `<0xFF>`, then `▁` (259),
/// the letters `a` to `z` (260 to 285), `▁t` (286), `he` (287), `▁the` (288). The template adds `<s>`.
Json LlamaJson();

/// An entry of "added_tokens" with all flags false.
Json AddedTokenJson(int id, const std::string& content);

/// The tokenizer of a description that must be good.
std::unique_ptr<Tokenizer> MakeTokenizer(const Json& json);

/// The ids of `text`, without those of the template; empty on failure, which is a test failure.
std::vector<int32_t> Encode(const Tokenizer& tokenizer, std::string_view text);

/// What a StreamDecoder gives for `ids`, which must be whole UTF-8 at every step.
std::string StreamDecode(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, bool skip_special_tokens);

}  // namespace nemotron::runtime

#endif  // TESTS_RUNTIME_TOKENIZER_SMALL_TOKENIZERS_H_
