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
  enum class Emit { kNemotron, kPlanIr, kKernels, kPlan };

  std::string checkpoint;      ///< folder; empty with `random_weights`
  std::string random_weights;  ///< config.json
  std::string output;          ///< empty: stdout, for IR
  Emit emit = Emit::kPlan;
  runtime::DType dtype = runtime::DType::kBF16;
  std::optional<runtime::DType> kv_cache_dtype;
  bool bf16_rope_frequencies = false;
  std::optional<bool> split_inputs;
  runtime::DType ssm_state_dtype = runtime::DType::kF32;

  std::string quantize;                     ///< recipe: a name or a file; empty: none
  bool dequantize = false;                  ///< give quantized matrices of the checkpoint their values back
  std::optional<float> kv_scale;            ///< of an FP8 KV cache, where nothing else gives one
  std::string calibrate;                    ///< text to measure static scales on; empty: none
  std::string use_calibration;              ///< report of an earlier calibration
  std::string calibration_report;           ///< file to write; its table goes next to it
  std::string calibration_method = "amax";  ///< "amax", "percentile" or "mse"
  double calibration_percentile = 99.99;
  int64_t calibration_window = 512;               ///< tokens
  int64_t calibration_tokens = int64_t{1} << 16;  ///< of the text, at most

  std::string target = "cpu";               ///< as given: "cpu", or "sm_90a" and the like, comma between
  std::vector<std::string> architectures;   ///< of GPUs; empty for the CPU
  std::string dump_kernels;                 ///< folder for the sources of GPU kernels; empty: nowhere
  std::optional<std::string> kernel_cache;  ///< folder; "off": none; absent: the user's cache

  /// Name of the `plan::Target`.
  std::string target_name() const { return architectures.empty() ? target : "cuda"; }
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
