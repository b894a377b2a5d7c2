#include "runtime/engine/engine.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "runtime/engine/device.h"
#include "runtime/engine/memory.h"
#include "runtime/engine/sequence.h"
#include "runtime/engine/session_file.h"
#include "runtime/engine/step_builder.h"
#include "runtime/plan/cpu_plan.h"

namespace nemotron::runtime {
namespace {

/// A device with a program that is ready to run, and the memory that both need.
struct Prepared {
  std::unique_ptr<Device> device;
  std::optional<CpuPlan> cpu_plan;  // what runs, if that is not the plan itself; its weights are still missing
  std::unique_ptr<DeviceProgram> program;
  ProgramLimits limits;
  MemoryReport memory;
};

StatusOr<Prepared> PrepareEngine(const Plan& plan, const EngineOptions& options) {
  Prepared prepared;
  ASSIGN_OR_RETURN(prepared.limits,
                   ResolveLimits(options, static_cast<int64_t>(plan.root().model()->max_position_embeddings())));
  std::string note;
  ASSIGN_OR_RETURN(prepared.device,
                   CreateDevice(options.device, plan.root(), options.num_threads, options.pin_threads, &note));
  if (prepared.device->name() == "cpu" && plan.root().on_cpu() != nullptr) {
    ASSIGN_OR_RETURN(prepared.cpu_plan, CpuPlan::Create(plan));
  }
  const Plan& runs = prepared.cpu_plan.has_value() ? *prepared.cpu_plan->plan() : plan;
  ASSIGN_OR_RETURN(prepared.program, prepared.device->Prepare(runs, prepared.limits));
  int64_t available = options.memory_limit_bytes;
  if (available == 0) {
    ASSIGN_OR_RETURN(available, prepared.device->AvailableBytes());
  }
  ASSIGN_OR_RETURN(prepared.memory,
                   FitMemory(runs, options, prepared.limits, prepared.program->workspace_bytes(), available));
  prepared.memory.maps_weights = prepared.device->name() == "cpu" && !prepared.cpu_plan.has_value();
  if (!note.empty()) {
    prepared.memory.note = prepared.memory.note.empty() ? note : note + "; " + prepared.memory.note;
  }
  return prepared;
}

}  // namespace

struct Engine::Impl {
  std::shared_ptr<const Plan> plan;
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<Device> device;
  std::unique_ptr<DeviceProgram> program;  // before the memory it uses goes, it goes
  ProgramLimits limits;
  MemoryReport memory;
  int64_t vocab_size = 0;
  SequenceTable sequences;
  StepBuilder builder;
  std::vector<Sequence*> entry_sequences;  // of the step at hand
  int64_t num_steps = 0;
  Status broken;  // a failure of the device, after which states are not what they should be

  Status Check(std::span<const StepEntry> entries, int64_t* num_rows);
  Status CheckTokens(const StepEntry& entry, size_t index) const;

  /// Runs a step that was checked. `read(row, count)` gets rows off the device: those of the device step that has
  /// ended.
  template <class Read>
  Status Step(std::span<const StepEntry> entries, std::span<const SampleEntry> samples, Read read);
  template <class Read>
  Status RunSteps(std::span<const StepEntry> entries, std::span<const SampleEntry> samples, Read read);
};

StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const Plan& plan) {
  const schema::Tokenizer* stored = plan.root().tokenizer();
  if (stored == nullptr) {
    return Error(StatusCode::kFailedPrecondition, "the plan has no tokenizer");
  }
  const std::span<const std::byte> bytes = plan.SegmentBytes(*stored->data());
  auto tokenizer =
      Tokenizer::Create(stored->kind()->string_view(), {reinterpret_cast<const char*>(bytes.data()), bytes.size()},
                        {.add_bos = stored->add_bos(), .add_eos = stored->add_eos()});
  if (!tokenizer.ok()) {
    return std::move(tokenizer).status().WithContext("in the tokenizer of the plan");
  }
  return tokenizer;
}

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

StatusOr<MemoryReport> Engine::PlanMemory(const Plan& plan, const EngineOptions& options) {
  ASSIGN_OR_RETURN(Prepared prepared, PrepareEngine(plan, options));
  return std::move(prepared.memory);
}

StatusOr<std::unique_ptr<Engine>> Engine::Load(std::shared_ptr<const Plan> plan, const EngineOptions& options) {
  if (plan == nullptr) {
    return InvalidArgument("no plan was given");
  }
  ASSIGN_OR_RETURN(Prepared prepared, PrepareEngine(*plan, options));
  // Before threads are pinned: the readers may run anywhere.
  if (prepared.cpu_plan.has_value()) {
    RETURN_IF_ERROR(prepared.cpu_plan->Fill(prepared.device->num_threads(), options.load_progress));
    plan = prepared.cpu_plan->plan();
    // Again, now that the weights are there: some kernels make tables of theirs.
    ASSIGN_OR_RETURN(prepared.program, prepared.device->Prepare(*plan, prepared.limits));
  } else {
    RETURN_IF_ERROR(prepared.program->LoadWeights(options.load_progress));
  }
  auto impl = std::make_unique<Impl>();
  impl->plan = std::move(plan);
  impl->device = std::move(prepared.device);
  impl->program = std::move(prepared.program);
  impl->limits = prepared.limits;
  impl->memory = std::move(prepared.memory);
  const schema::Plan& root = impl->plan->root();
  impl->vocab_size = static_cast<int64_t>(root.model()->vocab_size());
  if (root.tokenizer() != nullptr) {
    ASSIGN_OR_RETURN(impl->tokenizer, LoadTokenizer(*impl->plan));
  }
  RETURN_IF_ERROR(impl->program->AllocateWorkspace());
  SequenceTable::Geometry geometry;
  geometry.max_sequences = impl->limits.max_sequences;
  geometry.slot_bytes = static_cast<int64_t>(root.slot_bytes());
  geometry.num_pages = impl->memory.num_pages;
  geometry.page_tokens = impl->limits.page_tokens;
  geometry.page_bytes = PageBytes(*impl->plan, impl->limits.page_tokens);
  ASSIGN_OR_RETURN(impl->sequences, SequenceTable::Create(impl->device.get(), geometry));
  impl->builder = StepBuilder(impl->limits);
  impl->entry_sequences.reserve(static_cast<size_t>(impl->limits.max_sequences));
  return std::unique_ptr<Engine>(new Engine(std::move(impl)));
}

const Plan& Engine::plan() const { return *impl_->plan; }
const MemoryReport& Engine::memory() const { return impl_->memory; }
const Tokenizer* Engine::tokenizer() const { return impl_->tokenizer.get(); }
int64_t Engine::vocab_size() const { return impl_->vocab_size; }
int Engine::num_threads() const { return impl_->device->num_threads(); }
std::string_view Engine::device_name() const { return impl_->device->name(); }
int64_t Engine::max_tokens_per_step() const { return impl_->limits.max_tokens; }
int64_t Engine::max_rows_per_step() const { return impl_->limits.max_rows; }
int64_t Engine::free_slots() const { return impl_->sequences.num_free_slots(); }
int64_t Engine::free_pages() const { return impl_->sequences.num_free_pages(); }

StatusOr<SequenceId> Engine::CreateSequence() {
  RETURN_IF_ERROR(impl_->broken);
  return impl_->sequences.Create();
}

StatusOr<SequenceId> Engine::Fork(SequenceId sequence) {
  RETURN_IF_ERROR(impl_->broken);
  return impl_->sequences.Fork(sequence);
}

Status Engine::Repeat(SequenceId sequence, int64_t num_tokens) {
  RETURN_IF_ERROR(impl_->broken);
  return impl_->sequences.Repeat(sequence, num_tokens);
}

Status Engine::Release(SequenceId sequence) {
  ASSIGN_OR_RETURN(Sequence * found, impl_->sequences.Find(sequence));
  impl_->sequences.Release(*found);
  return OkStatus();
}

StatusOr<int64_t> Engine::Length(SequenceId sequence) const {
  ASSIGN_OR_RETURN(const Sequence* found, std::as_const(impl_->sequences).Find(sequence));
  return found->length();
}

StatusOr<std::span<const int32_t>> Engine::Tokens(SequenceId sequence) const {
  ASSIGN_OR_RETURN(const Sequence* found, std::as_const(impl_->sequences).Find(sequence));
  return std::span<const int32_t>(found->tokens);
}

Status Engine::Impl::CheckTokens(const StepEntry& entry, size_t index) const {
  if (entry.tokens.empty()) {
    return InvalidArgument("entry {} of the step brings no tokens, expected at least one", index);
  }
  for (size_t i = 0; i < entry.tokens.size(); ++i) {
    if (entry.tokens[i] < 0 || entry.tokens[i] >= vocab_size) {
      return InvalidArgument("token {} of entry {} of the step has id {}, expected 0 to {}", i, index, entry.tokens[i],
                             vocab_size - 1);
    }
  }
  return OkStatus();
}

Status Engine::Impl::Check(std::span<const StepEntry> entries, int64_t* num_rows) {
  RETURN_IF_ERROR(broken);
  ++num_steps;
  entry_sequences.clear();
  int64_t pages_needed = 0;
  *num_rows = 0;
  for (size_t i = 0; i < entries.size(); ++i) {
    const StepEntry& entry = entries[i];
    ASSIGN_OR_RETURN(Sequence * sequence, sequences.Find(entry.sequence));
    if (sequence->last_step == num_steps) {
      return InvalidArgument("entry {} of the step names sequence {} again", i, static_cast<int64_t>(entry.sequence));
    }
    sequence->last_step = num_steps;
    RETURN_IF_ERROR(CheckTokens(entry, i));
    const auto num_tokens = static_cast<int64_t>(entry.tokens.size());
    pages_needed += sequences.PagesMissing(*sequence, sequence->length() + num_tokens);
    *num_rows += entry.logits == StepEntry::Logits::kAll    ? num_tokens
                 : entry.logits == StepEntry::Logits::kLast ? 1
                                                            : 0;
    entry_sequences.push_back(sequence);
  }
  if (pages_needed > sequences.num_free_pages()) {
    return Error(
        StatusCode::kResourceExhausted,
        "the context is full: the step needs {} more pages of {} tokens, and {} of {} are free; release a sequence, "
        "or load with more (--context)",
        pages_needed, limits.page_tokens, sequences.num_free_pages(), memory.num_pages);
  }
  return OkStatus();
}

template <class Read>
Status Engine::Impl::RunSteps(std::span<const StepEntry> entries, std::span<const SampleEntry> samples, Read read) {
  for (size_t i = 0; i < entries.size(); ++i) {
    sequences.AddPages(*entry_sequences[i],
                       entry_sequences[i]->length() + static_cast<int64_t>(entries[i].tokens.size()));
  }
  builder.Begin(entries, entry_sequences, samples);
  size_t row = 0;
  while (const DeviceStep* step = builder.Next()) {
    RETURN_IF_ERROR(program->Run(*step));
    RETURN_IF_ERROR(program->Synchronize());
    const size_t num_rows = step->output_rows.size();
    if (num_rows > 0) {
      RETURN_IF_ERROR(read(row, num_rows));
      row += num_rows;
    }
  }
  return OkStatus();
}

template <class Read>
Status Engine::Impl::Step(std::span<const StepEntry> entries, std::span<const SampleEntry> samples, Read read) {
  Status status = RunSteps(entries, samples, read);
  if (!status.ok()) {
    broken = Error(StatusCode::kInternal, "the device failed in an earlier step ({}); load the plan again",
                   status.message());
    return status;
  }
  for (size_t i = 0; i < entries.size(); ++i) {
    std::vector<int32_t>& tokens = entry_sequences[i]->tokens;
    tokens.insert(tokens.end(), entries[i].tokens.begin(), entries[i].tokens.end());
  }
  return OkStatus();
}

Status Engine::Step(std::span<const StepEntry> entries, std::vector<float>* logits) {
  int64_t num_rows = 0;
  RETURN_IF_ERROR(impl_->Check(entries, &num_rows));
  if (num_rows > 0 && logits == nullptr) {
    return InvalidArgument("the step asks for {} rows of logits, but gives no place for them", num_rows);
  }
  // From here on only the device can fail.
  const auto vocab_size = static_cast<size_t>(impl_->vocab_size);
  if (logits != nullptr) {
    logits->resize(static_cast<size_t>(num_rows) * vocab_size);
  }
  return impl_->Step(entries, {}, [&](size_t row, size_t count) {
    return impl_->program->ReadLogits(static_cast<int64_t>(count),
                                      std::span(*logits).subspan(row * vocab_size, count * vocab_size));
  });
}

bool Engine::can_sample() const { return impl_->program->can_sample(); }

Status Engine::Sample(std::span<const StepEntry> entries, std::span<const SampleEntry> samples,
                      std::vector<SampledRow>* rows) {
  if (!can_sample()) {
    return Error(StatusCode::kFailedPrecondition, "the plan draws no tokens on device {}, expected a call of Step",
                 device_name());
  }
  int64_t num_rows = 0;
  RETURN_IF_ERROR(impl_->Check(entries, &num_rows));
  if (static_cast<int64_t>(samples.size()) != num_rows) {
    return InvalidArgument("the step asks for {} tokens, but says of {} how they are drawn", num_rows, samples.size());
  }
  rows->resize(samples.size());
  return impl_->Step(entries, samples, [&](size_t row, size_t count) {
    return impl_->program->ReadSamples(std::span(*rows).subspan(row, count));
  });
}

void Engine::SetObserver(ActivationObserver* observer) { impl_->program->SetObserver(observer); }
void Engine::SetProfiler(StepProfiler* profiler) { impl_->program->SetProfiler(profiler); }

Status Engine::Save(SequenceId sequence, const std::string& path) const {
  RETURN_IF_ERROR(impl_->broken);
  ASSIGN_OR_RETURN(const Sequence* found, std::as_const(impl_->sequences).Find(sequence));
  return SaveSession(*impl_->plan, *impl_->device, impl_->sequences.geometry(), *found, path);
}

StatusOr<SequenceId> Engine::Restore(const std::string& path) {
  RETURN_IF_ERROR(impl_->broken);
  ASSIGN_OR_RETURN(const SessionFile session, SessionFile::Open(*impl_->plan, path));
  SequenceTable& sequences = impl_->sequences;
  ASSIGN_OR_RETURN(const SequenceId id, sequences.Create());
  Sequence& sequence = *sequences.Find(id).value();
  const auto num_tokens = static_cast<int64_t>(session.tokens().size());
  const int64_t pages_needed = sequences.PagesMissing(sequence, num_tokens);
  Status status;
  if (pages_needed > sequences.num_free_pages()) {
    status =
        Error(StatusCode::kResourceExhausted,
              "session '{}' holds {} tokens and needs {} pages of {}, but {} of {} are free (--context)", path,
              num_tokens, pages_needed, impl_->limits.page_tokens, sequences.num_free_pages(), impl_->memory.num_pages);
  } else {
    sequences.AddPages(sequence, num_tokens);
    status = session.CopyTo(*impl_->plan, *impl_->device, sequences.geometry(), sequence);
  }
  if (!status.ok()) {
    sequences.Release(sequence);
    return status;
  }
  sequence.tokens.assign(session.tokens().begin(), session.tokens().end());
  return id;
}

}  // namespace nemotron::runtime
