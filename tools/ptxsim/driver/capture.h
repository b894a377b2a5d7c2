#ifndef TOOLS_PTXSIM_DRIVER_CAPTURE_H_
#define TOOLS_PTXSIM_DRIVER_CAPTURE_H_

#include <cuda.h>

#include <cstdint>
#include <map>
#include <set>
#include <thread>
#include <vector>

#include "tools/ptxsim/driver/operation.h"

namespace nemotron::ptxsim {

/// Nodes, by their number in the capture, that the next piece of work waits for.
using Frontier = std::set<size_t>;

struct GraphNode {
  Operation operation;
  Frontier dependencies;
};

/// Work that is recorded instead of executed: from cuStreamBeginCapture on one stream, over all that join it by waiting
/// for events of it, to cuStreamEndCapture on the first. Nodes are numbered in the order of the calls, which is one
/// that their dependencies allow, so that a graph is executed by going through it.
class Capture {
 public:
  Capture(CUstream origin, CUstreamCaptureMode mode, uint64_t id)
      : origin(origin), mode(mode), thread(std::this_thread::get_id()), id(id) {
    streams_[origin];
  }

  void Record(CUstream stream, Operation operation);
  /// `stream` waits for these nodes, and is part of the capture from now on.
  void Join(CUstream stream, const Frontier& frontier);
  /// A stream that is part of the capture.
  const Frontier& frontier(CUstream stream) const { return streams_.at(stream); }
  /// Whether the first stream waits for all work of the others.
  bool IsJoined() const;
  /// Whether calls of `thread` that wait or allocate are forbidden while this goes on.
  bool Forbids(std::thread::id thread) const;

  const CUstream origin;
  const CUstreamCaptureMode mode;
  const std::thread::id thread;
  const uint64_t id;
  bool invalidated = false;
  std::vector<GraphNode> nodes;

 private:
  std::map<CUstream, Frontier> streams_;
};

}  // namespace nemotron::ptxsim

#endif  // TOOLS_PTXSIM_DRIVER_CAPTURE_H_
