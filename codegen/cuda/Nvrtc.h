//===- Nvrtc.h - NVIDIA's compiler, opened at run time ---------------------------------------------------------*- C++
//-*-===//
#ifndef CODEGEN_CUDA_NVRTC_H
#define CODEGEN_CUDA_NVRTC_H

#include <memory>
#include <string>

#include "runtime/base/status.h"

namespace nemotron::codegen {

/// What NVRTC makes of a source for one architecture.
struct CompiledSource {
  std::string cubin, ptx;
};

/// libnvrtc, from the path in the environment's NEMOTRON_NVRTC, else where the loader finds it, else where it was when
/// this was built. Thread-safe.
class Nvrtc {
public:
  /// kUnavailable, with what was tried, if there is none; kFailedPrecondition if its version is not 13.
  static runtime::StatusOr<std::shared_ptr<const Nvrtc>> open();
  ~Nvrtc();

  /// As "13.0".
  const std::string &version() const { return versionText; }

  /// Whether it compiles for "sm_90a" and the like.
  bool supports(const std::string &architecture) const;

  /// Compiles CUDA C++ for `architecture`. kInvalidArgument with the compiler's log if it does not compile; `name`
  /// stands for the file in it.
  runtime::StatusOr<CompiledSource> compile(const std::string &source, const std::string &name,
                                            const std::string &architecture) const;

private:
  struct Api;
  Nvrtc();
  std::unique_ptr<Api> api;
  std::string versionText;
};

} // namespace nemotron::codegen

#endif // CODEGEN_CUDA_NVRTC_H
