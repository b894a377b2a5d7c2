#ifndef TOOLS_PTXSIM_SIM_WARP_H_
#define TOOLS_PTXSIM_SIM_WARP_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tools/ptxsim/sim/address_space.h"
#include "tools/ptxsim/sim/allocation.h"
#include "tools/ptxsim/sim/function.h"
#include "tools/ptxsim/sim/op.h"
#include "tools/ptxsim/sim/race_record.h"

namespace nemotron::ptxsim {

class Block;

/// 32 lanes and the functions they are in.
///
/// Lanes run together while they agree on the program counter. Where they part, those with the smallest one run and the
/// others are parked until it reaches theirs; compilers lay out code so that lanes meet again where they can. An op
/// that names lanes (shfl.sync, bar.sync, ...) blocks those that reach it until all it names are there. A call is
/// entered by the lanes that make it, and left when all of them have returned.
class Warp {
 public:
  Warp(Block& block, uint32_t index);

  /// Puts `lanes` at the begin of the entry.
  void Reset(uint32_t lanes);

  /// Runs until the warp waits, yields, ends or has a finding.
  Flow Run();

  Block& block() { return block_; }
  uint32_t index() const { return index_; }
  uint32_t live() const { return live_; }
  uint32_t ThreadOf(int lane) const { return index_ * kWarpSize + static_cast<uint32_t>(lane); }

  template <typename T>
  T* Row(uint32_t row) const {
    return reinterpret_cast<T*>(bases_[row >> 31] + (row & ~kConstantRow));
  }
  uint32_t& Predicate(uint32_t row) const { return *Row<uint32_t>(row); }

  /// Sends `taken` of the active lanes to an op.
  void Branch(uint32_t taken, uint32_t op);
  /// Sends each lane to an op of its own; `lanes` are all that are active.
  void BranchEach(uint32_t lanes, const std::array<uint32_t, kWarpSize>& targets);
  Flow Exit(uint32_t lanes);
  Flow Return(uint32_t lanes);
  Flow Call(const Op& op, uint32_t lanes);

  /// Makes `lanes` wait at this op until others have come to it, and then run it again together.
  void WaitForLanes(uint32_t lanes);

  /// Ends the block with a finding.
  Flow Report(FindingKind kind, const Op& op, int lane, std::string message);

  /// The lanes of the warp have synchronised: what they did before is ordered before what they do now.
  void Synchronize();
  /// Fences of lanes for the order of blocks, see block_order.h.
  void Release(uint32_t lanes);
  void Acquire(uint32_t lanes);
  /// After a barrier changed what the warp knows of others.
  void UpdateKnowledge();
  Accessor& accessor() { return accessor_; }
  void NoteAccess() { accessed_ = true; }

  /// Bytes of local memory at a generic address of a lane.
  struct LocalBytes {
    std::byte* bytes;
    InitializedBits initialized;
    uint64_t bit;  ///< of the first byte in `initialized`
  };
  /// False if they do not lie in a frame.
  bool FindLocal(uint64_t address, uint32_t size_bytes, int lane, LocalBytes* found);
  uint64_t depth() const { return depth_; }
  const DecodedFunction& function() const { return *frame_->function; }

  uint32_t carry = 0;  ///< the condition code register of add.cc and the like, a bit a lane

 private:
  struct Frame {
    const DecodedFunction* function = nullptr;
    std::vector<ConstantLine> registers;
    std::vector<std::byte> local;  // a run of local_bytes for each lane
    std::vector<std::atomic<uint64_t>> local_initialized;
    uint32_t returned = 0;
    // Of the caller, while this frame runs.
    const CallSite* call = nullptr;
    uint32_t caller_pc = 0, caller_parked = 0, caller_blocked = 0;
    std::array<uint32_t, kWarpSize> caller_lane_pc = {};
  };

  void EnterFrame(const DecodedFunction& function);
  void UseFrame();
  Flow Reschedule();
  void Park(uint32_t lanes, uint32_t pc);
  void LeaveFrame();
  void StopActiveIfNone();

  Block& block_;
  const uint32_t index_;

  uint32_t pc_ = 0;
  uint32_t next_parked_ = ~0u;  // where Run must look after parked lanes
  uint32_t active_ = 0, live_ = 0, parked_ = 0, blocked_ = 0;
  std::array<uint32_t, kWarpSize> lane_pc_ = {};

  const Op* ops_ = nullptr;
  std::array<std::byte*, 2> bases_ = {};
  std::vector<std::unique_ptr<Frame>> frames_;
  Frame* frame_ = nullptr;
  uint32_t depth_ = 0;

  Accessor accessor_;
  bool accessed_ = false;
};

}  // namespace nemotron::ptxsim

#endif  // TOOLS_PTXSIM_SIM_WARP_H_
