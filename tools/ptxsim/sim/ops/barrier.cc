// Barriers of blocks and warps: PTX ISA 9.0, sections 9.7.13.1 and 9.7.13.2.
#include <bit>

#include "tools/ptxsim/sim/block.h"
#include "tools/ptxsim/sim/decoder.h"
#include "tools/ptxsim/sim/lanes.h"
#include "tools/ptxsim/sim/ops/warp_ops.h"

namespace nemotron::ptxsim {
namespace {

enum class Form : uint8_t { kSync, kArrive, kReduce };

/// Rows: result (of a reduction), barrier, thread count, predicate. Options: form, reduction, whether there is a count,
/// whether the predicate is negated.
Flow Barrier(Warp& warp, const Op& op, uint32_t mask) {
  if (mask != warp.live()) {
    warp.WaitForLanes(mask);
    return Flow::kNext;
  }
  const int lane = std::countr_zero(mask);
  const auto form = static_cast<Form>(op.options[0]);
  const uint32_t* sources = op.rows + (form == Form::kReduce ? 1 : 0);
  Block::Arrival arrival;
  arrival.barrier = warp.Row<uint32_t>(sources[0])[lane];
  arrival.num_threads = op.options[2] ? warp.Row<uint32_t>(sources[1])[lane] : 0;
  arrival.waits = form != Form::kArrive;
  arrival.lanes = mask;
  arrival.predicate = warp.Predicate(sources[2]) ^ (op.options[3] ? kAllLanes : 0);
  arrival.reduction = static_cast<Block::Reduction>(op.options[1]);
  arrival.result_row = op.rows[0];
  arrival.line = op.line;
  if (arrival.barrier >= kNumBarriers || arrival.num_threads % kWarpSize != 0 ||
      (op.options[2] && arrival.num_threads == 0)) {
    return warp.Report(
        FindingKind::kDivergentBarrier, op, lane,
        fmt::format("barrier {} with {} threads, expected a barrier below {} and a positive multiple of {} threads",
                    arrival.barrier, arrival.num_threads, kNumBarriers, kWarpSize));
  }
  warp.NoteAccess();
  warp.Synchronize();
  if (!warp.block().Arrive(warp.index(), arrival)) {
    return warp.Report(
        FindingKind::kDivergentBarrier, op, lane,
        fmt::format("barrier {} is entered with {} threads by this warp and with another count by others",
                    arrival.barrier, arrival.num_threads));
  }
  return arrival.waits ? Flow::kBlocked : Flow::kNext;
}

/// Rows: member mask.
Flow WarpBarrier(Warp& warp, const Op& op, uint32_t mask) { return FlowOf(GatherMembers(warp, op, mask, op.rows[0])); }

void DecodeBarrier(Decoder& d) {
  d.CountAs(InstructionClass::kControl);
  if (d.Take("warp")) {
    if (!d.Take("sync")) {
      return d.Fail("expected '.sync'");
    }
    d.Emit(&WarpBarrier, {}, {d.Source(0, Format::kB32)});
    return;
  }
  d.TakeHints({"cta", "aligned"});
  const int form = d.TakeOneOf({"sync", "arrive", "red"});
  if (form < 0) {
    return d.Fail("expected '.sync', '.arrive' or '.red'");
  }
  const bool reduces = form == 2;
  const int reduction = reduces ? d.TakeOneOf({"popc", "and", "or"}) + 1 : 0;
  std::vector<uint32_t> results, sources;
  if (reduces) {
    const Format format = d.TakeFormat();
    if (reduction == 0 || (reduction == 1) != (format == Format::kU32)) {
      return d.Fail("expected '.popc.u32', '.and.pred' or '.or.pred'");
    }
    results.push_back(d.Result(0, format));
  }
  const size_t first = reduces ? 1 : 0, num_sources = d.num_operands() - first;
  const bool has_count = num_sources == (reduces ? 3 : 2);
  sources.push_back(d.Source(first, Format::kB32));
  sources.push_back(has_count ? d.Source(first + 1, Format::kB32) : d.ConstantRow(0, 4));
  const auto predicate =
      reduces ? d.Predicate(d.operand(first + num_sources - 1)) : Decoder::PredicateSource{d.ConstantRow(0, 0), false};
  sources.push_back(predicate.row);
  d.Emit(form == 1 && !has_count ? nullptr : &Barrier, results, sources).options = {
      static_cast<uint8_t>(form), static_cast<uint8_t>(reduction), has_count, predicate.negated};
}

constexpr OpcodeEntry kOpcodes[] = {
    {"bar", std::nullopt, DecodeBarrier},
    {"barrier", std::nullopt, DecodeBarrier},
};

}  // namespace

std::span<const OpcodeEntry> BarrierOpcodes() { return kOpcodes; }

}  // namespace nemotron::ptxsim
