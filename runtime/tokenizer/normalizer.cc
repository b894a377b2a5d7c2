#include "runtime/tokenizer/normalizer.h"

#include <utility>
#include <vector>

#include "runtime/tokenizer/component.h"
#include "runtime/tokenizer/regex.h"

namespace nemotron::runtime {
namespace {

class SequenceNormalizer final : public Normalizer {
 public:
  explicit SequenceNormalizer(std::vector<std::unique_ptr<Normalizer>> parts) : parts_(std::move(parts)) {}

  Status Apply(std::string* text) const override {
    for (const auto& part : parts_) {
      RETURN_IF_ERROR(part->Apply(text));
    }
    return OkStatus();
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> parts_;
};

class PrependNormalizer final : public Normalizer {
 public:
  explicit PrependNormalizer(std::string prefix) : prefix_(std::move(prefix)) {}

  Status Apply(std::string* text) const override {
    if (!text->empty()) {
      text->insert(0, prefix_);
    }
    return OkStatus();
  }

 private:
  std::string prefix_;
};

class ReplaceNormalizer final : public Normalizer {
 public:
  ReplaceNormalizer(Regex pattern, std::string content) : pattern_(std::move(pattern)), content_(std::move(content)) {}

  Status Apply(std::string* text) const override {
    std::vector<TextRange> matches;
    RETURN_IF_ERROR(pattern_.FindAll(*text, &matches));
    if (matches.empty()) {
      return OkStatus();
    }
    std::string result;
    size_t copied = 0;
    for (const TextRange& match : matches) {
      result.append(*text, copied, match.begin - copied);
      result += content_;
      copied = match.end;
    }
    result.append(*text, copied);
    *text = std::move(result);
    return OkStatus();
  }

 private:
  Regex pattern_;
  std::string content_;
};

}  // namespace

StatusOr<std::unique_ptr<Normalizer>> Normalizer::Parse(const Json& component) {
  std::vector<std::unique_ptr<Normalizer>> parts;
  if (component.is_null()) {
    return std::make_unique<SequenceNormalizer>(std::move(parts));
  }
  ASSIGN_OR_RETURN(const std::string type, ComponentType(component, "normalizer"));
  const std::string where = fmt::format("normalizer '{}'", type);
  if (type == "Sequence") {
    ASSIGN_OR_RETURN(const Json* children, RequiredArray(component, where, "normalizers"));
    for (const Json& child : *children) {
      ASSIGN_OR_RETURN(auto part, Parse(child));
      parts.push_back(std::move(part));
    }
    return std::make_unique<SequenceNormalizer>(std::move(parts));
  }
  if (type == "Prepend") {
    ASSIGN_OR_RETURN(std::string prefix, RequiredString(component, where, "prepend"));
    return std::make_unique<PrependNormalizer>(std::move(prefix));
  }
  if (type == "Replace") {
    ASSIGN_OR_RETURN(Regex pattern, RequiredPattern(component, where));
    ASSIGN_OR_RETURN(std::string content, RequiredString(component, where, "content"));
    return std::make_unique<ReplaceNormalizer>(std::move(pattern), std::move(content));
  }
  return Unimplemented("normalizer has type '{}', expected Sequence, Prepend or Replace", type);
}

}  // namespace nemotron::runtime
