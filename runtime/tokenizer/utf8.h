#ifndef RUNTIME_TOKENIZER_UTF8_H_
#define RUNTIME_TOKENIZER_UTF8_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace nemotron::runtime {

/// The UTF-8 form of U+FFFD, which stands for bytes that are no character.
inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

/// What stands at the start of some bytes: The Unicode Standard, table 3-7 (no surrogates, no overlong forms).
struct Utf8Char {
  enum Kind {
    kValid,       ///< a character of `size` bytes
    kInvalid,     ///< `size` bytes that no character starts with (the maximal subpart, section 3.9)
    kIncomplete,  ///< `size` bytes, all there are, that a character may start with
  };
  Kind kind;
  int size;            ///< in bytes; 0 only for no bytes
  char32_t codepoint;  ///< if valid
};
Utf8Char DecodeUtf8(std::string_view bytes);

/// Adds the UTF-8 form of a codepoint, which must not be a surrogate or above U+10FFFF.
void AppendUtf8(char32_t codepoint, std::string* out);

/// The offset of the first byte that is not part of a valid character, or npos.
size_t FindInvalidUtf8(std::string_view text);

/// True for the property White_Space.
bool IsWhiteSpace(char32_t codepoint);

/// What becomes of bytes that are no character.
enum class Utf8Repair {
  kPerSubpart,  ///< one U+FFFD for each maximal subpart, as browsers and Rust do
  kPerByte,     ///< one U+FFFD for each byte, as byte-fallback decoders do
};

/// Moves what is decided from the front of `*pending` to `*out`, invalid bytes repaired. What may still become a
/// character stays in `*pending`, unless `at_end`.
void DrainUtf8(std::string* pending, Utf8Repair repair, bool at_end, std::string* out);

}  // namespace nemotron::runtime

#endif  // RUNTIME_TOKENIZER_UTF8_H_
