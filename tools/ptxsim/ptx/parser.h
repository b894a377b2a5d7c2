#ifndef TOOLS_PTXSIM_PTX_PARSER_H_
#define TOOLS_PTXSIM_PTX_PARSER_H_

#include <string_view>

#include "runtime/base/status.h"
#include "tools/ptxsim/ptx/module.h"

namespace nemotron::ptxsim {

/// Parses the text of a module. kInvalidArgument with "line N: what was found and what was expected" for anything that
/// the grammar does not have; a directive that means something we do not do is kUnimplemented, never skipped.
/// Directives for debuggers (.loc, .file, .section) are skipped.
runtime::StatusOr<Module> ParsePtx(std::string_view text);

}  // namespace nemotron::ptxsim

#endif  // TOOLS_PTXSIM_PTX_PARSER_H_
