//===- KernelCompiler.h - from the kernels of a plan to machine code -------------------------------------------*- C++
//-*-===//
#ifndef CODEGEN_CUDA_KERNELCOMPILER_H
#define CODEGEN_CUDA_KERNELCOMPILER_H

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "codegen/cuda/Nvrtc.h"
#include "dialects/Plan/IR/Plan.h"
#include "mlir/IR/BuiltinOps.h"

namespace nemotron::codegen {

struct KernelCompilerOptions {
  std::vector<std::string> architectures; ///< "sm_90a", ...
  std::string cacheDirectory;             ///< of compiled kernels by content hash; empty: none
  std::string dumpDirectory;              ///< where to write the sources, one file a kernel; empty: nowhere
  unsigned numThreads = 0;                ///< 0: one a core
  std::function<void(int64_t done, int64_t total)> progress; ///< called by one thread at a time
  const std::atomic<bool> *cancelled = nullptr;              ///< may be null
};

/// Code of one kernel for one architecture.
struct KernelImage {
  std::string kernel, architecture;
  CompiledSource code;
};

/// The whole source of a kernel: tables of the step, what all kernels share, its body, its configuration. It needs no
/// other file, and nvcc compiles it too. An error at the op if there is no such body.
mlir::FailureOr<std::string> kernelSource(plan::KernelOp kernel);

/// Compiles all `plan.kernel`s of a module with NVRTC, several at a time, in the order of the module and of
/// `architectures`. Errors are emitted at the kernel or at the module, with the compiler's log.
mlir::FailureOr<std::vector<KernelImage>> compileKernels(mlir::ModuleOp module, const KernelCompilerOptions &options);

} // namespace nemotron::codegen

#endif // CODEGEN_CUDA_KERNELCOMPILER_H
