//===- compile_calibration.cpp - static scales for nemotron-compile: measured, read, put into the IR --------------===//
#include "tools/compile_calibration.h"

#include <unistd.h>

#include <memory>
#include <set>

#include "codegen/PlanFileWriter.h"
#include "dialects/Nemotron/IR/Nemotron.h"
#include "frontends/huggingface/Diagnostics.h"
#include "mlir/Pass/PassManager.h"
#include "passes/Passes.h"
#include "runtime/base/file_writer.h"
#include "runtime/engine/calibration.h"
#include "runtime/engine/engine.h"
#include "runtime/engine/generator.h"
#include "tools/console.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using nemotron::frontends::fileLocation;
using nemotron::runtime::Calibration;
using nemotron::runtime::Status;
using nemotron::runtime::StatusOr;

namespace nemotron::tools {

static FailureOr<std::string> readText(MLIRContext *context, const std::string &path) {
  auto file = llvm::MemoryBuffer::getFile(path, /*IsText=*/true);
  if (!file) {
    return emitError(fileLocation(context, path)) << "cannot be read: " << file.getError().message();
  }
  return (*file)->getBuffer().str();
}

//===----------------------------------------------------------------------===//
// Measuring
//===----------------------------------------------------------------------===//

/// A plan of `model` in which every matrix has its own dispatch, so that the report names what a recipe names.
static LogicalResult writePlainPlan(frontends::ImportedModel &model, const CompileOptions &options,
                                    const std::atomic<bool> &cancelled, const std::string &path) {
  OwningOpRef<ModuleOp> module = model.module->clone();
  PassManager manager(module->getContext());
  passes::PipelineOptions pipeline;
  pipeline.fuses = false;
  std::string errors;
  llvm::raw_string_ostream stream(errors);
  if (failed(passes::buildCompilePipeline(manager, pipeline, stream)) || failed(manager.run(*module))) {
    return failure();
  }
  codegen::PlanFileOptions file;
  file.path = path;
  file.dtype = options.dtype;
  file.numThreads = options.threads;
  file.cancelled = &cancelled;
  ProgressBar bar("writing plan to calibrate", ProgressBar::Unit::kBytes);
  if (!options.quiet) {
    file.progress = [&](int64_t done, int64_t total) { bar.Update(done, total); };
  }
  auto summary = codegen::writePlanFile(*module, *model.weights, model.info, file);
  bar.Finish();
  return success(succeeded(summary));
}

static StatusOr<Calibration> runPlan(const std::string &path, const std::string &text, const CompileOptions &options) {
  ASSIGN_OR_RETURN(std::shared_ptr<const runtime::Plan> plan, runtime::Plan::Load(path));
  runtime::EngineOptions engineOptions;
  engineOptions.max_sequences = 1;
  engineOptions.max_rows_per_step = 512; // the head of the model sees all rows too
  engineOptions.context_tokens = options.calibration_window;
  ASSIGN_OR_RETURN(std::unique_ptr<runtime::Engine> engine, runtime::Engine::Load(plan, engineOptions));
  if (!engine->tokenizer()) {
    return runtime::InvalidArgument("the checkpoint has no tokenizer, which the text needs");
  }
  ASSIGN_OR_RETURN(std::vector<int32_t> tokens, runtime::EncodePrompt(*plan, *engine->tokenizer(), text));
  tokens.resize(std::min<size_t>(tokens.size(), options.calibration_tokens));
  runtime::CalibrationOptions calibration;
  ASSIGN_OR_RETURN(calibration.method, runtime::CalibrationMethodFromName(options.calibration_method));
  calibration.percentile = options.calibration_percentile;
  calibration.window = options.calibration_window;
  ProgressBar bar("calibrating", ProgressBar::Unit::kTokens);
  if (!options.quiet) {
    calibration.progress = [&](int64_t done, int64_t total) { bar.Update(done, total); };
  }
  StatusOr<Calibration> result = runtime::Calibrate(*engine, tokens, calibration);
  bar.Finish();
  return result;
}

FailureOr<Calibration> calibrate(frontends::ImportedModel &model, const CompileOptions &options,
                                 const std::atomic<bool> &cancelled) {
  MLIRContext *context = model.module->getContext();
  FailureOr<std::string> text = readText(context, options.calibrate);
  if (failed(text)) {
    return failure();
  }
  // Beside the output: there is room for a plan. IR goes to stdout, or is small, so anywhere will do.
  llvm::SmallString<128> path(options.output);
  if (path.empty()) {
    llvm::sys::path::system_temp_directory(/*erasedOnReboot=*/true, path);
    llvm::sys::path::append(path, "nemotron");
  }
  path += ".calibration." + std::to_string(getpid());
  auto remove = llvm::make_scope_exit([&] { llvm::sys::fs::remove(path); });
  if (failed(writePlainPlan(model, options, cancelled, path.str().str()))) {
    return failure();
  }
  StatusOr<Calibration> result = runPlan(path.str().str(), *text, options);
  if (!result.ok()) {
    return emitError(fileLocation(context, options.calibrate)) << "cannot calibrate: " << result.status().message();
  }
  return std::move(*result);
}

//===----------------------------------------------------------------------===//
// Files
//===----------------------------------------------------------------------===//

FailureOr<Calibration> readCalibration(MLIRContext *context, const std::string &path) {
  FailureOr<std::string> text = readText(context, path);
  if (failed(text)) {
    return failure();
  }
  StatusOr<Calibration> calibration = runtime::ParseCalibration(*text, path);
  if (!calibration.ok()) {
    return emitError(fileLocation(context, path)) << calibration.status().message();
  }
  return std::move(*calibration);
}

LogicalResult writeCalibration(MLIRContext *context, const Calibration &calibration, const std::string &path) {
  llvm::SmallString<128> table(path);
  llvm::sys::path::replace_extension(table, "tsv");
  for (const auto &[to, text] : {std::pair(path, runtime::CalibrationJson(calibration)),
                                 std::pair(table.str().str(), runtime::CalibrationTable(calibration))}) {
    if (Status status = runtime::WriteTextFile(to, text); !status.ok()) {
      return emitError(fileLocation(context, to)) << "cannot be written: " << status.message();
    }
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Into the IR
//===----------------------------------------------------------------------===//

/// What the plan calls a matrix that no fusion has touched: the symbol of its weight, or the name of its stack.
static std::string nameOf(Value weight) {
  while (auto cast = weight.getDefiningOp<ir::CastOp>()) {
    weight = cast.getInput();
  }
  if (auto get = weight.getDefiningOp<ir::GetWeightOp>()) {
    return get.getWeight().str();
  }
  auto loc = dyn_cast<NameLoc>(weight.getLoc());
  return loc ? loc.getName().str() : "";
}

namespace {

/// Puts scales at ops and notes which were used.
class Annotator {
public:
  explicit Annotator(const Calibration &calibration) : calibration(calibration) {}

  void visit(ir::LinearOp op) { matrix(op, passes::kInputScale, op.getWeight()); }

  void visit(ir::MoeExpertsOp op) {
    matrix(op, passes::kInputScale, op.getUp());
    matrix(op, passes::kHiddenScale, op.getDown());
  }

  void visit(ir::AttentionOp op) {
    auto found = calibration.kv_cache.find(op.getState().str());
    if (found != calibration.kv_cache.end()) {
      set(op, passes::kKeyScale, found->second.key.scale);
      set(op, passes::kValueScale, found->second.value.scale);
      used.insert(found->first);
    }
  }

  /// An error if the model has nothing of a name in the calibration.
  LogicalResult finish(ModuleOp module) {
    auto check = [&](const std::string &name) -> LogicalResult {
      return used.count(name) ? success()
                              : module.emitError() << "the calibration has a scale for '" << name
                                                   << "', which this model does not have";
    };
    for (const auto &[name, entry] : calibration.activations) {
      if (failed(check(name))) {
        return failure();
      }
    }
    for (const auto &[name, entry] : calibration.kv_cache) {
      if (failed(check(name))) {
        return failure();
      }
    }
    return success();
  }

private:
  void matrix(Operation *op, StringRef attribute, Value weight) {
    // An embedding that is also the head is in the plan twice; the head's copy is told by its layout.
    const std::string name = nameOf(weight);
    for (const std::string &candidate : {name, name + ".panel"}) {
      if (auto found = calibration.activations.find(candidate); found != calibration.activations.end()) {
        set(op, attribute, found->second.scale);
        used.insert(candidate);
      }
    }
  }

  static void set(Operation *op, StringRef attribute, float scale) {
    op->setDiscardableAttr(attribute, Builder(op->getContext()).getF32FloatAttr(scale));
  }

  const Calibration &calibration;
  std::set<std::string> used;
};

} // namespace

LogicalResult applyCalibration(ModuleOp module, const Calibration &calibration) {
  Annotator annotator(calibration);
  module.walk([&](Operation *op) {
    llvm::TypeSwitch<Operation *>(op).Case<ir::LinearOp, ir::MoeExpertsOp, ir::AttentionOp>(
        [&](auto concrete) { annotator.visit(concrete); });
  });
  return annotator.finish(module);
}

} // namespace nemotron::tools
