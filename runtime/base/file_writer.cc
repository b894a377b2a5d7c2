#include "runtime/base/file_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>
#include <vector>

namespace nemotron::runtime {
namespace {

Status WriteAll(int fd, int64_t offset, std::span<const std::byte> bytes, const std::string& path) {
  constexpr size_t kMaxWrite = size_t{1} << 30;  // Linux writes at most 2 GiB - 4 KiB a call
  while (!bytes.empty()) {
    const ssize_t written = pwrite(fd, bytes.data(), std::min(bytes.size(), kMaxWrite), offset);
    if (written < 0 && errno == EINTR) {
      continue;
    }
    if (written <= 0) {
      const int error = written == 0 ? ENOSPC : errno;  // a device that takes no byte and names no reason is full
      const bool is_full = error == ENOSPC || error == EDQUOT || error == EFBIG;
      return Error(is_full ? StatusCode::kResourceExhausted : StatusCode::kUnavailable,
                   "cannot write {} bytes at {} of '{}': {}", bytes.size(), offset, path, std::strerror(error));
    }
    offset += written;
    bytes = bytes.subspan(written);
  }
  return OkStatus();
}

/// Makes a rename last. Some file systems cannot sync a folder, and the file itself is safe by then: no failure is
/// reported.
void SyncFolder(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd >= 0) {
    (void)fsync(fd);
    close(fd);
  }
}

}  // namespace

FileWriter& FileWriter::operator=(FileWriter&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(temporary_, other.temporary_);
  std::swap(fd_, other.fd_);
  std::swap(size_, other.size_);
  return *this;
}

FileWriter::~FileWriter() {
  if (fd_ >= 0) {
    close(fd_);
    unlink(temporary_.c_str());
  }
}

StatusOr<FileWriter> FileWriter::Create(const std::string& path) {
  FileWriter writer;
  writer.path_ = path;
  writer.temporary_ = fmt::format("{}.tmp.{}", path, getpid());
  writer.fd_ = open(writer.temporary_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (writer.fd_ < 0) {
    return Error(errno == ENOENT ? StatusCode::kNotFound : StatusCode::kUnavailable, "cannot create '{}': {}", path,
                 std::strerror(errno));
  }
  return writer;
}

Status FileWriter::Append(std::span<const std::byte> bytes) {
  RETURN_IF_ERROR(WriteAll(fd_, size_, bytes, path_));
  size_ += static_cast<int64_t>(bytes.size());
  return OkStatus();
}

Status FileWriter::WriteAt(int64_t offset, std::span<const std::byte> bytes) {
  if (offset < 0 || offset > size_ || static_cast<int64_t>(bytes.size()) > size_ - offset) {
    return InvalidArgument("{} bytes at {} of '{}' were not written yet, it has {}", bytes.size(), offset, path_,
                           size_);
  }
  return WriteAll(fd_, offset, bytes, path_);
}

Status FileWriter::AlignTo(int64_t alignment) {
  if (alignment <= 0) {
    return InvalidArgument("cannot align '{}' to {} bytes, expected 1 or more", path_, alignment);
  }
  const std::vector<std::byte> zeros((alignment - size_ % alignment) % alignment);
  return Append(zeros);
}

Status FileWriter::Commit() {
  if (fd_ < 0) {
    return Error(StatusCode::kFailedPrecondition, "'{}' is not open for writing", path_);
  }
  if (fsync(fd_) != 0) {
    return Error(StatusCode::kUnavailable, "cannot sync '{}': {}", path_, std::strerror(errno));
  }
  const int fd = std::exchange(fd_, -1);
  if (close(fd) != 0 || rename(temporary_.c_str(), path_.c_str()) != 0) {
    const Status status =
        Error(StatusCode::kUnavailable, "cannot rename '{}' to '{}': {}", temporary_, path_, std::strerror(errno));
    unlink(temporary_.c_str());
    return status;
  }
  SyncFolder(path_);
  return OkStatus();
}

Status WriteTextFile(const std::string& path, std::string_view text) {
  ASSIGN_OR_RETURN(FileWriter file, FileWriter::Create(path));
  RETURN_IF_ERROR(file.Append(std::as_bytes(std::span(text))));
  return file.Commit();
}

}  // namespace nemotron::runtime
