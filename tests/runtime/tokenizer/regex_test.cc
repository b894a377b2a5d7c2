#include "runtime/tokenizer/regex.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace nemotron::runtime {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> Matches(const Regex& regex, std::string_view text) {
  std::vector<TextRange> ranges;
  const Status status = regex.FindAll(text, &ranges);
  EXPECT_TRUE(status.ok()) << status.message();
  std::vector<std::string> matches;
  for (const TextRange& range : ranges) {
    matches.emplace_back(text.substr(range.begin, range.end - range.begin));
  }
  return matches;
}

std::vector<std::string> Matches(std::string_view pattern, std::string_view text) {
  const auto regex = Regex::Compile(pattern);
  EXPECT_TRUE(regex.ok()) << regex.status().message();
  return regex.ok() ? Matches(*regex, text) : std::vector<std::string>();
}

TEST(RegexTest, FindsMatchesInOrder) {
  EXPECT_THAT(Matches("\\p{N}{1,3}", "12345 6"), ElementsAre("123", "45", "6"));
  EXPECT_THAT(Matches("\\s+(?!\\S)|\\s+", "a  b"), ElementsAre(" ", " "));
  EXPECT_THAT(Matches("x", ""), IsEmpty());
}

TEST(RegexTest, AnEmptyMatchBehindAMatchDoesNotCount) {
  EXPECT_THAT(Matches("x*", "axb"), ElementsAre("", "x", ""));
  EXPECT_THAT(Matches("", "é日"), ElementsAre("", "", ""));
}

TEST(RegexTest, LiteralsMatchThemselves) {
  const auto regex = Regex::CompileLiteral("a.*[é");
  ASSERT_TRUE(regex.ok());
  EXPECT_THAT(Matches(*regex, "abc a.*[é"), ElementsAre("a.*[é"));
}

// What follows is where Oniguruma and PCRE2 differ.
TEST(RegexTest, ClassesAreOniguruma) {
  EXPECT_THAT(Matches("\\s", "\u00a0\u0085\v\u3000\u180e"), ElementsAre("\u00a0", "\u0085", "\v", "\u3000"));
  EXPECT_THAT(Matches("[^\\S\\n]", " \n\t"), ElementsAre(" ", "\t"));
  EXPECT_THAT(Matches("\\w+", "e\u0301a_b\u203fc-²"), ElementsAre("e\u0301a_b\u203fc"));
  EXPECT_THAT(Matches("[\\w.]+", "a.b-c"), ElementsAre("a.b", "c"));
  EXPECT_THAT(Matches("\\W", "a-b"), ElementsAre("-"));
  EXPECT_THAT(Matches("\\h+|[\\h]", "xff 0G"), ElementsAre("ff", "0"));
  EXPECT_THAT(Matches("\\d", "1٣²"), ElementsAre("1", "٣"));
  EXPECT_THAT(Matches("\\v", "\v\n"), ElementsAre("\v"));
  EXPECT_THAT(Matches("\\b.", "a\u0301b c"), ElementsAre("a", " ", "c"));
  EXPECT_THAT(Matches("[[:space:][:digit:]]", "a 1"), ElementsAre(" ", "1"));
}

TEST(RegexTest, SyntaxIsOniguruma) {
  EXPECT_THAT(Matches("^.|.$", "ab\ncd"), ElementsAre("a", "b", "c", "d"));
  EXPECT_THAT(Matches("(?m:a.)", "a\n"), ElementsAre("a\n"));
  EXPECT_THAT(Matches("a.", "a\n"), IsEmpty());
  EXPECT_THAT(Matches("a{,2}b", "aaab"), ElementsAre("aab"));
  EXPECT_THAT(Matches("a{b", "a{b"), ElementsAre("a{b"));
  EXPECT_THAT(Matches("\\u00e9(?#note)", "é"), ElementsAre("é"));
  EXPECT_THAT(Matches("(?i:'s|'t)", "'S"), ElementsAre("'S"));
  EXPECT_THAT(Matches("(?<=a)b(?=c)|(?<!a)b(?!c)|(?>x)|(?<n>y)\\k<n>", "abc b x yy"), ElementsAre("b", "b", "x", "yy"));
  EXPECT_THAT(Matches("[]a]|[^]a]", "]b"), ElementsAre("]", "b"));
}

TEST(RegexTest, RefusesWhatCannotBeSaid) {
  for (const auto& [pattern, what] : {std::pair{"[a&&b]", "intersection"},
                                      {"[a[bc]]", "bracket in brackets"},
                                      {"(?~a)", "absent operator"},
                                      {"(*FAIL)", "'(*'"},
                                      {"a{1,2}+", "interval"},
                                      {"(?x: a)", "option 'x'"},
                                      {"(?R)", "'(?R'"},
                                      {"\\Q", "'\\Q'"},
                                      {"\\C", "'\\C'"},
                                      {"\\K", "'\\K'"},
                                      {"[\\W]", "'\\W' in brackets"}}) {
    const auto regex = Regex::Compile(pattern);
    EXPECT_EQ(regex.status().code(), StatusCode::kUnimplemented) << pattern;
    EXPECT_THAT(regex.status().message(), testing::AllOf(HasSubstr(what), HasSubstr(pattern)));
  }
}

TEST(RegexTest, RefusesMalformedPatterns) {
  for (const std::string pattern : {"(", "[", "a\\", "\\p{Nothing}", "(?#", "\\u12", "(?<n", "\xff", "*", "(?<=a*)",
                                    "((((a{1000}){1000}){1000}){1000})", "\\p{", "{", "("}) {
    const auto regex = Regex::Compile(pattern);
    if (pattern != "{") {
      EXPECT_EQ(regex.status().code(), StatusCode::kDataLoss) << pattern << regex.status().message();
    }
  }
  EXPECT_FALSE(Regex::Compile(std::string(100'000, 'a')).ok());
}

TEST(RegexTest, ReportsAPatternThatBacktracksWithoutEnd) {
  const auto regex = Regex::Compile("(a+)+$");
  ASSERT_TRUE(regex.ok());
  std::vector<TextRange> ranges;
  const Status status = regex->FindAll(std::string(5000, 'a') + "b", &ranges);
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(status.message(), testing::AllOf(HasSubstr("'(a+)+$'"), HasSubstr("limit")));
}

TEST(RegexTest, MatchesOutgrowTheSmallStack) {
  // Each round of the group takes stack, and 32 KiB are not enough for all.
  EXPECT_THAT(Matches("(?:a|b(?:c|d))*x", std::string(20'000, 'a') + "x"), ElementsAre(std::string(20'000, 'a') + "x"));
}

}  // namespace
}  // namespace nemotron::runtime
