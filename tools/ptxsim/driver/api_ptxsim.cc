// What the library exports beside the driver API.

#include <mutex>
#include <string>

#include "runtime/cuda/ptxsim.h"
#include "tools/ptxsim/driver/findings.h"

extern "C" void ptxsimSetLaunchCallback(PtxsimLaunchCallback callback, void* user) {
  nemotron::ptxsim::SetLaunchCallback(callback, user);
}

extern "C" const char* ptxsimFindings() {
  static std::mutex& mutex = *new std::mutex;
  static std::string& text = *new std::string;
  const std::lock_guard lock(mutex);
  text = nemotron::ptxsim::FindingsText();
  return text.c_str();
}
