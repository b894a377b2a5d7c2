// Control flow: PTX ISA 9.0, section 9.7.12, and what only waits or ends (9.7.19).
#include <bit>

#include "tools/ptxsim/sim/block.h"
#include "tools/ptxsim/sim/decoder.h"
#include "tools/ptxsim/sim/lanes.h"

namespace nemotron::ptxsim {
namespace {

Flow Branch(Warp& warp, const Op& op, uint32_t mask) {
  warp.Branch(mask, op.target);
  return Flow::kNext;
}

Flow BranchByIndex(Warp& warp, const Op& op, uint32_t mask) {
  const auto& table = warp.function().branch_tables[static_cast<size_t>(op.immediate)];
  const uint32_t* index = warp.Row<uint32_t>(op.rows[0]);
  std::array<uint32_t, kWarpSize> targets = {};
  int outside = -1;
  ForEachLane(mask, [&](int lane) {
    if (index[lane] < table.size()) {
      targets[lane] = table[index[lane]];
    } else if (outside < 0) {
      outside = lane;
    }
  });
  if (outside >= 0) {
    return warp.Report(FindingKind::kOutOfBounds, op, outside,
                       fmt::format("branches to entry {} of a table of {}", index[outside], table.size()));
  }
  warp.BranchEach(mask, targets);
  return Flow::kNext;
}

Flow Return(Warp& warp, const Op&, uint32_t mask) { return warp.Return(mask); }
Flow Exit(Warp& warp, const Op&, uint32_t mask) { return warp.Exit(mask); }
Flow Call(Warp& warp, const Op& op, uint32_t mask) { return warp.Call(op, mask); }
Flow Trap(Warp& warp, const Op& op, uint32_t mask) {
  return warp.Report(FindingKind::kTrap, op, std::countr_zero(mask), "trap");
}
Flow Sleep(Warp&, const Op&, uint32_t) { return Flow::kYield; }
Flow DoNothing(Warp&, const Op&, uint32_t) { return Flow::kNext; }

void DecodeBra(Decoder& d) {
  d.CountAs(InstructionClass::kControl);
  d.Take("uni");
  const auto* label = std::get_if<LabelRef>(&d.operand(0).value);
  if (!label) {
    return d.Fail("expected a label");
  }
  d.Emit(&Branch, {}, {}).ends_flow = !d.instruction().guard;
  d.BranchesTo(label->instruction);
}

void DecodeBrx(Decoder& d) {
  d.CountAs(InstructionClass::kControl);
  d.Take("uni");
  if (!d.Take("idx")) {
    return d.Fail("expected '.idx'");
  }
  const uint32_t index = d.Source(0, Format::kU32);
  const int64_t table = d.Constant(1);
  Op& op = d.Emit(&BranchByIndex, {}, {index});
  op.immediate = table;
  op.ends_flow = !d.instruction().guard;
  d.BranchesToTable(static_cast<uint32_t>(table));
}

template <Handler handler>
void DecodeEnd(Decoder& d) {
  d.CountAs(InstructionClass::kControl);
  d.Take("uni");
  d.Emit(handler, {}, {}).ends_flow = !d.instruction().guard;
}

/// The names in an argument list; false if it holds anything else.
bool NamesOf(const Operand& operand, std::vector<std::string>* names) {
  const auto* list = std::get_if<OperandList>(&operand.value);
  if (!list) {
    return false;
  }
  for (const Operand& element : list->elements) {
    const auto* symbol = std::get_if<SymbolRef>(&element.value);
    if (!symbol) {
      return false;
    }
    names->push_back(symbol->name);
  }
  return true;
}

/// Pairs .param variables of the caller with parameters of the callee; local offsets of both.
void PairParameters(Decoder& d, const std::vector<std::string>& names, const std::vector<Parameter>& parameters,
                    const FrameLayout& callee, bool into_callee, std::vector<CallSite::Copy>* copies) {
  if (names.size() != parameters.size()) {
    return d.Fail(fmt::format("expected {} parameters, found {}", parameters.size(), names.size()));
  }
  for (size_t i = 0; i < names.size(); ++i) {
    const Symbol* outer = d.FindSymbol(names[i]);
    const Symbol* inner = callee.Find(parameters[i].name);
    if (!outer || outer->address >> kOffsetBits != kLocalNumber || outer->size_bytes != inner->size_bytes) {
      return d.Fail(fmt::format("expected a .param variable of {} bytes, found '{}'", inner->size_bytes, names[i]));
    }
    const auto outer_offset = static_cast<int64_t>(outer->address & kFrameMask);
    const auto inner_offset = static_cast<int64_t>(inner->address & kFrameMask);
    copies->push_back(into_callee ? CallSite::Copy{outer_offset, inner_offset, inner->size_bytes}
                                  : CallSite::Copy{inner_offset, outer_offset, inner->size_bytes});
  }
}

/// call {(results),} function {, (arguments)}.
void DecodeCall(Decoder& d) {
  d.CountAs(InstructionClass::kControl);
  d.Take("uni");
  std::vector<std::string> results, arguments;
  size_t next = 0;
  if (d.num_operands() > 0 && NamesOf(d.operand(0), &results)) {
    next = 1;
  }
  const auto* callee = std::get_if<SymbolRef>(&d.operand(next).value);
  if (!callee) {
    return d.Fail("the simulator calls functions by their names only");
  }
  if (d.num_operands() > next + 1 && !NamesOf(d.operand(next + 1), &arguments)) {
    return d.Fail("expected .param variables as arguments");
  }
  const int index = d.context().symbols->FindFunction(callee->name);
  if (index < 0) {
    return d.Fail(fmt::format("no function '{}' in the module", callee->name));
  }
  const Function& function = d.context().module->functions[static_cast<size_t>(index)];
  const FrameLayout& layout = (*d.context().layouts)[static_cast<size_t>(index)];
  CallSite call = {static_cast<uint32_t>(index), {}, {}};
  PairParameters(d, arguments, function.parameters, layout, /*into_callee=*/true, &call.arguments);
  PairParameters(d, results, function.results, layout, /*into_callee=*/false, &call.results);
  d.Emit(&Call, {}, {}).immediate = d.AddCall(std::move(call));
}

void DecodeNanosleep(Decoder& d) {
  d.CountAs(InstructionClass::kControl);
  const Format format = d.TakeFormat();
  d.Emit(&Sleep, {}, {d.Source(0, format)});
}

/// Launches of the simulator never overlap: there is nothing to wait for.
void DecodeGridDependency(Decoder& d) {
  d.CountAs(InstructionClass::kControl);
  if (d.TakeOneOf({"wait", "launch_dependents"}) < 0) {
    return d.Fail("expected '.wait' or '.launch_dependents'");
  }
  d.Requires(90, "griddepcontrol");
  d.Emit(&DoNothing, {}, {});
}

/// Memory is one and coherent, but a fence tells the check of races which order the program may count on. Options:
/// whether it acquires, whether it releases; what it acquires is released with the rest.
Flow Fence(Warp& warp, const Op& op, uint32_t mask) {
  if (op.options[0]) {
    warp.Acquire(mask);
  }
  if (op.options[1]) {
    warp.Release(mask);
  }
  return Flow::kNext;
}

void DecodeFence(Decoder& d) {
  d.CountAs(InstructionClass::kControl);
  const bool acquires_alone = d.Take("acquire"), releases_alone = d.Take("release");
  d.TakeHints({"sc", "acq_rel"});
  const bool orders_blocks = d.TakeOneOf({"gpu", "gl", "sys"}) >= 0;
  d.TakeHints({"cta", "cluster"});
  d.Emit(orders_blocks ? &Fence : &DoNothing, {}, {}).options = {!releases_alone, !acquires_alone};
}

constexpr OpcodeEntry kOpcodes[] = {
    {"bra", std::nullopt, DecodeBra},
    {"brx", std::nullopt, DecodeBrx},
    {"ret", std::nullopt, DecodeEnd<&Return>},
    {"exit", std::nullopt, DecodeEnd<&Exit>},
    {"trap", std::nullopt, DecodeEnd<&Trap>},
    {"call", std::nullopt, DecodeCall},
    {"nanosleep", std::nullopt, DecodeNanosleep},
    {"griddepcontrol", std::nullopt, DecodeGridDependency},
    {"fence", std::nullopt, DecodeFence},
    {"membar", std::nullopt, DecodeFence},
};

}  // namespace

std::span<const OpcodeEntry> ControlOpcodes() { return kOpcodes; }

}  // namespace nemotron::ptxsim
