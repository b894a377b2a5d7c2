#include "runtime/base/pages.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

namespace nemotron::runtime {
namespace {

constexpr size_t kPageBytes = 4096;
constexpr int64_t kHugePageBytes = 2 << 20;

}  // namespace

StatusOr<std::byte*> MapPages(int64_t size_bytes) {
  void* data = mmap(nullptr, static_cast<size_t>(size_bytes), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) {
    return Error(StatusCode::kResourceExhausted, "the system gives no {} bytes of memory: {}", size_bytes,
                 std::strerror(errno));
  }
  if (size_bytes >= 2 * kHugePageBytes) {
    madvise(data, static_cast<size_t>(size_bytes), MADV_HUGEPAGE);  // a hint; not all systems take it
  }
  return static_cast<std::byte*>(data);
}

void UnmapPages(std::byte* data, int64_t size_bytes) { munmap(data, static_cast<size_t>(size_bytes)); }

Status PopulatePages(std::span<const std::byte> bytes) {
  const uintptr_t begin = reinterpret_cast<uintptr_t>(bytes.data()) / kPageBytes * kPageBytes;
  const uintptr_t end = reinterpret_cast<uintptr_t>(bytes.data() + bytes.size());
  if (begin == end || madvise(reinterpret_cast<void*>(begin), end - begin, MADV_POPULATE_READ) == 0) {
    return OkStatus();
  }
  if (errno != EINVAL) {
    return Error(errno == ENOMEM ? StatusCode::kResourceExhausted : StatusCode::kUnavailable, "{}",
                 errno == EFAULT ? "the file was cut off, or its disk fails" : std::strerror(errno));
  }
  for (size_t i = 0; i < bytes.size(); i += kPageBytes) {  // a kernel before 5.14
    [[maybe_unused]] const volatile std::byte touched = *static_cast<const volatile std::byte*>(&bytes[i]);
  }
  return OkStatus();
}

}  // namespace nemotron::runtime
