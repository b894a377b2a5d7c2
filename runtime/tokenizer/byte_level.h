#ifndef RUNTIME_TOKENIZER_BYTE_LEVEL_H_
#define RUNTIME_TOKENIZER_BYTE_LEVEL_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace nemotron::runtime {

/// Byte-level BPE (GPT-2) writes each byte of a text as a printable character, so that a vocabulary is text: bytes that
/// are printable in Latin-1 stand for themselves, the other 68 become U+0100, U+0101, ... in order. A space is `Ġ`,
/// U+0120.

/// The character for a byte, U+0021 to U+0143.
char32_t ByteLevelChar(uint8_t byte);

/// The byte for a character, if it stands for one.
std::optional<uint8_t> ByteLevelByte(char32_t codepoint);

/// Adds the byte-level form of `bytes` to `*out`.
void AppendByteLevel(std::string_view bytes, std::string* out);

/// The bytes that a token stands for. A token with a character that stands for no byte (an added token with a space)
/// stands for its own bytes.
std::string ByteLevelTokenBytes(std::string_view token);

}  // namespace nemotron::runtime

#endif  // RUNTIME_TOKENIZER_BYTE_LEVEL_H_
