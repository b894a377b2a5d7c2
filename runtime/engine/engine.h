#ifndef RUNTIME_ENGINE_ENGINE_H_
#define RUNTIME_ENGINE_ENGINE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/base/status.h"
#include "runtime/plan/plan.h"
#include "runtime/plan/step_tables.h"
#include "runtime/tokenizer/tokenizer.h"

namespace nemotron::runtime {

class ActivationObserver;
class StepProfiler;

/// How much room an engine makes. Zero means: choose from the plan and the machine.
struct EngineOptions {
  std::string device = "auto";      ///< "auto", "cpu", "cuda" or "cuda:N"
  int num_threads = 0;              ///< 0: cores this process may use, or fewer if there is a CPU quota
  bool pin_threads = false;         ///< bind each to a core, that which calls Load too, until the engine goes
  int64_t max_sequences = 8;        ///< slots
  int64_t max_tokens_per_step = 0;  ///< T; 0: 512. Longer prompts are cut into chunks (chunked prefill)
  int64_t max_rows_per_step = 0;    ///< R; 0: max(max_sequences, 32)
  int64_t context_tokens = 0;  ///< KV pages for this many tokens over all sequences; 0: max_position_embeddings of the
                               ///< plan, lowered to what memory allows
  int64_t page_tokens = 0;     ///< 0: 64
  int64_t memory_limit_bytes =
      0;  ///< refuse to use more than this; 0: what the machine (cgroup included) has available
  std::function<void(int64_t done, int64_t total)> load_progress = {};  ///< bytes of weights read; may be empty
};

/// What an engine needs, before anything is allocated. Bytes.
struct MemoryReport {
  int64_t weight_bytes = 0;
  bool maps_weights = false;    ///< from the file, shared between processes; else they are a copy
  int64_t slot_bytes = 0;       ///< all slots
  int64_t page_bytes = 0;       ///< all pages
  int64_t workspace_bytes = 0;  ///< activations and scratch
  int64_t available_bytes = 0;  ///< what there is, or the limit that was set
  int64_t num_slots = 0, num_pages = 0, page_tokens = 0;
  /// What a user should know: that there is no GPU, what was lowered to fit and the flag that sets it; empty if
  /// nothing.
  std::string note;
  int64_t total_bytes() const { return weight_bytes + slot_bytes + page_bytes + workspace_bytes; }
};

/// The tokenizer that `plan` holds. kFailedPrecondition if it has none; else the errors of Tokenizer::Create.
StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const Plan& plan);

/// Names a sequence of an engine; never reused within an engine.
enum class SequenceId : int64_t {};

/// One sequence's part of a step.
struct StepEntry {
  enum class Logits { kNone, kLast, kAll };
  SequenceId sequence;
  std::span<const int32_t> tokens;  ///< new tokens, at least one
  Logits logits = Logits::kLast;    ///< rows wanted back
};

/// A loaded plan with room for sequences. One thread at a time may call a given engine; different engines are
/// independent.
///
/// A *step* brings any number of new tokens to any number of sequences. Results do not depend on how tokens are cut
/// into steps, nor on the sequences that share a step: logits are equal bit for bit (docs/numerics.md).
class Engine {
 public:
  /// Memory that `Load` would need. Works without loading; `options` zeros are resolved as `Load` resolves them.
  static StatusOr<MemoryReport> PlanMemory(const Plan& plan, const EngineOptions& options);

  /// Prepares all kernels, allocates slots, pages and workspace, and reads the weights into memory. kResourceExhausted
  /// if memory does not suffice; the message says what was needed, what there is, and which option to lower.
  static StatusOr<std::unique_ptr<Engine>> Load(std::shared_ptr<const Plan> plan, const EngineOptions& options);
  ~Engine();

  const Plan& plan() const;
  const MemoryReport& memory() const;
  /// nullptr if the plan has none.
  const Tokenizer* tokenizer() const;
  int64_t vocab_size() const;
  int num_threads() const;
  /// "cpu" or "cuda".
  std::string_view device_name() const;
  int64_t max_tokens_per_step() const;
  int64_t max_rows_per_step() const;

  /// An empty sequence. kResourceExhausted if all slots are taken ("--max-sequences").
  StatusOr<SequenceId> CreateSequence();
  /// A sequence with the same tokens and state: copies the constant-size state and the last partial page, shares full
  /// pages.
  StatusOr<SequenceId> Fork(SequenceId sequence);
  /// Lengthens a sequence to `num_tokens` without computing them, to measure at depth: tokens, keys and values are
  /// those that it has, over and over; the constant-size state stays. Both lengths must be whole pages, at least one.
  /// What the model then says means nothing; how fast it says it, does. kInvalidArgument, kResourceExhausted,
  /// kNotFound.
  Status Repeat(SequenceId sequence, int64_t num_tokens);
  /// Frees slot and pages. kNotFound if there is no such sequence.
  Status Release(SequenceId sequence);
  /// Tokens that the sequence has taken in.
  StatusOr<int64_t> Length(SequenceId sequence) const;
  /// The token ids that the sequence has taken in; valid until the next call that changes it.
  StatusOr<std::span<const int32_t>> Tokens(SequenceId sequence) const;
  int64_t free_slots() const;
  int64_t free_pages() const;

  /// Runs one step. `logits` receives R rows of [vocab_size] F32: for each entry in order kAll: a row a token, kLast:
  /// one row, kNone: none. Entries may together bring more tokens than max_tokens_per_step (or ask for more rows than
  /// max_rows_per_step): the step is then cut into several. On any error (unknown or repeated sequence, token id out of
  /// range, no pages left, context full) nothing has changed for any sequence.
  Status Step(std::span<const StepEntry> entries, std::vector<float>* logits);

  /// Whether `Sample` can be called: the plan's program draws tokens on the device.
  bool can_sample() const;
  /// As Step, but the device draws a token from each row that entries ask for, and what it found comes back instead of
  /// the logits. `samples` has one entry a row, in the order of `rows`. kFailedPrecondition if the device cannot.
  Status Sample(std::span<const StepEntry> entries, std::span<const SampleEntry> samples,
                std::vector<SampledRow>* rows);

  /// From the next step on `observer` (observer.h) sees the activations of the device steps that a step is cut into;
  /// null: nobody looks, which costs nothing. It must live until it is replaced, or the engine goes.
  void SetObserver(ActivationObserver* observer);

  /// From the next step on `profiler` (profiler.h) gets the times of all dispatches; null: none, which costs nothing.
  /// It must live until it is replaced, or the engine goes.
  void SetProfiler(StepProfiler* profiler);

  /// Writes tokens and state to a file (atomically), with the hash of the plan's weights.
  Status Save(SequenceId sequence, const std::string& path) const;
  /// A sequence that continues with the same bits. kInvalidArgument if the file belongs to another plan; kDataLoss if
  /// damaged.
  StatusOr<SequenceId> Restore(const std::string& path);

 private:
  struct Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace nemotron::runtime

#endif  // RUNTIME_ENGINE_ENGINE_H_
