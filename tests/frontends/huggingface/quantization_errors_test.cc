// Quantized checkpoints that are wrong: each message says which tensor, of which layer, in which file.
#include <cstring>
#include <limits>

#include "tests/frontends/huggingface/quantized_checkpoint.h"

namespace nemotron::frontends {
namespace {

using runtime::DType;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* kInProj = "backbone.layers.0.mixer.in_proj";
constexpr const char* kExpert = "backbone.layers.3.mixer.experts.2.down_proj";
constexpr const char* kAttention = "backbone.layers.2.mixer";

class BadQuantizationTest : public QuantizedTest {
 protected:
  /// A hybrid checkpoint with everything in the layers quantized, without mistakes.
  void SetUp() override {
    tensors_ = Random(HybridConfig());
    for (const std::string& module : Modules(tensors_, "layers.")) {
      QuantizeModule(&tensors_, module);
    }
    hf_quant_config_ = HfQuantConfig(Json::array({"lm_head"}));
  }

  /// The errors with another tensor in the place of `name`.
  std::vector<std::string> ErrorsWith(const std::string& name, OwnedTensor tensor) {
    TensorMap changed = tensors_;
    changed[name] = std::move(tensor);
    Write(changed);
    return Errors();
  }
  std::vector<std::string> ErrorsWithout(const std::string& name) {
    TensorMap changed = tensors_;
    changed.erase(name);
    Write(changed);
    return Errors();
  }
  /// The tensor dequantized, roughly: what matters is its type.
  OwnedTensor Plain(const std::string& name) { return ZeroTensor(tensors_.at(name).shape); }

  TensorMap tensors_;
};

TEST_F(BadQuantizationTest, NoMistake) {
  Write(tensors_);
  EXPECT_TRUE(succeeded(Import()));
  EXPECT_THAT(Take(), IsEmpty());
}

TEST_F(BadQuantizationTest, ValuesOfScales) {
  struct Case {
    float value;
    const char* text;
  };
  const Case cases[] = {{0.0f, "0"},
                        {-0.5f, "-0.5"},
                        {std::numeric_limits<float>::quiet_NaN(), "nan"},
                        {std::numeric_limits<float>::infinity(), "inf"}};
  for (const auto& [value, text] : cases) {
    SCOPED_TRACE(text);
    const std::string what = std::string("' is ") + text + ", expected a positive, finite number";
    for (const std::string scale : {".weight_scale", ".input_scale"}) {
      const std::string name = kExpert + scale;
      EXPECT_THAT(ErrorsWith(name, ScaleTensor({value})), ElementsAre("error: '" + name + what));
    }
    std::vector<float> rows(132, 0.5f);
    rows[7] = value;
    const std::string name = kInProj + std::string(".weight_scale");
    EXPECT_THAT(ErrorsWith(name, ScaleTensor(rows, {132, 1}, DType::kBF16)),
                ElementsAre("error: '" + name + "' is " + text + " at row 7, expected a positive, finite number"));
    tensors_[kAttention + std::string(".v_proj.v_scale")] = ScaleTensor({1.0f});
    const std::string key = kAttention + std::string(".k_proj.k_scale");
    EXPECT_THAT(ErrorsWith(key, ScaleTensor({value})), ElementsAre("error: '" + key + what));
    tensors_.erase(kAttention + std::string(".v_proj.v_scale"));
  }
}

TEST_F(BadQuantizationTest, ShapesAndTypesOfScales) {
  const std::string scale = kInProj + std::string(".weight_scale"), input = kInProj + std::string(".input_scale");
  for (const auto& [shape, text] : std::vector<std::pair<std::vector<int64_t>, std::string>>{
           {{131}, "131"}, {{132, 2}, "132x2"}, {{1, 132}, "1x132"}, {{0}, "0"}, {{132, 32}, "132x32"}}) {
    EXPECT_THAT(ErrorsWith(scale, ZeroTensor(shape, DType::kF32)),
                ElementsAre("error: '" + scale + "' is " + text + ", expected scalar or 1 or 132 or 132x1"));
  }
  EXPECT_THAT(ErrorsWith(input, ZeroTensor({132}, DType::kF32)),
              ElementsAre("error: '" + input + "' is 132, expected scalar or 1"));
  for (const auto& [dtype, text] : {std::pair(DType::kI32, "i32"), {DType::kF8E4M3, "f8e4m3"}, {DType::kU8, "u8"}}) {
    EXPECT_THAT(ErrorsWith(scale, ZeroTensor({132}, dtype)),
                ElementsAre("error: '" + scale + "' is of " + text + ", expected f32, bf16 or f16"));
  }
}

TEST_F(BadQuantizationTest, ScaleWithoutMatrixAndMatrixWithoutScale) {
  const std::string module = kInProj;
  EXPECT_THAT(
      ErrorsWithout(module + ".weight_scale"),
      ElementsAre("error: '" + module + ".weight' is of f8e4m3, but there is no '" + module + ".weight_scale'"));
  EXPECT_THAT(
      ErrorsWith(module + ".weight", Plain(module + ".weight")),
      ElementsAre(
          "error: '" + module + ".weight_scale' scales '" + module + ".weight', which is of bf16, expected f8e4m3",
          "error: '" + module + ".input_scale' scales '" + module + ".weight', which is of bf16, expected f8e4m3"));
}

TEST_F(BadQuantizationTest, MatrixOfTheWrongShape) {
  const std::string name = kInProj + std::string(".weight");
  EXPECT_THAT(ErrorsWith(name, ZeroTensor({132, 16}, DType::kF8E4M3)),
              ElementsAre(std::string("error: '") + name + "' is 132x16, but config.json asks for 132x32"));
}

TEST_F(BadQuantizationTest, OnlyMatricesOfProducts) {
  for (const char* const name :
       {"backbone.embeddings.weight", "backbone.norm_f.weight", "backbone.layers.0.mixer.conv1d.weight",
        "backbone.layers.0.mixer.norm.weight", "backbone.layers.3.mixer.gate.weight", "backbone.layers.0.mixer.D"}) {
    EXPECT_THAT(ErrorsWith(name, ZeroTensor(tensors_.at(name).shape, DType::kF8E4M3)),
                ElementsAre(std::string("error: '") + name +
                            "' is of f8e4m3, expected f32, bf16 or f16: only matrices of products "
                            "can be quantized"));
  }
}

TEST_F(BadQuantizationTest, UnknownTensors) {
  const std::string module = kInProj;
  for (const std::string& name :
       {module + ".weight_scale_2", module + ".weight_scale_inv", module + ".pre_quant_scale",
        module + ".weight_zero_point", std::string("backbone.layers.0.mixer.norm.weight_scale"),
        std::string("backbone.layers.0.mixer.conv1d.input_scale"), std::string("backbone.layers.0.mixer.k_scale"),
        std::string("lm_head.bias_scale")}) {
    EXPECT_THAT(
        ErrorsWith(name, ScaleTensor({1.0f}, {1})),
        ElementsAre(std::string("error: '") + name + "' (1) is not a tensor of the model that config.json describes"));
  }
}

TEST_F(BadQuantizationTest, CacheScales) {
  const std::string key = kAttention + std::string(".k_proj.k_scale"), value = kAttention + std::string(".v_scale");
  EXPECT_THAT(ErrorsWith(key, ScaleTensor({1.0f})),
              ElementsAre("error: '" + key + "' is there without a v_scale of layer 2, expected both or neither"));
  EXPECT_THAT(ErrorsWith(value, ScaleTensor({1.0f})),
              ElementsAre("error: '" + value + "' is there without a k_scale of layer 2, expected both or neither"));
  tensors_[key] = ScaleTensor({1.0f});
  tensors_[value] = ScaleTensor({1.0f});
  const std::string other = kAttention + std::string(".k_scale");
  EXPECT_THAT(ErrorsWith(other, ScaleTensor({1.0f})),
              ElementsAre("error: '" + key + "' and '" + other + "' are the same scale, expected one of them"));
  EXPECT_THAT(ErrorsWith(key, ScaleTensor({1.0f, 1.0f}, {2})),
              ElementsAre("error: '" + key + "' is 2, expected scalar or 1"));
}

TEST_F(BadQuantizationTest, ExpertsOfOneLayer) {
  const std::string module = kExpert, first = "backbone.layers.3.mixer.experts.0.";
  TensorMap some = tensors_;
  for (const char* name : {".weight_scale", ".input_scale"}) {
    some.erase(module + name);
  }
  some[module + ".weight"] = Plain(module + ".weight");
  hf_quant_config_["quantization"]["exclude_modules"] = {"lm_head", module};
  Write(some);
  EXPECT_THAT(Errors(), ElementsAre("error: '" + module + ".weight' is not of f8e4m3, but '" + first +
                                    "up_proj.weight' is: experts of layer 3 can be quantized only all of them"));
  hf_quant_config_["quantization"]["exclude_modules"] = {"lm_head"};
  EXPECT_THAT(ErrorsWith(module + ".weight_scale", ScaleTensor(std::vector<float>(32, 1.0f), {32})),
              ElementsAre("error: '" + module + ".weight' is scaled by row, activations static, but '" + first +
                          "down_proj.weight' is scaled by matrix, activations static: experts of layer 3 must be "
                          "quantized alike"));
  EXPECT_THAT(ErrorsWithout(module + ".input_scale"),
              ElementsAre("error: '" + module + ".weight' is scaled by matrix, activations dynamic, but '" + first +
                          "down_proj.weight' is scaled by matrix, activations static: experts of layer 3 must be "
                          "quantized alike"));
}

TEST_F(BadQuantizationTest, ExpertsWithAndWithoutActivations) {
  for (const std::string& module : Modules(tensors_)) {
    tensors_.erase(module + ".input_scale");
  }
  hf_quant_config_ = Json();
  Json section = CompressedTensors(Activations(/*dynamic=*/true));
  section["config_groups"]["group_1"] = section["config_groups"]["group_0"];
  section["config_groups"]["group_1"]["input_activations"] = nullptr;
  section["config_groups"]["group_1"]["targets"] = {"re:.*experts.*down_proj"};
  config_["quantization_config"] = section;
  Write(tensors_);
  EXPECT_THAT(Errors(), ElementsAre("error: 'backbone.layers.3.mixer.experts.0.up_proj.weight' is scaled by matrix, "
                                    "activations dynamic, but 'backbone.layers.3.mixer.experts.0.down_proj.weight' is "
                                    "scaled by matrix, activations not quantized: experts of layer 3 must be quantized "
                                    "alike"));
}

TEST_F(BadQuantizationTest, StackedExperts) {
  Json config = HybridConfig();
  config["hybrid_override_pattern"] = "E";
  TensorMap tensors = Random(config);
  for (const std::string& module : Modules(tensors, ".experts.")) {
    tensors.erase(module + ".weight");
  }
  tensors["backbone.layers.0.mixer.experts.up_proj"] = ZeroTensor({4, 24, 32}, DType::kF8E4M3);
  tensors["backbone.layers.0.mixer.experts.down_proj"] = ZeroTensor({4, 32, 24});
  hf_quant_config_ = Json();
  Write(tensors);
  EXPECT_THAT(Errors(), ElementsAre("error: 'backbone.layers.0.mixer.experts.up_proj' is of f8e4m3: experts that are "
                                    "stacked in one tensor can only be f32, bf16 or f16, for there is no format of "
                                    "their scales"));
}

// Files against tensors, and against each other.
TEST_F(BadQuantizationTest, FilesSayOtherwise) {
  const std::string name = kInProj + std::string(".weight");
  hf_quant_config_ = HfQuantConfig(Json::array({"lm_head", "backbone.layers.0.mixer.in_*"}));
  Write(tensors_);
  EXPECT_THAT(Errors(), ElementsAre("error: '" + name +
                                    "' is of f8e4m3, but 'backbone.layers.0.mixer.in_*' is in "
                                    "'exclude_modules' of hf_quant_config.json"));
  hf_quant_config_["quantization"]["exclude_modules"] = {"lm_head"};
  config_["quantization_config"] = CompressedTensors(Activations(/*dynamic=*/false));
  config_["quantization_config"]["ignore"] = {"lm_head", kInProj};
  Write(tensors_);
  EXPECT_THAT(Errors(), ElementsAre("error: '" + name + "' is of f8e4m3, but '" + kInProj +
                                    "' is in 'ignore' of "
                                    "config.json"));
  config_["quantization_config"]["ignore"] = {"lm_head"};
  config_["quantization_config"]["config_groups"]["group_0"]["targets"] = {"re:.*(out|up|down|[qkvo])_proj"};
  Write(tensors_);
  EXPECT_THAT(Errors(), ElementsAre("error: '" + name +
                                    "' is of f8e4m3, but config.json does not say that it is "
                                    "quantized"));
  config_["quantization_config"] = {
      {"quant_method", "fp8"}, {"activation_scheme", "dynamic"}, {"ignored_layers", {"lm_head"}}};
  Write(tensors_);
  EXPECT_THAT(Errors(), ::testing::Contains("error: '" + name +
                                            "' has activations that are dynamic by config.json, but "
                                            "static by hf_quant_config.json"));
}

TEST_F(BadQuantizationTest, InputScaleThatNobodyAskedFor) {
  hf_quant_config_ = Json();
  const std::string name = kInProj + std::string(".input_scale");
  config_["quantization_config"] = CompressedTensors(Activations(/*dynamic=*/true));
  Write(tensors_);
  EXPECT_THAT(Errors(),
              ::testing::Contains("error: '" + name + "' is there, but activations are dynamic by config.json"));
  config_["quantization_config"] = CompressedTensors(nullptr);
  Write(tensors_);
  EXPECT_THAT(Errors(),
              ::testing::Contains("error: '" + name + "' is there, but activations are not quantized by config.json"));
}

// The header of a file names a type that is not ours.
TEST_F(BadQuantizationTest, OtherEightBitFloats) {
  Write(tensors_);
  std::string file = ReadFile(path_ + "/model.safetensors");
  const size_t at = file.find("\"F8_E4M3\"");
  ASSERT_NE(at, std::string::npos);
  std::memcpy(&file[at], "\"F8_E5M2\"", 9);
  WriteFile(path_ + "/model.safetensors", file);
  EXPECT_THAT(Errors(), ElementsAre(std::string("error: tensor '") + kInProj +
                                    ".weight' has dtype 'F8_E5M2', expected one of F32, BF16, F16, F8_E4M3, I8, U8, "
                                    "I32, I64; while reading '" +
                                    path_ + "/model.safetensors'"));
}

TEST_F(BadQuantizationTest, ErrorsNameFileAndTensor) {
  const std::string name = kInProj + std::string(".weight_scale");
  tensors_[name] = ScaleTensor({0.0f});
  Write(tensors_, /*shards=*/2);
  std::vector<std::string> locations;
  mlir::ScopedDiagnosticHandler handler(&context_, [&](mlir::Diagnostic& diagnostic) {
    llvm::raw_string_ostream(locations.emplace_back()) << diagnostic.getLocation();
  });
  EXPECT_TRUE(failed(importHuggingFace(&context_, path_)));
  const Json index = Json::parse(ReadFile(path_ + "/model.safetensors.index.json"));
  const std::string shard = index["weight_map"][name];
  EXPECT_THAT(locations, ElementsAre(::testing::AllOf(HasSubstr(name), HasSubstr("/" + shard))));
}

TEST_F(BadQuantizationTest, ManyErrorsAreCapped) {
  Json config = HybridConfig();
  config["n_routed_experts"] = 16;
  tensors_ = Random(config);
  for (const std::string& module : Modules(tensors_, "layers.")) {
    QuantizeModule(&tensors_, module);
  }
  for (auto& [name, tensor] : tensors_) {
    if (name.ends_with("_scale")) {
      tensor = ScaleTensor({0.0f});
    }
  }
  Write(tensors_);
  const auto errors = Errors();
  EXPECT_THAT(errors, ::testing::SizeIs(21));
  // Eight modules in the other layers, two shared experts, two of each expert.
  EXPECT_EQ(errors.back(), "error: 22 more errors in scales and quantized tensors");
}

}  // namespace
}  // namespace nemotron::frontends
