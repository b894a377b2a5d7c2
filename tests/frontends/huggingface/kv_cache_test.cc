// The type of the KV cache and its scales: from the checkpoint, from the options, or 1 with a remark.
#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "tests/frontends/huggingface/quantized_checkpoint.h"

namespace nemotron::frontends {
namespace {

using runtime::DType;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class KvCacheTest : public QuantizedTest {
 protected:
  void SetUp() override { tensors_ = Random(DenseConfig()); }

  void AddScales(int layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".self_attn.";
    tensors_[prefix + "k_proj.k_scale"] = ScaleTensor({0.5f}, {1});
    tensors_[prefix + "v_proj.v_scale"] = ScaleTensor({0.25f});
  }
  /// "0.5 0.25" for key and value scale of the layer, "none" without.
  std::string Scales(const ImportedModel& model, int layer) {
    auto attention = OpNamed<ir::AttentionOp>(model, "layers." + std::to_string(layer) + ".attention");
    if (!attention.getKeyScale()) {
      return "none";
    }
    return fmt::format("{} {}", attention.getKeyScale()->convertToFloat(), attention.getValueScale()->convertToFloat());
  }

  TensorMap tensors_;
};

TEST_F(KvCacheTest, DeclaredWithoutScalesIsOneAndSaysSo) {
  AddScales(1);
  hf_quant_config_ = HfQuantConfig(Json::array({"*"}), /*kv_cache=*/true);
  Write(tensors_);
  auto model = Import();
  ASSERT_TRUE(succeeded(model));
  EXPECT_EQ(Scales(*model, 0), "1 1");
  EXPECT_EQ(Scales(*model, 1), "0.5 0.25");
  EXPECT_THAT(Take(),
              ElementsAre("remark: layer 0 has neither k_scale nor v_scale for its FP8 KV cache: both are taken "
                          "to be 1"));
  EXPECT_THAT(Lines(model->quantization.text(), "kv cache"),
              ElementsAre(HasSubstr("kv cache e4m3 k_scale and v_scale missing, defaulted to 1"),
                          HasSubstr("kv cache e4m3 k_scale 0.5, v_scale 0.25")));

  ImportOptions options;
  options.kvScale = 0.75f;
  model = Import(options);
  ASSERT_TRUE(succeeded(model));
  EXPECT_EQ(Scales(*model, 0), "0.75 0.75");
  EXPECT_EQ(Scales(*model, 1), "0.5 0.25");
  EXPECT_THAT(Take(), IsEmpty());
  EXPECT_THAT(model->quantization.text(), HasSubstr("k_scale and v_scale missing, 0.75 as asked for"));
}

TEST_F(KvCacheTest, AnotherTypeIsAskedFor) {
  AddScales(0);
  AddScales(1);
  hf_quant_config_ = HfQuantConfig(Json::array({"*"}), /*kv_cache=*/true);
  Write(tensors_);
  ImportOptions options;
  options.kvCacheDtype = DType::kBF16;
  auto model = Import(options);
  ASSERT_TRUE(succeeded(model));
  EXPECT_EQ(Scales(*model, 0), "none");
  EXPECT_THAT(Lines(Text(*model), "kv_cache : "), Each(HasSubstr("xbf16>")));
  EXPECT_THAT(model->quantization.text(), HasSubstr("kv cache not e4m3, k_scale 0.5, v_scale 0.25 unused"));
}

TEST_F(KvCacheTest, ScalesCountAsADeclaration) {
  AddScales(0);
  AddScales(1);
  Write(tensors_);
  auto model = Import();
  ASSERT_TRUE(succeeded(model));
  EXPECT_EQ(Scales(*model, 1), "0.5 0.25");
  EXPECT_THAT(Take(), IsEmpty());
  hf_quant_config_ = HfQuantConfig(Json::array({"*"}));
  Write(tensors_);
  EXPECT_EQ(Scales(*Import(), 1), "0.5 0.25");
  EXPECT_THAT(Take(),
              ElementsAre("remark: does not say that the KV cache is FP8, but 2 layers have scales for it, which "
                          "counts"));
}

TEST_F(KvCacheTest, AskedForWithoutScales) {
  Write(tensors_);
  ImportOptions options;
  options.kvCacheDtype = DType::kF8E4M3;
  EXPECT_THAT(Errors(options),
              ElementsAre("error: has no scales for an FP8 KV cache: give one (--kv-scale), or measure "
                          "them (--calibrate)"));
  options.kvScale = 0.5f;
  auto model = Import(options);
  ASSERT_TRUE(succeeded(model));
  EXPECT_EQ(Scales(*model, 0), "0.5 0.5");
  for (const float scale : {0.0f, -1.0f, std::numeric_limits<float>::infinity(), std::nanf("")}) {
    options.kvScale = scale;
    EXPECT_THAT(Errors(options), ElementsAre(AllOf(HasSubstr("the scale of the KV cache is "),
                                                   HasSubstr(", expected a positive, finite number"))));
  }
}

}  // namespace
}  // namespace nemotron::frontends
