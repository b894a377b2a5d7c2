// Earlier forms of functions, that cuda.h no longer declares but programs look up by name.

#include <cuda.h>

// cuda.h maps these names to the current forms.
#undef cuEventElapsedTime
#undef cuGetProcAddress

extern "C" {

CUresult CUDAAPI cuCtxCreate_v2(CUcontext* context, unsigned int flags, CUdevice device) {
  return cuCtxCreate(context, nullptr, flags, device);
}

CUresult CUDAAPI cuEventElapsedTime(float* milliseconds, CUevent start, CUevent end) {
  return cuEventElapsedTime_v2(milliseconds, start, end);
}

CUresult CUDAAPI cuGetProcAddress(const char* symbol, void** function, int cuda_version, cuuint64_t flags) {
  CUdriverProcAddressQueryResult status;
  return cuGetProcAddress_v2(symbol, function, cuda_version, flags, &status);
}

}  // extern "C"
