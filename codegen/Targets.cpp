//===- Targets.cpp - the targets of this build --------------------------------------------------------------------===//
#include "codegen/Targets.h"

#include "codegen/cpu/CpuTarget.h"

void nemotron::codegen::registerTargets() { plan::TargetRegistry::add(std::make_unique<CpuTarget>()); }
