// The published models: what a config alone says about tensors and parameters.
#include <algorithm>

#include "frontends/huggingface/Manifest.h"
#include "tests/frontends/huggingface/support.h"

namespace nemotron::frontends {
namespace {

constexpr const char* k8B = "M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M-";
constexpr const char* k56B =
    "M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-"
    "M-M-M-";
constexpr const char* k9B = "M-M-M-MM-M-M-M*-M-M-M*-M-M-M-M*-M-M-M-M*-M-MM-M-M-M-M-M-";
constexpr const char* k4B = "M-M-M-MM-M-M*-M-M*-M-M-M*-M-M-MM*-MMM-M-M-";
constexpr const char* k30B = "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME";
constexpr const char* kSuper =
    "MEMEMEM*EMEMEMEM*EMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*EMEMEMEM*EMEMEMEME";
constexpr const char* kUltra =
    "MEMEMEM*EMEMEM*EMEMEMEM*EMEMEMEM*EMEMEM*EMEMEMEM*EMEMEMEM*EMEMEM*EMEMEMEM*EMEMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME";

Json Dense(int layers, int hidden, int intermediate, int heads, int kv_heads, int head_dim) {
  return {{"model_type", "nemotron"},     {"num_hidden_layers", layers},
          {"hidden_size", hidden},        {"intermediate_size", intermediate},
          {"num_attention_heads", heads}, {"num_key_value_heads", kv_heads},
          {"head_dim", head_dim},         {"vocab_size", 256000}};
}

Json Hybrid(const char* pattern, int hidden, int heads, int kv_heads, int mamba_heads, int mamba_head_dim, int state) {
  return {{"model_type", "nemotron_h"},
          {"hybrid_override_pattern", pattern},
          {"hidden_size", hidden},
          {"num_attention_heads", heads},
          {"num_key_value_heads", kv_heads},
          {"head_dim", 128},
          {"mamba_num_heads", mamba_heads},
          {"mamba_head_dim", mamba_head_dim},
          {"ssm_state_size", state},
          {"n_groups", 8},
          {"vocab_size", 131072}};
}

Json With(Json config, Json more) {
  config.update(more);
  return config;
}

class FamiliesTest : public FrontendTest {
 protected:
  void Check(const Json& config, int64_t num_parameters, int64_t num_tensors = 0) {
    auto parsed = Parse(config);
    ASSERT_TRUE(succeeded(parsed));
    const std::vector<TensorSpec> specs = listExpectedTensors(*parsed);
    int64_t sum = 0;
    for (const TensorSpec& spec : specs) {
      sum += spec.numElements();
    }
    EXPECT_EQ(sum, num_parameters);
    if (num_tensors > 0) {
      EXPECT_EQ(static_cast<int64_t>(specs.size()), num_tensors);
    }
  }

  int64_t InProjSize(const Json& config) { return std::get<MambaSizes>(ParseHybrid(config).layers[0]).inProjSize(); }
};

TEST_F(FamiliesTest, DenseParameters) {
  Check(Dense(32, 4096, 16384, 32, 32, 128), 8'540'135'424);    // Nemotron-3 8B
  Check(Dense(40, 6144, 24576, 48, 48, 128), 21'266'116'608);   // Nemotron-3 22B
  Check(Dense(32, 6144, 24576, 48, 8, 128), 15'628'775'424);    // Nemotron-4 15B
  Check(Dense(96, 18432, 73728, 96, 8, 192), 341'029'195'776);  // Nemotron-4 340B
  Check(Dense(32, 3072, 9216, 24, 8, 128), 4'190'509'056);      // Minitron-4B, Nemotron-Mini-4B
  Check(Dense(32, 4096, 16384, 48, 8, 128), 8'271'699'968);     // Minitron-8B: heads * head_dim is not hidden_size
}

TEST_F(FamiliesTest, HybridParameters) {
  // Nemotron 3 Nano 4B.
  Check(With(Hybrid(k4B, 3136, 40, 8, 96, 80, 128), {{"intermediate_size", 12544}}), 3'973'556'832, 263);
  // Nemotron 3 Nano 30B-A3B; Lightning's 6513 tensors are 270 more, of its multi-token prediction.
  const Json nano = {{"n_routed_experts", 128},
                     {"num_experts_per_tok", 6},
                     {"moe_intermediate_size", 1856},
                     {"moe_shared_expert_intermediate_size", 3712}};
  Check(With(Hybrid(k30B, 2688, 32, 2, 64, 64, 128), nano), 31'577'940'288, 6513 - 270);
  // Super; 42683 tensors with 1040 of multi-token prediction.
  const Json super_moe = {{"n_routed_experts", 512},
                          {"num_experts_per_tok", 22},
                          {"moe_intermediate_size", 2688},
                          {"moe_latent_size", 1024},
                          {"moe_shared_expert_intermediate_size", 5376}};
  Check(With(Hybrid(kSuper, 4096, 32, 2, 128, 64, 128), super_moe), 120'668'707'840, 42'683 - 1040);
  const Json ultra_moe = {{"n_routed_experts", 512},
                          {"num_experts_per_tok", 22},
                          {"moe_intermediate_size", 5120},
                          {"moe_latent_size", 2048},
                          {"moe_shared_expert_intermediate_size", 10240}};
  Check(With(Hybrid(kUltra, 8192, 64, 2, 256, 64, 128), ultra_moe), 549'308'993'536);
}

TEST_F(FamiliesTest, InProjectionRows) {
  EXPECT_EQ(InProjSize(Hybrid(k8B, 4096, 32, 8, 128, 64, 128)), 18560);
  EXPECT_EQ(InProjSize(Hybrid(k8B, 3072, 32, 8, 112, 64, 128)), 16496);
  EXPECT_EQ(InProjSize(Hybrid(k56B, 8192, 64, 8, 256, 64, 256)), 37120);
  EXPECT_EQ(InProjSize(Hybrid(k9B, 4480, 40, 8, 128, 80, 128)), 22656);
  EXPECT_EQ(InProjSize(Hybrid(k4B, 3136, 40, 8, 96, 80, 128)), 17504);
  EXPECT_EQ(InProjSize(Hybrid(k30B, 2688, 32, 2, 64, 64, 128)), 10304);
  EXPECT_EQ(InProjSize(Hybrid(kUltra, 8192, 64, 2, 256, 64, 128)), 35072);
}

TEST_F(FamiliesTest, Schedules) {
  const auto count = [](const std::string& letters, char c) { return std::count(letters.begin(), letters.end(), c); };
  const std::string super_letters = layersBlockType(ParseHybrid(Hybrid(kSuper, 4096, 32, 2, 128, 64, 128)));
  EXPECT_EQ(super_letters.size(), 88u);
  EXPECT_EQ(count(super_letters, 'M'), 40);
  EXPECT_EQ(count(super_letters, 'E'), 40);
  EXPECT_EQ(count(super_letters, '*'), 8);
  const std::string nine = layersBlockType(ParseHybrid(Hybrid(k9B, 4480, 40, 8, 128, 80, 128)));
  EXPECT_EQ(nine.size(), 56u);
  EXPECT_EQ(count(nine, 'M'), 27);
  EXPECT_EQ(count(nine, '-'), 25);
}

// The largest of them becomes a module; weights are only names there.
TEST_F(FamiliesTest, ImportsSuper) {
  const Json config = With(Hybrid(kSuper, 4096, 32, 2, 128, 64, 128), {{"n_routed_experts", 512},
                                                                       {"num_experts_per_tok", 22},
                                                                       {"moe_intermediate_size", 2688},
                                                                       {"moe_latent_size", 1024},
                                                                       {"moe_shared_expert_intermediate_size", 5376}});
  WriteFile(folder() / "config.json", config.dump());
  auto model = importRandomWeights(&context_, (folder() / "config.json").string());
  ASSERT_TRUE(succeeded(model));
  EXPECT_EQ(model->info.numParameters, 120'668'707'840);
}

TEST_F(FamiliesTest, ImportsBenchmarkShapes) {
  const std::pair<const char*, double> shapes[] = {{"h05", 0.425e9}, {"d05", 0.493e9}, {"h8", 8.1e9}};
  for (const auto& [name, num_parameters] : shapes) {
    SCOPED_TRACE(name);
    auto model = importRandomWeights(&context_, std::string(NEMOTRON_BENCH_CONFIGS "/") + name + ".json");
    ASSERT_TRUE(succeeded(model));
    EXPECT_NEAR(model->info.numParameters, num_parameters, 0.01 * num_parameters);
  }
}

}  // namespace
}  // namespace nemotron::frontends
