#include "tests/frontends/huggingface/support.h"

#include <fmt/format.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

namespace nemotron::frontends {
namespace {

std::string Describe(const mlir::Diagnostic& diagnostic) {
  const char* severity = "note";
  switch (diagnostic.getSeverity()) {
    case mlir::DiagnosticSeverity::Error:
      severity = "error";
      break;
    case mlir::DiagnosticSeverity::Warning:
      severity = "warning";
      break;
    case mlir::DiagnosticSeverity::Remark:
      severity = "remark";
      break;
    default:
      break;
  }
  const auto location = mlir::dyn_cast<mlir::FileLineColLoc>(diagnostic.getLocation());
  const std::string line = location && location.getLine() > 0 ? fmt::format("line {}: ", location.getLine()) : "";
  return fmt::format("{}: {}{}", severity, line, diagnostic.str());
}

}  // namespace

FrontendTest::FrontendTest()
    : handler_(&context_, [this](mlir::Diagnostic& diagnostic) { messages_.push_back(Describe(diagnostic)); }) {
  const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
  folder_ = std::filesystem::temp_directory_path() /
            fmt::format("nemotron-{}-{}-{}", ::getpid(), info->test_suite_name(), info->name());
  std::filesystem::create_directories(folder_);
}

FrontendTest::~FrontendTest() {
  if (HasFailure()) {
    for (const std::string& message : messages_) {
      ADD_FAILURE() << "diagnostic: " << message;
    }
  }
  std::filesystem::remove_all(folder_);
}

std::vector<std::string> FrontendTest::Take(const std::string& severity) {
  std::vector<std::string> taken;
  for (const std::string& message : messages_) {
    if (message.starts_with(severity)) {
      taken.push_back(message);
    }
  }
  messages_.clear();
  return taken;
}

NemotronHConfig FrontendTest::ParseHybrid(const Json& config) {
  auto parsed = Parse(config);
  if (failed(parsed) || !std::holds_alternative<NemotronHConfig>(*parsed)) {
    ADD_FAILURE() << "not a hybrid config: " << config.dump();
    return {};
  }
  return std::get<NemotronHConfig>(*parsed);
}

NemotronConfig FrontendTest::ParseDense(const Json& config) {
  auto parsed = Parse(config);
  if (failed(parsed) || !std::holds_alternative<NemotronConfig>(*parsed)) {
    ADD_FAILURE() << "not a dense config: " << config.dump();
    return {};
  }
  return std::get<NemotronConfig>(*parsed);
}

std::string FrontendTest::CopyGolden(const std::string& name) {
  const std::filesystem::path target = folder() / name;
  std::filesystem::copy(GoldenPath(name), target);
  for (const auto& entry : std::filesystem::directory_iterator(target)) {
    std::filesystem::permissions(entry.path(), std::filesystem::perms::owner_all);
  }
  return target.string();
}

Json HybridConfig() {
  return Json::parse(R"({
    "architectures": ["NemotronHForCausalLM"], "model_type": "nemotron_h", "hybrid_override_pattern": "M-*E",
    "vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 16, "mamba_num_heads": 4, "mamba_head_dim": 8, "n_groups": 2, "ssm_state_size": 16, "conv_kernel": 4,
    "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24,
    "moe_shared_expert_intermediate_size": 40, "layer_norm_epsilon": 1e-5})");
}

Json DenseConfig() {
  return Json::parse(R"({
    "architectures": ["NemotronForCausalLM"], "model_type": "nemotron", "vocab_size": 96, "hidden_size": 32,
    "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
    "norm_eps": 1e-5, "partial_rotary_factor": 0.5})");
}

std::string Print(mlir::ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  module.print(stream);
  return text;
}

std::vector<std::string> Lines(const std::string& text, const std::string& part) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    if (line.find(part) != std::string::npos) {
      lines.push_back(line.substr(line.find_first_not_of(' ')));
    }
  }
  return lines;
}

std::string GoldenPath(const std::string& name) { return NEMOTRON_TEST_DATA "/goldens/" + name; }

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

void WriteFile(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

OwnedTensor ZeroTensor(std::vector<int64_t> shape, runtime::DType dtype) {
  int64_t size = runtime::SizeOf(dtype);
  for (int64_t dim : shape) {
    size *= dim;
  }
  return {dtype, std::move(shape), std::vector<std::byte>(size)};
}

TensorMap ReadTensors(const std::string& path) {
  TensorMap tensors;
  auto file = runtime::SafetensorsFile::Open(path);
  if (!file.ok()) {
    ADD_FAILURE() << file.status().message();
    return tensors;
  }
  for (const auto& entry : file->header().entries) {
    const auto data = file->Data(entry);
    tensors[entry.name] = {entry.dtype, entry.shape, {data.begin(), data.end()}};
  }
  return tensors;
}

void WriteTensors(const std::string& path, const TensorMap& tensors) {
  std::vector<runtime::SafetensorsTensor> list;
  for (const auto& [name, tensor] : tensors) {
    list.push_back({name, tensor.dtype, tensor.shape, tensor.data});
  }
  const runtime::Status status = runtime::WriteSafetensors(path, list);
  EXPECT_TRUE(status.ok()) << status.message();
}

}  // namespace nemotron::frontends
