#include "runtime/engine/step_builder.h"

#include <algorithm>

namespace nemotron::runtime {

StepBuilder::StepBuilder(const ProgramLimits& limits) : limits_(limits) {
  tokens_.reserve(static_cast<size_t>(limits.max_tokens));
  sequences_.reserve(static_cast<size_t>(limits.max_sequences));
  output_rows_.reserve(static_cast<size_t>(limits.max_rows));
}

void StepBuilder::Begin(std::span<const StepEntry> entries, std::span<Sequence* const> sequences,
                        std::span<const SampleEntry> samples) {
  entries_ = entries;
  entry_sequences_ = sequences;
  samples_ = samples;
  entry_ = 0;
  done_ = 0;
}

const DeviceStep* StepBuilder::Next() {
  tokens_.clear();
  sequences_.clear();
  output_rows_.clear();
  while (entry_ < entries_.size()) {
    const StepEntry& entry = entries_[entry_];
    const Sequence& sequence = *entry_sequences_[entry_];
    const auto first_token = static_cast<int64_t>(tokens_.size());
    const int64_t tokens_left = limits_.max_tokens - first_token;
    const int64_t rows_left = limits_.max_rows - static_cast<int64_t>(output_rows_.size());
    const auto remaining = static_cast<int64_t>(entry.tokens.size() - done_);
    int64_t count = std::min(remaining, tokens_left);
    if (entry.logits == StepEntry::Logits::kAll) {
      count = std::min(count, rows_left);
    } else if (entry.logits == StepEntry::Logits::kLast && count == remaining && rows_left == 0) {
      --count;  // its last token waits for a step with a row to spare
    }
    if (count <= 0) {
      break;
    }
    const std::span<const int32_t> tokens = entry.tokens.subspan(done_, static_cast<size_t>(count));
    tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
    sequences_.push_back({.first_token = first_token,
                          .num_tokens = count,
                          .position = sequence.length() + static_cast<int64_t>(done_),
                          .slot = sequence.slot,
                          .pages = sequence.pages});
    const bool finished = count == remaining;
    if (entry.logits == StepEntry::Logits::kAll) {
      for (int64_t i = 0; i < count; ++i) {
        output_rows_.push_back(first_token + i);
      }
    } else if (entry.logits == StepEntry::Logits::kLast && finished) {
      output_rows_.push_back(first_token + count - 1);
    }
    if (!finished) {
      done_ += static_cast<size_t>(count);
      break;
    }
    ++entry_;
    done_ = 0;
  }
  if (tokens_.empty()) {
    return nullptr;
  }
  const auto samples = samples_.first(samples_.empty() ? 0 : output_rows_.size());
  samples_ = samples_.subspan(samples.size());
  step_ = {.tokens = tokens_, .sequences = sequences_, .output_rows = output_rows_, .samples = samples};
  return &step_;
}

}  // namespace nemotron::runtime
