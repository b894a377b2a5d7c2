#ifndef RUNTIME_ENGINE_CPU_ARGUMENTS_H_
#define RUNTIME_ENGINE_CPU_ARGUMENTS_H_

#include <cstdint>

#include "runtime/cpu/kernel.h"
#include "runtime/engine/device.h"
#include "runtime/plan/plan.h"

/// A plan's program in the terms of runtime/cpu, for a program within `limits`.
namespace nemotron::runtime {

/// Columns [column, column + columns) of `buffer`.
cpu::BufferArgument MakeBuffer(const schema::Buffer& buffer, uint64_t column, uint64_t columns,
                               const ProgramLimits& limits);

/// All that `dispatch` says.
cpu::DispatchArguments MakeArguments(const Plan& plan, const schema::Dispatch& dispatch, const ProgramLimits& limits,
                                     int num_threads);

}  // namespace nemotron::runtime

#endif  // RUNTIME_ENGINE_CPU_ARGUMENTS_H_
