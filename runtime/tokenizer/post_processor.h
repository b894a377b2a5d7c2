#ifndef RUNTIME_TOKENIZER_POST_PROCESSOR_H_
#define RUNTIME_TOKENIZER_POST_PROCESSOR_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "runtime/base/json.h"
#include "runtime/base/status.h"

namespace nemotron::runtime {

/// Puts special tokens round a text: the "single" templates of `TemplateProcessing`, in a `Sequence` or alone.
/// `ByteLevel` only moves offsets, which we do not have.
class PostProcessor {
 public:
  /// Reads the component "post_processor"; null gives one that adds nothing. kUnimplemented names an unknown type,
  /// kDataLoss says which special token of a template is missing or is no token by `is_token`.
  static StatusOr<PostProcessor> Parse(const Json& component, const std::function<bool(int64_t id)>& is_token);

  /// `ids` with the special tokens of the templates.
  std::vector<int32_t> AddSpecialTokens(std::vector<int32_t> ids) const;

 private:
  struct Piece {
    bool is_text;
    std::vector<int32_t> special_ids;  // if not text
  };
  Status ParseTemplate(const Json& component, const std::function<bool(int64_t id)>& is_token);

  std::vector<std::vector<Piece>> templates_;  // applied in order
};

}  // namespace nemotron::runtime

#endif  // RUNTIME_TOKENIZER_POST_PROCESSOR_H_
