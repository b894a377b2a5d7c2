//===- nemotron-opt.cpp - mlir-opt with our dialects and passes ---------------------------------------------------===//
#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"

#include "dialects/Nemotron/IR/Nemotron.h"
#include "dialects/Plan/IR/Plan.h"
#ifdef NEMOTRON_OPT_HAS_PASSES
#include "passes/Passes.h"
#endif
#ifdef NEMOTRON_OPT_HAS_TARGETS
#include "codegen/Targets.h"
#endif

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  mlir::registerAllDialects(registry);
  mlir::registerAllExtensions(registry);
  registry.insert<nemotron::ir::NemotronDialect, nemotron::plan::PlanDialect>();

  mlir::registerAllPasses();
#ifdef NEMOTRON_OPT_HAS_TARGETS
  nemotron::codegen::registerTargets();
#endif
#ifdef NEMOTRON_OPT_HAS_PASSES
  nemotron::passes::registerPasses();
  nemotron::passes::registerPipelines();
#endif
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, "Nemotron compiler: pass driver\n", registry));
}
