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
      return Error(errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? StatusCode::kResourceExhausted
                                                                       : StatusCode::kUnavailable,
                   "cannot write {} bytes at {} of '{}': {}", bytes.size(), offset, path,
                   written == 0 ? "nothing was written" : std::strerror(errno));
    }
    offset += written;
    bytes = bytes.subspan(written);
  }
  return OkStatus();
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
    return InvalidArgument("bytes [{}, {}) of '{}' were not written yet, it has {}", offset,
                           offset + static_cast<int64_t>(bytes.size()), path_, size_);
  }
  return WriteAll(fd_, offset, bytes, path_);
}

Status FileWriter::AlignTo(int64_t alignment) {
  const std::vector<std::byte> zeros((alignment - size_ % alignment) % alignment);
  return Append(zeros);
}

Status FileWriter::Commit() {
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
  return OkStatus();
}

}  // namespace nemotron::runtime
