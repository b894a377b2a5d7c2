#ifndef RUNTIME_BASE_FILE_WRITER_H_
#define RUNTIME_BASE_FILE_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "runtime/base/status.h"

namespace nemotron::runtime {

/// Writes a file that appears under its name only when it is whole: bytes go to `<path>.tmp.<pid>` beside it, and
/// `Commit` syncs and renames. A writer dropped before that removes its temporary file. Errors name the path:
/// kResourceExhausted for a full disk or a file too large, kNotFound for a folder that is not there, kUnavailable for
/// what else the system refuses.
class FileWriter {
 public:
  FileWriter(FileWriter&& other) noexcept { *this = std::move(other); }  // what is left can only be dropped
  FileWriter& operator=(FileWriter&& other) noexcept;
  ~FileWriter();

  /// Starts a file for `path`, whose folder must exist.
  static StatusOr<FileWriter> Create(const std::string& path);

  /// Adds bytes at the end.
  Status Append(std::span<const std::byte> bytes);
  /// Overwrites bytes that were appended before; kInvalidArgument if there are none at [offset, offset + size).
  Status WriteAt(int64_t offset, std::span<const std::byte> bytes);
  /// Adds zeros up to a multiple of `alignment`.
  Status AlignTo(int64_t alignment);
  /// Syncs, closes and renames to the final path, replacing a file that is there.
  Status Commit();

  int64_t size_bytes() const { return size_; }
  const std::string& temporary_path() const { return temporary_; }

 private:
  FileWriter() = default;
  std::string path_, temporary_;
  int fd_ = -1;
  int64_t size_ = 0;
};

/// Writes a file that holds `text`; errors are those of FileWriter.
Status WriteTextFile(const std::string& path, std::string_view text);

}  // namespace nemotron::runtime

#endif  // RUNTIME_BASE_FILE_WRITER_H_
