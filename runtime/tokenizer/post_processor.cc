#include "runtime/tokenizer/post_processor.h"

#include <iterator>
#include <string>

#include "runtime/tokenizer/component.h"

namespace nemotron::runtime {
namespace {

constexpr std::string_view kTemplate = "post_processor 'TemplateProcessing'";

/// The ids that "special_tokens" gives to a name.
StatusOr<std::vector<int32_t>> SpecialIds(const Json& component, const std::string& name,
                                          const std::function<bool(int64_t id)>& is_token) {
  const Json* special = nullptr;
  if (const auto table = component.find("special_tokens"); table != component.end() && table->is_object()) {
    const auto entry = table->find(name);
    special = entry == table->end() ? nullptr : &*entry;
  }
  if (special == nullptr) {
    return DataLoss("{} uses '{}', which is not in its 'special_tokens'", kTemplate, name);
  }
  ASSIGN_OR_RETURN(const Json* values, RequiredArray(*special, fmt::format("special token '{}'", name), "ids"));
  std::vector<int32_t> ids;
  for (const Json& value : *values) {
    if (!value.is_number_integer() || !is_token(value.get<int64_t>())) {
      return DataLoss("{} gives '{}' the id {}, which is no token", kTemplate, name, value.dump(-1, ' ', true));
    }
    ids.push_back(value.get<int32_t>());
  }
  return ids;
}

}  // namespace

StatusOr<PostProcessor> PostProcessor::Parse(const Json& component, const std::function<bool(int64_t id)>& is_token) {
  PostProcessor result;
  if (component.is_null()) {
    return result;
  }
  ASSIGN_OR_RETURN(const std::string type, ComponentType(component, "post_processor"));
  if (type == "Sequence") {
    ASSIGN_OR_RETURN(const Json* children, RequiredArray(component, "post_processor 'Sequence'", "processors"));
    for (const Json& child : *children) {
      ASSIGN_OR_RETURN(PostProcessor part, Parse(child, is_token));
      std::move(part.templates_.begin(), part.templates_.end(), std::back_inserter(result.templates_));
    }
    return result;
  }
  if (type == "ByteLevel") {
    return result;
  }
  if (type == "TemplateProcessing") {
    RETURN_IF_ERROR(result.ParseTemplate(component, is_token));
    return result;
  }
  return Unimplemented("post_processor has type '{}', expected Sequence, ByteLevel or TemplateProcessing", type);
}

Status PostProcessor::ParseTemplate(const Json& component, const std::function<bool(int64_t id)>& is_token) {
  ASSIGN_OR_RETURN(const Json* single, RequiredArray(component, kTemplate, "single"));
  std::vector<Piece> pieces;
  int num_texts = 0;
  for (const Json& entry : *single) {
    if (!entry.is_object() || entry.size() != 1) {
      return DataLoss("'single' of {} has a piece {}, expected an object of one key", kTemplate,
                      entry.dump(-1, ' ', true).substr(0, 100));
    }
    const std::string kind = entry.begin().key();
    ASSIGN_OR_RETURN(const std::string id,
                     RequiredString(entry.begin().value(), "a piece of " + std::string(kTemplate), "id"));
    if (kind == "Sequence" && id == "A") {
      pieces.push_back({true, {}});
      ++num_texts;
    } else if (kind == "SpecialToken") {
      ASSIGN_OR_RETURN(std::vector<int32_t> ids, SpecialIds(component, id, is_token));
      pieces.push_back({false, std::move(ids)});
    } else {
      return DataLoss("'single' of {} has a piece {} '{}', expected Sequence 'A' or a SpecialToken", kTemplate, kind,
                      id);
    }
  }
  if (num_texts != 1) {
    return DataLoss("'single' of {} has the text {} times, expected once", kTemplate, num_texts);
  }
  templates_.push_back(std::move(pieces));
  return OkStatus();
}

std::vector<int32_t> PostProcessor::AddSpecialTokens(std::vector<int32_t> ids) const {
  for (const std::vector<Piece>& pieces : templates_) {
    std::vector<int32_t> result;
    for (const Piece& piece : pieces) {
      const std::vector<int32_t>& part = piece.is_text ? ids : piece.special_ids;
      result.insert(result.end(), part.begin(), part.end());
    }
    ids = std::move(result);
  }
  return ids;
}

}  // namespace nemotron::runtime
