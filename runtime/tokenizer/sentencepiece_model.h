#ifndef RUNTIME_TOKENIZER_SENTENCEPIECE_MODEL_H_
#define RUNTIME_TOKENIZER_SENTENCEPIECE_MODEL_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/status.h"
#include "runtime/tokenizer/bpe.h"

namespace nemotron::runtime {

/// The values are those of ModelProto.SentencePiece.Type.
enum class SentencePieceType { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

struct SentencePiece {
  std::string text;
  SentencePieceType type;
  uint8_t byte;  ///< if of type kByte
};

/// What decoding needs of a SentencePiece ModelProto. The library decodes whole texts only and does not install the
/// proto's header, so these fields are read from its wire format.
struct SentencePieceModel {
  std::vector<SentencePiece> pieces;               ///< by id
  TokenMap ids;                                    ///< of pieces, by text
  std::string unknown_surface = " \xE2\x81\x87 ";  ///< what an unknown piece is shown as: trainer_spec.unk_surface
  bool add_dummy_prefix = true;                    ///< normalizer_spec
  bool remove_extra_whitespaces = true;            ///< normalizer_spec
};

/// Reads a serialized ModelProto. kDataLoss if it is malformed or a piece is not as its type asks; kUnimplemented if it
/// has rules to denormalize (no published model does).
StatusOr<SentencePieceModel> ParseSentencePieceModel(std::string_view bytes);

}  // namespace nemotron::runtime

#endif  // RUNTIME_TOKENIZER_SENTENCEPIECE_MODEL_H_
