#ifndef TOOLS_TRACE_FILE_H_
#define TOOLS_TRACE_FILE_H_

#include <cstddef>
#include <deque>

#include "runtime/base/file_writer.h"
#include "runtime/base/status.h"
#include "runtime/engine/profiler.h"
#include "runtime/plan/plan.h"

namespace nemotron::tools {

/// Appends a Chrome trace of `steps` to `file` (chrome://tracing, ui.perfetto.dev): an event a step, named "prefill"
/// for the first `num_prefill_steps` and "decode" for the others, and in it one a dispatch. Times count from the first
/// step.
runtime::Status WriteTrace(runtime::FileWriter& file, const runtime::Plan& plan,
                           const std::deque<runtime::ProfiledStep>& steps, size_t num_prefill_steps);

}  // namespace nemotron::tools

#endif  // TOOLS_TRACE_FILE_H_
