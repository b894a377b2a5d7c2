#include "runtime/engine/cpu_tap.h"

#include <string>
#include <string_view>

#include "runtime/base/dtype.h"
#include "runtime/engine/cpu_arguments.h"
#include "runtime/plan/find.h"

namespace nemotron::runtime {
namespace {

using Kind = ActivationInfo::Kind;

/// The role of the scales of quantized activations.
std::string_view ScaleRole(Kind kind) { return kind == Kind::kInput ? "input_scale" : "scale"; }

}  // namespace

CpuTap::CpuTap(const Plan& plan, uint32_t dispatch, const ProgramLimits& limits, ActivationObserver* observer)
    : observer_(observer), dispatch_(DescribeDispatch(plan, dispatch)) {
  AddBuffers(plan, *plan.root().program()->dispatches()->Get(dispatch), limits);
  for (Activation& activation : activations_) {
    const DType dtype = activation.buffer.dtype;
    const bool readable = dtype == DType::kF32 || (IsCode(dtype) && activation.scale.has_value());
    activation.wanted = readable && observer_->Wants(activation.info);
  }
  if (dispatch_.op() == "moe_experts" || dispatch_.op() == "scaled_moe_experts") {
    hidden_info_ = {.dispatch = &dispatch_, .kind = Kind::kExpertHidden, .role = "hidden", .buffer = {}, .columns = 0};
    if (observer_->Wants(hidden_info_)) {
      hidden_ = [this](int64_t, std::span<const float> row) {
        const auto columns = static_cast<int64_t>(row.size());
        observer_->See(hidden_info_, {.data = row.data(), .num_rows = 1, .columns = columns, .stride = columns});
      };
    }
  }
}

void CpuTap::AddBuffers(const Plan& plan, const schema::Dispatch& dispatch, const ProgramLimits& limits) {
  const schema::Program& program = *plan.root().program();
  const auto make = [&](const schema::Argument& argument) {
    return MakeBuffer(*program.buffers()->Get(argument.index()), argument.column(), argument.columns(), limits);
  };
  for (const schema::Argument* argument : *dispatch.arguments()) {
    const bool is_input = argument->kind() == schema::ArgumentKind::Input;
    if (!is_input && argument->kind() != schema::ArgumentKind::Output) {
      continue;
    }
    Activation activation = {
        .info = {.dispatch = &dispatch_,
                 .kind = is_input ? Kind::kInput : Kind::kOutput,
                 .role = argument->name()->string_view(),
                 .buffer = program.buffers()->Get(argument->index())->name()->string_view(),
                 .columns = static_cast<int64_t>(argument->columns())},
        .buffer = make(*argument),
        .scale = {},
    };
    if (const schema::Argument* scale = FindArgument(dispatch, argument->kind(), ScaleRole(activation.info.kind))) {
      activation.scale = make(*scale);
    }
    activations_.push_back(activation);
  }
}

void CpuTap::Run(const cpu::PreparedDispatch& prepared, const cpu::StepContext& step) {
  Show(Kind::kInput, step);
  cpu::StepContext context = step;
  context.expert_hidden = hidden_ ? &hidden_ : nullptr;
  prepared.Run(context);
  Show(Kind::kOutput, step);
}

void CpuTap::Show(Kind kind, const cpu::StepContext& step) {
  for (const Activation& activation : activations_) {
    if (activation.wanted && activation.info.kind == kind && step.units(activation.buffer.space) > 0) {
      ShowRows(activation, step);
    }
  }
}

void CpuTap::ShowRows(const Activation& activation, const cpu::StepContext& step) {
  const cpu::BufferArgument& buffer = activation.buffer;
  const int64_t num_rows = step.units(buffer.space), columns = buffer.columns;
  if (buffer.dtype == DType::kF32) {
    observer_->See(activation.info, {.data = step.At<float>(buffer, 0),
                                     .num_rows = num_rows,
                                     .columns = columns,
                                     .stride = buffer.row_bytes / SizeOf(DType::kF32)});
    return;
  }
  decoded_.resize(static_cast<size_t>(num_rows * columns));
  for (int64_t row = 0; row < num_rows; ++row) {
    const auto* codes = step.At<uint8_t>(buffer, row);
    const float scale = *step.At<float>(*activation.scale, row);
    for (int64_t column = 0; column < columns; ++column) {
      decoded_[static_cast<size_t>(row * columns + column)] = CodeToF32(buffer.dtype, codes[column]) * scale;
    }
  }
  observer_->See(activation.info,
                 {.data = decoded_.data(), .num_rows = num_rows, .columns = columns, .stride = columns});
}

}  // namespace nemotron::runtime
