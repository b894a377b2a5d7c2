#include "runtime/engine/page_pool.h"

#include <cassert>

namespace nemotron::runtime {

PagePool::PagePool(std::byte* memory, int64_t num_pages, int64_t page_bytes)
    : memory_(memory), page_bytes_(page_bytes), references_(static_cast<size_t>(num_pages), 0) {
  free_.reserve(references_.size());
  for (int64_t i = num_pages; i-- > 0;) {
    free_.push_back(static_cast<int32_t>(i));
  }
}

std::byte* PagePool::Allocate() {
  assert(!free_.empty());
  const int32_t index = free_.back();
  free_.pop_back();
  references_[static_cast<size_t>(index)] = 1;
  return memory_ + index * page_bytes_;
}

void PagePool::AddReference(const std::byte* page) {
  assert(references(page) > 0);
  ++references_[Index(page)];
}

void PagePool::Release(const std::byte* page) {
  const size_t index = Index(page);
  assert(references_[index] > 0);
  if (--references_[index] == 0) {
    free_.push_back(static_cast<int32_t>(index));
  }
}

size_t PagePool::Index(const std::byte* page) const {
  const int64_t offset = page - memory_;
  assert(offset >= 0 && offset % page_bytes_ == 0 && offset / page_bytes_ < num_pages());
  return static_cast<size_t>(offset / page_bytes_);
}

}  // namespace nemotron::runtime
