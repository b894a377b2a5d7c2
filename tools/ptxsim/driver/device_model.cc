#include "tools/ptxsim/driver/device_model.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <string>

namespace nemotron::ptxsim {
namespace {

using runtime::InvalidArgument;
using runtime::OkStatus;
using runtime::Status;
using runtime::StatusOr;

constexpr int64_t kKiB = 1024, kMiB = 1024 * kKiB, kGiB = 1024 * kMiB;

// SMs, memory, clocks and buses: NVIDIA's data sheets and architecture white papers (A100 80 GB SXM4, Ada RTX 4090,
// H100 SXM5, H200 SXM, B200 SXM as in HGX, Blackwell RTX 5090); memory clocks of H200 and B200 follow from the
// published 4.8 and 8 TB/s. Threads, blocks and shared memory of an SM: CUDA C++ Programming Guide 13.0, "Technical
// Specifications per Compute Capability".
constexpr DeviceModel kModels[] = {
    {"a100", "PTXSIM A100 (simulated)", 8, 0, 108, 2048, 32, 163 * kKiB, 164 * kKiB, 80 * kGiB, 40 * kMiB, 1410000,
     1593000, 5120},
    {"rtx4090", "PTXSIM RTX 4090 (simulated)", 8, 9, 128, 1536, 24, 99 * kKiB, 100 * kKiB, 24 * kGiB, 72 * kMiB,
     2520000, 10501000, 384},
    {"h100", "PTXSIM H100 (simulated)", 9, 0, 132, 2048, 32, 227 * kKiB, 228 * kKiB, 80 * kGiB, 50 * kMiB, 1980000,
     2619000, 5120},
    {"h200", "PTXSIM H200 (simulated)", 9, 0, 132, 2048, 32, 227 * kKiB, 228 * kKiB, 141 * kGiB, 50 * kMiB, 1980000,
     3125000, 6144},
    {"b200", "PTXSIM B200 (simulated)", 10, 0, 148, 2048, 32, 227 * kKiB, 228 * kKiB, 180 * kGiB, 126 * kMiB, 1965000,
     3906000, 8192},
    {"rtx5090", "PTXSIM RTX 5090 (simulated)", 12, 0, 170, 1536, 24, 99 * kKiB, 100 * kKiB, 32 * kGiB, 96 * kMiB,
     2407000, 14001000, 512},
};

StatusOr<const DeviceModel*> FindModel(std::string_view key) {
  std::string known;
  for (const DeviceModel& model : kModels) {
    if (model.key == key) {
      return &model;
    }
    known += (known.empty() ? "" : ", ") + std::string(model.key);
  }
  return InvalidArgument("PTXSIM_DEVICE is '{}', expected one of {}", key, known);
}

StatusOr<Checks> ParseChecks(std::string_view checks) {
  if (checks == "all") {
    return Checks{.uninitialized = true, .races = true};
  }
  if (checks == "memory") {
    return Checks{.uninitialized = true, .races = false};
  }
  if (checks == "none") {
    return Checks{.uninitialized = false, .races = false};
  }
  return InvalidArgument("PTXSIM_CHECKS is '{}', expected all, memory or none", checks);
}

/// Half of the host's memory at most, since nothing is swapped to make room for a device.
int64_t DefaultMemoryBytes(const DeviceModel& model) {
  const int64_t host_bytes = int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGE_SIZE);
  return std::min(model.memory_bytes, host_bytes / 2);
}

}  // namespace

GpuModel DeviceModel::gpu() const {
  return {.compute_major = compute_major,
          .compute_minor = compute_minor,
          .num_sms = num_sms,
          .max_shared_bytes_per_block = shared_bytes_per_block,
          .max_threads_per_block = kMaxThreadsPerBlock};
}

std::span<const DeviceModel> DeviceModels() { return kModels; }

StatusOr<DeviceOptions> ParseDeviceOptions(const char* device, const char* memory_mb, const char* checks) {
  DeviceOptions options;
  ASSIGN_OR_RETURN(options.model, FindModel(device ? device : "h100"));
  options.memory_bytes = DefaultMemoryBytes(*options.model);
  if (memory_mb) {
    const std::string_view text = memory_mb;
    int64_t megabytes = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), megabytes);
    constexpr int64_t kMaxMegabytes = 1 << 24;
    if (error != std::errc() || end != text.data() + text.size() || megabytes < 1 || megabytes > kMaxMegabytes) {
      return InvalidArgument("PTXSIM_MEMORY_MB is '{}', expected a number from 1 to {}", text, kMaxMegabytes);
    }
    options.memory_bytes = megabytes * kMiB;
  }
  if (checks) {
    ASSIGN_OR_RETURN(options.checks, ParseChecks(checks));
  }
  return options;
}

}  // namespace nemotron::ptxsim
