// What JSON files say about quantized matrices.
#include "frontends/huggingface/QuantizationConfig.h"
#include "frontends/huggingface/QuantizationReport.h"
#include "tests/frontends/huggingface/quantized_checkpoint.h"

namespace nemotron::frontends {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

//===----------------------------------------------------------------------===//
// Patterns
//===----------------------------------------------------------------------===//

bool Matches(const std::string& pattern, const std::string& module) {
  ModulePatterns patterns;
  EXPECT_TRUE(patterns.add(pattern)) << pattern;
  const std::string found = patterns.find(module);
  EXPECT_TRUE(found.empty() || found == pattern);
  return !found.empty();
}

TEST(ModulePatternsTest, Names) {
  EXPECT_TRUE(Matches("lm_head", "lm_head"));
  EXPECT_FALSE(Matches("lm_head", "lm_head2"));
  EXPECT_FALSE(Matches("head", "lm_head"));
  EXPECT_TRUE(Matches("backbone.layers.4", "backbone.layers.4.mixer.in_proj"));
  EXPECT_FALSE(Matches("backbone.layers.4", "backbone.layers.41.mixer.in_proj"));
  EXPECT_FALSE(Matches("mixer.in_proj", "backbone.layers.4.mixer.in_proj"));
}

TEST(ModulePatternsTest, Stars) {
  EXPECT_TRUE(Matches("*", "lm_head"));
  EXPECT_TRUE(Matches("backbone.layers.4.*", "backbone.layers.4.mixer.in_proj"));
  EXPECT_FALSE(Matches("backbone.layers.4.*", "backbone.layers.41.mixer.in_proj"));
  EXPECT_FALSE(Matches("backbone.layers.4.*", "backboneXlayers.4.mixer"));
  EXPECT_TRUE(Matches("*.q_proj", "model.layers.0.self_attn.q_proj"));
  EXPECT_FALSE(Matches("*.q_proj", "model.layers.0.self_attn.q_proj.x"));
  EXPECT_TRUE(Matches("*self_attn*proj", "model.layers.0.self_attn.q_proj"));
}

TEST(ModulePatternsTest, Expressions) {
  EXPECT_TRUE(Matches("re:.*lm_head", "lm_head"));
  EXPECT_TRUE(Matches("re:lm", "lm_head"));  // anchored at the start only
  EXPECT_FALSE(Matches("re:head", "lm_head"));
  EXPECT_TRUE(Matches("re:a|lm_head", "lm_head"));
  EXPECT_FALSE(Matches("re:a|head", "lm_head"));  // both sides of the bar
  EXPECT_TRUE(Matches(R"(re:.*layers\.\d+\.mixer\.(?:in|out)_proj$)", "backbone.layers.12.mixer.out_proj"));
  EXPECT_FALSE(Matches(R"(re:.*layers\.\d+\.mixer\.(?:in|out)_proj$)", "backbone.layers.x.mixer.out_proj"));
  EXPECT_TRUE(Matches(R"(re:.*?layers\.[\d]+?\.\w+\.(q|k)_proj)", "model.layers.0.self_attn.k_proj"));
  EXPECT_TRUE(Matches(R"(re:[^\.]+\.layers\.[0-3]\..*)", "model.layers.2.mlp.up_proj"));
  EXPECT_FALSE(Matches(R"(re:[^\.]+\.layers\.[0-3]\..*)", "a.model.layers.2.mlp.up_proj"));
  EXPECT_TRUE(Matches(R"(re:model\.layers\.\d{2}\..*)", "model.layers.17.mlp"));
  for (const char* pattern : {"re:(?!lm).*", "re:(?<=a)b", "re:(", "re:[", R"(re:\bmodel)", "re:a\\"}) {
    EXPECT_FALSE(ModulePatterns().add(pattern)) << pattern;
  }
}

//===----------------------------------------------------------------------===//
// Files
//===----------------------------------------------------------------------===//

class QuantizationConfigTest : public QuantizedTest {
 protected:
  QuantizationConfig ParseSection(const Json& section) {
    Json config = DenseConfig();
    config["quantization_config"] = section;
    auto parsed = Parse(config);
    if (failed(parsed)) {
      ADD_FAILURE() << section.dump(1);
      return {};
    }
    const std::vector<QuantizationConfig>& files = common(*parsed).quantization;
    EXPECT_THAT(files, SizeIs(1));
    return files.front();
  }
  std::vector<std::string> SectionErrors(const Json& section) {
    Json config = DenseConfig();
    config["quantization_config"] = section;
    EXPECT_TRUE(failed(Parse(config))) << section.dump(1);
    return TakeErrors();
  }
  std::vector<std::string> FileErrors(const std::string& text) {
    const std::string path = (folder() / "hf_quant_config.json").string();
    WriteFile(path, text);
    std::string found;
    EXPECT_TRUE(failed(loadHfQuantConfig(&context_, path, found)));
    return TakeErrors();
  }
};

constexpr const char* kOnlyFp8 =
    ": of quantized formats only FP8 (E4M3) with a scale for a matrix or each of its rows is supported";

TEST_F(QuantizationConfigTest, HfQuantConfig) {
  const std::string path = (folder() / "hf_quant_config.json").string();
  const std::string written = HfQuantConfig(Json::array({"lm_head", "backbone.layers.4*"}), true).dump(1);
  WriteFile(path, written);
  std::string text;
  auto config = loadHfQuantConfig(&context_, path, text);
  ASSERT_TRUE(succeeded(config));
  EXPECT_THAT(Take(), IsEmpty());
  EXPECT_EQ(text, written);
  EXPECT_EQ(config->path, path);
  EXPECT_EQ(config->exclusionField, "exclude_modules");
  EXPECT_EQ(config->exclusions.find("backbone.layers.4.mixer.in_proj"), "backbone.layers.4*");
  ASSERT_TRUE(config->groupOf("backbone.layers.0.mixer.in_proj"));
  EXPECT_EQ(config->groupOf("backbone.layers.0.mixer.in_proj")->activations, ActivationScheme::Static);
  EXPECT_TRUE(config->kvCache);

  WriteFile(path, R"({"quantization": {"quant_algo": null, "kv_cache_quant_algo": "FP8"}})");
  config = loadHfQuantConfig(&context_, path, text);
  ASSERT_TRUE(succeeded(config));
  EXPECT_THAT(config->groups, IsEmpty());
  EXPECT_TRUE(config->kvCache);
}

TEST_F(QuantizationConfigTest, BadHfQuantConfig) {
  EXPECT_THAT(FileErrors("{"), SizeIs(1));
  for (const char* text : {"{}", "[]", R"({"quantization": 7})"}) {
    EXPECT_THAT(FileErrors(text), ElementsAre("error: has no object 'quantization'"));
  }
  EXPECT_THAT(FileErrors(R"({"quantization":
    {"quant_algo": "NVFP4"}})"),
              ElementsAre(std::string("error: line 2: 'quant_algo' is \"NVFP4\", expected \"FP8\" or "
                                      "\"FP8_PER_CHANNEL_PER_TOKEN\"") +
                          kOnlyFp8));
  EXPECT_THAT(FileErrors(R"({"quantization": {"kv_cache_quant_algo": "NVFP4"}})"),
              ElementsAre("error: line 1: 'kv_cache_quant_algo' is \"NVFP4\", expected \"FP8\" or null"));
  std::string text;
  EXPECT_TRUE(failed(loadHfQuantConfig(&context_, "no/such/file", text)));
  EXPECT_THAT(TakeErrors(), ElementsAre(HasSubstr("cannot be read: ")));
}

TEST_F(QuantizationConfigTest, MixedPrecision) {
  const auto entry = [](const char* algorithm) { return Json{{"quant_algo", algorithm}}; };
  Json section = {{"quant_method", "modelopt"},
                  {"quant_algo", "MIXED_PRECISION"},
                  {"quantized_layers",
                   {{"model.layers.0.mlp.up_proj", entry("FP8")},
                    {"model.layers.1.mlp.up_proj", entry("FP8_PER_CHANNEL_PER_TOKEN")}}}};
  const QuantizationConfig config = ParseSection(section);
  EXPECT_EQ(config.groupOf("model.layers.0.mlp.up_proj")->activations, ActivationScheme::Static);
  EXPECT_EQ(config.groupOf("model.layers.1.mlp.up_proj")->activations, ActivationScheme::Dynamic);
  EXPECT_FALSE(config.groupOf("model.layers.1.mlp.down_proj"));
  section["quantized_layers"]["model.layers.1.mlp.down_proj"] = entry("W4A16_NVFP4");
  EXPECT_THAT(SectionErrors(section),
              ElementsAre(HasSubstr("'quant_algo' of 'model.layers.1.mlp.down_proj' in 'quantized_layers' is "
                                    "\"W4A16_NVFP4\", expected \"FP8\" or")));
  section.erase("quantized_layers");
  EXPECT_THAT(SectionErrors(section),
              ElementsAre(HasSubstr("'quant_algo' is MIXED_PRECISION, but there is no object 'quantized_layers'")));
}

TEST_F(QuantizationConfigTest, ModelOptInConfigJson) {
  const Json scheme = {{"dynamic", false}, {"num_bits", 8}, {"type", "float"}};
  const Json section = {
      {"config_groups", {{"group_0", {{"input_activations", scheme}, {"weights", scheme}, {"targets", {"Linear"}}}}}},
      {"ignore", {"lm_head", "model.layers.0*"}},
      {"quant_algo", "FP8"},
      {"kv_cache_scheme", scheme},
      {"producer", {{"name", "modelopt"}, {"version", "0.29.0"}}}};  // and no quant_method
  const QuantizationConfig config = ParseSection(section);
  EXPECT_THAT(Take(), IsEmpty());
  EXPECT_EQ(config.exclusionField, "ignore");
  EXPECT_EQ(config.groupOf("model.layers.1.mlp.up_proj")->activations, ActivationScheme::Static);
  EXPECT_TRUE(config.kvCache);
}

TEST_F(QuantizationConfigTest, CompressedTensors) {
  Json section = CompressedTensors(Activations(/*dynamic=*/true), "channel");
  QuantizationConfig config = ParseSection(section);
  EXPECT_EQ(config.groupOf("anything")->activations, ActivationScheme::Dynamic);
  EXPECT_EQ(config.exclusions.find("lm_head"), "lm_head");
  EXPECT_FALSE(config.kvCache);

  // A group that names modules comes before one for all, wherever it stands.
  section["config_groups"]["group_1"] = section["config_groups"]["group_0"];
  section["config_groups"]["group_1"]["targets"] = {"re:.*mlp.*"};
  section["config_groups"]["group_1"]["input_activations"] = nullptr;
  section["kv_cache_scheme"] = Activations(/*dynamic=*/false);
  config = ParseSection(section);
  EXPECT_EQ(config.groupOf("model.layers.0.mlp.up_proj")->activations, ActivationScheme::None);
  EXPECT_EQ(config.groupOf("model.layers.0.self_attn.q_proj")->activations, ActivationScheme::Dynamic);
  EXPECT_TRUE(config.kvCache);
  EXPECT_THAT(Take(), IsEmpty());

  Json named = DenseConfig();
  named["compression_config"] = CompressedTensors(nullptr);  // as it was called once
  auto parsed = Parse(named);
  ASSERT_TRUE(succeeded(parsed));
  EXPECT_THAT(common(*parsed).quantization, SizeIs(1));
}

TEST_F(QuantizationConfigTest, Multimodal) {
  Json inner = DenseConfig();
  Json config = {{"model_type", "some_vl"}, {"llm_config", inner}, {"quantization_config", CompressedTensors(nullptr)}};
  auto parsed = Parse(config);
  ASSERT_TRUE(succeeded(parsed));
  EXPECT_THAT(common(*parsed).quantization, SizeIs(1));
  config["quantization_config"]["format"] = "pack-quantized";
  EXPECT_TRUE(failed(Parse(config)));
  EXPECT_THAT(TakeErrors(), ElementsAre(HasSubstr("'format' of 'quantization_config' is \"pack-quantized\"")));
}

TEST_F(QuantizationConfigTest, OtherFormats) {
  struct Case {
    const char *pointer, *value, *message;  // RFC 6901
  };
  const Case cases[] = {
      {"/quant_method", R"("gptq")", "'quant_method' is \"gptq\", expected modelopt, compressed-tensors or fp8: of"},
      {"/format", R"("nvfp4-pack-quantized")",
       "'format' of 'quantization_config' is \"nvfp4-pack-quantized\", expected"},
      {"/format", R"("int-quantized")", "'format' of 'quantization_config' is \"int-quantized\", expected"},
      {"/config_groups", "7", "'config_groups' is 7, expected an object"},
      {"/config_groups/group_0", "7", "'config_groups' has 7, expected an object"},
      {"/config_groups/group_0/format", R"("pack-quantized")", "'format' of 'config_groups' is \"pack-quantized\""},
      {"/config_groups/group_0/targets", R"("Linear")", "'targets' is \"Linear\", expected a list of modules"},
      {"/config_groups/group_0/targets", "[7]", "'targets' has 7, expected the name of a module"},
      {"/config_groups/group_0/targets", R"x(["re:(?!a)"])x",
       "'targets' has the pattern \"re:(?!a)\", which cannot be read"},
      {"/config_groups/group_0/output_activations", R"({"num_bits": 8})",
       "but quantization of what a module gives is not"},
      {"/config_groups/group_0/weights", "null", "a group of 'config_groups' has no 'weights', expected FP8 weights"},
      {"/config_groups/group_0/weights", "8", "'weights' is 8, expected an object"},
      {"/config_groups/group_0/weights/num_bits", "4",
       "'num_bits' of 'weights' is 4, expected 8: of quantized formats"},
      {"/config_groups/group_0/weights/type", R"("int")", "'type' of 'weights' is \"int\", expected \"float\": of"},
      {"/config_groups/group_0/weights/strategy", R"("block")",
       "'strategy' of 'weights' is \"block\", expected \"tensor\" or \"channel\": of quantized formats"},
      {"/config_groups/group_0/weights/strategy", R"("group")", "'strategy' of 'weights' is \"group\""},
      {"/config_groups/group_0/weights/strategy", R"("tensor_group")", "'strategy' of 'weights' is \"tensor_group\""},
      {"/config_groups/group_0/weights/group_size", "32",
       "'group_size' is 32, but FP8 with a scale for each group of a row is not supported"},
      {"/config_groups/group_0/weights/block_structure", "[128, 128]",
       "'block_structure' is [128,128], but FP8 with scales for blocks of a matrix is not supported"},
      {"/config_groups/group_0/weights/symmetric", "false", "'symmetric' of 'weights' is false, expected true: of"},
      {"/config_groups/group_0/weights/dynamic", "true", "'dynamic' of 'weights' is true, expected false: of"},
      {"/config_groups/group_0/input_activations/num_bits", "16",
       "'num_bits' of 'input_activations' is 16, expected 8"},
      {"/config_groups/group_0/input_activations/dynamic", R"("local")",
       "'dynamic' is \"local\", expected true or false"},
      {"/config_groups/group_0/input_activations/strategy", R"("group")",
       "'strategy' of 'input_activations' is \"group\""},
      {"/ignore", R"("lm_head")", "'ignore' is \"lm_head\", expected a list of modules"},
      {"/ignore", R"(["re:["])", "'ignore' has the pattern \"re:[\", which cannot be read"},
      {"/kv_cache_scheme", R"("dynamic")", "'kv_cache_scheme' is \"dynamic\", expected an object"},
      {"/kv_cache_scheme", R"({"num_bits": 4})", "'num_bits' of 'kv_cache_scheme' is 4, expected 8"},
      {"/kv_cache_scheme", R"({"num_bits": 8, "type": "int"})", "'type' of 'kv_cache_scheme' is \"int\""},
      {"/kv_cache_scheme", R"({"num_bits": 8, "type": "float", "strategy": "attn_head"})",
       "'strategy' of 'kv_cache_scheme' is \"attn_head\", expected \"tensor\""},
      {"/kv_cache_scheme", R"({"num_bits": 8, "type": "float", "dynamic": true})",
       "'dynamic' of 'kv_cache_scheme' is true, expected false: scales of the KV cache are constants"},
      {"/sparsity_config", R"({"format": "sparse-24-bitmask"})", "but sparse matrices are not supported"},
      {"/transform_config", R"({"config_groups": {"R1": {}}})", "but transforms of activations are not supported"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(std::string(c.pointer) + " = " + c.value);
    Json section = CompressedTensors(Activations(/*dynamic=*/true));
    section[Json::json_pointer(c.pointer)] = Json::parse(c.value);
    EXPECT_THAT(SectionErrors(section), ElementsAre(HasSubstr(c.message)));
  }
}

TEST_F(QuantizationConfigTest, OtherFp8) {
  const auto section = [](Json more) {
    Json section = {{"quant_method", "fp8"}, {"activation_scheme", "static"}};
    section.update(more);
    return section;
  };
  EXPECT_EQ(ParseSection(section(Json::object())).groupOf("x")->activations, ActivationScheme::Static);
  EXPECT_EQ(ParseSection(section({{"activation_scheme", "dynamic"}, {"fmt", "e4m3"}})).groupOf("x")->activations,
            ActivationScheme::Dynamic);
  EXPECT_EQ(ParseSection(section({{"ignored_layers", {"lm_head"}}})).exclusionField, "ignored_layers");
  EXPECT_THAT(SectionErrors(section({{"activation_scheme", "tensor"}})),
              ElementsAre(HasSubstr("'activation_scheme' is \"tensor\", expected static or dynamic")));
  EXPECT_THAT(
      SectionErrors(section({{"weight_block_size", {128, 128}}})),
      ElementsAre(HasSubstr("'weight_block_size' is [128,128], but FP8 with scales for blocks of a matrix is not")));
  EXPECT_THAT(SectionErrors(section({{"fmt", "e5m2"}})),
              ElementsAre(HasSubstr("'fmt' is \"e5m2\", but an 8-bit float other than E4M3 is not supported")));
  EXPECT_THAT(SectionErrors(section({{"scale_fmt", "ue8m0"}})),
              ElementsAre(HasSubstr("'scale_fmt' is \"ue8m0\", but a scale of another type is not supported")));
  EXPECT_THAT(SectionErrors({{"quant_method", "modelopt"}, {"quant_algo", "FP8"}, {"pre_quant_scale", true}}),
              ElementsAre(HasSubstr("a scaling of activations by channel is not supported")));
}

TEST_F(QuantizationConfigTest, UnknownFieldsAreWarnings) {
  Json section = CompressedTensors(nullptr);
  section["config_groups"]["group_0"]["weights"]["rounding"] = "stochastic";
  section["something"] = 7;
  ParseSection(section);
  EXPECT_THAT(Take("warning"), ElementsAre(HasSubstr("field 'rounding' is not known"),
                                           HasSubstr("field 'something' is not known and has no effect")));
}

//===----------------------------------------------------------------------===//
// Report
//===----------------------------------------------------------------------===//

TEST(QuantizationReportTest, Text) {
  using Report = QuantizationReport;
  using runtime::DType;
  const auto matrix = [](const char* name, int64_t count, bool per_channel, ActivationScheme activations, bool lacks) {
    return Report::Matrix{name, count, DType::kF8E4M3, per_channel, activations, lacks};
  };
  Report report;
  EXPECT_EQ(report.text(), "");
  report.layers.push_back({3,
                           "mamba",
                           {matrix("in_proj", 1, false, ActivationScheme::Static, false),
                            {"out_proj", 1, DType::kBF16, false, ActivationScheme::None, false}},
                           {}});
  report.layers.push_back({4,
                           "moe",
                           {matrix("experts.up_proj", 128, true, ActivationScheme::Dynamic, true),
                            matrix("experts.down_proj", 128, true, ActivationScheme::Dynamic, false)},
                           {}});
  using Source = Report::Cache::Source;
  report.layers.push_back({5,
                           "attention",
                           {matrix("q_proj", 1, false, ActivationScheme::None, false)},
                           Report::Cache{Source::Checkpoint, 0.5f, 0.25f}});
  report.layers.push_back({6, "attention", {}, Report::Cache{Source::Default, 1.0f, 1.0f}});
  report.layers.push_back({7, "attention", {}, Report::Cache{Source::Option, 2.0f, 2.0f}});
  report.layers.push_back({8, "attention", {}, Report::Cache{Source::Unused, 2.0f, 3.0f}});
  report.layers.push_back({-1, "head", {{"lm_head", 1, DType::kF16, false, ActivationScheme::None, false}}, {}});
  EXPECT_EQ(report.text(),
            "layer 3 mamba: in_proj e4m3 weight_scale tensor, input_scale static; out_proj bf16\n"
            "layer 4 moe: experts.up_proj 128 x e4m3 weight_scale channel, input_scale missing, scaled by token; "
            "experts.down_proj 128 x e4m3 weight_scale channel, input_scale by token\n"
            "layer 5 attention: q_proj e4m3 weight_scale tensor, input not quantized; kv cache e4m3 k_scale 0.5, "
            "v_scale 0.25\n"
            "layer 6 attention: kv cache e4m3 k_scale and v_scale missing, defaulted to 1\n"
            "layer 7 attention: kv cache e4m3 k_scale and v_scale missing, 2 as asked for\n"
            "layer 8 attention: kv cache not e4m3, k_scale 2, v_scale 3 unused\n"
            "head: lm_head f16\n");
  report.layers.resize(1);
  report.dequantized = true;
  EXPECT_EQ(report.text(), "layer 3 mamba: in_proj e4m3 weight_scale tensor, dequantized; out_proj bf16\n");
}

}  // namespace
}  // namespace nemotron::frontends
