#ifndef RUNTIME_ENGINE_DEVICE_H_
#define RUNTIME_ENGINE_DEVICE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "runtime/base/status.h"
#include "runtime/plan/plan.h"
#include "runtime/plan/step_tables.h"

/// What the engine asks of a device. Sequences, slots and pages live above it and know only addresses; a device owns
/// memory and runs programs. Addresses in device memory are `std::byte*` that the host may not follow.
namespace nemotron::runtime {

class ActivationObserver;
class StepProfiler;

/// Capacities a program is prepared for.
struct ProgramLimits {
  int64_t max_tokens = 0;  ///< T of a step
  int64_t max_rows = 0;    ///< R of a step
  int64_t max_sequences = 0;
  int64_t page_tokens = 0;  ///< tokens a KV page
  int64_t max_context = 0;  ///< tokens of a sequence
};

/// One sequence's share of a device step.
struct DeviceSequence {
  int64_t first_token;                ///< row of its first new token in the step
  int64_t num_tokens;                 ///< new tokens, at least 1
  int64_t position;                   ///< tokens it already holds
  std::byte* slot;                    ///< constant-size state; zeroed when position is 0
  std::span<std::byte* const> pages;  ///< enough for position + num_tokens
};

/// A step within the limits: tokens of a sequence contiguous and in the order of `sequences`.
struct DeviceStep {
  std::span<const int32_t> tokens;            ///< [T], below vocab_size
  std::span<const DeviceSequence> sequences;  ///< [S]
  std::span<const int64_t> output_rows;       ///< [R], ascending
  std::span<const SampleEntry> samples;       ///< [R] if tokens are wanted of the rows, none if logits are
};

/// A plan's program, ready to run on a device. Needs its plan to live.
class DeviceProgram {
 public:
  virtual ~DeviceProgram() = default;

  /// Brings the weights to where the kernels read them. Calls `progress`, which may be empty, on this thread with bytes
  /// that are there and bytes in all; the last call has both equal. kUnavailable if the disk does not give the bytes
  /// any more, kResourceExhausted if the device has no room.
  virtual Status LoadWeights(const std::function<void(int64_t done, int64_t total)>& progress) = 0;

  /// Bytes of activations and scratch that `AllocateWorkspace` will take.
  virtual int64_t workspace_bytes() const = 0;
  virtual Status AllocateWorkspace() = 0;

  /// From the next step on `observer` sees activations, and may change what a step costs but nothing it computes; null:
  /// nobody looks, which costs nothing. `observer` must live until it is replaced.
  virtual void SetObserver(ActivationObserver* observer) = 0;

  /// From the next step on `profiler` gets the times of all dispatches; null: none, which costs nothing. It must live
  /// until it is replaced.
  virtual void SetProfiler(StepProfiler* profiler) = 0;

  /// Starts a step; it has ended after `Synchronize`. Fails only for reasons of the device.
  virtual Status Run(const DeviceStep& step) = 0;
  /// Waits for all steps and copies.
  virtual Status Synchronize() = 0;
  /// After Synchronize: copies the logits of the last step's R rows to `logits`, [R, vocab_size].
  virtual Status ReadLogits(int64_t num_rows, std::span<float> logits) const = 0;

  /// Whether steps may have `samples`.
  virtual bool can_sample() const { return false; }
  /// After Synchronize: what was drawn in the last step, which had `samples`, [R].
  virtual Status ReadSamples(std::span<SampledRow> rows) const {
    return Unimplemented("the program draws no tokens, expected a step that asks for logits");
  }
};

/// Frees device memory when it goes.
class Device;
class DeviceMemory {
 public:
  DeviceMemory() = default;
  DeviceMemory(Device* device, std::byte* data, int64_t size_bytes)
      : device_(device), data_(data), size_bytes_(size_bytes) {}
  DeviceMemory(DeviceMemory&& other) noexcept { *this = std::move(other); }
  DeviceMemory& operator=(DeviceMemory&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(data_, other.data_);
    std::swap(size_bytes_, other.size_bytes_);
    return *this;
  }
  ~DeviceMemory();

  std::byte* data() const { return data_; }
  int64_t size_bytes() const { return size_bytes_; }

 private:
  Device* device_ = nullptr;
  std::byte* data_ = nullptr;
  int64_t size_bytes_ = 0;
};

class Device {
 public:
  virtual ~Device() = default;

  virtual std::string_view name() const = 0;  ///< "cpu" or "cuda"
  /// Host threads that work on a step.
  virtual int num_threads() const = 0;

  /// Bytes of its memory that this process can still take.
  virtual StatusOr<int64_t> AvailableBytes() const = 0;
  /// Zero-filled memory, aligned to 4096 bytes. kResourceExhausted if there is none.
  virtual StatusOr<DeviceMemory> Allocate(int64_t size_bytes) = 0;
  virtual void Free(std::byte* data, int64_t size_bytes) = 0;
  virtual Status Zero(std::byte* target, int64_t size_bytes) = 0;
  /// Within the device.
  virtual Status Copy(std::byte* target, const std::byte* source, int64_t size_bytes) = 0;
  virtual Status CopyToHost(std::byte* target, const std::byte* source, int64_t size_bytes) = 0;
  virtual Status CopyFromHost(std::byte* target, const std::byte* source, int64_t size_bytes) = 0;

  /// Checks all dispatches of `plan` against the kernels and readies them; allocates no workspace. The error names the
  /// dispatch.
  virtual StatusOr<std::unique_ptr<DeviceProgram>> Prepare(const Plan& plan, const ProgramLimits& limits) = 0;
};

inline DeviceMemory::~DeviceMemory() {
  if (data_ != nullptr) {
    device_->Free(data_, size_bytes_);
  }
}

/// kInvalidArgument unless `name` is one that a device may have: "auto", "cpu", "cuda" or "cuda:N".
Status CheckDeviceName(std::string_view name);

/// The device called `name`: "cpu", "cuda", "cuda:N" for GPU N, or "auto", the one that `plan` is for; if that is a GPU
/// and there is none, the CPU for plans that it can run too, and `note` says so. `num_threads` 0: the cores that this
/// process may use; `pin_threads`: each on a core of its own. kInvalidArgument for other names, and for a device that
/// cannot run the plan; kUnavailable if there is no GPU.
StatusOr<std::unique_ptr<Device>> CreateDevice(const std::string& name, const schema::Plan& plan, int num_threads,
                                               bool pin_threads, std::string* note);

}  // namespace nemotron::runtime

#endif  // RUNTIME_ENGINE_DEVICE_H_
