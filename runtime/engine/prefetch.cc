#include "runtime/engine/prefetch.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <span>

#include "runtime/base/for_each_block.h"
#include "runtime/base/pages.h"

namespace nemotron::runtime {
namespace {

constexpr size_t kPageBytes = 4096;
constexpr size_t kBlockBytes = 16 << 20;  // large enough for sequential reads, small enough for a smooth progress bar
// One has gaps between its reads, more than four take the disk's time from each other (docs/performance.md, Start).
constexpr size_t kReaders = 4;

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
  std::atomic<int64_t> done{0};
  Status status = ForEachBlock((bytes.size() + kBlockBytes - 1) / kBlockBytes, kReaders,
                               [&](size_t block) {
                                 const size_t first = block * kBlockBytes,
                                              size = std::min(kBlockBytes, bytes.size() - first);
                                 RETURN_IF_ERROR(PopulatePages(bytes.subspan(first, size)));
                                 done += static_cast<int64_t>(size);
                                 return OkStatus();
                               },
                               [&] {
                                 if (const int64_t so_far = done; progress && so_far < total) {
                                   progress(so_far, total);
                                 }
                               });
  if (!status.ok()) {
    return Error(status.code(), "cannot read the weights of '{}': {}", plan.path(), status.message());
  }
  if (progress) {
    progress(total, total);
  }
  return OkStatus();
}

}  // namespace nemotron::runtime
