#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <vector>

#include "codegen/PlanFileWriter.h"
#include "codegen/WeightExpression.h"
#include "dialects/Plan/IR/Plan.h"
#include "runtime/plan/layout.h"
#include "tests/codegen/plan_file_fixture.h"

namespace nemotron::codegen {
namespace {

using runtime::DType;
using testing::HasSubstr;
using PlanFileWriterTest = PlanFileTest;

constexpr const char* kSimple = R"(
  nemotron.weight @w.source : tensor<3x5xbf16> from "w"
  plan.weight @w : tensor<3x5xbf16> {
    %0 = nemotron.get_weight @w.source : tensor<3x5xbf16>
    plan.yield %0 : tensor<3x5xbf16>
  })";

TEST_F(PlanFileWriterTest, MetadataSaysWhatTheModuleSays) {
  source_.Add("w", DType::kBF16, {3, 5});
  info_.tokenizerKind = "tokenizer.json";
  info_.tokenizerData = "{\"model\": {}}";
  info_.chatTemplate = "{{ messages }}";
  info_.eosTokenIds = {2, 3};
  info_.temperature = 0.5;
  info_.checkpointHash = "xxh3:0123456789abcdef";
  const auto plan = Write(kSimple);
  ASSERT_TRUE(plan);
  EXPECT_EQ(Elements(*plan, 0), source_.values("w"));

  const schema::Plan& root = plan->root();
  EXPECT_EQ(root.target()->str(), "cpu");
  EXPECT_EQ(root.weights()->Get(0)->name()->str(), "w");
  EXPECT_EQ(root.slot_bytes(), 128u);         // 64 + 3 * 4 * 4 bytes, rounded up
  EXPECT_EQ(root.kv_bytes_per_token(), 64u);  // 2 * 1 * 16 * 2 bytes: 4 dimensions take a panel
  EXPECT_EQ(root.model()->num_layers(), 2u);
  EXPECT_EQ(root.model()->eos_token_ids()->Get(1), 3);
  EXPECT_EQ(root.generation()->temperature(), 0.5);
  EXPECT_EQ(root.chat_template()->str(), "{{ messages }}");
  EXPECT_EQ(root.provenance()->pipeline()->str(), options_.pipeline);
  EXPECT_EQ(root.provenance()->checkpoint_hash()->str(), info_.checkpointHash);
  const auto tokenizer = plan->SegmentBytes(*root.tokenizer()->data());
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(tokenizer.data()), tokenizer.size()), info_.tokenizerData);

  const schema::Program& program = *root.program();
  EXPECT_EQ(program.token_bytes_without_reuse(), 64u);
  const schema::Dispatch& dispatch = *program.dispatches()->Get(1);
  EXPECT_EQ(program.kernels()->Get(dispatch.kernel())->name()->str(), "cpu.two");
  EXPECT_EQ(dispatch.layer(), 1);
  EXPECT_EQ(program.dispatches()->Get(0)->layer(), -1);
  const schema::Argument& input = *dispatch.arguments()->Get(0);
  EXPECT_EQ(input.column(), 5u);
  EXPECT_EQ(input.columns(), 7u);
  std::map<std::string, const schema::Parameter*> parameters;
  for (const schema::Parameter* parameter : *dispatch.parameters()) {
    parameters[parameter->name()->str()] = parameter;
  }
  EXPECT_EQ(parameters["eps"]->float_value(), 0.5);
  EXPECT_EQ(parameters["count"]->int_value(), 3);
  EXPECT_EQ(parameters["flag"]->type(), schema::ParameterType::Bool);
  EXPECT_EQ(parameters["flag"]->int_value(), 1);
  EXPECT_EQ(parameters["mode"]->string_value()->str(), "relu2");

  EXPECT_EQ(summary_.numWeights, 1);
  EXPECT_EQ(summary_.weightBytes, 30);
  EXPECT_EQ(summary_.fileBytes, static_cast<int64_t>(std::filesystem::file_size(options_.path)));
  EXPECT_EQ(summary_.tokenBytes, 128);
}

TEST_F(PlanFileWriterTest, CarriesOutTransforms) {
  source_.Add("q", DType::kBF16, {6, 5});
  source_.Add("k", DType::kBF16, {4, 5});
  source_.Add("c", DType::kF16, {4, 1, 3});
  const auto plan = Write(R"(
    nemotron.weight @q : tensor<6x5xbf16> from "q"
    nemotron.weight @k : tensor<4x5xbf16> from "k"
    nemotron.weight @c : tensor<4x1x3xf16> from "c"
    plan.weight @w : tensor<10x5xf32> {
      %0 = nemotron.get_weight @q : tensor<6x5xbf16>
      %1 = nemotron.get_weight @k : tensor<4x5xbf16>
      %2 = nemotron.concat %1, %0 : (tensor<4x5xbf16>, tensor<6x5xbf16>) -> tensor<10x5xbf16>
      %3 = nemotron.cast %2 : tensor<10x5xbf16> to tensor<10x5xf32>
      plan.yield %3 : tensor<10x5xf32>
    }
    plan.weight @sliced : tensor<2x5xbf16> {
      %0 = nemotron.get_weight @q : tensor<6x5xbf16>
      %1 = nemotron.slice %0 from 3 : tensor<6x5xbf16> to tensor<2x5xbf16>
      plan.yield %1 : tensor<2x5xbf16>
    }
    plan.weight @turned : tensor<3x4xf32> {
      %0 = nemotron.get_weight @c : tensor<4x1x3xf16>
      %1 = nemotron.reshape %0 : tensor<4x1x3xf16> to tensor<4x3xf16>
      %2 = nemotron.transpose %1 : tensor<4x3xf16> to tensor<3x4xf16>
      %3 = nemotron.cast %2 : tensor<3x4xf16> to tensor<3x4xf32>
      plan.yield %3 : tensor<3x4xf32>
    }
    plan.weight @stacked : tensor<2x4x5xbf16, #plan.layout<panel>> {
      %0 = nemotron.get_weight @k : tensor<4x5xbf16>
      %1 = nemotron.get_weight @q : tensor<6x5xbf16>
      %2 = nemotron.slice %1 from 1 : tensor<6x5xbf16> to tensor<4x5xbf16>
      %3 = nemotron.stack %0, %2 : (tensor<4x5xbf16>, tensor<4x5xbf16>) -> tensor<2x4x5xbf16>
      %4 = plan.pack %3 : tensor<2x4x5xbf16> to tensor<2x4x5xbf16, #plan.layout<panel>>
      plan.yield %4 : tensor<2x4x5xbf16, #plan.layout<panel>>
    })");
  ASSERT_TRUE(plan);
  const std::vector<float>&q = source_.values("q"), &k = source_.values("k"), &c = source_.values("c");
  std::vector<float> joined(k);
  joined.insert(joined.end(), q.begin(), q.end());
  EXPECT_EQ(Elements(*plan, 0), joined);
  EXPECT_EQ(Elements(*plan, 1), std::vector<float>(q.begin() + 15, q.begin() + 25));
  std::vector<float> turned;
  for (int column = 0; column < 3; ++column) {
    for (int row = 0; row < 4; ++row) {
      turned.push_back(c[row * 3 + column]);
    }
  }
  EXPECT_EQ(Elements(*plan, 2), turned);
  std::vector<float> stacked = Packed(DType::kBF16, 4, 5, k);
  const std::vector<float> second = Packed(DType::kBF16, 4, 5, std::span(q).subspan(5, 20));
  stacked.insert(stacked.end(), second.begin(), second.end());
  EXPECT_EQ(Elements(*plan, 3), stacked);
  // In the order of their last use.
  EXPECT_THAT(source_.released, testing::ElementsAre("c", "k", "q"));
}

/// Ranges of a tree of all transforms agree with the whole, wherever they are cut.
TEST_F(PlanFileWriterTest, RangesAreCutAnywhere) {
  source_.Add("a", DType::kBF16, {7, 3});
  source_.Add("b", DType::kBF16, {2, 3});
  auto module = Parse(R"(
    nemotron.weight @a : tensor<7x3xbf16> from "a"
    nemotron.weight @b : tensor<2x3xbf16> from "b"
    plan.weight @w : tensor<2x3x4xf32> {
      %a = nemotron.get_weight @a : tensor<7x3xbf16>
      %b = nemotron.get_weight @b : tensor<2x3xbf16>
      %s = nemotron.slice %a from 4 : tensor<7x3xbf16> to tensor<2x3xbf16>
      %j = nemotron.concat %s, %b : (tensor<2x3xbf16>, tensor<2x3xbf16>) -> tensor<4x3xbf16>
      %f = nemotron.cast %j : tensor<4x3xbf16> to tensor<4x3xf32>
      %t = nemotron.transpose %f : tensor<4x3xf32> to tensor<3x4xf32>
      %p = nemotron.stack %t, %t : (tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<2x3x4xf32>
      plan.yield %p : tensor<2x3x4xf32>
    })");
  mlir::SymbolTable symbols(*module);
  SharedScales shared;
  auto expression = WeightExpression::create(symbols.lookup<plan::WeightOp>("w"), source_, symbols, shared);
  ASSERT_TRUE(mlir::succeeded(expression)) << errors_;
  std::vector<float> rows(source_.values("a").begin() + 12, source_.values("a").begin() + 18);
  rows.insert(rows.end(), source_.values("b").begin(), source_.values("b").end());
  std::vector<float> expected;
  for (int copy = 0; copy < 2; ++copy) {
    for (int i = 0; i < 12; ++i) {
      expected.push_back(rows[i % 4 * 3 + i / 4]);
    }
  }
  for (int64_t first = 0; first < 24; ++first) {
    for (int64_t count = 0; count <= 24 - first; ++count) {
      std::vector<float> found(count);
      ASSERT_TRUE(expression->read(first, count, reinterpret_cast<std::byte*>(found.data())).ok());
      ASSERT_EQ(found, std::vector<float>(expected.begin() + first, expected.begin() + first + count));
    }
  }
}

/// Weights of several blocks, converted and packed by several threads.
TEST_F(PlanFileWriterTest, BlocksComeInOrder) {
  source_.Add("big", DType::kBF16, {3000, 1001});
  const std::string weights = R"(
    nemotron.weight @big : tensor<3000x1001xbf16> from "big"
    plan.weight @w : tensor<3000x1001xf32> {
      %0 = nemotron.get_weight @big : tensor<3000x1001xbf16>
      %1 = nemotron.cast %0 : tensor<3000x1001xbf16> to tensor<3000x1001xf32>
      plan.yield %1 : tensor<3000x1001xf32>
    }
    plan.weight @panels : tensor<3000x1001xbf16, #plan.layout<panel>> {
      %0 = nemotron.get_weight @big : tensor<3000x1001xbf16>
      %1 = plan.pack %0 : tensor<3000x1001xbf16> to tensor<3000x1001xbf16, #plan.layout<panel>>
      plan.yield %1 : tensor<3000x1001xbf16, #plan.layout<panel>>
    })";
  std::vector<int64_t> done;
  options_.progress = [&](int64_t bytes, int64_t total) {
    EXPECT_EQ(total, 3000 * 1001 * 4 + runtime::PanelMatrixBytes(DType::kBF16, 3000, 1001));
    done.push_back(bytes);
  };
  std::string first_file;
  for (unsigned threads : {1u, 2u, 5u}) {
    options_.numThreads = threads;
    source_.released.clear();
    const auto plan = Write(weights);
    ASSERT_TRUE(plan);
    EXPECT_EQ(Elements(*plan, 0), source_.values("big"));
    EXPECT_EQ(Elements(*plan, 1), Packed(DType::kBF16, 3000, 1001, source_.values("big")));
    EXPECT_EQ(done.back(), summary_.weightBytes);
    std::ifstream file(options_.path, std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)), {});
    EXPECT_EQ(first_file.empty() ? bytes : first_file, bytes) << "the number of threads changes the file";
    first_file = bytes;
  }
}

TEST_F(PlanFileWriterTest, ErrorsNameWeightAndFile) {
  source_.Add("w", DType::kBF16, {3, 5});
  source_.broken = "w";
  const std::string error = WriteFails(kSimple);
  EXPECT_THAT(error, HasSubstr("cannot make weight 'w': 'model-7.safetensors' ends within tensor 'w'"));
}

TEST_F(PlanFileWriterTest, TensorsMustBeWhatTheModuleSays) {
  EXPECT_THAT(WriteFails(kSimple), HasSubstr("the checkpoint has no tensor 'w'"));
  source_.Add("w", DType::kBF16, {3, 6});
  EXPECT_THAT(WriteFails(kSimple), HasSubstr("tensor 'w' is bf16 [3, 6], expected 'tensor<3x5xbf16>'"));
  source_.Add("w", DType::kF32, {3, 5});
  EXPECT_THAT(WriteFails(kSimple), HasSubstr("tensor 'w' is f32 [3, 5]"));
}

TEST_F(PlanFileWriterTest, NothingIsWrittenWithoutATarget) {
  source_.Add("w", DType::kBF16, {3, 5});
  EXPECT_THAT(WriteFails(kSimple, ""), HasSubstr("has no attribute plan.target"));
}

TEST_F(PlanFileWriterTest, NothingIsWrittenWithoutPlaces) {
  source_.Add("w", DType::kBF16, {3, 5});
  EXPECT_THAT(WriteFails(std::string(kSimple) + "plan.state @nowhere conv : tensor<3x4xf32>"),
              HasSubstr("has no place in memory, expected plan-memory to have run"));
}

TEST_F(PlanFileWriterTest, WhatWouldNotLoadIsNotWritten) {
  source_.Add("w", DType::kBF16, {3, 5});
  info_.vocabSize = 9;
  EXPECT_THAT(WriteFails(kSimple), HasSubstr("the plan would not load: program.logits"));
}

/// What a plan for GPUs holds for the CPU reads the same weights and states.
TEST_F(PlanFileWriterTest, ProgramForTheCpuMustBeOfTheSameModel) {
  source_.Add("w", DType::kBF16, {3, 5});
  const auto fails = [&](const std::string& weights, const std::string& cpu_weights) {
    const auto cpu_module = Parse(cpu_weights);
    options_.cpuModule = *cpu_module;
    return WriteFails(weights, "plan.target = \"cuda\"");
  };
  const std::string simple = kSimple, widened = R"(
    nemotron.weight @w.source : tensor<3x5xbf16> from "w"
    plan.weight @w : tensor<3x5xf32> {
      %0 = nemotron.get_weight @w.source : tensor<3x5xbf16>
      %1 = nemotron.cast %0 : tensor<3x5xbf16> to tensor<3x5xf32>
      plan.yield %1 : tensor<3x5xf32>
    })";
  const std::string other = R"(
    nemotron.weight @w.source : tensor<3x5xbf16> from "w"
    nemotron.weight @v.source : tensor<3x5xbf16> from "v"
    plan.weight @w : tensor<3x5xbf16> {
      %0 = nemotron.get_weight @v.source : tensor<3x5xbf16>
      plan.yield %0 : tensor<3x5xbf16>
    })";
  EXPECT_THAT(fails(simple, widened), HasSubstr("is made in another way for the CPU, as 'tensor<3x5xf32>'"));
  EXPECT_THAT(fails(simple, other), HasSubstr("is made in another way for the CPU"));
  EXPECT_THAT(fails(simple, simple + R"(
    plan.weight @v : tensor<3x5xbf16> {
      %0 = nemotron.get_weight @w.source : tensor<3x5xbf16>
      plan.yield %0 : tensor<3x5xbf16>
    })"),
              HasSubstr("is read by the CPU's program alone"));
  EXPECT_THAT(fails(simple, simple + "plan.state @s conv : tensor<3x4xf32> {offset = 128}"),
              HasSubstr("is not there in the plan for GPUs"));
  EXPECT_THAT(fails(simple + "plan.state @s conv : tensor<3x4xf32> {offset = 128}",
                    simple + "plan.state @s conv : tensor<3x4xf32> {offset = 192}"),
              HasSubstr("has another kind, type or place in the plan for GPUs"));
  EXPECT_THAT(fails(simple, simple), HasSubstr("the plan would not load: program.kernels"));  // it has no launches
}

TEST_F(PlanFileWriterTest, BadPathIsNamed) {
  source_.Add("w", DType::kBF16, {3, 5});
  options_.path = (folder_ / "nosuch" / "x.plan").string();
  EXPECT_THAT(WriteFails(kSimple), HasSubstr("nosuch/x.plan"));
}

TEST_F(PlanFileWriterTest, CancelLeavesNothing) {
  source_.Add("w", DType::kBF16, {3, 5});
  std::atomic<bool> cancelled = true;
  options_.cancelled = &cancelled;
  EXPECT_EQ(WriteFails(kSimple), "");
}

TEST_F(PlanFileWriterTest, AFileThatIsThereStaysUntilTheNewOneIsWhole) {
  std::ofstream(options_.path) << "old";
  auto module = Parse(kSimple);
  EXPECT_TRUE(mlir::failed(writePlanFile(*module, source_, info_, options_)));
  std::ifstream file(options_.path);
  EXPECT_EQ(std::string((std::istreambuf_iterator<char>(file)), {}), "old");
  source_.Add("w", DType::kBF16, {3, 5});
  EXPECT_TRUE(Write(kSimple));
}

}  // namespace
}  // namespace nemotron::codegen
