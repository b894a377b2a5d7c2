#include "tools/ptxsim/sim/block.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace nemotron::ptxsim {
namespace {

constexpr int64_t kDynamicSharedAlign = 16;

int64_t RoundUp(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

}  // namespace

void AsyncCopies::Reset(uint32_t num_threads, int64_t shared_bytes) {
  threads_.resize(num_threads);
  for (Thread& thread : threads_) {
    thread.copies.clear();
    thread.group_sizes.clear();
    thread.num_open = 0;
  }
  if (num_pending_words_ != 0 || pending_.empty()) {
    pending_.assign(static_cast<size_t>(shared_bytes / 4 + 4), 0);
  }
  num_pending_words_ = 0;
}

void AsyncCopies::Issue(uint32_t thread, uint32_t offset, uint32_t size_bytes) {
  threads_[thread].copies.push_back({offset, size_bytes});
  ++threads_[thread].num_open;
  for (uint32_t word = offset / 4; word < (offset + size_bytes) / 4; ++word) {
    pending_[word] = thread + 1;
  }
  num_pending_words_ += size_bytes / 4;
}

void AsyncCopies::Commit(uint32_t thread) {
  threads_[thread].group_sizes.push_back(threads_[thread].num_open);
  threads_[thread].num_open = 0;
}

std::vector<AsyncCopies::Copy> AsyncCopies::End(Thread& thread, size_t num_copies) {
  const auto end = thread.copies.begin() + static_cast<ptrdiff_t>(num_copies);
  std::vector<Copy> ended(thread.copies.begin(), end);
  thread.copies.erase(thread.copies.begin(), end);
  for (const Copy& copy : ended) {
    std::fill_n(pending_.begin() + copy.offset / 4, copy.size_bytes / 4, 0u);
    num_pending_words_ -= copy.size_bytes / 4;
  }
  return ended;
}

std::vector<AsyncCopies::Copy> AsyncCopies::Wait(uint32_t thread_index, size_t num_pending) {
  Thread& thread = threads_[thread_index];
  size_t num_copies = 0;
  while (thread.group_sizes.size() > num_pending) {
    num_copies += thread.group_sizes.front();
    thread.group_sizes.erase(thread.group_sizes.begin());
  }
  return End(thread, num_copies);
}

std::vector<AsyncCopies::Copy> AsyncCopies::WaitAll(uint32_t thread_index) {
  Thread& thread = threads_[thread_index];
  thread.group_sizes.clear();
  thread.num_open = 0;
  return End(thread, thread.copies.size());
}

int64_t AsyncCopies::PendingThread(uint64_t offset, uint32_t size_bytes) const {
  for (uint64_t word = offset / 4; word < (offset + size_bytes + 3) / 4; ++word) {
    if (pending_[word] != 0) {
      return int64_t{pending_[word]} - 1;
    }
  }
  return -1;
}

Block::Block(LaunchState& launch) : launch_(launch) {
  const auto& block = launch.config.block;
  num_threads_ = block[0] * block[1] * block[2];
  dynamic_shared_begin_ = RoundUp(launch.static_shared_bytes, kDynamicSharedAlign);
  shared_bytes_ = launch.config.dynamic_shared_bytes == 0 ? launch.static_shared_bytes
                                                          : dynamic_shared_begin_ + launch.config.dynamic_shared_bytes;
  shared_.resize(static_cast<size_t>(shared_bytes_));
  shared_initialized_ = ZeroPages(InitializedBits::WordsFor(shared_bytes_) * sizeof(uint64_t));
  shared_cells_ = ZeroPages((static_cast<size_t>(shared_bytes_) / 4 + 1) * sizeof(RaceCell));
  for (uint32_t warp = 0; warp < (num_threads_ + kWarpSize - 1) / kWarpSize; ++warp) {
    warps_.push_back(std::make_unique<Warp>(*this, warp));
  }
}

Block::~Block() = default;

std::array<uint32_t, 3> Block::ThreadCoordinates(uint32_t thread) const {
  const auto& block = launch_.config.block;
  return {thread % block[0], thread / block[0] % block[1], thread / block[0] / block[1]};
}

void Block::Reset(uint64_t index) {
  const auto& grid = launch_.config.grid;
  index_ = index;
  steps_ = 0;
  coordinates_ = {static_cast<uint32_t>(index % grid[0]), static_cast<uint32_t>(index / grid[0] % grid[1]),
                  static_cast<uint32_t>(index / grid[0] / grid[1])};
  if (launch_.checks.uninitialized) {
    shared_initialized().SetRange(0, static_cast<uint64_t>(shared_bytes_), false);
  }
  std::ranges::fill(shared_, std::byte{0});
  async_copies_.Reset(num_threads_, shared_bytes_);
  order_.Reset();
  // Records of shared memory carry the block's number, so that those of earlier blocks need no clearing until numbers
  // come round. A worker takes its blocks in order.
  const uint64_t total = uint64_t{grid[0]} * grid[1] * grid[2];
  if (index / RaceRecord::kNumBlocks != number_round_) {
    number_round_ = index / RaceRecord::kNumBlocks;
    shared_cells_ = ZeroPages((static_cast<size_t>(shared_bytes_) / 4 + 1) * sizeof(RaceCell));
  }
  clock_ = 1;
  for (auto& known : known_) {
    known.fill(0);
  }
  live_warps_ = blocked_warps_ = 0;
  barriers_.fill({});
  for (uint32_t warp = 0; warp < warps_.size(); ++warp) {
    const uint32_t num_lanes = std::min<uint32_t>(kWarpSize, num_threads_ - warp * kWarpSize);
    Accessor& accessor = warps_[warp]->accessor();
    accessor = {};
    accessor.block = static_cast<uint32_t>(index % RaceRecord::kNumBlocks) + 1;
    accessor.blocks_are_exact = total <= RaceRecord::kNumBlocks;
    accessor.now = 1;
    accessor.order = &order_;
    warps_[warp]->Reset(num_lanes == kWarpSize ? kAllLanes : (uint32_t{1} << num_lanes) - 1);
    warps_[warp]->UpdateKnowledge();
    live_warps_ |= uint32_t{1} << warp;
  }
}

void Block::Run(uint64_t index) {
  Reset(index);
  while (live_warps_ != 0) {
    bool progress = false;
    for (uint32_t warp = 0; warp < warps_.size(); ++warp) {
      const uint32_t bit = uint32_t{1} << warp;
      if (!(live_warps_ & bit) || (blocked_warps_ & bit)) {
        continue;
      }
      progress = true;
      const Flow flow = warps_[warp]->Run();
      if (flow == Flow::kStop) {
        return;
      }
      if (flow == Flow::kEnd) {
        live_warps_ &= ~bit;
        CompleteBarriers();
      }
    }
    if (!progress) {
      return ReportStuckBarrier();
    }
  }
}

bool Block::Arrive(uint32_t warp, const Arrival& arrival) {
  Barrier& barrier = barriers_[arrival.barrier];
  if (barrier.arrived_warps == 0) {
    barrier.expected_threads = arrival.num_threads;
  } else if (barrier.expected_threads != arrival.num_threads) {
    return false;
  }
  const uint32_t bit = uint32_t{1} << warp;
  barrier.num_arrived_threads += kWarpSize;
  barrier.arrived_warps |= bit;
  barrier.num_lanes += static_cast<uint32_t>(std::popcount(arrival.lanes));
  barrier.num_true += static_cast<uint32_t>(std::popcount(arrival.lanes & arrival.predicate));
  Accessor& accessor = warps_[warp]->accessor();
  for (uint32_t other = 0; other < warps_.size(); ++other) {
    barrier.known[other] = std::max(barrier.known[other], other == warp ? accessor.now : known_[warp][other]);
  }
  if (arrival.waits) {
    arrivals_[warp] = arrival;
    barrier.waiting_warps |= bit;
    blocked_warps_ |= bit;
  } else {
    accessor.now = Tick();
    warps_[warp]->UpdateKnowledge();
  }
  CompleteBarriers();
  return true;
}

void Block::CompleteBarriers() {
  for (Barrier& barrier : barriers_) {
    const bool complete = barrier.expected_threads == 0 ? (live_warps_ & ~barrier.arrived_warps) == 0
                                                        : barrier.num_arrived_threads >= barrier.expected_threads;
    if (barrier.arrived_warps != 0 && complete) {
      Complete(barrier);
    }
  }
}

void Block::Complete(Barrier& barrier) {
  for (uint32_t warp = 0; barrier.expected_threads == 0 && warp < warps_.size(); ++warp) {
    if (!(live_warps_ >> warp & 1)) {  // it has arrived by ending
      barrier.known[warp] = warps_[warp]->accessor().now;
    }
  }
  for (uint32_t warp = 0; warp < warps_.size(); ++warp) {
    if (!(barrier.waiting_warps >> warp & 1)) {
      continue;
    }
    Warp& waiting = *warps_[warp];
    for (uint32_t other = 0; other < warps_.size(); ++other) {
      known_[warp][other] = std::max(known_[warp][other], barrier.known[other]);
    }
    waiting.accessor().now = Tick();
    waiting.UpdateKnowledge();
    const Arrival& arrival = arrivals_[warp];
    if (arrival.reduction == Reduction::kPopcount) {
      uint32_t* result = waiting.Row<uint32_t>(arrival.result_row);
      for (int lane = 0; lane < kWarpSize; ++lane) {
        result[lane] = arrival.lanes >> lane & 1 ? barrier.num_true : result[lane];
      }
    } else if (arrival.reduction != Reduction::kNone) {
      const bool value =
          arrival.reduction == Reduction::kAnd ? barrier.num_true == barrier.num_lanes : barrier.num_true != 0;
      uint32_t& result = waiting.Predicate(arrival.result_row);
      result = (result & ~arrival.lanes) | (value ? arrival.lanes : 0);
    }
  }
  blocked_warps_ &= ~barrier.waiting_warps;
  barrier = {};
}

void Block::ReportStuckBarrier() {
  for (uint32_t id = 0; id < kNumBarriers; ++id) {
    const Barrier& barrier = barriers_[id];
    if (barrier.waiting_warps == 0) {
      continue;
    }
    const auto warp = static_cast<uint32_t>(std::countr_zero(barrier.waiting_warps));
    const uint32_t expected = barrier.expected_threads == 0
                                  ? static_cast<uint32_t>(std::popcount(live_warps_)) * kWarpSize
                                  : barrier.expected_threads;
    return Report(
        FindingKind::kDivergentBarrier, arrivals_[warp].line, warp * kWarpSize,
        fmt::format("barrier {} never completes: {} of {} threads arrived, and all others wait elsewhere or have ended",
                    id, barrier.num_arrived_threads, expected));
  }
}

void Block::Report(FindingKind kind, uint32_t line, uint32_t thread, std::string message) {
  launch_.findings.Add(index_,
                       {kind, launch_.entry.name, line, coordinates_, ThreadCoordinates(thread), std::move(message)});
}

}  // namespace nemotron::ptxsim
