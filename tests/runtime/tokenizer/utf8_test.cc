#include "runtime/tokenizer/utf8.h"

#include <gtest/gtest.h>

#include "runtime/tokenizer/byte_level.h"

namespace nemotron::runtime {
namespace {

TEST(Utf8Test, RoundTripsEveryCodepoint) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c == 0xD800) {
      c = 0xE000;
    }
    std::string text;
    AppendUtf8(c, &text);
    const Utf8Char decoded = DecodeUtf8(text);
    ASSERT_EQ(decoded.kind, Utf8Char::kValid) << std::hex << static_cast<uint32_t>(c);
    ASSERT_EQ(decoded.codepoint, c);
    ASSERT_EQ(decoded.size, static_cast<int>(text.size()));
    for (size_t size = 1; size < text.size(); ++size) {
      ASSERT_EQ(DecodeUtf8(text.substr(0, size)).kind, Utf8Char::kIncomplete);
    }
  }
}

TEST(Utf8Test, FindsWhatIsNoCharacter) {
  EXPECT_EQ(FindInvalidUtf8("aé日🙂"), std::string::npos);
  EXPECT_EQ(FindInvalidUtf8(""), std::string::npos);
  EXPECT_EQ(FindInvalidUtf8("ab\xE9"), 2);
  for (const char* bad : {"\x80", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF",
                          "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "\xE6\x97"}) {
    EXPECT_EQ(FindInvalidUtf8(bad), 0);
  }
}

std::string Repair(std::string bytes, Utf8Repair repair) {
  std::string out;
  DrainUtf8(&bytes, repair, /*at_end=*/true, &out);
  EXPECT_TRUE(bytes.empty());
  return out;
}

TEST(Utf8Test, RepairsAsTheUnicodeStandardAdvises) {
  // The Unicode Standard 15, table 3-8.
  EXPECT_EQ(Repair("\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64", Utf8Repair::kPerSubpart),
            "a\uFFFD\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFDd");
  EXPECT_EQ(Repair("a\xE6\x97", Utf8Repair::kPerSubpart), "a\uFFFD");
  EXPECT_EQ(Repair("a\xE6\x97", Utf8Repair::kPerByte), "a\uFFFD\uFFFD");
  EXPECT_EQ(Repair("\xE6日\x97", Utf8Repair::kPerByte), "\uFFFD日\uFFFD");
}

TEST(Utf8Test, DrainKeepsWhatMayBecomeACharacter) {
  std::string pending = "a\xE6\x97", out;
  DrainUtf8(&pending, Utf8Repair::kPerSubpart, /*at_end=*/false, &out);
  EXPECT_EQ(out, "a");
  EXPECT_EQ(pending, "\xE6\x97");
  pending += "\xA5\xF0";
  DrainUtf8(&pending, Utf8Repair::kPerSubpart, /*at_end=*/false, &out);
  EXPECT_EQ(out, "a日");
  EXPECT_EQ(pending, "\xF0");
}

TEST(ByteLevelTest, MapsBytesToPrintableCharacters) {
  std::string text;
  AppendByteLevel(" a\n\xC3\xA9", &text);
  EXPECT_EQ(text, "ĠaĊÃ©");
  EXPECT_EQ(ByteLevelTokenBytes(text), " a\n\xC3\xA9");
  for (int byte = 0; byte < 256; ++byte) {
    EXPECT_EQ(ByteLevelByte(ByteLevelChar(static_cast<uint8_t>(byte))), byte);
  }
  EXPECT_EQ(ByteLevelByte(U' '), std::nullopt);
  EXPECT_EQ(ByteLevelByte(0x144), std::nullopt);
  EXPECT_EQ(ByteLevelTokenBytes("not a Ġ"), "not a Ġ");  // a space stands for no byte
}

}  // namespace
}  // namespace nemotron::runtime
