#include "runtime/tokenizer/byte_level.h"

#include <array>

#include "runtime/tokenizer/utf8.h"

namespace nemotron::runtime {
namespace {

constexpr int kFirstMapped = 0x100;
constexpr int kNumMapped = 68;

constexpr bool StandsForItself(int byte) { return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD); }

struct Tables {
  std::array<char32_t, 256> chars{};
  std::array<uint8_t, kNumMapped> bytes{};
};

constexpr Tables MakeTables() {
  Tables tables;
  int mapped = 0;
  for (int byte = 0; byte < 256; ++byte) {
    if (StandsForItself(byte)) {
      tables.chars[byte] = static_cast<char32_t>(byte);
    } else {
      tables.chars[byte] = static_cast<char32_t>(kFirstMapped + mapped);
      tables.bytes[mapped++] = static_cast<uint8_t>(byte);
    }
  }
  return tables;
}

constexpr Tables kTables = MakeTables();
static_assert(kTables.chars[' '] == 0x120 && kTables.chars[0xAD] == kFirstMapped + kNumMapped - 1);

}  // namespace

char32_t ByteLevelChar(uint8_t byte) { return kTables.chars[byte]; }

std::optional<uint8_t> ByteLevelByte(char32_t codepoint) {
  if (codepoint < 0x100) {
    return StandsForItself(static_cast<int>(codepoint)) ? std::optional(static_cast<uint8_t>(codepoint)) : std::nullopt;
  }
  const char32_t mapped = codepoint - kFirstMapped;
  return mapped < kNumMapped ? std::optional(kTables.bytes[mapped]) : std::nullopt;
}

void AppendByteLevel(std::string_view bytes, std::string* out) {
  for (const char byte : bytes) {
    AppendUtf8(ByteLevelChar(static_cast<uint8_t>(byte)), out);
  }
}

std::string ByteLevelTokenBytes(std::string_view token) {
  std::string bytes;
  for (size_t i = 0; i < token.size();) {
    const Utf8Char next = DecodeUtf8(token.substr(i, 4));
    const auto byte = next.kind == Utf8Char::kValid ? ByteLevelByte(next.codepoint) : std::nullopt;
    if (!byte) {
      return std::string(token);
    }
    bytes.push_back(static_cast<char>(*byte));
    i += next.size;
  }
  return bytes;
}

}  // namespace nemotron::runtime
