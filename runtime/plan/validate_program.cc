#include <array>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "runtime/base/dtype.h"
#include "runtime/plan/format.h"
#include "runtime/plan/step_tables.h"
#include "runtime/plan/validate.h"

namespace nemotron::runtime {
namespace {

/// A set of columns of a buffer, as disjoint half-open runs.
class Columns {
 public:
  void Add(uint64_t begin, uint64_t end) {
    auto it = runs_.upper_bound(begin);
    if (it != runs_.begin() && std::prev(it)->second >= begin) {
      --it;
    }
    while (it != runs_.end() && it->first <= end) {
      begin = std::min(begin, it->first);
      end = std::max(end, it->second);
      it = runs_.erase(it);
    }
    runs_[begin] = end;
  }
  bool Contains(uint64_t begin, uint64_t end) const {
    const auto it = runs_.upper_bound(begin);
    return it != runs_.begin() && std::prev(it)->second >= end;
  }

 private:
  std::map<uint64_t, uint64_t> runs_;  // begin -> end
};

/// Which buffers hold data while the dispatches run in order. A write to a buffer ends the life of all that share
/// bytes. Zeroed ones always do.
class Liveness {
 public:
  explicit Liveness(const schema::Program& program) : program_(program) {}

  void Write(uint32_t index, uint64_t column, uint64_t columns) {
    const schema::Buffer& buffer = *program_.buffers()->Get(index);
    if (buffer.zeroed()) {
      return;
    }
    // Live buffers are disjoint, so those that overlap this one are neighbours in the order of their offsets.
    std::map<uint64_t, uint32_t>& live = live_[static_cast<size_t>(buffer.space())];
    const uint64_t begin = buffer.offset_bytes(), end = begin + buffer.row_bytes();
    auto it = live.lower_bound(begin);
    if (it != live.begin()) {
      const schema::Buffer& before = *program_.buffers()->Get(std::prev(it)->second);
      if (before.offset_bytes() + before.row_bytes() > begin) {
        --it;
      }
    }
    while (it != live.end() && it->first < end) {
      if (it->second == index) {
        ++it;
        continue;
      }
      written_.erase(it->second);
      it = live.erase(it);
    }
    live[begin] = index;
    written_[index].Add(column, column + columns);
  }

  bool IsLive(uint32_t index, uint64_t column, uint64_t columns) const {
    if (program_.buffers()->Get(index)->zeroed()) {
      return true;
    }
    const auto it = written_.find(index);
    return it != written_.end() && it->second.Contains(column, column + columns);
  }

 private:
  const schema::Program& program_;
  std::array<std::map<uint64_t, uint32_t>, 2> live_;  // by space: offset -> buffer
  std::unordered_map<uint32_t, Columns> written_;
};

/// What is asked of a buffer in an arena, of `arena` bytes a unit.
Status CheckPlace(const std::string& what, const schema::Buffer& buffer, uint64_t arena) {
  if (buffer.row_bytes() % kBufferAlignment != 0 || buffer.offset_bytes() % kBufferAlignment != 0) {
    return DataLoss("{} has rows of {} bytes at offset {}, expected multiples of {}", what, buffer.row_bytes(),
                    buffer.offset_bytes(), kBufferAlignment);
  }
  if (buffer.offset_bytes() > arena || buffer.row_bytes() > arena - buffer.offset_bytes()) {
    return DataLoss("{} ends at byte {} + {} of an arena of {} bytes a {}", what, buffer.offset_bytes(),
                    buffer.row_bytes(), arena, buffer.space() == schema::Space::Token ? "token" : "row");
  }
  return OkStatus();
}

/// What is asked of a zeroed one. `runs` are the bytes of those before, begin -> end.
Status CheckZeroed(const std::string& what, const PlanProgram& of, const schema::Buffer& buffer,
                   std::map<uint64_t, uint64_t>* runs) {
  if (of.target != "cuda") {
    return DataLoss("{} is zeroed, which target '{}' has no memory for", what, of.target);
  }
  const bool has_dtype = buffer.dtype() == schema::DType::I32 || buffer.dtype() == schema::DType::F32;
  if (buffer.space() != schema::Space::Token || !has_dtype) {
    return DataLoss("{} is {} of space {}, expected i32 or f32 of space Token, for it is zeroed", what,
                    DTypeName(static_cast<DType>(buffer.dtype())), schema::EnumNameSpace(buffer.space()));
  }
  if (buffer.row_bytes() != 4 * buffer.columns() || buffer.offset_bytes() % 4 != 0) {
    return DataLoss("{} has rows of {} bytes at offset {}, expected {} bytes at a multiple of 4, for it is zeroed",
                    what, buffer.row_bytes(), buffer.offset_bytes(), 4 * buffer.columns());
  }
  const uint64_t all = of.program.zeroed_bytes(), begin = buffer.offset_bytes();
  if (begin > all || buffer.row_bytes() > all - begin) {
    return DataLoss("{} ends at byte {} + {} of {} zeroed bytes a token", what, begin, buffer.row_bytes(), all);
  }
  const auto behind = runs->lower_bound(begin + buffer.row_bytes());
  if (behind != runs->begin() && std::prev(behind)->second > begin) {
    return DataLoss("{} overlaps zeroed bytes {} to {} of an earlier buffer", what, std::prev(behind)->first,
                    std::prev(behind)->second);
  }
  runs->emplace(begin, begin + buffer.row_bytes());
  return OkStatus();
}

Status CheckBuffers(const PlanProgram& of) {
  const schema::Program& program = of.program;
  if (program.buffers()->size() > kMaxBuffers) {
    return DataLoss("program.buffers has {} entries, expected at most {}", program.buffers()->size(), kMaxBuffers);
  }
  for (const auto& [what, bytes] : {std::pair("program.token_arena_bytes", program.token_arena_bytes()),
                                    std::pair("program.row_arena_bytes", program.row_arena_bytes())}) {
    if (bytes > kMaxUnitBytes || bytes % kBufferAlignment != 0) {
      return DataLoss("{} is {}, expected a multiple of {} up to {}", what, bytes, kBufferAlignment, kMaxUnitBytes);
    }
  }
  if (program.zeroed_bytes() > kMaxUnitBytes || program.zeroed_bytes() % 4 != 0) {
    return DataLoss("program.zeroed_bytes is {}, expected a multiple of 4 up to {}", program.zeroed_bytes(),
                    kMaxUnitBytes);
  }
  uint64_t sums[2] = {0, 0};
  std::map<uint64_t, uint64_t> zeroed;
  std::unordered_set<std::string_view> names;
  for (uint32_t i = 0; i < program.buffers()->size(); ++i) {
    const schema::Buffer& buffer = *program.buffers()->Get(i);
    const std::string_view name = buffer.name()->string_view();
    RETURN_IF_ERROR(ValidateName(fmt::format("program.buffers[{}].name", i), name));
    const std::string what = fmt::format("program.buffers[{}] '{}'", i, name);
    if (!names.insert(name).second) {
      return DataLoss("{} has the name of an earlier buffer", what);
    }
    RETURN_IF_ERROR(ValidateEnum(what + " dtype", static_cast<int>(buffer.dtype()), 8));
    RETURN_IF_ERROR(ValidateEnum(what + " space", static_cast<int>(buffer.space()), 2));
    const bool per_token = buffer.space() == schema::Space::Token;
    const auto element_bytes = static_cast<uint64_t>(SizeOf(static_cast<DType>(buffer.dtype())));
    if (buffer.columns() == 0 || buffer.columns() > buffer.row_bytes() / element_bytes) {
      return DataLoss("{} has {} columns of {}, expected 1 to {} in rows of {} bytes", what, buffer.columns(),
                      DTypeName(static_cast<DType>(buffer.dtype())), buffer.row_bytes() / element_bytes,
                      buffer.row_bytes());
    }
    if (buffer.zeroed()) {
      RETURN_IF_ERROR(CheckZeroed(what, of, buffer, &zeroed));
      continue;
    }
    RETURN_IF_ERROR(CheckPlace(what, buffer, per_token ? program.token_arena_bytes() : program.row_arena_bytes()));
    sums[per_token ? 0 : 1] += buffer.row_bytes();
  }
  if (program.token_bytes_without_reuse() != sums[0] || program.row_bytes_without_reuse() != sums[1]) {
    return DataLoss("program bytes without reuse are {} a token and {} a row, but the buffers sum up to {} and {}",
                    program.token_bytes_without_reuse(), program.row_bytes_without_reuse(), sums[0], sums[1]);
  }
  return OkStatus();
}

Status CheckLogits(const PlanProgram& of) {
  const schema::Program& program = of.program;
  if (program.logits() >= program.buffers()->size()) {
    return DataLoss("program.logits is {}, but there are {} buffers", program.logits(), program.buffers()->size());
  }
  const schema::Buffer& logits = *program.buffers()->Get(program.logits());
  if (logits.dtype() != schema::DType::F32 || logits.space() != schema::Space::Row ||
      logits.columns() != of.plan.model()->vocab_size()) {
    return DataLoss("program.logits names buffer '{}' of {} {} {} columns, expected f32 [R, {}]",
                    logits.name()->string_view(), DTypeName(static_cast<DType>(logits.dtype())),
                    schema::EnumNameSpace(logits.space()), logits.columns(), of.plan.model()->vocab_size());
  }
  return OkStatus();
}

/// A row of the buffer is a SampledRow: those of a step are read as an array.
Status CheckSamples(const schema::Program& program) {
  if (program.samples() == -1) {
    return OkStatus();
  }
  if (program.samples() < -1 || program.samples() >= static_cast<int64_t>(program.buffers()->size())) {
    return DataLoss("program.samples is {}, but there are {} buffers", program.samples(), program.buffers()->size());
  }
  constexpr uint64_t kColumns = sizeof(SampledRow) / sizeof(int32_t);
  const schema::Buffer& samples = *program.buffers()->Get(static_cast<uint32_t>(program.samples()));
  if (samples.dtype() != schema::DType::I32 || samples.space() != schema::Space::Row || samples.columns() != kColumns ||
      samples.row_bytes() != sizeof(SampledRow)) {
    return DataLoss(
        "program.samples names buffer '{}' of {} {} {} columns in rows of {} bytes, expected i32 [R, {}] "
        "in rows of {}",
        samples.name()->string_view(), DTypeName(static_cast<DType>(samples.dtype())),
        schema::EnumNameSpace(samples.space()), samples.columns(), samples.row_bytes(), kColumns, sizeof(SampledRow));
  }
  return OkStatus();
}

Status CheckArgument(const std::string& what, const PlanProgram& of, const schema::Argument& argument) {
  RETURN_IF_ERROR(ValidateEnum(what + " kind", static_cast<int>(argument.kind()), 4));
  const schema::Program& program = of.program;
  const bool is_buffer =
      argument.kind() == schema::ArgumentKind::Input || argument.kind() == schema::ArgumentKind::Output;
  const uint32_t count = is_buffer                                         ? program.buffers()->size()
                         : argument.kind() == schema::ArgumentKind::Weight ? of.plan.weights()->size()
                                                                           : of.plan.states()->size();
  if (argument.index() >= count) {
    return DataLoss("{} has index {}, but there are {} {}", what, argument.index(), count,
                    is_buffer                                         ? "buffers"
                    : argument.kind() == schema::ArgumentKind::Weight ? "weights"
                                                                      : "states");
  }
  if (is_buffer) {
    const schema::Buffer& buffer = *program.buffers()->Get(argument.index());
    if (argument.columns() == 0 || argument.column() >= buffer.columns() ||
        argument.columns() > buffer.columns() - argument.column()) {
      return DataLoss("{} means columns {} to {} + {} of buffer '{}', which has {}", what, argument.column(),
                      argument.column(), argument.columns(), buffer.name()->string_view(), buffer.columns());
    }
  }
  return OkStatus();
}

Status CheckParameters(const std::string& what, const schema::Dispatch& dispatch) {
  if (dispatch.parameters() == nullptr) {
    return OkStatus();
  }
  if (dispatch.parameters()->size() > kMaxParameters) {
    return DataLoss("{} has {} parameters, expected at most {}", what, dispatch.parameters()->size(), kMaxParameters);
  }
  std::unordered_set<std::string_view> names;
  for (const schema::Parameter* parameter : *dispatch.parameters()) {
    const std::string_view name = parameter->name()->string_view();
    RETURN_IF_ERROR(ValidateName(what + " parameter name", name));
    if (!names.insert(name).second) {
      return DataLoss("{} has parameter '{}' twice", what, name);
    }
    RETURN_IF_ERROR(
        ValidateEnum(fmt::format("{} parameter '{}' type", what, name), static_cast<int>(parameter->type()), 4));
    const bool is_bool = parameter->type() == schema::ParameterType::Bool;
    if (is_bool && parameter->int_value() != 0 && parameter->int_value() != 1) {
      return DataLoss("{} parameter '{}' is {}, expected 0 or 1", what, name, parameter->int_value());
    }
    if (parameter->type() == schema::ParameterType::Float && std::isnan(parameter->float_value())) {
      return DataLoss("{} parameter '{}' is not a number", what, name);
    }
    if (parameter->type() == schema::ParameterType::String &&
        (parameter->string_value() == nullptr || parameter->string_value()->size() > kMaxNameBytes)) {
      return DataLoss("{} parameter '{}' has no text, or more than {} characters", what, name, kMaxNameBytes);
    }
  }
  return OkStatus();
}

/// No output shares bytes with another argument of the same dispatch.
Status CheckAliases(const std::string& what, const schema::Program& program, const schema::Dispatch& dispatch) {
  const auto is_buffer = [](const schema::Argument& a) { return a.kind() <= schema::ArgumentKind::Output; };
  for (const schema::Argument* output : *dispatch.arguments()) {
    if (output->kind() != schema::ArgumentKind::Output) {
      continue;
    }
    const schema::Buffer& target = *program.buffers()->Get(output->index());
    for (const schema::Argument* other : *dispatch.arguments()) {
      if (other == output || !is_buffer(*other)) {
        continue;
      }
      const schema::Buffer& buffer = *program.buffers()->Get(other->index());
      bool overlap = false;
      if (other->index() == output->index()) {
        overlap = other->column() < output->column() + output->columns() &&
                  output->column() < other->column() + other->columns();
      } else if (buffer.space() == target.space() && !buffer.zeroed() && !target.zeroed()) {
        overlap = buffer.offset_bytes() < target.offset_bytes() + target.row_bytes() &&
                  target.offset_bytes() < buffer.offset_bytes() + buffer.row_bytes();
      }
      if (overlap) {
        return DataLoss("{} output '{}' overlaps argument '{}' in memory", what, output->name()->string_view(),
                        other->name()->string_view());
      }
    }
  }
  return OkStatus();
}

Status CheckDispatch(uint32_t index, const PlanProgram& of, Liveness* liveness) {
  const schema::Program& program = of.program;
  const schema::Dispatch& dispatch = *program.dispatches()->Get(index);
  if (dispatch.kernel() >= program.kernels()->size()) {
    return DataLoss("program.dispatches[{}] names kernel {}, but there are {}", index, dispatch.kernel(),
                    program.kernels()->size());
  }
  const std::string what = fmt::format("program.dispatches[{}] '{}'", index,
                                       program.kernels()->Get(dispatch.kernel())->name()->string_view());
  if (dispatch.layer() < -1 || dispatch.layer() >= static_cast<int64_t>(of.plan.model()->num_layers())) {
    return DataLoss("{} belongs to layer {}, expected -1 (none) to {}", what, dispatch.layer(),
                    static_cast<int64_t>(of.plan.model()->num_layers()) - 1);
  }
  if (dispatch.arguments()->size() > kMaxArguments) {
    return DataLoss("{} has {} arguments, expected at most {}", what, dispatch.arguments()->size(), kMaxArguments);
  }
  std::set<std::pair<schema::ArgumentKind, std::string_view>> names;
  for (uint32_t i = 0; i < dispatch.arguments()->size(); ++i) {
    const schema::Argument& argument = *dispatch.arguments()->Get(i);
    RETURN_IF_ERROR(ValidateName(fmt::format("{} argument {} name", what, i), argument.name()->string_view()));
    const std::string argument_name = fmt::format("{} argument '{}'", what, argument.name()->string_view());
    RETURN_IF_ERROR(CheckArgument(argument_name, of, argument));
    if (!names.emplace(argument.kind(), argument.name()->string_view()).second) {
      return DataLoss("{} is given twice", argument_name);
    }
    if (argument.kind() == schema::ArgumentKind::Input &&
        !liveness->IsLive(argument.index(), argument.column(), argument.columns())) {
      return DataLoss(
          "{} reads columns {} to {} of buffer '{}', which no dispatch before has written, or which another "
          "buffer has overwritten",
          argument_name, argument.column(), argument.column() + argument.columns(),
          program.buffers()->Get(argument.index())->name()->string_view());
    }
  }
  RETURN_IF_ERROR(CheckParameters(what, dispatch));
  RETURN_IF_ERROR(CheckAliases(what, program, dispatch));
  for (const schema::Argument* argument : *dispatch.arguments()) {
    if (argument->kind() == schema::ArgumentKind::Output) {
      liveness->Write(argument->index(), argument->column(), argument->columns());
    }
  }
  return OkStatus();
}

}  // namespace

Status ValidateProgram(const PlanProgram& of) {
  const schema::Program& program = of.program;
  if (program.kernels()->size() > kMaxKernels || program.dispatches()->size() > kMaxDispatches) {
    return DataLoss("program has {} kernels and {} dispatches, expected at most {} and {}", program.kernels()->size(),
                    program.dispatches()->size(), kMaxKernels, kMaxDispatches);
  }
  RETURN_IF_ERROR(CheckBuffers(of));
  RETURN_IF_ERROR(CheckLogits(of));
  RETURN_IF_ERROR(CheckSamples(program));
  Liveness liveness(program);
  for (uint32_t i = 0; i < program.dispatches()->size(); ++i) {
    RETURN_IF_ERROR(CheckDispatch(i, of, &liveness));
  }
  if (!liveness.IsLive(program.logits(), 0, of.plan.model()->vocab_size())) {
    return DataLoss("program.logits names buffer '{}', which does not hold data at the end of the program",
                    program.buffers()->Get(program.logits())->name()->string_view());
  }
  if (program.samples() >= 0) {
    const auto samples = static_cast<uint32_t>(program.samples());
    const schema::Buffer& buffer = *program.buffers()->Get(samples);
    if (!liveness.IsLive(samples, 0, buffer.columns())) {
      return DataLoss("program.samples names buffer '{}', which does not hold data at the end of the program",
                      buffer.name()->string_view());
    }
  }
  return OkStatus();
}

}  // namespace nemotron::runtime
