#include "tools/ptxsim/sim/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <mutex>
#include <utility>

#include "tools/ptxsim/sim/address_space.h"
#include "tools/ptxsim/sim/allocation.h"

namespace nemotron::ptxsim {

using runtime::InvalidArgument;
using runtime::Status;
using runtime::StatusCode;
using runtime::StatusOr;

ZeroPages::ZeroPages(size_t size_bytes) : size_bytes_(size_bytes) {
  void* pages = mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  data_ = pages == MAP_FAILED ? nullptr : static_cast<std::byte*>(pages);
}

ZeroPages::~ZeroPages() {
  if (data_) {
    munmap(data_, size_bytes_);
  }
}

ZeroPages::ZeroPages(ZeroPages&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_bytes_(other.size_bytes_) {}

ZeroPages& ZeroPages::operator=(ZeroPages&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_bytes_, other.size_bytes_);
  return *this;
}

bool InitializedBits::AllSetInRange(uint64_t begin, uint64_t end) const {
  for (uint64_t offset = begin; offset < end;) {
    const uint64_t in_word = std::min<uint64_t>(64 - offset % 64, end - offset);
    const uint64_t mask = (~uint64_t{0} >> (64 - in_word)) << (offset % 64);
    if (mask & ~words_[offset / 64].load(std::memory_order_relaxed)) {
      return false;
    }
    offset += in_word;
  }
  return true;
}

void InitializedBits::SetRange(uint64_t begin, uint64_t end, bool value) {
  for (uint64_t offset = begin; offset < end;) {
    const uint64_t in_word = std::min<uint64_t>(64 - offset % 64, end - offset);
    const uint64_t mask = (~uint64_t{0} >> (64 - in_word)) << (offset % 64);
    std::atomic<uint64_t>& word = words_[offset / 64];
    const uint64_t old = word.load(std::memory_order_relaxed);
    if (value && (mask & ~old)) {
      word.fetch_or(mask, std::memory_order_relaxed);
    } else if (!value && (mask & old)) {
      word.fetch_and(~mask, std::memory_order_relaxed);
    }
    offset += in_word;
  }
}

void InitializedBits::CopyRange(uint64_t to, const InitializedBits& from, uint64_t begin, uint64_t size_bytes) {
  for (uint64_t i = 0; i < size_bytes;) {  // runs of equal bits
    const bool value = from.AllSet(begin + i, 1);
    uint64_t run = 1;
    while (i + run < size_bytes && from.AllSet(begin + i + run, 1) == value) {
      ++run;
    }
    SetRange(to + i, to + i + run, value);
    i += run;
  }
}

/// Allocations by number, in chunks that never move: `Find` takes no lock.
struct GlobalMemory::State {
  static constexpr uint64_t kChunk = 4096, kNumChunks = 4096;
  using Chunk = std::array<std::atomic<Allocation*>, kChunk>;

  std::mutex mutex;
  int64_t capacity_bytes, free_bytes;
  uint64_t next_number = kFirstAllocationNumber;
  std::array<std::atomic<Chunk*>, kNumChunks> chunks = {};

  explicit State(int64_t capacity) : capacity_bytes(capacity), free_bytes(capacity) {}
  ~State() {
    for (std::atomic<Chunk*>& chunk : chunks) {
      if (Chunk* entries = chunk.load()) {
        std::ranges::for_each(*entries, [](std::atomic<Allocation*>& entry) { delete entry.load(); });
        delete entries;
      }
    }
  }

  std::atomic<Allocation*>* Entry(uint64_t number) {
    if (number >= kChunk * kNumChunks) {
      return nullptr;
    }
    Chunk* chunk = chunks[number / kChunk].load(std::memory_order_acquire);
    return chunk ? &(*chunk)[number % kChunk] : nullptr;
  }

  /// The allocation that holds `size_bytes` from `address`.
  StatusOr<Allocation*> Range(DeviceAddress address, int64_t size_bytes, const char* what) {
    std::atomic<Allocation*>* entry = Entry(address >> kOffsetBits);
    Allocation* allocation = entry ? entry->load(std::memory_order_acquire) : nullptr;
    if (!allocation) {
      return InvalidArgument("{} of {} bytes at {:#x}, which lies in no allocation", what, size_bytes, address);
    }
    const auto offset = static_cast<int64_t>(address & kOffsetMask);
    if (size_bytes < 0 || offset > allocation->size_bytes || size_bytes > allocation->size_bytes - offset) {
      return InvalidArgument("{} of {} bytes at {} of an allocation of {} bytes", what, size_bytes, offset,
                             allocation->size_bytes);
    }
    return allocation;
  }

  static void MarkWritten(Allocation& allocation, DeviceAddress address, int64_t size_bytes) {
    const uint64_t offset = address & kOffsetMask;
    allocation.initialized().SetRange(offset, offset + static_cast<uint64_t>(size_bytes));
    if (size_bytes == allocation.size_bytes) {
      allocation.is_initialized.store(true, std::memory_order_relaxed);
    }
  }
};

GlobalMemory::GlobalMemory(int64_t capacity_bytes) : state_(std::make_unique<State>(capacity_bytes)) {}
GlobalMemory::~GlobalMemory() = default;

StatusOr<DeviceAddress> GlobalMemory::Allocate(int64_t size_bytes) {
  const std::lock_guard lock(state_->mutex);
  if (size_bytes <= 0) {
    return InvalidArgument("allocation of {} bytes", size_bytes);
  }
  if (size_bytes > state_->free_bytes) {
    return runtime::Error(StatusCode::kResourceExhausted, "allocation of {} bytes, {} of {} bytes are left", size_bytes,
                          state_->free_bytes, state_->capacity_bytes);
  }
  const uint64_t number = state_->next_number;
  if (number >= State::kChunk * State::kNumChunks) {
    return runtime::Error(StatusCode::kResourceExhausted, "allocation number {}, and numbers are never used again",
                          number);
  }
  auto allocation = std::make_unique<Allocation>();
  allocation->number = number;
  allocation->size_bytes = size_bytes;
  allocation->bytes = ZeroPages(static_cast<size_t>(size_bytes));
  allocation->initialized_words = ZeroPages(InitializedBits::WordsFor(size_bytes) * sizeof(uint64_t));
  if (!allocation->bytes.data() || !allocation->initialized_words.data()) {
    return runtime::Error(StatusCode::kResourceExhausted, "the host has no room for an allocation of {} bytes",
                          size_bytes);
  }
  std::atomic<State::Chunk*>& chunk = state_->chunks[number / State::kChunk];
  if (!chunk.load()) {
    chunk.store(new State::Chunk(), std::memory_order_release);
  }
  state_->Entry(number)->store(allocation.release(), std::memory_order_release);
  state_->free_bytes -= size_bytes;
  ++state_->next_number;
  return number << kOffsetBits;
}

Status GlobalMemory::Free(DeviceAddress address) {
  const std::lock_guard lock(state_->mutex);
  Allocation* allocation = Find(address);
  if (!allocation || (address & kOffsetMask) != 0) {
    return InvalidArgument("free of {:#x}, which is not the start of an allocation", address);
  }
  state_->Entry(allocation->number)->store(nullptr, std::memory_order_release);
  state_->free_bytes += allocation->size_bytes;
  delete allocation;
  return runtime::OkStatus();
}

Status GlobalMemory::CopyFromHost(DeviceAddress to, const void* from, int64_t size_bytes) {
  if (size_bytes == 0) {
    return runtime::OkStatus();
  }
  ASSIGN_OR_RETURN(Allocation * allocation, state_->Range(to, size_bytes, "copy to the device"));
  std::memcpy(allocation->bytes.data() + (to & kOffsetMask), from, static_cast<size_t>(size_bytes));
  State::MarkWritten(*allocation, to, size_bytes);
  return runtime::OkStatus();
}

Status GlobalMemory::CopyToHost(void* to, DeviceAddress from, int64_t size_bytes) {
  if (size_bytes == 0) {
    return runtime::OkStatus();
  }
  ASSIGN_OR_RETURN(Allocation * allocation, state_->Range(from, size_bytes, "copy to the host"));
  std::memcpy(to, allocation->bytes.data() + (from & kOffsetMask), static_cast<size_t>(size_bytes));
  return runtime::OkStatus();
}

Status GlobalMemory::Copy(DeviceAddress to, DeviceAddress from, int64_t size_bytes) {
  if (size_bytes == 0) {
    return runtime::OkStatus();
  }
  ASSIGN_OR_RETURN(Allocation * source, state_->Range(from, size_bytes, "copy on the device from"));
  ASSIGN_OR_RETURN(Allocation * target, state_->Range(to, size_bytes, "copy on the device to"));
  const uint64_t source_offset = from & kOffsetMask, target_offset = to & kOffsetMask;
  std::memmove(target->bytes.data() + target_offset, source->bytes.data() + source_offset,
               static_cast<size_t>(size_bytes));
  const auto size = static_cast<uint64_t>(size_bytes);
  if (source->is_initialized || source->initialized().AllSetInRange(source_offset, source_offset + size)) {
    State::MarkWritten(*target, to, size_bytes);
    return runtime::OkStatus();
  }
  target->is_initialized = false;
  if (source == target && source_offset < target_offset + size && target_offset < source_offset + size) {
    ZeroPages words(InitializedBits::WordsFor(size_bytes) * sizeof(uint64_t));
    InitializedBits between(words.as<std::atomic<uint64_t>>());
    between.CopyRange(0, source->initialized(), source_offset, size);
    target->initialized().CopyRange(target_offset, between, 0, size);
  } else {
    target->initialized().CopyRange(target_offset, source->initialized(), source_offset, size);
  }
  return runtime::OkStatus();
}

Status GlobalMemory::Fill(DeviceAddress to, uint32_t value, int element_bytes, int64_t count) {
  if (count == 0) {
    return runtime::OkStatus();
  }
  if ((element_bytes != 1 && element_bytes != 2 && element_bytes != 4) ||
      to % static_cast<uint64_t>(element_bytes) != 0 || count < 0 || count > state_->capacity_bytes) {
    return InvalidArgument("fill at {:#x} with {} elements of {} bytes, expected aligned elements of 1, 2 or 4 bytes",
                           to, count, element_bytes);
  }
  ASSIGN_OR_RETURN(Allocation * allocation, state_->Range(to, count * element_bytes, "fill"));
  std::byte* bytes = allocation->bytes.data() + (to & kOffsetMask);
  if (element_bytes == 1) {
    std::memset(bytes, static_cast<int>(value & 0xff), static_cast<size_t>(count));
  } else if (element_bytes == 2) {
    std::fill_n(reinterpret_cast<uint16_t*>(bytes), count, static_cast<uint16_t>(value));
  } else {
    std::fill_n(reinterpret_cast<uint32_t*>(bytes), count, value);
  }
  State::MarkWritten(*allocation, to, count * element_bytes);
  return runtime::OkStatus();
}

int64_t GlobalMemory::free_bytes() const {
  const std::lock_guard lock(state_->mutex);
  return state_->free_bytes;
}

int64_t GlobalMemory::capacity_bytes() const { return state_->capacity_bytes; }

Allocation* GlobalMemory::Find(DeviceAddress address) const {
  const std::atomic<Allocation*>* entry = state_->Entry(address >> kOffsetBits);
  return entry ? entry->load(std::memory_order_acquire) : nullptr;
}

}  // namespace nemotron::ptxsim
