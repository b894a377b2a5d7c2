#ifndef RUNTIME_CUDA_LAUNCHER_H_
#define RUNTIME_CUDA_LAUNCHER_H_

#include <array>
#include <cstdint>
#include <vector>

#include "runtime/cuda/modules.h"
#include "runtime/plan/grid_expression.h"
#include "runtime/plan/step_tables.h"

namespace nemotron::runtime::cuda {

/// Device addresses that a plan's launches refer to.
struct Addresses {
  std::vector<CUdeviceptr> buffers;  ///< of each buffer's first row; of zeroed ones, the zeroed memory
  std::vector<CUdeviceptr> weights;
  CUdeviceptr scratch = 0;
};

/// The launches of all dispatches of a plan, their arguments resolved: what is left to a step is to evaluate grids.
class Launcher {
 public:
  /// Checks that dispatches have the arguments that their kernels' launches name. kDataLoss names the dispatch.
  static StatusOr<Launcher> Prepare(const Plan& plan, int64_t page_tokens);

  size_t num_dispatches() const { return dispatches_.size(); }

  /// Bytes of scratch that steps up to `shape` need. kResourceExhausted if that is absurd.
  StatusOr<int64_t> ScratchBytes(const GridShape& shape) const;

  /// Fills in addresses, once memory is there.
  void Bind(const Addresses& addresses);

  /// Launches what dispatch `dispatch` does on the GPU's stream. `modules` are those of the plan.
  Status Run(Gpu& gpu, const Modules& modules, uint32_t dispatch, const GridShape& shape, const StepTables& step) const;

 private:
  /// An argument as 8 bytes (of which F32 takes 4), or the tables of the step.
  struct Argument {
    schema::LaunchSource source;
    uint32_t index = 0;         // of the buffer or weight
    uint64_t offset_bytes = 0;  // of the first column that is meant
    uint64_t token_bytes = 0;   // of zeroed buffers, before this one, a token of the step
    uint64_t value = 0;
  };
  struct Launch {
    uint32_t kernel, index;  // launch `index` of `kernel`
    std::array<GridExpression, 3> grid;
    uint32_t block_threads, shared_bytes;
    std::vector<Argument> arguments;
  };
  static StatusOr<Launch> PrepareLaunch(const Plan& plan, const schema::Dispatch& dispatch, uint32_t index,
                                        int64_t page_tokens);
  static StatusOr<Argument> PrepareArgument(const Plan& plan, const schema::Dispatch& dispatch,
                                            const schema::LaunchArgument& argument, int64_t page_tokens);

  std::vector<std::vector<Launch>> dispatches_;
  std::vector<GridExpression> scratch_;  // of kernels that have some
};

}  // namespace nemotron::runtime::cuda

#endif  // RUNTIME_CUDA_LAUNCHER_H_
