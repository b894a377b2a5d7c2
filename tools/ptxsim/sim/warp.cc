#include "tools/ptxsim/sim/warp.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "tools/ptxsim/sim/block.h"
#include "tools/ptxsim/sim/lanes.h"

namespace nemotron::ptxsim {
namespace {

constexpr uint32_t kNoLane = ~0u;

/// A warp that runs this long without waiting lets others run: one of them may set the flag that it spins on.
constexpr uint64_t kStepsPerTurn = uint64_t{1} << 20;

}  // namespace

Warp::Warp(Block& block, uint32_t index) : block_(block), index_(index) {}

void Warp::Reset(uint32_t lanes) {
  live_ = active_ = lanes;
  parked_ = blocked_ = carry = 0;
  next_parked_ = kNoLane;
  depth_ = 0;
  accessor_.warp = index_;
  accessor_.known = block_.known(index_);
  accessed_ = false;
  EnterFrame(block_.launch().entry);
}

void Warp::EnterFrame(const DecodedFunction& function) {
  if (frames_.size() <= depth_) {
    frames_.push_back(std::make_unique<Frame>());
  }
  Frame& frame = *frames_[depth_];
  frame.function = &function;
  frame.returned = 0;
  frame.call = nullptr;
  frame.registers.assign(static_cast<size_t>(function.register_bytes) / sizeof(ConstantLine), {});
  const auto local_bytes = static_cast<size_t>(function.local_bytes) * kWarpSize;
  frame.local.assign(local_bytes, {});
  if (local_bytes != 0) {
    frame.local_initialized =
        std::vector<std::atomic<uint64_t>>(InitializedBits::WordsFor(static_cast<int64_t>(local_bytes)));
  }
  pc_ = 0;
  UseFrame();
}

void Warp::UseFrame() {
  frame_ = frames_[depth_].get();
  ops_ = frame_->function->ops.data();
  // Constants are never written: no result has a constant row.
  auto* constants = const_cast<ConstantLine*>(frame_->function->constants.data());
  bases_ = {reinterpret_cast<std::byte*>(frame_->registers.data()), reinterpret_cast<std::byte*>(constants)};
}

Flow Warp::Run() {
  auto& counts = block_.counters().instructions;
  for (uint64_t steps = 0;; ++steps) {
    if (pc_ >= next_parked_) [[unlikely]] {
      if (const Flow flow = Reschedule(); flow != Flow::kNext) {
        block_.AddSteps(steps);
        return flow;
      }
    }
    const Op& op = ops_[pc_];
    if (steps == kStepsPerTurn) [[unlikely]] {
      block_.AddSteps(steps);
      return block_.steps() < block_.launch().checks.max_steps_per_block
                 ? Flow::kYield
                 : Report(FindingKind::kTrap, op, std::countr_zero(active_),
                          fmt::format("the block has run {} instructions: an endless loop", block_.steps()));
    }
    uint32_t mask = active_;
    if (op.guard != kNoRow) {
      mask &= Predicate(op.guard) ^ op.guard_flip;
    }
    ++counts[static_cast<size_t>(op.counted_as)];
    ++pc_;
    if (mask == 0) {
      continue;
    }
    if (const Flow flow = op.run(*this, op, mask); flow != Flow::kNext) [[unlikely]] {
      block_.AddSteps(steps + 1);
      return flow;
    }
  }
}

void Warp::Park(uint32_t lanes, uint32_t pc) {
  ForEachLane(lanes, [&](int lane) { lane_pc_[lane] = pc; });
  parked_ |= lanes;
  next_parked_ = std::min(next_parked_, pc);
}

void Warp::StopActiveIfNone() {
  if (active_ == 0) {
    pc_ = kNoLane;  // at least every place of parked lanes, so that Run reschedules
  }
}

void Warp::Branch(uint32_t taken, uint32_t op) {
  const uint32_t rest = active_ & ~taken;
  if (rest == 0) {
    pc_ = op;
  } else if (op > pc_) {
    Park(taken, op);
    active_ = rest;
  } else {
    Park(rest, pc_);
    active_ = taken;
    pc_ = op;
  }
}

void Warp::BranchEach(uint32_t lanes, const std::array<uint32_t, kWarpSize>& targets) {
  if (const uint32_t rest = active_ & ~lanes) {
    Park(rest, pc_);
  }
  ForEachLane(lanes, [&](int lane) { Park(uint32_t{1} << lane, targets[lane]); });
  active_ = 0;
  StopActiveIfNone();
}

Flow Warp::Exit(uint32_t lanes) {
  live_ &= ~lanes;
  active_ &= ~lanes;
  StopActiveIfNone();
  return Flow::kNext;
}

Flow Warp::Return(uint32_t lanes) {
  if (depth_ == 0) {
    return Exit(lanes);
  }
  frame_->returned |= lanes;
  active_ &= ~lanes;
  StopActiveIfNone();
  return Flow::kNext;
}

/// Chooses the lanes to run when the active ones have reached others, or when none are active.
Flow Warp::Reschedule() {
  if (active_) {
    Park(active_, pc_);
    active_ = 0;
  }
  while ((parked_ & ~blocked_) == 0) {
    if (blocked_) {
      const int lane = std::countr_zero(blocked_);
      return Report(
          FindingKind::kDivergentBarrier, ops_[lane_pc_[lane]], lane,
          fmt::format("lanes {:#010x} wait at an instruction that needs other lanes of the warp, which cannot come; "
                      "live lanes are {:#010x}",
                      blocked_, live_));
    }
    if (depth_ == 0) {
      return Flow::kEnd;
    }
    LeaveFrame();
  }
  uint32_t next = kNoLane;
  ForEachLane(parked_ & ~blocked_, [&](int lane) { next = std::min(next, lane_pc_[lane]); });
  ForEachLane(parked_, [&](int lane) { active_ |= lane_pc_[lane] == next ? uint32_t{1} << lane : 0; });
  parked_ &= ~active_;
  blocked_ &= ~active_;
  pc_ = next;
  next_parked_ = kNoLane;
  if (blocked_) {
    next_parked_ = 0;  // look after each op whether these have been reached
  } else {
    ForEachLane(parked_, [&](int lane) { next_parked_ = std::min(next_parked_, lane_pc_[lane]); });
  }
  return Flow::kNext;
}

void Warp::WaitForLanes(uint32_t lanes) {
  Park(lanes, pc_ - 1);
  blocked_ |= lanes;
  next_parked_ = 0;
  active_ &= ~lanes;
  StopActiveIfNone();
}

Flow Warp::Call(const Op& op, uint32_t lanes) {
  const CallSite& call = frame_->function->calls[static_cast<size_t>(op.immediate)];
  if (depth_ + 1 == kMaxCallDepth) {
    return Report(FindingKind::kTrap, op, std::countr_zero(lanes),
                  fmt::format("calls nest deeper than {}", kMaxCallDepth));
  }
  if (const uint32_t rest = active_ & ~lanes) {
    Park(rest, pc_);
  }
  Frame& caller = *frame_;
  const uint32_t return_pc = pc_;
  ++depth_;
  EnterFrame(*block_.launch().functions[call.function]);
  Frame& callee = *frame_;
  callee.call = &call;
  callee.caller_pc = return_pc;
  callee.caller_parked = parked_;
  callee.caller_blocked = blocked_;
  callee.caller_lane_pc = lane_pc_;
  active_ = lanes;
  parked_ = blocked_ = 0;
  next_parked_ = kNoLane;
  const auto caller_bytes = static_cast<size_t>(caller.function->local_bytes);
  const auto callee_bytes = static_cast<size_t>(callee.function->local_bytes);
  InitializedBits initialized(callee.local_initialized.data());
  ForEachLane(lanes, [&](int lane) {
    for (const CallSite::Copy& copy : call.arguments) {
      const size_t to = callee_bytes * static_cast<size_t>(lane) + static_cast<size_t>(copy.to);
      std::memcpy(callee.local.data() + to,
                  caller.local.data() + caller_bytes * static_cast<size_t>(lane) + static_cast<size_t>(copy.from),
                  static_cast<size_t>(copy.size_bytes));
      initialized.SetRange(to, to + static_cast<uint64_t>(copy.size_bytes));
    }
  });
  return Flow::kNext;
}

void Warp::LeaveFrame() {
  Frame& callee = *frame_;
  --depth_;
  UseFrame();
  Frame& caller = *frame_;
  const auto caller_bytes = static_cast<size_t>(caller.function->local_bytes);
  const auto callee_bytes = static_cast<size_t>(callee.function->local_bytes);
  InitializedBits initialized(caller.local_initialized.data());
  ForEachLane(callee.returned, [&](int lane) {
    for (const CallSite::Copy& copy : callee.call->results) {
      const size_t to = caller_bytes * static_cast<size_t>(lane) + static_cast<size_t>(copy.to);
      std::memcpy(caller.local.data() + to,
                  callee.local.data() + callee_bytes * static_cast<size_t>(lane) + static_cast<size_t>(copy.from),
                  static_cast<size_t>(copy.size_bytes));
      initialized.SetRange(to, to + static_cast<uint64_t>(copy.size_bytes));
    }
  });
  lane_pc_ = callee.caller_lane_pc;
  parked_ = callee.caller_parked;
  blocked_ = callee.caller_blocked;
  Park(callee.returned, callee.caller_pc);
}

Flow Warp::Report(FindingKind kind, const Op& op, int lane, std::string message) {
  block_.Report(kind, op.line, ThreadOf(lane), std::move(message));
  return Flow::kStop;
}

void Warp::Synchronize() {
  if (accessed_) {
    accessed_ = false;
    accessor_.now = block_.Tick();
    UpdateKnowledge();
  }
}

void Warp::Release(uint32_t lanes) {
  if (block_.launch().checks.races) {
    block_.order().ReleaseFence(accessor_, block_.num_warps(), lanes);
    accessor_.now = block_.Tick();
  }
}

void Warp::Acquire(uint32_t lanes) {
  if (block_.launch().checks.races) {
    accessed_ = true;
    block_.order().AcquireFence(block_.launch().releases, accessor_, lanes);
  }
}

void Warp::UpdateKnowledge() {
  uint32_t* known = block_.known(index_);
  known[index_] = accessor_.known_of_own = accessor_.now - 1;
  accessor_.least_known = accessor_.now;
  accessor_.most_known_of_others = 0;
  for (uint32_t warp = 0; warp < block_.num_warps(); ++warp) {
    accessor_.least_known = std::min(accessor_.least_known, known[warp]);
    if (warp != index_) {
      accessor_.most_known_of_others = std::max(accessor_.most_known_of_others, known[warp]);
    }
  }
}

bool Warp::FindLocal(uint64_t address, uint32_t size_bytes, int lane, LocalBytes* found) {
  const uint64_t frame_index = (address & kOffsetMask) >> kFrameBits;
  if (frame_index > depth_) {
    return false;
  }
  Frame& frame = *frames_[frame_index];
  const auto local_bytes = static_cast<uint64_t>(frame.function->local_bytes);
  const uint64_t offset = address & kFrameMask;
  if (offset + size_bytes > local_bytes) {
    return false;
  }
  const uint64_t begin = local_bytes * static_cast<uint64_t>(lane) + offset;
  *found = {frame.local.data() + begin, InitializedBits(frame.local_initialized.data()), begin};
  return true;
}

}  // namespace nemotron::ptxsim
