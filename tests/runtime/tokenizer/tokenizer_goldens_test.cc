// Ids and texts that the `tokenizers` and `sentencepiece` libraries computed: tests/data/goldens/README.md.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "runtime/base/json.h"
#include "runtime/tokenizer/tokenizer.h"
#include "tests/runtime/tokenizer/small_tokenizers.h"

namespace nemotron::runtime {
namespace {

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

struct GoldenFile {
  const char* kind;
  const char* data;
  const char* golden;
};

class TokenizerGoldenTest : public testing::TestWithParam<GoldenFile> {
 protected:
  void SetUp() override {
    const std::string folder = NEMOTRON_TEST_DATA "/";
    auto tokenizer = Tokenizer::Create(GetParam().kind, ReadFile(folder + GetParam().data));
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
    tokenizer_ = std::move(*tokenizer);
    auto golden = ReadJsonFile(folder + GetParam().golden);
    ASSERT_TRUE(golden.ok()) << golden.status().message();
    golden_ = std::move(*golden);
    ASSERT_GT(golden_.size(), 200);
  }

  std::unique_ptr<Tokenizer> tokenizer_;
  Json golden_;
};

TEST_P(TokenizerGoldenTest, IdsAreEqual) {
  for (const Json& entry : golden_) {
    const auto& text = entry["text"].get_ref<const std::string&>();
    const auto ids = tokenizer_->Encode(text, /*add_special_tokens=*/true);
    ASSERT_TRUE(ids.ok()) << ids.status().message();
    EXPECT_EQ(*ids, entry["ids"].get<std::vector<int32_t>>()) << text;
    const Json& plain = entry.contains("ids_no_special") ? entry["ids_no_special"] : entry["ids"];
    EXPECT_EQ(Encode(*tokenizer_, text), plain.get<std::vector<int32_t>>()) << text;
  }
}

TEST_P(TokenizerGoldenTest, TextsAreEqualWholeAndStreamed) {
  for (const Json& entry : golden_) {
    const auto ids = entry["ids"].get<std::vector<int32_t>>();
    const auto& decoded = entry["decoded"].get_ref<const std::string&>();
    const auto whole = tokenizer_->Decode(ids, /*skip_special_tokens=*/false);
    ASSERT_TRUE(whole.ok()) << whole.status().message();
    EXPECT_EQ(*whole, decoded);
    EXPECT_EQ(StreamDecode(*tokenizer_, ids, /*skip_special_tokens=*/false), decoded);
    const auto skipped = tokenizer_->Decode(ids, /*skip_special_tokens=*/true);
    ASSERT_TRUE(skipped.ok());
    EXPECT_EQ(StreamDecode(*tokenizer_, ids, /*skip_special_tokens=*/true), *skipped);
  }
}

INSTANTIATE_TEST_SUITE_P(All, TokenizerGoldenTest,
                         testing::Values(GoldenFile{"tokenizer.json", "goldens/tokenizers/byte-level-bpe.json",
                                                    "goldens/tokenizers/byte-level-bpe.golden.json"},
                                         GoldenFile{"tokenizer.json", "models/nemotron-h-tiny/tokenizer.json",
                                                    "goldens/tokenizers/byte-level-bpe.golden.json"},
                                         GoldenFile{"sentencepiece", "goldens/tokenizers/sentencepiece-bpe.model",
                                                    "goldens/tokenizers/sentencepiece-bpe.golden.json"}));

TEST(HeldOutTextTest, RoundTrips) {
  const std::string folder = NEMOTRON_TEST_DATA "/models/nemotron-h-tiny/";
  const std::string text = ReadFile(folder + "heldout.txt");
  auto tokenizer = Tokenizer::Create("tokenizer.json", ReadFile(folder + "tokenizer.json"));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  const std::vector<int32_t> ids = Encode(**tokenizer, text);
  EXPECT_LT(ids.size(), text.size() / 2);
  const auto decoded = (*tokenizer)->Decode(ids, /*skip_special_tokens=*/true);
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(*decoded, text);
}

}  // namespace
}  // namespace nemotron::runtime
