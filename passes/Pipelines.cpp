//===- Pipelines.cpp - the passes of a compilation, in their order ------------------------------------------------===//
#include "passes/Pipelines.h"

#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"
#include "passes/Passes.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;

namespace nemotron::passes {

#define GEN_PASS_REGISTRATION
#include "passes/Passes.h.inc"

static constexpr StringLiteral kBeforeFusion = "before-fusion";
static constexpr StringLiteral kAfterFusion = "after-fusion";
static constexpr StringLiteral kAfterConversion = "after-conversion";

ArrayRef<StringRef> extensionPoints() {
  static const StringRef points[] = {kBeforeFusion, kAfterFusion, kAfterConversion};
  return points;
}

/// Adds what the user inserts at `point`, if anything.
static LogicalResult addInsertion(OpPassManager &passes, const PipelineOptions &options, StringRef point,
                                  raw_ostream &errors) {
  auto found = options.insertions.find(point.str());
  if (found == options.insertions.end() || StringRef(found->second).trim().empty()) {
    return success();
  }
  if (StringRef(found->second).trim().starts_with("builtin.module(")) {
    // It would parse, and run on modules inside the module, of which there are none.
    errors << "the passes at '" << point << "' start with 'builtin.module(', expected only what stands inside it\n";
    return failure();
  }
  if (failed(parsePassPipeline(found->second, passes, errors))) {
    errors << "in the passes at '" << point << "': " << found->second << "\n";
    return failure();
  }
  return success();
}

static void addFusions(OpPassManager &passes) {
  OpPassManager &step = passes.nest<func::FuncOp>();
  // Before linears take their activations: between two quantized products the second one's quantize is the better
  // place, which reads and writes the whole row anyway.
  step.addPass(createFuseActivationQuantizePass());
  // These take a producer and its only reader and do not get into each other's way.
  step.addPass(createFuseConvActivationPass());
  step.addPass(createFuseLinearActivationPass());
  step.addPass(createFuseScanNormPass());
  step.addPass(createFuseQKVPass());
  // These tie two layers together: the sum that ends one, and the norm that begins the next.
  step.addPass(createFuseAddRMSNormPass());
  step.addPass(createFuseAddLayerNormPass());
  // Norms are what they will be: now they may quantize what they give.
  step.addPass(createFuseNormQuantizePass());
}

LogicalResult buildCompilePipeline(OpPassManager &passes, const PipelineOptions &options, raw_ostream &errors) {
  for (const auto &[point, pipeline] : options.insertions) {
    if (!llvm::is_contained(extensionPoints(), point)) {
      errors << "no extension point '" << point << "', expected one of: " << llvm::join(extensionPoints(), ", ")
             << "\n";
      return failure();
    }
  }

  // What a frontend wrote is still one op for each formula of a paper: the place for rewrites of the model itself.
  if (failed(addInsertion(passes, options, kBeforeFusion, errors))) {
    return failure();
  }

  // Patterns of a recipe see the names of the checkpoint, one matrix each. Products of the same input then share one
  // quantize, which the CSE below finds, and fusions know quantized products as well as others.
  if (!options.recipe.empty() || !options.kvCache.empty()) {
    QuantizePassOptions quantize;
    quantize.recipe = options.recipe;
    quantize.kvCache = options.kvCache;
    quantize.kvScale = options.kvScale;
    passes.addPass(createQuantizePass(quantize));
  }

  // Casts to the same type go, equal reads of a weight become one, and what nobody reads goes too: fusions ask whether
  // a value has one reader, and dead readers must not count.
  passes.addPass(createCanonicalizerPass());
  passes.addPass(createCSEPass());
  passes.addPass(createDropDeadPass());

  if (options.fuses) {
    addFusions(passes);
  }

  // Fused, but still values and no buffers: the place for passes that know about the final ops. They may leave ops and
  // weights unread, which must not get into the plan.
  if (failed(addInsertion(passes, options, kAfterFusion, errors))) {
    return failure();
  }
  passes.addPass(createCanonicalizerPass());
  passes.addPass(createCSEPass());
  passes.addPass(createDropDeadPass());

  // From what is computed to what is launched. The target says which kernels there are.
  ConvertNemotronToPlanPassOptions conversion;
  conversion.target = options.target;
  conversion.architectures = options.architectures;
  passes.addPass(createConvertNemotronToPlanPass(conversion));
  if (failed(addInsertion(passes, options, kAfterConversion, errors))) {
    return failure();
  }

  // Kernels are made for the dispatches that are left, and for the types that buffers have in the end.
  passes.addPass(createPlanFuseDispatchesPass());
  passes.addPass(createPlanRetypeBuffersPass());
  passes.addPass(createPlanSpecializeKernelsPass());

  // Places in memory depend on the final order of dispatches, so they come last; the verifier stands between any
  // mistake above, ours or a plugin's, and the file.
  passes.addPass(createPlanMemoryPass());
  passes.addPass(createVerifyPlanPass());
  return success();
}

void registerPasses() {
  registerNemotronPasses();
  registerPlanPasses();
}

namespace {

/// `PipelineOptions` as options of a textual pipeline.
struct TextualOptions : public PassPipelineOptions<TextualOptions> {
  Option<std::string> target{*this, "target", llvm::cl::desc("Device that the program runs on"), llvm::cl::init("cpu")};
  Option<std::string> recipe{*this, "quantize", llvm::cl::desc("Recipe of quantization: a name or a file")};
  Option<std::string> kvCache{*this, "kv-cache", llvm::cl::desc("Type of the KV cache, e4m3, if the recipe has none")};
  Option<float> kvScale{*this, "kv-scale", llvm::cl::desc("Scale of keys and values without calibration"),
                        llvm::cl::init(0.0f)};
  Option<std::string> beforeFusion{*this, kBeforeFusion, llvm::cl::desc("Passes to run before fusion")};
  Option<std::string> afterFusion{*this, kAfterFusion, llvm::cl::desc("Passes to run after fusion")};
  Option<std::string> afterConversion{*this, kAfterConversion,
                                      llvm::cl::desc("Passes to run after conversion to a plan")};

  PipelineOptions get() const {
    PipelineOptions options;
    options.target = target;
    options.recipe = recipe;
    options.kvCache = kvCache;
    options.kvScale = kvScale;
    options.insertions[kBeforeFusion.str()] = beforeFusion;
    options.insertions[kAfterFusion.str()] = afterFusion;
    options.insertions[kAfterConversion.str()] = afterConversion;
    return options;
  }
};

} // namespace

void registerPipelines() {
  // Parsing a pipeline may fail, which PassPipelineRegistration has no room for.
  registerPassPipeline(
      "nemotron-compile-pipeline", "All passes of nemotron-compile, in their order",
      [](OpPassManager &passes, StringRef text, function_ref<LogicalResult(const Twine &)> errorHandler) {
        TextualOptions options;
        if (failed(options.parseFromString(text))) {
          return failure();
        }
        std::string message;
        llvm::raw_string_ostream errors(message);
        if (failed(buildCompilePipeline(passes, options.get(), errors))) {
          return errorHandler(StringRef(errors.str()).rtrim());
        }
        return success();
      },
      [](function_ref<void(const detail::PassOptions &)> optHandler) { optHandler(TextualOptions()); });
}

} // namespace nemotron::passes
