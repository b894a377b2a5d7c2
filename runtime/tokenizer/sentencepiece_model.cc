#include "runtime/tokenizer/sentencepiece_model.h"

#include <cctype>
#include <cstdlib>

#include "runtime/tokenizer/utf8.h"

namespace nemotron::runtime {
namespace {

/// A field of a protocol buffer message.
struct Field {
  uint32_t number = 0;
  uint32_t wire_type = 0;
  uint64_t varint = 0;     // of wire type 0
  std::string_view bytes;  // of wire type 2
};

constexpr uint32_t kVarint = 0, kFixed64 = 1, kLengthDelimited = 2, kFixed32 = 5;

/// Reads the fields of a message one after another.
class FieldReader {
 public:
  explicit FieldReader(std::string_view message) : message_(message) {}

  bool done() const { return at_ == message_.size(); }

  Status Next(Field* field) {
    uint64_t tag = 0;
    RETURN_IF_ERROR(Varint(&tag));
    *field = {static_cast<uint32_t>(tag >> 3), static_cast<uint32_t>(tag & 7), 0, {}};
    uint64_t size = 0;
    switch (field->wire_type) {
      case kVarint:
        return Varint(&field->varint);
      case kFixed64:
        size = 8;
        break;
      case kFixed32:
        size = 4;
        break;
      case kLengthDelimited:
        RETURN_IF_ERROR(Varint(&size));
        break;
      default:
        return DataLoss("message has wire type {} at byte {}", field->wire_type, at_);
    }
    if (size > message_.size() - at_) {
      return DataLoss("message has a field of {} bytes at byte {} of {}", size, at_, message_.size());
    }
    field->bytes = message_.substr(at_, size);
    at_ += size;
    return OkStatus();
  }

 private:
  Status Varint(uint64_t* value) {
    *value = 0;
    for (int shift = 0; shift < 64 && at_ < message_.size(); shift += 7) {
      const auto byte = static_cast<uint8_t>(message_[at_++]);
      *value |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) {
        return OkStatus();
      }
    }
    return DataLoss("message ends in the middle of a number at byte {}", at_);
  }

  std::string_view message_;
  size_t at_ = 0;
};

Status ParsePiece(std::string_view message, SentencePieceModel* model) {
  const size_t id = model->pieces.size();
  SentencePiece piece{{}, SentencePieceType::kNormal, 0};
  FieldReader reader(message);
  while (!reader.done()) {
    Field field;
    RETURN_IF_ERROR(reader.Next(&field));
    if (field.number == 1 && field.wire_type == kLengthDelimited) {
      piece.text = field.bytes;
    } else if (field.number == 3 && field.wire_type == kVarint) {
      if (field.varint < 1 || field.varint > 6) {
        return DataLoss("piece {} has type {}, expected 1 to 6", id, field.varint);
      }
      piece.type = static_cast<SentencePieceType>(field.varint);
    }
  }
  if (piece.text.empty() || FindInvalidUtf8(piece.text) != std::string::npos) {
    return DataLoss("piece {} is empty or not UTF-8", id);
  }
  if (piece.type == SentencePieceType::kByte) {
    const std::string& text = piece.text;
    if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>' ||
        std::isxdigit(static_cast<unsigned char>(text[3])) == 0 ||
        std::isxdigit(static_cast<unsigned char>(text[4])) == 0) {
      return DataLoss("piece {} is '{}', but its type asks for a byte such as <0x0A>", id, text);
    }
    piece.byte = static_cast<uint8_t>(std::strtol(text.substr(3, 2).c_str(), nullptr, 16));
  }
  if (!model->ids.emplace(piece.text, static_cast<int32_t>(id)).second) {
    return DataLoss("piece {} is '{}', which piece {} is too", id, piece.text, model->ids.find(piece.text)->second);
  }
  model->pieces.push_back(std::move(piece));
  return OkStatus();
}

/// normalizer_spec and denormalizer_spec are of one type.
Status ParseNormalizer(std::string_view message, bool is_denormalizer, SentencePieceModel* model) {
  FieldReader reader(message);
  while (!reader.done()) {
    Field field;
    RETURN_IF_ERROR(reader.Next(&field));
    if (is_denormalizer) {
      if (field.number == 2 && !field.bytes.empty()) {
        return Unimplemented("model has a denormalizer_spec with rules");
      }
    } else if (field.number == 3 && field.wire_type == kVarint) {
      model->add_dummy_prefix = field.varint != 0;
    } else if (field.number == 4 && field.wire_type == kVarint) {
      model->remove_extra_whitespaces = field.varint != 0;
    }
  }
  return OkStatus();
}

Status ParseTrainer(std::string_view message, SentencePieceModel* model) {
  FieldReader reader(message);
  while (!reader.done()) {
    Field field;
    RETURN_IF_ERROR(reader.Next(&field));
    if (field.number == 44 && field.wire_type == kLengthDelimited) {
      if (FindInvalidUtf8(field.bytes) != std::string_view::npos) {
        return DataLoss("'unk_surface' is not UTF-8");
      }
      model->unknown_surface = field.bytes;
    }
  }
  return OkStatus();
}

}  // namespace

StatusOr<SentencePieceModel> ParseSentencePieceModel(std::string_view bytes) {
  SentencePieceModel model;
  FieldReader reader(bytes);
  while (!reader.done()) {
    Field field;
    RETURN_IF_ERROR(reader.Next(&field));
    if (field.wire_type != kLengthDelimited) {
      continue;
    }
    switch (field.number) {
      case 1:
        if (static_cast<int64_t>(model.pieces.size()) == kMaxTokenId) {
          return DataLoss("model has more than {} pieces", kMaxTokenId);
        }
        RETURN_IF_ERROR(ParsePiece(field.bytes, &model));
        break;
      case 2:
        RETURN_IF_ERROR(ParseTrainer(field.bytes, &model));
        break;
      case 3:
      case 5:
        RETURN_IF_ERROR(ParseNormalizer(field.bytes, /*is_denormalizer=*/field.number == 5, &model));
        break;
      default:
        break;
    }
  }
  if (model.pieces.empty()) {
    return DataLoss("model has no pieces");
  }
  return model;
}

}  // namespace nemotron::runtime
