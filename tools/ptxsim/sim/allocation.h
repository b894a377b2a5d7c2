#ifndef TOOLS_PTXSIM_SIM_ALLOCATION_H_
#define TOOLS_PTXSIM_SIM_ALLOCATION_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace nemotron::ptxsim {

/// Pages of zeros from the system, which cost nothing until they are touched.
class ZeroPages {
 public:
  ZeroPages() = default;
  explicit ZeroPages(size_t size_bytes);  ///< `data()` is null if the system has no room
  ~ZeroPages();
  ZeroPages(ZeroPages&& other) noexcept;
  ZeroPages& operator=(ZeroPages&& other) noexcept;

  std::byte* data() const { return data_; }
  template <typename T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  std::byte* data_ = nullptr;
  size_t size_bytes_ = 0;
};

/// A bit for each byte of memory: whether somebody has written it. Threads of the host may work on one word at a time.
class InitializedBits {
 public:
  static size_t WordsFor(int64_t size_bytes) { return static_cast<size_t>(size_bytes / 64 + 2); }

  explicit InitializedBits(std::atomic<uint64_t>* words) : words_(words) {}

  /// Of a range that lies in one word, as each aligned access of up to 16 bytes does.
  bool AllSet(uint64_t offset, uint32_t size_bytes) const {
    return !(MaskOf(offset, size_bytes) & ~words_[offset / 64].load(std::memory_order_relaxed));
  }
  void Set(uint64_t offset, uint32_t size_bytes) {
    const uint64_t mask = MaskOf(offset, size_bytes);
    std::atomic<uint64_t>& word = words_[offset / 64];
    if (mask & ~word.load(std::memory_order_relaxed)) {
      word.fetch_or(mask, std::memory_order_relaxed);
    }
  }

  bool AllSetInRange(uint64_t begin, uint64_t end) const;
  void SetRange(uint64_t begin, uint64_t end, bool value = true);
  void CopyRange(uint64_t to, const InitializedBits& from, uint64_t begin, uint64_t size_bytes);

 private:
  static uint64_t MaskOf(uint64_t offset, uint32_t size_bytes) {
    return ((uint64_t{1} << size_bytes) - 1) << (offset % 64);
  }

  std::atomic<uint64_t>* words_;
};

/// Bytes of global memory and which of them have been written.
struct Allocation {
  uint64_t number;
  int64_t size_bytes;
  ZeroPages bytes;
  ZeroPages initialized_words;
  /// Set by a host copy over all of it: then loads need not look at bits. Bytes never become uninitialised again but by
  /// a copy from such, which clears it.
  std::atomic<bool> is_initialized = false;

  InitializedBits initialized() const { return InitializedBits(initialized_words.as<std::atomic<uint64_t>>()); }
};

}  // namespace nemotron::ptxsim

#endif  // TOOLS_PTXSIM_SIM_ALLOCATION_H_
