#ifndef TOOLS_PTXSIM_SIM_BLOCK_H_
#define TOOLS_PTXSIM_SIM_BLOCK_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tools/ptxsim/sim/allocation.h"
#include "tools/ptxsim/sim/block_order.h"
#include "tools/ptxsim/sim/function.h"
#include "tools/ptxsim/sim/launch.h"
#include "tools/ptxsim/sim/race_record.h"
#include "tools/ptxsim/sim/report.h"
#include "tools/ptxsim/sim/shadow.h"
#include "tools/ptxsim/sim/warp.h"

namespace nemotron::ptxsim {

constexpr uint32_t kMaxWarps = 32;
constexpr uint32_t kNumBarriers = 16;

/// What all blocks of a launch share.
struct LaunchState {
  const std::vector<std::unique_ptr<DecodedFunction>>& functions;
  const DecodedFunction& entry;
  const GpuModel& gpu;
  LaunchConfig config;
  Checks checks;
  GlobalMemory& memory;
  int64_t static_shared_bytes;
  uint64_t launch_number;
  LaunchShadow& shadow;
  ReleaseLog& releases;
  FindingSet& findings;
};

/// Copies of cp.async that threads have issued and not waited for. Bytes lie in shared memory already, but until the
/// thread waits nobody may touch them, and from then on they count as written by it (section 9.7.9.25.3).
class AsyncCopies {
 public:
  void Reset(uint32_t num_threads, int64_t shared_bytes);

  void Issue(uint32_t thread, uint32_t offset, uint32_t size_bytes);
  void Commit(uint32_t thread);

  /// A copy that has ended.
  struct Copy {
    uint32_t offset, size_bytes;
  };
  /// Ends all groups of a thread but the `num_pending` latest, or all copies, committed or not, and returns them.
  std::vector<Copy> Wait(uint32_t thread, size_t num_pending);
  std::vector<Copy> WaitAll(uint32_t thread);

  bool any() const { return num_pending_words_ != 0; }
  /// The thread whose copy to these bytes is pending, -1: none.
  int64_t PendingThread(uint64_t offset, uint32_t size_bytes) const;

 private:
  struct Thread {
    std::vector<Copy> copies;         // in order
    std::vector<size_t> group_sizes;  // of committed ones, oldest first
    size_t num_open = 0;              // copies in no group yet
  };
  std::vector<Copy> End(Thread& thread, size_t num_copies);

  std::vector<Thread> threads_;
  std::vector<uint32_t> pending_;  // of each word, thread + 1; the word counts copies of one thread only
  uint64_t num_pending_words_ = 0;
};

/// A block as it runs: shared memory, barriers, and warps that run one after another, each until it waits or ends.
class Block {
 public:
  explicit Block(LaunchState& launch);
  ~Block();

  /// Runs block `index` of the grid, x fastest. A finding ends it.
  void Run(uint64_t index);

  LaunchState& launch() { return launch_; }
  Counters& counters() { return counters_; }
  const std::array<uint32_t, 3>& coordinates() const { return coordinates_; }
  uint64_t index() const { return index_; }
  std::array<uint32_t, 3> ThreadCoordinates(uint32_t thread) const;
  uint32_t num_warps() const { return static_cast<uint32_t>(warps_.size()); }
  uint64_t steps() const { return steps_; }
  void AddSteps(uint64_t steps) { steps_ += steps; }

  std::byte* shared() { return shared_.data(); }
  int64_t shared_bytes() const { return shared_bytes_; }
  int64_t dynamic_shared_begin() const { return dynamic_shared_begin_; }
  InitializedBits shared_initialized() { return InitializedBits(shared_initialized_.as<std::atomic<uint64_t>>()); }
  RaceCell* shared_cells() { return shared_cells_.as<RaceCell>(); }
  AsyncCopies& async_copies() { return async_copies_; }
  BlockOrder& order() { return order_; }

  /// The next time of the block's clock, see race_record.h.
  uint32_t Tick() { return clock_ = clock_ < RaceRecord::kMaxTime ? clock_ + 1 : clock_; }
  /// What each warp knows of each.
  uint32_t* known(uint32_t warp) { return known_[warp].data(); }

  /// How bar.red combines predicates.
  enum class Reduction : uint8_t { kNone, kPopcount, kAnd, kOr };
  struct Arrival {
    uint32_t barrier;
    uint32_t num_threads;  ///< 0: all of the block
    bool waits;            ///< bar.sync, not bar.arrive
    uint32_t lanes, predicate;
    Reduction reduction = Reduction::kNone;
    uint32_t result_row = kNoRow;
    uint32_t line = 0;
  };
  /// A warp arrives; false if its barrier was entered with another thread count.
  bool Arrive(uint32_t warp, const Arrival& arrival);

  void Report(FindingKind kind, uint32_t line, uint32_t thread, std::string message);

 private:
  struct Barrier {
    uint32_t expected_threads = 0;
    uint32_t num_arrived_threads = 0;
    uint32_t arrived_warps = 0, waiting_warps = 0;
    uint32_t num_lanes = 0, num_true = 0;
    std::array<uint32_t, kMaxWarps> known = {};
  };

  void Reset(uint64_t index);
  void CompleteBarriers();
  void Complete(Barrier& barrier);
  void ReportStuckBarrier();

  LaunchState& launch_;
  Counters counters_;
  uint64_t index_ = 0, steps_ = 0;
  std::array<uint32_t, 3> coordinates_ = {};
  uint32_t num_threads_;
  std::vector<std::unique_ptr<Warp>> warps_;
  uint32_t live_warps_ = 0, blocked_warps_ = 0;
  std::array<Barrier, kNumBarriers> barriers_;
  std::array<Arrival, kMaxWarps> arrivals_;  // of warps that wait

  int64_t dynamic_shared_begin_, shared_bytes_;
  std::vector<std::byte> shared_;
  ZeroPages shared_initialized_, shared_cells_;
  AsyncCopies async_copies_;
  BlockOrder order_;
  uint32_t clock_ = 0;
  uint64_t number_round_ = 0;
  std::array<std::array<uint32_t, kMaxWarps>, kMaxWarps> known_ = {};
};

}  // namespace nemotron::ptxsim

#endif  // TOOLS_PTXSIM_SIM_BLOCK_H_
