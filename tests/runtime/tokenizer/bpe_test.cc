#include "runtime/tokenizer/bpe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace nemotron::runtime {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// Letters a to d are ids 0 to 3, then come these tokens, each the merge that makes it, in order of rank.
Json Model(const std::vector<std::pair<std::string, std::string>>& merges) {
  Json vocab = {{"a", 0}, {"b", 1}, {"c", 2}, {"d", 3}};
  Json list = Json::array();
  for (const auto& [left, right] : merges) {
    vocab.emplace(left + right, vocab.size());
    list.push_back({left, right});
  }
  return {{"type", "BPE"}, {"vocab", vocab}, {"merges", list}};
}

Bpe Parse(const Json& model) {
  auto bpe = Bpe::Parse(model);
  EXPECT_TRUE(bpe.ok()) << bpe.status().message();
  return std::move(*bpe);
}

std::vector<int32_t> Tokenize(const Bpe& bpe, std::string_view word) {
  std::vector<int32_t> ids;
  const Status status = bpe.Tokenize(word, &ids);
  EXPECT_TRUE(status.ok()) << status.message();
  return ids;
}

TEST(BpeTest, AppliesTheSmallestRankFirst) {
  const Bpe bpe = Parse(Model({{"b", "c"}, {"a", "b"}, {"ab", "c"}}));
  EXPECT_THAT(Tokenize(bpe, "abc"), ElementsAre(0, 4));  // bc before ab
  EXPECT_THAT(Tokenize(bpe, "abd"), ElementsAre(5, 3));
  EXPECT_THAT(Tokenize(bpe, "a"), ElementsAre(0));
}

TEST(BpeTest, AppliesTheLeftmostOfEqualRanksFirst) {
  const Bpe bpe = Parse(Model({{"a", "a"}}));
  EXPECT_THAT(Tokenize(bpe, "aaa"), ElementsAre(4, 0));
  EXPECT_THAT(Tokenize(bpe, "aaaa"), ElementsAre(4, 4));
}

/// Merges by the definition: again and again the leftmost pair of the smallest rank.
std::vector<std::string> SlowMerge(const std::vector<std::pair<std::string, std::string>>& merges,
                                   std::string_view word) {
  std::vector<std::string> parts;
  for (const char c : word) {
    parts.emplace_back(1, c);
  }
  while (true) {
    size_t best_rank = merges.size(), best = 0;
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto rank = std::find(merges.begin(), merges.end(), std::pair(parts[i], parts[i + 1])) - merges.begin();
      if (static_cast<size_t>(rank) < best_rank) {
        best_rank = rank;
        best = i;
      }
    }
    if (best_rank == merges.size()) {
      return parts;
    }
    parts[best] += parts[best + 1];
    parts.erase(parts.begin() + static_cast<ptrdiff_t>(best) + 1);
  }
}

TEST(BpeTest, EqualsTheDefinitionOnRandomModels) {
  std::mt19937 random(20'241);
  const auto pick = [&](size_t count) { return std::uniform_int_distribution<size_t>(0, count - 1)(random); };
  for (int round = 0; round < 200; ++round) {
    std::vector<std::string> tokens = {"a", "b", "c", "d"};
    std::vector<std::pair<std::string, std::string>> merges;
    for (int i = 0; i < 12; ++i) {
      const std::string left = tokens[pick(tokens.size())], right = tokens[pick(tokens.size())];
      if (std::find(tokens.begin(), tokens.end(), left + right) == tokens.end()) {
        tokens.push_back(left + right);
        merges.emplace_back(left, right);
      }
    }
    const Bpe bpe = Parse(Model(merges));
    for (int i = 0; i < 20; ++i) {
      std::string word;
      for (size_t length = 1 + pick(30); word.size() < length;) {
        word += static_cast<char>('a' + pick(3));
      }
      std::vector<std::string> parts;
      for (const int32_t id : Tokenize(bpe, word)) {
        parts.push_back(*bpe.Token(id));
      }
      ASSERT_EQ(parts, SlowMerge(merges, word)) << "round " << round << ", word " << word;
    }
  }
}

TEST(BpeTest, MergesALongWord) {
  const Bpe bpe = Parse(Model({{"a", "b"}, {"ab", "ab"}, {"abab", "abab"}}));
  std::string word;
  for (int i = 0; i < 200'000; ++i) {
    word += "ab";
  }
  EXPECT_EQ(Tokenize(bpe, word), std::vector<int32_t>(50'000, 6));
}

TEST(BpeTest, TakesMergesAsStrings) {
  Json model = Model({{"a", "b"}});
  model["merges"] = {"#version: 0.2", "a b"};
  EXPECT_THAT(Tokenize(Parse(model), "ab"), ElementsAre(4));
}

TEST(BpeTest, IgnoresMergesForAWholeToken) {
  Json model = Model({{"b", "c"}, {"a", "b"}, {"ab", "c"}});
  model["ignore_merges"] = true;
  EXPECT_THAT(Tokenize(Parse(model), "abc"), ElementsAre(6));
}

TEST(BpeTest, UnknownCharacters) {
  Json model = Model({{"a", "b"}});
  std::vector<int32_t> ids;
  const Status status = Parse(model).Tokenize("aé", &ids);
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "text has the character 'é' (U+00E9), which the vocabulary cannot express");

  model["vocab"]["<unk>"] = 5;
  model["unk_token"] = "<unk>";
  EXPECT_THAT(Tokenize(Parse(model), "é日ab日"), ElementsAre(5, 5, 4, 5));
  model["fuse_unk"] = true;
  EXPECT_THAT(Tokenize(Parse(model), "é日ab日"), ElementsAre(5, 4, 5));
  model["byte_fallback"] = true;
  model["vocab"].update({{"<0xC3>", 6}, {"<0xA9>", 7}});
  EXPECT_THAT(Tokenize(Parse(model), "éa日"), ElementsAre(6, 7, 0, 5));
}

TEST(BpeTest, RefusesMalformedModels) {
  const auto with = [](const Json& patch) {
    Json model = Model({{"a", "b"}});
    model.update(patch);
    return model;
  };
  for (const auto& [model, message] :
       {std::pair<Json, const char*>{Json("x"), "'model' is string, expected object"},
        {{{"type", "BPE"}, {"merges", Json::array()}}, "model has no object 'vocab'"},
        {with({{"vocab", {"a"}}}), "model has no object 'vocab'"},
        {with({{"vocab", {{"a", -1}}}}), "'vocab' gives token 'a' the id -1"},
        {with({{"vocab", {{"a", 1 << 22}}}}), "gives token 'a' the id 4194304, expected 0 to 4194303"},
        {with({{"vocab", {{"a", 18446744073709551615u}}}}), "gives token 'a' the id 18446744073709551615"},
        {with({{"vocab", {{"a", "0"}}}}), "gives token 'a' the id \"0\""},
        {with({{"vocab", {{"a", 0}, {"b", 0}}}}), "'vocab' gives the id 0 to 'a' and 'b'"},
        {with({{"merges", nullptr}}), "model has no array 'merges'"},
        {with({{"merges", {"ab"}}}), "merges[0] is \"ab\", expected two tokens"},
        {with({{"merges", {"a b", "a b c"}}}), "merges[1] is \"a b c\", expected two tokens"},
        {with({{"merges", {{"a"}}}}), "merges[0] is [\"a\"], expected two tokens"},
        {with({{"merges", Json::array({Json::array({"a", 1})})}}), "merges[0] is [\"a\",1], expected two tokens"},
        {with({{"merges", {"a z"}}}), "merges[0] joins 'a' and 'z', but 'vocab' has no 'z'"},
        {with({{"merges", {"a c"}}}), "merges[0] joins 'a' and 'c', but 'vocab' has no 'ac'"},
        {with({{"unk_token", "<unk>"}}), "model has 'unk_token' '<unk>', which is not in 'vocab'"}}) {
    const auto bpe = Bpe::Parse(model);
    EXPECT_EQ(bpe.status().code(), StatusCode::kDataLoss) << message;
    EXPECT_THAT(bpe.status().message(), HasSubstr(message));
  }
  for (const auto& [model, message] :
       {std::pair<Json, const char*>{with({{"type", "Unigram"}}), "model has type 'Unigram', expected BPE"},
        {with({{"dropout", 0.1}}), "model has 'dropout' 0.1"},
        {with({{"end_of_word_suffix", "</w>"}}), "model has 'end_of_word_suffix' '</w>'"}}) {
    const auto bpe = Bpe::Parse(model);
    EXPECT_EQ(bpe.status().code(), StatusCode::kUnimplemented);
    EXPECT_THAT(bpe.status().message(), HasSubstr(message));
  }
}

}  // namespace
}  // namespace nemotron::runtime
