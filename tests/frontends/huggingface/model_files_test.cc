// Tokenizer, chat template and generation defaults.
#include "frontends/huggingface/ModelFiles.h"
#include "tests/frontends/huggingface/support.h"

namespace nemotron::frontends {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ModelFilesTest : public FrontendTest {
 protected:
  ir::ModelInfo Read() {
    ir::ModelInfo info;
    info.eosTokenIds = {2};
    info.bosTokenId = 1;
    EXPECT_TRUE(succeeded(readModelFiles(&context_, folder().string(), info)));
    return info;
  }
  std::vector<std::string> ReadErrors() {
    ir::ModelInfo info;
    EXPECT_TRUE(failed(readModelFiles(&context_, folder().string(), info)));
    return TakeErrors();
  }
  void Write(const char* name, const std::string& text) { WriteFile(folder() / name, text); }
};

TEST_F(ModelFilesTest, NothingThere) {
  const ir::ModelInfo info = Read();
  EXPECT_EQ(info.tokenizerKind, "");
  EXPECT_THAT(info.eosTokenIds, ElementsAre(2));
  EXPECT_FALSE(info.doSample);
}

TEST_F(ModelFilesTest, GenerationConfigWins) {
  Write(
      "generation_config.json",
      R"({"eos_token_id": [2, 11], "pad_token_id": 0, "do_sample": true, "temperature": 0.6, "top_p": 0.95, "top_k": 40,
            "min_p": 0.05, "repetition_penalty": 1.1})");
  const ir::ModelInfo info = Read();
  EXPECT_THAT(info.eosTokenIds, ElementsAre(2, 11));
  EXPECT_EQ(info.bosTokenId, 1);
  EXPECT_EQ(info.padTokenId, 0);
  EXPECT_TRUE(info.doSample);
  EXPECT_EQ(info.temperature, 0.6);
  EXPECT_EQ(info.topP, 0.95);
  EXPECT_EQ(info.topK, 40);
  EXPECT_EQ(info.minP, 0.05);
  EXPECT_EQ(info.repetitionPenalty, 1.1);
}

TEST_F(ModelFilesTest, BadGenerationConfig) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"temperature": -1})", "'temperature' is -1, expected 0 to 10000"},
      {R"({"top_p": 1.5})", "'top_p' is 1.5, expected 0 to 1"},
      {R"({"top_k": "many"})", "'top_k' is \"many\", expected an integer"},
      {R"({"do_sample": "yes"})", "'do_sample' is \"yes\", expected true or false"},
      {R"({"eos_token_id": -5})", "'eos_token_id' is -5, expected -1 to"},
      {R"([])", "expected a JSON object"},
      {R"({)", ""},
  };
  for (const auto& [text, message] : cases) {
    SCOPED_TRACE(text);
    Write("generation_config.json", text);
    EXPECT_THAT(ReadErrors(), ElementsAre(HasSubstr(message)));
  }
}

TEST_F(ModelFilesTest, TokenizerJson) {
  Write("tokenizer.json", "{\"model\": {}}");
  Write("tokenizer.model", "not read");
  Write("tokenizer_config.json", R"({"add_bos_token": true, "chat_template": "{{ messages }}"})");
  const ir::ModelInfo info = Read();
  EXPECT_EQ(info.tokenizerKind, "tokenizer.json");
  EXPECT_EQ(info.tokenizerData, "{\"model\": {}}");
  EXPECT_FALSE(info.addBos);  // the file's own post-processor decides
  EXPECT_EQ(info.chatTemplate, "{{ messages }}");
}

TEST_F(ModelFilesTest, SentencePiece) {
  const std::string model = ReadFile(NEMOTRON_TEST_DATA "/goldens/tokenizers/sentencepiece-bpe.model");
  Write("nemotron.model", model);
  EXPECT_EQ(Read().tokenizerKind, "sentencepiece");
  EXPECT_EQ(Read().tokenizerData, model);
  EXPECT_FALSE(Read().addBos);
  Write("tokenizer_config.json", R"({"tokenizer_class": "LlamaTokenizer"})");
  EXPECT_TRUE(Read().addBos);
  EXPECT_FALSE(Read().addEos);
  Write("tokenizer_config.json",
        R"({"tokenizer_class": "LlamaTokenizer", "add_bos_token": false, "add_eos_token": true})");
  EXPECT_FALSE(Read().addBos);
  EXPECT_TRUE(Read().addEos);
  Write("other.model", model);
  EXPECT_THAT(ReadErrors(), ElementsAre(HasSubstr("several SentencePiece models (nemotron.model, other.model)")));
  Write("tokenizer.model", "x");
  EXPECT_EQ(Read().tokenizerData, "x");
}

TEST_F(ModelFilesTest, ChatTemplates) {
  Write("tokenizer_config.json",
        R"({"chat_template": [{"name": "tool", "template": "T"}, {"name": "default", "template": "D"}]})");
  EXPECT_EQ(Read().chatTemplate, "D");
  Write("chat_template.jinja", "J");
  EXPECT_EQ(Read().chatTemplate, "J");
  Write("tokenizer_config.json", R"({"chat_template": [{"name": "tool", "template": "T"}]})");
  EXPECT_THAT(ReadErrors(), ElementsAre(HasSubstr("expected a string or a list with one named 'default'")));
}

TEST_F(ModelFilesTest, TinyModel) {
  auto model = importHuggingFace(&context_, NEMOTRON_TEST_DATA "/models/nemotron-h-tiny");
  ASSERT_TRUE(succeeded(model));
  EXPECT_EQ(model->info.name, "nemotron-h-tiny");
  EXPECT_EQ(model->info.tokenizerKind, "tokenizer.json");
  EXPECT_TRUE(model->info.doSample);
  EXPECT_EQ(model->info.topK, 40);
  EXPECT_EQ(model->info.layersBlockType, "M-M-M-M*-M-M-M*-M-");
  EXPECT_NEAR(model->info.numParameters, 5.84e6, 0.01e6);
}

}  // namespace
}  // namespace nemotron::frontends
