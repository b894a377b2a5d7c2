#include "runtime/tokenizer/json_tokenizer.h"

#include <algorithm>
#include <utility>

#include "runtime/base/json.h"
#include "runtime/tokenizer/added_tokens.h"
#include "runtime/tokenizer/bpe.h"
#include "runtime/tokenizer/decoder.h"
#include "runtime/tokenizer/normalizer.h"
#include "runtime/tokenizer/post_processor.h"
#include "runtime/tokenizer/pre_tokenizer.h"
#include "runtime/tokenizer/utf8.h"

namespace nemotron::runtime {
namespace {

struct Components {
  Bpe model;
  std::unique_ptr<Normalizer> normalizer;
  AddedTokens added;
  std::unique_ptr<PreTokenizer> pre_tokenizer;
  PostProcessor post_processor;
  Decoder decoder;
};

class JsonTokenizer final : public Tokenizer {
 public:
  explicit JsonTokenizer(Components components) : c_(std::move(components)) {}

  StatusOr<std::vector<int32_t>> Encode(std::string_view text, bool add_special_tokens) const override;
  std::unique_ptr<TokenStream> NewStream(bool skip_special_tokens) const override;
  int64_t vocab_size() const override { return std::max(c_.model.size(), c_.added.size()); }
  bool IsSpecial(int32_t id) const override {
    const AddedToken* token = c_.added.Find(id);
    return token != nullptr && token->special;
  }
  StatusOr<std::string> TokenBytes(int32_t id) const override;
  std::optional<int32_t> TokenId(std::string_view content) const override {
    const std::optional<int32_t> added = c_.added.Id(content);
    return added ? added : c_.model.Id(content);
  }

  const Decoder& decoder() const { return c_.decoder; }
  /// The token as the decoder reads it.
  StatusOr<std::string_view> Spelling(int32_t id) const;

 private:
  /// `at_start`: nothing stands before `text`.
  Status EncodeText(std::string_view text, bool at_start, std::vector<int32_t>* ids) const;

  Components c_;
};

class JsonTokenStream final : public TokenStream {
 public:
  JsonTokenStream(const JsonTokenizer& tokenizer, bool skip_special_tokens)
      : tokenizer_(tokenizer), skip_special_tokens_(skip_special_tokens), state_(tokenizer.decoder().Start()) {}

  StatusOr<std::string> Append(int32_t id) override {
    ASSIGN_OR_RETURN(const std::string_view spelling, tokenizer_.Spelling(id));
    if (skip_special_tokens_ && tokenizer_.IsSpecial(id)) {
      return std::string();
    }
    return tokenizer_.decoder().Append(spelling, &state_);
  }
  std::string Flush() override { return tokenizer_.decoder().Flush(&state_); }

 private:
  const JsonTokenizer& tokenizer_;
  bool skip_special_tokens_;
  Decoder::State state_;
};

StatusOr<std::string_view> JsonTokenizer::Spelling(int32_t id) const {
  if (const AddedToken* token = c_.added.Find(id)) {
    return std::string_view(token->spelling);
  }
  if (const std::string* token = c_.model.Token(id)) {
    return std::string_view(*token);
  }
  return InvalidArgument("id {} is no token, the vocabulary has ids 0 to {}{}", id, vocab_size() - 1,
                         id >= 0 && id < vocab_size() ? " with gaps" : "");
}

StatusOr<std::vector<int32_t>> JsonTokenizer::Encode(std::string_view text, bool add_special_tokens) const {
  if (const size_t bad = FindInvalidUtf8(text); bad != std::string_view::npos) {
    return InvalidArgument("text is not UTF-8: byte {} of {} is 0x{:02X}", bad, text.size(),
                           static_cast<uint8_t>(text[bad]));
  }
  std::vector<int32_t> ids;
  for (const AddedTokens::Part& raw : c_.added.SplitRaw(text)) {
    if (raw.id >= 0) {
      ids.push_back(raw.id);
      continue;
    }
    std::string normalized(text.substr(raw.range.begin, raw.range.end - raw.range.begin));
    RETURN_IF_ERROR(c_.normalizer->Apply(&normalized));
    for (const AddedTokens::Part& part : c_.added.SplitNormalized(normalized)) {
      if (part.id >= 0) {
        ids.push_back(part.id);
        continue;
      }
      RETURN_IF_ERROR(
          EncodeText(std::string_view(normalized).substr(part.range.begin, part.range.end - part.range.begin),
                     raw.range.begin == 0 && part.range.begin == 0, &ids));
    }
  }
  return add_special_tokens ? c_.post_processor.AddSpecialTokens(std::move(ids)) : std::move(ids);
}

Status JsonTokenizer::EncodeText(std::string_view text, bool at_start, std::vector<int32_t>* ids) const {
  SplitText split{std::string(text), {{0, text.size()}}, at_start};
  RETURN_IF_ERROR(c_.pre_tokenizer->Apply(&split));
  for (const TextRange& piece : split.pieces) {
    RETURN_IF_ERROR(c_.model.Tokenize(split.Piece(piece), ids));
  }
  return OkStatus();
}

std::unique_ptr<TokenStream> JsonTokenizer::NewStream(bool skip_special_tokens) const {
  return std::make_unique<JsonTokenStream>(*this, skip_special_tokens);
}

StatusOr<std::string> JsonTokenizer::TokenBytes(int32_t id) const {
  ASSIGN_OR_RETURN(const std::string_view spelling, Spelling(id));
  return c_.decoder.TokenBytes(spelling);
}

const Json& Field(const Json& root, const char* key) {
  static const Json kNull;
  const auto found = root.find(key);
  return found == root.end() ? kNull : *found;
}

StatusOr<std::unique_ptr<Tokenizer>> Build(std::string_view text) {
  ASSIGN_OR_RETURN(const Json root, ParseJson(text));
  if (!root.is_object() || !root.contains("model")) {
    return DataLoss("there is no 'model'");
  }
  ASSIGN_OR_RETURN(Bpe model, Bpe::Parse(root["model"]));
  ASSIGN_OR_RETURN(auto normalizer, Normalizer::Parse(Field(root, "normalizer")));
  ASSIGN_OR_RETURN(AddedTokens added, AddedTokens::Parse(Field(root, "added_tokens"), model, *normalizer));
  ASSIGN_OR_RETURN(auto pre_tokenizer, PreTokenizer::Parse(Field(root, "pre_tokenizer")));
  const auto is_token = [&](int64_t id) {
    return id >= 0 && id < kMaxTokenId &&
           (model.Token(static_cast<int32_t>(id)) != nullptr || added.Find(static_cast<int32_t>(id)) != nullptr);
  };
  ASSIGN_OR_RETURN(PostProcessor post_processor, PostProcessor::Parse(Field(root, "post_processor"), is_token));
  ASSIGN_OR_RETURN(Decoder decoder, Decoder::Parse(Field(root, "decoder")));
  return std::make_unique<JsonTokenizer>(Components{std::move(model), std::move(normalizer), std::move(added),
                                                    std::move(pre_tokenizer), std::move(post_processor),
                                                    std::move(decoder)});
}

}  // namespace

StatusOr<std::unique_ptr<Tokenizer>> CreateJsonTokenizer(std::string_view text) {
  auto tokenizer = Build(text);
  if (!tokenizer.ok()) {
    return std::move(tokenizer).status().WithContext("while reading tokenizer.json");
  }
  return tokenizer;
}

}  // namespace nemotron::runtime
