// config.json: each name of each field, and each message.
#include "tests/frontends/huggingface/support.h"

namespace nemotron::frontends {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using ConfigTest = FrontendTest;

/// `config` with the key `from` renamed.
Json Renamed(Json config, const std::string& from, const std::string& to) {
  config[to] = config.at(from);
  config.erase(from);
  return config;
}

TEST_F(ConfigTest, HybridFields) {
  const NemotronHConfig config = ParseHybrid(HybridConfig());
  EXPECT_EQ(config.architecture, "NemotronHForCausalLM");
  EXPECT_EQ(layersBlockType(config), "M-*E");
  EXPECT_EQ(config.vocabSize, 96);
  EXPECT_EQ(config.hiddenSize, 32);
  EXPECT_EQ(config.bosTokenId, 1);
  EXPECT_EQ(config.padTokenId, 0);
  EXPECT_THAT(config.eosTokenIds, ElementsAre(2));
  const auto& mamba = std::get<MambaSizes>(config.layers[0]);
  EXPECT_EQ(mamba.innerSize(), 32);
  EXPECT_EQ(mamba.convChannels(), 32 + 2 * 2 * 16);
  EXPECT_EQ(mamba.inProjSize(), 2 * 32 + 2 * 2 * 16 + 4);
  EXPECT_EQ(std::get<MlpSizes>(config.layers[1]).intermediateSize, 48);
  EXPECT_EQ(std::get<AttentionSizes>(config.layers[2]).keySize(), 32);
  const auto& moe = std::get<MoeSizes>(config.layers[3]);
  EXPECT_EQ(moe.latentSize, 0);
  EXPECT_EQ(moe.sharedIntermediateSize, 40);
  EXPECT_TRUE(moe.normTopkProb);
  EXPECT_THAT(Take(), IsEmpty());
}

TEST_F(ConfigTest, HybridAliases) {
  const std::pair<const char*, const char*> aliases[] = {
      {"head_dim", "attention_head_dim"},        {"n_groups", "mamba_n_groups"},
      {"ssm_state_size", "mamba_d_state"},       {"conv_kernel", "mamba_d_conv"},
      {"n_routed_experts", "num_local_experts"}, {"layer_norm_epsilon", "norm_eps"},
      {"layer_norm_epsilon", "rms_norm_eps"},    {"hybrid_override_pattern", "hybrid_layer_pattern"},
      {"intermediate_size", "ffn_hidden_size"},
  };
  Json base = HybridConfig();
  base["layer_norm_epsilon"] = 3e-6;
  base["conv_kernel"] = 3;
  base["n_groups"] = 4;
  base["n_routed_experts"] = 6;
  for (const auto& [name, alias] : aliases) {
    SCOPED_TRACE(alias);
    const NemotronHConfig config = ParseHybrid(Renamed(base, name, alias));
    EXPECT_EQ(layersBlockType(config), "M-*E");
    EXPECT_EQ(config.normEps, 3e-6);
    const auto& mamba = std::get<MambaSizes>(config.layers[0]);
    EXPECT_EQ(mamba.convKernel, 3);
    EXPECT_EQ(mamba.nGroups, 4);
    EXPECT_EQ(mamba.stateSize, 16);
    EXPECT_EQ(std::get<MlpSizes>(config.layers[1]).intermediateSize, 48);
    EXPECT_EQ(std::get<AttentionSizes>(config.layers[2]).headDim, 16);
    EXPECT_EQ(std::get<MoeSizes>(config.layers[3]).nRoutedExperts, 6);
    EXPECT_THAT(Take(), IsEmpty());
  }
  Json no_conv_bias = HybridConfig();
  no_conv_bias["mamba_conv_bias"] = false;
  EXPECT_FALSE(ParseHybrid(no_conv_bias).useConvBias);
}

TEST_F(ConfigTest, DenseAliasesAndDefaults) {
  Json base = DenseConfig();
  base["norm_eps"] = 1e-6;
  base["partial_rotary_factor"] = 0.25;
  const std::pair<const char*, const char*> aliases[] = {
      {"norm_eps", "layer_norm_eps"},
      {"norm_eps", "layer_norm_epsilon"},
      {"norm_eps", "norm_epsilon"},
      {"partial_rotary_factor", "rope_percent"},
      {"partial_rotary_factor", "rope_percentage"},
      {"head_dim", "kv_channels"},
      {"intermediate_size", "ffn_hidden_size"},
  };
  for (const auto& [name, alias] : aliases) {
    SCOPED_TRACE(alias);
    const NemotronConfig config = ParseDense(Renamed(base, name, alias));
    EXPECT_EQ(config.normEps, 1e-6);
    EXPECT_EQ(config.rotaryDim, 4);
    EXPECT_EQ(config.attention.headDim, 16);
    EXPECT_EQ(config.intermediateSize, 48);
    EXPECT_EQ(config.ropeTheta, 10000.0);
    EXPECT_THAT(config.eosTokenIds, ElementsAre(3));
    EXPECT_THAT(Take(), IsEmpty());
  }
  // Both names of one thing, with one value.
  base["rope_percentage"] = 0.25;
  EXPECT_EQ(ParseDense(base).rotaryDim, 4);

  base = DenseConfig();
  base.erase("head_dim");
  base.erase("partial_rotary_factor");
  base["num_key_value_heads"] = nullptr;
  const NemotronConfig mha = ParseDense(base);
  EXPECT_EQ(mha.attention.headDim, 8);
  EXPECT_EQ(mha.attention.numKvHeads, 4);
  EXPECT_EQ(mha.rotaryDim, 4);
}

TEST_F(ConfigTest, RopeParametersOfTransformers5) {
  Json config = DenseConfig();
  config.erase("partial_rotary_factor");
  config["rope_parameters"] = {
      {"rope_type", "linear"}, {"factor", 4.0}, {"rope_theta", 5e5}, {"partial_rotary_factor", 1.0}};
  const NemotronConfig parsed = ParseDense(config);
  EXPECT_EQ(parsed.rotaryDim, 16);
  EXPECT_EQ(parsed.ropeTheta, 5e5);
  EXPECT_EQ(parsed.positionScale, 0.25);

  config = DenseConfig();
  config["rope_scaling"] = {{"type", "linear"}, {"factor", 2}};
  EXPECT_EQ(ParseDense(config).positionScale, 0.5);
  config["rope_scaling"] = nullptr;
  EXPECT_EQ(ParseDense(config).positionScale, 1.0);
  config["partial_rotary_factor"] = 0;
  EXPECT_EQ(ParseDense(config).rotaryDim, 0);
}

TEST_F(ConfigTest, ScheduleSpellings) {
  Json config = HybridConfig();
  config["hybrid_override_pattern"] = "M|-*|E/*E/*E";
  EXPECT_EQ(layersBlockType(ParseHybrid(config)), "M-*E");
  EXPECT_THAT(Take(), IsEmpty());

  for (const char* field : {"layers_block_type", "layer_types"}) {
    config = HybridConfig();
    config.erase("hybrid_override_pattern");
    config[field] = {"mamba", "linear_attention", "attention", "full_attention", "mlp", "moe"};
    EXPECT_EQ(layersBlockType(ParseHybrid(config)), "MM**-E");
  }
  config["hybrid_override_pattern"] = "MM";
  EXPECT_EQ(layersBlockType(ParseHybrid(config)), "MM**-E");
  EXPECT_THAT(Take(), ElementsAre(HasSubstr("'hybrid_override_pattern' differs from 'layer_types', which counts")));
}

TEST_F(ConfigTest, TimeStepLimitSpellings) {
  const double infinity = std::numeric_limits<double>::infinity();
  const std::pair<const char*, double> cases[] = {
      {"[0.0, Infinity]", infinity},
      {"[0, 1e+308]", infinity},
      {"[0, {\"__float__\": \"Infinity\"}]", infinity},
      {"[0, 1e999]", infinity},
      {"[0, 1e30]", 1e30},
      {"[0, \"inf\"]", infinity},
      {"null", infinity},
      {"[0.001, 0.1]", 0.1},
  };
  for (const auto& [text, upper] : cases) {
    SCOPED_TRACE(text);
    for (const char* name : {"time_step_limit", "mamba_dt_limit"}) {
      std::string config = HybridConfig().dump();
      config.insert(1, "\"" + std::string(name) + "\": " + text + ", ");
      auto parsed = parseConfig(&context_, "config.json", config);
      ASSERT_TRUE(succeeded(parsed));
      EXPECT_EQ(std::get<NemotronHConfig>(*parsed).dtMax, upper);
    }
  }
}

TEST_F(ConfigTest, IntermediateSizeLists) {
  Json config = HybridConfig();
  config["hybrid_override_pattern"] = "M-M-";
  config["intermediate_size"] = {40};
  EXPECT_EQ(std::get<MlpSizes>(ParseHybrid(config).layers[3]).intermediateSize, 40);
  config["intermediate_size"] = {40, 56};
  EXPECT_EQ(std::get<MlpSizes>(ParseHybrid(config).layers[1]).intermediateSize, 40);
  EXPECT_EQ(std::get<MlpSizes>(ParseHybrid(config).layers[3]).intermediateSize, 56);
  config["intermediate_size"] = {0, 40, nullptr, 56};
  EXPECT_EQ(std::get<MlpSizes>(ParseHybrid(config).layers[1]).intermediateSize, 40);
  EXPECT_EQ(std::get<MlpSizes>(ParseHybrid(config).layers[3]).intermediateSize, 56);
  config["intermediate_size"] = {8, 16, 24, 32};
  const NemotronHConfig both = ParseHybrid(config);
  EXPECT_EQ(std::get<MlpSizes>(both.layers[1]).intermediateSize, 16);
  EXPECT_EQ(std::get<MlpSizes>(both.layers[1]).otherIntermediateSize, 8);
  EXPECT_EQ(std::get<MlpSizes>(both.layers[3]).otherIntermediateSize, 16);
  // A config without MLP may say anything.
  config["hybrid_override_pattern"] = "M*";
  config["intermediate_size"] = Json::array();
  EXPECT_EQ(ParseHybrid(config).layers.size(), 2u);
}

TEST_F(ConfigTest, PuzzleBlockConfigs) {
  Json config = HybridConfig();
  config.erase("hybrid_override_pattern");
  config["architectures"] = {"NemotronHPuzzleForCausalLM"};
  config["model_type"] = "nemotron_h_puzzle";
  config["moe_latent_size"] = 16;
  config["block_configs"] = Json::parse(R"([
    {"block_type": "mamba", "mamba_num_heads": 8},
    {"block_type": "moe", "n_routed_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 12},
    {"block_type": "attention", "num_key_value_heads": 1},
    {"block_type": "moe", "n_routed_experts": null}, {"block_type": "mlp", "intermediate_size": 20}])");
  config["mtp_block_configs"] = Json::array();
  const NemotronHConfig parsed = ParseHybrid(config);
  EXPECT_EQ(layersBlockType(parsed), "ME*E-");
  EXPECT_EQ(std::get<MambaSizes>(parsed.layers[0]).numHeads, 8);
  const auto &first = std::get<MoeSizes>(parsed.layers[1]), &second = std::get<MoeSizes>(parsed.layers[3]);
  EXPECT_EQ(first.nRoutedExperts, 8);
  EXPECT_EQ(first.numExpertsPerTok, 3);
  EXPECT_EQ(first.intermediateSize, 12);
  EXPECT_EQ(first.latentSize, 16);
  EXPECT_EQ(second.nRoutedExperts, 4);
  EXPECT_EQ(second.intermediateSize, 24);
  EXPECT_EQ(std::get<AttentionSizes>(parsed.layers[2]).numKvHeads, 1);
  EXPECT_EQ(std::get<MlpSizes>(parsed.layers[4]).intermediateSize, 20);
  EXPECT_THAT(Take(), IsEmpty());
}

TEST_F(ConfigTest, TokenIds) {
  Json config = HybridConfig();
  config["eos_token_id"] = {2, 11, 2};
  config["bos_token_id"] = nullptr;
  config["pad_token_id"] = -1;
  const NemotronHConfig parsed = ParseHybrid(config);
  EXPECT_THAT(parsed.eosTokenIds, ElementsAre(2, 11));
  EXPECT_EQ(parsed.bosTokenId, -1);
  EXPECT_EQ(parsed.padTokenId, -1);
}

TEST_F(ConfigTest, FamilyFromEitherField) {
  Json config = HybridConfig();
  config.erase("architectures");
  EXPECT_EQ(ParseHybrid(config).architecture, "NemotronHForCausalLM");
  config = DenseConfig();
  config.erase("model_type");
  EXPECT_EQ(ParseDense(config).architecture, "NemotronForCausalLM");
  config = DenseConfig();
  config["architectures"] = {"NemotronModel"};
  EXPECT_EQ(ParseDense(config).architecture, "NemotronModel");
}

TEST_F(ConfigTest, LanguageModelOfMultimodalConfig) {
  const Json config = {
      {"architectures", {"NemotronH_Nano_VL_V2"}}, {"model_type", "x"}, {"llm_config", HybridConfig()}};
  EXPECT_EQ(ParseHybrid(config).vocabSize, 96);
  EXPECT_THAT(Take(), ElementsAre(HasSubstr("only the language model is compiled")));
}

TEST_F(ConfigTest, ErrorsNameTheLine) {
  const std::string text = "{\n \"model_type\": \"nemotron\",\n \"hidden_size\": -3\n}";
  EXPECT_TRUE(failed(parseConfig(&context_, "config.json", text)));
  EXPECT_THAT(TakeErrors(), ElementsAre("error: line 3: 'hidden_size' is -3, expected 1 to 1048576"));
}

TEST_F(ConfigTest, AllErrorsAtOnce) {
  Json config = DenseConfig();
  config["hidden_act"] = "gelu";
  config["norm_eps"] = "small";
  config["num_key_value_heads"] = 3;
  EXPECT_TRUE(failed(Parse(config)));
  EXPECT_EQ(TakeErrors().size(), 3u);
}

TEST_F(ConfigTest, UnknownFieldsAreWarnings) {
  Json config = DenseConfig();
  config["flux_capacitor"] = 88;
  config["unused"] = nullptr;
  ParseDense(config);
  EXPECT_THAT(Take(), ElementsAre(AllOf(HasSubstr("warning"), HasSubstr("field 'flux_capacitor' is not known"))));
}

struct BadField {
  const char* field;
  const char* value;    // JSON; "absent" erases the field
  const char* message;  // a part of the only error
};

class BadConfigTest : public FrontendTest {
 protected:
  void Check(Json config, const BadField& bad) {
    SCOPED_TRACE(std::string(bad.field) + " = " + bad.value);
    if (std::string(bad.value) == "absent") {
      config.erase(bad.field);
    } else {
      config[bad.field] = Json::parse(bad.value);
    }
    EXPECT_TRUE(failed(Parse(config)));
    EXPECT_THAT(TakeErrors(), ElementsAre(HasSubstr(bad.message)));
  }
};

TEST_F(BadConfigTest, Hybrid) {
  const BadField cases[] = {
      {"architectures", R"(["LlamaForCausalLM"])",
       "architecture 'LlamaForCausalLM' with model_type 'nemotron_h' is not supported"},
      {"architectures", R"(["LlamaForCausalLM"])", "Llama-Nemotron and Llama-3.1-Minitron are Llama models"},
      {"architectures", R"(["DeciLMForCausalLM"])", "Llama-Nemotron"},
      {"architectures", R"(["MistralForCausalLM"])", "Mistral-NeMo-Minitron is a Mistral model"},
      {"architectures", R"(["Qwen2ForCausalLM"])", "are Qwen models"},
      {"architectures", R"(["GPT2LMHeadModel"])", "supported are NemotronHForCausalLM (nemotron_h), "},
      {"architectures", R"("NemotronHForCausalLM")", "expected a list of one name"},
      {"model_type", R"("llama")", "with model_type 'llama' is not supported"},
      {"hybrid_override_pattern", R"("M-X")", "has the letter 'X', expected M, *, - or E"},
      {"hybrid_override_pattern", R"("|")", "has no layers"},
      {"hybrid_override_pattern", R"("")", "has no layers"},
      {"hybrid_override_pattern", R"(7)", "'hybrid_override_pattern' is 7, expected a string"},
      {"hybrid_override_pattern", "absent", "has neither 'layers_block_type' nor 'hybrid_override_pattern'"},
      {"layers_block_type", R"(["mamba", "hyena"])", "entry 1 of 'layers_block_type' is \"hyena\", expected mamba"},
      {"layers_block_type", R"([])", "expected a list of block types"},
      {"num_hidden_layers", "5", "'num_hidden_layers' is 5, but 'hybrid_override_pattern' has 4 layers"},
      {"vocab_size", "0", "'vocab_size' is 0, expected 1 to 16777216"},
      {"hidden_size", "-32", "'hidden_size' is -32, expected 1 to"},
      {"hidden_size", "99999999999999999999", "'hidden_size' is "},
      {"hidden_size", "32.5", "'hidden_size' is 32.5, expected an integer"},
      {"hidden_size", "true", "'hidden_size' is true, expected an integer"},
      {"intermediate_size", "[1, 2, 3]",
       "'intermediate_size' has 3 entries, expected 1, 1 (one an MLP) or 4 (one a layer)"},
      {"intermediate_size", "[48, 0, 48, 48]", "'intermediate_size' is 0, expected 1 to"},
      {"num_key_value_heads", "3", "'num_key_value_heads' is 3, which does not divide 'num_attention_heads', 4"},
      {"num_key_value_heads", "8", "'num_key_value_heads' is 8, more than 'num_attention_heads', 4"},
      {"n_groups", "3", "'n_groups' is 3, which does not divide 'mamba_num_heads', 4"},
      {"mamba_n_groups", "4", "'mamba_n_groups' is 4, but 'n_groups', which means the same, is 2"},
      {"conv_kernel", "1", "'conv_kernel' is 1, expected 2 to 64"},
      {"num_experts_per_tok", "5", "'num_experts_per_tok' is 5, but 4 of the 4 experts can be chosen"},
      {"n_group", "3", "'n_group' is 3, which does not divide 'n_routed_experts', 4"},
      {"n_group", "4", "leaves fewer than two experts a group"},
      {"topk_group", "2", "'topk_group' is 2, more than 'n_group', 1"},
      {"routed_scaling_factor", "0", "'routed_scaling_factor' is 0, expected"},
      {"norm_topk_prob", "1", "'norm_topk_prob' is 1, expected true or false"},
      {"layer_norm_epsilon", "0", "'layer_norm_epsilon' is 0, expected"},
      {"mlp_hidden_act", R"("silu")",
       "'mlp_hidden_act' is \"silu\", but another activation is not supported; supported: relu2"},
      {"mamba_hidden_act", R"("gelu")", "'mamba_hidden_act' is \"gelu\""},
      {"sliding_window", "4096", "'sliding_window' is 4096, but attention in a sliding window is not supported"},
      {"quantization_config", R"({"quant_method": "awq"})",
       "'quant_method' is \"awq\", expected modelopt, compressed-tensors or fp8"},
      {"quantization_config", "7", "'quantization_config' is 7, expected an object"},
      {"attn_logit_softcapping", "30.0", "but a soft cap on logits is not supported"},
      {"scoring_func", R"("softmax")", "but another routing function is not supported"},
      {"position_embedding_type", R"("rope")", "but a position embedding is not supported"},
      {"time_step_limit", "[0.1, 0.01]", "expected 0 <= lower < upper"},
      {"time_step_limit", "[-1, 1]", "expected 0 <= lower < upper"},
      {"time_step_limit", "[0]", "expected a list of two numbers"},
      {"time_step_limit", R"([0, "much"])", "expected a number"},
      {"eos_token_id", R"([2, "x"])", "'eos_token_id' is \"x\", expected an integer"},
      {"block_configs", R"([{}])", "'block_configs' has 1 entries, expected one for each of 4 layers"},
      {"block_configs", R"([{"n_groups": 8}, {}, {}, {}])", "'n_groups' is 8, which does not divide"},
  };
  for (const BadField& bad : cases) {
    Check(HybridConfig(), bad);
  }
}

TEST_F(BadConfigTest, Dense) {
  const BadField cases[] = {
      {"hidden_act", R"("gelu")",
       "'hidden_act' is \"gelu\", but another activation is not supported; supported: relu2"},
      {"normalization", R"("rmsnorm")", "but another norm is not supported; supported: layernorm1p"},
      {"rope_scaling", R"({"type": "yarn", "factor": 4.0})",
       "rope scaling of type 'yarn' is not supported; supported: default, linear"},
      {"rope_scaling", R"("linear")", "'rope_scaling' is \"linear\", expected an object"},
      {"rope_scaling", R"({"type": "linear", "factor": 0})", "'factor' is 0, expected"},
      {"rope_parameters", R"({"rope_type": "llama3"})", "rope scaling of type 'llama3' is not supported"},
      {"rope_parameters", R"([1])", "'rope_parameters' is [1], expected an object"},
      {"partial_rotary_factor", "1.5", "'partial_rotary_factor' is 1.5, expected 0 to 1"},
      {"partial_rotary_factor", "0.07", "times head dim 16 is 1, expected an even number"},
      {"rope_percent", "0.75", "'rope_percent' is 0.75, but 'partial_rotary_factor', which means the same, is 0.5"},
      {"rope_theta", "-1", "'rope_theta' is -1, expected"},
      {"num_hidden_layers", "0", "'num_hidden_layers' is 0, expected 1 to 4096"},
      {"num_hidden_layers", "1000000", "'num_hidden_layers' is 1000000, expected 1 to 4096"},
      {"sliding_window", "128", "attention in a sliding window is not supported"},
      {"qk_layernorm", "true", "a norm of queries and keys is not supported"},
      {"logit_scale", "0.5", "a scaling of activations is not supported"},
      {"parallel_attn", "true", "attention beside the MLP is not supported"},
      {"tie_word_embeddings", R"("no")", "'tie_word_embeddings' is \"no\", expected true or false"},
  };
  for (const BadField& bad : cases) {
    Check(DenseConfig(), bad);
  }
  Json config = DenseConfig();
  config.erase("head_dim");
  config["num_attention_heads"] = 3;
  config["num_key_value_heads"] = 3;
  config["partial_rotary_factor"] = 1.0;
  EXPECT_TRUE(failed(Parse(config)));
  EXPECT_THAT(TakeErrors(),
              ElementsAre(HasSubstr("'num_attention_heads' is 3, which does not divide 'hidden_size', 32")));
}

TEST_F(BadConfigTest, HugeProducts) {
  Json config = HybridConfig();
  config["mamba_num_heads"] = 65536;
  config["mamba_head_dim"] = 16384;
  EXPECT_TRUE(failed(Parse(config)));
  EXPECT_THAT(TakeErrors(), ElementsAre(HasSubstr("the width of in_proj")));
  config = HybridConfig();
  config["hybrid_override_pattern"] = std::string(4096, 'E');
  config["n_routed_experts"] = 65536;
  EXPECT_TRUE(failed(Parse(config)));
  EXPECT_THAT(TakeErrors(), ElementsAre(HasSubstr("experts in all, expected at most 262144")));
  config = DenseConfig();
  config["hidden_size"] = 1 << 20;
  config["intermediate_size"] = 1 << 22;
  config["num_hidden_layers"] = 4096;
  EXPECT_TRUE(failed(Parse(config)));
  EXPECT_THAT(TakeErrors(), ElementsAre(HasSubstr("asks for more than 1125899906842624 parameters")));
}

TEST_F(BadConfigTest, NotAConfig) {
  const std::pair<const char*, const char*> cases[] = {{"", ""},
                                                       {"{", ""},
                                                       {"[1]", "expected a JSON object"},
                                                       {"{}", "is not supported; supported are"},
                                                       {"{\"a\": 1, \"a\": 2}", ""}};
  for (const auto& [text, message] : cases) {
    SCOPED_TRACE(text);
    EXPECT_TRUE(failed(parseConfig(&context_, "config.json", text)));
    EXPECT_THAT(TakeErrors(), ElementsAre(HasSubstr(message)));
  }
  EXPECT_TRUE(failed(loadConfig(&context_, "no/such/config.json")));
  EXPECT_THAT(TakeErrors(), ElementsAre(HasSubstr("cannot be read: ")));
}

// Every cut of a config and every changed byte gives a config or an error, never a crash.
TEST_F(BadConfigTest, DamagedText) {
  const std::string text = HybridConfig().dump();
  for (size_t length = 0; length < text.size(); ++length) {
    (void)parseConfig(&context_, "config.json", text.substr(0, length));
  }
  for (size_t at = 0; at < text.size(); ++at) {
    for (char c : {'0', '9', '"', '[', 'x', '\xff'}) {
      std::string changed = text;
      changed[at] = c;
      (void)parseConfig(&context_, "config.json", changed);
    }
  }
  Take();
}

}  // namespace
}  // namespace nemotron::frontends
