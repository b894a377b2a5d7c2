#include "runtime/engine/observer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "runtime/base/dtype.h"
#include "runtime/engine/cpu_tap.h"
#include "tests/runtime/plan/tiny_plan.h"

namespace nemotron::runtime {
namespace {

using ::testing::ElementsAre;
using Kind = ActivationInfo::Kind;

/// Keeps all that it is shown, in order.
class Recorder final : public ActivationObserver {
 public:
  struct Record {
    const ActivationInfo* info;
    int64_t num_rows;
    std::vector<float> values;  // rows without gaps
  };

  bool Wants(const ActivationInfo& info) override {
    asked.push_back(&info);
    return wanted.empty() || info.role == wanted;
  }
  void See(const ActivationInfo& info, const ActivationRows& rows) override {
    Record record = {&info, rows.num_rows, {}};
    for (int64_t i = 0; i < rows.num_rows; ++i) {
      const std::span<const float> row = rows.row(i);
      record.values.insert(record.values.end(), row.begin(), row.end());
    }
    records.push_back(std::move(record));
  }

  /// The first record of a role of a kernel.
  const Record& Find(std::string_view kernel, std::string_view role) const {
    const auto found = std::find_if(records.begin(), records.end(), [&](const Record& record) {
      return record.info->dispatch->kernel == kernel && record.info->role == role;
    });
    EXPECT_NE(found, records.end()) << kernel << " " << role;
    return *found;
  }

  std::string wanted;  // a role; empty: all
  std::vector<const ActivationInfo*> asked;
  std::vector<Record> records;
};

std::unique_ptr<Engine> Load(const testing::TinyPlanOptions& plan = {}, int64_t max_tokens = 0) {
  auto engine = Engine::Load(testing::LoadTinyPlan(plan), {.num_threads = 2, .max_tokens_per_step = max_tokens});
  EXPECT_TRUE(engine.ok()) << engine.status().message();
  return std::move(engine).value();
}

std::vector<float> Step(Engine& engine, const std::vector<int32_t>& tokens, StepEntry::Logits logits) {
  std::vector<float> rows;
  const StepEntry entry = {*engine.CreateSequence(), tokens, logits};
  const Status status = engine.Step({&entry, 1}, &rows);
  EXPECT_TRUE(status.ok()) << status.message();
  return rows;
}

TEST(ObserverTest, SeesInputsAndOutputsOfEachDispatch) {
  auto engine = Load();
  const std::vector<int32_t> tokens = {5, 6, 7};
  const std::vector<float> unobserved = Step(*engine, tokens, StepEntry::Logits::kAll);
  Recorder recorder;
  const ObserverScope scope(*engine, &recorder);
  EXPECT_EQ(Step(*engine, tokens, StepEntry::Logits::kAll), unobserved);

  const Recorder::Record& embedded = recorder.Find("cpu.embedding", "output");
  EXPECT_EQ(embedded.info->kind, Kind::kOutput);
  EXPECT_EQ(embedded.info->buffer, "hidden");
  EXPECT_EQ(embedded.info->columns, 16);
  EXPECT_EQ(embedded.num_rows, 3);
  const schema::Plan& root = engine->plan().root();
  const auto* table =
      reinterpret_cast<const float*>(engine->plan().SegmentBytes(*root.weights()->Get(0)->segment()).data());
  for (size_t i = 0; i < tokens.size(); ++i) {
    EXPECT_TRUE(std::equal(table + tokens[i] * 16, table + (tokens[i] + 1) * 16, embedded.values.begin() + 16 * i));
  }

  // What one dispatch writes the next one reads; views are columns of a wider buffer.
  EXPECT_EQ(recorder.Find("cpu.causal_conv1d", "input").values, embedded.values);
  const Recorder::Record& projected = recorder.Find("cpu.linear", "output");
  const Recorder::Record& dt = recorder.Find("cpu.ssm_scan", "dt");
  EXPECT_EQ(dt.info->kind, Kind::kInput);
  EXPECT_EQ(dt.info->buffer, "projected");
  EXPECT_EQ(dt.info->columns, 2);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(dt.values[2 * i + 1], projected.values[26 * i + 25]);
  }
  // The inputs that lie where a later buffer of the same step does are seen before it is written.
  const Recorder::Record& sum = recorder.Find("cpu.add", "output");
  for (size_t i = 0; i < sum.values.size(); ++i) {
    EXPECT_EQ(sum.values[i], embedded.values[i] + recorder.Find("cpu.add", "rhs").values[i]);
  }
  EXPECT_EQ(recorder.records.back().info->buffer, "logits");
  EXPECT_EQ(recorder.records.back().values, unobserved);
}

TEST(ObserverTest, SaysWhatADispatchIs) {
  auto engine = Load();
  Recorder recorder;
  const ObserverScope scope(*engine, &recorder);
  std::vector<std::string> found;
  for (const ActivationInfo* info : recorder.asked) {
    const DispatchInfo& dispatch = *info->dispatch;
    if (info->role == "output") {
      found.push_back(fmt::format("{} {} {} of layer {} '{}' '{}'", dispatch.index, dispatch.kernel, dispatch.op(),
                                  dispatch.layer, dispatch.weight("weight"),
                                  dispatch.state(dispatch.op() == "attention" ? "cache" : "conv")));
    }
  }
  EXPECT_THAT(
      found,
      ElementsAre("0 cpu.embedding embedding of layer -1 'embedding' ''",
                  "1 cpu.causal_conv1d causal_conv1d of layer 0 'conv' 'layers.0.conv'",
                  "2 cpu.linear linear of layer 0 'in_proj' ''", "3 cpu.ssm_scan ssm_scan of layer 0 '' ''",
                  "4 cpu.add add of layer 0 '' ''", "5 cpu.linear linear of layer 1 'qkv' ''",
                  "6 cpu.attention attention of layer 1 '' 'layers.1.kv'",
                  "7 cpu.add_rms_norm add_rms_norm of layer -1 'norm' ''",
                  "8 cpu.select_rows select_rows of layer -1 '' ''", "9 cpu.linear linear of layer -1 'head' ''"));
}

TEST(ObserverTest, SeesOnlyWhatItWants) {
  auto engine = Load();
  Recorder recorder;
  recorder.wanted = "key";
  {
    const ObserverScope scope(*engine, &recorder);
    Step(*engine, {5, 6, 7}, StepEntry::Logits::kAll);
    ASSERT_EQ(recorder.records.size(), 1u);
    EXPECT_EQ(recorder.records[0].info->dispatch->kernel, "cpu.attention");
    EXPECT_EQ(recorder.records[0].info->columns, 8);
    EXPECT_GT(recorder.asked.size(), 10u);
  }
  Step(*engine, {5}, StepEntry::Logits::kAll);
  EXPECT_EQ(recorder.records.size(), 1u) << "after its scope";
}

TEST(ObserverTest, SeesEachDeviceStepAndNoRowsThatAreNotThere) {
  auto engine = Load({}, /*max_tokens=*/2);
  Recorder recorder;
  recorder.wanted = "output";
  const ObserverScope scope(*engine, &recorder);
  Step(*engine, {1, 2, 3, 4, 5}, StepEntry::Logits::kLast);
  std::vector<int64_t> embedded, logits;
  for (const Recorder::Record& record : recorder.records) {
    if (record.info->buffer == "hidden") {
      embedded.push_back(record.num_rows);
    } else if (record.info->buffer == "logits") {
      logits.push_back(record.num_rows);
    }
  }
  EXPECT_THAT(embedded, ElementsAre(2, 2, 1));
  EXPECT_THAT(logits, ElementsAre(1));  // the first two device steps have no row
}

TEST(ObserverTest, SeesWhatEntersTheSecondMatrixOfExperts) {
  auto engine = Load({.with_all_kernels = true});
  Recorder recorder;
  recorder.wanted = "hidden";
  const ObserverScope scope(*engine, &recorder);
  Step(*engine, {1, 2, 3}, StepEntry::Logits::kLast);
  ASSERT_EQ(recorder.records.size(), 6u) << "three tokens, two experts each";
  for (const Recorder::Record& record : recorder.records) {
    EXPECT_EQ(record.info->kind, Kind::kExpertHidden);
    EXPECT_EQ(record.info->dispatch->weight("down"), "down");
    EXPECT_EQ(record.num_rows, 1);
    EXPECT_EQ(record.values.size(), 16u);
    EXPECT_GE(*std::min_element(record.values.begin(), record.values.end()), 0.0f) << "squares";
  }
}

/// Stands for a kernel: writes codes and scales where the plan says.
class WriteCodes final : public cpu::PreparedDispatch {
 public:
  WriteCodes(int64_t codes, int64_t scales) : codes_(codes), scales_(scales) {}
  void Run(const cpu::StepContext& step) const override {
    for (int64_t row = 0; row < step.num_tokens(); ++row) {
      *reinterpret_cast<float*>(step.token_arena + scales_ + row * 64) = static_cast<float>(row) + 0.5f;
      for (int64_t column = 0; column < 16; ++column) {
        step.token_arena[codes_ + row * 64 + column] = std::byte{F32ToF8E4M3(static_cast<float>(column))};
      }
    }
  }

 private:
  int64_t codes_, scales_;
};

TEST(ObserverTest, DecodesAndScalesE4M3) {
  for (const bool with_scale : {true, false}) {
    testing::PlanDraft draft = testing::MakeTinyPlan({.with_recurrence = false, .with_attention = false});
    schema::ProgramT& program = *draft.plan.program;
    program.buffers[0]->dtype = schema::DType::F8E4M3;  // "hidden", which the embedding writes
    auto scale = std::make_unique<schema::BufferT>();
    scale->name = "scales";
    scale->columns = 1;
    scale->row_bytes = 64;
    scale->offset_bytes = program.token_arena_bytes;
    program.token_arena_bytes += 64;
    program.token_bytes_without_reuse += 64;
    program.buffers.push_back(std::move(scale));
    if (with_scale) {
      auto argument = std::make_unique<schema::ArgumentT>();
      argument->name = "scale";
      argument->kind = schema::ArgumentKind::Output;
      argument->index = static_cast<uint32_t>(program.buffers.size() - 1);
      argument->columns = 1;
      program.dispatches[0]->arguments.push_back(std::move(argument));
    }
    const auto plan = testing::LoadDraft(draft);
    const int64_t scales = static_cast<int64_t>(program.buffers.back()->offset_bytes) * 4;
    alignas(64) std::byte arena[4096] = {};
    Recorder recorder;
    CpuTap tap(*plan, 0, {.max_tokens = 4, .max_rows = 4, .max_sequences = 1, .page_tokens = 64}, &recorder);
    const int32_t tokens[] = {1, 2, 3};
    tap.Run(WriteCodes(0, scales), {.tokens = tokens,
                                    .sequences = {},
                                    .output_rows = {},
                                    .token_arena = arena,
                                    .row_arena = nullptr,
                                    .scratch = nullptr,
                                    .pool = nullptr});
    if (!with_scale) {
      EXPECT_TRUE(recorder.asked.empty()) << "nobody knows what the codes mean";
      EXPECT_TRUE(recorder.records.empty());
      continue;
    }
    const Recorder::Record& record = recorder.Find("cpu.embedding", "output");
    ASSERT_EQ(record.values.size(), 48u);
    EXPECT_EQ(record.values[16 * 0 + 3], 3 * 0.5f);
    EXPECT_EQ(record.values[16 * 2 + 15], 15 * 2.5f);
    EXPECT_EQ(recorder.Find("cpu.embedding", "scale").values, (std::vector<float>{0.5f, 1.5f, 2.5f}));
  }
}

}  // namespace
}  // namespace nemotron::runtime
