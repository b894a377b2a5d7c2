#ifndef TOOLS_COMPILE_OPTIONS_H_
#define TOOLS_COMPILE_OPTIONS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runtime/base/dtype.h"

namespace nemotron::tools {

/// What a command line of nemotron-compile asks for.
struct CompileOptions {
  enum class Emit { kNemotron, kPlanIr, kPlan };

  std::string checkpoint;      ///< folder; empty with `random_weights`
  std::string random_weights;  ///< config.json
  std::string output;          ///< empty: stdout, for IR
  Emit emit = Emit::kPlan;
  runtime::DType dtype = runtime::DType::kBF16;
  std::optional<runtime::DType> kv_cache_dtype;
  bool bf16_rope_frequencies = false;
  std::optional<bool> split_inputs;
  std::string target = "cpu";
  int threads = 0;

  std::string pass_pipeline;                      ///< empty: the usual one
  std::map<std::string, std::string> insertions;  ///< extension point -> passes
  std::vector<std::string> pass_plugins;
  bool print_pipeline = false;
  std::vector<std::string> mlir_flags;  ///< "--mlir-...", for LLVM's command line

  std::string random_checkpoint;  ///< folder to write one to, instead of compiling
  int64_t shard_bytes = 0;

  bool quiet = false, as_json = false;
};

/// Reads the command line into `options`. If the program is to end here, because of a flag that is wrong (the error was
/// printed) or one like --help, returns its exit code.
std::optional<int> ParseCompileOptions(int argc, char** argv, CompileOptions* options);

}  // namespace nemotron::tools

#endif  // TOOLS_COMPILE_OPTIONS_H_
