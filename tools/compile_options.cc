#include "tools/compile_options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <sstream>
#include <string_view>

#include "tools/console.h"

namespace nemotron::tools {
namespace {

constexpr const char* kTool = "nemotron-compile";
constexpr int64_t kDefaultShardBytes = int64_t{5} << 30;

constexpr const char* kFooter =
    R"(Flags that begin with --mlir- go to MLIR, as --mlir-FLAG=VALUE: --mlir-print-ir-after-all,
--mlir-print-ir-before=PASS, --mlir-print-ir-after-change, --mlir-timing, --mlir-pass-statistics, --mlir-disable-threading, ...

Examples:
  nemotron-compile Nemotron-H-8B-Base-8K -o h8.plan
  nemotron-compile Nemotron-H-8B-Base-8K -o h8.plan --dtype f32 --kv-cache-dtype bf16
  nemotron-compile Nemotron-H-8B-Base-8K -o h8.plan --quantize fp8
  nemotron-compile Nemotron-H-8B-Base-8K -o h8.plan --quantize fp8 --kv-cache-dtype fp8 --calibrate text.txt
  nemotron-compile --random-weights config.json -o test.plan       a plan of any shape, to measure
  nemotron-compile checkpoint --emit plan-ir | less                buffers and dispatches, as IR
  nemotron-compile --print-pipeline                                the passes, as --pass-pipeline takes them
  nemotron-compile checkpoint -o m.plan --load-pass-plugin ./libmine.so --insert-pass 'after-fusion:func.func(my-pass)'
  nemotron-compile --random-weights config.json --write-random-checkpoint folder --shard-size 4G

The plan appears at its path when it is complete; an error or Ctrl-C leaves nothing behind.
Exit codes: 0 done; 1 failure: a checkpoint that is damaged or not supported, a file that cannot be written;
2 wrong flags; 128 + n ended by signal n (130: Ctrl-C).)";

struct Texts {
  std::string emit = "plan", dtype = "bf16", kv_cache_dtype, activations = "auto", ssm_state = "f32";
  std::vector<std::string> insertions;
};

void AddFlags(CLI::App& app, CompileOptions& options, Texts& texts, uint64_t& shard_bytes) {
  app.set_version_flag("--version", fmt::format("{} {}", kTool, NEMOTRON_VERSION));
  app.add_option("CHECKPOINT", options.checkpoint, "folder with config.json and safetensors");
  app.add_option("-o,--output", options.output, "file to write; IR goes to stdout without it");
  app.add_option("--dtype", texts.dtype, "of matrices and embedding: bf16 or f32")->capture_default_str();
  app.add_option("--kv-cache-dtype", texts.kv_cache_dtype,
                 "bf16, f32 or fp8; by default that of --dtype, of the recipe, or of a quantized checkpoint");
  app.add_option("--ssm-state", texts.ssm_state, "bf16 halves the state of Mamba layers, and loses quality; f32")
      ->capture_default_str();
  app.add_option("--activations", texts.activations,
                 "input of BF16 matrices: bf16, or bf16x2 (two numbers each, for twice the multiply-adds); "
                 "auto: bf16x2 for models with experts")
      ->capture_default_str();
  app.add_flag("--bf16-rope-frequencies", options.bf16_rope_frequencies,
               "round rotary frequencies to BF16, as a model cast to BF16 as a whole has them");
  app.add_option("--target", options.target,
                 "what the plan is for: cpu, or GPU architectures, e.g. sm_90a or sm_80,sm_89,sm_90a")
      ->capture_default_str();
  app.add_option("-t,--threads", options.threads, "that convert and pack weights; 0: one a core, 2 to 8")
      ->check(CLI::Range(0, 256))
      ->capture_default_str();
  app.add_flag("-q,--quiet", options.quiet, "print errors and warnings only");
  app.add_flag("--json", options.as_json, "print the summary as one JSON object");

  const char* const quantization = "Quantization (docs/quantization.md)";
  app.add_option("--quantize", options.quantize,
                 "recipe: fp8 (nemotron-h), nemotron-h, nemotron-3, fp8-all, weight-only, int8, or a file")
      ->group(quantization);
  app.add_option("--calibrate", options.calibrate, "text file: run it, and make scales of activations static")
      ->group(quantization);
  app.add_option("--use-calibration", options.use_calibration, "report of an earlier calibration, instead of a text")
      ->group(quantization);
  app.add_option("--calibration-method", options.calibration_method,
                 "scales from: amax (absolute maximum), percentile or mse (least mean squared error)")
      ->check(CLI::IsMember({"amax", "percentile", "mse"}))
      ->capture_default_str()
      ->group(quantization);
  app.add_option("--calibration-percentile", options.calibration_percentile, "of absolute values, for percentile")
      ->check(CLI::Range(50.0, 100.0))
      ->capture_default_str()
      ->group(quantization);
  app.add_option("--calibration-window", options.calibration_window, "tokens, after which the context starts anew")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->capture_default_str()
      ->group(quantization);
  app.add_option("--calibration-tokens", options.calibration_tokens, "most tokens of the text to run")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->capture_default_str()
      ->group(quantization);
  app.add_option("--calibration-report", options.calibration_report,
                 "JSON file to write, and beside it a table (.tsv) of each layer's error")
      ->group(quantization);
  app.add_option("--kv-scale", options.kv_scale, "scale of an FP8 KV cache where neither checkpoint nor text gives one")
      ->group(quantization);
  app.add_flag("--dequantize", options.dequantize,
               "give a quantized checkpoint's matrices their values back, in --dtype")
      ->group(quantization);

  const char* const compiler = "Compiler";
  app.add_option(
         "--emit", texts.emit,
         "nemotron: the model as IR; plan-ir: the plan as IR; kernels: compile GPU kernels, write no plan; plan: "
         "the plan file")
      ->capture_default_str()
      ->group(compiler);
  app.add_flag("--print-pipeline", options.print_pipeline, "print the passes, and end")->group(compiler);
  app.add_option("--pass-pipeline", options.pass_pipeline, "run these instead: 'builtin.module(...)'")->group(compiler);
  app.add_option("--insert-pass", texts.insertions,
                 "POINT:PASSES, run them there: before-fusion, after-fusion, after-conversion; may be given again")
      ->allow_extra_args(false)
      ->group(compiler);
  app.add_option("--load-pass-plugin", options.pass_plugins, "shared library with more passes; may be given again")
      ->allow_extra_args(false)
      ->group(compiler);

  const char* const kernels = "GPU kernels (docs/cuda.md)";
  app.add_option("--dump-kernels", options.dump_kernels, "folder to write the kernels' CUDA C++ to")->group(kernels);
  app.add_option("--kernel-cache", options.kernel_cache,
                 "folder of compiled kernels, or off; by default nemotron/kernels in the user's cache")
      ->group(kernels);

  const char* const random = "Random models";
  app.add_option("--random-weights", options.random_weights, "config.json of a model to make up, instead of CHECKPOINT")
      ->group(random);
  app.add_option("--write-random-checkpoint", options.random_checkpoint,
                 "write the made-up model to this folder as a checkpoint, instead of compiling it")
      ->group(random);
  app.add_option("--shard-size", shard_bytes, "largest file of that checkpoint, e.g. 4G")
      ->transform(CLI::AsSizeValue(false))
      ->group(random);
}

/// The type that `text` names, if matrices can have it.
std::optional<runtime::DType> ParseDType(std::string_view text) {
  const std::optional<runtime::DType> dtype = runtime::DTypeFromName(text);
  return dtype == runtime::DType::kBF16 || dtype == runtime::DType::kF32 ? dtype : std::nullopt;
}

/// What is wrong with a value, or nothing.
std::string ReadTexts(const Texts& texts, CompileOptions* options) {
  const std::map<std::string, CompileOptions::Emit> kinds = {{"nemotron", CompileOptions::Emit::kNemotron},
                                                             {"plan-ir", CompileOptions::Emit::kPlanIr},
                                                             {"kernels", CompileOptions::Emit::kKernels},
                                                             {"plan", CompileOptions::Emit::kPlan}};
  const auto emit = kinds.find(texts.emit);
  if (emit == kinds.end()) {
    return fmt::format("--emit {}: expected nemotron, plan-ir, kernels or plan", texts.emit);
  }
  options->emit = emit->second;
  const std::optional<runtime::DType> dtype = ParseDType(texts.dtype);
  if (!dtype.has_value()) {
    return fmt::format("--dtype {}: expected bf16 or f32", texts.dtype);
  }
  options->dtype = *dtype;
  if (!texts.kv_cache_dtype.empty()) {
    const bool is_fp8 = texts.kv_cache_dtype == "fp8" || texts.kv_cache_dtype == "f8e4m3";
    options->kv_cache_dtype = is_fp8 ? runtime::DType::kF8E4M3 : ParseDType(texts.kv_cache_dtype);
    if (!options->kv_cache_dtype.has_value()) {
      return fmt::format("--kv-cache-dtype {}: expected bf16, f32 or fp8", texts.kv_cache_dtype);
    }
  }
  const std::optional<runtime::DType> ssm_state = ParseDType(texts.ssm_state);
  if (!ssm_state.has_value()) {
    return fmt::format("--ssm-state {}: expected f32 or bf16", texts.ssm_state);
  }
  options->ssm_state_dtype = *ssm_state;
  if (options->kv_scale && !(*options->kv_scale > 0 && std::isfinite(*options->kv_scale))) {
    return fmt::format("--kv-scale {}: expected a positive, finite number", *options->kv_scale);
  }
  if (texts.activations != "auto" && texts.activations != "bf16" && texts.activations != "bf16x2") {
    return fmt::format("--activations {}: expected auto, bf16 or bf16x2", texts.activations);
  }
  if (texts.activations != "auto") {
    options->split_inputs = texts.activations == "bf16x2";
  }
  if (options->target.starts_with("sm_")) {
    std::istringstream list(options->target);
    for (std::string name; std::getline(list, name, ',');) {
      const bool is_number = name.size() > 3 && name.starts_with("sm_") &&
                             name.find_first_not_of("0123456789", 3) >= name.size() - (name.ends_with('a') ? 1 : 0);
      if (!is_number) {
        return fmt::format("--target {}: expected cpu, or architectures such as sm_80,sm_90a", options->target);
      }
      options->architectures.push_back(name);
    }
  }
  if (options->architectures.empty() && (!options->dump_kernels.empty() || options->kernel_cache.has_value() ||
                                         options->emit == CompileOptions::Emit::kKernels)) {
    return "--dump-kernels, --kernel-cache and --emit kernels go with GPU targets, e.g. --target sm_90a";
  }
  for (const std::string& insertion : texts.insertions) {
    const size_t colon = insertion.find(':');
    if (colon == std::string::npos || colon == 0 || colon + 1 == insertion.size()) {
      return fmt::format("--insert-pass {}: expected POINT:PASSES", insertion);
    }
    std::string& passes = options->insertions[insertion.substr(0, colon)];
    passes += (passes.empty() ? "" : ",") + insertion.substr(colon + 1);
  }
  return "";
}

/// What is wrong with the flags of quantization together, or nothing.
std::string QuantizationConflict(const CompileOptions& options) {
  const bool calibrates = !options.calibrate.empty(), is_calibrated = calibrates || !options.use_calibration.empty();
  if (calibrates && !options.use_calibration.empty()) {
    return "give either --calibrate or --use-calibration";
  }
  if (is_calibrated && options.quantize.empty() && options.kv_cache_dtype != runtime::DType::kF8E4M3) {
    return "a calibration gives scales to --quantize or --kv-cache-dtype fp8: give one of them";
  }
  if (!options.calibration_report.empty() && !calibrates) {
    return "--calibration-report needs --calibrate";
  }
  if (calibrates && !options.random_weights.empty()) {
    return "--calibrate needs a CHECKPOINT with a tokenizer, not --random-weights";
  }
  if (!options.pass_pipeline.empty() && (!options.quantize.empty() || is_calibrated)) {
    return "--quantize does not go with --pass-pipeline: put nemotron-quantize into the pipeline";
  }
  return "";
}

/// What is wrong with the flags together, or nothing.
std::string FlagConflict(const CompileOptions& options) {
  if (options.print_pipeline) {
    return "";
  }
  if (std::string problem = QuantizationConflict(options); !problem.empty()) {
    return problem;
  }
  if (!options.random_checkpoint.empty()) {
    if (options.random_weights.empty() || !options.checkpoint.empty()) {
      return "--write-random-checkpoint needs --random-weights config.json, and no CHECKPOINT";
    }
    return options.output.empty() ? "" : "--write-random-checkpoint does not go with --output";
  }
  if (options.checkpoint.empty() == options.random_weights.empty()) {
    return options.checkpoint.empty() ? "nothing to compile: give a CHECKPOINT folder, or --random-weights config.json"
                                      : "give either a CHECKPOINT or --random-weights";
  }
  if (options.emit == CompileOptions::Emit::kPlan && options.output.empty()) {
    return "give the file to write with -o";
  }
  if (!options.pass_pipeline.empty() && !options.insertions.empty()) {
    return "--insert-pass does not go with --pass-pipeline: put the passes into the pipeline";
  }
  return "";
}

}  // namespace

std::optional<int> ParseCompileOptions(int argc, char** argv, CompileOptions* options) {
  CLI::App app("Compiles a checkpoint of a Nemotron model into a plan, one file with all that running it needs.",
               kTool);
  app.footer(kFooter);
  app.allow_extras();
  Texts texts;
  uint64_t shard_bytes = kDefaultShardBytes;
  AddFlags(app, *options, texts, shard_bytes);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {
      return app.exit(error);  // --help, --version
    }
    return PrintError(kTool, fmt::format("{}; see --help", error.what()), kExitUsage);
  }
  for (const std::string& extra : app.remaining()) {
    if (!extra.starts_with("--mlir-")) {
      return PrintError(kTool, fmt::format("unexpected argument '{}'; see --help", extra), kExitUsage);
    }
    options->mlir_flags.push_back(extra);
  }
  options->shard_bytes = static_cast<int64_t>(std::min(shard_bytes, uint64_t{1} << 62));
  std::string problem = ReadTexts(texts, options);
  if (problem.empty()) {
    problem = FlagConflict(*options);
  }
  if (!problem.empty()) {
    return PrintError(kTool, problem, kExitUsage);
  }
  return std::nullopt;
}

}  // namespace nemotron::tools
