//===- PlanFileWriter.h - from the plan dialect to a plan file -------------------------------------------------*- C++
//-*-===//
#ifndef CODEGEN_PLANFILEWRITER_H
#define CODEGEN_PLANFILEWRITER_H

#include <atomic>
#include <functional>
#include <string>

#include "codegen/cuda/KernelCompiler.h"
#include "dialects/Nemotron/Checkpoint.h"
#include "mlir/IR/BuiltinOps.h"
#include "runtime/base/dtype.h"

namespace nemotron::codegen {

struct PlanFileOptions {
  std::string path;
  runtime::DType dtype = runtime::DType::kBF16; ///< of the matrices, for `model.dtype`

  // Provenance.
  std::string compilerVersion;
  std::string pipeline; ///< the passes that ran, as text

  /// The same model compiled for target cpu, whose program a plan for GPUs holds too; null: none.
  mlir::ModuleOp cpuModule = nullptr;

  /// How the `plan.kernel`s of the module are compiled, if it has any.
  KernelCompilerOptions kernels;

  unsigned numThreads =
      0; ///< that convert and pack, besides the one that reads and the one that writes; 0: one a core, 2 to 8
  /// Called now and then by the thread that writes the plan with the bytes of weights done and in all.
  std::function<void(int64_t done, int64_t total)> progress;
  /// Set it to give up: the file is removed, and no error is emitted. May be null.
  const std::atomic<bool> *cancelled = nullptr;
};

/// What was written.
struct PlanFileSummary {
  int64_t numWeights = 0;
  int64_t weightBytes = 0;
  int64_t fileBytes = 0;
  int64_t numKernels = 0, kernelBytes = 0;            ///< compiled ones, and their code for all architectures
  int64_t tokenBytes = 0, tokenBytesWithoutReuse = 0; ///< of activations, per token
  int64_t rowBytes = 0, rowBytesWithoutReuse = 0;     ///< per row of logits
  int64_t slotBytes = 0;                              ///< of state, per sequence
  int64_t kvBytesPerToken = 0;
};

/// Writes `module`, which passed `verify-plan`, to `options.path`: carries out the region of each `plan.weight` on
/// tensors of `source`, block by block, then adds the tokenizer and the metadata. Memory is that of some blocks of a
/// few MiB, plus the input of a `nemotron.transpose`. A tensor is released once its last weight was written. The file
/// appears when it is complete.
///
/// Errors are emitted at the weight or at the module; they name the tensor and the file.
mlir::FailureOr<PlanFileSummary> writePlanFile(mlir::ModuleOp module, ir::WeightSource &source,
                                               const ir::ModelInfo &info, const PlanFileOptions &options);

} // namespace nemotron::codegen

#endif // CODEGEN_PLANFILEWRITER_H
