#include "runtime/engine/sequence.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace nemotron::runtime {
namespace {

/// Room for token ids made when the table is, so that decoding does not allocate. Longer sequences grow as vectors do.
constexpr int64_t kMaxReservedTokens = 1 << 18;

}  // namespace

StatusOr<SequenceTable> SequenceTable::Create(Device* device, const Geometry& geometry) {
  SequenceTable table;
  table.device_ = device;
  table.geometry_ = geometry;
  if (geometry.slot_bytes > 0) {
    ASSIGN_OR_RETURN(table.slot_memory_, device->Allocate(geometry.slot_bytes * geometry.max_sequences));
  }
  if (geometry.page_bytes > 0) {
    ASSIGN_OR_RETURN(table.page_memory_, device->Allocate(geometry.page_bytes * geometry.num_pages));
    table.pages_ = PagePool(table.page_memory_.data(), geometry.num_pages, geometry.page_bytes);
  }
  table.sequences_.resize(static_cast<size_t>(geometry.max_sequences));
  const int64_t context = geometry.page_bytes > 0 ? geometry.num_pages * geometry.page_tokens : kMaxReservedTokens;
  for (int64_t i = geometry.max_sequences; i-- > 0;) {
    Sequence& sequence = table.sequences_[static_cast<size_t>(i)];
    sequence.slot = geometry.slot_bytes > 0 ? table.slot_memory_.data() + i * geometry.slot_bytes : nullptr;
    sequence.tokens.reserve(static_cast<size_t>(std::min(context, kMaxReservedTokens)));
    sequence.pages.reserve(static_cast<size_t>(std::min(geometry.num_pages, kMaxReservedTokens)));
    table.free_slots_.push_back(static_cast<int32_t>(i));
  }
  return table;
}

StatusOr<SequenceId> SequenceTable::Create() {
  if (free_slots_.empty()) {
    return Error(StatusCode::kResourceExhausted,
                 "all {} sequences are in use: release one, or load with more (--max-sequences)",
                 geometry_.max_sequences);
  }
  const auto index = static_cast<size_t>(free_slots_.back());
  Sequence& sequence = sequences_[index];
  // What the last owner left behind must not leak into a new sequence.
  if (geometry_.slot_bytes > 0) {
    RETURN_IF_ERROR(device_->Zero(sequence.slot, geometry_.slot_bytes));
  }
  free_slots_.pop_back();
  sequence.in_use = true;
  ++sequence.uses;
  return IdOf(index);
}

StatusOr<SequenceId> SequenceTable::Fork(SequenceId id) {
  ASSIGN_OR_RETURN(const Sequence* source, std::as_const(*this).Find(id));
  const bool has_partial_page = !source->pages.empty() && source->length() % geometry_.page_tokens != 0;
  if (has_partial_page && pages_.num_free() == 0) {
    return Error(StatusCode::kResourceExhausted,
                 "no page is left to copy the last {} tokens of the sequence: all {} pages of {} tokens are in use "
                 "(--context)",
                 source->length() % geometry_.page_tokens, geometry_.num_pages, geometry_.page_tokens);
  }
  ASSIGN_OR_RETURN(const SequenceId fork, Create());
  Sequence& target = *Find(fork).value();
  Status copied = OkStatus();
  if (geometry_.slot_bytes > 0) {
    copied = device_->Copy(target.slot, source->slot, geometry_.slot_bytes);
  }
  const size_t num_full = source->pages.size() - (has_partial_page ? 1 : 0);
  for (size_t i = 0; copied.ok() && i < num_full; ++i) {
    pages_.AddReference(source->pages[i]);
    target.pages.push_back(source->pages[i]);
  }
  if (copied.ok() && has_partial_page) {
    target.pages.push_back(pages_.Allocate());
    copied = device_->Copy(target.pages.back(), source->pages.back(), geometry_.page_bytes);
  }
  if (!copied.ok()) {
    Release(target);
    return copied;
  }
  target.tokens.assign(source->tokens.begin(), source->tokens.end());
  return fork;
}

Status SequenceTable::Repeat(SequenceId id, int64_t num_tokens) {
  ASSIGN_OR_RETURN(Sequence * sequence, Find(id));
  const int64_t length = sequence->length(), page_tokens = geometry_.page_tokens;
  if (length == 0 || length % page_tokens != 0 || num_tokens < length || num_tokens % page_tokens != 0) {
    return Error(StatusCode::kInvalidArgument,
                 "cannot repeat {} tokens up to {}: expected whole pages of {} tokens, at least one", length,
                 num_tokens, page_tokens);
  }
  if (const int64_t missing = PagesMissing(*sequence, num_tokens); missing > pages_.num_free()) {
    return Error(StatusCode::kResourceExhausted,
                 "{} tokens take {} more pages of {} tokens, but {} are left (--context)", num_tokens, missing,
                 page_tokens, pages_.num_free());
  }
  const size_t num_pages = sequence->pages.size();
  AddPages(*sequence, num_tokens);
  for (size_t i = num_pages; i < sequence->pages.size(); ++i) {
    RETURN_IF_ERROR(device_->Copy(sequence->pages[i], sequence->pages[i - num_pages], geometry_.page_bytes));
  }
  for (int64_t i = length; i < num_tokens; ++i) {
    sequence->tokens.push_back(sequence->tokens[static_cast<size_t>(i - length)]);
  }
  return OkStatus();
}

void SequenceTable::Release(Sequence& sequence) {
  assert(sequence.in_use);
  for (const std::byte* page : sequence.pages) {
    pages_.Release(page);
  }
  sequence.pages.clear();
  sequence.tokens.clear();
  sequence.in_use = false;
  free_slots_.push_back(static_cast<int32_t>(&sequence - sequences_.data()));
}

StatusOr<const Sequence*> SequenceTable::Find(SequenceId id) const {
  const auto value = static_cast<int64_t>(id);
  if (value >= 0) {
    const auto index = static_cast<size_t>(value % geometry_.max_sequences);
    const Sequence& sequence = sequences_[index];
    if (sequence.in_use && IdOf(index) == id) {
      return &sequence;
    }
  }
  return Error(StatusCode::kNotFound, "there is no sequence {}: it was released, or belongs to another engine", value);
}

StatusOr<Sequence*> SequenceTable::Find(SequenceId id) {
  ASSIGN_OR_RETURN(const Sequence* sequence, std::as_const(*this).Find(id));
  return const_cast<Sequence*>(sequence);
}

int64_t SequenceTable::PagesMissing(const Sequence& sequence, int64_t num_tokens) const {
  if (geometry_.page_bytes == 0) {
    return 0;
  }
  const int64_t needed = (num_tokens + geometry_.page_tokens - 1) / geometry_.page_tokens;
  return std::max<int64_t>(0, needed - static_cast<int64_t>(sequence.pages.size()));
}

void SequenceTable::AddPages(Sequence& sequence, int64_t num_tokens) {
  for (int64_t missing = PagesMissing(sequence, num_tokens); missing > 0; --missing) {
    sequence.pages.push_back(pages_.Allocate());
  }
}

}  // namespace nemotron::runtime
