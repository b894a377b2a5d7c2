#include "runtime/tokenizer/json_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "runtime/tokenizer/utf8.h"
#include "tests/runtime/tokenizer/small_tokenizers.h"

namespace nemotron::runtime {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string Decode(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, bool skip_special_tokens = false) {
  const auto text = tokenizer.Decode(ids, skip_special_tokens);
  EXPECT_TRUE(text.ok()) << text.status().message();
  return text.ok() ? *text : "";
}

TEST(ByteLevelTokenizerTest, EncodesAndDecodes) {
  const auto tokenizer = MakeTokenizer(ByteLevelJson());
  EXPECT_THAT(Encode(*tokenizer, "the the"), ElementsAre(257, 258));
  EXPECT_THAT(Encode(*tokenizer, "é"), ElementsAre(0xC3, 0xA9));
  EXPECT_THAT(Encode(*tokenizer, ""), IsEmpty());
  EXPECT_THAT(*tokenizer->Encode("the", true), ElementsAre(260, 257));
  EXPECT_THAT(*tokenizer->Encode("", true), ElementsAre(260));
  EXPECT_EQ(Decode(*tokenizer, {260, 257, 258, 0xC3, 0xA9}), "<s>the theé");
  EXPECT_EQ(Decode(*tokenizer, {260, 257, 261}, /*skip_special_tokens=*/true), "the");
}

TEST(ByteLevelTokenizerTest, KnowsItsTokens) {
  const auto tokenizer = MakeTokenizer(ByteLevelJson());
  EXPECT_EQ(tokenizer->vocab_size(), 262);
  EXPECT_EQ(tokenizer->TokenId("Ġthe"), 258);
  EXPECT_EQ(tokenizer->TokenId("<s>"), 260);
  EXPECT_EQ(tokenizer->TokenId("nothing"), std::nullopt);
  EXPECT_TRUE(tokenizer->IsSpecial(260));
  EXPECT_FALSE(tokenizer->IsSpecial(258));
  EXPECT_FALSE(tokenizer->IsSpecial(-1));
  EXPECT_EQ(*tokenizer->TokenBytes(258), " the");
  EXPECT_EQ(*tokenizer->TokenBytes(0xC3), "\xC3");
  EXPECT_EQ(*tokenizer->TokenBytes(260), "<s>");
  for (const int32_t id : {-1, 262, INT32_MAX, INT32_MIN}) {
    EXPECT_EQ(tokenizer->TokenBytes(id).status().code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(tokenizer->Decode(std::vector<int32_t>{id}, false).status().message(),
                HasSubstr(fmt::format("id {} is no token, the vocabulary has ids 0 to 261", id)));
  }
}

TEST(ByteLevelTokenizerTest, RefusesTextThatIsNotUtf8) {
  const auto ids = MakeTokenizer(ByteLevelJson())->Encode("caf\xE9 au lait", true);
  EXPECT_EQ(ids.status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(ids.status().message(), "text is not UTF-8: byte 3 of 12 is 0xE9");
}

TEST(ByteLevelTokenizerTest, StreamEmitsWholeCharacters) {
  const auto tokenizer = MakeTokenizer(ByteLevelJson());
  StreamDecoder decoder(*tokenizer);
  EXPECT_EQ(*decoder.Append(0xE6), "");
  EXPECT_EQ(*decoder.Append(0x97), "");
  EXPECT_EQ(*decoder.Append(260), "");  // a special token within a character is skipped
  EXPECT_EQ(*decoder.Append(0xA5), "日");
  EXPECT_EQ(*decoder.Append(0xF0), "");
  EXPECT_EQ(*decoder.Append('a'), "\uFFFDa");
  EXPECT_FALSE(decoder.Append(9999).ok());
  EXPECT_EQ(*decoder.Append(0xC3), "");
  EXPECT_EQ(decoder.Flush(), "\uFFFD");
  EXPECT_EQ(decoder.Flush(), "");
  EXPECT_EQ(*decoder.Append('b'), "b");
}

// Any bytes, in any cut, give the same text as at once, and no half character.
TEST(ByteLevelTokenizerTest, StreamEqualsWholeOnRandomIds) {
  std::mt19937 random(7);
  for (const Json& json : {ByteLevelJson(), LlamaJson()}) {
    const auto tokenizer = MakeTokenizer(json);
    std::uniform_int_distribution<int32_t> any(0, static_cast<int32_t>(tokenizer->vocab_size()) - 1);
    for (int round = 0; round < 500; ++round) {
      std::vector<int32_t> ids(round % 20);
      std::generate(ids.begin(), ids.end(), [&] { return any(random); });
      const bool skip = round % 2 == 0;
      const std::string whole = Decode(*tokenizer, ids, skip);
      EXPECT_EQ(FindInvalidUtf8(whole), std::string::npos);
      EXPECT_EQ(StreamDecode(*tokenizer, ids, skip), whole);
    }
  }
}

TEST(ByteLevelTokenizerTest, ThreadsShareIt) {
  const auto tokenizer = MakeTokenizer(ByteLevelJson());
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 200; ++round) {
        EXPECT_EQ(Decode(*tokenizer, *tokenizer->Encode("the end, the é", true)), "<s>the end, the é");
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
}

TEST(LlamaTokenizerTest, EncodesAndDecodes) {
  const auto tokenizer = MakeTokenizer(LlamaJson());
  EXPECT_THAT(*tokenizer->Encode("the a", true), ElementsAre(1, 288, 259, 260));
  EXPECT_THAT(Encode(*tokenizer, "é\n"), ElementsAre(259, 3 + 0xC3, 3 + 0xA9, 3 + '\n'));
  EXPECT_THAT(Encode(*tokenizer, ""), IsEmpty());
  // The normalizer works on each text between special tokens.
  EXPECT_THAT(Encode(*tokenizer, "a</s>the"), ElementsAre(259, 260, 2, 288));
  EXPECT_EQ(Decode(*tokenizer, {288, 259, 260, 3 + 0xC3, 3 + 0xA9}), "the aé");
  EXPECT_EQ(Decode(*tokenizer, {1, 288}), "<s> the");
  EXPECT_EQ(Decode(*tokenizer, {1, 288}, /*skip_special_tokens=*/true), "the");
  EXPECT_EQ(Decode(*tokenizer, {259, 259, 260}), " a");
}

TEST(LlamaTokenizerTest, BytesThatAreNoCharacter) {
  const auto tokenizer = MakeTokenizer(LlamaJson());
  const auto byte = [](int value) { return 3 + value; };
  EXPECT_EQ(Decode(*tokenizer, {260, byte(0xE6), byte(0x97), byte(0xA5), byte(0xE6), byte(0x97), 261}),
            "a日\uFFFD\uFFFDb");
  EXPECT_EQ(*tokenizer->TokenBytes(byte(0xE6)), "\xE6");
  EXPECT_EQ(*tokenizer->TokenBytes(288), " the");
}

TEST(LlamaTokenizerTest, SkippedPromptKeepsTheSpace) {
  const auto tokenizer = MakeTokenizer(LlamaJson());
  StreamDecoder fresh(*tokenizer);
  EXPECT_EQ(*fresh.Append(288), "the");
  StreamDecoder continued(*tokenizer);
  ASSERT_TRUE(continued.Skip(std::vector<int32_t>{1, 260}).ok());
  EXPECT_EQ(*continued.Append(288), " the");
}

TEST(LlamaTokenizerTest, MetaspaceDecoder) {
  Json json = LlamaJson();
  json["normalizer"] = nullptr;
  json["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "always"}};
  json["decoder"] = {{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "always"}};
  const auto tokenizer = MakeTokenizer(json);
  EXPECT_THAT(Encode(*tokenizer, "the the"), ElementsAre(288, 288));
  EXPECT_EQ(Decode(*tokenizer, {288, 288}), "the the");
  EXPECT_EQ(*tokenizer->TokenBytes(288), " the");
}

// Expected: Hugging Face tokenizers 0.23.
TEST(AddedTokensTest, FlagsSayWhatIsTakenAlong) {
  Json json = ByteLevelJson();
  const auto add = [&](int id, const char* content, std::initializer_list<const char*> flags) {
    Json token = AddedTokenJson(id, content);
    for (const char* flag : flags) {
      token[flag] = true;
    }
    json["added_tokens"].push_back(token);
  };
  add(300, "<L>", {"lstrip"});
  add(301, "<R>", {"rstrip"});
  add(302, "word", {"single_word"});
  add(303, "<L><R>", {});
  add(304, "<B>", {"lstrip", "rstrip", "special"});
  const auto tokenizer = MakeTokenizer(json);
  EXPECT_THAT(Encode(*tokenizer, "a \u00a0<L> a"), ElementsAre('a', 300, ' ', 'a'));
  EXPECT_THAT(Encode(*tokenizer, "a <R>\n a"), ElementsAre('a', ' ', 301, 'a'));
  EXPECT_THAT(Encode(*tokenizer, "<R> <L>"), ElementsAre(301, 300));
  EXPECT_THAT(Encode(*tokenizer, "<L><R>"), ElementsAre(303));  // the longest counts
  EXPECT_THAT(Encode(*tokenizer, " <B> "), ElementsAre(304));
  EXPECT_THAT(Encode(*tokenizer, "word-word"), ElementsAre(302, '-', 302));
  EXPECT_THAT(Encode(*tokenizer, "éword"), ElementsAre(0xC3, 0xA9, 'w', 'o', 'r', 'd'));
  EXPECT_THAT(Encode(*tokenizer, "word_"), ElementsAre('w', 'o', 'r', 'd', '_'));
  EXPECT_EQ(tokenizer->vocab_size(), 305);
  EXPECT_EQ(Decode(*tokenizer, {300, 304, 301}, /*skip_special_tokens=*/true), "<L><R>");
  EXPECT_THAT(tokenizer->TokenBytes(299).status().message(), HasSubstr("with gaps"));
}

TEST(AddedTokensTest, NormalizedOnesAreFoundInNormalizedText) {
  Json json = LlamaJson();
  Json token = AddedTokenJson(300, "the a");
  token["normalized"] = true;
  json["added_tokens"].push_back(token);
  const auto tokenizer = MakeTokenizer(json);
  EXPECT_THAT(Encode(*tokenizer, "the a"), ElementsAre(300));  // both are `▁the▁a`
  EXPECT_THAT(Encode(*tokenizer, "b the a"), ElementsAre(259, 261, 300));
  EXPECT_EQ(Decode(*tokenizer, {259, 261, 300}), "b the a");
}

TEST(TemplateTest, AddsSpecialTokensOnBothSides) {
  Json json = ByteLevelJson();
  json["post_processor"]["single"].push_back({{"SpecialToken", {{"id", "</s>"}, {"type_id", 0}}}});
  json["post_processor"]["special_tokens"]["</s>"] = {
      {"id", "</s>"}, {"ids", {261, 261}}, {"tokens", {"</s>", "</s>"}}};
  json["post_processor"] = {{"type", "Sequence"}, {"processors", {{{"type", "ByteLevel"}}, json["post_processor"]}}};
  const auto tokenizer = MakeTokenizer(json);
  EXPECT_THAT(*tokenizer->Encode("a", true), ElementsAre(260, 'a', 261, 261));
  EXPECT_THAT(*tokenizer->Encode("a", false), ElementsAre('a'));
  json["post_processor"] = nullptr;
  EXPECT_THAT(*MakeTokenizer(json)->Encode("a", true), ElementsAre('a'));
}

TEST(DecoderTest, WithoutOneTokensAreJoinedBySpaces) {
  Json json = ByteLevelJson();
  json["decoder"] = nullptr;
  EXPECT_EQ(Decode(*MakeTokenizer(json), {257, 258}), "the Ġthe");
}

}  // namespace
}  // namespace nemotron::runtime
