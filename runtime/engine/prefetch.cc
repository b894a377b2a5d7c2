#include "runtime/engine/prefetch.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <span>

namespace nemotron::runtime {
namespace {

constexpr size_t kPageBytes = 4096;
constexpr size_t kBlockBytes = 16 << 20;  // large enough for sequential reads, small enough for a smooth progress bar

}  // namespace

void PrefetchWeights(const Plan& plan, const std::function<void(int64_t done, int64_t total)>& progress) {
  const std::span<const std::byte> bytes = plan.bytes();
  const auto total = static_cast<int64_t>(bytes.size());
  const auto advise = [&](size_t begin) {
    if (begin < bytes.size()) {
      const auto address = reinterpret_cast<uintptr_t>(bytes.data() + begin) / kPageBytes * kPageBytes;
      // Only a hint; the reads below do the work in any case.
      madvise(reinterpret_cast<void*>(address), std::min(kBlockBytes, bytes.size() - begin), MADV_WILLNEED);
    }
  };
  unsigned sum = 0;
  advise(0);
  for (size_t begin = 0; begin < bytes.size(); begin += kBlockBytes) {
    advise(begin + kBlockBytes);  // the kernel reads the next block while this one is touched
    const size_t end = std::min(bytes.size(), begin + kBlockBytes);
    for (size_t i = begin; i < end; i += kPageBytes) {
      sum += std::to_integer<unsigned>(bytes[i]);
    }
    progress(static_cast<int64_t>(end), total);
  }
  [[maybe_unused]] volatile unsigned keep = sum;
}

}  // namespace nemotron::runtime
