#include "tools/ptxsim/sim/race_record.h"

#include <algorithm>

namespace nemotron::ptxsim {

bool RaceRecord::IsOrderedBefore(const Accessor& accessor) const {
  if (time() == kMaxTime || accessor.now == kMaxTime) {
    return true;
  }
  if (many_warps()) {
    return time() <= accessor.least_known;
  }
  if (warp() == accessor.warp) {
    return time() < accessor.now;
  }
  return time() <= accessor.known[warp()];
}

bool RaceRecord::ConflictsWithOverlap(const Accessor& accessor, uint32_t bytes, bool blocks_race) const {
  if (strong() && accessor.strong) {
    return false;
  }
  const bool covers_all = (bytes & this->bytes()) == this->bytes();
  if (many_blocks()) {
    return covers_all;
  }
  if (block() != accessor.block) {
    return blocks_race;
  }
  if ((blocks_race && !accessor.blocks_are_exact) || time() == kMaxTime || accessor.now == kMaxTime) {
    return false;
  }
  if (many_warps()) {
    return covers_all && time() > accessor.most_known_of_others;
  }
  if (warp() != accessor.warp) {
    return time() > accessor.known[warp()];
  }
  return time() == accessor.now && (many_lanes() ? covers_all : lane() != accessor.lane);
}

RaceRecord RaceRecord::Merged(RaceRecord own, const Accessor& accessor, bool blocks_race) const {
  if (block() != accessor.block && !blocks_race) {
    return own;
  }
  const uint64_t merged = bits_ | (own.bits_ & (uint64_t{31} << 54));  // bytes and strength of both
  if (many_blocks()) {
    return RaceRecord(merged);
  }
  if (block() != accessor.block) {
    return RaceRecord(merged | kManyBlocks);
  }
  if (IsOrderedBefore(accessor)) {
    return own;
  }
  if (many_warps() || warp() != accessor.warp) {
    const uint64_t earliest = std::min(time(), accessor.now);
    return RaceRecord((merged & ~(uint64_t{kMaxTime} << 20)) | earliest << 20 | kManyWarps);
  }
  return RaceRecord(lane() == accessor.lane ? merged : merged | kManyLanes);
}

}  // namespace nemotron::ptxsim
