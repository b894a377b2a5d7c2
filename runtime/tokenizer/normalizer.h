#ifndef RUNTIME_TOKENIZER_NORMALIZER_H_
#define RUNTIME_TOKENIZER_NORMALIZER_H_

#include <memory>
#include <string>

#include "runtime/base/json.h"
#include "runtime/base/status.h"

namespace nemotron::runtime {

/// Rewrites a text before it is split: `Sequence`, `Prepend`, `Replace`.
class Normalizer {
 public:
  virtual ~Normalizer() = default;

  /// Reads the component "normalizer"; null gives one that changes nothing. kUnimplemented names an unknown type.
  static StatusOr<std::unique_ptr<Normalizer>> Parse(const Json& component);

  /// Rewrites `*text`, which is UTF-8 and stays so.
  virtual Status Apply(std::string* text) const = 0;
};

}  // namespace nemotron::runtime

#endif  // RUNTIME_TOKENIZER_NORMALIZER_H_
