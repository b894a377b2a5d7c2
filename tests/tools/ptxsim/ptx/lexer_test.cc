#include "tools/ptxsim/ptx/lexer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <string>
#include <vector>

namespace nemotron::ptxsim {
namespace {

using testing::ElementsAre;

std::vector<std::string> Texts(std::string_view text) {
  Lexer lexer(text);
  std::vector<std::string> texts;
  for (Token token = lexer.Next(); token.kind != TokenKind::kEnd; token = lexer.Next()) {
    texts.emplace_back(token.text);
    if (token.kind == TokenKind::kInvalid) {
      break;
    }
  }
  return texts;
}

Token First(std::string_view text) { return Lexer(text).Next(); }

TEST(LexerTest, CutsAnInstruction) {
  EXPECT_THAT(Texts("@!%p1 ld.shared::cta.v2.u32 {%r1,_},[$a+-16];"),
              ElementsAre("@", "!", "%p1", "ld", ".shared::cta", ".v2", ".u32", "{", "%r1", ",", "_", "}", ",", "[",
                          "$a", "+", "-", "16", "]", ";"));
}

TEST(LexerTest, ModifiersMayBeginWithDigitsAndHaveColons) {
  EXPECT_THAT(Texts("x.2d.mbarrier::complete_tx::bytes.L2::128B a:"),
              ElementsAre("x", ".2d", ".mbarrier::complete_tx::bytes", ".L2::128B", "a", ":"));
}

TEST(LexerTest, SkipsCommentsAndCountsLines) {
  Lexer lexer("// one\n/* two\n three */ a /**/ b\n\nc");
  EXPECT_EQ(lexer.Next().line, 3u);
  EXPECT_EQ(lexer.Next().line, 3u);
  EXPECT_EQ(lexer.Next().line, 5u);
  EXPECT_EQ(lexer.Next().kind, TokenKind::kEnd);
  EXPECT_EQ(lexer.Next().kind, TokenKind::kEnd);
}

TEST(LexerTest, SkipLineGoesOnBehindTheLineOfTheLastToken) {
  Lexer lexer(".loc 1 2 3, 'x\na");
  lexer.Next();
  lexer.SkipLine();
  const Token token = lexer.Next();
  EXPECT_EQ(token.text, "a");
  EXPECT_EQ(token.line, 2u);
}

TEST(LexerTest, IntegersOfAllBases) {
  for (const auto& [text, value] :
       std::vector<std::pair<std::string, uint64_t>>{{"0", 0},
                                                     {"42", 42},
                                                     {"0x1fU", 31},
                                                     {"0XFF", 255},
                                                     {"0b101", 5},
                                                     {"017", 15},
                                                     {"7U", 7},
                                                     {"18446744073709551615", ~uint64_t{0}}}) {
    const Token token = First(text);
    EXPECT_EQ(token.kind, TokenKind::kInteger) << text;
    EXPECT_EQ(token.bits, value) << text;
    EXPECT_EQ(token.text, text);
  }
}

TEST(LexerTest, Floats) {
  EXPECT_EQ(First("0f3F800000").bits, 0x3f800000u);
  EXPECT_TRUE(First("0f3F800000").is_single);
  EXPECT_EQ(First("0d3FF0000000000000").bits, std::bit_cast<uint64_t>(1.0));
  EXPECT_FALSE(First("0d3FF0000000000000").is_single);
  EXPECT_EQ(First("1.5e3").bits, std::bit_cast<uint64_t>(1500.0));
  EXPECT_EQ(First("9.0").text, "9.0");
  EXPECT_EQ(First("2e-1").kind, TokenKind::kFloat);
}

TEST(LexerTest, NamesWhatIsWrong) {
  for (const auto& [text, message] :
       std::vector<std::pair<std::string, std::string>>{{"/* x", "a comment without '*/'"},
                                                        {"\"x\n\"", "a string without closing quote"},
                                                        {"#", "a character that PTX does not have"},
                                                        {"18446744073709551616", "an integer of more than 64 bits"},
                                                        {"0x", "a malformed integer"},
                                                        {"08", "a malformed integer"},
                                                        {"12a", "a malformed integer"},
                                                        {"1.5x", "a malformed floating-point number"},
                                                        {"0f3F8", "a float that is not 0f and 8 digits"},
                                                        {"0d3F8000000", "a double that is not 0d and 16 digits"}}) {
    const Token token = First(text);
    EXPECT_EQ(token.kind, TokenKind::kInvalid) << text;
    EXPECT_EQ(token.text, message) << text;
  }
}

}  // namespace
}  // namespace nemotron::ptxsim
