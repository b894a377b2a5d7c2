#ifndef TOOLS_PTXSIM_SIM_BLOCK_ORDER_H_
#define TOOLS_PTXSIM_SIM_BLOCK_ORDER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "tools/ptxsim/sim/race_record.h"

namespace nemotron::ptxsim {

/// How blocks of a launch are ordered: a fence and an atomic behind it release, an atomic that observes it and a fence
/// behind that acquire, each pair by one thread (PTX ISA 9.0, sections 8.8 to 8.10). Within a block barriers carry on
/// what one thread knows, as race_record.h says. For example, the last block of a group reads what all have written:
///
///   all threads  write y
///                bar.sync
///   thread 0     fence           it releases what it knows to lie behind it: all writes of its block
///                atom of word a  leaves that at `a`, and observes what others have left there
///                fence           it acquires what it observed
///                bar.sync
///   all threads  read y          ordered, for the acquisition lies behind them
///
/// `atom.acq_rel` is an atomic with both fences, `.release` and `.acquire` with one.
///
/// Not modelled: order by loads and stores that acquire and release, or by barriers that wait for a flag (blocks run
/// one after another), and a store to `a` does not end what was left there.

/// Accesses of some blocks that lie behind a thread: those of a lane, or of all lanes, of a warp up to a time.
class ReleasedAccesses {
 public:
  static constexpr uint32_t kAllLanes = 32;

  bool empty() const { return times_.empty(); }
  void Add(uint32_t block, uint32_t warp, uint32_t lane, uint32_t time);
  void Add(const ReleasedAccesses& others);

  /// Whether a record is one of them; of a record that threads share, whether any of these may be.
  bool Has(RaceRecord record) const;

 private:
  bool HasAny(uint64_t first_key, uint64_t last_key, uint32_t time) const;

  std::map<uint64_t, uint32_t> times_;  // by block, warp and lane
};

/// What atomics of a launch have left at the words they update, in order.
struct ReleaseLog {
  std::mutex mutex;  ///< held while an atomic updates its word, which gives the log the order of the updates
  std::unordered_map<uint64_t, std::vector<std::shared_ptr<const ReleasedAccesses>>> released;  ///< by address
};

/// What threads of one block have released and acquired.
class BlockOrder {
 public:
  void Reset();

  /// Fences of lanes of a warp. After a release the warp's accesses need another time.
  void ReleaseFence(const Accessor& warp, uint32_t num_warps, uint32_t lanes);
  void AcquireFence(ReleaseLog& log, const Accessor& warp, uint32_t lanes);

  /// An atomic of a thread is about to update the word at `address`; call with the log's mutex held.
  void Update(ReleaseLog& log, uint32_t thread, uint64_t address, bool observes);

  /// Whether an access of another block lies behind one by `accessor`.
  bool IsBehind(RaceRecord record, const Accessor& accessor) const;

 private:
  using Released = std::shared_ptr<const ReleasedAccesses>;
  /// A word as a thread has observed it.
  struct Observation {
    const std::vector<Released>* log;
    size_t num_released;
  };
  struct Thread {
    Released released;  // by its last fence
    std::vector<Observation> observed;
  };
  /// Lies behind accesses of its thread's time and behind all that are ordered behind those.
  struct Acquisition {
    uint32_t warp, lane, time;
    ReleasedAccesses accesses;
  };
  static bool IsBehind(const Acquisition& acquisition, const Accessor& accessor);

  std::unordered_map<uint32_t, Thread> threads_;
  std::vector<Acquisition> acquisitions_;
};

}  // namespace nemotron::ptxsim

#endif  // TOOLS_PTXSIM_SIM_BLOCK_ORDER_H_
