#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "tests/runtime/tokenizer/small_tokenizers.h"

namespace nemotron::runtime {
namespace {

using testing::AllOf;
using testing::HasSubstr;

/// A good tokenizer.json with one value changed.
struct Change {
  const char* pointer;  // JSON pointer
  const char* value;
  const char* message;
  StatusCode code = StatusCode::kDataLoss;
};

class ChangedTokenizerTest : public testing::TestWithParam<Change> {};

TEST_P(ChangedTokenizerTest, IsRefusedByName) {
  Json json =
      std::string_view(GetParam().message).find("decoder") == std::string_view::npos ? ByteLevelJson() : LlamaJson();
  json[Json::json_pointer(GetParam().pointer)] = Json::parse(GetParam().value);
  const auto tokenizer = Tokenizer::Create("tokenizer.json", json.dump());
  ASSERT_FALSE(tokenizer.ok());
  EXPECT_EQ(tokenizer.status().code(), GetParam().code) << tokenizer.status().message();
  EXPECT_THAT(tokenizer.status().message(),
              AllOf(HasSubstr(GetParam().message), HasSubstr("while reading tokenizer.json")));
}

constexpr StatusCode kUnknown = StatusCode::kUnimplemented;

INSTANTIATE_TEST_SUITE_P(
    All, ChangedTokenizerTest,
    testing::Values(
        Change{"/model", "null", "'model' is null, expected object"},
        Change{"/model/type", "\"WordPiece\"", "model has type 'WordPiece'", kUnknown},
        Change{"/model/vocab", "{}", "merges[0] joins 't' and 'h', but 'vocab' has no 't'"},
        Change{"/normalizer", R"({"type": "NFC"})", "normalizer has type 'NFC'", kUnknown},
        Change{"/normalizer", R"({"type": "Sequence", "normalizers": [{"type": "Precompiled"}]})", "'Precompiled'",
               kUnknown},
        Change{"/normalizer", R"({"type": "Prepend"})", "normalizer 'Prepend' has no 'prepend'"},
        Change{"/normalizer", R"({"type": "Replace", "pattern": {"Regex": "["}, "content": ""})",
               "regular expression '['"},
        Change{"/normalizer", "[]", "normalizer is array, expected object"},
        Change{"/pre_tokenizer", R"({"type": "BertPreTokenizer"})", "pre_tokenizer has type 'BertPreTokenizer'",
               kUnknown},
        Change{"/post_processor", R"({"type": "BertProcessing"})", "post_processor has type 'BertProcessing'",
               kUnknown},
        Change{"/post_processor", R"({"type": "TemplateProcessing"})", "'TemplateProcessing' has no 'single'"},
        Change{"/post_processor/special_tokens", "{}", "uses '<s>', which is not in its 'special_tokens'"},
        Change{"/post_processor/special_tokens/<s>/ids", "[999]", "gives '<s>' the id 999, which is no token"},
        Change{"/post_processor/special_tokens/<s>/ids", "[-1]", "gives '<s>' the id -1"},
        Change{"/post_processor/special_tokens/<s>/ids", "[1e30]", "which is no token"},
        Change{"/post_processor/special_tokens/<s>/ids", "null", "'ids' of special token '<s>' is null"},
        Change{"/post_processor/single", "[]", "has the text 0 times, expected once"},
        Change{"/post_processor/single/1", "3", "has a piece 3"},
        Change{"/post_processor/single/1", R"({"Sequence": {"id": "B"}})", "has a piece Sequence 'B'"},
        Change{"/post_processor/single/1", R"({"Sequence": null})", "has no 'id'"},
        Change{"/decoder", R"({"type": "WordPiece"})", "decoder has type 'WordPiece'", kUnknown},
        Change{"/decoder/decoders/0", R"({"type": "CTC"})", "decoder has type 'CTC'", kUnknown},
        Change{"/decoder/decoders/0", R"({"type": "Fuse"})", "decoder 'ByteFallback' stands after 'Fuse'", kUnknown},
        Change{"/decoder/decoders/2", R"({"type": "ByteLevel"})", "decoder 'ByteLevel' stands after", kUnknown},
        Change{"/decoder/decoders/2", R"({"type": "Strip", "content": " ", "start": 1})",
               "decoder 'Strip' does not stand once", kUnknown},
        Change{"/decoder/decoders/3/stop", "1", "decoder 'Strip' strips 1 characters from the start and 1", kUnknown},
        Change{"/decoder/decoders/3/content", "\"  \"", "'content' of decoder 'Strip' is '  ', expected one character"},
        Change{"/added_tokens", "{}", "'added_tokens' is object, expected array"},
        Change{"/added_tokens/0", "1", "added_tokens[0] is number, expected object"},
        Change{"/added_tokens/0/id", "null", "added_tokens[0] has the id -1"},
        Change{"/added_tokens/0/id", "4194304", "added_tokens[0] has the id 4194304, expected 0 to 4194303"},
        Change{"/added_tokens/0/id", "5", "added_tokens[0] gives the id 5 to '<s>', which 'vocab' gives to"},
        Change{"/added_tokens/0/id", "261",
               "added_tokens[1] gives the id 261 to '</s>', which an entry before gives to '<s>'"},
        Change{"/added_tokens/0/content", "\"the\"",
               "added_tokens[0] gives 'the' the id 260, but 'vocab' gives it 257"},
        Change{"/added_tokens/0/content", "\"</s>\"", "added_tokens[1] gives '</s>' a second id, 261"},
        Change{"/added_tokens/0/content", "7", "'content' of added_tokens[0] is number"},
        Change{"/added_tokens/0/lstrip", "7", "'lstrip' is 7, expected true or false", StatusCode::kInvalidArgument}));

TEST(TokenizerTest, RefusesWhatIsNoTokenizerJson) {
  for (const auto& [text, message] : {std::pair{"", "JSON is malformed"},
                                      {"[]", "there is no 'model'"},
                                      {"{}", "there is no 'model'"},
                                      {"{\"model\": {", "JSON is malformed"}}) {
    const auto tokenizer = Tokenizer::Create("tokenizer.json", text);
    EXPECT_EQ(tokenizer.status().code(), StatusCode::kDataLoss);
    EXPECT_THAT(tokenizer.status().message(), HasSubstr(message));
  }
}

TEST(TokenizerTest, RefusesAnUnknownKind) {
  const auto tokenizer = Tokenizer::Create("runes", "");
  EXPECT_EQ(tokenizer.status().code(), StatusCode::kUnimplemented);
  EXPECT_EQ(tokenizer.status().message(), "tokenizer kind is 'runes', expected 'tokenizer.json' or 'sentencepiece'");
}

TEST(TokenizerTest, ReportsASplitPatternThatBacktracksWithoutEnd) {
  Json json = ByteLevelJson();
  json["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {{"Regex", "(a+)+$"}};
  const auto ids = MakeTokenizer(json)->Encode(std::string(5000, 'a') + "b", true);
  EXPECT_EQ(ids.status().code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(ids.status().message(), HasSubstr("'(a+)+$'"));
}

TEST(TokenizerTest, DamagedBytesNeverCrash) {
  std::mt19937 random(11);
  for (const Json& json : {ByteLevelJson(), LlamaJson()}) {
    const std::string good = json.dump();
    for (int round = 0; round < 500; ++round) {
      std::string bad = good;
      const auto any = [&](size_t count) { return std::uniform_int_distribution<size_t>(0, count - 1)(random); };
      if (round % 5 == 0) {
        bad.resize(any(bad.size()));
      } else {
        bad[any(bad.size())] = static_cast<char>(any(256));
      }
      const auto tokenizer = Tokenizer::Create("tokenizer.json", bad);
      if (tokenizer.ok()) {
        (void)(*tokenizer)->Encode("the é <s>", true);
      }
    }
  }
}

}  // namespace
}  // namespace nemotron::runtime
