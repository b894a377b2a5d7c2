#include "tools/ptxsim/driver/capture.h"

#include <utility>

namespace nemotron::ptxsim {

void Capture::Record(CUstream stream, Operation operation) {
  Frontier& frontier = streams_.at(stream);
  nodes.push_back({std::move(operation), std::exchange(frontier, {nodes.size()})});
}

void Capture::Join(CUstream stream, const Frontier& frontier) {
  streams_[stream].insert(frontier.begin(), frontier.end());
}

bool Capture::IsJoined() const {
  std::vector<bool> awaited(nodes.size());
  for (const size_t node : streams_.at(origin)) {
    awaited[node] = true;
  }
  for (size_t i = nodes.size(); i-- > 0;) {  // dependencies have smaller numbers
    for (const size_t dependency : nodes[i].dependencies) {
      awaited[dependency] = awaited[dependency] || awaited[i];
    }
  }
  for (const auto& [stream, frontier] : streams_) {
    for (const size_t node : frontier) {
      if (!awaited[node]) {
        return false;
      }
    }
  }
  return true;
}

bool Capture::Forbids(std::thread::id caller) const {
  return mode == CU_STREAM_CAPTURE_MODE_GLOBAL || (mode == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL && caller == thread);
}

}  // namespace nemotron::ptxsim
