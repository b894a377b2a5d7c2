#include "runtime/tokenizer/pre_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace nemotron::runtime {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> Pieces(const Json& component, std::string_view text, bool at_start = true) {
  const auto pre_tokenizer = PreTokenizer::Parse(component);
  EXPECT_TRUE(pre_tokenizer.ok()) << pre_tokenizer.status().message();
  if (!pre_tokenizer.ok()) {
    return {};
  }
  SplitText split{std::string(text), {{0, text.size()}}, at_start};
  const Status status = (*pre_tokenizer)->Apply(&split);
  EXPECT_TRUE(status.ok()) << status.message();
  std::vector<std::string> pieces;
  for (const TextRange& piece : split.pieces) {
    pieces.emplace_back(split.Piece(piece));
  }
  return pieces;
}

Json Split(const char* behavior, bool invert = false) {
  return {{"type", "Split"}, {"pattern", {{"String", "-"}}}, {"behavior", behavior}, {"invert", invert}};
}

// Expected: Hugging Face tokenizers 0.23.
TEST(PreTokenizerTest, SplitBehaviors) {
  const std::string_view text = "-the-final--countdown-";
  EXPECT_THAT(Pieces(Split("Removed"), text), ElementsAre("the", "final", "countdown"));
  EXPECT_THAT(Pieces(Split("Isolated"), text), ElementsAre("-", "the", "-", "final", "-", "-", "countdown", "-"));
  EXPECT_THAT(Pieces(Split("MergedWithPrevious"), text), ElementsAre("-", "the-", "final-", "-", "countdown-"));
  EXPECT_THAT(Pieces(Split("MergedWithNext"), text), ElementsAre("-the", "-final", "-", "-countdown", "-"));
  EXPECT_THAT(Pieces(Split("Contiguous"), text), ElementsAre("-", "the", "-", "final", "--", "countdown", "-"));
  EXPECT_THAT(Pieces(Split("Removed", /*invert=*/true), text), ElementsAre("-", "-", "-", "-", "-"));
  EXPECT_THAT(Pieces(Split("MergedWithPrevious", /*invert=*/true), text),
              ElementsAre("-the", "-final", "-", "-countdown", "-"));
  EXPECT_THAT(Pieces(Split("Removed"), "---"), IsEmpty());
  EXPECT_THAT(Pieces(Split("Isolated"), ""), IsEmpty());
}

TEST(PreTokenizerTest, ByteLevel) {
  Json component = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}};
  EXPECT_THAT(Pieces(component, "I'm 20 é  x"), ElementsAre("I", "'m", "Ġ20", "ĠÃ©", "Ġ", "Ġx"));
  component["add_prefix_space"] = true;
  EXPECT_THAT(Pieces(component, "a b"), ElementsAre("Ġa", "Ġb"));
  EXPECT_THAT(Pieces(component, " a"), ElementsAre("Ġa"));
  component["use_regex"] = false;
  EXPECT_THAT(Pieces(component, "a b"), ElementsAre("ĠaĠb"));
}

TEST(PreTokenizerTest, Digits) {
  EXPECT_THAT(Pieces({{"type", "Digits"}, {"individual_digits", true}}, "a12²b"), ElementsAre("a", "1", "2", "²", "b"));
  EXPECT_THAT(Pieces({{"type", "Digits"}, {"individual_digits", false}}, "a12²b"), ElementsAre("a", "12²", "b"));
}

TEST(PreTokenizerTest, Metaspace) {
  Json component = {{"type", "Metaspace"}, {"replacement", "▁"}};
  EXPECT_THAT(Pieces(component, "a b  c"), ElementsAre("▁a", "▁b", "▁", "▁c"));
  EXPECT_THAT(Pieces(component, " a"), ElementsAre("▁a"));
  component["prepend_scheme"] = "first";
  EXPECT_THAT(Pieces(component, "a b"), ElementsAre("▁a", "▁b"));
  EXPECT_THAT(Pieces(component, "a b", /*at_start=*/false), ElementsAre("a", "▁b"));
  component["prepend_scheme"] = "never";
  component["split"] = false;
  EXPECT_THAT(Pieces(component, "a b"), ElementsAre("a▁b"));
  component.erase("prepend_scheme");
  component["add_prefix_space"] = false;
  EXPECT_THAT(Pieces(component, "a b"), ElementsAre("a▁b"));
}

TEST(PreTokenizerTest, SequenceAppliesEachToTheLast) {
  EXPECT_THAT(Pieces({{"type", "Sequence"},
                      {"pretokenizers",
                       {{{"type", "Digits"}, {"individual_digits", true}},
                        Split("Removed"),
                        {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}},
                     "a-é1"),
              ElementsAre("a", "Ã©", "1"));
  EXPECT_THAT(Pieces(nullptr, "a b"), ElementsAre("a b"));
}

TEST(PreTokenizerTest, RefusesWhatItDoesNotKnow) {
  for (const auto& [component, message] :
       {std::pair<Json, const char*>{{{"type", "Punctuation"}}, "pre_tokenizer has type 'Punctuation', expected"},
        {Split("Sideways"), "'behavior' of pre_tokenizer 'Split' is 'Sideways'"},
        {{{"type", "Sequence"}, {"pretokenizers", {{{"type", "Whitespace"}}}}}, "type 'Whitespace'"},
        {{{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "twice"}}, "is 'twice'"}}) {
    const auto result = PreTokenizer::Parse(component);
    EXPECT_EQ(result.status().code(), StatusCode::kUnimplemented);
    EXPECT_THAT(result.status().message(), HasSubstr(message));
  }
  for (const auto& [component, message] :
       {std::pair<Json, const char*>{Json::array(), "pre_tokenizer is array, expected object"},
        {Json::object(), "pre_tokenizer has no 'type'"},
        {{{"type", 3}}, "'type' of pre_tokenizer is number, expected string"},
        {{{"type", "Split"}, {"behavior", "Removed"}}, "pre_tokenizer 'Split' has no 'pattern'"},
        {{{"type", "Split"}, {"pattern", {{"Regex", "("}}}, {"behavior", "Removed"}}, "regular expression '('"},
        {{{"type", "Split"}, {"pattern", {{"Glob", "*"}}}, {"behavior", "Removed"}},
         "'pattern' of pre_tokenizer 'Split' is malformed"},
        {{{"type", "Sequence"}}, "pre_tokenizer 'Sequence' has no 'pretokenizers'"},
        {{{"type", "ByteLevel"}}, "pre_tokenizer 'ByteLevel' has no 'add_prefix_space'"},
        {{{"type", "Metaspace"}, {"replacement", "ab"}}, "is 'ab', expected one character"},
        {{{"type", "Metaspace"}, {"replacement", "▁"}, {"add_prefix_space", false}, {"prepend_scheme", "first"}},
         "'add_prefix_space' is false"}}) {
    const auto result = PreTokenizer::Parse(component);
    EXPECT_EQ(result.status().code(), StatusCode::kDataLoss);
    EXPECT_THAT(result.status().message(), HasSubstr(message));
  }
}

}  // namespace
}  // namespace nemotron::runtime
