#include "runtime/cuda/launcher.h"

#include <algorithm>
#include <bit>

#include "runtime/base/dtype.h"
#include "runtime/plan/find.h"

namespace nemotron::runtime::cuda {
namespace {

constexpr int64_t kMaxGridX = (int64_t{1} << 31) - 1, kMaxGridYZ = 65535;  // CUDA Programming Guide, table 27
constexpr int64_t kMaxScratchBytes = int64_t{1} << 44;

/// The kind of dispatch argument that a source of addresses and offsets means; the first four are the same.
schema::ArgumentKind KindOf(schema::LaunchSource source) { return static_cast<schema::ArgumentKind>(source); }
static_assert(static_cast<int>(schema::LaunchSource::State) == static_cast<int>(schema::ArgumentKind::State));

}  // namespace

StatusOr<Launcher> Launcher::Prepare(const Plan& plan, int64_t page_tokens) {
  const schema::Program& program = *plan.root().program();
  Launcher launcher;
  for (const schema::Kernel* kernel : *program.kernels()) {
    if (kernel->scratch() != nullptr) {
      ASSIGN_OR_RETURN(GridExpression bytes, GridExpression::Parse(kernel->scratch()->string_view()));
      launcher.scratch_.push_back(std::move(bytes));
    }
  }
  for (uint32_t i = 0; i < program.dispatches()->size(); ++i) {
    const schema::Dispatch& dispatch = *program.dispatches()->Get(i);
    const schema::Kernel& kernel = *program.kernels()->Get(dispatch.kernel());
    std::vector<Launch>& launches = launcher.dispatches_.emplace_back();
    for (uint32_t j = 0; j < kernel.launches()->size(); ++j) {
      auto launch = PrepareLaunch(plan, dispatch, j, page_tokens);
      if (!launch.ok()) {
        return std::move(launch).status().WithContext(fmt::format("in program.dispatches[{}] '{}' of layer {}", i,
                                                                  kernel.name()->string_view(), dispatch.layer()));
      }
      launches.push_back(std::move(launch).value());
    }
  }
  return launcher;
}

StatusOr<Launcher::Launch> Launcher::PrepareLaunch(const Plan& plan, const schema::Dispatch& dispatch, uint32_t index,
                                                   int64_t page_tokens) {
  const schema::Launch& stored = *plan.root().program()->kernels()->Get(dispatch.kernel())->launches()->Get(index);
  Launch launch;
  launch.kernel = dispatch.kernel();
  launch.index = index;
  launch.block_threads = stored.block_threads();
  launch.shared_bytes = stored.shared_bytes();
  ASSIGN_OR_RETURN(launch.grid[0], GridExpression::Parse(stored.grid_x()->string_view()));
  ASSIGN_OR_RETURN(launch.grid[1], GridExpression::Parse(stored.grid_y()->string_view()));
  ASSIGN_OR_RETURN(launch.grid[2], GridExpression::Parse(stored.grid_z()->string_view()));
  for (const schema::LaunchArgument* argument : *stored.arguments()) {
    ASSIGN_OR_RETURN(Argument prepared, PrepareArgument(plan, dispatch, *argument, page_tokens));
    launch.arguments.push_back(prepared);
  }
  return launch;
}

StatusOr<Launcher::Argument> Launcher::PrepareArgument(const Plan& plan, const schema::Dispatch& dispatch,
                                                       const schema::LaunchArgument& argument, int64_t page_tokens) {
  Argument prepared;
  prepared.source = argument.source();
  if (argument.source() >= schema::LaunchSource::Step) {
    return prepared;
  }
  const std::string_view name = argument.name()->string_view();
  if (argument.source() == schema::LaunchSource::Parameter) {
    const schema::Parameter* parameter = FindParameter(dispatch, name);
    if (parameter == nullptr || parameter->type() == schema::ParameterType::String) {
      return DataLoss("a launch takes the {} '{}', which the dispatch does not have", "parameter", name);
    }
    prepared.value = parameter->type() == schema::ParameterType::Float
                         ? std::bit_cast<uint32_t>(static_cast<float>(parameter->float_value()))
                         : static_cast<uint64_t>(parameter->int_value());
    return prepared;
  }
  const schema::Argument* found = FindArgument(dispatch, KindOf(argument.source()), name);
  if (found == nullptr) {
    return DataLoss("a launch takes the {} '{}', which the dispatch does not have",
                    schema::EnumNameLaunchSource(argument.source()), name);
  }
  prepared.index = found->index();
  if (argument.source() == schema::LaunchSource::State) {
    const schema::State& state = *plan.root().states()->Get(found->index());
    const bool in_pages = state.kind() == schema::StateKind::KvCache;
    prepared.value = state.offset_bytes() * static_cast<uint64_t>(in_pages ? page_tokens : 1);
  } else if (argument.source() != schema::LaunchSource::Weight) {
    const schema::Buffer& buffer = *plan.root().program()->buffers()->Get(found->index());
    prepared.offset_bytes = found->column() * static_cast<uint64_t>(SizeOf(static_cast<DType>(buffer.dtype())));
    prepared.token_bytes = buffer.zeroed() ? buffer.offset_bytes() : 0;
  }
  return prepared;
}

StatusOr<int64_t> Launcher::ScratchBytes(const GridShape& shape) const {
  int64_t bytes = 0;
  for (const GridExpression& expression : scratch_) {
    bytes = std::max(bytes, expression.Evaluate(shape));
  }
  if (bytes > kMaxScratchBytes) {
    return Error(StatusCode::kResourceExhausted, "kernels need {} bytes of scratch memory for steps of {} tokens",
                 bytes, shape.tokens);
  }
  return bytes;
}

void Launcher::Bind(const Addresses& addresses) {
  for (std::vector<Launch>& launches : dispatches_) {
    for (Launch& launch : launches) {
      for (Argument& argument : launch.arguments) {
        switch (argument.source) {
          case schema::LaunchSource::Input:
          case schema::LaunchSource::Output:
            argument.value = addresses.buffers[argument.index] + argument.offset_bytes;
            break;
          case schema::LaunchSource::Weight:
            argument.value = addresses.weights[argument.index];
            break;
          case schema::LaunchSource::Scratch:
            argument.value = addresses.scratch;
            break;
          default:
            break;
        }
      }
    }
  }
}

Status Launcher::Run(Gpu& gpu, const Modules& modules, uint32_t dispatch, const GridShape& shape,
                     const StepTables& step) const {
  for (const Launch& launch : dispatches_[dispatch]) {
    int64_t grid[3];
    for (size_t i = 0; i < 3; ++i) {
      grid[i] = launch.grid[i].Evaluate(shape);
    }
    if (grid[0] == 0 || grid[1] == 0 || grid[2] == 0) {
      continue;
    }
    if (grid[0] > kMaxGridX || grid[1] > kMaxGridYZ || grid[2] > kMaxGridYZ) {
      return InvalidArgument("dispatch {} asks for a grid of {} x {} x {} blocks, expected at most {} x {} x {}",
                             dispatch, grid[0], grid[1], grid[2], kMaxGridX, kMaxGridYZ, kMaxGridYZ);
    }
    uint64_t values[64];
    void* arguments[64];
    for (size_t i = 0; i < launch.arguments.size(); ++i) {
      const Argument& argument = launch.arguments[i];
      values[i] = argument.value + argument.token_bytes * static_cast<uint64_t>(shape.tokens);
      arguments[i] = argument.source == schema::LaunchSource::Step ? const_cast<StepTables*>(&step)
                                                                   : static_cast<void*>(&values[i]);
    }
    CUDA_RETURN_IF_ERROR(gpu.driver(), cuLaunchKernel, modules.function(launch.kernel, launch.index),
                         static_cast<unsigned>(grid[0]), static_cast<unsigned>(grid[1]), static_cast<unsigned>(grid[2]),
                         launch.block_threads, 1, 1, launch.shared_bytes, gpu.stream(), arguments, nullptr);
  }
  return OkStatus();
}

}  // namespace nemotron::runtime::cuda
