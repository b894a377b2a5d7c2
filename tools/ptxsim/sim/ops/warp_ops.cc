// Exchange between lanes: PTX ISA 9.0, sections 9.7.9.6 (shfl.sync), 9.7.13.6 to 9.7.13.10 (vote, match, activemask,
// redux, elect).
#include "tools/ptxsim/sim/ops/warp_ops.h"

#include <algorithm>
#include <bit>

#include "tools/ptxsim/sim/block.h"
#include "tools/ptxsim/sim/decoder.h"
#include "tools/ptxsim/sim/floating.h"
#include "tools/ptxsim/sim/lanes.h"

namespace nemotron::ptxsim {

Membership GatherMembers(Warp& warp, const Op& op, uint32_t lanes, uint32_t members_row) {
  const uint32_t* members = warp.Row<uint32_t>(members_row);
  uint32_t all_members = 0;
  int outside = -1;
  ForEachLane(lanes, [&](int lane) {
    all_members |= members[lane];
    outside = outside < 0 && !(members[lane] >> lane & 1) ? lane : outside;
  });
  if (outside >= 0) {
    warp.Report(FindingKind::kDivergentBarrier, op, outside,
                fmt::format("runs an instruction whose member mask {:#010x} does not name its lane", members[outside]));
    return Membership::kFinding;
  }
  if ((all_members & warp.live() & ~lanes) != 0) {
    warp.WaitForLanes(lanes);
    return Membership::kWaiting;
  }
  warp.Synchronize();
  return Membership::kComplete;
}

Membership GatherWarp(Warp& warp, const Op& op, uint32_t lanes) {
  if (lanes == kAllLanes) [[likely]] {
    warp.Synchronize();
    return Membership::kComplete;
  }
  if (warp.live() != kAllLanes) {
    warp.Report(
        FindingKind::kDivergentBarrier, op, std::countr_zero(lanes),
        fmt::format("runs an instruction of the whole warp, of which only lanes {:#010x} are left", warp.live()));
    return Membership::kFinding;
  }
  warp.WaitForLanes(lanes);
  return Membership::kWaiting;
}

namespace {

/// Visits the lanes of `mask` by groups with the same value in a row of 32 bits.
template <typename Visit>
void ForEachGroup(const uint32_t* values, uint32_t mask, Visit visit) {
  while (mask) {
    const uint32_t value = values[std::countr_zero(mask)];
    uint32_t group = 0;
    ForEachLane(mask, [&](int lane) { group |= static_cast<uint32_t>(values[lane] == value) << lane; });
    visit(group);
    mask &= ~group;
  }
}

/// What a shuffle reads from a lane that does not take part: the manual leaves it open, and correct kernels do not use
/// it. A NaN, should it be used as f32.
constexpr uint32_t kUndefined = 0x7fffdead;

enum class ShuffleMode { kUp, kDown, kButterfly, kIndex };

/// Rows: result, whether the source was in range, value, b, c, member mask. Operand c holds the clamp in its low 5 bits
/// and the mask of segments above.
template <ShuffleMode mode>
Flow Shuffle(Warp& warp, const Op& op, uint32_t mask) {
  if (const Membership membership = GatherMembers(warp, op, mask, op.rows[5]); membership != Membership::kComplete) {
    return FlowOf(membership);
  }
  const uint32_t* value = warp.Row<uint32_t>(op.rows[2]);
  const uint32_t* b = warp.Row<uint32_t>(op.rows[3]);
  const uint32_t* c = warp.Row<uint32_t>(op.rows[4]);
  std::array<uint32_t, kWarpSize> shuffled;
  uint32_t in_range = 0;
  ForEachLane(mask, [&](int lane) {
    const int distance = static_cast<int>(b[lane] & 31), clamp = static_cast<int>(c[lane] & 31);
    const int segment = static_cast<int>(c[lane] >> 8 & 31);
    const int last = (lane & segment) | (clamp & ~segment), first = lane & segment;
    int source = 0;
    bool valid = false;
    switch (mode) {
      case ShuffleMode::kUp:
        source = lane - distance;
        valid = source >= last;
        break;
      case ShuffleMode::kDown:
        source = lane + distance;
        valid = source <= last;
        break;
      case ShuffleMode::kButterfly:
        source = lane ^ distance;
        valid = source <= last;
        break;
      case ShuffleMode::kIndex:
        source = first | (distance & ~segment);
        valid = source <= last;
        break;
    }
    source = valid ? source : lane;
    shuffled[lane] = mask >> source & 1 ? value[source] : kUndefined;
    in_range |= static_cast<uint32_t>(valid) << lane;
  });
  uint32_t* result = warp.Row<uint32_t>(op.rows[0]);
  ForEachLane(mask, [&](int lane) { result[lane] = shuffled[lane]; });
  uint32_t& predicate = warp.Predicate(op.rows[1]);
  predicate = (predicate & ~mask) | in_range;
  return Flow::kNext;
}

void DecodeShfl(Decoder& d) {
  d.CountAs(InstructionClass::kControl);
  constexpr Handler kModes[] = {&Shuffle<ShuffleMode::kUp>, &Shuffle<ShuffleMode::kDown>,
                                &Shuffle<ShuffleMode::kButterfly>, &Shuffle<ShuffleMode::kIndex>};
  const bool sync = d.Take("sync");
  const int mode = d.TakeOneOf({"up", "down", "bfly", "idx"});
  const Format format = d.TakeFormat();
  const auto results = d.Elements(0);
  if (results.size() > 2) {
    return d.Fail("expected one or two results");
  }
  const uint32_t value = d.Source(1, format), b = d.Source(2, Format::kB32), c = d.Source(3, Format::kB32),
                 members = d.Source(4, Format::kB32);
  const uint32_t in_range = results.size() == 2 ? d.Result(*results[1], Format::kPred) : d.ScratchPredicate();
  d.Emit(sync && mode >= 0 && format == Format::kB32 ? kModes[mode] : nullptr,
         {d.Result(*results[0], format), in_range}, {value, b, c, members});
}

enum class VoteMode { kAll, kAny, kUni, kBallot };

/// Rows: result, predicate, member mask. Option 0: the predicate is negated.
template <VoteMode mode>
Flow Vote(Warp& warp, const Op& op, uint32_t mask) {
  if (const Membership membership = GatherMembers(warp, op, mask, op.rows[2]); membership != Membership::kComplete) {
    return FlowOf(membership);
  }
  const uint32_t votes = warp.Predicate(op.rows[1]) ^ (op.options[0] ? kAllLanes : 0);
  ForEachGroup(warp.Row<uint32_t>(op.rows[2]), mask, [&](uint32_t group) {
    const uint32_t in_favor = votes & group;
    if constexpr (mode == VoteMode::kBallot) {
      uint32_t* result = warp.Row<uint32_t>(op.rows[0]);
      ForEachLane(group, [&](int lane) { result[lane] = in_favor; });
    } else {
      const bool value = mode == VoteMode::kAny   ? in_favor != 0
                         : mode == VoteMode::kAll ? in_favor == group
                                                  : in_favor == group || in_favor == 0;
      uint32_t& result = warp.Predicate(op.rows[0]);
      result = value ? result | group : result & ~group;
    }
  });
  return Flow::kNext;
}

void DecodeVote(Decoder& d) {
  d.CountAs(InstructionClass::kControl);
  constexpr Handler kModes[] = {&Vote<VoteMode::kAll>, &Vote<VoteMode::kAny>, &Vote<VoteMode::kUni>,
                                &Vote<VoteMode::kBallot>};
  const bool sync = d.Take("sync");
  const int mode = d.TakeOneOf({"all", "any", "uni", "ballot"});
  const Format format = d.TakeFormat();
  const bool fits = format == (mode == 3 ? Format::kB32 : Format::kPred);
  const auto predicate = d.Predicate(d.operand(1));
  const uint32_t members = d.Source(2, Format::kB32);
  d.Emit(sync && mode >= 0 && fits ? kModes[mode] : nullptr, {d.Result(0, format)}, {predicate.row, members})
      .options[0] = predicate.negated;
}

/// Rows: result, whether all are equal (of match.all), value, member mask.
template <typename T, bool kAll>
Flow Match(Warp& warp, const Op& op, uint32_t mask) {
  if (const Membership membership = GatherMembers(warp, op, mask, op.rows[3]); membership != Membership::kComplete) {
    return FlowOf(membership);
  }
  const T* value = warp.Row<T>(op.rows[2]);
  std::array<uint32_t, kWarpSize> matching = {};
  ForEachGroup(warp.Row<uint32_t>(op.rows[3]), mask, [&](uint32_t group) {
    ForEachLane(group, [&](int lane) {
      ForEachLane(group,
                  [&](int other) { matching[lane] |= static_cast<uint32_t>(value[other] == value[lane]) << other; });
    });
    if (kAll && matching[std::countr_zero(group)] != group) {
      ForEachLane(group, [&](int lane) { matching[lane] = 0; });
    }
  });
  uint32_t* result = warp.Row<uint32_t>(op.rows[0]);
  uint32_t& predicate = warp.Predicate(op.rows[1]);
  ForEachLane(mask, [&](int lane) {
    result[lane] = matching[lane];
    const uint32_t bit = uint32_t{1} << lane;
    predicate = matching[lane] ? predicate | bit : predicate & ~bit;
  });
  return Flow::kNext;
}

void DecodeMatch(Decoder& d) {
  d.CountAs(InstructionClass::kControl);
  constexpr Handler kHandlers[2][2] = {{&Match<uint32_t, false>, &Match<uint32_t, true>},
                                       {&Match<uint64_t, false>, &Match<uint64_t, true>}};
  const int mode = d.TakeOneOf({"any", "all"});
  const bool sync = d.Take("sync");
  const Format format = d.TakeFormat();
  const auto results = d.Elements(0);
  if (results.size() > (mode == 1 ? 2 : 1)) {
    return d.Fail("expected fewer results");
  }
  const uint32_t value = d.Source(1, format), members = d.Source(2, Format::kB32);
  const uint32_t predicate = results.size() == 2 ? d.Result(*results[1], Format::kPred) : d.ScratchPredicate();
  const bool valid = sync && mode >= 0 && (format == Format::kB32 || format == Format::kB64);
  d.Emit(valid ? kHandlers[format == Format::kB64][mode] : nullptr, {d.Result(*results[0], Format::kB32), predicate},
         {value, members});
}

/// Reduces a row over the lanes that share a member mask. Rows: result, value, member mask.
template <typename T, auto combine>
Flow Reduce(Warp& warp, const Op& op, uint32_t mask) {
  if (const Membership membership = GatherMembers(warp, op, mask, op.rows[2]); membership != Membership::kComplete) {
    return FlowOf(membership);
  }
  const T* value = warp.Row<T>(op.rows[1]);
  T* result = warp.Row<T>(op.rows[0]);
  ForEachGroup(warp.Row<uint32_t>(op.rows[2]), mask, [&](uint32_t group) {
    T reduced = value[std::countr_zero(group)];
    ForEachLane(group & (group - 1), [&](int lane) { reduced = combine(reduced, value[lane]); });
    ForEachLane(group, [&](int lane) { result[lane] = reduced; });
  });
  return Flow::kNext;
}

void DecodeRedux(Decoder& d) {
  d.CountAs(InstructionClass::kControl);
  const bool sync = d.Take("sync");
  const int operation = d.TakeOneOf({"add", "min", "max", "and", "or", "xor"});
  const Format format = d.TakeFormat();
  constexpr Handler kUnsigned[] = {&Reduce<uint32_t, [](uint32_t a, uint32_t b) { return a + b; }>,
                                   &Reduce<uint32_t, [](uint32_t a, uint32_t b) { return std::min(a, b); }>,
                                   &Reduce<uint32_t, [](uint32_t a, uint32_t b) { return std::max(a, b); }>,
                                   &Reduce<uint32_t, [](uint32_t a, uint32_t b) { return a & b; }>,
                                   &Reduce<uint32_t, [](uint32_t a, uint32_t b) { return a | b; }>,
                                   &Reduce<uint32_t, [](uint32_t a, uint32_t b) { return a ^ b; }>};
  constexpr Handler kSigned[] = {kUnsigned[0], &Reduce<int32_t, [](int32_t a, int32_t b) { return std::min(a, b); }>,
                                 &Reduce<int32_t, [](int32_t a, int32_t b) { return std::max(a, b); }>};
  Handler handler = nullptr;
  if (sync && operation >= 0) {
    if (format == Format::kB32 && operation >= 3) {
      handler = kUnsigned[operation];
    } else if (operation < 3 && (format == Format::kU32 || format == Format::kS32)) {
      handler = format == Format::kS32 ? kSigned[operation] : kUnsigned[operation];
    }
  }
  const uint32_t value = d.Source(1, format), members = d.Source(2, Format::kB32);
  d.Emit(handler, {d.Result(0, format)}, {value, members});
}

Flow ActiveMask(Warp& warp, const Op& op, uint32_t mask) {
  uint32_t* result = warp.Row<uint32_t>(op.rows[0]);
  ForEachLane(mask, [&](int lane) { result[lane] = mask; });
  return Flow::kNext;
}

void DecodeActiveMask(Decoder& d) {
  d.CountAs(InstructionClass::kControl);
  const Format format = d.TakeFormat();
  d.Emit(format == Format::kB32 ? &ActiveMask : nullptr, {d.Result(0, format)}, {});
}

/// Elects the lowest lane. Rows: its number, whether it is this lane, member mask.
Flow Elect(Warp& warp, const Op& op, uint32_t mask) {
  if (const Membership membership = GatherMembers(warp, op, mask, op.rows[2]); membership != Membership::kComplete) {
    return FlowOf(membership);
  }
  uint32_t* result = warp.Row<uint32_t>(op.rows[0]);
  ForEachGroup(warp.Row<uint32_t>(op.rows[2]), mask, [&](uint32_t group) {
    const auto leader = static_cast<uint32_t>(std::countr_zero(group));
    uint32_t& predicate = warp.Predicate(op.rows[1]);
    predicate = (predicate & ~group) | uint32_t{1} << leader;
    ForEachLane(group, [&](int lane) { result[lane] = leader; });
  });
  return Flow::kNext;
}

void DecodeElect(Decoder& d) {
  d.CountAs(InstructionClass::kControl);
  d.Requires(90, "elect.sync");
  const bool sync = d.Take("sync");
  const auto results = d.Elements(0);
  if (results.size() != 2) {
    return d.Fail("expected two results");
  }
  const uint32_t members = d.Source(1, Format::kB32);
  d.Emit(sync ? &Elect : nullptr, {d.Result(*results[0], Format::kB32), d.Result(*results[1], Format::kPred)},
         {members});
}

constexpr OpcodeEntry kOpcodes[] = {
    {"shfl", std::nullopt, DecodeShfl},
    {"vote", std::nullopt, DecodeVote},
    {"match", std::nullopt, DecodeMatch},
    {"redux", std::nullopt, DecodeRedux},
    {"activemask", std::nullopt, DecodeActiveMask},
    {"elect", std::nullopt, DecodeElect},
};

}  // namespace

std::span<const OpcodeEntry> WarpOpcodes() { return kOpcodes; }

}  // namespace nemotron::ptxsim
