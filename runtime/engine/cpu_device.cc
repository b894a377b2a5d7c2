#include "runtime/engine/cpu_device.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "runtime/base/pages.h"
#include "runtime/cpu/kernel.h"
#include "runtime/engine/cpu_arguments.h"
#include "runtime/engine/cpu_tap.h"
#include "runtime/engine/memory.h"
#include "runtime/engine/prefetch.h"
#include "runtime/engine/profiler.h"
#include "runtime/plan/find.h"
#include "runtime/plan/format.h"

namespace nemotron::runtime {
namespace {

/// Keeps expert numbers within bounds: they are data, which no kernel checks. Whatever I32 buffer a kernel of experts
/// reads must have been filled by a `cpu.moe_route` that knows no more experts; the loader has checked that nothing has
/// overwritten it since.
class ExpertFlow {
 public:
  Status Visit(const schema::Plan& plan, const schema::Dispatch& dispatch) {
    const std::string_view kernel = plan.program()->kernels()->Get(dispatch.kernel())->name()->string_view();
    if (kernel == "cpu.moe_route") {
      const schema::Argument* indices = FindArgument(dispatch, schema::ArgumentKind::Output, "indices");
      int64_t& routed = num_routed_[indices->index()];
      routed = std::max(routed, NumExperts(plan, dispatch, "weight"));
    } else if (kernel == "cpu.moe_experts" || kernel == "cpu.scaled_moe_experts") {
      const schema::Argument* indices = FindArgument(dispatch, schema::ArgumentKind::Input, "indices");
      const auto routed = num_routed_.find(indices->index());
      const int64_t num_experts = NumExperts(plan, dispatch, "up");
      if (routed == num_routed_.end() || routed->second > num_experts) {
        return InvalidArgument("has {} experts, but its indices come from a router of {}", num_experts,
                               routed == num_routed_.end() ? 0 : routed->second);
      }
    }
    return OkStatus();
  }

 private:
  // The kernels' Prepare has seen that the arguments are there.
  static int64_t NumExperts(const schema::Plan& plan, const schema::Dispatch& dispatch, std::string_view weight) {
    return plan.weights()->Get(FindArgument(dispatch, schema::ArgumentKind::Weight, weight)->index())->shape()->Get(0);
  }

  std::map<uint32_t, int64_t> num_routed_;  // buffer -> experts of the routers that write it
};

class CpuProgram final : public DeviceProgram {
 public:
  CpuProgram(CpuDevice* device, const Plan& plan, const ProgramLimits& limits)
      : device_(device),
        plan_(plan),
        limits_(limits),
        token_arena_bytes_(static_cast<int64_t>(plan.root().program()->token_arena_bytes()) * limits.max_tokens),
        row_arena_bytes_(static_cast<int64_t>(plan.root().program()->row_arena_bytes()) * limits.max_rows) {
    const schema::Buffer& logits = *plan.root().program()->buffers()->Get(plan.root().program()->logits());
    logits_ = MakeBuffer(logits, 0, logits.columns(), limits);
    sequences_.reserve(static_cast<size_t>(limits.max_sequences));
  }

  void Add(std::unique_ptr<cpu::PreparedDispatch> dispatch) {
    const int64_t alignment = static_cast<int64_t>(kBufferAlignment);
    scratch_bytes_ = std::max(scratch_bytes_, (dispatch->ScratchBytes() + alignment - 1) / alignment * alignment);
    dispatches_.push_back(std::move(dispatch));
  }

  void SetObserver(ActivationObserver* observer) override {
    taps_.clear();
    for (uint32_t i = 0; observer != nullptr && i < dispatches_.size(); ++i) {
      taps_.push_back(std::make_unique<CpuTap>(plan_, i, limits_, observer));
    }
  }

  void SetProfiler(StepProfiler* profiler) override { profiler_ = profiler; }

  Status LoadWeights(const std::function<void(int64_t, int64_t)>& progress) override {
    return PrefetchWeights(plan_, progress);
  }

  int64_t workspace_bytes() const override { return token_arena_bytes_ + row_arena_bytes_ + scratch_bytes_; }

  Status AllocateWorkspace() override {
    ASSIGN_OR_RETURN(pool_, device_->StartThreads());
    ASSIGN_OR_RETURN(workspace_, device_->Allocate(std::max<int64_t>(workspace_bytes(), 1)));
    return OkStatus();
  }

  Status Run(const DeviceStep& step) override {
    sequences_.clear();
    for (const DeviceSequence& sequence : step.sequences) {
      sequences_.push_back({.first_token = sequence.first_token,
                            .num_tokens = sequence.num_tokens,
                            .position = sequence.position,
                            .slot = sequence.slot,
                            .pages = sequence.pages});
    }
    const cpu::StepContext context = {.tokens = step.tokens,
                                      .sequences = sequences_,
                                      .output_rows = step.output_rows,
                                      .token_arena = workspace_.data(),
                                      .row_arena = workspace_.data() + token_arena_bytes_,
                                      .scratch = workspace_.data() + token_arena_bytes_ + row_arena_bytes_,
                                      .pool = pool_};
    std::span<StepProfiler::Clock::time_point> times;
    if (profiler_ != nullptr) {
      times = profiler_->BeginStep(step, dispatches_.size());
    }
    for (size_t i = 0; i < dispatches_.size(); ++i) {
      if (!times.empty()) {
        times[i] = StepProfiler::Clock::now();
      }
      if (taps_.empty()) {
        dispatches_[i]->Run(context);
      } else {
        taps_[i]->Run(*dispatches_[i], context);
      }
    }
    if (!times.empty()) {
      times.back() = StepProfiler::Clock::now();
    }
    return OkStatus();
  }

  Status Synchronize() override { return OkStatus(); }

  Status ReadLogits(int64_t num_rows, std::span<float> logits) const override {
    const std::byte* source = workspace_.data() + token_arena_bytes_ + logits_.base_bytes;
    for (int64_t row = 0; row < num_rows; ++row) {
      std::memcpy(logits.data() + row * logits_.columns, source + row * logits_.row_bytes,
                  static_cast<size_t>(logits_.columns) * sizeof(float));
    }
    return OkStatus();
  }

 private:
  CpuDevice* device_;
  const Plan& plan_;
  ProgramLimits limits_;
  int64_t token_arena_bytes_, row_arena_bytes_;
  int64_t scratch_bytes_ = 0;
  cpu::BufferArgument logits_;
  std::vector<std::unique_ptr<cpu::PreparedDispatch>> dispatches_;
  std::vector<std::unique_ptr<CpuTap>> taps_;  // one a dispatch while there is an observer
  StepProfiler* profiler_ = nullptr;
  std::vector<cpu::SequenceStep> sequences_;
  cpu::ThreadPool* pool_ = nullptr;
  DeviceMemory workspace_;  // token arena, row arena, scratch
};

}  // namespace

StatusOr<int64_t> CpuDevice::AvailableBytes() const { return AvailableMemoryBytes(); }

StatusOr<DeviceMemory> CpuDevice::Allocate(int64_t size_bytes) {
  ASSIGN_OR_RETURN(std::byte * data, MapPages(size_bytes));
  return DeviceMemory(this, data, size_bytes);
}

void CpuDevice::Free(std::byte* data, int64_t size_bytes) { UnmapPages(data, size_bytes); }

Status CpuDevice::Zero(std::byte* target, int64_t size_bytes) {
  std::memset(target, 0, static_cast<size_t>(size_bytes));
  return OkStatus();
}

Status CpuDevice::Copy(std::byte* target, const std::byte* source, int64_t size_bytes) {
  std::memcpy(target, source, static_cast<size_t>(size_bytes));
  return OkStatus();
}

Status CpuDevice::CopyToHost(std::byte* target, const std::byte* source, int64_t size_bytes) {
  return Copy(target, source, size_bytes);
}

Status CpuDevice::CopyFromHost(std::byte* target, const std::byte* source, int64_t size_bytes) {
  return Copy(target, source, size_bytes);
}

StatusOr<cpu::ThreadPool*> CpuDevice::StartThreads() {
  if (pool_ == nullptr) {
    try {
      pool_ = std::make_unique<cpu::ThreadPool>(num_threads_, pin_threads_);
    } catch (const std::system_error& error) {
      return Error(StatusCode::kResourceExhausted, "the system starts no {} threads ({}); lower --threads",
                   num_threads_, error.what());
    }
  }
  return pool_.get();
}

StatusOr<std::unique_ptr<DeviceProgram>> CpuDevice::Prepare(const Plan& plan, const ProgramLimits& limits) {
  const schema::Program& program = *plan.root().program();
  auto prepared = std::make_unique<CpuProgram>(this, plan, limits);
  ExpertFlow expert_flow;
  for (uint32_t i = 0; i < program.dispatches()->size(); ++i) {
    const schema::Dispatch& dispatch = *program.dispatches()->Get(i);
    const std::string_view kernel = program.kernels()->Get(dispatch.kernel())->name()->string_view();
    auto ready = cpu::Prepare(kernel, MakeArguments(plan, dispatch, limits, num_threads_));
    Status status = ready.ok() ? expert_flow.Visit(plan.root(), dispatch) : std::move(ready).status();
    if (!status.ok()) {
      return std::move(status).WithContext(
          fmt::format("in program.dispatches[{}] '{}' of layer {}", i, kernel, dispatch.layer()));
    }
    prepared->Add(std::move(ready).value());
  }
  return std::unique_ptr<DeviceProgram>(std::move(prepared));
}

}  // namespace nemotron::runtime
