#include "tests/runtime/tokenizer/small_tokenizers.h"

#include <gtest/gtest.h>

#include <stdexcept>

#include "runtime/tokenizer/byte_level.h"
#include "runtime/tokenizer/utf8.h"

namespace nemotron::runtime {
namespace {

Json Template(int bos) {
  return {
      {"type", "TemplateProcessing"},
      {"single", {{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}}, {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}},
      {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {bos}}, {"tokens", {"<s>"}}}}}}};
}

/// The newer form of a merge. (Braces alone would make a list of pairs an object.)
Json Pair(const char* left, const char* right) { return Json::array({left, right}); }

Json Special(int id, const std::string& content) {
  Json token = AddedTokenJson(id, content);
  token["special"] = true;
  return token;
}

}  // namespace

Json AddedTokenJson(int id, const std::string& content) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", false}};
}

Json ByteLevelJson() {
  Json vocab = Json::object();
  for (int byte = 0; byte < 256; ++byte) {
    std::string text;
    AppendUtf8(ByteLevelChar(static_cast<uint8_t>(byte)), &text);
    vocab[text] = byte;
  }
  vocab.update({{"th", 256}, {"the", 257}, {"Ġthe", 258}, {"aa", 259}});
  return {{"version", "1.0"},
          {"added_tokens", {Special(260, "<s>"), Special(261, "</s>")}},
          {"normalizer", nullptr},
          {"pre_tokenizer",
           {{"type", "Sequence"},
            {"pretokenizers",
             {{{"type", "Split"},
               {"pattern", {{"Regex", " ?\\p{L}+|\\s+|[^\\s]"}}},
               {"behavior", "Isolated"},
               {"invert", false}},
              {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}}}}}},
          {"post_processor", Template(260)},
          {"decoder", {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}}},
          {"model",
           {{"type", "BPE"},
            {"vocab", vocab},
            {"merges", Json::array({Pair("t", "h"), Pair("th", "e"), Pair("Ġ", "the"), Pair("a", "a")})}}}};
}

Json LlamaJson() {
  Json vocab = {{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}, {"▁", 259}, {"▁t", 286}, {"he", 287}, {"▁the", 288}};
  for (int byte = 0; byte < 256; ++byte) {
    vocab[fmt::format("<0x{:02X}>", byte)] = 3 + byte;
  }
  for (char c = 'a'; c <= 'z'; ++c) {
    vocab[std::string(1, c)] = 260 + c - 'a';
  }
  return {{"version", "1.0"},
          {"added_tokens", {Special(0, "<unk>"), Special(1, "<s>"), Special(2, "</s>")}},
          {"normalizer",
           {{"type", "Sequence"},
            {"normalizers",
             {{{"type", "Prepend"}, {"prepend", "▁"}},
              {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "▁"}}}}}},
          {"pre_tokenizer", nullptr},
          {"post_processor", Template(1)},
          {"decoder",
           {{"type", "Sequence"},
            {"decoders",
             {{{"type", "Replace"}, {"pattern", {{"String", "▁"}}}, {"content", " "}},
              {{"type", "ByteFallback"}},
              {{"type", "Fuse"}},
              {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}}}}},
          {"model",
           {{"type", "BPE"},
            {"unk_token", "<unk>"},
            {"fuse_unk", true},
            {"byte_fallback", true},
            {"vocab", vocab},
            {"merges", {"▁ t", "h e", "▁t he"}}}}};
}

std::unique_ptr<Tokenizer> MakeTokenizer(const Json& json) {
  auto tokenizer = Tokenizer::Create("tokenizer.json", json.dump());
  if (!tokenizer.ok()) {
    throw std::runtime_error(tokenizer.status().message());  // ends the test at hand
  }
  return std::move(*tokenizer);
}

std::vector<int32_t> Encode(const Tokenizer& tokenizer, std::string_view text) {
  auto ids = tokenizer.Encode(text, /*add_special_tokens=*/false);
  EXPECT_TRUE(ids.ok()) << ids.status().message();
  return ids.ok() ? *ids : std::vector<int32_t>();
}

std::string StreamDecode(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, bool skip_special_tokens) {
  StreamDecoder decoder(tokenizer, skip_special_tokens);
  std::string text;
  const auto take = [&](const std::string& piece) {
    EXPECT_EQ(FindInvalidUtf8(piece), std::string::npos) << "half a character in '" << piece << "'";
    text += piece;
  };
  for (const int32_t id : ids) {
    const auto piece = decoder.Append(id);
    EXPECT_TRUE(piece.ok()) << piece.status().message();
    take(piece.ok() ? *piece : "");
  }
  take(decoder.Flush());
  return text;
}

}  // namespace nemotron::runtime
