#include "runtime/engine/prefetch.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <span>
#include <system_error>
#include <thread>
#include <vector>

namespace nemotron::runtime {
namespace {

constexpr size_t kPageBytes = 4096;
constexpr size_t kBlockBytes = 16 << 20;  // large enough for sequential reads, small enough for a smooth progress bar
// One has gaps between its reads, more than four take the disk's time from each other (docs/performance.md, Start).
constexpr size_t kReaders = 4;

/// Maps `block` of a file and waits until all of it is in memory. An errno, or 0.
int Populate(std::span<const std::byte> block) {
  const uintptr_t begin = reinterpret_cast<uintptr_t>(block.data()) / kPageBytes * kPageBytes;
  const uintptr_t end = reinterpret_cast<uintptr_t>(block.data() + block.size());
  // Where touching a page that the disk does not give would end the process, this fails.
  if (madvise(reinterpret_cast<void*>(begin), end - begin, MADV_POPULATE_READ) == 0) {
    return 0;
  }
  if (errno != EINVAL) {
    return errno;
  }
  for (size_t i = 0; i < block.size(); i += kPageBytes) {  // a kernel before 5.14
    [[maybe_unused]] const volatile std::byte touched = *static_cast<const volatile std::byte*>(&block[i]);
  }
  return 0;
}

/// The blocks of a plan, claimed in the order of the file by any number of threads.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  size_t num_blocks() const { return (bytes_.size() + kBlockBytes - 1) / kBlockBytes; }
  int error() const { return error_; }

  /// Reads until no block is left or one failed; calls `after` with all bytes read so far.
  template <typename After>
  void Read(const After& after) {
    for (size_t block = next_++; block < num_blocks() && error_ == 0; block = next_++) {
      const size_t begin = block * kBlockBytes;
      const size_t size = std::min(kBlockBytes, bytes_.size() - begin);
      if (const int error = Populate(bytes_.subspan(begin, size)); error != 0) {
        error_ = error;
        return;
      }
      after(done_ += size);
    }
  }

 private:
  std::span<const std::byte> bytes_;
  std::atomic<size_t> next_{0}, done_{0};
  std::atomic<int> error_{0};
};

}  // namespace

Status PrefetchWeights(const Plan& plan, const std::function<void(int64_t done, int64_t total)>& progress) {
  const std::span<const std::byte> bytes = plan.bytes();
  const auto total = static_cast<int64_t>(bytes.size());
  // Only a hint. Where it is taken, pages of 2 MiB are read, and a step spends less on address translation.
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(bytes.data()) + kPageBytes - 1) / kPageBytes * kPageBytes;
  const uintptr_t end = reinterpret_cast<uintptr_t>(bytes.data() + bytes.size()) / kPageBytes * kPageBytes;
  if (begin < end) {
    madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
  }
  Reader reader(bytes);
  {
    std::vector<std::jthread> others;
    try {
      while (others.size() + 1 < std::min(kReaders, reader.num_blocks())) {
        others.emplace_back([&reader] { reader.Read([](size_t) {}); });
      }
    } catch (const std::system_error&) {
      // Fewer do as well.
    }
    reader.Read([&](size_t done) {
      if (progress && static_cast<int64_t>(done) < total) {
        progress(static_cast<int64_t>(done), total);
      }
    });
  }
  if (reader.error() != 0) {
    return Error(reader.error() == ENOMEM ? StatusCode::kResourceExhausted : StatusCode::kUnavailable,
                 "cannot read the weights of '{}': {}", plan.path(),
                 reader.error() == EFAULT ? "the file was cut off, or its disk fails" : std::strerror(reader.error()));
  }
  if (progress) {
    progress(total, total);
  }
  return OkStatus();
}

}  // namespace nemotron::runtime
