//===- ModelFiles.cpp - tokenizer, chat template and generation defaults of a checkpoint --------------------------===//
#include "frontends/huggingface/ModelFiles.h"

#include "frontends/huggingface/ConfigReader.h"
#include "frontends/huggingface/Diagnostics.h"
#include "runtime/base/json.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace nemotron;
using namespace nemotron::frontends;

namespace {

/// Files of a folder by name.
class Folder {
public:
  Folder(MLIRContext *context, StringRef path) : context(context), path(path) {}

  std::string pathOf(StringRef name) const {
    llvm::SmallString<256> full(path);
    llvm::sys::path::append(full, name);
    return full.str().str();
  }

  /// The bytes of a file; nothing if it is not there, failure if it cannot be read.
  FailureOr<std::optional<std::string>> read(StringRef name) const {
    const std::string full = pathOf(name);
    if (!llvm::sys::fs::exists(full))
      return std::optional<std::string>();
    auto buffer = llvm::MemoryBuffer::getFile(full, /*IsText=*/false, /*RequiresNullTerminator=*/false);
    if (!buffer)
      return emitError(fileLocation(context, full)) << "cannot be read: " << buffer.getError().message();
    return std::optional<std::string>((*buffer)->getBuffer().str());
  }

  /// Calls `readFields` with the object in a JSON file; success if there is no such file.
  LogicalResult readObject(StringRef name, llvm::function_ref<void(ConfigReader &)> readFields) const {
    const auto text = read(name);
    if (failed(text) || !*text)
      return LogicalResult(text);
    const std::string full = pathOf(name);
    const runtime::StatusOr<Json> root = runtime::ParseJson(**text);
    if (!root.ok())
      return emitError(fileLocation(context, full)) << root.status().message();
    if (!root->is_object())
      return emitError(fileLocation(context, full)) << "is " << preview(*root) << ", expected a JSON object";
    ConfigReader reader(context, full, **text, *root);
    readFields(reader);
    return failure(reader.failed());
  }

  MLIRContext *context;
  StringRef path;
};

void readGeneration(ConfigReader &reader, ir::ModelInfo &info) {
  if (reader.find({"eos_token_id"}))
    info.eosTokenIds = reader.tokenIds("eos_token_id", -1);
  info.bosTokenId = reader.tokenId("bos_token_id", info.bosTokenId);
  info.padTokenId = reader.tokenId("pad_token_id", info.padTokenId);
  info.doSample = reader.flag({"do_sample"}, false);
  info.temperature = reader.number({"temperature"}, 1.0, 0.0, 1e4);
  info.topP = reader.number({"top_p"}, 1.0, 0.0, 1.0);
  info.minP = reader.number({"min_p"}, 0.0, 0.0, 1.0);
  info.topK = static_cast<int32_t>(reader.size({"top_k"}, 0, {0, INT32_MAX}));
  info.repetitionPenalty = reader.number({"repetition_penalty"}, 1.0, 1e-3, 1e3);
}

/// A template, or a list of named ones of which "default" is meant for chat.
void readChatTemplate(ConfigReader &reader, ir::ModelInfo &info) {
  const Json *value = reader.find({"chat_template"});
  if (!value)
    return;
  if (value->is_string()) {
    info.chatTemplate = value->get<std::string>();
    return;
  }
  if (value->is_array())
    for (const Json &entry : *value)
      if (entry.is_object() && entry.value("name", Json()) == Json("default") &&
          entry.value("template", Json()).is_string()) {
        info.chatTemplate = entry["template"].get<std::string>();
        return;
      }
  reader.error("chat_template") << "'chat_template' is " << preview(*value)
                                << ", expected a string or a list with one named 'default'";
}

/// The SentencePiece model of the folder: `tokenizer.model`, or the only `*.model`. Empty if there is none.
FailureOr<std::string> findSentencePiece(const Folder &folder) {
  SmallVector<std::string> models;
  std::error_code error;
  for (llvm::sys::fs::directory_iterator it(folder.path, error), end; it != end && !error; it.increment(error)) {
    const StringRef name = llvm::sys::path::filename(it->path());
    if (name == "tokenizer.model")
      return name.str();
    if (name.ends_with(".model"))
      models.push_back(name.str());
  }
  llvm::sort(models);
  if (models.size() > 1)
    return emitError(fileLocation(folder.context, folder.path))
           << "has several SentencePiece models (" << llvm::join(models, ", ") << ") and none is 'tokenizer.model'";
  return models.empty() ? std::string() : models.front();
}

LogicalResult readTokenizer(const Folder &folder, ir::ModelInfo &info) {
  auto json = folder.read("tokenizer.json");
  if (failed(json))
    return failure();
  if (*json) {
    info.tokenizerKind = "tokenizer.json";
    info.tokenizerData = std::move(**json);
    return success();
  }
  const auto model = findSentencePiece(folder);
  if (failed(model) || model->empty())
    return LogicalResult(model);
  auto data = folder.read(*model);
  if (failed(data) || !*data)
    return LogicalResult(data);
  info.tokenizerKind = "sentencepiece";
  info.tokenizerData = std::move(**data);
  return success();
}

} // namespace

LogicalResult nemotron::frontends::readModelFiles(MLIRContext *context, StringRef path, ir::ModelInfo &info) {
  const Folder folder(context, path);
  if (failed(readTokenizer(folder, info)) ||
      failed(folder.readObject("generation_config.json", [&](ConfigReader &reader) { readGeneration(reader, info); })))
    return failure();
  const auto readTokenizerConfig = [&](ConfigReader &reader) {
    readChatTemplate(reader, info);
    if (info.tokenizerKind != "sentencepiece")
      return; // tokenizer.json says itself what is added
    // Llama's class, which these files are read with, adds BOS unless told otherwise.
    const std::string tokenizerClass = reader.string({"tokenizer_class"}, "");
    info.addBos = reader.flag({"add_bos_token"}, StringRef(tokenizerClass).starts_with("LlamaTokenizer"));
    info.addEos = reader.flag({"add_eos_token"}, false);
  };
  if (failed(folder.readObject("tokenizer_config.json", readTokenizerConfig)))
    return failure();
  const auto chatTemplate = folder.read("chat_template.jinja");
  if (failed(chatTemplate))
    return failure();
  if (*chatTemplate)
    info.chatTemplate = **chatTemplate;
  return success();
}
