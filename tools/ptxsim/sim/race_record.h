#ifndef TOOLS_PTXSIM_SIM_RACE_RECORD_H_
#define TOOLS_PTXSIM_SIM_RACE_RECORD_H_

#include <array>
#include <atomic>
#include <cstdint>

namespace nemotron::ptxsim {

class BlockOrder;

/// How races are found. Each word of 4 bytes keeps two records, of its last writer and of its readers since; an access
/// that finds an unordered record of another thread, one of the two writing, is a race.
///
/// Order comes from synchronisation alone. A block has a clock that counts synchronisations. A warp stamps its accesses
/// with the time of its last one, `now`, and knows for each warp of the block up to which of its stamps all accesses
/// lie before its own: `known[w]`. A barrier joins the knowledge of its warps; a warp-level synchronisation
/// (bar.warp.sync, shfl.sync, mma, ...) only moves `now`, which orders lanes of one warp. For example, with two warps:
///
///   warp 0, now 1: writes word x        record of x: (warp 0, lane 3, time 1)
///   bar.sync of both, clock 2           known of warp 1: [1, 1], now 2
///   warp 1 reads x                      time 1 <= known[0]: ordered
///   without the barrier                 time 1 > known[0] = 0: race
///
/// A fence moves `now` alone and orders no lanes, so that what a thread does before it and behind it has two times.
/// Blocks are ordered by what they release and acquire (block_order.h).
///
/// A record has 64 bits, so that several readers must share one: then it says "many lanes", "many warps" or "many
/// blocks" and keeps the earliest time and the union of bytes. What was lost that way hides races, but never makes one
/// up: a shared record only counts where each of its threads would race, or where all cannot be the same thread.
struct Accessor {
  uint32_t block = 0;  ///< linear, modulo 2^20 - 1, plus 1
  uint32_t warp = 0, lane = 0;
  uint32_t now = 1;
  uint32_t known_of_own = 0;          ///< known[warp], of which most records are
  bool strong = false;                ///< an atomic, or a volatile, relaxed, acquire or release access
  const uint32_t* known = nullptr;    ///< of each warp of the block
  uint32_t least_known = 0;           ///< over all warps of the block
  uint32_t most_known_of_others = 0;  ///< over all other warps
  bool blocks_are_exact = true;       ///< false: equal block numbers need not mean one block
  const BlockOrder* order = nullptr;  ///< to other blocks
};

class RaceRecord {
 public:
  static constexpr uint32_t kMaxTime = (1u << 24) - 1;  ///< accesses this late are ordered, as far as records know
  static constexpr uint32_t kNumBlocks = (1u << 20) - 1;

  RaceRecord() = default;
  explicit RaceRecord(uint64_t bits) : bits_(bits) {}
  uint64_t bits() const { return bits_; }

  /// `bytes`: one bit each of the word's four.
  static RaceRecord Of(const Accessor& accessor, uint32_t bytes) {
    return RaceRecord(uint64_t{accessor.block} | uint64_t{accessor.now} << 20 | uint64_t{accessor.warp} << 44 |
                      uint64_t{accessor.lane} << 49 | uint64_t{bytes} << 54 | uint64_t{accessor.strong} << 58);
  }

  /// Whether an access of `bytes` by `accessor` is unordered to a recorded one of another thread to the same bytes.
  /// `blocks_race`: records of other blocks count (global memory) or are left over (shared memory).
  bool ConflictsWith(const Accessor& accessor, uint32_t bytes, bool blocks_race) const {
    if (bits_ == 0 || !(this->bytes() & bytes)) {
      return false;
    }
    const bool is_before_all = block() == accessor.block && !many_blocks() && time() <= accessor.least_known;
    return !is_before_all && ConflictsWithOverlap(accessor, bytes, blocks_race);
  }

  /// The record after one more access; call after `ConflictsWith`.
  RaceRecord With(const Accessor& accessor, uint32_t bytes, bool blocks_race) const {
    const RaceRecord own = Of(accessor, bytes);
    return bits_ == 0 || bits_ == own.bits_ ? own : Merged(own, accessor, blocks_race);
  }

  uint32_t block() const { return bits_ & kNumBlocks; }
  uint32_t time() const { return bits_ >> 20 & kMaxTime; }
  uint32_t warp() const { return bits_ >> 44 & 31; }
  uint32_t lane() const { return bits_ >> 49 & 31; }
  uint32_t bytes() const { return bits_ >> 54 & 15; }
  bool strong() const { return bits_ >> 58 & 1; }
  bool many_lanes() const { return bits_ >> 59 & 1; }
  bool many_warps() const { return bits_ >> 60 & 1; }
  bool many_blocks() const { return bits_ >> 61 & 1; }

 private:
  static constexpr uint64_t kBytesAndStrength = uint64_t{31} << 54;
  static constexpr uint64_t kManyLanes = uint64_t{1} << 59, kManyWarps = uint64_t{1} << 60,
                            kManyBlocks = uint64_t{1} << 61;

  bool ConflictsWithOverlap(const Accessor& accessor, uint32_t bytes, bool blocks_race) const;
  RaceRecord Merged(RaceRecord own, const Accessor& accessor, bool blocks_race) const;
  RaceRecord MergedWithOtherBlock(RaceRecord own, const Accessor& accessor) const;
  bool IsOrderedBefore(const Accessor& accessor) const;

  uint64_t bits_ = 0;
};

/// The two records of a word. Relaxed atomics: a lost update of host threads that race hides a race of the kernel.
struct RaceCell {
  std::atomic<uint64_t> writer, readers;
};

}  // namespace nemotron::ptxsim

#endif  // TOOLS_PTXSIM_SIM_RACE_RECORD_H_
