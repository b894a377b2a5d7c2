#ifndef TESTS_CODEGEN_PLAN_FILE_FIXTURE_H_
#define TESTS_CODEGEN_PLAN_FILE_FIXTURE_H_

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "codegen/PlanFileWriter.h"
#include "dialects/Plan/IR/Plan.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"
#include "runtime/plan/layout.h"
#include "runtime/plan/plan.h"

namespace nemotron::codegen {

/// Tensors in memory.
class MemorySource : public ir::WeightSource {
 public:
  /// A tensor of numbers that are small integers and thus exact in each type.
  void Add(const std::string& name, runtime::DType dtype, std::vector<int64_t> shape) {
    int64_t count = 1;
    for (int64_t dim : shape) {
      count *= dim;
    }
    std::vector<float> values(count);
    for (float& value : values) {
      value = static_cast<float>(static_cast<int>(random_() % 201) - 100);
    }
    Add(name, dtype, std::move(shape), values);
  }

  /// A tensor of `values`, rounded to `dtype`.
  void Add(const std::string& name, runtime::DType dtype, std::vector<int64_t> shape,
           const std::vector<float>& values) {
    Entry entry{{dtype, std::move(shape)}, {}, {}};
    for (const float value : values) {
      const uint32_t f32 = std::bit_cast<uint32_t>(value);
      const uint32_t bits = dtype == runtime::DType::kF32    ? f32
                            : dtype == runtime::DType::kBF16 ? runtime::F32ToBF16(value)
                            : dtype == runtime::DType::kF16  ? std::bit_cast<uint16_t>(static_cast<_Float16>(value))
                                                             : runtime::F32ToF8E4M3(value);
      const size_t at = entry.bytes.size();
      entry.bytes.resize(at + runtime::SizeOf(dtype));
      std::memcpy(entry.bytes.data() + at, &bits, runtime::SizeOf(dtype));
      entry.values.push_back(ToFloat(dtype, entry.bytes.data() + at));
    }
    entries_[name] = std::move(entry);
  }

  /// One element, of any type of a weight.
  static float ToFloat(runtime::DType dtype, const std::byte* element) {
    uint32_t bits = 0;
    std::memcpy(&bits, element, runtime::SizeOf(dtype));
    return dtype == runtime::DType::kF32    ? std::bit_cast<float>(bits)
           : dtype == runtime::DType::kBF16 ? runtime::BF16ToF32(static_cast<uint16_t>(bits))
           : dtype == runtime::DType::kF16  ? runtime::F16ToF32(static_cast<uint16_t>(bits))
                                            : runtime::F8E4M3ToF32(static_cast<uint8_t>(bits));
  }

  std::optional<Tensor> lookup(std::string_view source) const override {
    const auto it = entries_.find(source);
    return it == entries_.end() ? std::nullopt : std::optional(it->second.tensor);
  }
  runtime::Status read(std::string_view source, int64_t offset, std::span<std::byte> bytes) override {
    if (source == broken) {
      return runtime::DataLoss("'model-7.safetensors' ends within tensor '{}'", source);
    }
    const Entry& entry = entries_.find(source)->second;
    bytes_read[std::string(source)] += static_cast<int64_t>(bytes.size());
    EXPECT_LE(offset + bytes.size(), entry.bytes.size());
    EXPECT_EQ(std::count(released.begin(), released.end(), source), 0) << source << " is read after its release";
    std::memcpy(bytes.data(), entry.bytes.data() + offset, bytes.size());
    return runtime::OkStatus();
  }
  void release(std::string_view source) override { released.emplace_back(source); }

  const std::vector<float>& values(const std::string& name) const { return entries_.find(name)->second.values; }
  const std::vector<std::byte>& bytes(const std::string& name) const { return entries_.find(name)->second.bytes; }

  std::string broken;
  std::vector<std::string> released;
  std::map<std::string, int64_t> bytes_read;

 private:
  struct Entry {
    Tensor tensor;
    std::vector<float> values;
    std::vector<std::byte> bytes;
  };
  std::map<std::string, Entry, std::less<>> entries_;
  std::mt19937 random_{11};
};

class PlanFileTest : public testing::Test {
 protected:
  PlanFileTest()
      : handler_(&context_, [this](mlir::Diagnostic& diagnostic) {
          errors_ += diagnostic.str() + "\n";
          return mlir::success();
        }) {
    context_.loadDialect<ir::NemotronDialect, plan::PlanDialect>();
    folder_ = std::filesystem::path(testing::TempDir()) / fmt::format("plan_file_writer_{}", getpid());
    std::filesystem::create_directories(folder_);
    info_.architecture = "NemotronHForCausalLM";
    info_.name = "test";
    info_.vocabSize = 8;
    info_.hiddenSize = 4;
    info_.layersBlockType = "M*";
    info_.maxPositionEmbeddings = 64;
    options_.path = (folder_ / "x.plan").string();
    options_.compilerVersion = "1.2.3";
    options_.pipeline = "builtin.module(plan-memory)";
  }
  ~PlanFileTest() override { std::filesystem::remove_all(folder_); }

  /// A module with `weights` and a program that is as small as can be.
  mlir::OwningOpRef<mlir::ModuleOp> Parse(const std::string& weights,
                                          const std::string& attributes = "plan.target = \"cpu\"") {
    const std::string text = "module attributes {" + attributes + "} {\n" + weights + R"(
      plan.state @layers.0.conv conv : tensor<3x4xf32> {offset = 64}
      plan.state @layers.1.kv kv_cache : tensor<2x1x4xbf16> {offset = 0}
      plan.program @step attributes {token_arena_bytes = 128, row_arena_bytes = 64} {
        %h = plan.buffer "h" {offset = 64} : !plan.buffer<token, 12, f32>
        plan.dispatch "cpu.one" outs(output = %h : !plan.buffer<token, 12, f32>) weights()" +
                             arguments_ + R"()
        %v = plan.view %h from 5 : !plan.buffer<token, 12, f32> to !plan.buffer<token, 7, f32>
        %l = plan.buffer "logits" {offset = 0} : !plan.buffer<row, 8, f32>
        plan.dispatch "cpu.two" ins(input = %v : !plan.buffer<token, 7, f32>) outs(output = %l : !plan.buffer<row, 8, f32>)
          states(conv = @layers.0.conv) {eps = 0.5 : f32, count = 3 : i64, flag = true, mode = "relu2"} layer 1
        plan.return %l : !plan.buffer<row, 8, f32>
      }
    })";
    auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context_);
    EXPECT_TRUE(module) << errors_;
    return module;
  }

  std::shared_ptr<const runtime::Plan> Write(const std::string& weights) {
    auto module = Parse(weights);
    auto summary = writePlanFile(*module, source_, info_, options_);
    EXPECT_TRUE(mlir::succeeded(summary)) << errors_;
    if (mlir::failed(summary)) {
      return nullptr;
    }
    summary_ = *summary;
    auto plan = runtime::Plan::Load(options_.path);
    EXPECT_TRUE(plan.ok()) << plan.status().message();
    if (!plan.ok()) {
      return nullptr;
    }
    EXPECT_TRUE((*plan)->VerifySegments().ok());
    return *plan;
  }

  /// The error that writing gives; nothing may be left in the folder.
  std::string WriteFails(const std::string& weights, const std::string& attributes = "plan.target = \"cpu\"") {
    auto module = Parse(weights, attributes);
    EXPECT_TRUE(mlir::failed(writePlanFile(*module, source_, info_, options_)));
    EXPECT_TRUE(std::filesystem::is_empty(folder_));
    return errors_;
  }

  /// Elements of weight `index` as they lie in the file.
  static std::vector<float> Elements(const runtime::Plan& plan, int index) {
    const schema::Weight& weight = *plan.root().weights()->Get(index);
    const std::span<const std::byte> bytes = plan.SegmentBytes(*weight.segment());
    const auto dtype = static_cast<runtime::DType>(weight.dtype());
    std::vector<float> elements;
    for (size_t at = 0; at < bytes.size(); at += runtime::SizeOf(dtype)) {
      elements.push_back(MemorySource::ToFloat(dtype, bytes.data() + at));
    }
    return elements;
  }

  static std::vector<float> Packed(runtime::DType dtype, int64_t n, int64_t k, std::span<const float> rows) {
    std::vector<float> packed(runtime::NumPanels(n) * runtime::PanelElements(dtype, k), 0.0f);
    for (int64_t i = 0; i < n * k; ++i) {
      packed[runtime::PanelElementIndex(dtype, k, i / k, i % k)] = rows[i];
    }
    return packed;
  }

  mlir::MLIRContext context_;
  std::string errors_;
  std::string arguments_ = "weight = @w";  ///< weights of the first dispatch
  mlir::ScopedDiagnosticHandler handler_;
  MemorySource source_;
  ir::ModelInfo info_;
  PlanFileOptions options_;
  PlanFileSummary summary_;
  std::filesystem::path folder_;
};

}  // namespace nemotron::codegen

#endif  // TESTS_CODEGEN_PLAN_FILE_FIXTURE_H_
