#ifndef RUNTIME_BASE_MAPPED_FILE_H_
#define RUNTIME_BASE_MAPPED_FILE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "runtime/base/status.h"

namespace nemotron::runtime {

/// A file mapped read only for as long as the object lives. Movable; an empty file maps to no bytes.
class MappedFile {
 public:
  enum class Advice { kSequential, kWillNeed, kDontNeed };

  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept { *this = std::move(other); }
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  /// Maps all of `path`. kNotFound if there is no such file, kInvalidArgument for a folder or special file,
  /// kUnavailable for what the system refuses; each names the path.
  static StatusOr<MappedFile> Open(const std::string& path);

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  int64_t size_bytes() const { return static_cast<int64_t>(size_); }

  /// Tells the system how a range will be used; only a hint, so it cannot fail. The range is widened (kDontNeed:
  /// narrowed) to whole pages and cut at the end of the file.
  void Advise(int64_t offset, int64_t length, Advice advice) const;

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace nemotron::runtime

#endif  // RUNTIME_BASE_MAPPED_FILE_H_
