#include "tools/ptxsim/sim/block_order.h"

#include <algorithm>

#include "tools/ptxsim/sim/lanes.h"

namespace nemotron::ptxsim {
namespace {

uint64_t KeyOf(uint32_t block, uint32_t warp, uint32_t lane) {
  return uint64_t{block} << 11 | uint64_t{warp} << 6 | lane;
}

}  // namespace

void ReleasedAccesses::Add(uint32_t block, uint32_t warp, uint32_t lane, uint32_t time) {
  uint32_t& known = times_[KeyOf(block, warp, lane)];
  known = std::max(known, time);
}

void ReleasedAccesses::Add(const ReleasedAccesses& others) {
  for (const auto& [key, time] : others.times_) {
    uint32_t& known = times_[key];
    known = std::max(known, time);
  }
}

bool ReleasedAccesses::HasAny(uint64_t first_key, uint64_t last_key, uint32_t time) const {
  const auto end = times_.upper_bound(last_key);
  return std::any_of(times_.lower_bound(first_key), end, [&](const auto& known) { return known.second >= time; });
}

bool ReleasedAccesses::Has(RaceRecord record) const {
  if (record.many_blocks()) {
    return !empty();
  }
  const uint32_t block = record.block(), warp = record.warp();
  if (record.many_warps()) {
    return HasAny(KeyOf(block, 0, 0), KeyOf(block, 31, kAllLanes), record.time());
  }
  if (record.many_lanes()) {
    return HasAny(KeyOf(block, warp, 0), KeyOf(block, warp, kAllLanes), record.time());
  }
  const uint64_t lane = KeyOf(block, warp, record.lane()), all = KeyOf(block, warp, kAllLanes);
  return HasAny(lane, lane, record.time()) || HasAny(all, all, record.time());
}

void BlockOrder::Reset() {
  threads_.clear();
  acquisitions_.clear();
}

void BlockOrder::ReleaseFence(const Accessor& warp, uint32_t num_warps, uint32_t lanes) {
  ForEachLane(lanes, [&](int lane) {
    Accessor accessor = warp;
    accessor.lane = static_cast<uint32_t>(lane);
    auto released = std::make_shared<ReleasedAccesses>();
    for (uint32_t other = 0; other < num_warps; ++other) {
      released->Add(accessor.block, other, ReleasedAccesses::kAllLanes, accessor.known[other]);
    }
    released->Add(accessor.block, accessor.warp, accessor.lane, accessor.now);
    for (const Acquisition& acquisition : acquisitions_) {
      if (IsBehind(acquisition, accessor)) {
        released->Add(acquisition.accesses);
      }
    }
    threads_[accessor.warp * kWarpSize + accessor.lane].released = std::move(released);
  });
}

void BlockOrder::AcquireFence(ReleaseLog& log, const Accessor& warp, uint32_t lanes) {
  const std::lock_guard lock(log.mutex);
  ForEachLane(lanes, [&](int lane) {
    const auto found = threads_.find(warp.warp * kWarpSize + static_cast<uint32_t>(lane));
    if (found == threads_.end() || found->second.observed.empty()) {
      return;
    }
    ReleasedAccesses accesses;
    for (const Observation& observation : found->second.observed) {
      for (size_t i = 0; i < observation.num_released; ++i) {
        accesses.Add(*(*observation.log)[i]);
      }
    }
    found->second.observed.clear();
    acquisitions_.push_back({warp.warp, static_cast<uint32_t>(lane), warp.now, std::move(accesses)});
  });
}

void BlockOrder::Update(ReleaseLog& log, uint32_t thread, uint64_t address, bool observes) {
  const auto own = threads_.find(thread);
  if (own != threads_.end() && own->second.released) {
    log.released[address].push_back(own->second.released);
  }
  if (const auto left = log.released.find(address); observes && left != log.released.end()) {
    std::vector<Observation>& observed = threads_[thread].observed;
    if (observed.empty() || observed.back().log != &left->second) {
      observed.push_back({&left->second, 0});
    }
    observed.back().num_released = left->second.size();
  }
}

bool BlockOrder::IsBehind(const Acquisition& acquisition, const Accessor& accessor) {
  const bool is_own = acquisition.warp == accessor.warp && acquisition.lane == accessor.lane;
  return is_own || acquisition.time <= accessor.known[acquisition.warp];
}

bool BlockOrder::IsBehind(RaceRecord record, const Accessor& accessor) const {
  return std::any_of(acquisitions_.begin(), acquisitions_.end(), [&](const Acquisition& acquisition) {
    return IsBehind(acquisition, accessor) && acquisition.accesses.Has(record);
  });
}

}  // namespace nemotron::ptxsim
