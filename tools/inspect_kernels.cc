#include "tools/inspect_kernels.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string_view>
#include <utility>

#include "tools/console.h"

namespace nemotron::tools {
namespace {

using namespace nemotron::runtime;  // NOLINT: a tool is made of nothing else
using nlohmann::json;

constexpr const char* kLegend = R"(
  regs          registers a thread
  local         bytes of stack a thread + instructions that read it (LDL) + instructions that write it (STL): spilled
                registers, and arrays that the compiler could not keep in registers
  shared        bytes a block, static + dynamic
  blocks warps  of a multiprocessor at once, with the share of the warps that it can hold, and what limits them
  tensor        instructions for tensor cores in the function
  unknown       instructions that nemotron-inspect does not know
  main loop     the innermost loop around most instructions for tensor cores: how many of these it has, of arithmetic or
                conversions of floating-point numbers (and their share of the loop), of integers (mostly addresses), of
                memory and of control
)";

struct KindName {
  InstructionKind kind;
  const char* name;
};
constexpr KindName kKindNames[] = {{InstructionKind::kTensor, "tensor"},   {InstructionKind::kFloating, "floating"},
                                   {InstructionKind::kInteger, "integer"}, {InstructionKind::kMemory, "memory"},
                                   {InstructionKind::kControl, "control"}, {InstructionKind::kOther, "unknown"}};

/// The launches of `kernel` that differ by what they take.
std::vector<const schema::Launch*> DistinctLaunches(const schema::Kernel& kernel) {
  std::vector<const schema::Launch*> launches;
  for (const schema::Launch* launch : *kernel.launches()) {
    const bool is_known = std::ranges::any_of(launches, [&](const schema::Launch* other) {
      return other->function()->string_view() == launch->function()->string_view() &&
             other->block_threads() == launch->block_threads() && other->shared_bytes() == launch->shared_bytes();
    });
    if (!is_known) {
      launches.push_back(launch);
    }
  }
  return launches;
}

StatusOr<LaunchReport> Report(const schema::Kernel& kernel, const schema::Launch& launch, const schema::Image& image,
                              const std::vector<CubinFunction>& functions) {
  const auto function = std::ranges::find(functions, launch.function()->string_view(), &CubinFunction::name);
  if (function == functions.end()) {
    return DataLoss("no function '{}'", launch.function()->string_view());
  }
  LaunchReport report = {.kernel = kernel.name()->str(),
                         .architecture = image.architecture()->str(),
                         .function = *function,
                         .block_threads = launch.block_threads(),
                         .dynamic_shared_bytes = launch.shared_bytes(),
                         .occupancy = std::nullopt};
  if (const auto limits = FindMultiprocessorLimits(function->capability)) {
    report.occupancy =
        ComputeOccupancy(*limits, {.threads = report.block_threads,
                                   .registers = function->registers,
                                   .shared_bytes = function->shared_bytes + report.dynamic_shared_bytes});
  }
  return report;
}

/// Appends the launches of a kernel: all architectures of the first, then of the second.
Status ReportKernel(const Plan& plan, const schema::Kernel& kernel, std::vector<LaunchReport>& reports) {
  std::vector<std::vector<LaunchReport>> by_launch(DistinctLaunches(kernel).size());
  for (const schema::Image* image : *kernel.images()) {
    if (image->kind() != schema::ImageKind::Cubin) {
      continue;
    }
    const auto context = [&](Status status) {
      return std::move(status).WithContext(fmt::format(
          "in image '{}' of kernel '{}'", image->architecture()->string_view(), kernel.name()->string_view()));
    };
    StatusOr<std::vector<CubinFunction>> functions = ReadCubin(plan.SegmentBytes(*image->data()));
    if (!functions.ok()) {
      return context(std::move(functions).status());
    }
    for (size_t i = 0; const schema::Launch* launch : DistinctLaunches(kernel)) {
      StatusOr<LaunchReport> report = Report(kernel, *launch, *image, *functions);
      if (!report.ok()) {
        return context(std::move(report).status());
      }
      by_launch[i++].push_back(*std::move(report));
    }
  }
  for (std::vector<LaunchReport>& launch : by_launch) {
    std::ranges::move(launch, std::back_inserter(reports));
  }
  return OkStatus();
}

std::string OccupancyText(const std::optional<Occupancy>& occupancy) {
  return occupancy
             ? fmt::format("{:>6} {:>5} {:>5.0f}%", occupancy->blocks(), occupancy->warps(), occupancy->share() * 100)
             : fmt::format("{:>6} {:>5} {:>6}", "?", "?", "?");
}

std::string MainLoopText(const InstructionCounts& loop) {
  if (loop.total() == 0) {
    return fmt::format("{:>6} {:>8} {:>5} {:>7} {:>6} {:>7}", "-", "", "", "", "", "");
  }
  return fmt::format("{:>6} {:>8} {:>4.0f}% {:>7} {:>6} {:>7}", loop[InstructionKind::kTensor],
                     loop[InstructionKind::kFloating], loop.share(InstructionKind::kFloating) * 100,
                     loop[InstructionKind::kInteger], loop[InstructionKind::kMemory], loop[InstructionKind::kControl]);
}

json CountsJson(const InstructionCounts& counts) {
  json report = {{"total", counts.total()}};
  for (const auto& [kind, name] : kKindNames) {
    report[name] = counts[kind];
  }
  return report;
}

}  // namespace

StatusOr<std::vector<LaunchReport>> InspectKernels(const Plan& plan) {
  const std::string_view target = plan.root().target()->string_view();
  if (target != "cuda") {
    return InvalidArgument(
        "kernels of target '{}' are part of the runtime, not of the plan; expected a plan for 'cuda'", target);
  }
  std::vector<LaunchReport> reports;
  for (const schema::Kernel* kernel : *plan.root().program()->kernels()) {
    RETURN_IF_ERROR(ReportKernel(plan, *kernel, reports));
  }
  return reports;
}

void PrintKernels(const std::vector<LaunchReport>& launches) {
  size_t width = 8;
  for (const LaunchReport& launch : launches) {
    width = std::max(width, launch.function.name.size());
  }
  fmt::print("\nmachine code\n{}", kLegend);
  std::string_view kernel;
  for (const LaunchReport& launch : launches) {
    const CubinFunction& function = launch.function;
    if (launch.kernel != kernel) {
      kernel = launch.kernel;
      fmt::print(
          "\n  {:<{}}main loop\n    {:<{}}  {:<8} {:>4} {:>10} {:>13} {:>7} {:>6} {:>5} {:>6} {:>6} {:>7}  {:<44}  "
          "{}\n",
          Printable(kernel), width + 83, "function", width, "image", "regs", "local", "shared", "threads", "blocks",
          "warps", "share", "tensor", "unknown", "tensor floating share integer memory control", "limited by");
    }
    fmt::print("    {:<{}}  {:<8} {:>4} {:>10} {:>13} {:>7} {} {:>6} {:>7}  {}  {}\n", Printable(function.name), width,
               Printable(launch.architecture), function.registers,
               fmt::format("{}+{}+{}", function.stack_bytes, function.code.local_loads, function.code.local_stores),
               fmt::format("{}+{}", function.shared_bytes, launch.dynamic_shared_bytes), launch.block_threads,
               OccupancyText(launch.occupancy), function.code.all[InstructionKind::kTensor],
               function.code.all[InstructionKind::kOther], MainLoopText(function.code.main_loop),
               launch.occupancy ? launch.occupancy->limited_by() : "");
  }
}

json KernelsJson(const std::vector<LaunchReport>& launches) {
  json list = json::array();
  for (const LaunchReport& launch : launches) {
    const CubinFunction& function = launch.function;
    json report = {{"kernel", launch.kernel},
                   {"function", function.name},
                   {"architecture", launch.architecture},
                   {"registers", function.registers},
                   {"stack_bytes", function.stack_bytes},
                   {"local_loads", function.code.local_loads},
                   {"local_stores", function.code.local_stores},
                   {"static_shared_bytes", function.shared_bytes},
                   {"dynamic_shared_bytes", launch.dynamic_shared_bytes},
                   {"block_threads", launch.block_threads},
                   {"occupancy", nullptr},
                   {"instructions", CountsJson(function.code.all)},
                   {"main_loop", nullptr}};
    if (const std::optional<Occupancy>& occupancy = launch.occupancy) {
      report["occupancy"] = {{"blocks", occupancy->blocks()},
                             {"warps", occupancy->warps()},
                             {"share", occupancy->share()},
                             {"limited_by", occupancy->limited_by()},
                             {"blocks_by_registers", occupancy->by_registers},
                             {"blocks_by_shared_memory", occupancy->by_shared_memory},
                             {"blocks_by_threads", occupancy->by_threads},
                             {"blocks_by_blocks", occupancy->by_blocks}};
    }
    if (const InstructionCounts& loop = function.code.main_loop; loop.total() > 0) {
      report["main_loop"] = CountsJson(loop);
      report["main_loop"]["floating_share"] = loop.share(InstructionKind::kFloating);
    }
    list.push_back(std::move(report));
  }
  return list;
}

}  // namespace nemotron::tools
