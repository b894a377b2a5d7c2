#ifndef TOOLS_PTXSIM_DRIVER_FINDINGS_H_
#define TOOLS_PTXSIM_DRIVER_FINDINGS_H_

#include <array>
#include <cstdint>
#include <string>

#include "runtime/cuda/ptxsim.h"
#include "tools/ptxsim/sim/report.h"

namespace nemotron::ptxsim {

/// Keeps and prints what no launch before has found, and tells the callback of the launch.
void ReportLaunch(const std::string& kernel, const std::array<uint32_t, 3>& grid, const std::array<uint32_t, 3>& block,
                  const LaunchReport& report);

void SetLaunchCallback(PtxsimLaunchCallback callback, void* user);

/// All findings so far, one a line.
std::string FindingsText();

}  // namespace nemotron::ptxsim

#endif  // TOOLS_PTXSIM_DRIVER_FINDINGS_H_
