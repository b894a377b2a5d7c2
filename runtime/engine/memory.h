#ifndef RUNTIME_ENGINE_MEMORY_H_
#define RUNTIME_ENGINE_MEMORY_H_

#include <cstdint>
#include <string>

#include "runtime/base/status.h"
#include "runtime/engine/device.h"
#include "runtime/engine/engine.h"
#include "runtime/plan/plan.h"

namespace nemotron::runtime {

/// Bytes that this process can still take without being killed: MemAvailable of /proc/meminfo, lowered to what the
/// limits of its control groups (version 1 and 2, all ancestors) leave. File cache counts as available. `root` stands
/// before /proc and /sys and is for tests. Never less than 0; a machine that tells nothing has 2^62.
int64_t AvailableMemoryBytes(const std::string& root = "");

/// "512 bytes", "3.2 MiB": at most 4 digits and a binary unit.
std::string FormatBytes(int64_t bytes);

/// The capacities that `options` ask for, zeros replaced by defaults. kInvalidArgument names the option and its range.
StatusOr<ProgramLimits> ResolveLimits(const EngineOptions& options, int64_t max_position_embeddings);

/// Bytes of one page of `page_tokens` tokens.
int64_t PageBytes(const Plan& plan, int64_t page_tokens);

/// Adds up what the plan needs and fits the number of pages into `available_bytes`. A context that was asked for is
/// taken or refused; the default context is lowered as far as 512 tokens, and `note` says so. kResourceExhausted says
/// what was needed, what there is, and which options to lower.
StatusOr<MemoryReport> FitMemory(const Plan& plan, const EngineOptions& options, const ProgramLimits& limits,
                                 int64_t workspace_bytes, int64_t available_bytes);

}  // namespace nemotron::runtime

#endif  // RUNTIME_ENGINE_MEMORY_H_
