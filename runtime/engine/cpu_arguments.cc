#include "runtime/engine/cpu_arguments.h"

#include <string>

namespace nemotron::runtime {
namespace {

/// The value of a plan's enum in the kernels' terms; the loader has checked the range, and the values are equal.
template <typename Target, typename Source>
Target Convert(Source value) {
  return static_cast<Target>(value);
}
static_assert(static_cast<int>(schema::Space::Row) == static_cast<int>(cpu::Space::kRow));
static_assert(static_cast<int>(schema::Layout::Panel) == static_cast<int>(cpu::Layout::kPanel));
static_assert(static_cast<int>(schema::StateKind::Recent) == static_cast<int>(cpu::StateKind::kRecent));
static_assert(static_cast<int>(schema::DType::I64) == static_cast<int>(DType::kI64));

cpu::ParameterValue MakeParameter(const schema::Parameter& parameter) {
  switch (parameter.type()) {
    case schema::ParameterType::Int:
      return parameter.int_value();
    case schema::ParameterType::Float:
      return parameter.float_value();
    case schema::ParameterType::Bool:
      return parameter.int_value() != 0;
    case schema::ParameterType::String:
      return parameter.string_value()->str();
  }
  return int64_t{0};
}

}  // namespace

cpu::BufferArgument MakeBuffer(const schema::Buffer& buffer, uint64_t column, uint64_t columns,
                               const ProgramLimits& limits) {
  const int64_t capacity = buffer.space() == schema::Space::Token ? limits.max_tokens : limits.max_rows;
  const auto dtype = Convert<DType>(buffer.dtype());
  return {.dtype = dtype,
          .space = Convert<cpu::Space>(buffer.space()),
          .columns = static_cast<int64_t>(columns),
          .row_bytes = static_cast<int64_t>(buffer.row_bytes()),
          .base_bytes =
              static_cast<int64_t>(buffer.offset_bytes()) * capacity + static_cast<int64_t>(column) * SizeOf(dtype)};
}

cpu::DispatchArguments MakeArguments(const Plan& plan, const schema::Dispatch& dispatch, const ProgramLimits& limits,
                                     int num_threads) {
  const schema::Plan& root = plan.root();
  cpu::DispatchArguments arguments;
  for (const schema::Argument* argument : *dispatch.arguments()) {
    const std::string name = argument->name()->str();
    switch (argument->kind()) {
      case schema::ArgumentKind::Input:
      case schema::ArgumentKind::Output: {
        auto& buffers = argument->kind() == schema::ArgumentKind::Input ? arguments.inputs : arguments.outputs;
        const schema::Buffer& buffer = *root.program()->buffers()->Get(argument->index());
        buffers.emplace(name, MakeBuffer(buffer, argument->column(), argument->columns(), limits));
        break;
      }
      case schema::ArgumentKind::Weight: {
        const schema::Weight& weight = *root.weights()->Get(argument->index());
        arguments.weights.emplace(name, cpu::WeightArgument{.dtype = Convert<DType>(weight.dtype()),
                                                            .layout = Convert<cpu::Layout>(weight.layout()),
                                                            .shape = {weight.shape()->begin(), weight.shape()->end()},
                                                            .data = plan.SegmentBytes(*weight.segment())});
        break;
      }
      case schema::ArgumentKind::State: {
        const schema::State& state = *root.states()->Get(argument->index());
        arguments.states.emplace(name, cpu::StateArgument{.kind = Convert<cpu::StateKind>(state.kind()),
                                                          .dtype = Convert<DType>(state.dtype()),
                                                          .shape = {state.shape()->begin(), state.shape()->end()},
                                                          .offset_bytes = static_cast<int64_t>(state.offset_bytes())});
        break;
      }
    }
  }
  if (dispatch.parameters() != nullptr) {
    for (const schema::Parameter* parameter : *dispatch.parameters()) {
      arguments.parameters.emplace(parameter->name()->str(), MakeParameter(*parameter));
    }
  }
  arguments.max_tokens = limits.max_tokens;
  arguments.max_rows = limits.max_rows;
  arguments.vocab_size = static_cast<int64_t>(root.model()->vocab_size());
  arguments.page_tokens = limits.page_tokens;
  arguments.num_threads = num_threads;
  return arguments;
}

}  // namespace nemotron::runtime
