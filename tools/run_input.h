#ifndef TOOLS_RUN_INPUT_H_
#define TOOLS_RUN_INPUT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/base/status.h"
#include "runtime/plan/plan.h"

/// What nemotron-run reads. A path of "-" is stdin.
namespace nemotron::tools {

runtime::StatusOr<std::string> ReadText(const std::string& path);

/// A JSON list of ids below `vocab_size`.
runtime::StatusOr<std::vector<int32_t>> ReadTokenIds(const std::string& path, int64_t vocab_size);

/// --tokenize: one JSON string a line in, one JSON list of ids a line out.
runtime::Status Tokenize(const runtime::Plan& plan, const std::string& path);

}  // namespace nemotron::tools

#endif  // TOOLS_RUN_INPUT_H_
