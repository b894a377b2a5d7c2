#ifndef TOOLS_PROFILE_REPORT_H_
#define TOOLS_PROFILE_REPORT_H_

#include <cstdint>
#include <cstdio>
#include <deque>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/dtype.h"
#include "runtime/cpu/machine_peak.h"
#include "runtime/engine/profiler.h"
#include "runtime/plan/cost.h"

/// What the times of some device steps says, kernel by kernel.
namespace nemotron::tools {

/// All dispatches of one kernel whose products are made in one type.
struct KernelProfile {
  std::string_view kernel;  ///< in the plan
  runtime::DType products;  ///< F32 or BF16
  int64_t calls = 0;
  double seconds = 0;
  runtime::StepCost cost;
};

struct Profile {
  int64_t num_steps = 0, num_tokens = 0;
  double seconds = 0;                  ///< of the clock on the wall
  double between_seconds = 0;          ///< of these, outside of dispatches: engine, sampling, text
  std::vector<KernelProfile> kernels;  ///< longest first
};

/// Sums up `steps` [first, last), which ran `plan` and took `seconds` with all that is between them.
Profile SummarizeProfile(const schema::Plan& plan, const std::deque<runtime::ProfiledStep>& steps, size_t first,
                         size_t last, double seconds);

/// A table, a row a kernel; `title` stands above it.
void PrintProfile(std::FILE* file, std::string_view title, const Profile& profile,
                  const runtime::cpu::MachinePeak& peak);

/// {"steps", "tokens", "seconds", "between_seconds", "kernels": [...]}; shares are absent if the peak is not known.
nlohmann::json ProfileJson(const Profile& profile, const runtime::cpu::MachinePeak& peak);

nlohmann::json PeakJson(const runtime::cpu::MachinePeak& peak);
/// "reads 88.1 GB/s, dot products 210 GFLOP/s in bf16, 400 in int8, 110 in f32"; without what has no instruction.
std::string PeakText(const runtime::cpu::MachinePeak& peak);
/// "31 %"; "-" if it is not known.
std::string Percent(double share);

}  // namespace nemotron::tools

#endif  // TOOLS_PROFILE_REPORT_H_
