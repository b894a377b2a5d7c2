// Files of a checkpoint: whole, sharded, damaged.
#include "frontends/huggingface/Checkpoint.h"

#include "tests/frontends/huggingface/support.h"

namespace nemotron::frontends {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class CheckpointTest : public FrontendTest {
 protected:
  /// A copy of the golden in three shards, and its index.
  void CopySharded() {
    path_ = CopyGolden("nemotron-h-bias-tied");
    index_ = Json::parse(ReadFile(path_ / "model.safetensors.index.json"));
  }
  void WriteIndex() { WriteFile(path_ / "model.safetensors.index.json", index_.dump()); }
  Json& WeightMap() { return index_["weight_map"]; }

  std::vector<std::string> OpenErrors() {
    EXPECT_TRUE(failed(openCheckpoint(&context_, path_.string())));
    return TakeErrors();
  }

  std::filesystem::path path_;
  Json index_;
};

constexpr const char* kNorm = "backbone.norm_f.weight";

TEST_F(CheckpointTest, ReadsAnyRange) {
  for (const char* name : {"nemotron-4", "nemotron-h-bias-tied"}) {
    auto source = openCheckpoint(&context_, GoldenPath(name));
    ASSERT_TRUE(succeeded(source));
    for (const std::string& tensor : (*source)->names()) {
      auto file = runtime::SafetensorsFile::Open((*source)->fileOf(tensor));
      ASSERT_TRUE(file.ok());
      const auto* entry = file->Find(tensor);
      ASSERT_NE(entry, nullptr);
      const auto data = file->Data(*entry);
      const auto found = (*source)->lookup(tensor);
      EXPECT_EQ(found->dtype, entry->dtype);
      EXPECT_EQ(found->shape, entry->shape);
      std::vector<std::byte> bytes(data.size() - 5);
      ASSERT_TRUE((*source)->read(tensor, 3, bytes).ok());
      EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), data.begin() + 3));
      (*source)->release(tensor);
    }
    std::vector<std::byte> byte(1);
    EXPECT_THAT((*source)->read("nobody", 0, byte).message(), HasSubstr("no tensor 'nobody' in "));
    EXPECT_FALSE((*source)->lookup("nobody"));
    const std::string& first = (*source)->names().front();
    EXPECT_THAT((*source)->read(first, int64_t{1} << 60, byte).message(), HasSubstr("of tensor '" + first + "'"));
    EXPECT_FALSE((*source)->read(first, -1, byte).ok());
    EXPECT_THAT((*source)->hash(), ::testing::MatchesRegex("xxh3:[0-9a-f]+"));
  }
}

TEST_F(CheckpointTest, FileCutWhileOpen) {
  path_ = CopyGolden("nemotron-4");
  auto source = openCheckpoint(&context_, path_.string());
  ASSERT_TRUE(succeeded(source));
  std::filesystem::resize_file(path_ / "model.safetensors", 20000);
  std::vector<std::byte> bytes(512 * 128 * 2);
  const runtime::Status status = (*source)->read("model.embed_tokens.weight", 0, bytes);
  EXPECT_EQ(status.code(), runtime::StatusCode::kDataLoss);
  EXPECT_THAT(status.message(), HasSubstr("was cut while it was read"));
}

TEST_F(CheckpointTest, NoWeights) {
  path_ = folder();
  EXPECT_THAT(OpenErrors(), ElementsAre(HasSubstr("has neither 'model.safetensors' nor")));
  WriteFile(path_ / "pytorch_model.bin", "x");
  EXPECT_THAT(OpenErrors(), ElementsAre(HasSubstr("convert them to safetensors")));
}

TEST_F(CheckpointTest, DamagedFile) {
  path_ = CopyGolden("nemotron-4");
  std::filesystem::resize_file(path_ / "model.safetensors", 20000);
  EXPECT_THAT(OpenErrors(), ElementsAre(HasSubstr("model.safetensors")));
  WriteFile(path_ / "model.safetensors", "");
  EXPECT_THAT(OpenErrors(), ElementsAre(HasSubstr("model.safetensors")));
}

TEST_F(CheckpointTest, IndexNamesMissingFile) {
  CopySharded();
  std::filesystem::remove(path_ / "model-00002-of-00003.safetensors");
  EXPECT_THAT(OpenErrors(), ElementsAre(HasSubstr("shard 'model-00002-of-00003.safetensors' of the index: ")));
}

TEST_F(CheckpointTest, ShardIsTruncated) {
  CopySharded();
  std::filesystem::resize_file(path_ / "model-00003-of-00003.safetensors", 100);
  EXPECT_THAT(OpenErrors(), ElementsAre(HasSubstr("model-00003-of-00003.safetensors")));
}

TEST_F(CheckpointTest, TensorIsNotInItsShard) {
  CopySharded();
  const std::string right = WeightMap()[kNorm];
  const std::string wrong = right == "model-00001-of-00003.safetensors" ? "model-00002-of-00003.safetensors"
                                                                        : "model-00001-of-00003.safetensors";
  WeightMap()[kNorm] = wrong;
  WriteIndex();
  EXPECT_THAT(OpenErrors(),
              ::testing::UnorderedElementsAre(
                  HasSubstr(std::string("'") + kNorm + "' is not in '" + wrong + "', where the index says it is"),
                  HasSubstr("is in '" + right + "', but the index says it is in another shard")));
}

TEST_F(CheckpointTest, TensorInTwoShards) {
  CopySharded();
  const std::string right = WeightMap()[kNorm];
  const std::string other = right == "model-00001-of-00003.safetensors" ? "model-00002-of-00003.safetensors"
                                                                        : "model-00001-of-00003.safetensors";
  TensorMap tensors = ReadTensors(path_ / other);
  tensors[kNorm] = ZeroTensor({64}, runtime::DType::kF32);
  WriteTensors(path_ / other, tensors);
  EXPECT_THAT(OpenErrors(), ElementsAre(HasSubstr("is in '" + other + "', but the index says it is in another shard")));
}

TEST_F(CheckpointTest, IndexLacksTensor) {
  CopySharded();
  WeightMap().erase(kNorm);
  WriteIndex();
  EXPECT_THAT(OpenErrors(), ElementsAre(HasSubstr("but the index does not have it")));
}

TEST_F(CheckpointTest, IndexHasUnknownTensor) {
  CopySharded();
  WeightMap()["nobody"] = WeightMap()[kNorm];
  WriteIndex();
  EXPECT_THAT(OpenErrors(), ElementsAre(HasSubstr("'nobody' is not in ")));
}

TEST_F(CheckpointTest, IndexReachesOutOfTheFolder) {
  for (const char* file : {"\"../model.safetensors\"", "\"/etc/passwd\"", "\"\"", "\"..\"", "7", "null"}) {
    SCOPED_TRACE(file);
    path_ = folder() / "x";
    std::filesystem::create_directories(path_);
    WriteFile(path_ / "model.safetensors.index.json", std::string(R"({"weight_map": {"a": )") + file + "}}");
    EXPECT_THAT(OpenErrors(), ElementsAre(HasSubstr("expected the name of a file")));
  }
}

TEST_F(CheckpointTest, NotAnIndex) {
  path_ = folder();
  for (const char* text : {"{}", "[]", "7", R"({"weight_map": []})", R"({"weight_map": {}})"}) {
    WriteFile(path_ / "model.safetensors.index.json", text);
    EXPECT_THAT(OpenErrors(), ElementsAre(HasSubstr("has no 'weight_map'")));
  }
  WriteFile(path_ / "model.safetensors.index.json", "{");
  EXPECT_THAT(OpenErrors(), SizeIs(1));
}

// A long list of errors ends with how many more there are.
TEST_F(CheckpointTest, ManyErrorsAreCapped) {
  CopySharded();
  for (int i = 0; i < 50; ++i) {
    WeightMap()["nobody." + std::to_string(i)] = WeightMap()[kNorm];
  }
  WriteIndex();
  const auto errors = OpenErrors();
  EXPECT_THAT(errors, SizeIs(21));
  EXPECT_EQ(errors.back(), "error: 30 more errors in the shards");
}

}  // namespace
}  // namespace nemotron::frontends
