// Initialization, version and the one device.

#include <cuda.h>

#include <algorithm>
#include <cstring>

#include "tools/ptxsim/driver/driver.h"

namespace nemotron::ptxsim {
namespace {

/// 0 for what is a feature that is not simulated.
int Attribute(const DeviceModel& device, CUdevice_attribute attribute) {
  switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X:
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y:
      return kMaxThreadsPerBlock;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z:
      return 64;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X:
    case CU_DEVICE_ATTRIBUTE_MAX_PITCH:
      return 0x7fffffff;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y:
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z:
      return 65535;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK:
      return static_cast<int>(kDefaultSharedBytes);
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
      return static_cast<int>(device.shared_bytes_per_block);
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR:
      return static_cast<int>(device.shared_bytes_per_sm);
    case CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK:
      return static_cast<int>(kReservedSharedBytes);
    case CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY:
      return static_cast<int>(kConstantBytes);
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE:
      return kWarpSize;
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK:
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR:
      return kRegistersPerSm;
    case CU_DEVICE_ATTRIBUTE_CLOCK_RATE:
      return device.clock_khz;
    case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE:
      return device.memory_clock_khz;
    case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH:
      return device.bus_bits;
    case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE:
      return static_cast<int>(device.l2_bytes);
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
      return device.num_sms;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR:
      return device.max_threads_per_sm;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR:
      return device.max_blocks_per_sm;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
      return device.compute_major;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
      return device.compute_minor;
    case CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT:
      return 512;  // that of allocations
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS:
    case CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT:
    case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING:
    case CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_GLOBAL_L1_CACHE_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_LOCAL_L1_CACHE_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED:
      return 1;
    default:
      return 0;
  }
}

/// A call about the device.
template <typename Body>
CUresult OnDevice(CUdevice device, Body body) {
  return Guarded([&](Driver& driver) { return device == 0 ? body(driver) : CUDA_ERROR_INVALID_DEVICE; });
}

}  // namespace
}  // namespace nemotron::ptxsim

using namespace nemotron::ptxsim;

extern "C" {

CUresult CUDAAPI cuInit(unsigned int flags) {
  if (flags != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (InCallback()) {
    return CUDA_ERROR_NOT_PERMITTED;
  }
  try {
    Driver& driver = Driver::Get();
    const std::lock_guard lock(driver.mutex);
    return driver.Init();
  } catch (...) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
}

CUresult CUDAAPI cuDriverGetVersion(int* version) {
  if (version == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *version = 13000;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceGetCount(int* count) {
  return Guarded([&](Driver&) {
    if (count == nullptr) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    *count = 1;
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuDeviceGet(CUdevice* device, int ordinal) {
  return Guarded([&](Driver&) {
    if (device == nullptr) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    if (ordinal != 0) {
      return CUDA_ERROR_INVALID_DEVICE;
    }
    *device = 0;
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuDeviceGetName(char* name, int length, CUdevice device) {
  return OnDevice(device, [&](Driver& driver) {
    if (name == nullptr || length <= 0) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    const std::string_view text = driver.device().name;
    const size_t size = std::min(text.size(), static_cast<size_t>(length) - 1);
    std::memcpy(name, text.data(), size);
    name[size] = '\0';
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuDeviceGetUuid(CUuuid* uuid, CUdevice device) {
  return OnDevice(device, [&](Driver& driver) {
    if (uuid == nullptr) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    std::memset(uuid->bytes, 0, sizeof(uuid->bytes));
    std::memcpy(uuid->bytes, "ptxsim", 6);
    const std::string_view key = driver.device().key;
    std::memcpy(uuid->bytes + 8, key.data(), std::min<size_t>(key.size(), 8));
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuDeviceTotalMem(size_t* bytes, CUdevice device) {
  return OnDevice(device, [&](Driver& driver) {
    if (bytes == nullptr) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    *bytes = static_cast<size_t>(driver.memory().capacity_bytes());
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice device) {
  return OnDevice(device, [&](Driver& driver) {
    if (value == nullptr || attribute <= 0 || attribute >= CU_DEVICE_ATTRIBUTE_MAX) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    *value = Attribute(driver.device(), attribute);
    return CUDA_SUCCESS;
  });
}

}  // extern "C"
