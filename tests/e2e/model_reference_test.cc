// Whole models of shapes that no golden has, against the double-precision reference, and the reference itself against
// the goldens.

#include "tests/e2e/model_reference.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "runtime/base/safetensors.h"
#include "runtime/engine/engine.h"

namespace nemotron::runtime {
namespace {

using reference::ModelReference;

std::vector<std::string> Folders(const std::string& parent, const std::string& file) {
  std::vector<std::string> folders;
  for (const auto& entry : std::filesystem::directory_iterator(parent)) {
    if (std::filesystem::exists(entry.path() / file)) {
      folders.push_back(entry.path().string());
    }
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

std::string TestName(const testing::TestParamInfo<std::string>& info) {
  std::string name = std::filesystem::path(info.param).filename().string();
  std::replace_if(name.begin(), name.end(), [](char c) { return !isalnum(c); }, '_');
  return name;
}

template <typename T>
std::vector<T> ReadTensor(const SafetensorsFile& file, const char* name) {
  const std::span<const std::byte> data = file.Data(*file.Find(name));
  std::vector<T> values(data.size() / sizeof(T));
  std::memcpy(values.data(), data.data(), data.size());
  return values;
}

/// Largest difference, in units of the standard deviation of `expected`.
double WorstError(const std::vector<double>& expected, const std::vector<float>& found) {
  EXPECT_EQ(expected.size(), found.size());
  double squares = 0, worst = 0;
  for (size_t i = 0; i < std::min(expected.size(), found.size()); ++i) {
    squares += expected[i] * expected[i];
    worst = std::isfinite(found[i]) ? std::max(worst, std::abs(expected[i] - found[i])) : INFINITY;
  }
  return worst / std::sqrt(squares / expected.size());
}

class ReferenceAgainstGolden : public testing::TestWithParam<std::string> {};

TEST_P(ReferenceAgainstGolden, Logits) {
  auto golden = SafetensorsFile::Open(GetParam() + "/golden.safetensors");
  ASSERT_TRUE(golden.ok()) << golden.status().message();
  const std::vector<int64_t> ids = ReadTensor<int64_t>(*golden, "input_ids");
  const std::vector<float> logits = ReadTensor<float>(*golden, "logits");
  // The dense goldens were computed by a model that had been cast to BF16 and back, rotary frequencies included.
  const std::vector<double> expected =
      ModelReference(GetParam(), /*bf16_rope_frequencies=*/true).Logits(std::vector<int32_t>(ids.begin(), ids.end()));
  EXPECT_LT(WorstError(expected, logits), 1e-4) << "the goldens were computed in float32";
}

INSTANTIATE_TEST_SUITE_P(Goldens, ReferenceAgainstGolden,
                         testing::ValuesIn(Folders(NEMOTRON_TEST_DATA "/goldens", "golden.safetensors")), TestName);

class EngineAgainstReference : public testing::TestWithParam<std::string> {};

TEST_P(EngineAgainstReference, Logits) {
  auto plan = Plan::Load(GetParam() + ".plan");
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  EngineOptions options;
  options.context_tokens = 1024;
  options.max_tokens_per_step = 64;
  auto engine = Engine::Load(*plan, options);
  ASSERT_TRUE(engine.ok()) << engine.status().message();
  std::mt19937 random(3);
  std::vector<int32_t> ids(70);
  for (int32_t& id : ids) {
    id = static_cast<int32_t>(random() % (*engine)->vocab_size());
  }
  auto sequence = (*engine)->CreateSequence();
  ASSERT_TRUE(sequence.ok());
  const StepEntry entry{*sequence, ids, StepEntry::Logits::kAll};
  std::vector<float> logits;
  const Status status = (*engine)->Step({&entry, 1}, &logits);
  ASSERT_TRUE(status.ok()) << status.message();
  const double error = WorstError(ModelReference(GetParam()).Logits(ids), logits);
  RecordProperty("error", std::to_string(error));
  EXPECT_LT(error, 1e-4);
}

INSTANTIATE_TEST_SUITE_P(Shapes, EngineAgainstReference,
                         testing::ValuesIn(Folders(NEMOTRON_CHECKPOINTS, "config.json")), TestName);

}  // namespace
}  // namespace nemotron::runtime
