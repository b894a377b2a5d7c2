//===- RandomCheckpoint.cpp - writes a checkpoint with random weights ---------------------------------------------===//
#include <vector>

#include <fmt/format.h>

#include "frontends/huggingface/Manifest.h"
#include "frontends/huggingface/RandomWeights.h"
#include "runtime/base/file_writer.h"
#include "runtime/base/json.h"
#include "runtime/base/safetensors.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace nemotron;
using namespace nemotron::frontends;
using llvm::StringRef;
using runtime::Status;

namespace {

struct ShardPlan {
  std::vector<runtime::SafetensorsTensor> tensors; ///< without data
  int64_t sizeBytes = 0;
};

int64_t sizeOf(const runtime::SafetensorsTensor &tensor) {
  int64_t size = runtime::SizeOf(tensor.dtype);
  for (int64_t dim : tensor.shape)
    size *= dim;
  return size;
}

/// Fills shards with tensors in the order of the config, as transformers does.
std::vector<ShardPlan> planShards(const ModelConfig &config, const TensorSource &source, int64_t shardBytes) {
  std::vector<ShardPlan> shards(1);
  for (const TensorSpec &spec : listExpectedTensors(config)) {
    const auto found = *source.lookup(spec.name);
    runtime::SafetensorsTensor tensor{spec.name, found.dtype, found.shape, {}};
    const int64_t size = sizeOf(tensor);
    if (shards.back().sizeBytes > 0 && shards.back().sizeBytes + size > shardBytes)
      shards.emplace_back();
    shards.back().sizeBytes += size;
    shards.back().tensors.push_back(std::move(tensor));
  }
  return shards;
}

Status writeShard(const std::string &path, const ShardPlan &shard, TensorSource &source, std::span<std::byte> buffer) {
  ASSIGN_OR_RETURN(runtime::FileWriter writer, runtime::FileWriter::Create(path));
  const std::string header = runtime::SafetensorsHeaderBytes(shard.tensors);
  RETURN_IF_ERROR(writer.Append(std::as_bytes(std::span(header))));
  for (const runtime::SafetensorsTensor &tensor : shard.tensors) {
    const int64_t size = sizeOf(tensor);
    for (int64_t offset = 0; offset < size;) {
      const auto part = buffer.first(std::min<int64_t>(buffer.size(), size - offset));
      RETURN_IF_ERROR(source.read(tensor.name, offset, part));
      RETURN_IF_ERROR(writer.Append(part));
      offset += static_cast<int64_t>(part.size());
    }
  }
  return writer.Commit();
}

} // namespace

Status nemotron::frontends::writeRandomCheckpoint(const ModelConfig &config, StringRef folder, int64_t shardBytes,
                                                  uint64_t seed) {
  if (std::error_code error = llvm::sys::fs::create_directories(folder))
    return runtime::Error(runtime::StatusCode::kUnavailable, "cannot make the folder '{}': {}", folder.str(),
                          error.message());
  const auto pathOf = [&](StringRef name) {
    llvm::SmallString<256> path(folder);
    llvm::sys::path::append(path, name);
    return path.str().str();
  };
  const std::unique_ptr<TensorSource> source = makeRandomWeights(config, seed);
  const std::vector<ShardPlan> shards = planShards(config, *source, shardBytes);
  std::vector<std::byte> buffer(size_t{4} << 20);
  RETURN_IF_ERROR(runtime::WriteTextFile(pathOf("config.json"), common(config).text));
  if (shards.size() == 1)
    return writeShard(pathOf("model.safetensors"), shards.front(), *source, buffer);

  runtime::Json weightMap = runtime::Json::object();
  int64_t totalSize = 0;
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string file = fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    RETURN_IF_ERROR(writeShard(pathOf(file), shards[i], *source, buffer));
    for (const runtime::SafetensorsTensor &tensor : shards[i].tensors)
      weightMap[tensor.name] = file;
    totalSize += shards[i].sizeBytes;
  }
  const runtime::Json index = {{"metadata", {{"total_size", totalSize}}}, {"weight_map", std::move(weightMap)}};
  return runtime::WriteTextFile(pathOf("model.safetensors.index.json"), index.dump(2));
}
