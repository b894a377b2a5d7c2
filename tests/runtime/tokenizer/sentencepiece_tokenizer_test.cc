#include "runtime/tokenizer/sentencepiece_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sentencepiece_processor.h>

#include <fstream>
#include <random>

#include "runtime/tokenizer/sentencepiece_model.h"
#include "tests/runtime/tokenizer/small_tokenizers.h"

namespace nemotron::runtime {
namespace {

using testing::HasSubstr;

std::string ModelBytes() {
  std::ifstream file(NEMOTRON_TEST_DATA "/goldens/tokenizers/sentencepiece-bpe.model", std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::unique_ptr<Tokenizer> Make(const std::string& bytes, const TokenizerOptions& options = {}) {
  auto tokenizer = Tokenizer::Create("sentencepiece", bytes, options);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  return tokenizer.ok() ? std::move(*tokenizer) : nullptr;
}

/// A field of a protocol buffer message: a string (wire type 2) or a number (wire type 0).
std::string StringField(int number, const std::string& bytes) {
  std::string field(1, static_cast<char>(number << 3 | 2));
  if (number >= 16) {
    field = {static_cast<char>(((number << 3 | 2) & 0x7F) | 0x80), static_cast<char>(number >> 4)};
  }
  return field + static_cast<char>(bytes.size()) + bytes;
}
std::string NumberField(int number, int value) { return {static_cast<char>(number << 3), static_cast<char>(value)}; }
std::string Piece(const std::string& text, int type) {
  return StringField(1, StringField(1, text) + NumberField(3, type));
}

TEST(SentencePieceTokenizerTest, AddsWhatThePlanSays) {
  const std::string bytes = ModelBytes();
  const std::vector<int32_t> plain = Encode(*Make(bytes), "Hello world");
  EXPECT_EQ(*Make(bytes)->Encode("Hello world", true), plain);
  const auto tokenizer = Make(bytes, {.add_bos = true, .add_eos = true});
  std::vector<int32_t> both = plain;
  both.insert(both.begin(), *tokenizer->TokenId("<s>"));
  both.push_back(*tokenizer->TokenId("</s>"));
  EXPECT_EQ(*tokenizer->Encode("Hello world", true), both);
  EXPECT_EQ(*tokenizer->Encode("Hello world", false), plain);
  EXPECT_EQ(*tokenizer->Decode(both, /*skip_special_tokens=*/true), "Hello world");
}

TEST(SentencePieceTokenizerTest, KnowsItsTokens) {
  const auto tokenizer = Make(ModelBytes());
  const int32_t bos = *tokenizer->TokenId("<s>");
  EXPECT_TRUE(tokenizer->IsSpecial(bos));
  EXPECT_FALSE(tokenizer->IsSpecial(*tokenizer->TokenId("▁the")));
  EXPECT_EQ(*tokenizer->TokenBytes(*tokenizer->TokenId("▁the")), " the");
  EXPECT_EQ(*tokenizer->TokenBytes(*tokenizer->TokenId("<0x0A>")), "\n");
  EXPECT_EQ(*tokenizer->TokenBytes(*tokenizer->TokenId("<0xE6>")), "\xE6");
  EXPECT_EQ(tokenizer->TokenId("no such piece"), std::nullopt);
  for (const int32_t id : {-1, static_cast<int32_t>(tokenizer->vocab_size())}) {
    EXPECT_FALSE(tokenizer->IsSpecial(id));
    EXPECT_EQ(tokenizer->TokenBytes(id).status().code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(tokenizer->Decode(std::vector<int32_t>{id}, false).status().message(),
                HasSubstr(fmt::format("id {} is no token", id)));
  }
}

TEST(SentencePieceTokenizerTest, RefusesTextThatIsNotUtf8) {
  EXPECT_EQ(Make(ModelBytes())->Encode("a\x80", true).status().message(), "text is not UTF-8: byte 1 of 2 is 0x80");
}

// The library decodes whole texts; our stream must give the same, whatever the ids.
TEST(SentencePieceTokenizerTest, StreamEqualsTheLibraryOnRandomIds) {
  const std::string bytes = ModelBytes();
  sentencepiece::SentencePieceProcessor library;
  ASSERT_TRUE(library.LoadFromSerializedProto({bytes.data(), bytes.size()}).ok());
  const auto tokenizer = Make(bytes);
  std::mt19937 random(3);
  std::uniform_int_distribution<int> any(0, library.GetPieceSize() - 1), special(0, 262);
  for (int round = 0; round < 2000; ++round) {
    std::vector<int32_t> ids(round % 12);
    std::generate(ids.begin(), ids.end(), [&] { return round % 3 == 0 ? special(random) : any(random); });
    std::string expected;
    ASSERT_TRUE(library.Decode(std::vector<int>(ids.begin(), ids.end()), &expected).ok());
    EXPECT_EQ(StreamDecode(*tokenizer, ids, /*skip_special_tokens=*/true), expected) << "round " << round;
  }
}

TEST(SentencePieceTokenizerTest, StreamEmitsWholeCharacters) {
  const auto tokenizer = Make(ModelBytes());
  const auto byte = [&](const char* piece) { return *tokenizer->TokenId(piece); };
  StreamDecoder decoder(*tokenizer);
  EXPECT_EQ(*decoder.Append(byte("<0xE6>")), "");
  EXPECT_EQ(*decoder.Append(byte("<0x97>")), "");
  EXPECT_EQ(*decoder.Append(byte("<0xA5>")), "日");
  EXPECT_EQ(*decoder.Append(byte("<0xE6>")), "");
  EXPECT_EQ(*decoder.Append(byte("▁the")), "\uFFFD the");
  EXPECT_EQ(*decoder.Append(byte("<0xE6>")), "");
  EXPECT_EQ(decoder.Flush(), "\uFFFD");
}

TEST(SentencePieceModelTest, ReadsWhatDecodingNeeds) {
  const auto model = ParseSentencePieceModel(Piece("<unk>", 2) + Piece("<s>", 3) + Piece("<0x0A>", 6) + Piece("a", 1) +
                                             StringField(2, StringField(44, "??")) +
                                             StringField(3, NumberField(3, 0) + NumberField(4, 0)));
  ASSERT_TRUE(model.ok()) << model.status().message();
  ASSERT_EQ(model->pieces.size(), 4);
  EXPECT_EQ(model->pieces[1].type, SentencePieceType::kControl);
  EXPECT_EQ(model->pieces[2].byte, '\n');
  EXPECT_EQ(model->unknown_surface, "??");
  EXPECT_FALSE(model->add_dummy_prefix);
  EXPECT_FALSE(model->remove_extra_whitespaces);
}

TEST(SentencePieceModelTest, RefusesMalformedModels) {
  for (const auto& [bytes, message] : {std::pair<std::string, const char*>{"", "model has no pieces"},
                                       {"\x0a", "message ends in the middle of a number"},
                                       {std::string("\x0a\x05") + "a", "message has a field of 5 bytes at byte 2 of 3"},
                                       {"\x0b", "message has wire type 3"},
                                       {Piece("a", 7), "piece 0 has type 7, expected 1 to 6"},
                                       {Piece("", 1), "piece 0 is empty or not UTF-8"},
                                       {Piece("\xff", 1), "piece 0 is empty or not UTF-8"},
                                       {Piece("a", 1) + Piece("a", 1), "piece 1 is 'a', which piece 0 is too"},
                                       {Piece("<0xZZ>", 6), "piece 0 is '<0xZZ>', but its type asks for a byte"},
                                       {Piece("a", 1), "sentencepiece cannot load it"}}) {
    const auto tokenizer = Tokenizer::Create("sentencepiece", bytes);
    EXPECT_EQ(tokenizer.status().code(), StatusCode::kDataLoss) << message;
    EXPECT_THAT(tokenizer.status().message(),
                testing::AllOf(HasSubstr(message), HasSubstr("while reading a SentencePiece")));
  }
  const auto denormalizer = ParseSentencePieceModel(Piece("a", 1) + StringField(5, StringField(2, "rules")));
  EXPECT_EQ(denormalizer.status().code(), StatusCode::kUnimplemented);
}

TEST(SentencePieceModelTest, EveryTruncationIsAnErrorOrAModel) {
  const std::string bytes = ModelBytes();
  for (size_t size = 0; size < bytes.size(); size += 97) {
    const auto model = ParseSentencePieceModel(std::string_view(bytes).substr(0, size));
    if (!model.ok()) {
      EXPECT_EQ(model.status().code(), StatusCode::kDataLoss);
    }
  }
}

TEST(SentencePieceTokenizerTest, RefusesToAddWhatTheModelLacks) {
  const std::string bytes = Piece("<unk>", 2) + Piece("a", 1);
  ASSERT_NE(Make(bytes), nullptr);
  const auto bos = Tokenizer::Create("sentencepiece", bytes, {.add_bos = true});
  EXPECT_EQ(bos.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(bos.status().message(), HasSubstr("BOS is to be added, but the model has none"));
  const auto eos = Tokenizer::Create("sentencepiece", bytes, {.add_eos = true});
  EXPECT_THAT(eos.status().message(), HasSubstr("EOS is to be added, but the model has none"));
}

}  // namespace
}  // namespace nemotron::runtime
