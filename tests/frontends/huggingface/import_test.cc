// Checkpoints become modules; tensors that do not fit become errors.
#include "dialects/Nemotron/IR/Nemotron.h"
#include "frontends/huggingface/RandomWeights.h"
#include "mlir/IR/Verifier.h"
#include "tests/frontends/huggingface/support.h"

namespace nemotron::frontends {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class ImportTest : public FrontendTest {
 protected:
  /// Imports the folder and prints the module.
  std::string Import(const std::string& path, const ImportOptions& options = {}) {
    auto model = importHuggingFace(&context_, path, options);
    if (failed(model)) {
      ADD_FAILURE() << "cannot import " << path;
      return "";
    }
    info_ = model->info;
    EXPECT_TRUE(succeeded(mlir::verify(*model->module)));
    // Every weight of the module can be read, with the type that the module says.
    (*model->module).walk([&](ir::WeightDeclOp weight) {
      const auto found = model->weights->lookup(weight.getSource());
      ASSERT_TRUE(found.has_value());
      EXPECT_EQ(weight.getType().getShape().vec(), found->shape);
      std::vector<std::byte> first(2);
      EXPECT_TRUE(model->weights->read(weight.getSource(), 0, first).ok());
    });
    return Print(*model->module);
  }

  std::vector<std::string> ImportErrors(const std::string& path) {
    EXPECT_TRUE(failed(importHuggingFace(&context_, path)));
    return TakeErrors();
  }

  /// Writes a random checkpoint of `config` in one file to `folder()/model` and returns its tensors.
  TensorMap WriteRandom(const Json& config) {
    auto parsed = Parse(config);
    EXPECT_TRUE(succeeded(parsed));
    path_ = (folder() / "model").string();
    const runtime::Status status = writeRandomCheckpoint(*parsed, path_, int64_t{1} << 40);
    EXPECT_TRUE(status.ok()) << status.message();
    return ReadTensors(path_ + "/model.safetensors");
  }
  void Rewrite(const TensorMap& tensors) { WriteTensors(path_ + "/model.safetensors", tensors); }

  std::string path_;
  ir::ModelInfo info_;
};

TEST_F(ImportTest, AllGoldens) {
  for (const char* name :
       {"nemotron-h-dense", "nemotron-h-moe", "nemotron-h-bias-tied", "nemotron-4", "nemotron-4-mha"}) {
    SCOPED_TRACE(name);
    for (const runtime::DType dtype : {runtime::DType::kBF16, runtime::DType::kF32}) {
      ImportOptions options;
      options.dtype = dtype;
      const std::string text = Import(GoldenPath(name), options);
      EXPECT_THAT(text, HasSubstr("func.func @step(%arg0: tensor<?xi32>, %arg1: !nemotron.batch) -> tensor<?x"));
      const char* cache = dtype == runtime::DType::kF32 ? "xf32>" : "xbf16>";
      for (const std::string& line : Lines(text, " kv_cache : ")) {
        EXPECT_THAT(line, HasSubstr(cache));
      }
      EXPECT_EQ(info_.name, name);
      EXPECT_THAT(info_.checkpointHash, ::testing::MatchesRegex("xxh3:[0-9a-f]+"));
      EXPECT_EQ(info_.tokenizerKind, "");
    }
  }
  EXPECT_THAT(TakeErrors(), IsEmpty());
}

TEST_F(ImportTest, MambaLayer) {
  const std::string text = Import(GoldenPath("nemotron-h-dense"));
  EXPECT_THAT(Lines(text, "nemotron.weight @layers.0.in_proj"),
              ElementsAre("nemotron.weight @layers.0.in_proj : tensor<648x128xbf16> from "
                          "\"backbone.layers.0.mixer.in_proj.weight\" {nemotron.layer = 0 : i64}"));
  EXPECT_THAT(Lines(text, "nemotron.state @layers.0."),
              ElementsAre("nemotron.state @layers.0.conv conv : tensor<3x384xf32> {nemotron.layer = 0 : i64}",
                          "nemotron.state @layers.0.ssm ssm : tensor<8x32x32xf32> {nemotron.layer = 0 : i64}"));
  EXPECT_THAT(Lines(text, "nemotron.split"), SizeIs(6));
  EXPECT_THAT(Lines(text, "nemotron.split").front(),
              HasSubstr("(tensor<?x648xf32>) -> (tensor<?x256xf32>, tensor<?x384xf32>, tensor<?x8xf32>)"));
  EXPECT_THAT(Lines(text, "nemotron.reshape"), SizeIs(3));
  EXPECT_THAT(Lines(text, "nemotron.reshape").front(), HasSubstr("tensor<384x1x4xf32> to tensor<384x4xf32>"));
  EXPECT_THAT(Lines(text, "nemotron.causal_conv1d").front(),
              HasSubstr("conv @layers.0.conv {nemotron.layer = 0 : i64}"));
  EXPECT_THAT(Lines(text, "nemotron.silu"), SizeIs(3));
  EXPECT_THAT(Lines(text, "nemotron.ssm_scan").front(), HasSubstr("ssm @layers.0.ssm"));
  EXPECT_THAT(Lines(text, "nemotron.ssm_skip"), SizeIs(3));
  EXPECT_THAT(Lines(text, "nemotron.gated_rms_norm"), SizeIs(3));
  EXPECT_THAT(Lines(text, "nemotron.rms_norm"), SizeIs(8));
  EXPECT_THAT(Lines(text, "nemotron.attention"), SizeIs(1));
  EXPECT_THAT(Lines(text, "nemotron.relu2"), SizeIs(3));
  EXPECT_THAT(Lines(text, "nemotron.add "), SizeIs(7));
  EXPECT_THAT(Lines(text, "nemotron.rotary_embedding"), IsEmpty());
  EXPECT_EQ(info_.layersBlockType, "M-M*-M-");
}

TEST_F(ImportTest, OpsCarryLocationAndLayer) {
  auto model = importHuggingFace(&context_, GoldenPath("nemotron-h-moe"));
  ASSERT_TRUE(succeeded(model));
  int num_linear = 0;
  (*model->module).walk([&](ir::LinearOp linear) {
    const auto name = mlir::dyn_cast<mlir::NameLoc>(linear.getLoc());
    ASSERT_TRUE(name);
    const auto layer = linear->getAttrOfType<mlir::IntegerAttr>("nemotron.layer");
    if (name.getName() == "lm_head") {
      EXPECT_FALSE(layer);
    } else {
      ASSERT_TRUE(layer);
      EXPECT_TRUE(name.getName().getValue().starts_with("layers." + std::to_string(layer.getInt()) + "."));
    }
    ++num_linear;
  });
  // Three mixers of two, attention of four, two shared experts of two, one MLP of two, the head.
  EXPECT_EQ(num_linear, 6 + 4 + 4 + 2 + 1);
}

TEST_F(ImportTest, Experts) {
  const std::string text = Import(GoldenPath("nemotron-h-moe"));
  EXPECT_THAT(Lines(text, "nemotron.stack"), SizeIs(4));
  EXPECT_THAT(Lines(text, "nemotron.stack").front(), HasSubstr("-> tensor<8x64x96xbf16>"));
  const auto route = Lines(text, "nemotron.moe_route");
  ASSERT_THAT(route, SizeIs(2));
  EXPECT_THAT(route.front(), HasSubstr("routed_scaling_factor = 2.5"));
  EXPECT_THAT(route.front(),
              HasSubstr("(tensor<?x96xf32>, tensor<8x96xf32>, tensor<8xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)"));
  EXPECT_THAT(Lines(text, "nemotron.moe_experts"), SizeIs(2));
}

TEST_F(ImportTest, LatentAndStackedExperts) {
  Json config = HybridConfig();
  config["hybrid_override_pattern"] = "EE";
  config["moe_latent_size"] = 16;
  TensorMap tensors = WriteRandom(config);
  const std::string split = Import(path_);
  EXPECT_THAT(Lines(split, "nemotron.moe_experts").front(),
              HasSubstr("tensor<4x24x16xbf16>, tensor<4x16x24xbf16>) -> tensor<?x16xf32>"));
  EXPECT_THAT(Lines(split, "@layers.0.fc1_latent_proj :").front(), HasSubstr("tensor<16x32xbf16>"));

  // The same with the experts of layer 1 stacked on disk.
  for (const char* name : {"up_proj", "down_proj"}) {
    OwnedTensor stacked;
    for (int e = 0; e < 4; ++e) {
      const std::string key = "backbone.layers.1.mixer.experts." + std::to_string(e) + "." + name + ".weight";
      const OwnedTensor& part = tensors.at(key);
      stacked.dtype = part.dtype;
      stacked.shape = {4, part.shape[0], part.shape[1]};
      stacked.data.insert(stacked.data.end(), part.data.begin(), part.data.end());
      tensors.erase(key);
    }
    tensors[std::string("backbone.layers.1.mixer.experts.") + name] = stacked;
  }
  Rewrite(tensors);
  const std::string text = Import(path_);
  EXPECT_THAT(Lines(text, "nemotron.stack"), SizeIs(2));
  EXPECT_THAT(Lines(text, "nemotron.weight @layers.1.experts.up_proj :"),
              ElementsAre(HasSubstr("tensor<4x24x16xbf16> from \"backbone.layers.1.mixer.experts.up_proj\"")));
}

TEST_F(ImportTest, ExpertsOfMixedTypes) {
  Json config = HybridConfig();
  config["hybrid_override_pattern"] = "E";
  TensorMap tensors = WriteRandom(config);
  tensors["backbone.layers.0.mixer.experts.2.up_proj.weight"] = ZeroTensor({24, 32}, runtime::DType::kF32);
  tensors["backbone.layers.0.mixer.gate.weight"] = ZeroTensor({4, 32}, runtime::DType::kF16);
  Rewrite(tensors);
  const std::string text = Import(path_);
  EXPECT_THAT(text, HasSubstr("tensor<24x32xf32> to tensor<24x32xbf16>"));
  EXPECT_THAT(text, HasSubstr("tensor<4x32xf16> to tensor<4x32xf32>"));
}

TEST_F(ImportTest, TensorsWinOverFlags) {
  // Says tied and attention_bias; has a head and no attention biases, but biases on the other projections.
  const std::string text = Import(GoldenPath("nemotron-h-bias-tied"));
  EXPECT_THAT(Lines(text, "nemotron.weight @lm_head"), SizeIs(1));
  EXPECT_THAT(Lines(text, "@layers.1.in_proj.bias :"), SizeIs(1));
  EXPECT_THAT(Lines(text, "@layers.0.q_proj.bias"), IsEmpty());
  EXPECT_THAT(Take(), IsEmpty());

  const std::string tied = Import(GoldenPath("nemotron-4-mha"));
  EXPECT_THAT(Lines(tied, "nemotron.weight @lm_head"), IsEmpty());
  EXPECT_THAT(Lines(tied, "@layers.0.o_proj.bias :"), SizeIs(1));
  EXPECT_THAT(Take("remark"), ElementsAre(HasSubstr("the embedding is also the output head")));
}

TEST_F(ImportTest, DenseLayer) {
  const std::string text = Import(GoldenPath("nemotron-4"));
  EXPECT_THAT(Lines(text, "nemotron.layer_norm"), SizeIs(9));
  EXPECT_THAT(Lines(text, "nemotron.layer_norm").front(), HasSubstr("unit_offset"));
  EXPECT_THAT(Lines(text, "nemotron.rotary_embedding"), SizeIs(8));
  EXPECT_THAT(Lines(text, "nemotron.rotary_embedding").front(), HasSubstr("rotary_dim = 8"));
  EXPECT_THAT(Lines(text, "nemotron.state @layers.3.kv"), ElementsAre(HasSubstr("kv_cache : tensor<2x2x16xbf16>")));
  EXPECT_EQ(info_.layersBlockType, "DDDD");
  EXPECT_EQ(info_.architecture, "NemotronForCausalLM");
}

TEST_F(ImportTest, TypesOfMatricesAndCache) {
  ImportOptions options;
  options.dtype = runtime::DType::kF32;
  options.kvCacheDtype = runtime::DType::kBF16;
  const std::string text = Import(GoldenPath("nemotron-4"), options);
  EXPECT_THAT(Lines(text, "nemotron.linear"), Not(IsEmpty()));
  for (const std::string& line : Lines(text, "nemotron.linear")) {
    EXPECT_THAT(line, Not(HasSubstr("bf16")));
  }
  EXPECT_THAT(Lines(text, "kv_cache").front(), HasSubstr("xbf16>"));
  options.dtype = runtime::DType::kI8;
  EXPECT_TRUE(failed(importHuggingFace(&context_, GoldenPath("nemotron-4"), options)));
  EXPECT_THAT(TakeErrors(), ElementsAre("error: matrices can be f32 or bf16, not i8"));
  options.dtype = runtime::DType::kBF16;
  options.kvCacheDtype = runtime::DType::kF16;
  EXPECT_TRUE(failed(importHuggingFace(&context_, GoldenPath("nemotron-4"), options)));
  EXPECT_THAT(TakeErrors(), ElementsAre("error: the KV cache can be f32, bf16 or f8e4m3, not f16"));
  options.kvCacheDtype.reset();
  options.ssmStateDtype = runtime::DType::kF8E4M3;
  EXPECT_TRUE(failed(importHuggingFace(&context_, GoldenPath("nemotron-4"), options)));
  EXPECT_THAT(TakeErrors(), ElementsAre("error: SSM states can be f32 or bf16, not f8e4m3"));
}

TEST_F(ImportTest, SsmStatesOfBf16) {
  ImportOptions options;
  options.ssmStateDtype = runtime::DType::kBF16;
  const std::string text = Import(GoldenPath("nemotron-h-dense"), options);
  EXPECT_THAT(Lines(text, " ssm : "), ::testing::Each(HasSubstr("tensor<8x32x32xbf16>")));
  EXPECT_THAT(Lines(text, " ssm : "), SizeIs(3));
  EXPECT_THAT(Lines(text, " conv : "), ::testing::Each(HasSubstr("xf32>")));
}

TEST_F(ImportTest, TimeStepLimitReachesTheScan) {
  Json config = HybridConfig();
  config["time_step_limit"] = {0.0, 0.5};
  WriteRandom(config);
  EXPECT_THAT(Lines(Import(path_), "nemotron.ssm_scan").front(), HasSubstr("dt_max = 5.000000e-01"));
}

TEST_F(ImportTest, WidthsOfAListByTensors) {
  Json config = HybridConfig();
  config["hybrid_override_pattern"] = "M-M-";
  config["intermediate_size"] = {8, 16, 24, 32};  // by layer: 16 and 32
  WriteRandom(config);
  EXPECT_THAT(Lines(Import(path_), "@layers.3.up_proj :").front(), HasSubstr("tensor<32x32xbf16>"));
  config["intermediate_size"] = {16, 32, 24, 32};  // by MLP
  WriteFile(path_ + "/config.json", config.dump());
  EXPECT_THAT(Lines(Import(path_), "@layers.1.up_proj :").front(), HasSubstr("tensor<16x32xbf16>"));
  config["intermediate_size"] = {16, 40, 24, 32};  // neither
  WriteFile(path_ + "/config.json", config.dump());
  EXPECT_THAT(ImportErrors(path_), Not(IsEmpty()));
}

TEST_F(ImportTest, VocabularyIsTheRowsOfTheEmbedding) {
  WriteRandom(HybridConfig());
  Json config = HybridConfig();
  config["vocab_size"] = 90;
  config["bos_token_id"] = 96;
  config["eos_token_id"] = {95, 200};
  WriteFile(path_ + "/config.json", config.dump());
  EXPECT_THAT(Import(path_), HasSubstr("-> tensor<?x96xf32>"));
  EXPECT_EQ(info_.vocabSize, 96);
  EXPECT_EQ(info_.bosTokenId, -1);
  EXPECT_THAT(info_.eosTokenIds, ElementsAre(95));
  EXPECT_THAT(Take(), ElementsAre(HasSubstr("has 96 rows, which counts; config.json says 'vocab_size' 90"),
                                  HasSubstr("bos token 96 is not among the 96 tokens"), HasSubstr("eos token 200")));
}

TEST_F(ImportTest, OtherPrefixes) {
  const TensorMap tensors = WriteRandom(HybridConfig());
  for (const std::string prefix : {"model.", "language_model.backbone.", "language_model.model."}) {
    SCOPED_TRACE(prefix);
    const bool wrapped = prefix.starts_with("language_model.");
    TensorMap renamed;
    for (const auto& [name, tensor] : tensors) {
      const bool in_body = name.starts_with("backbone.");
      renamed[in_body ? prefix + name.substr(9) : (wrapped ? "language_model." : "") + name] = tensor;
    }
    if (wrapped) {
      renamed["vision_model.patch.weight"] = ZeroTensor({4, 4});
    }
    Rewrite(renamed);
    EXPECT_THAT(Lines(Import(path_), "nemotron.weight"), SizeIs(tensors.size()));
    if (wrapped) {
      EXPECT_THAT(Take("remark"), ElementsAre(HasSubstr("1 tensors outside of the language model are not used")));
    }
  }
}

TEST_F(ImportTest, BareDenseModel) {
  Json config = DenseConfig();
  config["architectures"] = {"NemotronModel"};
  const TensorMap tensors = WriteRandom(config);
  TensorMap renamed;
  for (const auto& [name, tensor] : tensors) {
    if (name.starts_with("model.")) {
      renamed[name.substr(6)] = tensor;
    }
  }
  Rewrite(renamed);
  EXPECT_THAT(Lines(Import(path_), "weight @norm :"), ::testing::Contains(HasSubstr("from \"norm.weight\"")));
}

TEST_F(ImportTest, IgnoredTensors) {
  TensorMap tensors = WriteRandom(DenseConfig());
  tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = ZeroTensor({4}, runtime::DType::kF32);
  tensors["mtp.layers.0.norm.weight"] = ZeroTensor({32});
  Rewrite(tensors);
  Import(path_);
  EXPECT_THAT(Take("remark"), ::testing::UnorderedElementsAre(HasSubstr("for multi-token prediction are not used"),
                                                              HasSubstr("of rotary frequencies, which are computed")));
}

TEST_F(ImportTest, MissingSurplusAndMisshapenTensors) {
  TensorMap tensors = WriteRandom(HybridConfig());
  tensors.erase("backbone.layers.0.mixer.A_log");
  tensors.erase("backbone.layers.3.mixer.experts.2.down_proj.weight");
  tensors["backbone.layers.0.mixer.in_proj.weight"] = ZeroTensor({132, 24});
  tensors["backbone.layers.1.mixer.gate_proj.weight"] = ZeroTensor({48, 32});
  tensors["backbone.layers.2.mixer.q_proj.bias"] = ZeroTensor({63});
  tensors["backbone.layers.2.mixer.k_proj.weight"] = ZeroTensor({32, 32}, runtime::DType::kI8);
  tensors["backbone.layers.2.norm.weight"] = ZeroTensor({32}, runtime::DType::kU8);
  tensors["backbone.layers.4.norm.weight"] = ZeroTensor({32});
  tensors["backbone.layers.3.norm.weight"] = ZeroTensor({32, 1});
  Rewrite(tensors);
  EXPECT_THAT(ImportErrors(path_),
              ::testing::UnorderedElementsAre(
                  "error: 'backbone.layers.0.mixer.A_log' is missing, config.json asks for 4",
                  "error: 'backbone.layers.3.mixer.experts.2.down_proj.weight' is missing, config.json asks for 32x24",
                  "error: 'backbone.layers.0.mixer.in_proj.weight' is 132x24, but config.json asks for 132x32",
                  "error: 'backbone.layers.1.mixer.gate_proj.weight' (48x32) is not a tensor of the model that "
                  "config.json describes",
                  "error: 'backbone.layers.2.mixer.q_proj.bias' is 63, but config.json asks for 64",
                  "error: 'backbone.layers.2.mixer.k_proj.weight' is of i8, expected f32, bf16, f16 or f8e4m3",
                  "error: 'backbone.layers.2.norm.weight' is of u8, expected f32, bf16 or f16",
                  "error: 'backbone.layers.4.norm.weight' (32) is not a tensor of the model that config.json describes",
                  "error: 'backbone.layers.3.norm.weight' is 32x1, but config.json asks for 32"));
}

TEST_F(ImportTest, ErrorsNameFileAndTensor) {
  TensorMap tensors = WriteRandom(HybridConfig());
  tensors["lm_head.weight"] = ZeroTensor({95, 32});
  Rewrite(tensors);
  std::vector<std::string> locations;
  mlir::ScopedDiagnosticHandler handler(&context_, [&](mlir::Diagnostic& diagnostic) {
    llvm::raw_string_ostream(locations.emplace_back()) << diagnostic.getLocation();
  });
  EXPECT_TRUE(failed(importHuggingFace(&context_, path_)));
  EXPECT_THAT(locations, ElementsAre(AllOf(HasSubstr("lm_head.weight"), HasSubstr("/model.safetensors"))));
}

TEST_F(ImportTest, AnotherModelsWeights) {
  const std::string path = CopyGolden("nemotron-h-dense");
  std::filesystem::copy_file(GoldenPath("nemotron-4") + "/model.safetensors", path + "/model.safetensors",
                             std::filesystem::copy_options::overwrite_existing);
  const auto errors = ImportErrors(path);
  EXPECT_THAT(errors, SizeIs(21));
  EXPECT_THAT(errors.back(), HasSubstr("more errors in tensors"));
}

TEST_F(ImportTest, NotACheckpoint) {
  EXPECT_THAT(ImportErrors("no/such/folder"), ElementsAre(HasSubstr("is not a folder with a checkpoint")));
  EXPECT_THAT(ImportErrors(folder().string()), ElementsAre(HasSubstr("cannot be read")));
}

TEST_F(ImportTest, HashFollowsConfigAndHeaders) {
  WriteRandom(DenseConfig());
  Import(path_);
  const std::string hash = info_.checkpointHash;
  Import(path_);
  EXPECT_EQ(info_.checkpointHash, hash);
  EXPECT_THAT(hash, SizeIs(5 + 16));
  Json config = DenseConfig();
  config["norm_eps"] = 1e-6;
  WriteFile(path_ + "/config.json", config.dump());
  Import(path_);
  EXPECT_NE(info_.checkpointHash, hash);
}

TEST_F(ImportTest, LayersOfDifferentSizes) {
  Json config = HybridConfig();
  config.erase("hybrid_override_pattern");
  config["architectures"] = {"NemotronHPuzzleForCausalLM"};
  config["block_configs"] = Json::parse(R"([
    {"block_type": "mamba", "mamba_num_heads": 6, "n_groups": 1, "ssm_state_size": 24, "conv_kernel": 3},
    {"block_type": "mamba", "mamba_num_heads": 8, "mamba_head_dim": 10, "n_groups": 8},
    {"block_type": "attention", "num_key_value_heads": 1, "head_dim": 20},
    {"block_type": "mlp", "intermediate_size": 20},
    {"block_type": "moe", "n_routed_experts": 6, "num_experts_per_tok": 3, "moe_intermediate_size": 12},
    {"block_type": "moe", "moe_shared_expert_intermediate_size": 0}])");
  WriteRandom(config);
  const std::string text = Import(path_);
  EXPECT_THAT(Lines(text, "nemotron.state @"),
              ElementsAre(HasSubstr("@layers.0.conv conv : tensor<2x96xf32>"), HasSubstr("tensor<6x8x24xf32>"),
                          HasSubstr("@layers.1.conv conv : tensor<3x336xf32>"), HasSubstr("tensor<8x10x16xf32>"),
                          HasSubstr("@layers.2.kv kv_cache : tensor<2x1x20xbf16>")));
  EXPECT_THAT(Lines(text, "nemotron.moe_route").front(), HasSubstr("(tensor<?x3xi32>, tensor<?x3xf32>)"));
  EXPECT_THAT(Lines(text, "@layers.5.shared_experts"), IsEmpty());
  EXPECT_THAT(Lines(text, "nemotron.weight @embeddings"), ElementsAre(HasSubstr("from \"model.embeddings.weight\"")));
}

}  // namespace
}  // namespace nemotron::frontends
