// The functions by name, and by the version of CUDA that brought each of their forms.

#include <cuda.h>
#include <cudaProfiler.h>

#include <string_view>

// cuda.h maps these names to the current forms; both forms are in the table.
#undef cuEventElapsedTime
#undef cuGetProcAddress

extern "C" {
CUresult CUDAAPI cuCtxCreate_v2(CUcontext*, unsigned int, CUdevice);
CUresult CUDAAPI cuEventElapsedTime(float*, CUevent, CUevent);
CUresult CUDAAPI cuGetProcAddress(const char*, void**, int, cuuint64_t);
}

namespace {

struct EntryPoint {
  std::string_view name;
  int since;  // 1000 * major + 10 * minor
  void* function;
};

#define ENTRY(name, since, function) {name, since, reinterpret_cast<void*>(&function)}

// Versions are those of cudaTypedefs.h. Forms of one name stand in order.
const EntryPoint kEntryPoints[] = {
    ENTRY("cuCtxCreate", 3020, cuCtxCreate_v2),
    ENTRY("cuCtxCreate", 12050, cuCtxCreate),
    ENTRY("cuCtxDestroy", 4000, cuCtxDestroy),
    ENTRY("cuCtxGetCurrent", 4000, cuCtxGetCurrent),
    ENTRY("cuCtxGetDevice", 2000, cuCtxGetDevice),
    ENTRY("cuCtxGetDevice", 13000, cuCtxGetDevice_v2),
    ENTRY("cuCtxGetStreamPriorityRange", 5050, cuCtxGetStreamPriorityRange),
    ENTRY("cuCtxPopCurrent", 4000, cuCtxPopCurrent),
    ENTRY("cuCtxPushCurrent", 4000, cuCtxPushCurrent),
    ENTRY("cuCtxSetCurrent", 4000, cuCtxSetCurrent),
    ENTRY("cuCtxSynchronize", 2000, cuCtxSynchronize),
    ENTRY("cuCtxSynchronize", 13000, cuCtxSynchronize_v2),
    ENTRY("cuDeviceGet", 2000, cuDeviceGet),
    ENTRY("cuDeviceGetAttribute", 2000, cuDeviceGetAttribute),
    ENTRY("cuDeviceGetCount", 2000, cuDeviceGetCount),
    ENTRY("cuDeviceGetName", 2000, cuDeviceGetName),
    ENTRY("cuDeviceGetUuid", 11040, cuDeviceGetUuid),
    ENTRY("cuDevicePrimaryCtxGetState", 7000, cuDevicePrimaryCtxGetState),
    ENTRY("cuDevicePrimaryCtxRelease", 11000, cuDevicePrimaryCtxRelease),
    ENTRY("cuDevicePrimaryCtxRetain", 7000, cuDevicePrimaryCtxRetain),
    ENTRY("cuDeviceTotalMem", 3020, cuDeviceTotalMem),
    ENTRY("cuDriverGetVersion", 2020, cuDriverGetVersion),
    ENTRY("cuEventCreate", 2000, cuEventCreate),
    ENTRY("cuEventDestroy", 4000, cuEventDestroy),
    ENTRY("cuEventElapsedTime", 2000, cuEventElapsedTime),
    ENTRY("cuEventElapsedTime", 12080, cuEventElapsedTime_v2),
    ENTRY("cuEventQuery", 2000, cuEventQuery),
    ENTRY("cuEventRecord", 2000, cuEventRecord),
    ENTRY("cuEventRecordWithFlags", 11010, cuEventRecordWithFlags),
    ENTRY("cuEventSynchronize", 2000, cuEventSynchronize),
    ENTRY("cuFuncGetAttribute", 2020, cuFuncGetAttribute),
    ENTRY("cuFuncSetAttribute", 9000, cuFuncSetAttribute),
    ENTRY("cuGetErrorName", 6000, cuGetErrorName),
    ENTRY("cuGetErrorString", 6000, cuGetErrorString),
    ENTRY("cuGetProcAddress", 11030, cuGetProcAddress),
    ENTRY("cuGetProcAddress", 12000, cuGetProcAddress_v2),
    ENTRY("cuGraphDestroy", 10000, cuGraphDestroy),
    ENTRY("cuGraphExecDestroy", 10000, cuGraphExecDestroy),
    ENTRY("cuGraphGetNodes", 10000, cuGraphGetNodes),
    ENTRY("cuGraphInstantiate", 12000, cuGraphInstantiateWithFlags),
    ENTRY("cuGraphInstantiateWithFlags", 11040, cuGraphInstantiateWithFlags),
    ENTRY("cuGraphLaunch", 10000, cuGraphLaunch),
    ENTRY("cuGraphNodeGetType", 10000, cuGraphNodeGetType),
    ENTRY("cuInit", 2000, cuInit),
    ENTRY("cuLaunchHostFunc", 10000, cuLaunchHostFunc),
    ENTRY("cuLaunchKernel", 4000, cuLaunchKernel),
    ENTRY("cuLaunchKernelEx", 11060, cuLaunchKernelEx),
    ENTRY("cuMemAlloc", 3020, cuMemAlloc),
    ENTRY("cuMemAllocHost", 3020, cuMemAllocHost),
    ENTRY("cuMemFree", 3020, cuMemFree),
    ENTRY("cuMemFreeHost", 2000, cuMemFreeHost),
    ENTRY("cuMemGetAddressRange", 3020, cuMemGetAddressRange),
    ENTRY("cuMemGetInfo", 3020, cuMemGetInfo),
    ENTRY("cuMemHostAlloc", 2020, cuMemHostAlloc),
    ENTRY("cuMemHostGetDevicePointer", 3020, cuMemHostGetDevicePointer),
    ENTRY("cuMemHostRegister", 6050, cuMemHostRegister),
    ENTRY("cuMemHostUnregister", 4000, cuMemHostUnregister),
    ENTRY("cuMemcpy", 4000, cuMemcpy),
    ENTRY("cuMemcpyAsync", 4000, cuMemcpyAsync),
    ENTRY("cuMemcpyDtoD", 3020, cuMemcpyDtoD),
    ENTRY("cuMemcpyDtoDAsync", 3020, cuMemcpyDtoDAsync),
    ENTRY("cuMemcpyDtoH", 3020, cuMemcpyDtoH),
    ENTRY("cuMemcpyDtoHAsync", 3020, cuMemcpyDtoHAsync),
    ENTRY("cuMemcpyHtoD", 3020, cuMemcpyHtoD),
    ENTRY("cuMemcpyHtoDAsync", 3020, cuMemcpyHtoDAsync),
    ENTRY("cuMemsetD16", 3020, cuMemsetD16),
    ENTRY("cuMemsetD16Async", 3020, cuMemsetD16Async),
    ENTRY("cuMemsetD32", 3020, cuMemsetD32),
    ENTRY("cuMemsetD32Async", 3020, cuMemsetD32Async),
    ENTRY("cuMemsetD8", 3020, cuMemsetD8),
    ENTRY("cuMemsetD8Async", 3020, cuMemsetD8Async),
    ENTRY("cuModuleGetFunction", 2000, cuModuleGetFunction),
    ENTRY("cuModuleGetGlobal", 3020, cuModuleGetGlobal),
    ENTRY("cuModuleLoadData", 2000, cuModuleLoadData),
    ENTRY("cuModuleLoadDataEx", 2010, cuModuleLoadDataEx),
    ENTRY("cuModuleUnload", 2000, cuModuleUnload),
    ENTRY("cuOccupancyMaxActiveBlocksPerMultiprocessor", 6050, cuOccupancyMaxActiveBlocksPerMultiprocessor),
    ENTRY("cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags", 7000,
          cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags),
    ENTRY("cuPointerGetAttribute", 4000, cuPointerGetAttribute),
    ENTRY("cuProfilerStart", 4000, cuProfilerStart),
    ENTRY("cuProfilerStop", 4000, cuProfilerStop),
    ENTRY("cuStreamBeginCapture", 10010, cuStreamBeginCapture),
    ENTRY("cuStreamCreate", 2000, cuStreamCreate),
    ENTRY("cuStreamCreateWithPriority", 5050, cuStreamCreateWithPriority),
    ENTRY("cuStreamDestroy", 4000, cuStreamDestroy),
    ENTRY("cuStreamEndCapture", 10000, cuStreamEndCapture),
    ENTRY("cuStreamGetCaptureInfo", 12030, cuStreamGetCaptureInfo),
    ENTRY("cuStreamGetFlags", 5050, cuStreamGetFlags),
    ENTRY("cuStreamGetPriority", 5050, cuStreamGetPriority),
    ENTRY("cuStreamIsCapturing", 10000, cuStreamIsCapturing),
    ENTRY("cuStreamQuery", 2000, cuStreamQuery),
    ENTRY("cuStreamSynchronize", 2000, cuStreamSynchronize),
    ENTRY("cuStreamWaitEvent", 3020, cuStreamWaitEvent),
};
#undef ENTRY

}  // namespace

extern "C" CUresult CUDAAPI cuGetProcAddress_v2(const char* symbol, void** function, int cuda_version, cuuint64_t flags,
                                                CUdriverProcAddressQueryResult* status) {
  constexpr cuuint64_t kKnown = CU_GET_PROC_ADDRESS_LEGACY_STREAM | CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM;
  if (symbol == nullptr || function == nullptr || (flags & ~kKnown) != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *function = nullptr;
  if ((flags & CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM) != 0) {
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  bool is_known = false;
  for (const EntryPoint& entry : kEntryPoints) {
    if (entry.name == symbol) {
      is_known = true;
      *function = entry.since <= cuda_version ? entry.function : *function;
    }
  }
  if (status != nullptr) {
    *status = *function  ? CU_GET_PROC_ADDRESS_SUCCESS
              : is_known ? CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT
                         : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
  }
  return *function ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}
