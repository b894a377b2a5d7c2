#include "runtime/base/safetensors.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "runtime/base/file_writer.h"
#include "runtime/base/json.h"

namespace nemotron::runtime {
namespace {

// The reference implementation refuses larger headers too.
constexpr uint64_t kMaxHeaderBytes = 100'000'000;

constexpr std::pair<std::string_view, DType> kDTypes[] = {
    {"F32", DType::kF32}, {"BF16", DType::kBF16}, {"F16", DType::kF16}, {"F8_E4M3", DType::kF8E4M3},
    {"I8", DType::kI8},   {"U8", DType::kU8},     {"I32", DType::kI32}, {"I64", DType::kI64}};

constexpr uint64_t kMaxTensorBytes = uint64_t{1} << 62;

/// Nothing if it exceeds kMaxTensorBytes. Dimensions are not negative.
std::optional<uint64_t> SizeBytes(DType dtype, const std::vector<int64_t>& shape) {
  uint64_t size = SizeOf(dtype);
  for (const int64_t dim : shape) {
    if (__builtin_mul_overflow(size, static_cast<uint64_t>(dim), &size) || size > kMaxTensorBytes) {
      return std::nullopt;
    }
  }
  return size;
}

std::optional<std::vector<uint64_t>> Unsigned(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_array()) {
    return std::nullopt;
  }
  std::vector<uint64_t> values;
  for (const Json& value : *found) {
    if (!value.is_number_unsigned()) {
      return std::nullopt;
    }
    values.push_back(value.get<uint64_t>());
  }
  return values;
}

StatusOr<SafetensorsEntry> ParseEntry(const std::string& name, const Json& info, uint64_t data_start,
                                      uint64_t data_size) {
  if (!info.is_object()) {
    return DataLoss("tensor '{}' is described by {}, expected an object", name, info.type_name());
  }
  const auto found = info.find("dtype");
  if (found == info.end() || !found->is_string()) {
    return DataLoss("tensor '{}' has no 'dtype' that is a string", name);
  }
  const std::string& dtype_name = found->get_ref<const std::string&>();
  const auto* dtype =
      std::find_if(std::begin(kDTypes), std::end(kDTypes), [&](auto& d) { return d.first == dtype_name; });
  if (dtype == std::end(kDTypes)) {
    return Unimplemented("tensor '{}' has dtype '{}', expected one of F32, BF16, F16, F8_E4M3, I8, U8, I32, I64", name,
                         dtype_name);
  }
  const auto shape = Unsigned(info, "shape"), offsets = Unsigned(info, "data_offsets");
  if (!shape) {
    return DataLoss("tensor '{}' has no 'shape' of non-negative integers", name);
  }
  if (!offsets || offsets->size() != 2) {
    return DataLoss("tensor '{}' has no 'data_offsets' of two non-negative integers", name);
  }
  const auto [begin, end] = std::pair((*offsets)[0], (*offsets)[1]);
  if (begin > end || end > data_size) {
    return DataLoss("tensor '{}' takes bytes {} to {} of {} bytes of data", name, begin, end, data_size);
  }
  SafetensorsEntry entry{
      name, dtype->second, {}, static_cast<int64_t>(data_start + begin), static_cast<int64_t>(end - begin)};
  for (uint64_t dim : *shape) {
    if (dim > kMaxTensorBytes) {  // after a zero the product would not tell
      return DataLoss("tensor '{}' has a shape of more than 2^62 bytes", name);
    }
    entry.shape.push_back(static_cast<int64_t>(dim));
  }
  const std::optional<uint64_t> size = SizeBytes(entry.dtype, entry.shape);
  if (!size) {
    return DataLoss("tensor '{}' has a shape of more than 2^62 bytes", name);
  }
  if (*size != end - begin) {
    return DataLoss("tensor '{}' has {} bytes, expected {} for its shape and dtype", name, end - begin, *size);
  }
  return entry;
}

/// A tensor to write, before anything is written.
Status CheckTensor(const SafetensorsTensor& tensor) {
  const auto negative = std::find_if(tensor.shape.begin(), tensor.shape.end(), [](int64_t dim) { return dim < 0; });
  if (negative != tensor.shape.end()) {
    return InvalidArgument("tensor '{}' has a dimension {}, expected 0 or more", tensor.name, *negative);
  }
  const std::optional<uint64_t> size = SizeBytes(tensor.dtype, tensor.shape);
  if (!size || *size != tensor.data.size()) {
    return InvalidArgument("tensor '{}' has {} bytes of data, expected {} for its shape and dtype", tensor.name,
                           tensor.data.size(), size ? fmt::format("{}", *size) : "more than 2^62");
  }
  return OkStatus();
}

}  // namespace

StatusOr<SafetensorsHeader> ParseSafetensors(std::span<const std::byte> file) {
  uint64_t header_bytes = 0;
  if (file.size() < sizeof(header_bytes)) {
    return DataLoss("file has {} bytes, a safetensors file has at least 8", file.size());
  }
  std::memcpy(&header_bytes, file.data(), sizeof(header_bytes));
  if (header_bytes > kMaxHeaderBytes || header_bytes > file.size() - sizeof(header_bytes)) {
    return DataLoss("header is said to have {} bytes, the file has {} and the limit is {}", header_bytes, file.size(),
                    kMaxHeaderBytes);
  }
  SafetensorsHeader header;
  header.json = {reinterpret_cast<const char*>(file.data()) + sizeof(header_bytes), header_bytes};
  auto json = ParseJson(header.json);
  if (!json.ok()) {
    return std::move(json).status().WithContext("in the safetensors header");
  }
  if (!json->is_object()) {
    return DataLoss("safetensors header is {}, expected an object", json->type_name());
  }
  const uint64_t data_start = sizeof(header_bytes) + header_bytes, data_size = file.size() - data_start;
  for (const auto& [name, info] : json->items()) {
    if (name == "__metadata__") {
      if (!info.is_object()) {
        return DataLoss("'__metadata__' is {}, expected an object", info.type_name());
      }
      for (const auto& [key, value] : info.items()) {
        if (!value.is_string()) {
          return DataLoss("'__metadata__' has a value for '{}' that is {}, expected a string", key, value.type_name());
        }
        header.metadata[key] = value.get<std::string>();
      }
      continue;
    }
    ASSIGN_OR_RETURN(SafetensorsEntry entry, ParseEntry(name, info, data_start, data_size));
    header.entries.push_back(std::move(entry));
  }
  std::sort(header.entries.begin(), header.entries.end(), [](const auto& a, const auto& b) {
    return std::pair(a.offset_bytes, a.size_bytes) < std::pair(b.offset_bytes, b.size_bytes);
  });
  auto expected = static_cast<int64_t>(data_start);
  for (const SafetensorsEntry& entry : header.entries) {
    if (entry.offset_bytes != expected) {
      return DataLoss("tensor '{}' starts at byte {} of the data, expected {}: tensors {}", entry.name,
                      entry.offset_bytes - static_cast<int64_t>(data_start),
                      expected - static_cast<int64_t>(data_start),
                      entry.offset_bytes < expected ? "overlap" : "leave a hole");
    }
    expected += entry.size_bytes;
  }
  if (expected != static_cast<int64_t>(file.size())) {
    return DataLoss("tensors end at byte {} of a {}-byte file", expected, file.size());
  }
  return header;
}

StatusOr<SafetensorsFile> SafetensorsFile::Open(const std::string& path) {
  SafetensorsFile result;
  result.path_ = path;
  ASSIGN_OR_RETURN(result.file_, MappedFile::Open(path));
  auto header = ParseSafetensors(result.file_.bytes());
  if (!header.ok()) {
    return std::move(header).status().WithContext(fmt::format("while reading '{}'", path));
  }
  result.header_ = std::move(*header);
  for (size_t i = 0; i < result.header_.entries.size(); ++i) {
    result.index_[result.header_.entries[i].name] = i;
  }
  return result;
}

const SafetensorsEntry* SafetensorsFile::Find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &header_.entries[found->second];
}

std::string SafetensorsHeaderBytes(std::span<const SafetensorsTensor> tensors) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  int64_t offset = 0;
  for (const SafetensorsTensor& tensor : tensors) {
    int64_t size = SizeOf(tensor.dtype);
    for (int64_t dim : tensor.shape) {
      size *= dim;
    }
    const auto* dtype =
        std::find_if(std::begin(kDTypes), std::end(kDTypes), [&](auto& d) { return d.second == tensor.dtype; });
    json[tensor.name] = {{"dtype", dtype->first}, {"shape", tensor.shape}, {"data_offsets", {offset, offset + size}}};
    offset += size;
  }
  std::string text = json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  text.append((8 - text.size() % 8) % 8, ' ');
  const uint64_t length = text.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + text;
}

Status WriteSafetensors(const std::string& path, std::span<const SafetensorsTensor> tensors) {
  for (const SafetensorsTensor& tensor : tensors) {
    RETURN_IF_ERROR(CheckTensor(tensor));
  }
  ASSIGN_OR_RETURN(FileWriter writer, FileWriter::Create(path));
  const std::string header = SafetensorsHeaderBytes(tensors);
  RETURN_IF_ERROR(writer.Append(std::as_bytes(std::span(header))));
  for (const SafetensorsTensor& tensor : tensors) {
    RETURN_IF_ERROR(writer.Append(tensor.data));
  }
  return writer.Commit();
}

}  // namespace nemotron::runtime
