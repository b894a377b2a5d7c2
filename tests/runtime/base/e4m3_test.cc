// Conversions to and from E4M3 against those of ml_dtypes: tests/data/e4m3/make_e4m3.py.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/base/dtype.h"
#include "runtime/base/safetensors.h"

namespace nemotron::runtime {
namespace {

template <typename T>
std::vector<T> Load(const SafetensorsFile& file, const std::string& name) {
  const SafetensorsEntry* entry = file.Find(name);
  EXPECT_NE(entry, nullptr) << name;
  std::vector<T> values(entry->size_bytes / sizeof(T));
  std::memcpy(values.data(), file.Data(*entry).data(), entry->size_bytes);
  return values;
}

class E4M3Test : public testing::Test {
 protected:
  void SetUp() override {
    auto opened = SafetensorsFile::Open(NEMOTRON_TEST_DATA "/e4m3/e4m3.safetensors");
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    file_.emplace(std::move(opened).value());
  }

  /// ml_dtypes makes a NaN of what is too large, and of infinity; here both saturate.
  static uint8_t Saturated(float input, uint8_t code) {
    return (code & 0x7F) == 0x7F && !std::isnan(input) ? static_cast<uint8_t>((code & 0x80) | 0x7E) : code;
  }

  std::optional<SafetensorsFile> file_;
};

TEST_F(E4M3Test, DecodesAllCodes) {
  const auto values = Load<float>(*file_, "values");
  ASSERT_EQ(values.size(), 256u);
  for (int code = 0; code < 256; ++code) {
    const float decoded = F8E4M3ToF32(static_cast<uint8_t>(code));
    if (std::isnan(values[code])) {
      EXPECT_TRUE(std::isnan(decoded)) << code;
    } else {
      EXPECT_EQ(decoded, values[code]) << code;
    }
    EXPECT_EQ(std::signbit(decoded), code >= 0x80) << code;
    EXPECT_EQ(F32ToF8E4M3(decoded), code);
  }
}

TEST_F(E4M3Test, RoundsAllBF16Numbers) {
  const auto codes = Load<uint8_t>(*file_, "bf16_codes");
  ASSERT_EQ(codes.size(), 65536u);
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const float input = BF16ToF32(static_cast<uint16_t>(bits));
    ASSERT_EQ(F32ToF8E4M3(input), Saturated(input, codes[bits])) << input;
  }
}

TEST_F(E4M3Test, RoundsFloatsAtAndAroundEveryNumberAndMiddle) {
  const auto inputs = Load<float>(*file_, "f32_inputs");
  const auto codes = Load<uint8_t>(*file_, "f32_codes");
  ASSERT_EQ(inputs.size(), codes.size());
  ASSERT_GT(inputs.size(), 127u * 2 * 3);
  for (size_t i = 0; i < inputs.size(); ++i) {
    ASSERT_EQ(F32ToF8E4M3(inputs[i]), Saturated(inputs[i], codes[i])) << inputs[i];
  }
}

TEST(CodeScaleTest, MapsTheMaximumAndNeverVanishes) {
  EXPECT_EQ(CodeScale(DType::kF8E4M3, 448.0f), 1.0f);
  EXPECT_EQ(CodeScale(DType::kF8E4M3, 1.0f), 1.0f / 448.0f);
  EXPECT_EQ(CodeScale(DType::kI8, 127.0f), 1.0f);
  EXPECT_EQ(CodeScale(DType::kI8, 1.0f), 1.0f / 127.0f);
  for (DType dtype : {DType::kF8E4M3, DType::kI8}) {
    EXPECT_EQ(CodeScale(dtype, 0.0f), 0x1p-126f);
    EXPECT_EQ(CodeScale(dtype, 1e-40f), 0x1p-126f);
  }
}

}  // namespace
}  // namespace nemotron::runtime
