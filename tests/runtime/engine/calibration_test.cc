#include "runtime/engine/calibration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "runtime/base/dtype.h"
#include "tests/runtime/plan/tiny_plan.h"

namespace nemotron::runtime {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Method = CalibrationMethod;

float RoundToBF16(float value) { return BF16ToF32(F32ToBF16(value)); }

/// Normal numbers with a few large ones, some zeros, both signs.
std::vector<float> SomeValues(int64_t count, bool bf16) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    const float value = i % 5 == 0 ? 0 : normal(random) * (i % 97 == 0 ? 20 : 1);
    values[i] = bf16 ? RoundToBF16(value) : value;
  }
  return values;
}

MagnitudeHistogram HistogramOf(const std::vector<float>& values) {
  MagnitudeHistogram histogram;
  histogram.Add(values);
  return histogram;
}

/// Sum of squared errors of storing `values` with `scale`, number by number.
double SquaredError(const std::vector<float>& values, float scale) {
  double sum = 0;
  for (const float value : values) {
    const double error = value - double{F8E4M3ToF32(F32ToF8E4M3(value / scale))} * scale;
    sum += error * error;
  }
  return sum;
}

TEST(MagnitudeHistogramTest, IsExactForBF16) {
  const std::vector<float> values = SomeValues(5000, /*bf16=*/true);
  const MagnitudeHistogram histogram = HistogramOf(values);
  EXPECT_EQ(histogram.count(), 5000);
  EXPECT_FALSE(histogram.saw_non_finite());
  std::vector<float> magnitudes;
  double power = 0;
  for (const float value : values) {
    power += double{value} * value;
    if (value != 0) {
      magnitudes.push_back(std::abs(value));
    }
  }
  std::sort(magnitudes.begin(), magnitudes.end());
  EXPECT_EQ(histogram.amax(), magnitudes.back());
  const size_t count = magnitudes.size();
  ASSERT_EQ(count, 4000u);
  EXPECT_EQ(histogram.Percentile(100), magnitudes.back());
  EXPECT_EQ(histogram.Percentile(99.9), magnitudes[3996 - 1]);
  EXPECT_EQ(histogram.Percentile(50), magnitudes[2000 - 1]);
  EXPECT_EQ(histogram.Percentile(1e-9), magnitudes.front());
  for (const float scale : {0.001f, 0.01f, 0.1f, 1.0f}) {
    const MagnitudeHistogram::Quantization found = histogram.Quantize(scale);
    const double expected = SquaredError(values, scale);
    EXPECT_NEAR(found.error / expected, 1, 1e-12);
    EXPECT_NEAR(found.relative_error, std::sqrt(expected / power), 1e-12);
    const auto saturated =
        std::count_if(values.begin(), values.end(), [&](float value) { return std::abs(value) / scale > 464.0f; });
    EXPECT_EQ(found.saturated_share, static_cast<double>(saturated) / 5000);
  }
}

TEST(MagnitudeHistogramTest, KeepsTheExactMaximumOfF32) {
  const float value = 1.00390625f * 1.001f, almost_infinite = std::numeric_limits<float>::max();
  EXPECT_NE(RoundToBF16(value), value);
  EXPECT_EQ(HistogramOf({-value, 0.5f}).amax(), value);
  EXPECT_LE(HistogramOf({value}).Percentile(100), value);
  const MagnitudeHistogram large = HistogramOf({almost_infinite, 1e-45f});
  EXPECT_EQ(large.amax(), almost_infinite);
  EXPECT_EQ(large.Percentile(100), BF16ToF32(0x7F7F)) << "not the infinity it would round to";
  EXPECT_TRUE(std::isfinite(large.Quantize(1).error));
}

TEST(MagnitudeHistogramTest, CountsNoNaN) {
  for (const float odd : {std::numeric_limits<float>::quiet_NaN(), HUGE_VALF, -HUGE_VALF}) {
    const MagnitudeHistogram histogram = HistogramOf({1, odd, 2});
    EXPECT_TRUE(histogram.saw_non_finite());
    EXPECT_EQ(histogram.count(), 2);
    EXPECT_EQ(histogram.amax(), 2);
  }
}

TEST(MagnitudeHistogramTest, ZerosHaveAScaleToo) {
  const MagnitudeHistogram histogram = HistogramOf({0.0f, -0.0f});
  for (const Method method : {Method::kAmax, Method::kPercentile, Method::kMse}) {
    EXPECT_EQ(histogram.ChooseScale(method, 99.99), CodeScale(DType::kF8E4M3, 0));
  }
  EXPECT_EQ(histogram.Percentile(99), 0);
  EXPECT_EQ(histogram.Quantize(1).relative_error, 0);
}

TEST(MagnitudeHistogramTest, ChoosesScales) {
  const std::vector<float> values = SomeValues(5000, /*bf16=*/true);
  const MagnitudeHistogram histogram = HistogramOf(values);
  const float widest = histogram.ChooseScale(Method::kAmax, 99);
  EXPECT_EQ(widest, CodeScale(DType::kF8E4M3, histogram.amax()));
  EXPECT_EQ(histogram.Quantize(widest).saturated_share, 0);
  EXPECT_EQ(histogram.ChooseScale(Method::kPercentile, 99), CodeScale(DType::kF8E4M3, histogram.Percentile(99)));
  EXPECT_NEAR(histogram.Quantize(CodeScale(DType::kF8E4M3, histogram.Percentile(99))).saturated_share, 0.8 * 0.01,
              0.001);

  const float chosen = histogram.ChooseScale(Method::kMse, 99);
  int candidates = 0;
  for (int i = -7; i <= 64; ++i) {
    const auto candidate = static_cast<float>(widest * std::exp2(-i / 8.0));
    candidates += candidate == chosen;
    EXPECT_LE(SquaredError(values, chosen), SquaredError(values, candidate) * (1 + 1e-12)) << "i = " << i;
  }
  EXPECT_EQ(candidates, 1);
}

/// With the scale of amax 1, 0.515625 is 231, between the codes for 224 and 240. Other scales have a code nearer to it;
/// they are worth it unless the ones, which this scale stores exactly, are many.
TEST(MagnitudeHistogramTest, MseMovesTheCodesToWhereNumbersAre) {
  for (const int64_t ones : {1, 1000000}) {
    MagnitudeHistogram histogram;
    histogram.Add(std::vector<float>(1000, 0.515625f));
    histogram.Add(std::vector<float>(static_cast<size_t>(ones), 1.0f));
    const float widest = CodeScale(DType::kF8E4M3, 1), chosen = histogram.ChooseScale(Method::kMse, 0);
    if (ones == 1) {
      EXPECT_LT(histogram.Quantize(chosen).error, histogram.Quantize(widest).error / 2);
    } else {
      EXPECT_EQ(chosen, widest);
    }
  }
}

/// Keeps the values of each stream that a collector would take, by a name of its own.
class Recorder final : public ActivationObserver {
 public:
  bool Wants(const ActivationInfo& info) override { return !NameOf(info).empty(); }
  void See(const ActivationInfo& info, const ActivationRows& rows) override {
    std::vector<float>& values = seen[NameOf(info)];
    for (int64_t i = 0; i < rows.num_rows; ++i) {
      values.insert(values.end(), rows.row(i).begin(), rows.row(i).end());
    }
  }
  std::map<std::string, std::vector<float>> seen;

 private:
  static std::string NameOf(const ActivationInfo& info) {
    const DispatchInfo& dispatch = *info.dispatch;
    if (dispatch.kernel == "cpu.linear" && info.role == "input") {
      return std::string(dispatch.weight("weight"));
    }
    if (dispatch.kernel == "cpu.moe_experts" && (info.role == "input" || info.role == "hidden")) {
      return std::string(dispatch.weight(info.role == "input" ? "up" : "down"));
    }
    return info.role == "key" || info.role == "value" ? std::string(info.role) : "";
  }
};

class CalibrateTest : public ::testing::Test {
 protected:
  static std::unique_ptr<Engine> Load(std::shared_ptr<const Plan> plan, int threads = 2, int64_t max_tokens = 32) {
    auto engine = Engine::Load(std::move(plan),
                               {.num_threads = threads, .max_tokens_per_step = max_tokens, .max_rows_per_step = 32});
    EXPECT_TRUE(engine.ok()) << engine.status().message();
    return std::move(engine).value();
  }
  static std::unique_ptr<Engine> Load() { return Load(testing::LoadTinyPlan({.with_all_kernels = true})); }

  /// Runs the text in windows of 20, as a caller without Calibrate would.
  std::map<std::string, std::vector<float>> Record() {
    auto engine = Load();
    Recorder recorder;
    const ObserverScope scope(*engine, &recorder);
    std::vector<float> logits;
    for (size_t begin = 0; begin < tokens_.size(); begin += 20) {
      const StepEntry entry = {
          .sequence = *engine->CreateSequence(),
          .tokens = std::span(tokens_).subspan(begin, std::min<size_t>(20, tokens_.size() - begin)),
          .logits = StepEntry::Logits::kAll};
      EXPECT_TRUE(engine->Step({&entry, 1}, &logits).ok());
    }
    return recorder.seen;
  }

  std::vector<int32_t> tokens_ = [] {
    std::mt19937 random(3);
    std::vector<int32_t> tokens(70);
    std::generate(tokens.begin(), tokens.end(), [&] { return static_cast<int32_t>(random() % 40); });
    return tokens;
  }();
};

TEST_F(CalibrateTest, CollectsWhatEntersEachMatrixAndCache) {
  const auto recorded = Record();
  for (const Method method : {Method::kAmax, Method::kPercentile, Method::kMse}) {
    auto engine = Load();
    int64_t last = 0;
    const auto calibration =
        Calibrate(*engine, tokens_,
                  {.method = method, .percentile = 90, .window = 20, .progress = [&](int64_t done, int64_t total) {
                     EXPECT_GT(done, last);
                     EXPECT_EQ(total, 70);
                     last = done;
                   }});
    ASSERT_TRUE(calibration.ok()) << calibration.status().message();
    EXPECT_EQ(last, 70);
    EXPECT_EQ(calibration->method, method);
    EXPECT_EQ(calibration->percentile, 90);
    EXPECT_EQ(calibration->text_tokens, 70);
    EXPECT_EQ(calibration->window, 20);
    std::map<std::string, CalibrationEntry> entries = calibration->activations;
    ASSERT_EQ(calibration->kv_cache.size(), 1u);
    entries["key"] = calibration->kv_cache.at("layers.1.kv").key;
    entries["value"] = calibration->kv_cache.at("layers.1.kv").value;
    ASSERT_EQ(entries.size(), recorded.size());
    for (const auto& [name, values] : recorded) {
      ASSERT_TRUE(entries.contains(name)) << name;
      const CalibrationEntry& entry = entries[name];
      const MagnitudeHistogram histogram = HistogramOf(values);
      const MagnitudeHistogram::Quantization quantization = histogram.Quantize(entry.scale);
      EXPECT_EQ(entry.count, static_cast<int64_t>(values.size())) << name;
      EXPECT_EQ(entry.amax, histogram.amax()) << name;
      EXPECT_GT(entry.amax, 0) << name;
      EXPECT_EQ(entry.percentile_value, histogram.Percentile(90)) << name;
      EXPECT_EQ(entry.scale, histogram.ChooseScale(method, 90)) << name;
      EXPECT_EQ(entry.saturated_share, quantization.saturated_share) << name;
      EXPECT_EQ(entry.relative_error, quantization.relative_error) << name;
      // Half an ulp of three bits, 2^-4, bounds the error where nothing saturates and little is subnormal.
      EXPECT_LT(entry.relative_error, method == Method::kPercentile ? 1 : 0.0625) << name;
      EXPECT_DOUBLE_EQ(entry.sqnr_db(), -20 * std::log10(entry.relative_error)) << name;
    }
  }
}

TEST_F(CalibrateTest, NamesAndLayersAreThoseOfThePlan) {
  auto engine = Load();
  const auto calibration = Calibrate(*engine, tokens_, {.window = 20});
  ASSERT_TRUE(calibration.ok()) << calibration.status().message();
  std::vector<std::string> found;
  for (const auto& [name, entry] : calibration->activations) {
    found.push_back(fmt::format("{} {}", name, entry.layer));
  }
  EXPECT_THAT(found, ElementsAre("down -1", "head -1", "in_proj 0", "in_proj_2 -1", "qkv 1", "up -1"));
  EXPECT_EQ(calibration->kv_cache.at("layers.1.kv").key.layer, 1);
  EXPECT_EQ(calibration->activations.at("head").count, 70 * 16) << "all rows of the output head";
  EXPECT_EQ(calibration->activations.at("down").count, 70 * 2 * 16) << "two experts a token";
}

TEST_F(CalibrateTest, DoesNotDependOnThreadsAndSteps) {
  const CalibrationOptions options = {.method = Method::kMse, .window = 32};
  const auto plan = testing::LoadTinyPlan({.with_all_kernels = true});
  std::string expected;
  for (const auto& [threads, max_tokens] : {std::pair{1, 32}, {3, 32}, {2, 5}}) {
    const auto calibration = Calibrate(*Load(plan, threads, max_tokens), tokens_, options);
    ASSERT_TRUE(calibration.ok()) << calibration.status().message();
    const std::string json = CalibrationJson(*calibration);
    expected = expected.empty() ? json : expected;
    EXPECT_EQ(json, expected);
  }
}

TEST_F(CalibrateTest, LeavesNoSequenceAndNoObserver) {
  auto engine = Load();
  const int64_t free_slots = engine->free_slots();
  ASSERT_TRUE(Calibrate(*engine, tokens_, {.window = 20}).ok());
  ASSERT_TRUE(Calibrate(*engine, tokens_, {.window = 20}).ok());
  EXPECT_EQ(engine->free_slots(), free_slots);
}

TEST_F(CalibrateTest, RefusesWhatMakesNoSense) {
  auto engine = Load();
  const auto message = [&](const CalibrationOptions& options) {
    return Calibrate(*engine, tokens_, options).status().message();
  };
  EXPECT_EQ(message({.window = 71}), "the text has 70 tokens, expected at least the 71 of one window");
  EXPECT_EQ(message({.window = 0}), "the window is 0 tokens, expected at least 1");
  EXPECT_EQ(message({.percentile = 0, .window = 20}), "the percentile is 0, expected above 0 and at most 100");
  EXPECT_EQ(message({.percentile = 100.5, .window = 20}), "the percentile is 100.5, expected above 0 and at most 100");
  EXPECT_EQ(message({.percentile = std::nan(""), .window = 20}),
            "the percentile is nan, expected above 0 and at most 100");
}

TEST_F(CalibrateTest, NamesTheMatrixThatNaNEnters) {
  testing::PlanDraft draft = testing::MakeTinyPlan();
  // Row 7 of the embedding, the first weight.
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(draft.segments.data() + 7 * 16 * sizeof(float), &nan, sizeof(nan));
  const testing::AlignedBytes bytes(testing::PackPlan(draft));
  const auto plan = Plan::FromBytes(bytes.span(), {.verify_weights = Plan::LoadOptions::VerifyWeights::kNever});
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  auto engine = Load(*plan);
  std::vector<int32_t> tokens(40, 3);
  tokens[25] = 7;
  const Status status = Calibrate(*engine, tokens, {.window = 10}).status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("NaN or an infinity enters the matrix 'head'"));
  EXPECT_THAT(status.message(), HasSubstr("in tokens 20 to 29 of the text"));
}

/// What the engine's own kernels cannot bring about.
class CollectorTest : public ::testing::Test {
 protected:
  ActivationInfo Info(std::string_view kernel, std::string_view role) {
    dispatch_.kernel = kernel;
    dispatch_.weights = {{"weight", "m"}, {"up", "u"}, {"down", "d"}};
    dispatch_.states = {{"cache", "s"}};
    return {.dispatch = &dispatch_, .kind = ActivationInfo::Kind::kInput, .role = role, .buffer = "b", .columns = 2};
  }
  static ActivationRows Row(const float (&values)[2]) { return {values, 1, 2, 2}; }
  std::string Failure() const { return collector_.Finish(Method::kAmax, 99).status().message(); }

  DispatchInfo dispatch_;
  CalibrationCollector collector_;
};

TEST_F(CollectorTest, NamesAMatrixThatSawNothing) {
  const ActivationInfo info = Info("cpu.linear", "input");
  EXPECT_TRUE(collector_.Wants(info));
  EXPECT_EQ(Failure(), "the matrix 'm' saw no value, so it has no scale");
  collector_.See(info, Row({1, -2}));
  EXPECT_EQ(Failure(), "");
}

TEST_F(CollectorTest, NamesAStateThatSawNothing) {
  const ActivationInfo input = Info("cpu.linear", "input");
  EXPECT_TRUE(collector_.Wants(input));
  collector_.See(input, Row({1, -2}));
  const ActivationInfo key = Info("cpu.attention", "key"), value = Info("cpu.attention", "value");
  EXPECT_TRUE(collector_.Wants(key));
  EXPECT_TRUE(collector_.Wants(value));
  EXPECT_EQ(Failure(), "the key of state 's' saw no value, so it has no scale");
  collector_.See(key, Row({1, 2}));
  EXPECT_EQ(Failure(), "the value of state 's' saw no value, so it has no scale");
  collector_.See(value, Row({1, HUGE_VALF}));
  EXPECT_EQ(Failure(), "NaN or an infinity enters the state 's'");
}

TEST_F(CollectorTest, RefusesPlansWithoutMatrices) {
  EXPECT_FALSE(collector_.Wants(Info("cpu.rms_norm", "input")));
  EXPECT_FALSE(collector_.Wants(Info("cpu.attention", "query")));
  EXPECT_EQ(Failure(), "the plan has no matrix to calibrate");
}

TEST_F(CollectorTest, RefusesQuantizedPlans) {
  EXPECT_FALSE(collector_.Wants(Info("cpu.scaled_matmul", "input")));
  EXPECT_EQ(Failure(), "the matrix 'm' is quantized already, expected a plan of f32 or bf16 matrices");
  CalibrationCollector experts;
  EXPECT_FALSE(experts.Wants(Info("cpu.scaled_moe_experts", "input")));
  EXPECT_THAT(experts.Check().message(), HasSubstr("the matrix 'u' is quantized already"));
}

}  // namespace
}  // namespace nemotron::runtime
