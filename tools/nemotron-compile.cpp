//===- nemotron-compile.cpp - a checkpoint in, a plan out ---------------------------------------------------------===//
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>

#include <fmt/format.h>

#include "codegen/PlanFileWriter.h"
#include "codegen/Targets.h"
#include "dialects/Plan/IR/Target.h"
#include "frontends/huggingface/Import.h"
#include "frontends/huggingface/RandomWeights.h"
#include "mlir/IR/AsmState.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Support/Timing.h"
#include "mlir/Tools/Plugins/PassPlugin.h"
#include "passes/Passes.h"
#include "runtime/base/file_writer.h"
#include "tools/compile_calibration.h"
#include "tools/compile_diagnostics.h"
#include "tools/compile_options.h"
#include "tools/console.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/JSON.h"

using namespace mlir;
using namespace nemotron;
using tools::CompileOptions;
using tools::ExitCode;

static constexpr const char *kTool = "nemotron-compile";

static int fail(const llvm::Twine &message, ExitCode code = tools::kExitFailure) {
  return tools::PrintError(kTool, message.str(), code);
}

//===----------------------------------------------------------------------===//
// Signals: while a plan is written, they only ask to stop
//===----------------------------------------------------------------------===//

static std::atomic<bool> cancelled{false};
static volatile std::sig_atomic_t caughtSignal = 0;

/// The first signal lets the writer remove its file; a second one is final.
static void catchSignals() {
  struct sigaction action = {};
  action.sa_handler = [](int signal) {
    caughtSignal = signal;
    cancelled.store(true);
  };
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) {
    sigaction(signal, &action, nullptr);
  }
}

//===----------------------------------------------------------------------===//
// Passes
//===----------------------------------------------------------------------===//

/// Makes passes, targets and MLIR's flags known, those of plugins too.
static std::optional<int> registerAll(const CompileOptions &options, char *program) {
  mlir::registerAllPasses();
  codegen::registerTargets();
  passes::registerPasses();
  passes::registerPipelines();
  for (const std::string &path : options.pass_plugins) {
    llvm::Expected<PassPlugin> plugin = PassPlugin::load(path);
    if (!plugin) {
      return fail("cannot load pass plugin '" + path + "': " + llvm::toString(plugin.takeError()));
    }
    plugin->registerPassRegistryCallbacks();
  }
  registerMLIRContextCLOptions();
  registerAsmPrinterCLOptions();
  registerPassManagerCLOptions();
  registerDefaultTimingManagerCLOptions();
  std::vector<const char *> arguments{program};
  for (const std::string &flag : options.mlir_flags) {
    arguments.push_back(flag.c_str());
  }
  std::string errors;
  llvm::raw_string_ostream stream(errors);
  if (!llvm::cl::ParseCommandLineOptions(arguments.size(), arguments.data(), "", &stream)) {
    StringRef text = StringRef(stream.str()).trim();
    text.consume_front(std::string(kTool) + ": ");
    return fail(text.take_until([](char c) { return c == '\n'; }).split("  Try:").first, tools::kExitUsage);
  }
  return std::nullopt;
}

/// Whether `nemotron-quantize` makes the KV cache FP8; else the frontend does, with the scales of the checkpoint.
static bool quantizesCache(const CompileOptions &options) {
  const bool hasScales = !options.calibrate.empty() || !options.use_calibration.empty() || options.kv_scale.has_value();
  return options.kv_cache_dtype == runtime::DType::kF8E4M3 && hasScales;
}

/// Fills `manager` with the passes that were asked for, to compile for `target`.
static std::optional<int> buildPipeline(PassManager &manager, const CompileOptions &options, StringRef target) {
  std::string errors;
  llvm::raw_string_ostream errorStream(errors);
  if (!options.pass_pipeline.empty()) {
    FailureOr<OpPassManager> parsed = parsePassPipeline(options.pass_pipeline, errorStream);
    if (failed(parsed)) {
      return fail("--pass-pipeline: " + StringRef(errorStream.str()).trim(), tools::kExitUsage);
    }
    if (parsed->getOpAnchorName() != ModuleOp::getOperationName()) {
      return fail("--pass-pipeline: works on '" + parsed->getOpAnchorName() + "', expected 'builtin.module(...)'",
                  tools::kExitUsage);
    }
    static_cast<OpPassManager &>(manager) = std::move(*parsed);
  } else {
    passes::PipelineOptions pipeline;
    pipeline.target = target.str();
    pipeline.architectures.assign(options.architectures.begin(), options.architectures.end());
    pipeline.insertions = options.insertions;
    pipeline.recipe = options.quantize;
    pipeline.kvCache = quantizesCache(options) ? "e4m3" : "";
    pipeline.kvScale = options.kv_scale.value_or(0.0f);
    if (failed(passes::buildCompilePipeline(manager, pipeline, errorStream))) {
      return fail(StringRef(errorStream.str()).trim(), tools::kExitUsage);
    }
  }
  return std::nullopt;
}

/// `module` compiled for the CPU, for a plan for GPUs to hold. Null if the passes are the user's own, which are for one
/// target.
static FailureOr<OwningOpRef<ModuleOp>> compileForCpu(ModuleOp module, const CompileOptions &options) {
  if (options.architectures.empty() || !options.pass_pipeline.empty()) {
    return OwningOpRef<ModuleOp>();
  }
  OwningOpRef<ModuleOp> clone(module.clone());
  // Warnings come from the passes for GPUs, which are the same until dispatches are made.
  ScopedDiagnosticHandler errorsOnly(module.getContext(), [](Diagnostic &diagnostic) {
    return success(diagnostic.getSeverity() != DiagnosticSeverity::Error);
  });
  PassManager manager(module.getContext(), ModuleOp::getOperationName());
  if (buildPipeline(manager, options, "cpu") || failed(manager.run(*clone))) {
    return failure();
  }
  return clone;
}

//===----------------------------------------------------------------------===//
// What comes out
//===----------------------------------------------------------------------===//

/// Writes the IR to the file, or to stdout.
static int emitModule(ModuleOp module, const CompileOptions &options) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  module.print(stream);
  stream << "\n";
  stream.flush();
  if (options.output.empty()) {
    llvm::outs() << text;
    llvm::outs().flush();
    return tools::kExitOk;
  }
  runtime::Status status = runtime::WriteTextFile(options.output, text);
  return status.ok() ? tools::kExitOk : fail(status.message());
}

/// "1.5 GiB": at most 4 digits and a binary unit.
static std::string formatBytes(int64_t bytes) {
  const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  double value = bytes;
  size_t unit = 0;
  while (value >= 1000 && unit + 1 < std::size(units)) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.{}f} {}", value, unit > 0 && value < 100 ? 1 : 0, units[unit]);
}

/// "397 million", "8.1 billion".
static std::string formatCount(int64_t count) {
  return count >= 1000000000 ? fmt::format("{:.1f} billion", count / 1e9)
         : count >= 1000000  ? fmt::format("{:.1f} million", count / 1e6)
                             : fmt::format("{}", count);
}

static void printSummary(const CompileOptions &options, const ir::ModelInfo &info, const codegen::PlanFileSummary &plan,
                         double seconds, double writeSeconds) {
  std::string dtype(runtime::DTypeName(options.dtype));
  double rate = writeSeconds > 0 ? plan.fileBytes / writeSeconds : 0;
  if (options.as_json) {
    llvm::json::Object object{{"plan", llvm::json::fixUTF8(options.output)},
                              {"architecture", info.architecture},
                              {"model", llvm::json::fixUTF8(info.name)},
                              {"layers", info.layersBlockType},
                              {"num_parameters", info.numParameters},
                              {"dtype", dtype},
                              {"target", options.target},
                              {"num_weights", plan.numWeights},
                              {"weight_bytes", plan.weightBytes},
                              {"file_bytes", plan.fileBytes},
                              {"num_kernels", plan.numKernels},
                              {"kernel_bytes", plan.kernelBytes},
                              {"workspace_bytes_per_token", plan.tokenBytes},
                              {"workspace_bytes_per_token_without_reuse", plan.tokenBytesWithoutReuse},
                              {"workspace_bytes_per_row", plan.rowBytes},
                              {"workspace_bytes_per_row_without_reuse", plan.rowBytesWithoutReuse},
                              {"slot_bytes", plan.slotBytes},
                              {"kv_bytes_per_token", plan.kvBytesPerToken},
                              {"seconds", seconds},
                              {"write_seconds", writeSeconds},
                              {"write_bytes_per_second", rate}};
    llvm::outs() << llvm::json::Value(std::move(object)) << "\n";
    return;
  }
  fmt::print("{}: {}, {} layers, {} parameters, {} for {}\n", info.name, info.architecture, info.layersBlockType.size(),
             formatCount(info.numParameters), dtype, options.target);
  fmt::print("  weights    {} in {} tensors\n", formatBytes(plan.weightBytes), plan.numWeights);
  fmt::print("  workspace  {} a token ({} without reuse), {} a row of logits\n", formatBytes(plan.tokenBytes),
             formatBytes(plan.tokenBytesWithoutReuse), formatBytes(plan.rowBytes));
  fmt::print("  state      {} a sequence, {} of KV cache a token\n", formatBytes(plan.slotBytes),
             formatBytes(plan.kvBytesPerToken));
  if (plan.numKernels > 0) {
    fmt::print("  kernels    {} compiled, {} of code\n", plan.numKernels, formatBytes(plan.kernelBytes));
  }
  fmt::print("wrote {}: {} in {:.1f} s, {:.0f} MB/s\n", options.output, formatBytes(plan.fileBytes), seconds,
             rate / 1e6);
}

//===----------------------------------------------------------------------===//
// The way through
//===----------------------------------------------------------------------===//

static FailureOr<frontends::ImportedModel> importModel(MLIRContext *context, const CompileOptions &options) {
  frontends::ImportOptions import;
  import.dtype = options.dtype;
  import.kvCacheDtype = quantizesCache(options) ? std::nullopt : options.kv_cache_dtype;
  import.kvScale = options.kv_scale;
  import.ssmStateDtype = options.ssm_state_dtype;
  import.dequantize = options.dequantize;
  import.splitInputs = options.split_inputs;
  import.bf16RopeFrequencies = options.bf16_rope_frequencies;
  return options.random_weights.empty() ? frontends::importHuggingFace(context, options.checkpoint, import)
                                        : frontends::importRandomWeights(context, options.random_weights, import);
}

static int writeRandomCheckpoint(MLIRContext *context, const CompileOptions &options) {
  FailureOr<frontends::ModelConfig> config = frontends::loadConfig(context, options.random_weights);
  if (failed(config)) {
    return tools::kExitFailure;
  }
  runtime::Status status = frontends::writeRandomCheckpoint(*config, options.random_checkpoint, options.shard_bytes);
  return status.ok() ? tools::kExitOk : fail(status.message());
}

/// Says what a quantized checkpoint has, layer by layer. A recipe for one is an error.
static LogicalResult reportQuantization(frontends::ImportedModel &model, const CompileOptions &options) {
  const frontends::QuantizationReport &report = model.quantization;
  if (!options.quiet && !report.layers.empty()) {
    llvm::errs() << report.text();
  }
  const bool isQuantized = llvm::any_of(report.layers, [](const auto &layer) {
    return llvm::any_of(layer.matrices, [](const auto &matrix) { return matrix.dtype == runtime::DType::kF8E4M3; });
  });
  if (isQuantized && !report.dequantized && !options.quantize.empty()) {
    return emitError(model.module->getLoc())
           << "the checkpoint is quantized already; leave --quantize out to keep it as it is, or add --dequantize to "
              "quantize it anew";
  }
  return success();
}

/// Measures or reads static scales, if they were asked for, and leaves them in the IR.
static LogicalResult addScales(frontends::ImportedModel &model, const CompileOptions &options) {
  MLIRContext *context = model.module->getContext();
  if (options.calibrate.empty() && options.use_calibration.empty()) {
    return success();
  }
  catchSignals();
  FailureOr<runtime::Calibration> calibration = options.calibrate.empty()
                                                    ? tools::readCalibration(context, options.use_calibration)
                                                    : tools::calibrate(model, options, cancelled);
  if (failed(calibration) || cancelled.load()) {
    return failure();
  }
  if (!options.calibration_report.empty() &&
      failed(tools::writeCalibration(context, *calibration, options.calibration_report))) {
    return failure();
  }
  return tools::applyCalibration(*model.module, *calibration);
}

/// The folder of compiled kernels: that of the flag, or one where the user's caches lie; empty if there is none.
static std::string kernelCache(const CompileOptions &options) {
  if (options.kernel_cache.has_value()) {
    return *options.kernel_cache == "off" ? "" : *options.kernel_cache;
  }
  const char *cache = std::getenv("XDG_CACHE_HOME"), *home = std::getenv("HOME");
  return cache && *cache ? std::string(cache) + "/nemotron/kernels"
         : home && *home ? std::string(home) + "/.cache/nemotron/kernels"
                         : "";
}

static codegen::KernelCompilerOptions kernelOptions(const CompileOptions &options, tools::ProgressBar &bar) {
  codegen::KernelCompilerOptions kernels;
  kernels.architectures = options.architectures;
  kernels.dumpDirectory = options.dump_kernels;
  kernels.cacheDirectory = kernelCache(options);
  kernels.numThreads = options.threads;
  kernels.cancelled = &cancelled;
  if (!options.quiet) {
    kernels.progress = [&bar](int64_t done, int64_t total) {
      bar.Update(done, total);
      if (done == total) {
        bar.Finish();
      }
    };
  }
  return kernels;
}

/// Compiles the kernels of a plan that is not written: to look at them, and to fill the cache.
static int compileKernels(ModuleOp module, const CompileOptions &options, std::chrono::steady_clock::time_point start) {
  tools::ProgressBar bar("compiling kernels", tools::ProgressBar::Unit::kItems);
  catchSignals();
  FailureOr<std::vector<codegen::KernelImage>> images = codegen::compileKernels(module, kernelOptions(options, bar));
  bar.Finish();
  if (failed(images)) {
    return caughtSignal != 0 ? 128 + caughtSignal : tools::kExitFailure;
  }
  size_t bytes = 0;
  for (const codegen::KernelImage &image : *images) {
    bytes += image.code.cubin.size() + image.code.ptx.size();
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (options.as_json) {
    llvm::outs() << llvm::json::Value(llvm::json::Object{{"target", options.target},
                                                         {"num_images", images->size()},
                                                         {"kernel_bytes", bytes},
                                                         {"seconds", seconds}})
                 << "\n";
  } else if (!options.quiet) {
    fmt::print("compiled {} kernels for {}: {} of code in {:.1f} s\n", images->size() / options.architectures.size(),
               options.target, formatBytes(bytes), seconds);
  }
  return tools::kExitOk;
}

static int writePlan(ModuleOp module, ModuleOp cpuModule, frontends::ImportedModel &model,
                     const CompileOptions &options, const std::string &pipeline,
                     std::chrono::steady_clock::time_point start) {
  codegen::PlanFileOptions file;
  file.cpuModule = cpuModule;
  file.path = options.output;
  file.dtype = options.dtype;
  file.compilerVersion = NEMOTRON_VERSION;
  file.pipeline = pipeline;
  file.numThreads = options.threads;
  tools::ProgressBar bar("writing plan", tools::ProgressBar::Unit::kBytes);
  if (!options.quiet) {
    file.progress = [&](int64_t done, int64_t total) { bar.Update(done, total); };
  }
  file.cancelled = &cancelled;
  tools::ProgressBar kernelBar("compiling kernels", tools::ProgressBar::Unit::kItems);
  file.kernels = kernelOptions(options, kernelBar);
  catchSignals();
  auto writeStart = std::chrono::steady_clock::now();
  FailureOr<codegen::PlanFileSummary> summary = codegen::writePlanFile(module, *model.weights, model.info, file);
  bar.Finish();
  if (failed(summary) && caughtSignal != 0) {
    fail("interrupted, nothing was written");
    return 128 + caughtSignal;
  }
  if (failed(summary)) {
    return tools::kExitFailure;
  }
  auto secondsSince = [](auto time) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - time).count();
  };
  if (!options.quiet || options.as_json) {
    printSummary(options, model.info, *summary, secondsSince(start), secondsSince(writeStart));
  }
  return tools::kExitOk;
}

static int compile(MLIRContext *context, const CompileOptions &options) {
  auto start = std::chrono::steady_clock::now();
  PassManager manager(context, ModuleOp::getOperationName());
  std::string pipeline;
  if (std::optional<int> code = buildPipeline(manager, options, options.target_name())) {
    return *code;
  }
  llvm::raw_string_ostream stream(pipeline);
  manager.printAsTextualPipeline(stream);
  if (options.print_pipeline) {
    llvm::outs() << pipeline << "\n";
    return tools::kExitOk;
  }
  if (!options.random_checkpoint.empty()) {
    return writeRandomCheckpoint(context, options);
  }
  FailureOr<frontends::ImportedModel> model = importModel(context, options);
  if (failed(model)) {
    return tools::kExitFailure;
  }
  if (failed(reportQuantization(*model, options))) {
    return tools::kExitFailure;
  }
  ModuleOp module = *model->module;
  if (options.emit == CompileOptions::Emit::kNemotron) {
    return emitModule(module, options);
  }
  if (failed(addScales(*model, options))) {
    return caughtSignal != 0 ? 128 + caughtSignal : tools::kExitFailure;
  }
  FailureOr<OwningOpRef<ModuleOp>> cpuModule = OwningOpRef<ModuleOp>();
  if (options.emit == CompileOptions::Emit::kPlan) {
    cpuModule = compileForCpu(module, options);
  }
  if (failed(cpuModule)) {
    return tools::kExitFailure;
  }
  applyDefaultTimingPassManagerCLOptions(manager);
  if (failed(applyPassManagerCLOptions(manager)) || failed(manager.run(module))) {
    return tools::kExitFailure;
  }
  if (options.emit == CompileOptions::Emit::kPlanIr) {
    return emitModule(module, options);
  }
  // Whatever pipeline ran: what it left must be a plan.
  PassManager verifier(context);
  verifier.addPass(passes::createVerifyPlanPass());
  if (failed(verifier.run(module))) {
    return tools::kExitFailure;
  }
  return options.emit == CompileOptions::Emit::kKernels
             ? compileKernels(module, options, start)
             : writePlan(module, cpuModule->get(), *model, options, pipeline, start);
}

int main(int argc, char **argv) {
  CompileOptions options;
  if (std::optional<int> code = tools::ParseCompileOptions(argc, argv, &options)) {
    return *code;
  }
  std::signal(SIGXFSZ, SIG_IGN); // a file that grows past a limit is an error like a full disk
  if (std::optional<int> code = registerAll(options, argv[0])) {
    return *code;
  }
  if (options.pass_pipeline.empty() && options.architectures.empty() && options.target != "cpu") {
    return fail("--target " + options.target + ": expected cpu, or architectures such as sm_80,sm_90a",
                tools::kExitUsage);
  }
  DialectRegistry registry;
  registry.insert<func::FuncDialect, ir::NemotronDialect, plan::PlanDialect>();
  MLIRContext context(registry);
  context.loadAllAvailableDialects();
  context.printOpOnDiagnostic(false);
  tools::DiagnosticPrinter printer(&context, options.quiet);
  return compile(&context, options);
}
