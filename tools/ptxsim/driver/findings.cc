#include "tools/ptxsim/driver/findings.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <mutex>
#include <set>
#include <tuple>

namespace nemotron::ptxsim {
namespace {

struct State {
  std::mutex mutex;
  std::string text;
  std::set<std::tuple<FindingKind, std::string, uint32_t>> known;  // kind, kernel, line
  PtxsimLaunchCallback callback = nullptr;
  void* user = nullptr;
};

State& Get() {
  static State& state = *new State;
  return state;
}

PtxsimCounters ToCounters(const Counters& counters) {
  PtxsimCounters result = {};
  static_assert(std::size(PtxsimCounters{}.instructions) == static_cast<size_t>(InstructionClass::kCount));
  std::copy(counters.instructions.begin(), counters.instructions.end(), result.instructions);
  result.tensor_multiply_adds = counters.tensor_multiply_adds;
  result.global_load_bytes = counters.global_load_bytes;
  result.global_store_bytes = counters.global_store_bytes;
  result.global_load_sectors = counters.global_load_sectors;
  result.global_load_ideal_sectors = counters.global_load_ideal_sectors;
  result.global_store_sectors = counters.global_store_sectors;
  result.global_store_ideal_sectors = counters.global_store_ideal_sectors;
  result.distinct_load_sectors = counters.distinct_load_sectors;
  result.distinct_store_sectors = counters.distinct_store_sectors;
  result.shared_wavefronts = counters.shared_wavefronts;
  result.shared_ideal_wavefronts = counters.shared_ideal_wavefronts;
  return result;
}

}  // namespace

void ReportLaunch(const std::string& kernel, const std::array<uint32_t, 3>& grid, const std::array<uint32_t, 3>& block,
                  const LaunchReport& report) {
  State& state = Get();
  PtxsimLaunchCallback callback = nullptr;
  void* user = nullptr;
  {
    const std::lock_guard lock(state.mutex);
    for (const Finding& finding : report.findings) {
      if (state.known.emplace(finding.kind, finding.kernel, finding.line).second) {
        const std::string text = finding.ToString();
        fmt::print(stderr, "ptxsim: {}\n", text);
        state.text += text + "\n";
      }
    }
    callback = state.callback;
    user = state.user;
  }
  if (callback) {
    const PtxsimCounters counters = ToCounters(report.counters);
    callback(user, kernel.c_str(), grid.data(), block.data(), &counters);
  }
}

void SetLaunchCallback(PtxsimLaunchCallback callback, void* user) {
  State& state = Get();
  const std::lock_guard lock(state.mutex);
  state.callback = callback;
  state.user = user;
}

std::string FindingsText() {
  State& state = Get();
  const std::lock_guard lock(state.mutex);
  return state.text;
}

}  // namespace nemotron::ptxsim
