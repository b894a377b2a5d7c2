// cp.async without bulk: PTX ISA 9.0, section 9.7.9.25.3. Bytes are copied at once and stay pending until the thread
// waits for them (AsyncCopies in block.h).
#include <bit>
#include <cstring>

#include "tools/ptxsim/sim/access.h"
#include "tools/ptxsim/sim/block.h"
#include "tools/ptxsim/sim/decoder.h"
#include "tools/ptxsim/sim/lanes.h"

namespace nemotron::ptxsim {
namespace {

/// What of its source a copy reads; the rest of the target becomes zeros.
enum class SourceLimit : uint8_t { kNone, kBytes, kIgnored };

/// Rows: address in shared memory, address in global memory, bytes of source, predicate that ignores the source.
/// Immediate: offset of the first address. Options: size, whether the first address has 32 bits, source limit, whether
/// the predicate is negated.
Flow CopyAsync(Warp& warp, const Op& op, uint32_t mask) {
  const uint32_t size = op.options[0];
  Access target;
  target.kind = AccessKind::kStore;
  target.space = AccessSpace::kShared;
  target.size_bytes = size;
  target.mask = mask;
  ReadAddresses(warp, op.rows[0], op.options[1], op.immediate, target);
  if (!Resolve(warp, op, target)) {
    return Flow::kStop;
  }
  const auto limit = static_cast<SourceLimit>(op.options[2]);
  const uint32_t ignored =
      limit == SourceLimit::kIgnored ? warp.Predicate(op.rows[3]) ^ (op.options[3] ? kAllLanes : 0) : 0;
  std::array<uint32_t, kWarpSize> source_bytes = {};
  uint32_t too_many = 0;
  ForEachLane(mask, [&](int lane) {
    source_bytes[lane] = limit == SourceLimit::kBytes ? warp.Row<uint32_t>(op.rows[2])[lane]
                         : ignored >> lane & 1        ? 0
                                                      : size;
    too_many |= static_cast<uint32_t>(source_bytes[lane] > size) << lane;
  });
  if (too_many != 0) {
    const int lane = std::countr_zero(too_many);
    return warp.Report(FindingKind::kOutOfBounds, op, lane,
                       fmt::format("copies {} bytes with a cp.async of {}", source_bytes[lane], size));
  }
  // A source is read in pieces of powers of two, the largest first: what a copy does not ask for may lie out of bounds.
  std::array<std::byte, 16 * kWarpSize> values = {};
  for (uint32_t piece = size; piece > 0; piece /= 2) {
    Access source;
    source.space = AccessSpace::kGlobal;
    source.size_bytes = piece;
    ReadAddresses(warp, op.rows[1], /*is_32bit=*/false, 0, source);
    source.mask = 0;
    ForEachLane(mask, [&](int lane) {
      if (source_bytes[lane] & piece) {
        source.mask |= uint32_t{1} << lane;
        source.address[lane] += source_bytes[lane] & ~(2 * piece - 1);
      }
    });
    if (!Resolve(warp, op, source)) {
      return Flow::kStop;
    }
    ForEachLane(source.mask, [&](int lane) {
      const uint32_t begin = source_bytes[lane] & ~(2 * piece - 1);
      std::memcpy(&values[static_cast<uint32_t>(lane) * size + begin], source.host[lane], piece);
    });
  }
  ForEachLane(mask, [&](int lane) {
    std::memcpy(target.host[lane], &values[static_cast<uint32_t>(lane) * size], size);
    warp.block().async_copies().Issue(warp.ThreadOf(lane), static_cast<uint32_t>(target.address[lane] & kOffsetMask),
                                      size);
  });
  return CheckStored(warp, op, target, values.data()) ? Flow::kNext : Flow::kStop;
}

Flow CommitGroup(Warp& warp, const Op&, uint32_t mask) {
  ForEachLane(mask, [&](int lane) { warp.block().async_copies().Commit(warp.ThreadOf(lane)); });
  return Flow::kNext;
}

/// Immediate: groups that may stay pending; -1: not even copies in no group.
Flow WaitGroup(Warp& warp, const Op& op, uint32_t mask) {
  AsyncCopies& copies = warp.block().async_copies();
  ForEachLane(mask, [&](int lane) {
    const uint32_t thread = warp.ThreadOf(lane);
    for (const AsyncCopies::Copy& copy :
         op.immediate < 0 ? copies.WaitAll(thread) : copies.Wait(thread, static_cast<size_t>(op.immediate))) {
      RecordAsyncWrite(warp, lane, copy.offset, copy.size_bytes);
    }
  });
  return Flow::kNext;
}

void DecodeCopy(Decoder& d) {
  const int cache = d.TakeOneOf({"ca", "cg"});
  const bool has_spaces = (d.Take("shared") || d.Take("shared::cta")) && d.Take("global");
  d.TakePrefixed("L2::");
  const auto target = d.Address(0);
  auto source = d.Address(1);
  const int64_t size = d.Constant(2);
  const bool valid_size = cache == 1 ? size == 16 : cache == 0 && (size == 4 || size == 8 || size == 16);
  if (!has_spaces || !valid_size) {
    return d.Fail("expected '.shared.global', and 16 bytes, or with '.ca' 4, 8 or 16");
  }
  if (source.is_32bit) {
    return d.Fail("expected a source address of 64 bits");
  }
  if (source.offset != 0) {
    const uint32_t row = d.ScratchRow(8);
    d.Emit(kLaneMap<[](uint64_t a, uint64_t b) -> uint64_t { return a + b; }>, {row},
           {source.row, d.ConstantRow(static_cast<uint64_t>(source.offset), 8)});
    source.row = row;
  }
  // Behind the size: bytes of source or a predicate, and a policy for caches, each of which may be missing.
  SourceLimit limit = SourceLimit::kNone;
  uint32_t source_bytes = d.ConstantRow(0, 4);
  Decoder::PredicateSource ignored = {d.ConstantRow(0, 0), false};
  size_t next = 3;
  if (next < d.num_operands()) {
    const auto* reg = std::get_if<RegisterRef>(&d.operand(next).value);
    if (reg && d.function().registers[reg->index].type == Type::kPred) {
      limit = SourceLimit::kIgnored;
      ignored = d.Predicate(d.operand(next++));
    } else if (!reg || d.SlotBytes(d.operand(next)) == 4) {
      limit = SourceLimit::kBytes;
      source_bytes = d.Source(next++, Format::kU32);
    }
  }
  if (next < d.num_operands()) {
    d.Source(next, Format::kB64);
  }
  Op& op = d.Emit(&CopyAsync, {}, {target.row, source.row, source_bytes, ignored.row});
  op.immediate = target.offset;
  op.options = {static_cast<uint8_t>(size), target.is_32bit, static_cast<uint8_t>(limit), ignored.negated};
}

void DecodeCp(Decoder& d) {
  d.CountAs(InstructionClass::kMemory);
  if (!d.Take("async")) {
    return d.Fail("expected 'cp.async'");
  }
  const int wait = d.TakeOneOf({"commit_group", "wait_group", "wait_all"});
  if (wait < 0) {
    return DecodeCopy(d);
  }
  d.CountAs(InstructionClass::kControl);
  const int64_t num_pending = wait == 1 ? d.Constant(0) : -1;
  if (wait == 1 && num_pending < 0) {
    return d.Fail("expected a count of groups");
  }
  d.Emit(wait == 0 ? &CommitGroup : &WaitGroup, {}, {}).immediate = num_pending;
}

constexpr OpcodeEntry kOpcodes[] = {{"cp", std::nullopt, DecodeCp}};

}  // namespace

std::span<const OpcodeEntry> AsyncOpcodes() { return kOpcodes; }

}  // namespace nemotron::ptxsim
