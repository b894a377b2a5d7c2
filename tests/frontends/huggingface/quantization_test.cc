// Quantized checkpoints become products of 8-bit floats; values and scales arrive bit for bit.
#include <cmath>

#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"
#include "tests/frontends/huggingface/quantized_checkpoint.h"

namespace nemotron::frontends {
namespace {

using runtime::DType;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class QuantizationTest : public QuantizedTest {
 protected:
  /// Values and scales of `module` are weights of their own, and the input is quantized as `tensors` say.
  void CheckProduct(const ImportedModel& model, const std::string& name, const TensorMap& tensors,
                    const std::string& module) {
    SCOPED_TRACE(name);
    auto product = OpNamed<ir::ScaledMatmulOp>(model, name);
    EXPECT_EQ(SourceOf(product.getWeight()), module + ".weight");
    EXPECT_EQ(SourceOf(product.getWeightScale()), module + ".weight_scale");
    EXPECT_EQ(product.getWeight().getType().getShape().vec(), tensors.at(module + ".weight").shape);
    const size_t scales = Floats(tensors.at(module + ".weight_scale")).size();
    EXPECT_EQ(product.getWeightScale().getType().getShape().vec(), std::vector<int64_t>{static_cast<int64_t>(scales)});
    EXPECT_TRUE(product.getWeightScale().getType().getElementType().isF32());
    CheckBytes(model, module + ".weight", tensors);
    CheckBytes(model, module + ".weight_scale", tensors);
    auto quantize = product.getInput().getDefiningOp<ir::QuantizeOp>();
    ASSERT_TRUE(quantize);
    EXPECT_EQ(product.getInputScale(), quantize.getScale());
    const auto input_scale = tensors.find(module + ".input_scale");
    ASSERT_EQ(quantize.getScaling(), input_scale == tensors.end() ? ir::Scaling::Token : ir::Scaling::Static);
    if (input_scale != tensors.end()) {
      EXPECT_EQ(Bits(quantize.getStaticScale()->convertToFloat()), Bits(Floats(input_scale->second).front()));
    }
  }

  static void CheckBytes(const ImportedModel& model, const std::string& name, const TensorMap& tensors) {
    std::vector<std::byte> bytes(tensors.at(name).data.size());
    EXPECT_TRUE(model.weights->read(name, 0, bytes).ok());
    EXPECT_EQ(bytes, tensors.at(name).data);
  }
};

/// As released: Mamba, MLP and experts quantized with static inputs, attention and head not, an FP8 KV cache.
TEST_F(QuantizationTest, ModelOptHybrid) {
  TensorMap tensors = Random(HybridConfig());
  for (const char* part : {"layers.0.", "layers.1.", "layers.3."}) {
    for (const std::string& module : Modules(tensors, part)) {
      QuantizeModule(&tensors, module);
    }
  }
  tensors["backbone.layers.2.mixer.k_proj.k_scale"] = ScaleTensor({0.0123f});
  tensors["backbone.layers.2.mixer.v_proj.v_scale"] = ScaleTensor({0.0456f});
  hf_quant_config_ = HfQuantConfig(Json::array({"lm_head", "backbone.layers.2.mixer*"}), /*kv_cache=*/true);
  Write(tensors);
  auto model = Import();
  ASSERT_TRUE(succeeded(model));
  EXPECT_THAT(Take(), IsEmpty());

  CheckProduct(*model, "layers.0.in_proj", tensors, "backbone.layers.0.mixer.in_proj");
  CheckProduct(*model, "layers.0.out_proj", tensors, "backbone.layers.0.mixer.out_proj");
  CheckProduct(*model, "layers.1.up_proj", tensors, "backbone.layers.1.mixer.up_proj");
  CheckProduct(*model, "layers.1.down_proj", tensors, "backbone.layers.1.mixer.down_proj");
  CheckProduct(*model, "layers.3.shared_experts.up_proj", tensors, "backbone.layers.3.mixer.shared_experts.up_proj");
  CheckProduct(*model, "layers.3.shared_experts.down_proj", tensors,
               "backbone.layers.3.mixer.shared_experts.down_proj");
  const std::string text = Text(*model);
  EXPECT_THAT(Lines(text, "nemotron.linear"), SizeIs(4 + 1));
  EXPECT_THAT(Lines(text, "nemotron.scaled_matmul"), SizeIs(2 + 2 + 2));
  EXPECT_THAT(Lines(text, "nemotron.relu2"), SizeIs(2));
  EXPECT_THAT(Lines(text, "nemotron.scaled_matmul").front(),
              HasSubstr("(tensor<?x32xf8E4M3FN>, tensor<?x1xf32>, tensor<132x32xf8E4M3FN>, tensor<1xf32>) -> "
                        "tensor<?x132xf32>"));
  EXPECT_THAT(Lines(text, "kv_cache : "), ElementsAre(HasSubstr("tensor<2x2x16xf8E4M3FN>")));
  auto attention = OpNamed<ir::AttentionOp>(*model, "layers.2.attention");
  EXPECT_EQ(Bits(attention.getKeyScaleAttr()), Bits(0.0123f));
  EXPECT_EQ(Bits(attention.getValueScaleAttr()), Bits(0.0456f));
  EXPECT_EQ(model->quantization.text(),
            "layer 0 mamba: in_proj e4m3 weight_scale tensor, input_scale static; out_proj e4m3 weight_scale tensor, "
            "input_scale static\n"
            "layer 1 mlp: up_proj e4m3 weight_scale tensor, input_scale static; down_proj e4m3 weight_scale tensor, "
            "input_scale static\n"
            "layer 2 attention: q_proj bf16; k_proj bf16; v_proj bf16; o_proj bf16; kv cache e4m3 k_scale 0.0123, "
            "v_scale 0.0456\n"
            "layer 3 moe: experts.up_proj 4 x e4m3 weight_scale tensor, input_scale static; experts.down_proj 4 x e4m3 "
            "weight_scale tensor, input_scale static; shared_experts.up_proj e4m3 weight_scale tensor, input_scale "
            "static; shared_experts.down_proj e4m3 weight_scale tensor, input_scale static\n"
            "head: lm_head bf16\n");
}

TEST_F(QuantizationTest, Experts) {
  Json config = HybridConfig();
  config["hybrid_override_pattern"] = "E";
  config["moe_latent_size"] = 16;
  TensorMap tensors = Random(config);
  for (const std::string& module : Modules(tensors, "layers.0.")) {
    QuantizeModule(&tensors, module);
  }
  hf_quant_config_ = HfQuantConfig(Json::array({"lm_head"}));
  Write(tensors);
  auto model = Import();
  ASSERT_TRUE(succeeded(model));
  CheckProduct(*model, "layers.0.fc1_latent_proj", tensors, "backbone.layers.0.mixer.fc1_latent_proj");
  CheckProduct(*model, "layers.0.fc2_latent_proj", tensors, "backbone.layers.0.mixer.fc2_latent_proj");
  auto experts = OpNamed<ir::ScaledMoeExpertsOp>(*model, "layers.0.experts");
  EXPECT_FALSE(experts.getWeightOnly());
  EXPECT_EQ(experts.getInput(), OpNamed<ir::ScaledMatmulOp>(*model, "layers.0.fc1_latent_proj").getResult());
  struct Operand {
    mlir::Value value;
    const char *projection, *scale;
    std::vector<int64_t> shape;
  };
  for (const Operand& operand : {Operand{experts.getUp(), "up_proj", "weight", {4, 24, 16}},
                                 Operand{experts.getUpScale(), "up_proj", "weight_scale", {4, 1}},
                                 Operand{experts.getUpInputScale(), "up_proj", "input_scale", {4}},
                                 Operand{experts.getDown(), "down_proj", "weight", {4, 16, 24}},
                                 Operand{experts.getDownScale(), "down_proj", "weight_scale", {4, 1}},
                                 Operand{experts.getDownInputScale(), "down_proj", "input_scale", {4}}}) {
    SCOPED_TRACE(std::string(operand.projection) + "." + operand.scale);
    EXPECT_EQ(mlir::cast<mlir::RankedTensorType>(operand.value.getType()).getShape().vec(), operand.shape);
    mlir::Operation* stack = operand.value.getDefiningOp();
    if (mlir::isa<ir::ReshapeOp>(stack)) {
      stack = stack->getOperand(0).getDefiningOp();
    }
    ASSERT_TRUE(mlir::isa<ir::StackOp>(stack));
    for (unsigned e = 0; e < 4; ++e) {
      EXPECT_EQ(SourceOf(stack->getOperand(e)), "backbone.layers.0.mixer.experts." + std::to_string(e) + "." +
                                                    operand.projection + "." + operand.scale);
    }
  }
}

TEST_F(QuantizationTest, ExpertsScaledByRowAndToken) {
  Json config = HybridConfig();
  config["hybrid_override_pattern"] = "E";
  TensorMap tensors = Random(config);
  for (const std::string& module : Modules(tensors, ".experts.")) {
    QuantizeModule(&tensors, module,
                   {.per_row = module.ends_with("up_proj"), .has_unit_dim = true, .has_input_scale = false});
  }
  config_["quantization_config"] = CompressedTensors(Activations(/*dynamic=*/true));
  config_["quantization_config"]["config_groups"]["group_0"]["targets"] = {
      "re:.*mixer\\.experts\\.\\d+\\.(up|down)_proj$"};
  Write(tensors);
  auto model = Import();
  ASSERT_TRUE(succeeded(model));
  EXPECT_THAT(Take(), IsEmpty());
  auto experts = OpNamed<ir::ScaledMoeExpertsOp>(*model, "layers.0.experts");
  EXPECT_EQ(experts.getUpScale().getType().getShape().vec(), (std::vector<int64_t>{4, 24}));
  EXPECT_EQ(experts.getDownScale().getType().getShape().vec(), (std::vector<int64_t>{4, 1}));
  EXPECT_FALSE(experts.getUpInputScale());
  EXPECT_FALSE(experts.getDownInputScale());
  EXPECT_FALSE(experts.getWeightOnly());
  EXPECT_THAT(Lines(model->quantization.text(), "moe"),
              ElementsAre(AllOf(HasSubstr("experts.up_proj 4 x e4m3 weight_scale channel, input_scale by token"),
                                HasSubstr("experts.down_proj 4 x e4m3 weight_scale tensor, input_scale by token"),
                                HasSubstr("shared_experts.up_proj bf16"))));

  config_["quantization_config"]["config_groups"]["group_0"]["input_activations"] = nullptr;
  Write(tensors);
  model = Import();
  ASSERT_TRUE(succeeded(model));
  EXPECT_TRUE(OpNamed<ir::ScaledMoeExpertsOp>(*model, "layers.0.experts").getWeightOnly());
}

/// Also with both files, as later releases have them.
TEST_F(QuantizationTest, ShardsGiveTheSame) {
  TensorMap tensors = Random(HybridConfig());
  for (const std::string& module : Modules(tensors, "layers.")) {
    QuantizeModule(&tensors, module);
  }
  hf_quant_config_ = HfQuantConfig(Json::array({"lm_head"}));
  Write(tensors);
  auto whole = Import();
  ASSERT_TRUE(succeeded(whole));
  config_["quantization_config"] = {{"quant_method", "modelopt"}, {"quant_algo", "FP8"}, {"ignore", {"lm_head"}}};
  Write(tensors, /*shards=*/3);
  auto sharded = Import();
  ASSERT_TRUE(succeeded(sharded));
  EXPECT_EQ(Text(*sharded), Text(*whole));
  EXPECT_EQ(sharded->quantization.text(), whole->quantization.text());
  EXPECT_THAT(Lines(Text(*whole), "nemotron.linear"), SizeIs(1));
  CheckBytes(*sharded, "backbone.layers.0.mixer.in_proj.weight", tensors);
}

/// Scales of rows [out, 1] in BF16, inputs by token: products with one input share what quantizes it.
TEST_F(QuantizationTest, CompressedTensorsDense) {
  TensorMap tensors = Random(DenseConfig());
  for (const std::string& module : Modules(tensors, "layers.")) {
    QuantizeModule(&tensors, module,
                   {.per_row = true, .scale_dtype = DType::kBF16, .has_unit_dim = true, .has_input_scale = false});
  }
  for (int layer = 0; layer < 2; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".self_attn.";
    tensors[prefix + "k_scale"] = ScaleTensor({0.0625f + layer}, {1}, DType::kBF16);
    tensors[prefix + "v_scale"] = ScaleTensor({0.125f + layer}, {1}, DType::kBF16);
  }
  config_["quantization_config"] = CompressedTensors(Activations(/*dynamic=*/true), "channel");
  config_["quantization_config"]["kv_cache_scheme"] = Activations(/*dynamic=*/false);
  Write(tensors);
  auto model = Import();
  ASSERT_TRUE(succeeded(model));
  EXPECT_THAT(Take(), IsEmpty());
  for (const char* name : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                           "mlp.up_proj", "mlp.down_proj"}) {
    const std::string module = std::string("model.layers.1.") + name;
    CheckProduct(*model, "layers.1." + module.substr(module.rfind('.') + 1), tensors, module);
  }
  const std::string text = Text(*model);
  EXPECT_THAT(Lines(text, "nemotron.cast"), Each(HasSubstr("xbf16> to tensor<")));
  EXPECT_THAT(Lines(text, "nemotron.reshape"), ::testing::Contains(HasSubstr("tensor<64x1xf32> to tensor<64xf32>")));
  EXPECT_EQ(Bits(OpNamed<ir::AttentionOp>(*model, "layers.1.attention").getKeyScaleAttr()), Bits(1.0625f));
  EXPECT_EQ(Bits(OpNamed<ir::AttentionOp>(*model, "layers.1.attention").getValueScaleAttr()), Bits(1.125f));
  EXPECT_THAT(
      Lines(model->quantization.text(), "layer 1 decoder: q_proj e4m3 weight_scale channel, input_scale by token"),
      SizeIs(1));

  EXPECT_THAT(Lines(text, "nemotron.quantize "), SizeIs(2 * 6));
  mlir::PassManager manager(&context_);
  manager.addPass(mlir::createCSEPass());
  ASSERT_TRUE(succeeded(manager.run(*model->module)));
  EXPECT_THAT(Lines(Text(*model), "nemotron.quantize "), SizeIs(2 * 4));
}

TEST_F(QuantizationTest, WeightOnly) {
  TensorMap tensors = Random(DenseConfig());
  for (const std::string& module : Modules(tensors, "layers.")) {
    QuantizeModule(&tensors, module, {.has_unit_dim = true, .has_input_scale = false});
  }
  config_["quantization_config"] = CompressedTensors(nullptr);
  config_["quantization_config"]["format"] = "naive-quantized";
  Write(tensors);
  auto model = Import();
  ASSERT_TRUE(succeeded(model));
  EXPECT_THAT(Take(), IsEmpty());
  const std::string text = Text(*model);
  EXPECT_THAT(Lines(text, "nemotron.quantize "), IsEmpty());
  const auto products = Lines(text, "nemotron.scaled_matmul");
  ASSERT_THAT(products, SizeIs(12));
  EXPECT_THAT(products.front(),
              HasSubstr("(tensor<?x32xf32>, tensor<64x32xf8E4M3FN>, tensor<1xf32>) -> tensor<?x64xf32>"));
  EXPECT_THAT(model->quantization.text(), HasSubstr("q_proj e4m3 weight_scale tensor, input not quantized;"));
}

/// `quant_method: fp8` of older files, with the head and biases.
TEST_F(QuantizationTest, OlderFp8) {
  Json config = DenseConfig();
  config["mlp_bias"] = true;
  TensorMap tensors = Random(config);
  for (const std::string& module : Modules(tensors)) {
    if (module != "model.layers.0.mlp.up_proj") {
      QuantizeModule(&tensors, module);
    }
  }
  for (int layer = 0; layer < 2; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".self_attn.";
    tensors[prefix + "k_proj.k_scale"] = ScaleTensor({0.5f});
    tensors[prefix + "v_proj.v_scale"] = ScaleTensor({0.25f});
  }
  config_["quantization_config"] = {{"quant_method", "fp8"},
                                    {"activation_scheme", "static"},
                                    {"ignored_layers", {"model.layers.0.mlp.up_proj"}},
                                    {"kv_cache_scheme", "static"}};
  Write(tensors);
  auto model = Import();
  ASSERT_TRUE(succeeded(model));
  EXPECT_THAT(Take(), IsEmpty());
  CheckProduct(*model, "lm_head", tensors, "lm_head");
  CheckProduct(*model, "layers.1.up_proj", tensors, "model.layers.1.mlp.up_proj");
  auto up = OpNamed<ir::ScaledMatmulOp>(*model, "layers.1.up_proj");
  ASSERT_TRUE(up.getBias());
  EXPECT_EQ(SourceOf(up.getBias()), "model.layers.1.mlp.up_proj.bias");
  EXPECT_TRUE(OpNamed<ir::LinearOp>(*model, "layers.0.up_proj").getBias());
  EXPECT_THAT(Lines(model->quantization.text(), "head: lm_head e4m3 weight_scale tensor, input_scale static"),
              SizeIs(1));
}

/// A multimodal wrapper: lists may name modules with and without its prefix.
TEST_F(QuantizationTest, WrappedNames) {
  TensorMap tensors = Random(DenseConfig()), wrapped;
  for (const std::string& module : Modules(tensors, "layers.1.")) {
    QuantizeModule(&tensors, module);
  }
  QuantizeModule(&tensors, "lm_head");
  for (const auto& [name, tensor] : tensors) {
    wrapped["language_model." + name] = tensor;
  }
  config_["quantization_config"] = {{"quant_method", "modelopt"},
                                    {"quant_algo", "FP8"},
                                    {"ignore", {"model.layers.0", "language_model.model.embed*"}}};
  Write(wrapped);
  auto model = Import();
  ASSERT_TRUE(succeeded(model));
  EXPECT_THAT(Take(), IsEmpty());
  CheckProduct(*model, "lm_head", wrapped, "language_model.lm_head");
  EXPECT_THAT(Lines(Text(*model), "nemotron.scaled_matmul"), SizeIs(6 + 1));
  EXPECT_THAT(Lines(model->quantization.text(), "head: lm_head e4m3"), SizeIs(1));
}

TEST_F(QuantizationTest, Dequantize) {
  TensorMap tensors = Random(HybridConfig());
  for (const std::string& module : Modules(tensors, "layers.")) {
    QuantizeModule(&tensors, module, {.per_row = module.ends_with("up_proj")});
  }
  hf_quant_config_ = HfQuantConfig(Json::array({"lm_head"}));
  Write(tensors);
  ImportOptions options;
  options.dequantize = true;
  auto model = Import(options);
  ASSERT_TRUE(succeeded(model));
  std::string text = Text(*model);
  EXPECT_THAT(Lines(text, "nemotron.scaled_"), IsEmpty());
  EXPECT_THAT(Lines(text, "nemotron.quantize "), IsEmpty());
  EXPECT_THAT(Lines(text, "nemotron.linear"), SizeIs(2 + 2 + 4 + 2 + 1));
  EXPECT_THAT(Lines(text, "nemotron.dequantize"), SizeIs(2 + 2 + 4 + 2 + 2));
  EXPECT_THAT(Lines(text, "nemotron.dequantize"),
              ::testing::Contains(HasSubstr("(tensor<4x24x32xf8E4M3FN>, tensor<4x24xf32>) -> tensor<4x24x32xf32>")));
  EXPECT_THAT(Lines(text, "nemotron.moe_experts").front(), HasSubstr("tensor<4x24x32xbf16>, tensor<4x32x24xbf16>"));
  auto linear = OpNamed<ir::LinearOp>(*model, "layers.0.in_proj");
  auto cast = linear.getWeight().getDefiningOp<ir::CastOp>();
  ASSERT_TRUE(cast);
  auto dequantize = cast.getInput().getDefiningOp<ir::DequantizeOp>();
  ASSERT_TRUE(dequantize);
  EXPECT_EQ(SourceOf(dequantize.getInput()), "backbone.layers.0.mixer.in_proj.weight");
  EXPECT_EQ(SourceOf(dequantize.getScale()), "backbone.layers.0.mixer.in_proj.weight_scale");
  EXPECT_THAT(Lines(model->quantization.text(), "layer 0"),
              ElementsAre("layer 0 mamba: in_proj e4m3 weight_scale tensor, dequantized; out_proj e4m3 weight_scale "
                          "tensor, dequantized"));

  options.dtype = DType::kF32;
  model = Import(options);
  ASSERT_TRUE(succeeded(model));
  EXPECT_TRUE(OpNamed<ir::LinearOp>(*model, "layers.0.in_proj").getWeight().getDefiningOp<ir::DequantizeOp>());
}

/// The trained model of the tests: what a module stands for is what it was, within half a step of E4M3.
TEST_F(QuantizationTest, TrainedWeightsKeepTheirValues) {
  const std::string path = std::string(NEMOTRON_TEST_DATA) + "/models/nemotron-h-tiny";
  config_ = Json::parse(ReadFile(path + "/config.json"));
  const TensorMap original = ReadTensors(path + "/model.safetensors");
  TensorMap tensors = original;
  const std::vector<std::string> modules = Modules(tensors, "layers.");
  for (const std::string& module : modules) {
    QuantizeModule(&tensors, module, {.per_row = true});
  }
  hf_quant_config_ = HfQuantConfig(Json::array({"lm_head"}));
  Write(tensors, /*shards=*/2);
  auto model = Import();
  ASSERT_TRUE(succeeded(model));
  EXPECT_THAT(TakeErrors(), IsEmpty());
  for (const std::string& module : modules) {
    CheckBytes(*model, module + ".weight", tensors);
    CheckBytes(*model, module + ".weight_scale", tensors);
    const std::vector<float> scales = Floats(tensors.at(module + ".weight_scale"));
    const std::vector<float> values = Floats(tensors.at(module + ".weight"));
    const std::vector<float> wanted = Floats(original.at(module + ".weight"));
    const size_t columns = values.size() / scales.size();
    for (size_t i = 0; i < values.size(); ++i) {
      const float scale = scales[i / columns];
      // Normal numbers have 3 bits of mantissa, subnormals are 2^-9 apart.
      const float tolerance = std::max(std::abs(wanted[i]) * 0x1p-4f, scale * 0x1p-10f) * 1.0001f;
      ASSERT_NEAR(values[i] * scale, wanted[i], tolerance) << module << " " << i;
    }
  }
}

TEST_F(QuantizationTest, TensorsDecide) {
  TensorMap tensors = Random(DenseConfig());
  for (const std::string& module : Modules(tensors, "layers.0.")) {
    QuantizeModule(&tensors, module, {.has_input_scale = !module.ends_with("o_proj")});
  }
  Write(tensors);  // no file says anything
  auto model = Import();
  ASSERT_TRUE(succeeded(model));
  EXPECT_THAT(Lines(Text(*model), "nemotron.scaled_matmul"), SizeIs(6));
  EXPECT_EQ(OpNamed<ir::QuantizeOp>(*model, "layers.0.o_proj").getScaling(), ir::Scaling::Token);
  EXPECT_EQ(OpNamed<ir::QuantizeOp>(*model, "layers.0.q_proj").getScaling(), ir::Scaling::Static);
  EXPECT_THAT(Take(), ElementsAre("remark: neither config.json nor hf_quant_config.json says how activations are "
                                  "quantized; the input of modules without input_scale is scaled token by token: "
                                  "model.layers.0.self_attn.o_proj"));

  hf_quant_config_ = HfQuantConfig(Json::array({"lm_head"}));  // says more is quantized, and static
  Write(tensors);
  model = Import();
  ASSERT_TRUE(succeeded(model));
  EXPECT_THAT(Lines(Text(*model), "nemotron.scaled_matmul"), SizeIs(6));
  EXPECT_THAT(Take(),
              ElementsAre("remark: calls modules quantized that are not: model.layers.1.self_attn.q_proj, "
                          "model.layers.1.self_attn.k_proj, model.layers.1.self_attn.v_proj and 3 more",
                          "remark: calls for static activations, but the input of modules without input_scale is "
                          "scaled token by token: model.layers.0.self_attn.o_proj"));
  EXPECT_THAT(model->quantization.text(),
              HasSubstr("o_proj e4m3 weight_scale tensor, input_scale missing, scaled by token;"));
  ImportOptions options;
  options.dequantize = true;
  EXPECT_TRUE(succeeded(Import(options)));
  EXPECT_THAT(Take(), ElementsAre(HasSubstr("calls modules quantized that are not")));
}

TEST_F(QuantizationTest, NothingToReportOfOtherCheckpoints) {
  Write(Random(HybridConfig()));
  auto model = Import();
  ASSERT_TRUE(succeeded(model));
  EXPECT_EQ(model->quantization.text(), "");
}

TEST_F(QuantizationTest, HashFollowsHfQuantConfig) {
  const TensorMap tensors = Random(DenseConfig());
  Write(tensors);
  const std::string without = Import()->info.checkpointHash;
  hf_quant_config_ = HfQuantConfig(Json::array({"*"}));
  Write(tensors);
  const std::string with = Import()->info.checkpointHash;
  EXPECT_NE(without, with);
  hf_quant_config_ = HfQuantConfig(Json::array({"*"}), /*kv_cache=*/true);
  Write(tensors);
  EXPECT_NE(Import()->info.checkpointHash, with);
}

TEST_F(QuantizationTest, RandomWeightsAreNotQuantized) {
  Json config = DenseConfig();
  config["quantization_config"] = {{"quant_method", "modelopt"}, {"quant_algo", "FP8"}, {"kv_cache_quant_algo", "FP8"}};
  WriteFile(folder() / "config.json", config.dump());
  auto model = importRandomWeights(&context_, (folder() / "config.json").string());
  ASSERT_TRUE(succeeded(model));
  EXPECT_THAT(Lines(Text(*model), "f8E4M3FN"), IsEmpty());
  EXPECT_THAT(Take(), ElementsAre("remark: is of a quantized checkpoint, but random weights are not quantized"));
}

}  // namespace
}  // namespace nemotron::frontends
