#include "runtime/tokenizer/sentencepiece_tokenizer.h"

#include <sentencepiece_processor.h>

#include <exception>
#include <utility>

#include "runtime/tokenizer/sentencepiece_model.h"
#include "runtime/tokenizer/utf8.h"

namespace nemotron::runtime {
namespace {

constexpr std::string_view kSpace = "\xE2\x96\x81";  // U+2581

std::string ReplaceSpaces(std::string_view piece) {
  std::string text;
  for (size_t at = 0; at < piece.size();) {
    if (piece.substr(at).starts_with(kSpace)) {
      text += ' ';
      at += kSpace.size();
    } else {
      text += piece[at++];
    }
  }
  return text;
}

class SentencePieceTokenizer final : public Tokenizer {
 public:
  SentencePieceTokenizer(std::unique_ptr<sentencepiece::SentencePieceProcessor> processor, SentencePieceModel model,
                         const TokenizerOptions& options)
      : processor_(std::move(processor)), model_(std::move(model)), options_(options) {}

  StatusOr<std::vector<int32_t>> Encode(std::string_view text, bool add_special_tokens) const override;
  std::unique_ptr<TokenStream> NewStream(bool skip_special_tokens) const override;
  int64_t vocab_size() const override { return static_cast<int64_t>(model_.pieces.size()); }
  bool IsSpecial(int32_t id) const override { return IsToken(id) && Piece(id).type == SentencePieceType::kControl; }
  StatusOr<std::string> TokenBytes(int32_t id) const override;
  std::optional<int32_t> TokenId(std::string_view content) const override {
    const auto found = model_.ids.find(content);
    return found == model_.ids.end() ? std::nullopt : std::optional(found->second);
  }

  const SentencePieceModel& model() const { return model_; }
  Status CheckId(int32_t id) const {
    return IsToken(id) ? OkStatus()
                       : InvalidArgument("id {} is no token, the vocabulary has ids 0 to {}", id, vocab_size() - 1);
  }

 private:
  bool IsToken(int32_t id) const { return id >= 0 && id < vocab_size(); }
  const SentencePiece& Piece(int32_t id) const { return model_.pieces[id]; }

  std::unique_ptr<sentencepiece::SentencePieceProcessor> processor_;
  SentencePieceModel model_;
  TokenizerOptions options_;
};

/// Does piece by piece what SentencePieceProcessor::Decode does with all of them: spaces at the start of the text are
/// dropped as the normalizer put them there, byte pieces join to characters.
class SentencePieceStream final : public TokenStream {
 public:
  SentencePieceStream(const SentencePieceTokenizer& tokenizer, bool skip_special_tokens)
      : tokenizer_(tokenizer), skip_special_tokens_(skip_special_tokens) {}

  StatusOr<std::string> Append(int32_t id) override {
    RETURN_IF_ERROR(tokenizer_.CheckId(id));
    const SentencePiece& piece = tokenizer_.model().pieces[id];
    std::string text;
    if (piece.type == SentencePieceType::kByte) {
      pending_ += static_cast<char>(piece.byte);
      DrainUtf8(&pending_, Utf8Repair::kPerByte, /*at_end=*/false, &text);
    } else {
      DrainUtf8(&pending_, Utf8Repair::kPerByte, /*at_end=*/true, &text);
      at_start_ &= text.empty();
      text += Surface(piece);
    }
    at_start_ &= text.empty();
    return text;
  }

  std::string Flush() override {
    std::string text;
    DrainUtf8(&pending_, Utf8Repair::kPerByte, /*at_end=*/true, &text);
    at_start_ = true;
    return text;
  }

 private:
  std::string Surface(const SentencePiece& piece) {
    const SentencePieceModel& model = tokenizer_.model();
    if (piece.type == SentencePieceType::kControl) {
      return skip_special_tokens_ ? "" : piece.text;
    }
    if (piece.type == SentencePieceType::kUnknown) {
      return model.unknown_surface;
    }
    std::string_view text = piece.text;
    if (at_start_ && (model.add_dummy_prefix || model.remove_extra_whitespaces) && text.starts_with(kSpace)) {
      text.remove_prefix(kSpace.size());
      // The dummy prefix is one space; extra white space is dropped up to the first text.
      at_start_ = model.remove_extra_whitespaces;
    }
    return ReplaceSpaces(text);
  }

  const SentencePieceTokenizer& tokenizer_;
  bool skip_special_tokens_;
  bool at_start_ = true;
  std::string pending_;  // bytes of an incomplete character
};

StatusOr<std::vector<int32_t>> SentencePieceTokenizer::Encode(std::string_view text, bool add_special_tokens) const {
  if (const size_t bad = FindInvalidUtf8(text); bad != std::string_view::npos) {
    return InvalidArgument("text is not UTF-8: byte {} of {} is 0x{:02X}", bad, text.size(),
                           static_cast<uint8_t>(text[bad]));
  }
  std::vector<int32_t> ids;
  try {
    std::vector<int> encoded;
    const auto status = processor_->Encode({text.data(), text.size()}, &encoded);
    if (!status.ok()) {
      return Error(StatusCode::kInternal, "sentencepiece cannot encode a text of {} bytes: {}", text.size(),
                   status.ToString());
    }
    ids.assign(encoded.begin(), encoded.end());
  } catch (const std::exception& error) {
    return Error(StatusCode::kInternal, "sentencepiece cannot encode a text of {} bytes: {}", text.size(),
                 error.what());
  }
  if (add_special_tokens && options_.add_bos) {
    ids.insert(ids.begin(), processor_->bos_id());
  }
  if (add_special_tokens && options_.add_eos) {
    ids.push_back(processor_->eos_id());
  }
  return ids;
}

std::unique_ptr<TokenStream> SentencePieceTokenizer::NewStream(bool skip_special_tokens) const {
  return std::make_unique<SentencePieceStream>(*this, skip_special_tokens);
}

StatusOr<std::string> SentencePieceTokenizer::TokenBytes(int32_t id) const {
  RETURN_IF_ERROR(CheckId(id));
  const SentencePiece& piece = Piece(id);
  switch (piece.type) {
    case SentencePieceType::kByte:
      return std::string(1, static_cast<char>(piece.byte));
    case SentencePieceType::kUnknown:
      return model_.unknown_surface;
    case SentencePieceType::kControl:
      return piece.text;
    default:
      return ReplaceSpaces(piece.text);
  }
}

StatusOr<std::unique_ptr<Tokenizer>> Build(std::string_view bytes, const TokenizerOptions& options) {
  ASSIGN_OR_RETURN(SentencePieceModel model, ParseSentencePieceModel(bytes));
  auto processor = std::make_unique<sentencepiece::SentencePieceProcessor>();
  try {
    const auto status = processor->LoadFromSerializedProto({bytes.data(), bytes.size()});
    if (!status.ok()) {
      return DataLoss("sentencepiece cannot load it: {}", status.ToString());
    }
  } catch (const std::exception& error) {
    return DataLoss("sentencepiece cannot load it: {}", error.what());
  }
  if (processor->GetPieceSize() != static_cast<int>(model.pieces.size())) {
    return DataLoss("sentencepiece counts {} pieces, expected {}", processor->GetPieceSize(), model.pieces.size());
  }
  if (options.add_bos && processor->bos_id() < 0) {
    return InvalidArgument("BOS is to be added, but the model has none");
  }
  if (options.add_eos && processor->eos_id() < 0) {
    return InvalidArgument("EOS is to be added, but the model has none");
  }
  return std::make_unique<SentencePieceTokenizer>(std::move(processor), std::move(model), options);
}

}  // namespace

StatusOr<std::unique_ptr<Tokenizer>> CreateSentencePieceTokenizer(std::string_view model,
                                                                  const TokenizerOptions& options) {
  auto tokenizer = Build(model, options);
  if (!tokenizer.ok()) {
    return std::move(tokenizer).status().WithContext("while reading a SentencePiece model");
  }
  return tokenizer;
}

}  // namespace nemotron::runtime
