//===- Plugin.cpp - what a tool calls after it has loaded this library --------------------------------------------===//
#include "Passes.h"

#include "mlir/Pass/PassRegistry.h"
#include "mlir/Tools/Plugins/PassPlugin.h"

extern "C" LLVM_ATTRIBUTE_WEAK mlir::PassPluginLibraryInfo mlirGetPassPluginInfo() {
  return {MLIR_PLUGIN_API_VERSION, "CountOps", "0.1", [] {
            mlir::registerPass(example::createCountOpsPass);
            mlir::registerPass(example::createDropLayersPass);
          }};
}
