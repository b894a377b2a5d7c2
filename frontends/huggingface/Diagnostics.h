//===- Diagnostics.h - locations in checkpoint files and long lists of errors ---------------------------*- C++ -*-===//
#ifndef FRONTENDS_HUGGINGFACE_DIAGNOSTICS_H
#define FRONTENDS_HUGGINGFACE_DIAGNOSTICS_H

#include <string>

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Location.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/ADT/Twine.h"

namespace nemotron::frontends {

/// A location that names a file, and a tensor in it if `tensor` is not empty.
mlir::Location fileLocation(mlir::MLIRContext *context, llvm::StringRef file, llvm::StringRef tensor = "");

/// Emits the first 20 errors of a list and then how many more there are: a folder with another model in it has
/// thousands.
class CappedErrors {
public:
  static constexpr int kMaxShown = 20;

  /// `what` names the errors in the last message: "3 more <what>".
  CappedErrors(mlir::Location last, llvm::StringRef what) : last(last), what(what) {}
  CappedErrors(const CappedErrors &) = delete;
  ~CappedErrors();

  void add(mlir::Location location, const llvm::Twine &message);
  bool failed() const { return count > 0; }

private:
  mlir::Location last;
  std::string what;
  int64_t count = 0;
};

} // namespace nemotron::frontends

#endif // FRONTENDS_HUGGINGFACE_DIAGNOSTICS_H
