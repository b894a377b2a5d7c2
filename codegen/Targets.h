//===- Targets.h - the targets of this build ------------------------------------------------------------------*- C++
//-*-===//
#ifndef CODEGEN_TARGETS_H
#define CODEGEN_TARGETS_H

namespace nemotron::codegen {

/// Makes all targets known to `convert-nemotron-to-plan`. May be called more than once.
void registerTargets();

} // namespace nemotron::codegen

#endif // CODEGEN_TARGETS_H
