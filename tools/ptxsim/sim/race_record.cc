#include "tools/ptxsim/sim/race_record.h"

#include <algorithm>

#include "tools/ptxsim/sim/block_order.h"

namespace nemotron::ptxsim {

bool RaceRecord::IsOrderedBefore(const Accessor& accessor) const {
  if (time() == kMaxTime || accessor.now == kMaxTime) {
    return true;
  }
  if (many_warps()) {
    return time() <= accessor.least_known;
  }
  if (warp() == accessor.warp) {
    return time() <= accessor.known_of_own;
  }
  return time() <= accessor.known[warp()];
}

bool RaceRecord::ConflictsWithOverlap(const Accessor& accessor, uint32_t bytes, bool blocks_race) const {
  if (strong() && accessor.strong) {
    return false;
  }
  const bool covers_all = (bytes & this->bytes()) == this->bytes();
  if (many_blocks()) {
    return covers_all && !accessor.order->IsBehind(*this, accessor);
  }
  if (block() != accessor.block) {
    return blocks_race && !accessor.order->IsBehind(*this, accessor);
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
  return time() > accessor.known_of_own && (many_lanes() ? covers_all : lane() != accessor.lane);
}

/// Apart from Merged, which is called for most accesses and so calls nothing.
[[gnu::noinline]] RaceRecord RaceRecord::MergedWithOtherBlock(RaceRecord own, const Accessor& accessor) const {
  return accessor.order->IsBehind(*this, accessor) ? own
                                                   : RaceRecord(bits_ | (own.bits_ & kBytesAndStrength) | kManyBlocks);
}

RaceRecord RaceRecord::Merged(RaceRecord own, const Accessor& accessor, bool blocks_race) const {
  if (block() != accessor.block && !blocks_race) {
    return own;
  }
  const uint64_t merged = bits_ | (own.bits_ & kBytesAndStrength);
  if (many_blocks()) {
    return RaceRecord(merged);
  }
  if (block() != accessor.block) {
    return MergedWithOtherBlock(own, accessor);
  }
  if (IsOrderedBefore(accessor)) {
    return own;
  }
  const uint64_t earliest = std::min(time(), accessor.now);
  const uint64_t shared = (merged & ~(uint64_t{kMaxTime} << 20)) | earliest << 20;
  if (many_warps() || warp() != accessor.warp) {
    return RaceRecord(shared | kManyWarps);
  }
  if (many_lanes() || lane() != accessor.lane) {
    return RaceRecord(shared | kManyLanes);
  }
  return own.bytes() == RaceRecord(merged).bytes() ? own : RaceRecord(shared);  // the latest of a thread's says most
}

}  // namespace nemotron::ptxsim
