#ifndef RUNTIME_ENGINE_STEP_BUILDER_H_
#define RUNTIME_ENGINE_STEP_BUILDER_H_

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/engine/device.h"
#include "runtime/engine/engine.h"
#include "runtime/engine/sequence.h"

namespace nemotron::runtime {

/// Cuts a step of any size into device steps within the limits, taking entries in order and as many of their tokens as
/// fit. Since results do not depend on the cut, neither does the caller.
///
/// Example with at most 4 tokens and 2 rows: entries A (5 tokens, kLast) and B (2 tokens, kAll) become A[0..4) without
/// a row; A[4..5) with its last row and B[0..1) with a row; B[1..2) with a row.
///
/// Allocates only when made.
class StepBuilder {
 public:
  StepBuilder() = default;
  explicit StepBuilder(const ProgramLimits& limits);

  /// Starts on `entries`; sequence i belongs to entry i and has pages for its tokens. `samples` are of all rows, in
  /// order, or none. All must live until the last Next.
  void Begin(std::span<const StepEntry> entries, std::span<Sequence* const> sequences,
             std::span<const SampleEntry> samples = {});

  /// The next device step, valid until the next call, or nullptr when all tokens have been in one.
  const DeviceStep* Next();

 private:
  ProgramLimits limits_;
  std::span<const StepEntry> entries_;
  std::span<Sequence* const> entry_sequences_;
  std::span<const SampleEntry> samples_;  ///< of the rows to come
  size_t entry_ = 0;                      ///< the first entry with tokens left
  size_t done_ = 0;                       ///< tokens of it that were in a step
  std::vector<int32_t> tokens_;
  std::vector<DeviceSequence> sequences_;
  std::vector<int64_t> output_rows_;
  DeviceStep step_;
};

}  // namespace nemotron::runtime

#endif  // RUNTIME_ENGINE_STEP_BUILDER_H_
