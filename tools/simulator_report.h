#ifndef TOOLS_SIMULATOR_REPORT_H_
#define TOOLS_SIMULATOR_REPORT_H_

#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "runtime/cuda/launch_counters.h"

/// What the simulator of GPUs counted, kernel by kernel.
namespace nemotron::tools {

/// By function.
using SimulatorCounts = std::map<std::string, runtime::cuda::LaunchCounters::Kernel>;

/// A table, a row a function, those that load most bytes first; nothing if nothing was counted.
void PrintCounts(std::FILE* file, std::string_view title, const SimulatorCounts& counts);

/// A list of objects with all counters.
nlohmann::json CountsJson(const SimulatorCounts& counts);

}  // namespace nemotron::tools

#endif  // TOOLS_SIMULATOR_REPORT_H_
