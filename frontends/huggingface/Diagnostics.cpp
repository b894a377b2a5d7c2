//===- Diagnostics.cpp - locations in checkpoint files and long lists of errors -----------------------------------===//
#include "frontends/huggingface/Diagnostics.h"

#include "mlir/IR/BuiltinAttributes.h"

using namespace mlir;
using namespace nemotron::frontends;

Location nemotron::frontends::fileLocation(MLIRContext *context, StringRef file, StringRef tensor) {
  // Line 0: binary files have no lines to show.
  Location location = FileLineColLoc::get(context, file, 0, 0);
  return tensor.empty() ? location : NameLoc::get(StringAttr::get(context, tensor), location);
}

void CappedErrors::add(Location location, const llvm::Twine &message) {
  if (++count <= kMaxShown)
    emitError(location) << message;
}

CappedErrors::~CappedErrors() {
  if (count > kMaxShown)
    emitError(last) << count - kMaxShown << " more " << what;
}
