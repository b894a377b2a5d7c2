//===- Targets.cpp - the targets of this build --------------------------------------------------------------------===//
#include "codegen/Targets.h"

#include "codegen/cpu/CpuTarget.h"
#include "codegen/cuda/CudaTarget.h"

void nemotron::codegen::registerTargets() {
  plan::TargetRegistry::add(std::make_unique<CpuTarget>());
  plan::TargetRegistry::add(std::make_unique<CudaTarget>());
}
