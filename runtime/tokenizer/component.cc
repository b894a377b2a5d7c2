#include "runtime/tokenizer/component.h"

namespace nemotron::runtime {
namespace {

StatusOr<const Json*> Required(const Json& component, std::string_view where, const char* key, Json::value_t type) {
  const auto found = component.is_object() ? component.find(key) : component.end();
  if (!component.is_object() || found == component.end()) {
    return DataLoss("{} has no '{}', expected {}", where, key, Json(type).type_name());
  }
  if (found->type() != type) {
    return DataLoss("'{}' of {} is {}, expected {}", key, where, found->type_name(), Json(type).type_name());
  }
  return &*found;
}

}  // namespace

StatusOr<std::string> ComponentType(const Json& component, std::string_view where) {
  if (!component.is_object()) {
    return DataLoss("{} is {}, expected object", where, component.type_name());
  }
  return RequiredString(component, where, "type");
}

StatusOr<std::string> RequiredString(const Json& component, std::string_view where, const char* key) {
  ASSIGN_OR_RETURN(const Json* value, Required(component, where, key, Json::value_t::string));
  return value->get<std::string>();
}

StatusOr<bool> RequiredBool(const Json& component, std::string_view where, const char* key) {
  ASSIGN_OR_RETURN(const Json* value, Required(component, where, key, Json::value_t::boolean));
  return value->get<bool>();
}

StatusOr<const Json*> RequiredArray(const Json& component, std::string_view where, const char* key) {
  return Required(component, where, key, Json::value_t::array);
}

StatusOr<Regex> RequiredPattern(const Json& component, std::string_view where) {
  ASSIGN_OR_RETURN(const Json* pattern, Required(component, where, "pattern", Json::value_t::object));
  if (pattern->size() == 1 && pattern->begin()->is_string()) {
    const std::string& text = pattern->begin()->get_ref<const std::string&>();
    if (pattern->begin().key() == "String") {
      return Regex::CompileLiteral(text);
    }
    if (pattern->begin().key() == "Regex") {
      return Regex::Compile(text);
    }
  }
  return DataLoss("'pattern' of {} is malformed, expected {{\"String\": text}} or {{\"Regex\": text}}", where);
}

}  // namespace nemotron::runtime
