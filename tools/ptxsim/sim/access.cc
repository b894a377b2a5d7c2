#include "tools/ptxsim/sim/access.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <span>
#include <string>

#include "tools/ptxsim/sim/address_space.h"
#include "tools/ptxsim/sim/block.h"
#include "tools/ptxsim/sim/warp.h"

namespace nemotron::ptxsim {
namespace {

constexpr uint64_t kSectorBytes = 32;

const char* Verb(AccessKind kind) {
  switch (kind) {
    case AccessKind::kLoad:
      return "reads";
    case AccessKind::kStore:
      return "writes";
    case AccessKind::kAtomic:
      return "updates";
  }
  return "touches";
}

std::string Describe(const Access& access, uint64_t offset) {
  return fmt::format("{} {} bytes at {}", Verb(access.kind), access.size_bytes, offset);
}

/// A stretch of memory that lanes of an access lie in.
struct Region {
  const char* name;  ///< "shared memory"; null: an allocation
  std::byte* bytes;
  uint64_t size_bytes;
  InitializedBits initialized;
  bool is_initialized;
  RaceCell* cells;  ///< null: races are not checked
  bool blocks_race;

  std::string Name() const { return name ? name : fmt::format("an allocation of {} bytes", size_bytes); }
};

template <typename Visit>
bool AllOf(uint32_t lanes, Visit visit) {
  for (; lanes; lanes &= lanes - 1) {
    if (!visit(std::countr_zero(lanes))) {
      return false;
    }
  }
  return true;
}

class Checker {
 public:
  Checker(Warp& warp, const Op& op, Access& access) : warp_(warp), block_(warp.block()), op_(op), access_(access) {}

  bool ResolveLanes(uint32_t lanes, uint64_t number) {
    switch (number) {
      case kSharedNumber:
        return Allowed(lanes, AccessSpace::kShared) && ResolveShared(lanes);
      case kLocalNumber:
        return (access_.space == AccessSpace::kParameter || Allowed(lanes, AccessSpace::kLocal)) && ResolveLocal(lanes);
      case kParameterNumber:
        return Allowed(lanes, AccessSpace::kParameter) && ResolveParameter(lanes);
      default:
        return Allowed(lanes, AccessSpace::kGlobal) && ResolveGlobal(lanes, number);
    }
  }

 private:
  bool Fail(FindingKind kind, int lane, std::string message) {
    warp_.Report(kind, op_, lane, std::move(message));
    return false;
  }

  uint64_t Offset(int lane) const { return access_.address[lane] & kOffsetMask; }

  bool Allowed(uint32_t lanes, AccessSpace space) {
    if (access_.space == AccessSpace::kGeneric || access_.space == space) {
      return true;
    }
    const int lane = std::countr_zero(lanes);
    return Fail(FindingKind::kOutOfBounds, lane,
                fmt::format("{} {} bytes at {:#x}, which is not in the state space of the instruction",
                            Verb(access_.kind), access_.size_bytes, access_.address[lane]));
  }

  bool CheckBounds(const Region& region, uint32_t lanes) {
    const uint64_t size = access_.size_bytes;
    uint32_t bad = 0;
    for (int lane = 0; lane < kWarpSize; ++lane) {
      const uint64_t offset = Offset(lane);
      bad |= static_cast<uint32_t>((offset + size > region.size_bytes) | ((offset & (size - 1)) != 0)) << lane;
    }
    bad &= lanes;
    if (bad == 0) [[likely]] {
      return true;
    }
    const int lane = std::countr_zero(bad);
    const bool is_outside = Offset(lane) + size > region.size_bytes;
    return Fail(
        is_outside ? FindingKind::kOutOfBounds : FindingKind::kMisaligned, lane,
        fmt::format("{} of {}", Describe(access_, Offset(lane)),
                    !region.name ? region.Name() : fmt::format("{} bytes of {}", region.size_bytes, region.name)));
  }

  bool IsContiguous(uint32_t lanes) const {
    if (lanes != kAllLanes) {
      return false;
    }
    uint64_t difference = 0;
    for (int lane = 0; lane < kWarpSize; ++lane) {
      difference |= access_.address[lane] - access_.address[0] - static_cast<uint64_t>(lane) * access_.size_bytes;
    }
    return difference == 0;
  }

  bool CheckInitialized(Region& region, uint32_t lanes) {
    const uint32_t size = access_.size_bytes;
    const bool writes = access_.kind == AccessKind::kStore;
    if (writes && !region.is_initialized) {
      if (access_.contiguous) {
        region.initialized.SetRange(Offset(0), Offset(0) + uint64_t{size} * kWarpSize);
      } else {
        AllOf(lanes, [&](int lane) {
          region.initialized.Set(Offset(lane), size);
          return true;
        });
      }
    }
    if (writes || region.is_initialized || !block_.launch().checks.uninitialized ||
        (access_.contiguous && region.initialized.AllSetInRange(Offset(0), Offset(0) + uint64_t{size} * kWarpSize))) {
      return true;
    }
    return AllOf(lanes, [&](int lane) {
      if (region.initialized.AllSet(Offset(lane), size)) [[likely]] {
        return true;
      }
      uint64_t byte = Offset(lane);
      while (region.initialized.AllSet(byte, 1)) {
        ++byte;
      }
      return Fail(FindingKind::kUninitialized, lane,
                  fmt::format("{} of {}, and nobody has written byte {}", Describe(access_, Offset(lane)),
                              region.Name(), byte));
    });
  }

  bool CheckRaces(const Region& region, uint32_t lanes) {
    if (!region.cells) {
      return true;
    }
    Accessor accessor = warp_.accessor();
    accessor.strong = access_.strong;
    warp_.NoteAccess();
    const bool writes = access_.kind != AccessKind::kLoad;
    const uint32_t num_words = std::max(access_.size_bytes / 4, 1u);
    auto bytes_of = [&](uint64_t offset) {
      return access_.size_bytes >= 4 ? 15u : ((1u << access_.size_bytes) - 1) << (offset & 3);
    };
    // All lanes look before any leaves a record: lanes of one instruction do not race by it (but see CheckStored).
    const bool all_ordered = AllOf(lanes, [&](int lane) {
      accessor.lane = static_cast<uint32_t>(lane);
      const uint64_t offset = Offset(lane);
      const uint32_t bytes = bytes_of(offset);
      for (uint64_t word = offset / 4; word < offset / 4 + num_words; ++word) {
        const RaceRecord writer(region.cells[word].writer.load(std::memory_order_relaxed));
        if (writer.ConflictsWith(accessor, bytes, region.blocks_race)) [[unlikely]] {
          return FailRace(region, lane, writer, "wrote");
        }
        if (writes) {
          const RaceRecord readers(region.cells[word].readers.load(std::memory_order_relaxed));
          if (readers.ConflictsWith(accessor, bytes, region.blocks_race)) [[unlikely]] {
            return FailRace(region, lane, readers, "read");
          }
        }
      }
      return true;
    });
    if (!all_ordered) {
      return false;
    }
    return AllOf(lanes, [&](int lane) {
      accessor.lane = static_cast<uint32_t>(lane);
      const uint64_t offset = Offset(lane);
      const uint32_t bytes = bytes_of(offset);
      for (uint64_t word = offset / 4; word < offset / 4 + num_words; ++word) {
        std::atomic<uint64_t>& record = writes ? region.cells[word].writer : region.cells[word].readers;
        const uint64_t old = record.load(std::memory_order_relaxed);
        const uint64_t next = RaceRecord(old).With(accessor, bytes, region.blocks_race).bits();
        if (next != old) {
          record.store(next, std::memory_order_relaxed);
        }
      }
      return true;
    });
  }

  bool FailRace(const Region& region, int lane, RaceRecord other, const char* did) {
    std::string who = "several threads";
    if (!other.many_blocks() && other.block() != warp_.accessor().block) {
      who = fmt::format("block {}", other.block() - 1);
    } else if (!other.many_blocks() && !other.many_warps()) {
      const auto thread = block_.ThreadCoordinates(other.warp() * kWarpSize + other.lane());
      who =
          fmt::format("thread ({},{},{}){}", thread[0], thread[1], thread[2], other.many_lanes() ? " and others" : "");
    }
    return Fail(FindingKind::kRace, lane,
                fmt::format("{} of {}, which {} {} with nothing between that orders them",
                            Describe(access_, Offset(lane)), region.Name(), who, did));
  }

  bool ResolveGlobal(uint32_t lanes, uint64_t number) {
    LaunchState& launch = block_.launch();
    Allocation* allocation = launch.memory.Find(number << kOffsetBits);
    if (!allocation) {
      const int lane = std::countr_zero(lanes);
      return Fail(FindingKind::kOutOfBounds, lane,
                  fmt::format("{} {} bytes at {:#x}, which lies in no allocation", Verb(access_.kind),
                              access_.size_bytes, access_.address[lane]));
    }
    GlobalShadow& shadow = launch.shadow.Find(*allocation);
    Region region = {nullptr,
                     allocation->bytes.data(),
                     static_cast<uint64_t>(allocation->size_bytes),
                     allocation->initialized(),
                     allocation->is_initialized.load(std::memory_order_relaxed),
                     shadow.cells(),
                     /*blocks_race=*/true};
    if (!CheckRegion(region, lanes)) {
      return false;
    }
    if (access_.counts) {
      CountGlobal(shadow, lanes);
    }
    return true;
  }

  bool ResolveShared(uint32_t lanes) {
    Region region = {"shared memory",
                     block_.shared(),
                     static_cast<uint64_t>(block_.shared_bytes()),
                     block_.shared_initialized(),
                     false,
                     block_.launch().checks.races ? block_.shared_cells() : nullptr,
                     /*blocks_race=*/false};
    if (block_.async_copies().any() && !CheckAsync(region, lanes)) {
      return false;
    }
    if (!CheckRegion(region, lanes)) {
      return false;
    }
    if (access_.counts) {
      CountShared(lanes);
    }
    return true;
  }

  bool CheckAsync(const Region& region, uint32_t lanes) {
    return AllOf(lanes, [&](int lane) {
      if (Offset(lane) + access_.size_bytes > region.size_bytes) {
        return true;  // of CheckBounds
      }
      const int64_t other = block_.async_copies().PendingThread(Offset(lane), access_.size_bytes);
      if (other < 0) {
        return true;
      }
      const auto thread = block_.ThreadCoordinates(static_cast<uint32_t>(other));
      return Fail(
          FindingKind::kAsyncHazard, lane,
          fmt::format(
              "{} of shared memory, into which thread ({},{},{}) copies with a cp.async that it has not waited for",
              Describe(access_, Offset(lane)), thread[0], thread[1], thread[2]));
    });
  }

  bool CheckRegion(Region& region, uint32_t lanes) {
    if (!CheckBounds(region, lanes)) {
      return false;
    }
    access_.contiguous = IsContiguous(lanes);
    if (!CheckRaces(region, lanes) || !CheckInitialized(region, lanes)) {
      return false;
    }
    for (int lane = 0; lane < kWarpSize; ++lane) {
      access_.host[lane] = lanes >> lane & 1 ? region.bytes + Offset(lane) : access_.host[lane];
    }
    return true;
  }

  bool ResolveLocal(uint32_t lanes) {
    return AllOf(lanes, [&](int lane) {
      Warp::LocalBytes found = {nullptr, InitializedBits(nullptr), 0};
      const uint64_t offset = Offset(lane) & kFrameMask;
      if (!warp_.FindLocal(access_.address[lane], access_.size_bytes, lane, &found)) {
        return Fail(FindingKind::kOutOfBounds, lane,
                    fmt::format("{} of local memory, which has {} bytes", Describe(access_, offset),
                                warp_.function().local_bytes));
      }
      if (offset % access_.size_bytes != 0) {
        return Fail(FindingKind::kMisaligned, lane, fmt::format("{} of local memory", Describe(access_, offset)));
      }
      if (access_.kind == AccessKind::kStore) {
        found.initialized.Set(found.bit, access_.size_bytes);
      } else if (block_.launch().checks.uninitialized && !found.initialized.AllSet(found.bit, access_.size_bytes)) {
        return Fail(FindingKind::kUninitialized, lane,
                    fmt::format("{} of local memory, which nobody has written", Describe(access_, offset)));
      }
      access_.host[lane] = found.bytes;
      return true;
    });
  }

  bool ResolveParameter(uint32_t lanes) {
    const auto parameters = block_.launch().config.parameters;
    if (access_.kind != AccessKind::kLoad) {
      return Fail(FindingKind::kOutOfBounds, std::countr_zero(lanes),
                  "writes a parameter of the kernel, which is read-only");
    }
    Region region = {"parameters",
                     const_cast<std::byte*>(parameters.data()),
                     parameters.size(),
                     InitializedBits(nullptr),
                     true,
                     nullptr,
                     false};
    return CheckRegion(region, lanes);
  }

  /// Sectors and bytes of a request. Accesses are aligned and of one size, so that two are the same or do not overlap.
  void CountGlobal(GlobalShadow& shadow, uint32_t lanes) {
    std::array<uint64_t, kWarpSize> offsets;
    size_t count = 0;
    bool sorted = true;
    for (uint32_t rest = lanes; rest; rest &= rest - 1) {
      offsets[count] = Offset(std::countr_zero(rest));
      sorted &= count == 0 || offsets[count - 1] <= offsets[count];
      ++count;
    }
    if (!sorted) {
      std::sort(offsets.begin(), offsets.begin() + static_cast<ptrdiff_t>(count));
    }
    const bool loads = access_.kind != AccessKind::kStore, stores = access_.kind != AccessKind::kLoad;
    uint64_t distinct = 0, sectors = 0, last_sector = ~uint64_t{0};
    for (size_t i = 0; i < count; ++i) {
      distinct += i == 0 || offsets[i] != offsets[i - 1];
      const uint64_t sector = offsets[i] / kSectorBytes;  // an aligned access lies in one
      if (sector == last_sector) {
        continue;
      }
      last_sector = sector;
      ++sectors;
      auto mark = [&](std::atomic<uint64_t>* words) {
        const uint64_t bit = uint64_t{1} << (sector % 64);
        if (!(words[sector / 64].load(std::memory_order_relaxed) & bit)) {
          words[sector / 64].fetch_or(bit, std::memory_order_relaxed);
        }
      };
      if (loads) {
        mark(shadow.loaded());
      }
      if (stores) {
        mark(shadow.stored());
      }
    }
    const uint64_t ideal = (distinct * access_.size_bytes + kSectorBytes - 1) / kSectorBytes;
    Counters& counters = block_.counters();
    if (loads) {
      counters.global_load_bytes += count * access_.size_bytes;
      counters.global_load_sectors += sectors;
      counters.global_load_ideal_sectors += ideal;
    }
    if (stores) {
      counters.global_store_bytes += count * access_.size_bytes;
      counters.global_store_sectors += sectors;
      counters.global_store_ideal_sectors += ideal;
    }
  }

  void CountShared(uint32_t lanes) {
    if (access_.contiguous) {
      const uint64_t passes = std::max<uint64_t>(access_.size_bytes / 4, 1);
      block_.counters().shared_wavefronts += passes;
      block_.counters().shared_ideal_wavefronts += passes;
      return;
    }
    const int num_phases = access_.size_bytes <= 4 ? 1 : static_cast<int>(access_.size_bytes) / 4;
    const int lanes_of_phase = kWarpSize / num_phases;
    for (int phase = 0; phase < num_phases; ++phase) {
      const uint32_t phase_lanes =
          lanes & static_cast<uint32_t>(((uint64_t{1} << lanes_of_phase) - 1) << (phase * lanes_of_phase));
      if (phase_lanes != 0) {
        CountWavefronts(warp_, access_.address.data(), phase_lanes, access_.size_bytes);
      }
    }
  }

  Warp& warp_;
  Block& block_;
  const Op& op_;
  Access& access_;
};

}  // namespace

void ReadAddresses(Warp& warp, const uint32_t row, bool is_32bit, int64_t offset, Access& access) {
  const auto added = static_cast<uint64_t>(offset);
  if (is_32bit) {
    const auto* base = warp.Row<uint32_t>(row);
    for (int lane = 0; lane < kWarpSize; ++lane) {
      access.address[lane] = base[lane] + added;
    }
  } else {
    const auto* base = warp.Row<uint64_t>(row);
    for (int lane = 0; lane < kWarpSize; ++lane) {
      access.address[lane] = base[lane] + added;
    }
  }
}

bool Resolve(Warp& warp, const Op& op, Access& access) {
  if (access.space == AccessSpace::kShared) {
    for (uint64_t& address : access.address) {
      address = address >> kOffsetBits == 0 ? address + kSharedWindow : address;
    }
  } else if (access.space == AccessSpace::kLocal) {
    for (uint64_t& address : access.address) {
      address = (address & kOffsetMask) + kLocalWindow;
    }
  }
  Checker checker(warp, op, access);
  for (uint32_t rest = access.mask; rest != 0;) {
    const uint64_t number = access.address[std::countr_zero(rest)] >> kOffsetBits;
    uint32_t same = 0;
    for (int lane = 0; lane < kWarpSize; ++lane) {
      same |= static_cast<uint32_t>(access.address[lane] >> kOffsetBits == number) << lane;
    }
    same &= rest;
    rest &= ~same;
    access.contiguous = false;
    if (!checker.ResolveLanes(same, number)) {
      return false;
    }
  }
  return true;
}

bool CheckStored(Warp& warp, const Op& op, const Access& access, const std::byte* values) {
  if (access.contiguous || access.strong || !warp.block().launch().checks.races) {
    return true;
  }
  return AllOf(access.mask, [&](int lane) {
    if (std::memcmp(access.host[lane], values + static_cast<size_t>(lane) * access.size_bytes, access.size_bytes) ==
            0 ||
        access.address[lane] >> kOffsetBits == kLocalNumber) {
      return true;
    }
    warp.Report(FindingKind::kRace, op, lane,
                fmt::format("{}, where another lane writes another value with the same instruction",
                            Describe(access, access.address[lane] & kOffsetMask)));
    return false;
  });
}

void CountWavefronts(Warp& warp, const uint64_t* offsets, uint32_t lanes, uint32_t size_bytes) {
  constexpr uint64_t kBanks = 32;
  std::array<uint64_t, kBanks * 4> words;  // of up to 32 lanes with up to 4 words each, distinct ones first
  std::array<uint8_t, kBanks> of_bank = {};
  std::array<std::array<uint64_t, kWarpSize>, kBanks> seen;
  size_t num_words = 0;
  for (uint32_t rest = lanes; rest; rest &= rest - 1) {
    const uint64_t offset = offsets[std::countr_zero(rest)] & kOffsetMask;
    for (uint64_t word = offset / 4; word < (offset + size_bytes + 3) / 4; ++word) {
      words[num_words++] = word;
    }
  }
  uint64_t passes = 1, distinct = 0;
  for (const uint64_t word : std::span(words.data(), num_words)) {
    auto& bank = seen[word % kBanks];
    uint8_t& count = of_bank[word % kBanks];
    if (std::find(bank.begin(), bank.begin() + count, word) == bank.begin() + count) {
      bank[count++] = word;
      ++distinct;
      passes = std::max<uint64_t>(passes, count);
    }
  }
  warp.block().counters().shared_wavefronts += passes;
  warp.block().counters().shared_ideal_wavefronts += std::max<uint64_t>((distinct + kBanks - 1) / kBanks, 1);
}

void RecordAsyncWrite(Warp& warp, int lane, uint32_t offset, uint32_t size_bytes) {
  if (!warp.block().launch().checks.races) {
    return;
  }
  Accessor accessor = warp.accessor();
  accessor.lane = static_cast<uint32_t>(lane);
  warp.NoteAccess();
  for (uint32_t word = offset / 4; word < (offset + size_bytes) / 4; ++word) {
    std::atomic<uint64_t>& writer = warp.block().shared_cells()[word].writer;
    writer.store(RaceRecord(writer.load(std::memory_order_relaxed)).With(accessor, 15, false).bits(),
                 std::memory_order_relaxed);
  }
}

}  // namespace nemotron::ptxsim
