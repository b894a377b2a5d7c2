#include "runtime/engine/cuda_device.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "runtime/cuda/launcher.h"
#include "runtime/cuda/step_graphs.h"
#include "runtime/engine/memory.h"
#include "runtime/engine/profiler.h"
#include "runtime/plan/format.h"

namespace nemotron::runtime {
namespace {

CUdeviceptr Address(const std::byte* data) { return reinterpret_cast<CUdeviceptr>(data); }

int64_t RoundUp(int64_t bytes, int64_t alignment) { return (bytes + alignment - 1) / alignment * alignment; }

/// The tables of steps on the device (runtime/plan/step_tables.h), and the pinned memory that they are sent from. Where
/// a table lies depends on T, S, R and whether rows are sampled alone.
class StepUpload {
 public:
  StepUpload(CudaDevice* device, const ProgramLimits& limits) : device_(device), page_tokens_(limits.page_tokens) {}
  ~StepUpload() {
    if (host_ != nullptr && device_->gpu().Enter().ok()) {
      (void)device_->gpu().driver().cuMemFreeHost(host_);
    }
  }
  StepUpload(const StepUpload&) = delete;
  StepUpload& operator=(const StepUpload&) = delete;

  /// Sends the tables of `step`; they may be used by what the stream does next.
  StatusOr<StepTables> Send(const DeviceStep& step) {
    size_t num_pages = 0;
    for (const DeviceSequence& sequence : step.sequences) {
      num_pages += sequence.pages.size();
    }
    const size_t num_tokens = step.tokens.size(), num_rows = step.output_rows.size();
    const size_t sequences_at = 0, samples_at = step.sequences.size() * sizeof(SequenceEntry);
    // Pages stand last, so that their number does not move the other tables.
    const size_t tokens_at = samples_at + step.samples.size_bytes(),
                 token_sequences_at = tokens_at + num_tokens * sizeof(int);
    const size_t rows_at = token_sequences_at + num_tokens * sizeof(int);
    const size_t page_table_at =
        static_cast<size_t>(RoundUp(static_cast<int64_t>(rows_at + num_rows * sizeof(int)), 8));
    const size_t size = page_table_at + num_pages * sizeof(char*);
    RETURN_IF_ERROR(Reserve(static_cast<int64_t>(size)));

    auto* sequences = reinterpret_cast<SequenceEntry*>(host_ + sequences_at);
    auto* tokens = reinterpret_cast<int*>(host_ + tokens_at);
    auto* token_sequences = reinterpret_cast<int*>(host_ + token_sequences_at);
    auto* rows = reinterpret_cast<int*>(host_ + rows_at);
    auto** pages = reinterpret_cast<std::byte**>(host_ + page_table_at);
    std::byte* const on_device = memory_.data();
    std::copy(step.samples.begin(), step.samples.end(), reinterpret_cast<SampleEntry*>(host_ + samples_at));
    std::copy(step.tokens.begin(), step.tokens.end(), tokens);
    std::copy(step.output_rows.begin(), step.output_rows.end(), rows);
    size_t page = 0;
    for (size_t i = 0; i < step.sequences.size(); ++i) {
      const DeviceSequence& sequence = step.sequences[i];
      sequences[i] = {.slot = reinterpret_cast<char*>(sequence.slot),
                      .pages = reinterpret_cast<char* const*>(on_device + page_table_at + page * sizeof(char*)),
                      .position = sequence.position,
                      .first_token = static_cast<int>(sequence.first_token),
                      .num_tokens = static_cast<int>(sequence.num_tokens)};
      std::fill_n(token_sequences + sequence.first_token, sequence.num_tokens, static_cast<int>(i));
      std::copy(sequence.pages.begin(), sequence.pages.end(), pages + page);
      page += sequence.pages.size();
    }
    CUDA_RETURN_IF_ERROR(device_->gpu().driver(), cuMemcpyHtoDAsync, Address(on_device), host_, size,
                         device_->gpu().stream());
    return StepTables{.tokens = reinterpret_cast<const int*>(on_device + tokens_at),
                      .token_sequences = reinterpret_cast<const int*>(on_device + token_sequences_at),
                      .output_rows = reinterpret_cast<const int*>(on_device + rows_at),
                      .sequences = reinterpret_cast<const SequenceEntry*>(on_device + sequences_at),
                      .num_tokens = static_cast<int>(num_tokens),
                      .num_sequences = static_cast<int>(step.sequences.size()),
                      .num_rows = static_cast<int>(num_rows),
                      .page_tokens = static_cast<int>(page_tokens_),
                      .samples = reinterpret_cast<const SampleEntry*>(on_device + samples_at)};
  }

 private:
  /// Room for `bytes`. Nothing that the old one holds is on its way: a step begins when the one before has ended.
  Status Reserve(int64_t bytes) {
    if (bytes <= memory_.size_bytes()) {
      return OkStatus();
    }
    const int64_t size = RoundUp(2 * bytes, 4096);
    ASSIGN_OR_RETURN(DeviceMemory memory, device_->Allocate(size));
    void* host = nullptr;
    CUDA_RETURN_IF_ERROR(device_->gpu().driver(), cuMemAllocHost, &host, static_cast<size_t>(size));
    if (host_ != nullptr) {
      (void)device_->gpu().driver().cuMemFreeHost(host_);
    }
    host_ = static_cast<std::byte*>(host);
    memory_ = std::move(memory);
    return OkStatus();
  }

  CudaDevice* device_;
  int64_t page_tokens_;
  std::byte* host_ = nullptr;
  DeviceMemory memory_;
};

class CudaProgram final : public DeviceProgram {
 public:
  CudaProgram(CudaDevice* device, const Plan& plan, const ProgramLimits& limits, cuda::Modules modules,
              cuda::Launcher launcher, int64_t scratch_bytes)
      : device_(device),
        plan_(plan),
        limits_(limits),
        modules_(std::move(modules)),
        launcher_(std::move(launcher)),
        token_arena_bytes_(static_cast<int64_t>(plan.root().program()->token_arena_bytes()) * limits.max_tokens),
        row_arena_bytes_(static_cast<int64_t>(plan.root().program()->row_arena_bytes()) * limits.max_rows),
        zeroed_token_bytes_(static_cast<int64_t>(plan.root().program()->zeroed_bytes())),
        zeroed_bytes_(RoundUp(zeroed_token_bytes_ * limits.max_tokens, 256)),
        scratch_bytes_(scratch_bytes),
        upload_(device, limits),
        graphs_(&device->gpu(), limits.max_context) {}

  Status LoadWeights(const std::function<void(int64_t, int64_t)>& progress) override {
    const auto& weights = *plan_.root().weights();
    // One block, each weight at a multiple of 256: a segment that several weights share is sent once.
    constexpr int64_t kAlignment = 256;
    struct Place {
      const schema::Segment* segment;
      int64_t offset_bytes;  // in the block
    };
    std::map<uint64_t, Place> places;  // by offset in the file
    int64_t total = 0, bytes = 0;
    for (const schema::Weight* weight : weights) {
      const schema::Segment& segment = *weight->segment();
      if (places.emplace(segment.offset_bytes(), Place{&segment, total}).second) {
        total += RoundUp(static_cast<int64_t>(segment.size_bytes()), kAlignment);
        bytes += static_cast<int64_t>(segment.size_bytes());
      }
    }
    auto memory = device_->Allocate(std::max<int64_t>(total, 1));
    if (!memory.ok()) {
      return std::move(memory).status().WithContext("for the weights");
    }
    weights_ = std::move(memory).value();
    int64_t done = 0;
    const auto report = [&](int64_t sent) {
      done += sent;
      if (progress) {
        progress(done, bytes);
      }
    };
    for (const auto& [offset, place] : places) {
      RETURN_IF_ERROR(device_->gpu().Stream(Address(weights_.data() + place.offset_bytes),
                                            plan_.SegmentBytes(*place.segment), report));
    }
    for (const schema::Weight* weight : weights) {
      addresses_.weights.push_back(
          Address(weights_.data() + places.at(weight->segment()->offset_bytes()).offset_bytes));
    }
    return device_->gpu().Synchronize();
  }

  void SetObserver(ActivationObserver* observer) override { has_observer_ = observer != nullptr; }
  void SetProfiler(StepProfiler* profiler) override { profiler_ = profiler; }

  int64_t workspace_bytes() const override {
    return token_arena_bytes_ + row_arena_bytes_ + zeroed_bytes_ + scratch_bytes_;
  }

  Status AllocateWorkspace() override {
    ASSIGN_OR_RETURN(workspace_, device_->Allocate(std::max<int64_t>(workspace_bytes(), 1)));
    const CUdeviceptr tokens = Address(workspace_.data()), rows = tokens + token_arena_bytes_;
    zeroed_ = rows + row_arena_bytes_;
    for (const schema::Buffer* buffer : *plan_.root().program()->buffers()) {
      const bool is_token = buffer->space() == schema::Space::Token;
      const auto capacity = static_cast<uint64_t>(is_token ? limits_.max_tokens : limits_.max_rows);
      addresses_.buffers.push_back(buffer->zeroed() ? zeroed_
                                                    : (is_token ? tokens : rows) + buffer->offset_bytes() * capacity);
    }
    addresses_.scratch = zeroed_ + static_cast<uint64_t>(zeroed_bytes_);
    launcher_.Bind(addresses_);
    return OkStatus();
  }

  Status Run(const DeviceStep& step) override {
    if (has_observer_) {
      return Unimplemented("device cuda does not show activations; calibrate and compare on the CPU");
    }
    RETURN_IF_ERROR(device_->gpu().Enter());
    ASSIGN_OR_RETURN(const StepTables tables, upload_.Send(step));
    GridShape shape = {.tokens = static_cast<int64_t>(step.tokens.size()),
                       .sequences = static_cast<int64_t>(step.sequences.size()),
                       .rows = static_cast<int64_t>(step.output_rows.size()),
                       .sampled = static_cast<int64_t>(step.samples.size())};
    for (const DeviceSequence& sequence : step.sequences) {
      shape.longest = std::max(shape.longest, sequence.num_tokens);
      shape.context = std::max(shape.context, sequence.position + sequence.num_tokens);
    }
    if (profiler_ != nullptr) {
      return RunProfiled(step, shape, tables);
    }
    return shape.longest == 1 ? graphs_.Run(shape, tables, [&](const GridShape& s) { return RunAll(s, tables); })
                              : RunAll(shape, tables);
  }

  Status Synchronize() override { return device_->gpu().Synchronize(); }

  Status ReadLogits(int64_t num_rows, std::span<float> logits) const override {
    const schema::Program& program = *plan_.root().program();
    const schema::Buffer& buffer = *program.buffers()->Get(program.logits());
    const CUdeviceptr source = addresses_.buffers[program.logits()];
    for (int64_t row = 0; row < num_rows; ++row) {
      CUDA_RETURN_IF_ERROR(device_->gpu().driver(), cuMemcpyDtoH, logits.data() + row * buffer.columns(),
                           source + static_cast<uint64_t>(row) * buffer.row_bytes(), buffer.columns() * sizeof(float));
    }
    return OkStatus();
  }

  bool can_sample() const override { return plan_.root().program()->samples() >= 0; }

  Status ReadSamples(std::span<SampledRow> rows) const override {
    const auto index = static_cast<uint32_t>(plan_.root().program()->samples());
    CUDA_RETURN_IF_ERROR(device_->gpu().driver(), cuMemcpyDtoH, rows.data(), addresses_.buffers[index],
                         rows.size_bytes());
    return OkStatus();
  }

 private:
  Status RunDispatch(uint32_t index, const GridShape& shape, const StepTables& tables) {
    Status status = launcher_.Run(device_->gpu(), modules_, index, shape, tables);
    return status.ok()
               ? std::move(status)
               : std::move(status).WithContext(fmt::format("in program.dispatches[{}] '{}'", index, KernelName(index)));
  }

  /// Zeroed buffers of a step are one run of bytes.
  Status ClearZeroed(const GridShape& shape) {
    if (zeroed_token_bytes_ != 0) {
      CUDA_RETURN_IF_ERROR(device_->gpu().driver(), cuMemsetD8Async, zeroed_, 0,
                           static_cast<size_t>(zeroed_token_bytes_ * shape.tokens), device_->gpu().stream());
    }
    return OkStatus();
  }

  Status RunAll(const GridShape& shape, const StepTables& tables) {
    RETURN_IF_ERROR(ClearZeroed(shape));
    for (uint32_t i = 0; i < launcher_.num_dispatches(); ++i) {
      RETURN_IF_ERROR(RunDispatch(i, shape, tables));
    }
    return OkStatus();
  }

  /// Waits for each dispatch, so that its time is its own.
  Status RunProfiled(const DeviceStep& step, const GridShape& shape, const StepTables& tables) {
    RETURN_IF_ERROR(ClearZeroed(shape));
    RETURN_IF_ERROR(device_->gpu().Synchronize());
    const auto times = profiler_->BeginStep(step, launcher_.num_dispatches());
    for (uint32_t i = 0; i < launcher_.num_dispatches(); ++i) {
      times[i] = StepProfiler::Clock::now();
      RETURN_IF_ERROR(RunDispatch(i, shape, tables));
      RETURN_IF_ERROR(device_->gpu().Synchronize());
    }
    times.back() = StepProfiler::Clock::now();
    return OkStatus();
  }

  std::string_view KernelName(uint32_t dispatch) const {
    const schema::Program& program = *plan_.root().program();
    return program.kernels()->Get(program.dispatches()->Get(dispatch)->kernel())->name()->string_view();
  }

  CudaDevice* device_;
  const Plan& plan_;
  ProgramLimits limits_;
  cuda::Modules modules_;
  cuda::Launcher launcher_;
  cuda::Addresses addresses_;
  int64_t token_arena_bytes_, row_arena_bytes_, zeroed_token_bytes_, zeroed_bytes_, scratch_bytes_;
  CUdeviceptr zeroed_ = 0;
  StepUpload upload_;
  cuda::StepGraphs graphs_;
  DeviceMemory weights_, workspace_;  // workspace: token arena, row arena, zeroed buffers, scratch
  StepProfiler* profiler_ = nullptr;
  bool has_observer_ = false;
};

}  // namespace

StatusOr<std::unique_ptr<Device>> CudaDevice::Open(int ordinal) {
  ASSIGN_OR_RETURN(std::unique_ptr<cuda::Gpu> gpu, cuda::Gpu::Open(ordinal));
  return std::unique_ptr<Device>(new CudaDevice(std::move(gpu)));
}

StatusOr<int64_t> CudaDevice::AvailableBytes() const {
  RETURN_IF_ERROR(gpu_->Enter());
  return gpu_->FreeBytes();
}

StatusOr<DeviceMemory> CudaDevice::Allocate(int64_t size_bytes) {
  RETURN_IF_ERROR(gpu_->Enter());
  CUdeviceptr address = 0;
  if (const CUresult result = gpu_->driver().cuMemAlloc(&address, static_cast<size_t>(size_bytes));
      result == CUDA_ERROR_OUT_OF_MEMORY) {
    ASSIGN_OR_RETURN(const int64_t free_bytes, gpu_->FreeBytes());
    return Error(StatusCode::kResourceExhausted, "{} has no {} of memory, only {}", gpu_->name(),
                 FormatBytes(size_bytes), FormatBytes(free_bytes));
  } else {
    RETURN_IF_ERROR(gpu_->driver().Check(result, "cuMemAlloc"));
  }
  DeviceMemory memory(this, reinterpret_cast<std::byte*>(address), size_bytes);
  RETURN_IF_ERROR(Zero(memory.data(), size_bytes));
  return memory;
}

void CudaDevice::Free(std::byte* data, int64_t) {
  if (gpu_->Enter().ok()) {
    (void)gpu_->driver().cuMemFree(Address(data));
  }
}

Status CudaDevice::Zero(std::byte* target, int64_t size_bytes) {
  RETURN_IF_ERROR(gpu_->Enter());
  CUDA_RETURN_IF_ERROR(gpu_->driver(), cuMemsetD8Async, Address(target), 0, static_cast<size_t>(size_bytes),
                       gpu_->stream());
  return OkStatus();
}

Status CudaDevice::Copy(std::byte* target, const std::byte* source, int64_t size_bytes) {
  RETURN_IF_ERROR(gpu_->Enter());
  CUDA_RETURN_IF_ERROR(gpu_->driver(), cuMemcpyDtoDAsync, Address(target), Address(source),
                       static_cast<size_t>(size_bytes), gpu_->stream());
  return OkStatus();
}

Status CudaDevice::CopyToHost(std::byte* target, const std::byte* source, int64_t size_bytes) {
  RETURN_IF_ERROR(gpu_->Enter());
  RETURN_IF_ERROR(gpu_->Synchronize());
  CUDA_RETURN_IF_ERROR(gpu_->driver(), cuMemcpyDtoH, target, Address(source), static_cast<size_t>(size_bytes));
  return OkStatus();
}

Status CudaDevice::CopyFromHost(std::byte* target, const std::byte* source, int64_t size_bytes) {
  RETURN_IF_ERROR(gpu_->Enter());
  RETURN_IF_ERROR(gpu_->Synchronize());
  CUDA_RETURN_IF_ERROR(gpu_->driver(), cuMemcpyHtoD, Address(target), source, static_cast<size_t>(size_bytes));
  return OkStatus();
}

StatusOr<std::unique_ptr<DeviceProgram>> CudaDevice::Prepare(const Plan& plan, const ProgramLimits& limits) {
  RETURN_IF_ERROR(gpu_->Enter());
  ASSIGN_OR_RETURN(cuda::Modules modules, cuda::Modules::Load(gpu_.get(), plan));
  ASSIGN_OR_RETURN(cuda::Launcher launcher, cuda::Launcher::Prepare(plan, limits.page_tokens));
  const GridShape largest = {.tokens = limits.max_tokens,
                             .sequences = limits.max_sequences,
                             .rows = limits.max_rows,
                             .sampled = limits.max_rows,
                             .longest = limits.max_tokens,
                             .context = limits.max_context};
  ASSIGN_OR_RETURN(const int64_t scratch, launcher.ScratchBytes(largest));
  return std::unique_ptr<DeviceProgram>(std::make_unique<CudaProgram>(
      this, plan, limits, std::move(modules), std::move(launcher), RoundUp(scratch, kBufferAlignment)));
}

}  // namespace nemotron::runtime
