// Attributes of functions, occupancy, launches.

#include <cuda.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "tools/ptxsim/driver/driver.h"

namespace nemotron::ptxsim {
namespace {

int MaxThreads(const Function& function) {
  const uint64_t declared = uint64_t{function.max_threads[0]} * function.max_threads[1] * function.max_threads[2];
  return declared == 0 ? kMaxThreadsPerBlock : static_cast<int>(std::min<uint64_t>(declared, kMaxThreadsPerBlock));
}

/// "9.0" is 90.
int PtxVersion(const std::string& version) {
  int number = 0;
  for (const char c : version) {
    number = c == '.' ? number : number * 10 + (c - '0');
  }
  return number;
}

int ConstBytes(const Module& module) {
  int64_t bytes = 0;
  for (const Variable& variable : module.variables) {
    bytes += variable.space == Space::kConst ? variable.size_bytes : 0;
  }
  return static_cast<int>(bytes);
}

CUresult GetAttribute(const DeviceModel& device, const FunctionState& function, CUfunction_attribute attribute,
                      int& value) {
  switch (attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
      value = MaxThreads(*function.function);
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES:
      value = static_cast<int>(function.static_shared_bytes);
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES:
      value = ConstBytes(function.module->loaded->module());
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES:
      value = static_cast<int>(function.local_bytes);
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_PTX_VERSION:
      value = PtxVersion(function.module->loaded->module().version);
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION:
      value = device.compute_major * 10 + device.compute_minor;
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
      value = static_cast<int>(function.max_dynamic_shared_bytes);
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
      value = function.shared_carveout;
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_NUM_REGS:  // no registers are allocated, and no clusters formed
    case CU_FUNC_ATTRIBUTE_CACHE_MODE_CA:
    case CU_FUNC_ATTRIBUTE_CLUSTER_SIZE_MUST_BE_SET:
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH:
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT:
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH:
    case CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED:
    case CU_FUNC_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
      value = 0;
      return CUDA_SUCCESS;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

/// The buffer of arguments that a kernel gets, from either form in which a program passes them.
CUresult PackParameters(const Function& function, void** arguments, void** extra, std::vector<std::byte>& buffer) {
  buffer.assign(static_cast<size_t>(function.parameter_bytes), std::byte{0});
  if (arguments != nullptr && extra != nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (extra == nullptr) {
    for (size_t i = 0; i < function.parameters.size(); ++i) {
      if (arguments == nullptr || arguments[i] == nullptr) {
        return CUDA_ERROR_INVALID_VALUE;
      }
      const Parameter& parameter = function.parameters[i];
      std::memcpy(buffer.data() + parameter.offset_bytes, arguments[i], static_cast<size_t>(parameter.size_bytes));
    }
    return CUDA_SUCCESS;
  }
  const void* data = nullptr;
  const size_t* size = nullptr;
  for (; extra[0] != CU_LAUNCH_PARAM_END; extra += 2) {
    if (extra[0] == CU_LAUNCH_PARAM_BUFFER_POINTER) {
      data = extra[1];
    } else if (extra[0] == CU_LAUNCH_PARAM_BUFFER_SIZE) {
      size = static_cast<const size_t*>(extra[1]);
    } else {
      return CUDA_ERROR_INVALID_VALUE;
    }
  }
  if ((data == nullptr && !buffer.empty()) || size == nullptr || *size < buffer.size()) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (!buffer.empty()) {
    std::memcpy(buffer.data(), data, buffer.size());
  }
  return CUDA_SUCCESS;
}

/// Attributes that change when or where work runs are promises that one queue keeps; those that change what runs are
/// not supported.
CUresult CheckAttribute(const CUlaunchAttribute& attribute) {
  switch (attribute.id) {
    case CU_LAUNCH_ATTRIBUTE_IGNORE:
    case CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW:
    case CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY:
    case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION:
    case CU_LAUNCH_ATTRIBUTE_PRIORITY:
    case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP:
    case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN:
    case CU_LAUNCH_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
      return CUDA_SUCCESS;
    case CU_LAUNCH_ATTRIBUTE_COOPERATIVE:
      return attribute.value.cooperative == 0 ? CUDA_SUCCESS : CUDA_ERROR_NOT_SUPPORTED;
    case CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION: {
      const auto& cluster = attribute.value.clusterDim;
      return cluster.x == 1 && cluster.y == 1 && cluster.z == 1 ? CUDA_SUCCESS : CUDA_ERROR_NOT_SUPPORTED;
    }
    default:
      return CUDA_ERROR_NOT_SUPPORTED;
  }
}

}  // namespace
}  // namespace nemotron::ptxsim

using namespace nemotron::ptxsim;

extern "C" {

CUresult CUDAAPI cuFuncGetAttribute(int* value, CUfunction_attribute attribute, CUfunction handle) {
  return InContext([&](Driver& driver, ContextState&) {
    const FunctionState* function = driver.functions.Find(handle);
    if (value == nullptr) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    return function ? GetAttribute(driver.device(), *function, attribute, *value) : CUDA_ERROR_INVALID_HANDLE;
  });
}

CUresult CUDAAPI cuFuncSetAttribute(CUfunction handle, CUfunction_attribute attribute, int value) {
  return InContext([&](Driver& driver, ContextState&) {
    FunctionState* function = driver.functions.Find(handle);
    if (function == nullptr) {
      return CUDA_ERROR_INVALID_HANDLE;
    }
    if (attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) {
      if (value < 0 || value + function->static_shared_bytes > driver.device().shared_bytes_per_block) {
        return CUDA_ERROR_INVALID_VALUE;
      }
      function->max_dynamic_shared_bytes = value;
      return CUDA_SUCCESS;
    }
    if (attribute == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT && value >= CU_SHAREDMEM_CARVEOUT_DEFAULT &&
        value <= CU_SHAREDMEM_CARVEOUT_MAX_SHARED) {
      function->shared_carveout = value;
      return CUDA_SUCCESS;
    }
    return CUDA_ERROR_INVALID_VALUE;
  });
}

CUresult CUDAAPI cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* num_blocks, CUfunction handle,
                                                                      int block_size, size_t dynamic_shared_bytes,
                                                                      unsigned int flags) {
  return InContext([&](Driver& driver, ContextState&) {
    const FunctionState* function = driver.functions.Find(handle);
    if (num_blocks == nullptr || block_size <= 0 || flags > CU_OCCUPANCY_DISABLE_CACHING_OVERRIDE) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    if (function == nullptr) {
      return CUDA_ERROR_INVALID_HANDLE;
    }
    const DeviceModel& device = driver.device();
    if (block_size > MaxThreads(*function->function) ||
        dynamic_shared_bytes > static_cast<size_t>(device.shared_bytes_per_block)) {
      *num_blocks = 0;
      return CUDA_SUCCESS;
    }
    // Whole warps, shared memory in steps of 128 bytes; registers are unknown before a compiler has seen the PTX.
    const int warps = (block_size + kWarpSize - 1) / kWarpSize;
    const int64_t shared =
        (function->static_shared_bytes + static_cast<int64_t>(dynamic_shared_bytes) + kReservedSharedBytes + 127) /
        128 * 128;
    const int64_t by_threads = device.max_threads_per_sm / (warps * kWarpSize);
    const int64_t by_shared = device.shared_bytes_per_sm / shared;
    *num_blocks = static_cast<int>(std::min({by_threads, by_shared, int64_t{device.max_blocks_per_sm}}));
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuOccupancyMaxActiveBlocksPerMultiprocessor(int* num_blocks, CUfunction function, int block_size,
                                                             size_t dynamic_shared_bytes) {
  return cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(num_blocks, function, block_size, dynamic_shared_bytes,
                                                              CU_OCCUPANCY_DEFAULT);
}

CUresult CUDAAPI cuLaunchKernelEx(const CUlaunchConfig* config, CUfunction handle, void** arguments, void** extra) {
  return InContext([&](Driver& driver, ContextState& context) {
    if (config == nullptr || (config->numAttrs != 0 && config->attrs == nullptr)) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    for (unsigned int i = 0; i < config->numAttrs; ++i) {
      if (const CUresult result = CheckAttribute(config->attrs[i]); result != CUDA_SUCCESS) {
        return result;
      }
    }
    KernelOperation kernel{handle,
                           {config->gridDimX, config->gridDimY, config->gridDimZ},
                           {config->blockDimX, config->blockDimY, config->blockDimZ},
                           config->sharedMemBytes,
                           {}};
    if (const CUresult result = CheckKernel(driver, kernel); result != CUDA_SUCCESS) {
      return result;
    }
    const Function& function = *driver.functions.Find(handle)->function;
    if (const CUresult result = PackParameters(function, arguments, extra, kernel.parameters); result != CUDA_SUCCESS) {
      return result;
    }
    return Submit(driver, context, config->hStream, std::move(kernel));
  });
}

CUresult CUDAAPI cuLaunchKernel(CUfunction function, unsigned int grid_x, unsigned int grid_y, unsigned int grid_z,
                                unsigned int block_x, unsigned int block_y, unsigned int block_z,
                                unsigned int shared_bytes, CUstream stream, void** arguments, void** extra) {
  CUlaunchConfig config = {};
  config.gridDimX = grid_x;
  config.gridDimY = grid_y;
  config.gridDimZ = grid_z;
  config.blockDimX = block_x;
  config.blockDimY = block_y;
  config.blockDimZ = block_z;
  config.sharedMemBytes = shared_bytes;
  config.hStream = stream;
  return cuLaunchKernelEx(&config, function, arguments, extra);
}

CUresult CUDAAPI cuLaunchHostFunc(CUstream stream, CUhostFn function, void* user) {
  return InContext([&](Driver& driver, ContextState& context) {
    return function ? Submit(driver, context, stream, HostOperation{function, user}) : CUDA_ERROR_INVALID_VALUE;
  });
}

}  // extern "C"
