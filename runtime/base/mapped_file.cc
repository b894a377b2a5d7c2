#include "runtime/base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace nemotron::runtime {

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (size_ != 0) {
    munmap(const_cast<std::byte*>(data_), size_);
  }
}

StatusOr<MappedFile> MappedFile::Open(const std::string& path) {
  // O_NONBLOCK: opening a named pipe must not wait for its writer.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    return Error(errno == ENOENT ? StatusCode::kNotFound : StatusCode::kUnavailable, "cannot open '{}': {}", path,
                 std::strerror(errno));
  }
  MappedFile file;
  Status status;
  struct stat info{};
  if (fstat(fd, &info) != 0) {
    status = Error(StatusCode::kUnavailable, "cannot stat '{}': {}", path, std::strerror(errno));
  } else if (!S_ISREG(info.st_mode)) {
    status = InvalidArgument("'{}' is {}, expected a regular file", path,
                             S_ISDIR(info.st_mode) ? "a folder" : "not a regular file");
  } else if (info.st_size > 0) {
    void* data = mmap(nullptr, info.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED) {
      status =
          Error(StatusCode::kUnavailable, "cannot map {} bytes of '{}': {}", info.st_size, path, std::strerror(errno));
    } else {
      file.data_ = static_cast<const std::byte*>(data);
      file.size_ = info.st_size;
    }
  }
  close(fd);
  if (!status.ok()) {
    return status;
  }
  return file;
}

void MappedFile::Advise(int64_t offset, int64_t length, Advice advice) const {
  const int64_t page = sysconf(_SC_PAGESIZE);
  int64_t begin = std::clamp<int64_t>(offset, 0, size_bytes());
  int64_t end = begin + std::clamp<int64_t>(length, 0, size_bytes() - begin);
  if (advice == Advice::kDontNeed) {
    begin = (begin + page - 1) / page * page;
    end = end == size_bytes() ? end : end / page * page;
  } else {
    begin = begin / page * page;
  }
  if (begin >= end) {
    return;
  }
  const int flag = advice == Advice::kSequential ? MADV_SEQUENTIAL
                   : advice == Advice::kWillNeed ? MADV_WILLNEED
                                                 : MADV_DONTNEED;
  madvise(const_cast<std::byte*>(data_) + begin, end - begin, flag);
}

}  // namespace nemotron::runtime
