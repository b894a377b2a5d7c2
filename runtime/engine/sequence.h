#ifndef RUNTIME_ENGINE_SEQUENCE_H_
#define RUNTIME_ENGINE_SEQUENCE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/base/status.h"
#include "runtime/engine/device.h"
#include "runtime/engine/engine.h"
#include "runtime/engine/page_pool.h"

namespace nemotron::runtime {

/// What an engine keeps of one sequence. It lives as long as its slot and is used again, so that a new sequence costs
/// no allocation.
struct Sequence {
  bool in_use = false;
  int64_t uses = 0;               ///< how often the slot was taken; part of the id
  std::byte* slot = nullptr;      ///< constant-size state, `slot_bytes` of device memory
  std::vector<std::byte*> pages;  ///< page i holds positions [i * page_tokens, (i + 1) * page_tokens)
  std::vector<int32_t> tokens;    ///< all that it has taken in
  int64_t last_step = 0;          ///< number of the last step that it was named in

  int64_t length() const { return static_cast<int64_t>(tokens.size()); }
};

/// The sequences of an engine with the memory behind them: slots and pages.
///
/// A *slot* is a fixed run of memory for the constant-size state (convolution window, SSM state) of one sequence; all
/// slots are alike and lie one after another. It is zeroed when a sequence takes it. Keys and values lie in pages
/// (page_pool.h).
class SequenceTable {
 public:
  struct Geometry {
    int64_t max_sequences = 0;
    int64_t slot_bytes = 0;  ///< may be 0
    int64_t num_pages = 0;   ///< may be 0, if page_bytes is
    int64_t page_bytes = 0;  ///< 0: the plan has no KV cache, and no pages are ever needed
    int64_t page_tokens = 0;
  };

  /// Allocates slots and pages on `device`, which must outlive the table.
  static StatusOr<SequenceTable> Create(Device* device, const Geometry& geometry);

  /// An empty sequence with a zeroed slot. kResourceExhausted.
  StatusOr<SequenceId> Create();
  /// kResourceExhausted if there is no slot, or no page for the copy of a partial page; then nothing has changed.
  StatusOr<SequenceId> Fork(SequenceId id);
  /// Engine::Repeat.
  Status Repeat(SequenceId id, int64_t num_tokens);
  void Release(Sequence& sequence);

  /// The sequence called `id`, or kNotFound.
  StatusOr<Sequence*> Find(SequenceId id);
  StatusOr<const Sequence*> Find(SequenceId id) const;

  /// Pages that `sequence` lacks to hold `num_tokens` in all.
  int64_t PagesMissing(const Sequence& sequence, int64_t num_tokens) const;
  /// Takes the missing pages; there must be enough free ones.
  void AddPages(Sequence& sequence, int64_t num_tokens);

  const Geometry& geometry() const { return geometry_; }
  int64_t num_free_slots() const { return static_cast<int64_t>(free_slots_.size()); }
  int64_t num_free_pages() const { return pages_.num_free(); }

 private:
  SequenceId IdOf(size_t index) const {
    return SequenceId{sequences_[index].uses * geometry_.max_sequences + static_cast<int64_t>(index)};
  }

  Device* device_ = nullptr;
  Geometry geometry_;
  DeviceMemory slot_memory_, page_memory_;
  std::vector<Sequence> sequences_;  // by slot
  std::vector<int32_t> free_slots_;
  PagePool pages_;
};

}  // namespace nemotron::runtime

#endif  // RUNTIME_ENGINE_SEQUENCE_H_
