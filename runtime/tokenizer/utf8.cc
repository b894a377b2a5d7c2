#include "runtime/tokenizer/utf8.h"

#include <cstdint>

namespace nemotron::runtime {

Utf8Char DecodeUtf8(std::string_view bytes) {
  if (bytes.empty()) {
    return {Utf8Char::kIncomplete, 0, 0};
  }
  const auto at = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  const uint8_t lead = at(0);
  if (lead < 0x80) {
    return {Utf8Char::kValid, 1, lead};
  }
  if (lead < 0xC2 || lead > 0xF4) {
    return {Utf8Char::kInvalid, 1, 0};
  }
  const int size = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  // The second byte has a smaller range after some leads: no overlong forms, no surrogates, nothing above U+10FFFF.
  const uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  char32_t codepoint = lead & (0x7F >> size);
  for (int i = 1; i < size; ++i) {
    if (static_cast<size_t>(i) == bytes.size()) {
      return {Utf8Char::kIncomplete, i, 0};
    }
    if (at(i) < (i == 1 ? low : 0x80) || at(i) > (i == 1 ? high : 0xBF)) {
      return {Utf8Char::kInvalid, i, 0};
    }
    codepoint = (codepoint << 6) | (at(i) & 0x3F);
  }
  return {Utf8Char::kValid, size, codepoint};
}

void AppendUtf8(char32_t codepoint, std::string* out) {
  const auto push = [&](char32_t byte) { out->push_back(static_cast<char>(byte)); };
  if (codepoint < 0x80) {
    push(codepoint);
  } else if (codepoint < 0x800) {
    push(0xC0 | codepoint >> 6);
    push(0x80 | (codepoint & 0x3F));
  } else if (codepoint < 0x10000) {
    push(0xE0 | codepoint >> 12);
    push(0x80 | (codepoint >> 6 & 0x3F));
    push(0x80 | (codepoint & 0x3F));
  } else {
    push(0xF0 | codepoint >> 18);
    push(0x80 | (codepoint >> 12 & 0x3F));
    push(0x80 | (codepoint >> 6 & 0x3F));
    push(0x80 | (codepoint & 0x3F));
  }
}

size_t FindInvalidUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const Utf8Char next = DecodeUtf8(text.substr(i, 4));
    if (next.kind != Utf8Char::kValid) {
      return i;
    }
    i += next.size;
  }
  return std::string_view::npos;
}

bool IsWhiteSpace(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

void DrainUtf8(std::string* pending, Utf8Repair repair, bool at_end, std::string* out) {
  size_t done = 0;
  while (done < pending->size()) {
    const std::string_view rest = std::string_view(*pending).substr(done);
    const Utf8Char next = DecodeUtf8(rest);
    if (next.kind == Utf8Char::kIncomplete && !at_end) {
      break;
    }
    if (next.kind == Utf8Char::kValid) {
      out->append(rest.substr(0, next.size));
      done += next.size;
    } else {
      out->append(kReplacementCharacter);
      done += repair == Utf8Repair::kPerSubpart ? next.size : 1;
    }
  }
  pending->erase(0, done);
}

}  // namespace nemotron::runtime
