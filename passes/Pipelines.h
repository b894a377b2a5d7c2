//===- Pipelines.h - the passes of a compilation, in their order ----------------------------------------*- C++ -*-===//
#ifndef PASSES_PIPELINES_H
#define PASSES_PIPELINES_H

#include <map>
#include <string>

#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/raw_ostream.h"

namespace nemotron::passes {

/// Where a plugin or a user may add passes: `before-fusion`, `after-fusion`, `after-conversion`.
llvm::ArrayRef<llvm::StringRef> extensionPoints();

struct PipelineOptions {
  std::string target = "cpu";                   ///< name of a `plan::Target`
  llvm::SmallVector<std::string> architectures; ///< of GPUs that kernels are compiled for; empty: not known
  bool fuses = true;                            ///< without fusions every matrix of the checkpoint has its own dispatch
  std::string recipe;                           ///< of `nemotron-quantize`; empty: nothing is quantized
  std::string kvCache;                          ///< "e4m3", or empty: as the recipe says
  float kvScale = 0;                            ///< of keys and values that no calibration scales; 0: none
  /// Extension point -> textual pipeline that runs there, as of `--pass-pipeline` but without `builtin.module(...)`:
  /// `canonicalize,func.func(my-pass{option=1})`. Passes of a plugin are known once it is loaded.
  std::map<std::string, std::string> insertions;
};

/// Adds the passes that turn the module of a frontend into one that `writePlanFile` accepts. `passes` is a pass manager
/// of modules. Errors go to `errors`, lines of text: an extension point that does not exist, a pipeline that does not
/// parse.
llvm::LogicalResult buildCompilePipeline(mlir::OpPassManager &passes, const PipelineOptions &options,
                                         llvm::raw_ostream &errors);

/// Makes `nemotron-compile-pipeline{target=.. quantize=.. kv-cache=.. kv-scale=.. before-fusion=.. after-fusion=..
/// after-conversion=..}` known.
void registerPipelines();

} // namespace nemotron::passes

#endif // PASSES_PIPELINES_H
