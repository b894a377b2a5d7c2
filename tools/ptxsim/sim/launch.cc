#include "tools/ptxsim/sim/launch.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstdlib>
#include <mutex>
#include <string_view>
#include <thread>
#include <vector>

#include "tools/ptxsim/sim/block.h"
#include "tools/ptxsim/sim/loaded_module.h"

namespace nemotron::ptxsim {
namespace {

using runtime::InvalidArgument;
using runtime::Status;
using runtime::StatusOr;

uint64_t Product(const std::array<uint32_t, 3>& extents) { return uint64_t{extents[0]} * extents[1] * extents[2]; }

std::string Shape(const std::array<uint32_t, 3>& extents) {
  return fmt::format("({},{},{})", extents[0], extents[1], extents[2]);
}

/// Limits of devices of compute capability 8.0 and later: CUDA C++ programming guide, "technical specifications".
Status CheckConfig(const Function& entry, const LaunchConfig& config, const GpuModel& gpu,
                   int64_t static_shared_bytes) {
  if (Product(config.grid) == 0 || config.grid[0] > 0x7fffffff || config.grid[1] > 65535 || config.grid[2] > 65535) {
    return InvalidArgument("grid {}, expected 1 to (2147483647,65535,65535) blocks", Shape(config.grid));
  }
  const uint64_t num_threads = Product(config.block);
  if (num_threads == 0 || config.block[0] > 1024 || config.block[1] > 1024 || config.block[2] > 64 ||
      num_threads > static_cast<uint64_t>(gpu.max_threads_per_block)) {
    return InvalidArgument("block {}, expected 1 to (1024,1024,64) and at most {} threads", Shape(config.block),
                           gpu.max_threads_per_block);
  }
  const uint64_t max_threads = Product(entry.max_threads);
  if (max_threads != 0 && num_threads > max_threads) {
    return InvalidArgument("block {} of kernel '{}', which has '.maxntid' of {} threads", Shape(config.block),
                           entry.name, max_threads);
  }
  if (entry.required_threads[0] != 0 && config.block != entry.required_threads) {
    return InvalidArgument("block {} of kernel '{}', which requires {}", Shape(config.block), entry.name,
                           Shape(entry.required_threads));
  }
  if (config.dynamic_shared_bytes < 0 || config.dynamic_shared_bytes > gpu.max_shared_bytes_per_block ||
      static_shared_bytes + config.dynamic_shared_bytes > gpu.max_shared_bytes_per_block) {
    return InvalidArgument("{} bytes of dynamic and {} of static shared memory, the GPU has {} for a block",
                           config.dynamic_shared_bytes, static_shared_bytes, gpu.max_shared_bytes_per_block);
  }
  if (static_cast<int64_t>(config.parameters.size()) != entry.parameter_bytes) {
    return InvalidArgument("{} bytes of parameters for kernel '{}', expected {}", config.parameters.size(), entry.name,
                           entry.parameter_bytes);
  }
  return runtime::OkStatus();
}

/// Host threads that run blocks: PTXSIM_THREADS, or as many as there are CPUs in the process's affinity mask.
unsigned NumWorkers() {
  if (const char* text = std::getenv("PTXSIM_THREADS")) {
    const std::string_view view(text);
    unsigned count = 0;
    const auto [end, error] = std::from_chars(view.data(), view.data() + view.size(), count);
    if (error == std::errc() && end == view.data() + view.size() && count > 0) {
      return std::min(count, 1024u);
    }
  }
  return std::max(std::thread::hardware_concurrency(), 1u);
}

}  // namespace

StatusOr<LaunchReport> Launch(const LoadedModule& module, const std::string& entry_name, const LaunchConfig& config,
                              const Checks& checks, GlobalMemory& memory) {
  static std::atomic<uint64_t> num_launches = 0;
  const auto& loaded = static_cast<const LoadedModuleImpl&>(module);
  const int index = loaded.FindFunction(entry_name);
  if (index < 0 || !module.module().functions[static_cast<size_t>(index)].is_entry) {
    return InvalidArgument("launch of '{}', which is no entry of the module", entry_name);
  }
  ASSIGN_OR_RETURN(const int64_t static_shared_bytes, module.StaticSharedBytes(entry_name));
  RETURN_IF_ERROR(
      CheckConfig(module.module().functions[static_cast<size_t>(index)], config, loaded.gpu(), static_shared_bytes));

  LaunchShadow shadow(checks.races);
  ReleaseLog releases;
  FindingSet findings;
  LaunchState launch = {loaded.functions(),
                        *loaded.functions()[static_cast<size_t>(index)],
                        loaded.gpu(),
                        config,
                        checks,
                        memory,
                        static_shared_bytes,
                        ++num_launches,
                        shadow,
                        releases,
                        findings};
  const uint64_t num_blocks = Product(config.grid);
  std::atomic<uint64_t> next_block = 0;
  LaunchReport report;
  std::mutex report_mutex;
  auto work = [&] {
    Block block(launch);
    for (uint64_t i = next_block++; i < num_blocks; i = next_block++) {
      block.Run(i);
    }
    const std::lock_guard lock(report_mutex);
    report.counters += block.counters();
  };
  const auto num_workers = static_cast<size_t>(std::min<uint64_t>(NumWorkers(), num_blocks));
  std::vector<std::thread> workers;
  for (size_t i = 1; i < num_workers; ++i) {
    workers.emplace_back(work);
  }
  work();
  for (std::thread& worker : workers) {
    worker.join();
  }
  shadow.AddDistinctSectors(report.counters);
  report.findings = findings.Take();
  return report;
}

}  // namespace nemotron::ptxsim
