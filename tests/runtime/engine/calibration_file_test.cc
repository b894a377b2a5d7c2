#include "runtime/engine/calibration_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace nemotron::runtime {
namespace {

using ::testing::HasSubstr;

/// One of each, with numbers whose decimal digits are long.
Calibration MakeCalibration() {
  const CalibrationEntry entry = {.layer = 3,
                                  .count = int64_t{1} << 40,
                                  .amax = 1.0f / 3,
                                  .percentile_value = 0.1f,
                                  .scale = std::numeric_limits<float>::min(),
                                  .saturated_share = 1.0 / 7,
                                  .relative_error = 0.1};
  CalibrationEntry head = entry;
  head.layer = -1;
  CalibrationEntry early = entry;
  early.layer = 1;
  early.relative_error = 0;
  CalibrationEntry late = entry;
  late.layer = 10;
  late.scale = std::nextafter(448.0f, 0.0f);
  return {.method = CalibrationMethod::kMse,
          .percentile = 99.99,
          .text_tokens = 65536,
          .window = 512,
          .activations = {{"head", head}, {"layers.1.up", early}, {"layers.10.up", late}, {"layers.3.in", entry}},
          .kv_cache = {{"layers.5.kv", {.key = entry, .value = late}}}};
}

TEST(CalibrationFileTest, ComesBackExactly) {
  const Calibration calibration = MakeCalibration();
  const std::string json = CalibrationJson(calibration);
  const auto parsed = ParseCalibration(json, "c.json");
  ASSERT_TRUE(parsed.ok()) << parsed.status().message();
  EXPECT_EQ(*parsed, calibration);
  EXPECT_EQ(CalibrationJson(*parsed), json);
  EXPECT_THAT(json, HasSubstr("\"sqnr_db\": 20.0\n"));
  EXPECT_THAT(json, HasSubstr("\"sqnr_db\": null\n"));  // no error, no noise
}

TEST(CalibrationFileTest, ScalesAloneSuffice) {
  const auto parsed = ParseCalibration(
      R"({"version": 1, "activations": {"a": {"scale": 0.5}}, "kv_cache": {"s": {"key": {"scale": 1}, "value": {"scale": 2}}}})",
      "c.json");
  ASSERT_TRUE(parsed.ok()) << parsed.status().message();
  EXPECT_EQ(parsed->activations.at("a").scale, 0.5f);
  EXPECT_EQ(parsed->kv_cache.at("s").key.scale, 1.0f);
  EXPECT_EQ(parsed->kv_cache.at("s").value.scale, 2.0f);
}

TEST(CalibrationFileTest, SaysWhatIsWrong) {
  struct Case {
    const char* json;
    StatusCode code;
    const char* message;
  };
  const auto with_entry = [](const std::string& entry) {
    return R"({"version": 1, "kv_cache": {}, "activations": {"layers.3.in": )" + entry + "}}";
  };
  const std::string scale_zero = with_entry(R"({"scale": 0})"), scale_negative = with_entry(R"({"scale": -0.5})"),
                    scale_nan = with_entry(R"({"scale": NaN})"), scale_huge = with_entry(R"({"scale": 1e39})"),
                    scale_tiny = with_entry(R"({"scale": 1e-50})"), scale_text = with_entry(R"({"scale": "x"})"),
                    no_scale = with_entry(R"({"amax": 1})"), number = with_entry("0.5");
  for (const Case& c : std::initializer_list<Case>{
           {"{", StatusCode::kDataLoss, "in the calibration 'c.json'"},
           {"[]", StatusCode::kInvalidArgument, "the root is a JSON array, expected an object"},
           {"{}", StatusCode::kInvalidArgument, "there is no 'version'; in the calibration 'c.json'"},
           {R"({"version": 2})", StatusCode::kUnimplemented, "the version is 2, expected 1"},
           {R"({"version": 1, "method": "guess"})", StatusCode::kInvalidArgument,
            "there is no calibration method 'guess', expected 'amax', 'percentile' or 'mse'"},
           {R"({"version": 1})", StatusCode::kInvalidArgument, "there is no 'activations'"},
           {R"({"version": 1, "activations": {}})", StatusCode::kInvalidArgument, "there is no 'kv_cache'"},
           {R"({"version": 1, "activations": []})", StatusCode::kInvalidArgument,
            "'activations' is a JSON array, expected an object"},
           {R"({"version": 1, "activations": {}, "kv_cache": {"s": {"key": {"scale": 1}}}})",
            StatusCode::kInvalidArgument, "there is no 'value'; in 's' of 'kv_cache'"},
           {number.c_str(), StatusCode::kInvalidArgument, "'layers.3.in' is a JSON number, expected an object"},
           {no_scale.c_str(), StatusCode::kInvalidArgument, "there is no 'scale' in 'layers.3.in'"},
           {scale_zero.c_str(), StatusCode::kInvalidArgument,
            "the scale of 'layers.3.in' is 0, expected a finite F32 number above zero"},
           {scale_negative.c_str(), StatusCode::kInvalidArgument, "the scale of 'layers.3.in' is -0.5"},
           {scale_nan.c_str(), StatusCode::kInvalidArgument, "the scale of 'layers.3.in' is nan"},
           {scale_huge.c_str(), StatusCode::kInvalidArgument, "the scale of 'layers.3.in' is 1e+39"},
           {scale_tiny.c_str(), StatusCode::kInvalidArgument, "the scale of 'layers.3.in' is 1e-50"},
           {scale_text.c_str(), StatusCode::kInvalidArgument, "scale"},
       }) {
    const auto parsed = ParseCalibration(c.json, "c.json");
    ASSERT_FALSE(parsed.ok()) << c.json;
    EXPECT_EQ(parsed.status().code(), c.code) << c.json;
    EXPECT_THAT(parsed.status().message(), HasSubstr(c.message));
    EXPECT_THAT(parsed.status().message(), HasSubstr("'c.json'"));
  }
}

TEST(CalibrationFileTest, TableIsByLayer) {
  EXPECT_EQ(CalibrationTable(MakeCalibration()),
            "name\tlayer\tamax\tscale\tsaturated_share\trelative_error\tsqnr_db\n"
            "layers.1.up\t1\t0.33333334\t1.1754944e-38\t0.14285714285714285\t0\tinf\n"
            "layers.3.in\t3\t0.33333334\t1.1754944e-38\t0.14285714285714285\t0.1\t20\n"
            "layers.10.up\t10\t0.33333334\t447.99997\t0.14285714285714285\t0.1\t20\n"
            "head\t-1\t0.33333334\t1.1754944e-38\t0.14285714285714285\t0.1\t20\n"
            "layers.5.kv.key\t3\t0.33333334\t1.1754944e-38\t0.14285714285714285\t0.1\t20\n"
            "layers.5.kv.value\t10\t0.33333334\t447.99997\t0.14285714285714285\t0.1\t20\n");
}

}  // namespace
}  // namespace nemotron::runtime
