#ifndef RUNTIME_BASE_SAFETENSORS_H_
#define RUNTIME_BASE_SAFETENSORS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/dtype.h"
#include "runtime/base/mapped_file.h"
#include "runtime/base/status.h"

namespace nemotron::runtime {

/// A tensor in a safetensors file: row major, little-endian.
struct SafetensorsEntry {
  std::string name;
  DType dtype;
  std::vector<int64_t> shape;  ///< may be empty: a scalar
  int64_t offset_bytes;        ///< of the data, from the start of the file
  int64_t size_bytes;          ///< shape * size of dtype
};

/// The header of a safetensors file, checked: every tensor lies within the file, its size is that of its shape, and
/// tensors follow each other without overlap or hole. Format: https://github.com/huggingface/safetensors, "Format".
struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;        ///< in the order of their data
  std::map<std::string, std::string> metadata;  ///< `__metadata__`
  std::string_view json;                        ///< the header text, in the bytes that were parsed
};

/// Reads the header from the bytes of a whole file. kDataLoss for damage, kUnimplemented for a dtype that is not known;
/// messages name the tensor.
StatusOr<SafetensorsHeader> ParseSafetensors(std::span<const std::byte> file);

/// A safetensors file, mapped.
class SafetensorsFile {
 public:
  /// Errors are those of MappedFile and ParseSafetensors and name the path.
  static StatusOr<SafetensorsFile> Open(const std::string& path);

  const SafetensorsHeader& header() const { return header_; }
  const std::string& path() const { return path_; }
  const MappedFile& file() const { return file_; }
  /// nullptr if there is none of that name.
  const SafetensorsEntry* Find(std::string_view name) const;
  std::span<const std::byte> Data(const SafetensorsEntry& entry) const {
    return file_.bytes().subspan(entry.offset_bytes, entry.size_bytes);
  }

 private:
  std::string path_;
  MappedFile file_;
  SafetensorsHeader header_;
  std::map<std::string, size_t, std::less<>> index_;
};

/// A tensor to write; `data` has the size that shape and dtype give.
struct SafetensorsTensor {
  std::string name;
  DType dtype;
  std::vector<int64_t> shape;
  std::span<const std::byte> data;
};

/// The header (length prefix included) of a file with these tensors in this order; their `data` may be empty. Data
/// starts at a multiple of 8 bytes.
std::string SafetensorsHeaderBytes(std::span<const SafetensorsTensor> tensors);

/// Writes a file atomically. kInvalidArgument if `data` is not of the size that shape and dtype give; else those of
/// FileWriter.
Status WriteSafetensors(const std::string& path, std::span<const SafetensorsTensor> tensors);

}  // namespace nemotron::runtime

#endif  // RUNTIME_BASE_SAFETENSORS_H_
