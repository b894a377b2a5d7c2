#include "tools/ptxsim/sim/shadow.h"

#include <bit>

namespace nemotron::ptxsim {
namespace {

size_t SectorWords(const Allocation& allocation) { return static_cast<size_t>(allocation.size_bytes) / 32 / 64 + 1; }

using ShadowPointer = std::atomic<GlobalShadow*>;

}  // namespace

uint64_t GlobalShadow::CountSectors(bool is_store) const {
  const std::atomic<uint64_t>* words = is_store ? stored() : loaded();
  uint64_t count = 0;
  for (size_t i = 0; i < SectorWords(*allocation); ++i) {
    count += static_cast<uint64_t>(std::popcount(words[i].load(std::memory_order_relaxed)));
  }
  return count;
}

LaunchShadow::~LaunchShadow() {
  for (GlobalShadow* shadow : all_) {
    delete shadow;
  }
}

GlobalShadow& LaunchShadow::Find(const Allocation& allocation) {
  auto& chunk = chunks_.as<std::atomic<ShadowPointer*>>()[allocation.number / kChunk];
  const uint64_t index = allocation.number % kChunk;
  if (ShadowPointer* shadows = chunk.load(std::memory_order_acquire)) {
    if (GlobalShadow* shadow = shadows[index].load(std::memory_order_acquire)) {
      return *shadow;
    }
  }
  const std::lock_guard lock(mutex_);
  if (!chunk.load()) {
    chunk_pages_.emplace_back(kChunk * sizeof(ShadowPointer));
    chunk.store(chunk_pages_.back().as<ShadowPointer>(), std::memory_order_release);
  }
  ShadowPointer& pointer = chunk.load()[index];
  if (!pointer.load()) {
    const auto num_cells = static_cast<size_t>(allocation.size_bytes) / 4 + 1;
    auto* shadow = new GlobalShadow{&allocation, keeps_races_ ? ZeroPages(num_cells * sizeof(RaceCell)) : ZeroPages(),
                                    ZeroPages(SectorWords(allocation) * 8), ZeroPages(SectorWords(allocation) * 8)};
    all_.push_back(shadow);
    pointer.store(shadow, std::memory_order_release);
  }
  return *pointer.load();
}

void LaunchShadow::AddDistinctSectors(Counters& counters) const {
  for (const GlobalShadow* shadow : all_) {
    counters.distinct_load_sectors += shadow->CountSectors(/*is_store=*/false);
    counters.distinct_store_sectors += shadow->CountSectors(/*is_store=*/true);
  }
}

void FindingSet::Add(uint64_t block, Finding finding) {
  const std::lock_guard lock(mutex_);
  const auto [known, is_new] = findings_.try_emplace({finding.line, finding.kind}, block, finding);
  if (!is_new && block < known->second.first) {
    known->second = {block, std::move(finding)};
  }
}

std::vector<Finding> FindingSet::Take() {
  const std::lock_guard lock(mutex_);
  std::vector<Finding> findings;
  for (auto& [key, value] : findings_) {
    findings.push_back(std::move(value.second));
  }
  findings_.clear();
  return findings;
}

}  // namespace nemotron::ptxsim
