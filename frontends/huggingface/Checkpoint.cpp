//===- Checkpoint.cpp - tensors of a Hugging Face checkpoint folder -----------------------------------------------===//
#include "frontends/huggingface/Checkpoint.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <map>
#include <unistd.h>

#include "frontends/huggingface/Diagnostics.h"
#include "frontends/huggingface/Hash.h"
#include "runtime/base/json.h"
#include "runtime/base/safetensors.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace nemotron;
using namespace nemotron::frontends;
using runtime::Json;
using runtime::SafetensorsFile;

namespace {

std::string joinPath(StringRef folder, StringRef file) {
  llvm::SmallString<256> path(folder);
  llvm::sys::path::append(path, file);
  return path.str().str();
}

/// One safetensors file: its header, read through a mapping of which only those pages are touched, and a descriptor for
/// the data.
struct Shard {
  explicit Shard(SafetensorsFile file) : file(std::move(file)) {}
  Shard(const Shard &) = delete;
  ~Shard() {
    if (descriptor >= 0)
      ::close(descriptor);
  }

  SafetensorsFile file;
  int descriptor = -1;
};

class SafetensorsCheckpoint : public TensorSource {
public:
  runtime::StatusOr<Shard *> openShard(const std::string &path);
  void addTensor(Shard &shard, const runtime::SafetensorsEntry &entry) { tensors[entry.name] = {&shard, &entry}; }
  /// Call after the last `addTensor`.
  void finish();

  llvm::ArrayRef<std::string> names() const override { return sortedNames; }
  std::string fileOf(StringRef name) const override {
    auto it = tensors.find(name);
    return it == tensors.end() ? mainFile : it->second.shard->file.path();
  }
  std::string hash() const override { return hashText; }

  std::optional<Tensor> lookup(std::string_view source) const override {
    auto it = tensors.find(StringRef(source));
    if (it == tensors.end())
      return std::nullopt;
    return Tensor{it->second.entry->dtype, it->second.entry->shape};
  }

  runtime::Status read(std::string_view source, int64_t offset, std::span<std::byte> bytes) override;

  std::string mainFile; ///< the index or the only file

private:
  struct Place {
    Shard *shard;
    const runtime::SafetensorsEntry *entry;
  };
  std::vector<std::unique_ptr<Shard>> shards;
  llvm::StringMap<Place> tensors;
  std::vector<std::string> sortedNames;
  std::string hashText;
};

runtime::StatusOr<Shard *> SafetensorsCheckpoint::openShard(const std::string &path) {
  ASSIGN_OR_RETURN(SafetensorsFile file, SafetensorsFile::Open(path));
  auto shard = std::make_unique<Shard>(std::move(file));
  shard->descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (shard->descriptor < 0)
    return runtime::Error(runtime::StatusCode::kUnavailable, "cannot open '{}': {}", path, std::strerror(errno));
  // Tensors are read one after the other, mostly in the order of the file.
  ::posix_fadvise(shard->descriptor, 0, 0, POSIX_FADV_SEQUENTIAL);
  shards.push_back(std::move(shard));
  return shards.back().get();
}

void SafetensorsCheckpoint::finish() {
  for (const auto &entry : tensors)
    sortedNames.push_back(entry.getKey().str());
  llvm::sort(sortedNames);
  Hasher hasher;
  for (const auto &shard : shards)
    hasher.add(shard->file.header().json);
  hashText = hasher.finish();
}

runtime::Status SafetensorsCheckpoint::read(std::string_view source, int64_t offset, std::span<std::byte> bytes) {
  auto it = tensors.find(StringRef(source));
  if (it == tensors.end())
    return runtime::Error(runtime::StatusCode::kNotFound, "no tensor '{}' in '{}'", source, mainFile);
  const auto &[shard, entry] = it->second;
  const int64_t size = static_cast<int64_t>(bytes.size());
  if (offset < 0 || offset > entry->size_bytes || size > entry->size_bytes - offset)
    return runtime::InvalidArgument("bytes [{}, {}) of tensor '{}', which has {}", offset, offset + size, source,
                                    entry->size_bytes);
  for (int64_t done = 0; done < size;) {
    const ssize_t count =
        ::pread(shard->descriptor, bytes.data() + done, size - done, entry->offset_bytes + offset + done);
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return runtime::DataLoss("cannot read tensor '{}' in '{}': {}", source, shard->file.path(), std::strerror(errno));
    if (count == 0)
      return runtime::DataLoss("tensor '{}' ends early: '{}' was cut while it was read", source, shard->file.path());
    done += count;
  }
  return runtime::OkStatus();
}

/// The `weight_map` of an index: shard -> names of its tensors. Nothing after an error.
std::optional<std::map<std::string, std::vector<std::string>>> readIndex(MLIRContext *context,
                                                                         const std::string &path) {
  const Location location = fileLocation(context, path);
  const runtime::StatusOr<Json> index = runtime::ReadJsonFile(path);
  if (!index.ok()) {
    emitError(location) << index.status().message();
    return std::nullopt;
  }
  auto weightMap = index->is_object() ? index->find("weight_map") : index->end();
  if (!index->is_object() || weightMap == index->end() || !weightMap->is_object() || weightMap->empty()) {
    emitError(location) << "has no 'weight_map', an object from tensor to file";
    return std::nullopt;
  }
  std::map<std::string, std::vector<std::string>> files;
  for (const auto &[name, file] : weightMap->items()) {
    // A name only: an index may not reach out of its folder.
    const StringRef fileName = file.is_string() ? StringRef(file.get_ref<const std::string &>()) : StringRef();
    if (fileName.empty() || fileName.contains('/') || fileName.contains('\0') || fileName == "." || fileName == "..") {
      emitError(location) << "'" << name << "' is said to be in "
                          << file.dump(-1, ' ', true, Json::error_handler_t::replace)
                          << ", expected the name of a file";
      return std::nullopt;
    }
    files[fileName.str()].push_back(name);
  }
  return files;
}

/// Opens each shard that the index names and compares both.
LogicalResult openShards(MLIRContext *context, StringRef folder, SafetensorsCheckpoint &checkpoint) {
  const auto files = readIndex(context, checkpoint.mainFile);
  if (!files)
    return failure();
  CappedErrors errors(fileLocation(context, checkpoint.mainFile), "errors in the shards");
  for (const auto &[file, names] : *files) {
    const std::string path = joinPath(folder, file);
    runtime::StatusOr<Shard *> shard = checkpoint.openShard(path);
    if (!shard.ok()) {
      errors.add(fileLocation(context, path),
                 "shard '" + llvm::Twine(file) + "' of the index: " + shard.status().message());
      continue;
    }
    llvm::StringMap<bool> inIndex;
    for (const std::string &name : names) {
      inIndex[name] = true;
      if (const runtime::SafetensorsEntry *entry = (*shard)->file.Find(name))
        checkpoint.addTensor(**shard, *entry);
      else
        errors.add(fileLocation(context, path, name),
                   "'" + llvm::Twine(name) + "' is not in '" + file + "', where the index says it is");
    }
    for (const runtime::SafetensorsEntry &entry : (*shard)->file.header().entries) {
      if (inIndex.contains(entry.name))
        continue;
      // In the index as a tensor of another shard, or not at all.
      const bool isElsewhere =
          llvm::any_of(*files, [&](const auto &other) { return llvm::is_contained(other.second, entry.name); });
      errors.add(fileLocation(context, path, entry.name),
                 "'" + llvm::Twine(entry.name) + "' is in '" + file + "', but the index " +
                     (isElsewhere ? "says it is in another shard" : "does not have it"));
    }
  }
  return failure(errors.failed());
}

} // namespace

FailureOr<std::unique_ptr<TensorSource>> nemotron::frontends::openCheckpoint(MLIRContext *context, StringRef folder) {
  auto checkpoint = std::make_unique<SafetensorsCheckpoint>();
  const std::string single = joinPath(folder, "model.safetensors");
  const std::string index = joinPath(folder, "model.safetensors.index.json");
  if (llvm::sys::fs::exists(single)) {
    checkpoint->mainFile = single;
    runtime::StatusOr<Shard *> shard = checkpoint->openShard(single);
    if (!shard.ok())
      return emitError(fileLocation(context, single)) << shard.status().message();
    for (const runtime::SafetensorsEntry &entry : (*shard)->file.header().entries)
      checkpoint->addTensor(**shard, entry);
  } else if (llvm::sys::fs::exists(index)) {
    checkpoint->mainFile = index;
    if (failed(openShards(context, folder, *checkpoint)))
      return failure();
  } else {
    const bool isPickled = llvm::sys::fs::exists(joinPath(folder, "pytorch_model.bin")) ||
                           llvm::sys::fs::exists(joinPath(folder, "pytorch_model.bin.index.json"));
    return emitError(fileLocation(context, folder))
           << "has neither 'model.safetensors' nor 'model.safetensors.index.json'"
           << (isPickled ? "; files 'pytorch_model*.bin' are not read, convert them to safetensors" : "");
  }
  checkpoint->finish();
  return std::unique_ptr<TensorSource>(std::move(checkpoint));
}
