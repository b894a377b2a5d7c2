// Memory of the device and the host, copies and fills.

#include <cuda.h>

#include <cstdlib>
#include <iterator>

#include "tools/ptxsim/driver/driver.h"

namespace nemotron::ptxsim {
namespace {

uint64_t HostAddress(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }

/// Copies and fills of the default stream, which the caller waits for.
CUresult SubmitAndWait(Operation operation) {
  return InContext([&](Driver& driver, ContextState& context) {
    const CUresult result = CheckNoCapture(driver);
    return result == CUDA_SUCCESS ? Submit(driver, context, nullptr, std::move(operation)) : result;
  });
}

CUresult SubmitTo(CUstream stream, Operation operation) {
  return InContext(
      [&](Driver& driver, ContextState& context) { return Submit(driver, context, stream, std::move(operation)); });
}

/// Whether either side lies on the device, by its address.
CUresult SubmitUnified(CUdeviceptr to, CUdeviceptr from, size_t size_bytes, CUstream stream, bool wait) {
  return InContext([&](Driver& driver, ContextState& context) {
    if (wait) {
      if (const CUresult result = CheckNoCapture(driver); result != CUDA_SUCCESS) {
        return result;
      }
    }
    const bool to_device = driver.FindAllocation(to) != driver.allocations.end();
    const bool from_device = driver.FindAllocation(from) != driver.allocations.end();
    const CopyKind kind = to_device ? (from_device ? CopyKind::kDeviceToDevice : CopyKind::kHostToDevice)
                                    : (from_device ? CopyKind::kDeviceToHost : CopyKind::kHostToHost);
    return Submit(driver, context, stream, CopyOperation{kind, to, from, size_bytes});
  });
}

/// Takes note of pinned memory. The device does not see it: asking for that is not supported.
CUresult AddHostRange(Driver& driver, void* pointer, size_t size_bytes) {
  const auto begin = reinterpret_cast<uintptr_t>(pointer);
  const auto next = driver.host_ranges.lower_bound(begin);
  const bool overlaps = driver.FindHostRange(pointer) != driver.host_ranges.end() ||
                        (next != driver.host_ranges.end() && next->first - begin < size_bytes);
  if (overlaps) {
    return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
  }
  driver.host_ranges.emplace(begin, size_bytes);
  return CUDA_SUCCESS;
}

template <typename T>
CUresult Give(void* data, T value) {
  *static_cast<T*>(data) = value;
  return CUDA_SUCCESS;
}

}  // namespace
}  // namespace nemotron::ptxsim

using namespace nemotron::ptxsim;

extern "C" {

CUresult CUDAAPI cuMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  return InContext([&](Driver& driver, ContextState&) {
    if (free_bytes == nullptr || total_bytes == nullptr) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    *free_bytes = static_cast<size_t>(driver.memory().free_bytes());
    *total_bytes = static_cast<size_t>(driver.memory().capacity_bytes());
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuMemAlloc(CUdeviceptr* address, size_t size_bytes) {
  return InContext([&](Driver& driver, ContextState& context) {
    if (address == nullptr || size_bytes == 0) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    if (const CUresult result = CheckNoCapture(driver); result != CUDA_SUCCESS) {
      return result;
    }
    if (size_bytes > static_cast<size_t>(driver.memory().capacity_bytes())) {
      return CUDA_ERROR_OUT_OF_MEMORY;
    }
    const auto allocated = driver.memory().Allocate(static_cast<int64_t>(size_bytes));
    if (!allocated.ok()) {
      return ToResult(allocated.status());
    }
    driver.allocations[*allocated] = {size_bytes, &context, /*is_variable=*/false};
    *address = *allocated;
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuMemFree(CUdeviceptr address) {
  return InContext([&](Driver& driver, ContextState&) {
    if (address == 0) {
      return CUDA_SUCCESS;
    }
    const auto found = driver.allocations.find(address);
    if (found == driver.allocations.end() || found->second.is_variable) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    if (const CUresult result = CheckNoCapture(driver); result != CUDA_SUCCESS) {
      return result;
    }
    driver.allocations.erase(found);
    return ToResult(driver.memory().Free(address));
  });
}

CUresult CUDAAPI cuMemGetAddressRange(CUdeviceptr* base, size_t* size_bytes, CUdeviceptr address) {
  return InContext([&](Driver& driver, ContextState&) {
    const auto found = driver.FindAllocation(address);
    if (found == driver.allocations.end()) {
      return CUDA_ERROR_NOT_FOUND;
    }
    if (base != nullptr) {
      *base = found->first;
    }
    if (size_bytes != nullptr) {
      *size_bytes = found->second.size_bytes;
    }
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuPointerGetAttribute(void* data, CUpointer_attribute attribute, CUdeviceptr address) {
  return InContext([&](Driver& driver, ContextState&) {
    if (data == nullptr) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    const auto device = driver.FindAllocation(address);
    const auto host = driver.FindHostRange(reinterpret_cast<const void*>(address));
    const bool on_device = device != driver.allocations.end();
    const bool pinned = host != driver.host_ranges.end();
    if (!on_device && !pinned) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    switch (attribute) {
      case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
        return Give<unsigned int>(data, on_device ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST);
      case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
        return Give<int>(data, 0);
      case CU_POINTER_ATTRIBUTE_IS_MANAGED:
        return Give<int>(data, 0);
      case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
        return on_device ? Give(data, address) : CUDA_ERROR_INVALID_VALUE;
      case CU_POINTER_ATTRIBUTE_HOST_POINTER:
        return on_device ? CUDA_ERROR_INVALID_VALUE : Give(data, reinterpret_cast<void*>(address));
      case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
        return Give<CUdeviceptr>(data, on_device ? device->first : host->first);
      case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
        return Give<size_t>(data, on_device ? device->second.size_bytes : host->second);
      default:
        return CUDA_ERROR_NOT_SUPPORTED;
    }
  });
}

CUresult CUDAAPI cuMemHostAlloc(void** pointer, size_t size_bytes, unsigned int flags) {
  return InContext([&](Driver& driver, ContextState&) {
    constexpr unsigned int kKnown =
        CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_WRITECOMBINED;
    if (pointer == nullptr || size_bytes == 0 || (flags & ~kKnown) != 0) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    if ((flags & CU_MEMHOSTALLOC_DEVICEMAP) != 0) {
      return CUDA_ERROR_NOT_SUPPORTED;
    }
    if (const CUresult result = CheckNoCapture(driver); result != CUDA_SUCCESS) {
      return result;
    }
    constexpr size_t kPageBytes = 4096;
    if (size_bytes > SIZE_MAX - kPageBytes) {
      return CUDA_ERROR_OUT_OF_MEMORY;
    }
    void* allocated = std::aligned_alloc(kPageBytes, (size_bytes + kPageBytes - 1) / kPageBytes * kPageBytes);
    if (allocated == nullptr) {
      return CUDA_ERROR_OUT_OF_MEMORY;
    }
    driver.host_allocations.insert(allocated);
    driver.host_ranges[reinterpret_cast<uintptr_t>(allocated)] = size_bytes;
    *pointer = allocated;
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuMemAllocHost(void** pointer, size_t size_bytes) { return cuMemHostAlloc(pointer, size_bytes, 0); }

CUresult CUDAAPI cuMemFreeHost(void* pointer) {
  return InContext([&](Driver& driver, ContextState&) {
    if (pointer == nullptr) {
      return CUDA_SUCCESS;
    }
    if (driver.host_allocations.erase(pointer) == 0) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    driver.host_ranges.erase(reinterpret_cast<uintptr_t>(pointer));
    std::free(pointer);
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuMemHostRegister(void* pointer, size_t size_bytes, unsigned int flags) {
  return InContext([&](Driver& driver, ContextState&) {
    constexpr unsigned int kKnown = CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP |
                                    CU_MEMHOSTREGISTER_IOMEMORY | CU_MEMHOSTREGISTER_READ_ONLY;
    if (pointer == nullptr || size_bytes == 0 || (flags & ~kKnown) != 0) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    if ((flags & ~unsigned{CU_MEMHOSTREGISTER_PORTABLE}) != 0) {
      return CUDA_ERROR_NOT_SUPPORTED;
    }
    return AddHostRange(driver, pointer, size_bytes);
  });
}

CUresult CUDAAPI cuMemHostUnregister(void* pointer) {
  return InContext([&](Driver& driver, ContextState&) {
    const auto found = driver.host_ranges.find(reinterpret_cast<uintptr_t>(pointer));
    if (found == driver.host_ranges.end() || driver.host_allocations.contains(pointer)) {
      return CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
    }
    driver.host_ranges.erase(found);
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuMemHostGetDevicePointer(CUdeviceptr*, void*, unsigned int) {
  return InContext([](Driver&, ContextState&) { return CUDA_ERROR_NOT_SUPPORTED; });
}

CUresult CUDAAPI cuMemcpyHtoD(CUdeviceptr to, const void* from, size_t size_bytes) {
  return SubmitAndWait(CopyOperation{CopyKind::kHostToDevice, to, HostAddress(from), size_bytes});
}
CUresult CUDAAPI cuMemcpyDtoH(void* to, CUdeviceptr from, size_t size_bytes) {
  return SubmitAndWait(CopyOperation{CopyKind::kDeviceToHost, HostAddress(to), from, size_bytes});
}
CUresult CUDAAPI cuMemcpyDtoD(CUdeviceptr to, CUdeviceptr from, size_t size_bytes) {
  return SubmitAndWait(CopyOperation{CopyKind::kDeviceToDevice, to, from, size_bytes});
}
CUresult CUDAAPI cuMemcpy(CUdeviceptr to, CUdeviceptr from, size_t size_bytes) {
  return SubmitUnified(to, from, size_bytes, nullptr, /*wait=*/true);
}

CUresult CUDAAPI cuMemcpyHtoDAsync(CUdeviceptr to, const void* from, size_t size_bytes, CUstream stream) {
  return SubmitTo(stream, CopyOperation{CopyKind::kHostToDevice, to, HostAddress(from), size_bytes});
}
CUresult CUDAAPI cuMemcpyDtoHAsync(void* to, CUdeviceptr from, size_t size_bytes, CUstream stream) {
  return SubmitTo(stream, CopyOperation{CopyKind::kDeviceToHost, HostAddress(to), from, size_bytes});
}
CUresult CUDAAPI cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, size_t size_bytes, CUstream stream) {
  return SubmitTo(stream, CopyOperation{CopyKind::kDeviceToDevice, to, from, size_bytes});
}
CUresult CUDAAPI cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t size_bytes, CUstream stream) {
  return SubmitUnified(to, from, size_bytes, stream, /*wait=*/false);
}

CUresult CUDAAPI cuMemsetD8(CUdeviceptr to, unsigned char value, size_t count) {
  return SubmitAndWait(FillOperation{to, value, 1, count});
}
CUresult CUDAAPI cuMemsetD16(CUdeviceptr to, unsigned short value, size_t count) {
  return SubmitAndWait(FillOperation{to, value, 2, count});
}
CUresult CUDAAPI cuMemsetD32(CUdeviceptr to, unsigned int value, size_t count) {
  return SubmitAndWait(FillOperation{to, value, 4, count});
}
CUresult CUDAAPI cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count, CUstream stream) {
  return SubmitTo(stream, FillOperation{to, value, 1, count});
}
CUresult CUDAAPI cuMemsetD16Async(CUdeviceptr to, unsigned short value, size_t count, CUstream stream) {
  return SubmitTo(stream, FillOperation{to, value, 2, count});
}
CUresult CUDAAPI cuMemsetD32Async(CUdeviceptr to, unsigned int value, size_t count, CUstream stream) {
  return SubmitTo(stream, FillOperation{to, value, 4, count});
}

}  // extern "C"
