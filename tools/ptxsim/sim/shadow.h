#ifndef TOOLS_PTXSIM_SIM_SHADOW_H_
#define TOOLS_PTXSIM_SIM_SHADOW_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <tuple>
#include <vector>

#include "tools/ptxsim/sim/allocation.h"
#include "tools/ptxsim/sim/race_record.h"
#include "tools/ptxsim/sim/report.h"

namespace nemotron::ptxsim {

/// What one launch keeps of an allocation: who touched which word, and a bit for each sector of 32 bytes read or
/// written.
struct GlobalShadow {
  const Allocation* allocation;
  ZeroPages cell_pages, loaded_pages, stored_pages;

  RaceCell* cells() const { return cell_pages.as<RaceCell>(); }
  std::atomic<uint64_t>* loaded() const { return loaded_pages.as<std::atomic<uint64_t>>(); }
  std::atomic<uint64_t>* stored() const { return stored_pages.as<std::atomic<uint64_t>>(); }

  uint64_t CountSectors(bool is_store) const;
};

/// Shadows by allocation, made when first touched. Thread-safe; `Find` takes no lock once a shadow is there.
class LaunchShadow {
 public:
  explicit LaunchShadow(bool keeps_races) : keeps_races_(keeps_races) {}
  ~LaunchShadow();

  GlobalShadow& Find(const Allocation& allocation);

  void AddDistinctSectors(Counters& counters) const;

 private:
  static constexpr uint64_t kChunk = 4096, kNumChunks = 4096;

  const bool keeps_races_;
  std::mutex mutex_;
  std::vector<GlobalShadow*> all_;
  ZeroPages chunks_ = ZeroPages(kNumChunks * sizeof(uintptr_t));  // of std::atomic<std::atomic<GlobalShadow*>*>
  std::vector<ZeroPages> chunk_pages_;
};

/// Findings of a launch, one a line and kind: that of the first block, whatever order blocks ran in. Thread-safe.
class FindingSet {
 public:
  void Add(uint64_t block, Finding finding);
  std::vector<Finding> Take();

 private:
  std::mutex mutex_;
  std::map<std::tuple<uint32_t, FindingKind>, std::pair<uint64_t, Finding>> findings_;
};

}  // namespace nemotron::ptxsim

#endif  // TOOLS_PTXSIM_SIM_SHADOW_H_
