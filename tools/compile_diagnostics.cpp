//===- compile_diagnostics.cpp - what nemotron-compile prints about a model ---------------------------------------===//
#include "tools/compile_diagnostics.h"

#include <cstdio>

#include <fmt/format.h>

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Location.h"
#include "tools/console.h"

using namespace mlir;

namespace nemotron::tools {

std::string describeLocation(Location location) {
  if (auto file = dyn_cast<FileLineColLoc>(location)) {
    std::string text = file.getFilename().str();
    if (file.getLine() > 0) {
      text += ":" + std::to_string(file.getLine());
    }
    if (file.getLine() > 0 && file.getColumn() > 0) {
      text += ":" + std::to_string(file.getColumn());
    }
    return text;
  }
  if (auto name = dyn_cast<NameLoc>(location)) {
    std::string rest = describeLocation(name.getChildLoc());
    return rest.empty() ? name.getName().str() : name.getName().str() + " (" + rest + ")";
  }
  if (auto call = dyn_cast<CallSiteLoc>(location)) {
    return describeLocation(call.getCallee());
  }
  if (auto fused = dyn_cast<FusedLoc>(location)) {
    for (Location part : fused.getLocations()) {
      if (std::string text = describeLocation(part); !text.empty()) {
        return text;
      }
    }
  }
  return "";
}

static void print(Diagnostic &diagnostic) {
  struct Kind {
    const char *word;
    int color;
  };
  Kind kind = {"error", 31};
  switch (diagnostic.getSeverity()) {
  case DiagnosticSeverity::Error:
    break;
  case DiagnosticSeverity::Warning:
    kind = {"warning", 35};
    break;
  case DiagnosticSeverity::Note:
    kind = {"note", 36};
    break;
  case DiagnosticSeverity::Remark:
    kind = {"remark", 34};
    break;
  }
  std::string where = describeLocation(diagnostic.getLocation());
  std::string word =
      UseColor() ? fmt::format("\x1b[1;{}m{}:\x1b[0m", kind.color, kind.word) : fmt::format("{}:", kind.word);
  fmt::print(stderr, "{}: {} {}\n", where.empty() ? "nemotron-compile" : where, word, diagnostic.str());
}

DiagnosticPrinter::DiagnosticPrinter(MLIRContext *context, bool quiet)
    : handler(context, [quiet](Diagnostic &diagnostic) {
        if (!quiet || diagnostic.getSeverity() != DiagnosticSeverity::Remark) {
          print(diagnostic);
          for (Diagnostic &note : diagnostic.getNotes()) {
            print(note);
          }
        }
        return success();
      }) {}

} // namespace nemotron::tools
