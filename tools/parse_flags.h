#ifndef TOOLS_PARSE_FLAGS_H_
#define TOOLS_PARSE_FLAGS_H_

#include <CLI/CLI.hpp>
#include <optional>
#include <string_view>

#include "tools/console.h"

namespace nemotron::tools {

/// Parses the command line. An exit code if the tool is to end here: after --help, or with an error that was printed.
inline std::optional<int> ParseFlags(CLI::App& app, int argc, char** argv, std::string_view tool) {
  try {
    app.parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {
      app.exit(error);
      return kExitOk;
    }
    return PrintError(tool, std::string(error.what()) + " (--help lists all flags)", kExitUsage);
  }
}

}  // namespace nemotron::tools

#endif  // TOOLS_PARSE_FLAGS_H_
