#include <algorithm>
#include <cmath>
#include <cstring>

#include "frontends/huggingface/RandomWeights.h"
#include "tests/frontends/huggingface/support.h"

namespace nemotron::frontends {
namespace {

class RandomWeightsTest : public FrontendTest {
 protected:
  void SetUp() override {
    auto config = Parse(HybridConfig());
    ASSERT_TRUE(succeeded(config));
    config_ = *config;
    source_ = makeRandomWeights(config_);
  }

  std::vector<std::byte> ReadAll(TensorSource& source, const std::string& name) {
    const auto tensor = source.lookup(name);
    EXPECT_TRUE(tensor.has_value()) << name;
    int64_t size = runtime::SizeOf(tensor->dtype);
    for (int64_t dim : tensor->shape) {
      size *= dim;
    }
    std::vector<std::byte> bytes(size);
    const runtime::Status status = source.read(name, 0, bytes);
    EXPECT_TRUE(status.ok()) << status.message();
    return bytes;
  }

  std::vector<float> ReadFloats(const std::string& name) {
    const std::vector<std::byte> bytes = ReadAll(*source_, name);
    std::vector<float> values;
    if (source_->lookup(name)->dtype == runtime::DType::kF32) {
      values.resize(bytes.size() / 4);
      std::memcpy(values.data(), bytes.data(), bytes.size());
      return values;
    }
    for (size_t i = 0; i < bytes.size(); i += 2) {
      uint16_t bits = 0;
      std::memcpy(&bits, bytes.data() + i, 2);
      values.push_back(runtime::BF16ToF32(bits));
    }
    return values;
  }

  ModelConfig config_;
  std::unique_ptr<TensorSource> source_;
};

TEST_F(RandomWeightsTest, Distributions) {
  const std::vector<float> matrix = ReadFloats("backbone.layers.0.mixer.in_proj.weight");
  double sum = 0, squares = 0;
  for (float x : matrix) {
    sum += x;
    squares += static_cast<double>(x) * x;
  }
  const double count = matrix.size();
  EXPECT_NEAR(sum / count, 0.0, 4 / std::sqrt(32 * count));
  EXPECT_NEAR(squares / count, 1.0 / 32, 0.1 / 32);
  for (float x : ReadFloats("backbone.layers.0.mixer.A_log")) {
    EXPECT_GE(x, 0.0f);
    EXPECT_LE(x, std::log(16.0f) + 1e-6f);
  }
  for (float x : ReadFloats("backbone.layers.0.mixer.dt_bias")) {
    const double dt = std::log1p(std::exp(x));
    EXPECT_GE(dt, 0.00099);
    EXPECT_LE(dt, 0.101);
  }
  EXPECT_THAT(ReadFloats("backbone.layers.1.norm.weight"), ::testing::Each(1.0f));
  EXPECT_THAT(ReadFloats("backbone.layers.0.mixer.D"), ::testing::Each(1.0f));
  EXPECT_THAT(ReadFloats("backbone.layers.3.mixer.gate.e_score_correction_bias"), ::testing::Each(0.0f));
  const std::vector<float> other = ReadFloats("backbone.layers.0.mixer.out_proj.weight");
  EXPECT_FALSE(std::equal(other.begin(), other.begin() + 32, matrix.begin()));

  auto dense = Parse(DenseConfig());
  source_ = makeRandomWeights(*dense);
  EXPECT_THAT(ReadFloats("model.layers.1.input_layernorm.weight"), ::testing::Each(0.0f));
}

TEST_F(RandomWeightsTest, AnyRangeOfATensor) {
  for (const std::string name : {"backbone.layers.0.mixer.in_proj.weight", "backbone.layers.0.mixer.A_log"}) {
    const std::vector<std::byte> whole = ReadAll(*source_, name);
    const int64_t size = whole.size();
    for (int64_t offset : {int64_t{0}, int64_t{1}, int64_t{2}, int64_t{7}, size / 2 + 1, size - 1, size}) {
      for (int64_t length : {int64_t{0}, int64_t{1}, int64_t{3}, int64_t{8}, int64_t{8191}, size - offset}) {
        if (offset + length > size) {
          continue;
        }
        std::vector<std::byte> part(length);
        // Another tensor in between must not matter.
        ReadAll(*source_, "backbone.layers.0.mixer.D");
        ASSERT_TRUE(source_->read(name, offset, part).ok());
        EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + offset))
            << name << " " << offset << " " << length;
      }
    }
  }
}

TEST_F(RandomWeightsTest, SeedAndNameDecide) {
  auto again = makeRandomWeights(config_), other = makeRandomWeights(config_, 1);
  const std::string name = "backbone.embeddings.weight";
  EXPECT_EQ(ReadAll(*again, name), ReadAll(*source_, name));
  EXPECT_NE(ReadAll(*other, name), ReadAll(*source_, name));
  EXPECT_EQ(again->hash(), source_->hash());
  EXPECT_NE(other->hash(), source_->hash());
}

TEST_F(RandomWeightsTest, BadReads) {
  std::vector<std::byte> bytes(8);
  EXPECT_EQ(source_->read("no.such", 0, bytes).message(), "no tensor 'no.such' among the random weights");
  EXPECT_THAT(source_->read("backbone.layers.0.mixer.D", 12, bytes).message(),
              ::testing::HasSubstr("bytes [12, 20) of tensor 'backbone.layers.0.mixer.D', which has 16"));
  EXPECT_FALSE(source_->read("backbone.layers.0.mixer.D", -1, bytes).ok());
}

TEST_F(RandomWeightsTest, WrittenCheckpointIsTheSame) {
  for (const int64_t shard_bytes : {int64_t{1} << 40, int64_t{10000}}) {
    const std::filesystem::path path = folder() / std::to_string(shard_bytes);
    const runtime::Status status = writeRandomCheckpoint(config_, path.string(), shard_bytes);
    ASSERT_TRUE(status.ok()) << status.message();
    EXPECT_EQ(std::filesystem::exists(path / "model.safetensors"), shard_bytes > 10000);
    EXPECT_EQ(std::filesystem::exists(path / "model.safetensors.index.json"), shard_bytes == 10000);
    auto file = openCheckpoint(&context_, path.string());
    ASSERT_TRUE(succeeded(file));
    EXPECT_EQ((*file)->names().vec(), source_->names().vec());
    for (const std::string& name : source_->names()) {
      EXPECT_EQ(ReadAll(**file, name), ReadAll(*source_, name)) << name;
    }
    EXPECT_TRUE(succeeded(importHuggingFace(&context_, path.string())));
  }
  EXPECT_EQ(writeRandomCheckpoint(config_, "/proc/no/folder", 1000).code(), runtime::StatusCode::kUnavailable);
}

TEST_F(RandomWeightsTest, FlagsOfTheConfig) {
  Json config = HybridConfig();
  config["use_bias"] = true;
  config["mlp_bias"] = true;
  config["attention_bias"] = true;
  config["use_conv_bias"] = false;
  config["moe_latent_size"] = 16;
  auto parsed = Parse(config);
  auto source = makeRandomWeights(*parsed);
  EXPECT_TRUE(source->lookup("backbone.layers.0.mixer.in_proj.bias"));
  EXPECT_FALSE(source->lookup("backbone.layers.0.mixer.conv1d.bias"));
  EXPECT_TRUE(source->lookup("backbone.layers.1.mixer.down_proj.bias"));
  EXPECT_TRUE(source->lookup("backbone.layers.2.mixer.q_proj.bias"));
  EXPECT_TRUE(source->lookup("backbone.layers.3.mixer.fc2_latent_proj.bias"));
  EXPECT_TRUE(source->lookup("lm_head.weight"));
  config = DenseConfig();
  config["tie_word_embeddings"] = true;
  EXPECT_FALSE(makeRandomWeights(*Parse(config))->lookup("lm_head.weight"));
}

}  // namespace
}  // namespace nemotron::frontends
