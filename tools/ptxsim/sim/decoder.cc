#include "tools/ptxsim/sim/decoder.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "tools/ptxsim/sim/address_space.h"

namespace nemotron::ptxsim {
namespace {

using runtime::StatusCode;

/// Entries by opcode.
const std::unordered_multimap<std::string_view, const OpcodeEntry*>& Opcodes() {
  static const auto* table = [] {
    auto* entries = new std::unordered_multimap<std::string_view, const OpcodeEntry*>();
    for (auto family :
         {AsyncOpcodes(), AtomicOpcodes(), BarrierOpcodes(), BitsOpcodes(), CompareSelectOpcodes(), ControlOpcodes(),
          ConvertOpcodes(), FloatOpcodes(), HalfOpcodes(), IntegerOpcodes(), MemoryOpcodes(), MovOpcodes(),
          SharedMatrixOpcodes(), SpecialFunctionOpcodes(), TensorOpcodes(), WarpOpcodes()}) {
      for (const OpcodeEntry& entry : family) {
        entries->emplace(entry.opcode, &entry);
      }
    }
    return entries;
  }();
  return *table;
}

std::string FullName(const Instruction& instruction) {
  std::string name = instruction.opcode;
  for (const std::string& modifier : instruction.modifiers) {
    name += "." + modifier;
  }
  return name;
}

const Operand kNoOperand = {Discard{}};

}  // namespace

Decoder::Decoder(const DecodeContext& context, size_t function_index)
    : context_(context),
      function_(context.module->functions[function_index]),
      layout_((*context.layouts)[function_index]),
      decoded_(std::make_unique<DecodedFunction>()) {
  decoded_->name = function_.name;
  decoded_->is_entry = function_.is_entry;
  decoded_->line = function_.line;
  decoded_->local_bytes = layout_.local_bytes;
  decoded_->parameter_bytes = function_.parameter_bytes;
  for (const Register& reg : function_.registers) {
    register_bytes_.push_back(SlotBytesOf(reg.type));
  }
}

runtime::StatusOr<std::unique_ptr<DecodedFunction>> Decoder::Run() && {
  for (const Instruction& instruction : function_.instructions) {
    instruction_ = &instruction;
    first_op_.push_back(static_cast<uint32_t>(drafts_.size()));
    DecodeInstruction();
    if (failed()) {
      return std::move(status_).WithContext(fmt::format("while decoding '{}'", function_.name));
    }
  }
  const Instruction end = {
      std::nullopt, "ret", {}, {}, function_.instructions.empty() ? function_.line : instruction_->line};
  instruction_ = &end;
  first_op_.push_back(static_cast<uint32_t>(drafts_.size()));
  DecodeInstruction();
  return Finish();
}

void Decoder::DecodeInstruction() {
  taken_.assign(instruction_->modifiers.size(), false);
  operand_used_.assign(instruction_->operands.size(), false);
  counted_as_ = InstructionClass::kInteger;
  const FormatClass format_class = ClassOf(LastFormat());
  const auto [begin, end] = Opcodes().equal_range(instruction_->opcode);
  if (begin == end) {
    return Fail("no such instruction in the simulator");
  }
  const auto entry = std::find_if(begin, end, [&](const auto& candidate) {
    return !candidate.second->format_class || *candidate.second->format_class == format_class;
  });
  if (entry == end) {
    return Fail("the simulator does not have the instruction for this type");
  }
  entry->second->decode(*this);
  for (size_t i = 0; i < taken_.size(); ++i) {
    if (!taken_[i]) {
      Fail(fmt::format("the simulator does not have the modifier '.{}' here", instruction_->modifiers[i]));
    }
  }
  for (size_t i = 0; i < operand_used_.size(); ++i) {
    if (!operand_used_[i]) {
      Fail(fmt::format("the simulator does not have this instruction with operand {}", i + 1));
    }
  }
}

bool Decoder::Take(std::string_view modifier) {
  for (size_t i = 0; i < taken_.size(); ++i) {
    if (!taken_[i] && instruction_->modifiers[i] == modifier) {
      taken_[i] = true;
      return true;
    }
  }
  return false;
}

void Decoder::TakeHints(std::initializer_list<std::string_view> modifiers) {
  for (std::string_view modifier : modifiers) {
    Take(modifier);
  }
}

void Decoder::TakePrefixed(std::string_view prefix) {
  for (size_t i = 0; i < taken_.size(); ++i) {
    taken_[i] = taken_[i] || instruction_->modifiers[i].starts_with(prefix);
  }
}

int Decoder::TakeOneOf(std::initializer_list<std::string_view> names) {
  int index = 0;
  for (std::string_view name : names) {
    if (Take(name)) {
      return index;
    }
    ++index;
  }
  return -1;
}

std::optional<Format> Decoder::TakeOptionalFormat() {
  for (size_t i = 0; i < taken_.size(); ++i) {
    if (taken_[i]) {
      continue;
    }
    if (const auto format = ParseFormat(instruction_->modifiers[i])) {
      taken_[i] = true;
      return format;
    }
  }
  return std::nullopt;
}

Format Decoder::TakeFormat() {
  const auto format = TakeOptionalFormat();
  if (!format) {
    Fail("expected a type");
  }
  return format.value_or(Format::kB32);
}

Format Decoder::LastFormat() const {
  for (size_t i = instruction_->modifiers.size(); i-- > 0;) {
    if (const auto format = ParseFormat(instruction_->modifiers[i])) {
      return *format;
    }
  }
  return Format::kNone;
}

const Operand& Decoder::operand(size_t index) {
  if (index >= instruction_->operands.size()) {
    Fail(fmt::format("expected operand {}, found {} operands", index + 1, instruction_->operands.size()));
    return kNoOperand;
  }
  operand_used_[index] = true;
  return instruction_->operands[index];
}

int Decoder::SlotBytes(const Operand& operand) const {
  const auto* reg = std::get_if<RegisterRef>(&operand.value);
  return reg ? register_bytes_[reg->index] : 0;
}

uint32_t Decoder::RegisterRow(const RegisterRef& reg, Format format, bool exact) {
  const int expected = format == Format::kPred ? 0 : SlotBytesOf(format);
  const int found = register_bytes_[reg.index];
  if (found != expected && (exact || found < expected)) {
    Fail(fmt::format("register {} does not have the size of the instruction's type",
                     function_.registers[reg.index].name));
  }
  return reg.index;
}

uint32_t Decoder::Result(const Operand& operand, Format format) {
  const int slot_bytes = format == Format::kPred ? 0 : SlotBytesOf(format);
  if (std::holds_alternative<Discard>(operand.value)) {
    return ScratchRow(slot_bytes);
  }
  const auto* reg = std::get_if<RegisterRef>(&operand.value);
  if (!reg || reg->negated) {
    Fail("expected a register as result");
    return ScratchRow(slot_bytes);
  }
  return RegisterRow(*reg, format, /*exact=*/true);
}

uint32_t Decoder::SymbolRow(const SymbolRef& symbol, int slot_bytes) {
  const Symbol* found = FindSymbol(symbol.name);
  if (!found) {
    Fail(fmt::format("no variable '{}'", symbol.name));
    return ConstantRow(0, slot_bytes);
  }
  if (found->space == Space::kShared && found->size_bytes == 0) {
    const uint32_t row = ScratchRow(slot_bytes);
    Emit(DynamicSharedHandler(slot_bytes), {row}, {});
    return row;
  }
  if (found->address >> kOffsetBits == kLocalNumber && !function_.is_entry && slot_bytes == 8) {
    const uint32_t row = ScratchRow(slot_bytes);
    Emit(LocalAddressHandler(), {row}, {}).immediate = static_cast<int64_t>(found->address);
    return row;
  }
  return ConstantRow(found->address, slot_bytes);
}

uint32_t Decoder::Source(const Operand& operand, Format format) {
  const int slot_bytes = SlotBytesOf(format);
  if (const auto* reg = std::get_if<RegisterRef>(&operand.value); reg && !reg->negated) {
    return RegisterRow(*reg, format, /*exact=*/true);
  }
  if (const auto* immediate = std::get_if<IntImmediate>(&operand.value)) {
    return ConstantRow(static_cast<uint64_t>(immediate->value), slot_bytes);
  }
  if (const auto* immediate = std::get_if<FloatImmediate>(&operand.value)) {
    uint64_t bits = immediate->bits;
    if (immediate->is_double && slot_bytes == 4) {
      double value;
      std::memcpy(&value, &bits, sizeof(value));
      const float narrow = static_cast<float>(value);
      uint32_t narrow_bits;
      std::memcpy(&narrow_bits, &narrow, sizeof(narrow));
      bits = narrow_bits;
    } else if (!immediate->is_double && slot_bytes == 8) {
      float value;
      const uint32_t narrow_bits = static_cast<uint32_t>(bits);
      std::memcpy(&value, &narrow_bits, sizeof(value));
      const double wide = value;
      std::memcpy(&bits, &wide, sizeof(bits));
    }
    return ConstantRow(bits, slot_bytes);
  }
  if (const auto* symbol = std::get_if<SymbolRef>(&operand.value)) {
    return SymbolRow(*symbol, slot_bytes);
  }
  if (const auto* special = std::get_if<SpecialRef>(&operand.value)) {
    int special_bytes = 4;
    const Handler handler = SpecialRegisterHandler(special->name, &special_bytes);
    if (!handler || special_bytes != slot_bytes) {
      Fail(fmt::format("the simulator does not have the special register '{}' of this size", special->name));
      return ConstantRow(0, slot_bytes);
    }
    const uint32_t row = ScratchRow(slot_bytes);
    Emit(handler, {row}, {});
    return row;
  }
  Fail("expected a register or an immediate as source");
  return ConstantRow(0, slot_bytes);
}

uint32_t Decoder::WideSource(const Operand& operand, Format format) {
  if (SlotBytes(operand) == 8 && SlotBytesOf(format) == 4) {
    const uint32_t row = ScratchRow(4);
    Emit(LowHalfHandler(), {row}, {std::get<RegisterRef>(operand.value).index});
    return row;
  }
  return Source(operand, format);
}

Decoder::PredicateSource Decoder::Predicate(const Operand& operand) {
  if (const auto* reg = std::get_if<RegisterRef>(&operand.value)) {
    return {RegisterRow(*reg, Format::kPred, /*exact=*/true), reg->negated};
  }
  if (const auto* immediate = std::get_if<IntImmediate>(&operand.value)) {
    return {ConstantRow(immediate->value ? kAllLanes : 0, 0), false};
  }
  Fail("expected a predicate");
  return {ConstantRow(0, 0), false};
}

std::vector<const Operand*> Decoder::Elements(size_t index) {
  const Operand& whole = operand(index);
  const auto* list = std::get_if<OperandList>(&whole.value);
  if (!list) {
    return {&whole};
  }
  std::vector<const Operand*> elements;
  for (const Operand& element : list->elements) {
    elements.push_back(&element);
  }
  return elements;
}

Decoder::AddressSource Decoder::Address(size_t index) {
  const Operand& source = operand(index);
  if (const auto* symbol = std::get_if<SymbolRef>(&source.value)) {
    return {SymbolRow(*symbol, 8), false, 0};
  }
  const auto* address = std::get_if<ptxsim::Address>(&source.value);
  if (!address) {
    Fail(fmt::format("expected an address as operand {}", index + 1));
    return {ConstantRow(0, 8), false, 0};
  }
  if (const auto* reg = std::get_if<RegisterRef>(&address->base)) {
    const int slot_bytes = register_bytes_[reg->index];
    if (slot_bytes != 4 && slot_bytes != 8) {
      Fail("expected a base register of 32 or 64 bits");
    }
    return {reg->index, slot_bytes == 4, address->offset};
  }
  if (const auto* symbol = std::get_if<SymbolRef>(&address->base)) {
    return {SymbolRow(*symbol, 8), false, address->offset};
  }
  return {ConstantRow(0, 8), false, address->offset};
}

bool Decoder::IsConstant(size_t index) {
  return index < num_operands() && std::holds_alternative<IntImmediate>(instruction_->operands[index].value);
}

int64_t Decoder::Constant(size_t index) {
  const auto* immediate = std::get_if<IntImmediate>(&operand(index).value);
  if (!immediate) {
    Fail(fmt::format("expected an integer constant as operand {}", index + 1));
    return 0;
  }
  return immediate->value;
}

uint32_t Decoder::ConstantRow(uint64_t bits, int slot_bytes) {
  if (slot_bytes < 8) {
    bits &= 0xffffffffu;
  }
  const auto [known, is_new] = constant_rows_.try_emplace({bits, slot_bytes}, 0);
  if (!is_new) {
    return known->second;
  }
  known->second = static_cast<uint32_t>(constant_bytes_) | ptxsim::kConstantRow;
  const size_t row_bytes = slot_bytes == 0 ? 64 : size_t{kWarpSize} * slot_bytes;  // a mask takes a line of its own
  decoded_->constants.resize((constant_bytes_ + row_bytes) / sizeof(ConstantLine));
  auto* row = reinterpret_cast<std::byte*>(decoded_->constants.data()) + constant_bytes_;
  const size_t copied = std::clamp(slot_bytes, 4, 8);
  for (int lane = 0; lane < (slot_bytes == 0 ? 1 : kWarpSize); ++lane) {
    std::memcpy(row + size_t{static_cast<unsigned>(lane)} * slot_bytes, &bits, copied);
  }
  constant_bytes_ += row_bytes;
  return known->second;
}

uint32_t Decoder::ScratchRow(int slot_bytes) {
  register_bytes_.push_back(slot_bytes);
  return static_cast<uint32_t>(register_bytes_.size() - 1);
}

const Symbol* Decoder::FindSymbol(const std::string& name) const {
  if (const Symbol* symbol = layout_.Find(name)) {
    return symbol;
  }
  return context_.symbols->FindGlobal(name);
}

Op& Decoder::Emit(Handler handler, std::span<const uint32_t> results, std::span<const uint32_t> sources) {
  if (!handler) {
    Fail("the simulator does not have this form of the instruction");
  }
  DraftOp& draft = drafts_.emplace_back();
  draft.op.run = handler;
  draft.op.line = instruction_->line;
  draft.op.counted_as = counted_as_;
  if (instruction_->guard) {
    draft.op.guard = RegisterRow(*instruction_->guard, Format::kPred, /*exact=*/true);
    draft.op.guard_flip = instruction_->guard->negated ? kAllLanes : 0;
  }
  draft.rows.assign(results.begin(), results.end());
  draft.rows.insert(draft.rows.end(), sources.begin(), sources.end());
  draft.num_results = results.size();
  return draft.op;
}

void Decoder::BranchesTo(uint32_t instruction) { drafts_.back().successors.push_back(instruction); }

void Decoder::BranchesToTable(uint32_t table) {
  if (table >= function_.branch_targets.size()) {
    return Fail("no such table of branch targets");
  }
  for (uint32_t instruction : function_.branch_targets[table]) {
    BranchesTo(instruction);
  }
}

uint32_t Decoder::AddCall(CallSite call) {
  decoded_->calls.push_back(std::move(call));
  return static_cast<uint32_t>(decoded_->calls.size() - 1);
}

void Decoder::Fail(std::string_view reason) {
  if (status_.ok()) {
    status_ = runtime::Error(StatusCode::kUnimplemented, "line {}: '{}': {}", instruction_->line,
                             FullName(*instruction_), reason);
  }
}

void Decoder::Requires(int architecture, std::string_view what) {
  if (gpu().compute_major * 10 + gpu().compute_minor < architecture) {
    Fail(fmt::format("{} needs sm_{}, and the simulated GPU is sm_{}{}", what, architecture, gpu().compute_major,
                     gpu().compute_minor));
  }
}

std::unique_ptr<DecodedFunction> Decoder::Finish() {
  auto op_of = [&](uint32_t instruction) { return first_op_[instruction]; };
  for (DraftOp& draft : drafts_) {
    for (uint32_t& successor : draft.successors) {
      successor = op_of(successor);
    }
    if (draft.successors.size() == 1) {
      draft.op.target = draft.successors[0];
    }
  }
  for (const std::vector<uint32_t>& table : function_.branch_targets) {
    std::vector<uint32_t>& targets = decoded_->branch_tables.emplace_back();
    std::ranges::transform(table, std::back_inserter(targets), op_of);
  }
  decoded_->register_bytes = AllocateRegisters(drafts_, register_bytes_);
  std::vector<size_t> first_rows;
  for (const DraftOp& draft : drafts_) {
    first_rows.push_back(decoded_->rows.size());
    decoded_->rows.insert(decoded_->rows.end(), draft.rows.begin(), draft.rows.end());
  }
  for (size_t i = 0; i < drafts_.size(); ++i) {
    drafts_[i].op.rows = decoded_->rows.data() + first_rows[i];
    decoded_->ops.push_back(drafts_[i].op);
  }
  return std::move(decoded_);
}

runtime::StatusOr<std::unique_ptr<DecodedFunction>> DecodeFunction(const DecodeContext& context, size_t index) {
  return Decoder(context, index).Run();
}

}  // namespace nemotron::ptxsim
