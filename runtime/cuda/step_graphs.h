#ifndef RUNTIME_CUDA_STEP_GRAPHS_H_
#define RUNTIME_CUDA_STEP_GRAPHS_H_

#include <functional>
#include <map>
#include <tuple>

#include "runtime/cuda/gpu.h"
#include "runtime/plan/grid_expression.h"
#include "runtime/plan/step_tables.h"

namespace nemotron::runtime::cuda {

/// CUDA graphs of decode steps: the launches of a step, recorded once and from then on sent to the GPU by one call. A
/// step of decode has hundreds of launches of some microseconds each, which the host cannot send one by one as fast as
/// they run.
///
/// What a step launches depends on its shape alone, so there is a graph for each number of sequences and rows, sampled
/// or not, and for each doubling of the context: grids that grow with the context are those of the longest that the
/// graph serves, and blocks without keys end at once.
class StepGraphs {
 public:
  /// `max_context`: no graph serves longer ones, and scratch memory is there up to it.
  StepGraphs(Gpu* gpu, int64_t max_context) : gpu_(gpu), max_context_(max_context) {}
  ~StepGraphs() { Clear(); }
  StepGraphs(const StepGraphs&) = delete;
  StepGraphs& operator=(const StepGraphs&) = delete;

  /// Does what `launch`, called with a shape, puts on the GPU's stream for a step of this shape and these tables, which
  /// lie where they lay when a graph for the shape was recorded, or the graphs are recorded anew.
  Status Run(const GridShape& shape, const StepTables& tables, const std::function<Status(const GridShape&)>& launch);

 private:
  using Key = std::tuple<int64_t, int64_t, int64_t, int64_t>;  // S, R, A, C

  StatusOr<CUgraphExec> Record(const GridShape& shape, const std::function<Status(const GridShape&)>& launch);
  void Clear();

  Gpu* gpu_;
  int64_t max_context_;
  const SequenceEntry* tables_ = nullptr;  // where those of the recorded graphs begin
  std::map<Key, CUgraphExec> graphs_;
};

}  // namespace nemotron::runtime::cuda

#endif  // RUNTIME_CUDA_STEP_GRAPHS_H_
