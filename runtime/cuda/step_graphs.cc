#include "runtime/cuda/step_graphs.h"

#include <algorithm>
#include <bit>

namespace nemotron::runtime::cuda {
namespace {

/// Beyond so many graphs steps are launched one by one; each takes some 100 KiB of device memory.
constexpr size_t kMaxGraphs = 256;
constexpr int64_t kLeastContext = 512;

}  // namespace

Status StepGraphs::Run(const GridShape& shape, const StepTables& tables,
                       const std::function<Status(const GridShape&)>& launch) {
  if (tables.sequences != tables_) {
    Clear();
    tables_ = tables.sequences;
  }
  GridShape served = shape;
  const auto doubled =
      static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max(shape.context, kLeastContext))));
  served.context = std::max(shape.context, std::min(doubled, max_context_));
  const Key key(served.sequences, served.rows, served.sampled, served.context);
  auto found = graphs_.find(key);
  if (found == graphs_.end()) {
    if (graphs_.size() == kMaxGraphs) {
      return launch(shape);
    }
    ASSIGN_OR_RETURN(const CUgraphExec graph, Record(served, launch));
    found = graphs_.emplace(key, graph).first;
  }
  CUDA_RETURN_IF_ERROR(gpu_->driver(), cuGraphLaunch, found->second, gpu_->stream());
  return OkStatus();
}

StatusOr<CUgraphExec> StepGraphs::Record(const GridShape& shape,
                                         const std::function<Status(const GridShape&)>& launch) {
  const Driver& driver = gpu_->driver();
  CUDA_RETURN_IF_ERROR(driver, cuStreamBeginCapture, gpu_->stream(), CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
  const Status launched = launch(shape);
  CUgraph graph = nullptr;
  const CUresult ended = driver.cuStreamEndCapture(gpu_->stream(), &graph);
  RETURN_IF_ERROR(launched);
  RETURN_IF_ERROR(driver.Check(ended, "cuStreamEndCapture"));
  CUgraphExec instance = nullptr;
  const CUresult instantiated = driver.cuGraphInstantiate(&instance, graph, 0);
  (void)driver.cuGraphDestroy(graph);
  RETURN_IF_ERROR(driver.Check(instantiated, "cuGraphInstantiate"));
  return instance;
}

void StepGraphs::Clear() {
  if (graphs_.empty() || !gpu_->Enter().ok()) {
    return;
  }
  for (const auto& [key, graph] : graphs_) {
    (void)gpu_->driver().cuGraphExecDestroy(graph);
  }
  graphs_.clear();
}

}  // namespace nemotron::runtime::cuda
