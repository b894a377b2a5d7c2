//===- compile_diagnostics.h - what nemotron-compile prints about a model --------------------------------------*- C++
//-*-===//
#ifndef TOOLS_COMPILE_DIAGNOSTICS_H
#define TOOLS_COMPILE_DIAGNOSTICS_H

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"

namespace nemotron::tools {

/// Prints diagnostics to stderr while it lives, one a line as compilers do, `file:line:column: error: message`; where a
/// location is a name, such as that of a layer or a tensor, the name stands there with the file it is known to be from.
class DiagnosticPrinter {
 public:
  /// With `quiet`, remarks are left out.
  DiagnosticPrinter(mlir::MLIRContext* context, bool quiet);

 private:
  mlir::ScopedDiagnosticHandler handler;
};

/// "file:3:7", "file", "layers.3.in_proj (model.safetensors)", or nothing if nothing is known.
std::string describeLocation(mlir::Location location);

}  // namespace nemotron::tools

#endif  // TOOLS_COMPILE_DIAGNOSTICS_H
