#ifndef RUNTIME_ENGINE_PAGE_POOL_H_
#define RUNTIME_ENGINE_PAGE_POOL_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace nemotron::runtime {

/// Hands out the pages of one block of device memory and counts who shares them.
///
/// A page holds the keys and values of `page_tokens` consecutive positions of a sequence, for all layers. Positions are
/// only ever appended, so a full page never changes again and any number of sequences may share it; a fork therefore
/// copies only the last, partial page. Example with 4 tokens a page: A holds 10 tokens in pages 0, 1, 2; its fork B
/// shares 0 and 1 (2 references each) and copies 2 to page 3. Neither sees what the other appends.
///
/// Not thread-safe. Never allocates after construction.
class PagePool {
 public:
  PagePool() = default;
  /// `memory` holds `num_pages` pages of `page_bytes`.
  PagePool(std::byte* memory, int64_t num_pages, int64_t page_bytes);

  int64_t num_pages() const { return static_cast<int64_t>(references_.size()); }
  int64_t num_free() const { return static_cast<int64_t>(free_.size()); }
  int64_t page_bytes() const { return page_bytes_; }

  /// A page with one reference, its contents left over from earlier use. There must be a free one.
  std::byte* Allocate();
  void AddReference(const std::byte* page);
  /// Frees the page with its last reference.
  void Release(const std::byte* page);
  int32_t references(const std::byte* page) const { return references_[Index(page)]; }

 private:
  size_t Index(const std::byte* page) const;

  std::byte* memory_ = nullptr;
  int64_t page_bytes_ = 0;
  std::vector<int32_t> references_;  // by page
  std::vector<int32_t> free_;        // a stack: recently used pages are warm
};

}  // namespace nemotron::runtime

#endif  // RUNTIME_ENGINE_PAGE_POOL_H_
