// Prints what a plan file holds, and checks it.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/dtype.h"
#include "runtime/engine/memory.h"
#include "runtime/engine/session_file.h"
#include "runtime/plan/cost.h"
#include "runtime/plan/plan.h"
#include "tools/console.h"
#include "tools/inspect_kernels.h"
#include "tools/inspect_layers.h"
#include "tools/parse_flags.h"

namespace nemotron::tools {
namespace {

using namespace nemotron::runtime;  // NOLINT: a tool is made of nothing else
using nlohmann::json;

constexpr const char* kTool = "nemotron-inspect";

std::string_view View(const flatbuffers::String* text) {
  return text == nullptr ? std::string_view() : text->string_view();
}
std::string_view Name(schema::DType dtype) { return DTypeName(static_cast<DType>(dtype)); }

std::string_view KindName(schema::StateKind kind) {
  switch (kind) {
    case schema::StateKind::KvCache:
      return "kv_cache";
    case schema::StateKind::Conv:
      return "conv";
    case schema::StateKind::Ssm:
      return "ssm";
    case schema::StateKind::Recent:
      return "recent";
  }
  return "";
}

std::string ShapeText(const flatbuffers::Vector<int64_t>& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

/// Bytes of weights by dtype, of states, of the workspace.
struct MemoryByKind {
  std::map<std::string, std::pair<int64_t, int64_t>> weights;  // dtype -> count, bytes
  std::map<std::string, std::pair<int64_t, int64_t>> states;   // kind -> count, bytes a sequence (KvCache: a token)
};

MemoryByKind SumMemory(const schema::Plan& plan) {
  MemoryByKind memory;
  for (const schema::Weight* weight : *plan.weights()) {
    auto& [count, bytes] = memory.weights[std::string(Name(weight->dtype()))];
    ++count;
    bytes += static_cast<int64_t>(weight->segment()->size_bytes());
  }
  for (const schema::State* state : *plan.states()) {
    int64_t size = SizeOf(static_cast<DType>(state->dtype()));
    for (const int64_t dimension : *state->shape()) {
      size *= dimension;
    }
    auto& [count, bytes] = memory.states[fmt::format("{} {}", KindName(state->kind()), Name(state->dtype()))];
    ++count;
    bytes += size;
  }
  return memory;
}

std::string ParameterText(const schema::Parameter& parameter) {
  switch (parameter.type()) {
    case schema::ParameterType::Int:
      return fmt::format("{} = {}", parameter.name()->string_view(), parameter.int_value());
    case schema::ParameterType::Float:
      return fmt::format("{} = {:g}", parameter.name()->string_view(), parameter.float_value());
    case schema::ParameterType::Bool:
      return fmt::format("{} = {}", parameter.name()->string_view(), parameter.int_value() != 0);
    case schema::ParameterType::String:
      return fmt::format("{} = {}", parameter.name()->string_view(),
                         json(View(parameter.string_value())).dump(-1, ' ', true, json::error_handler_t::replace));
  }
  return "";
}

/// "hidden[T, 16]", or "qkv[T, 16:24]" for a view of some columns; "counters[T, 8] i32 zeroed".
std::string BufferText(const schema::Program& program, const schema::Argument& argument) {
  const schema::Buffer& buffer = *program.buffers()->Get(argument.index());
  const char unit = buffer.space() == schema::Space::Token ? 'T' : 'R';
  const std::string type =
      fmt::format("{}{}", buffer.dtype() == schema::DType::F32 ? "" : fmt::format(" {}", Name(buffer.dtype())),
                  buffer.zeroed() ? " zeroed" : "");
  if (argument.columns() == buffer.columns()) {
    return fmt::format("{}[{}, {}]{}", buffer.name()->string_view(), unit, buffer.columns(), type);
  }
  return fmt::format("{}[{}, {}:{}]{}", buffer.name()->string_view(), unit, argument.column(),
                     argument.column() + argument.columns(), type);
}

std::string ArgumentText(const schema::Plan& plan, const schema::Argument& argument) {
  const std::string_view role = argument.name()->string_view();
  switch (argument.kind()) {
    case schema::ArgumentKind::Input:
    case schema::ArgumentKind::Output:
      return fmt::format("{} = {}", role, BufferText(*plan.program(), argument));
    case schema::ArgumentKind::Weight: {
      const schema::Weight& weight = *plan.weights()->Get(argument.index());
      return fmt::format("{} = @{} {} {}", role, weight.name()->string_view(), Name(weight.dtype()),
                         ShapeText(*weight.shape()));
    }
    case schema::ArgumentKind::State: {
      const schema::State& state = *plan.states()->Get(argument.index());
      return fmt::format("{} = @{} {} {}", role, state.name()->string_view(), Name(state.dtype()),
                         ShapeText(*state.shape()));
    }
  }
  return "";
}

void PrintProgram(const schema::Plan& plan) {
  fmt::print("\nprogram ({} dispatches)\n", plan.program()->dispatches()->size());
  for (uint32_t i = 0; i < plan.program()->dispatches()->size(); ++i) {
    const schema::Dispatch& dispatch = *plan.program()->dispatches()->Get(i);
    std::vector<std::string> outputs, others;
    for (const schema::Argument* argument : *dispatch.arguments()) {
      if (argument->kind() == schema::ArgumentKind::Output) {
        outputs.push_back(BufferText(*plan.program(), *argument));
      } else {
        others.push_back(ArgumentText(plan, *argument));
      }
    }
    if (dispatch.parameters() != nullptr) {
      for (const schema::Parameter* parameter : *dispatch.parameters()) {
        others.push_back(ParameterText(*parameter));
      }
    }
    const std::string layer = dispatch.layer() >= 0 ? fmt::format("layer {}", dispatch.layer()) : "";
    fmt::print("  {:4} {:<9} {} <- {}({})\n", i, layer, fmt::join(outputs, ", "),
               plan.program()->kernels()->Get(dispatch.kernel())->name()->string_view(), fmt::join(others, ", "));
  }
}

void PrintWeights(const schema::Plan& plan) {
  size_t width = 4;
  for (const schema::Weight* weight : *plan.weights()) {
    width = std::max(width, weight->name()->string_view().size());
  }
  fmt::print("\nweights\n  {:<{}}  {:<6}  {:<8}  {:<20}  {:>14}  {:>12}  {}\n", "name", width, "dtype", "layout",
             "shape", "offset", "bytes", "xxh3");
  for (const schema::Weight* weight : *plan.weights()) {
    const schema::Segment& segment = *weight->segment();
    fmt::print("  {:<{}}  {:<6}  {:<8}  {:<20}  {:>14}  {:>12}  {:016x}\n", weight->name()->string_view(), width,
               Name(weight->dtype()), schema::EnumNameLayout(weight->layout()), ShapeText(*weight->shape()),
               segment.offset_bytes(), segment.size_bytes(), segment.checksum());
  }
}

void PrintSummary(const Plan& plan) {
  const schema::Plan& root = plan.root();
  const schema::Model& model = *root.model();
  const schema::Program& program = *root.program();
  const auto field = [](std::string_view name, const std::string& value) {
    if (!value.empty()) {
      fmt::print("  {:<22} {}\n", name, Printable(value));
    }
  };
  fmt::print("plan {}\n", plan.path());
  field("version", fmt::format("{}", root.version()));
  field("target", root.target()->str());
  if (root.on_cpu() != nullptr) {
    field("on the CPU", fmt::format("{} dispatches", root.on_cpu()->program()->dispatches()->size()));
  }
  field("size",
        fmt::format("{} ({} bytes)", FormatBytes(static_cast<int64_t>(plan.bytes().size())), plan.bytes().size()));
  field("identity", fmt::format("{:016x}", PlanIdentity(plan)));

  fmt::print("\nmodel\n");
  field("architecture", model.architecture()->str());
  field("name", std::string(View(model.name())));
  field("parameters", fmt::format("{:.3f} M", static_cast<double>(model.num_parameters()) * 1e-6));
  field("dtype of matrices", std::string(Name(model.dtype())));
  field("layers", fmt::format("{}{}{}", model.num_layers(), View(model.layers_block_type()).empty() ? "" : ": ",
                              View(model.layers_block_type())));
  field("hidden size", fmt::format("{}", model.hidden_size()));
  field("vocabulary", fmt::format("{}", model.vocab_size()));
  field("context", fmt::format("{} tokens", model.max_position_embeddings()));
  field("tokenizer", root.tokenizer() == nullptr
                         ? "none"
                         : fmt::format("{}, {}", root.tokenizer()->kind()->string_view(),
                                       FormatBytes(static_cast<int64_t>(root.tokenizer()->data()->size_bytes()))));
  if (root.generation() != nullptr) {
    const schema::Generation& g = *root.generation();
    field("generation", g.do_sample()
                            ? fmt::format("temperature {:g}, top-k {}, top-p {:g}, min-p {:g}, repetition penalty {:g}",
                                          g.temperature(), g.top_k(), g.top_p(), g.min_p(), g.repetition_penalty())
                            : "greedy");
  }

  fmt::print("\nmemory\n");
  const MemoryByKind memory = SumMemory(root);
  for (const auto& [dtype, sum] : memory.weights) {
    field(fmt::format("weights {}", dtype), fmt::format("{:>10}  {} tensors", FormatBytes(sum.second), sum.first));
  }
  for (const auto& [kind, sum] : memory.states) {
    field(fmt::format("state {}", kind),
          fmt::format("{:>10}  {}, {} of them", FormatBytes(sum.second),
                      kind.starts_with("kv_cache") ? "a token" : "a sequence", sum.first));
  }
  field("slot", fmt::format("{:>10}  a sequence", FormatBytes(static_cast<int64_t>(root.slot_bytes()))));
  field("KV cache", fmt::format("{:>10}  a token", FormatBytes(static_cast<int64_t>(root.kv_bytes_per_token()))));
  const auto workspace = [&](uint64_t planned, uint64_t without_reuse, const char* unit) {
    return fmt::format("{:>10}  a {}; {} without reuse", FormatBytes(static_cast<int64_t>(planned)), unit,
                       FormatBytes(static_cast<int64_t>(without_reuse)));
  };
  field("workspace", workspace(program.token_arena_bytes(), program.token_bytes_without_reuse(), "token of a step"));
  field("workspace of logits", workspace(program.row_arena_bytes(), program.row_bytes_without_reuse(), "row"));
  if (program.zeroed_bytes() != 0) {
    field("zeroed",
          fmt::format("{:>10}  a token of a step", FormatBytes(static_cast<int64_t>(program.zeroed_bytes()))));
  }
  const StepCost cost = EstimateCost(root, {.num_tokens = 1, .num_rows = 1, .num_sequences = 1, .mean_context = 0});
  field("one token", fmt::format("{:>10}  moved, {:.3f} GFLOP, at an empty context",
                                 FormatBytes(static_cast<int64_t>(cost.bytes())), cost.flops * 1e-9));

  std::map<std::string_view, int> uses;
  for (const schema::Dispatch* dispatch : *program.dispatches()) {
    ++uses[program.kernels()->Get(dispatch->kernel())->name()->string_view()];
  }
  fmt::print("\nkernels\n");
  for (const auto& [kernel, count] : uses) {
    field(kernel, fmt::format("{:>4} x", count));
  }
  if (root.provenance() != nullptr) {
    const schema::Provenance& provenance = *root.provenance();
    fmt::print("\nprovenance\n");
    field("compiler", std::string(View(provenance.compiler_version())));
    field("checkpoint", std::string(View(provenance.checkpoint())));
    field("checkpoint hash", std::string(View(provenance.checkpoint_hash())));
    field("pipeline", std::string(View(provenance.pipeline())));
  }
}

json ProgramJson(const schema::Plan& plan) {
  json dispatches = json::array();
  for (const schema::Dispatch* dispatch : *plan.program()->dispatches()) {
    json arguments = json::array();
    for (const schema::Argument* argument : *dispatch->arguments()) {
      const bool is_buffer = argument->kind() <= schema::ArgumentKind::Output;
      json entry = {{"name", argument->name()->str()},
                    {"kind", schema::EnumNameArgumentKind(argument->kind())},
                    {"index", argument->index()}};
      entry["of"] = is_buffer ? plan.program()->buffers()->Get(argument->index())->name()->str()
                    : argument->kind() == schema::ArgumentKind::Weight
                        ? plan.weights()->Get(argument->index())->name()->str()
                        : plan.states()->Get(argument->index())->name()->str();
      if (is_buffer) {
        entry["column"] = argument->column();
        entry["columns"] = argument->columns();
      }
      arguments.push_back(std::move(entry));
    }
    json parameters = json::object();
    if (dispatch->parameters() != nullptr) {
      for (const schema::Parameter* parameter : *dispatch->parameters()) {
        json& value = parameters[parameter->name()->str()];
        switch (parameter->type()) {
          case schema::ParameterType::Int:
            value = parameter->int_value();
            break;
          case schema::ParameterType::Float:
            value = parameter->float_value();
            break;
          case schema::ParameterType::Bool:
            value = parameter->int_value() != 0;
            break;
          case schema::ParameterType::String:
            value = View(parameter->string_value());
            break;
        }
      }
    }
    dispatches.push_back({{"kernel", plan.program()->kernels()->Get(dispatch->kernel())->name()->str()},
                          {"layer", dispatch->layer()},
                          {"arguments", std::move(arguments)},
                          {"parameters", std::move(parameters)}});
  }
  return dispatches;
}

json ToJson(const Plan& plan) {
  const schema::Plan& root = plan.root();
  const schema::Model& model = *root.model();
  const schema::Program& program = *root.program();
  json weights = json::array(), states = json::array(), buffers = json::array();
  for (const schema::Weight* weight : *root.weights()) {
    weights.push_back({{"name", weight->name()->str()},
                       {"dtype", Name(weight->dtype())},
                       {"layout", schema::EnumNameLayout(weight->layout())},
                       {"shape", std::vector<int64_t>(weight->shape()->begin(), weight->shape()->end())},
                       {"offset_bytes", weight->segment()->offset_bytes()},
                       {"size_bytes", weight->segment()->size_bytes()},
                       {"xxh3", fmt::format("{:016x}", weight->segment()->checksum())}});
  }
  for (const schema::State* state : *root.states()) {
    states.push_back({{"name", state->name()->str()},
                      {"kind", KindName(state->kind())},
                      {"dtype", Name(state->dtype())},
                      {"shape", std::vector<int64_t>(state->shape()->begin(), state->shape()->end())},
                      {"offset_bytes", state->offset_bytes()}});
  }
  for (const schema::Buffer* buffer : *program.buffers()) {
    buffers.push_back({{"name", buffer->name()->str()},
                       {"dtype", Name(buffer->dtype())},
                       {"space", schema::EnumNameSpace(buffer->space())},
                       {"columns", buffer->columns()},
                       {"row_bytes", buffer->row_bytes()},
                       {"offset_bytes", buffer->offset_bytes()},
                       {"zeroed", buffer->zeroed()}});
  }
  json report = {
      {"path", plan.path()},
      {"version", root.version()},
      {"target", root.target()->str()},
      {"runs_on_cpu", root.target()->string_view() == "cpu" || root.on_cpu() != nullptr},
      {"size_bytes", plan.bytes().size()},
      {"identity", fmt::format("{:016x}", PlanIdentity(plan))},
      {"model",
       {{"architecture", model.architecture()->str()},
        {"name", View(model.name())},
        {"dtype", Name(model.dtype())},
        {"num_parameters", model.num_parameters()},
        {"num_layers", model.num_layers()},
        {"layers_block_type", View(model.layers_block_type())},
        {"hidden_size", model.hidden_size()},
        {"vocab_size", model.vocab_size()},
        {"max_position_embeddings", model.max_position_embeddings()},
        {"bos_token_id", model.bos_token_id()},
        {"pad_token_id", model.pad_token_id()},
        {"eos_token_ids", model.eos_token_ids() == nullptr
                              ? std::vector<int32_t>()
                              : std::vector<int32_t>(model.eos_token_ids()->begin(), model.eos_token_ids()->end())}}},
      {"memory",
       {{"weight_bytes", plan.weight_bytes()},
        {"slot_bytes", root.slot_bytes()},
        {"kv_bytes_per_token", root.kv_bytes_per_token()},
        {"token_arena_bytes", program.token_arena_bytes()},
        {"token_bytes_without_reuse", program.token_bytes_without_reuse()},
        {"row_arena_bytes", program.row_arena_bytes()},
        {"row_bytes_without_reuse", program.row_bytes_without_reuse()},
        {"zeroed_bytes", program.zeroed_bytes()}}},
      {"weights", std::move(weights)},
      {"layers", LayersJson(SummarizeLayers(root))},
      {"states", std::move(states)},
      {"buffers", std::move(buffers)},
      {"program", ProgramJson(root)},
      {"tokenizer", root.tokenizer() == nullptr ? json(nullptr) : json(root.tokenizer()->kind()->str())},
      {"has_chat_template", root.chat_template() != nullptr}};
  if (root.generation() != nullptr) {
    const schema::Generation& g = *root.generation();
    report["generation"] = {{"do_sample", g.do_sample()}, {"temperature", g.temperature()},
                            {"top_k", g.top_k()},         {"top_p", g.top_p()},
                            {"min_p", g.min_p()},         {"repetition_penalty", g.repetition_penalty()}};
  }
  if (root.provenance() != nullptr) {
    report["provenance"] = {{"compiler_version", View(root.provenance()->compiler_version())},
                            {"checkpoint", View(root.provenance()->checkpoint())},
                            {"checkpoint_hash", View(root.provenance()->checkpoint_hash())},
                            {"pipeline", View(root.provenance()->pipeline())}};
  }
  return report;
}

int Main(int argc, char** argv) {
  std::string path;
  bool as_json = false, verify = false, kernels = false, layers = false, program = false, weights = false;
  CLI::App app("Prints what a plan file holds.", kTool);
  app.footer(R"(Every offset, size and index is checked before anything is printed.

Examples:
  nemotron-inspect m.plan                      header, model, memory by kind, kernels, provenance
  nemotron-inspect m.plan --layers             types and scales of each layer's matrices and states
  nemotron-inspect m.plan --kernels            of a plan for GPUs: registers, spills, occupancy, machine code
  nemotron-inspect m.plan --program --weights  each dispatch with its arguments, each weight
  nemotron-inspect m.plan --verify             compare the checksums of all weights, too
  nemotron-inspect m.plan --json | jq .memory

Exit codes: 0 sound, 2 wrong flags, 3 missing, damaged or of another kind.)");
  app.add_option("PLAN", path, "plan file")->required();
  app.add_flag("--kernels", kernels, "print what the kernels of a plan for target cuda take, and their machine code");
  app.add_flag("--layers", layers, "print the types of each layer");
  app.add_flag("--program", program, "print all dispatches");
  app.add_flag("--weights", weights, "print all weights");
  app.add_flag("--verify", verify, "compare all checksums");
  app.add_flag("--json", as_json, "print everything as JSON; kernels only with --kernels");
  if (const std::optional<int> code = ParseFlags(app, argc, argv, kTool)) {
    return *code;
  }
  const auto plan = Plan::Load(path, {.verify_weights = Plan::LoadOptions::VerifyWeights::kNever});
  if (!plan.ok()) {
    return PrintError(kTool, plan.status());
  }
  std::vector<LaunchReport> launches;
  if (kernels) {
    StatusOr<std::vector<LaunchReport>> inspected = InspectKernels(**plan);
    if (!inspected.ok()) {
      return PrintError(kTool, std::move(inspected).status().WithContext(fmt::format("in '{}'", path)));
    }
    launches = *std::move(inspected);
  }
  if (as_json) {
    json report = ToJson(**plan);
    if (kernels) {
      report["kernels"] = KernelsJson(launches);
    }
    // Texts of the plan may be anything; what is not UTF-8 is replaced.
    fmt::print("{}\n", report.dump(2, ' ', false, json::error_handler_t::replace));
  } else {
    PrintSummary(**plan);
    if (kernels) {
      PrintKernels(launches);
    }
    if (layers) {
      PrintLayers(SummarizeLayers((*plan)->root()));
    }
    if (program) {
      PrintProgram((*plan)->root());
    }
    if (weights) {
      PrintWeights((*plan)->root());
    }
  }
  if (verify) {
    if (Status status = (*plan)->VerifySegments(); !status.ok()) {
      return PrintError(kTool, std::move(status).WithContext(fmt::format("in '{}'", path)));
    }
    fmt::print(as_json ? stderr : stdout, "{}all checksums are right\n", as_json ? "" : "\n");
  }
  return kExitOk;
}

}  // namespace
}  // namespace nemotron::tools

int main(int argc, char** argv) { return nemotron::tools::Main(argc, argv); }
