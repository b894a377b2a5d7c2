#include "runtime/base/for_each_block.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace nemotron::runtime {

Status ForEachBlock(size_t num_blocks, size_t num_threads, const std::function<Status(size_t)>& work,
                    const std::function<void()>& after) {
  std::atomic<size_t> next{0};
  std::mutex mutex;
  Status first_failure;
  const auto take_blocks = [&](const std::function<void()>& then) {
    for (size_t block = next++; block < num_blocks; block = next++) {
      if (Status status = work(block); !status.ok()) {
        next = num_blocks;
        const std::lock_guard lock(mutex);
        if (first_failure.ok()) {
          first_failure = std::move(status);
        }
        return;
      }
      if (then) {
        then();
      }
    }
  };
  {
    std::vector<std::jthread> others;
    try {
      while (others.size() + 1 < std::min(num_threads, num_blocks)) {
        others.emplace_back([&] { take_blocks({}); });
      }
    } catch (const std::system_error&) {
      // Fewer do as well.
    }
    take_blocks(after);
  }
  return first_failure;
}

}  // namespace nemotron::runtime
