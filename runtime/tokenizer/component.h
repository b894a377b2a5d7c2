#ifndef RUNTIME_TOKENIZER_COMPONENT_H_
#define RUNTIME_TOKENIZER_COMPONENT_H_

#include <string>
#include <string_view>

#include "runtime/base/json.h"
#include "runtime/base/status.h"
#include "runtime/tokenizer/regex.h"

namespace nemotron::runtime {

/// Reading of tokenizer.json's components: objects with a "type". `where` names the component in messages.

/// The "type" of a component. kDataLoss if there is none.
StatusOr<std::string> ComponentType(const Json& component, std::string_view where);

/// A field that must be there: kDataLoss naming component and field if it is not, or is of another type.
StatusOr<std::string> RequiredString(const Json& component, std::string_view where, const char* key);
StatusOr<bool> RequiredBool(const Json& component, std::string_view where, const char* key);
/// The result points into `component`.
StatusOr<const Json*> RequiredArray(const Json& component, std::string_view where, const char* key);

/// The "pattern" of a component, `{"String": text}` or `{"Regex": pattern}`.
StatusOr<Regex> RequiredPattern(const Json& component, std::string_view where);

}  // namespace nemotron::runtime

#endif  // RUNTIME_TOKENIZER_COMPONENT_H_
