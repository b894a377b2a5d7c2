// Names and texts of codes, and what a profiler would be told.

#include <cuda.h>
#include <cudaProfiler.h>

#include "tools/ptxsim/driver/driver.h"

namespace nemotron::ptxsim {
namespace {

struct Code {
  CUresult code;
  const char* name;
  const char* text;
};

#define NEMOTRON_PTXSIM_CODE(code, text) {code, #code, text}
constexpr Code kCodes[] = {
    NEMOTRON_PTXSIM_CODE(CUDA_SUCCESS, "no error"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_INVALID_VALUE, "invalid argument"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_OUT_OF_MEMORY, "out of memory"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_NOT_INITIALIZED, "initialization error"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_DEINITIALIZED, "driver shutting down"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_PROFILER_DISABLED, "profiler disabled"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_PROFILER_NOT_INITIALIZED, "profiler not initialized"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_PROFILER_ALREADY_STARTED, "profiler already started"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_PROFILER_ALREADY_STOPPED, "profiler already stopped"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_STUB_LIBRARY, "stub library"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER, "call requires newer driver"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_DEVICE_UNAVAILABLE, "device unavailable"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_NO_DEVICE, "no CUDA-capable device is detected"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_INVALID_DEVICE, "invalid device ordinal"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_DEVICE_NOT_LICENSED, "device not licensed"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_INVALID_IMAGE, "device kernel image is invalid"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_INVALID_CONTEXT, "invalid device context"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_CONTEXT_ALREADY_CURRENT, "context already current"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_MAP_FAILED, "map failed"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_UNMAP_FAILED, "unmap failed"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_ARRAY_IS_MAPPED, "array is mapped"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_ALREADY_MAPPED, "already mapped"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_NO_BINARY_FOR_GPU, "no kernel image is available for execution on the device"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_ALREADY_ACQUIRED, "already acquired"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_NOT_MAPPED, "not mapped"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_NOT_MAPPED_AS_ARRAY, "not mapped as array"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_NOT_MAPPED_AS_POINTER, "not mapped as pointer"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_ECC_UNCORRECTABLE, "ecc uncorrectable"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_UNSUPPORTED_LIMIT, "unsupported limit"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_CONTEXT_ALREADY_IN_USE, "context already in use"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_PEER_ACCESS_UNSUPPORTED, "peer access unsupported"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_INVALID_PTX, "a PTX JIT compilation failed"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_INVALID_GRAPHICS_CONTEXT, "invalid graphics context"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_NVLINK_UNCORRECTABLE, "nvlink uncorrectable"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_JIT_COMPILER_NOT_FOUND, "jit compiler not found"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_UNSUPPORTED_PTX_VERSION,
                         "the provided PTX was compiled with an unsupported toolchain"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_JIT_COMPILATION_DISABLED, "jit compilation disabled"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY, "unsupported exec affinity"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_UNSUPPORTED_DEVSIDE_SYNC, "unsupported devside sync"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_CONTAINED, "contained"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_INVALID_SOURCE, "invalid source"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_FILE_NOT_FOUND, "file not found"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND, "shared object symbol not found"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_SHARED_OBJECT_INIT_FAILED, "shared object init failed"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_OPERATING_SYSTEM, "operating system"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_INVALID_HANDLE, "invalid resource handle"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_ILLEGAL_STATE, "the operation cannot be performed in the present state"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_LOSSY_QUERY, "lossy query"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_NOT_FOUND, "named symbol not found"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_NOT_READY, "device not ready"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_ILLEGAL_ADDRESS, "an illegal memory access was encountered"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "too many resources requested for launch"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_LAUNCH_TIMEOUT, "launch timeout"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_LAUNCH_INCOMPATIBLE_TEXTURING, "launch incompatible texturing"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED, "peer access already enabled"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_PEER_ACCESS_NOT_ENABLED, "peer access not enabled"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE, "primary context active"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_CONTEXT_IS_DESTROYED, "context is destroyed"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_ASSERT, "assert"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_TOO_MANY_PEERS, "too many peers"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED,
                         "part or all of the requested memory range is already mapped"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED,
                         "pointer does not correspond to a registered memory region"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_HARDWARE_STACK_ERROR, "hardware stack error"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_ILLEGAL_INSTRUCTION, "illegal instruction"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_MISALIGNED_ADDRESS, "misaligned address"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_INVALID_ADDRESS_SPACE, "invalid address space"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_INVALID_PC, "invalid pc"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_LAUNCH_FAILED, "unspecified launch failure"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE, "cooperative launch too large"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_TENSOR_MEMORY_LEAK, "tensor memory leak"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_NOT_PERMITTED, "operation not permitted"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_NOT_SUPPORTED, "operation not supported"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_SYSTEM_NOT_READY, "system not ready"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, "system driver mismatch"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE, "compat not supported on device"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_MPS_CONNECTION_FAILED, "mps connection failed"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_MPS_RPC_FAILURE, "mps rpc failure"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_MPS_SERVER_NOT_READY, "mps server not ready"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_MPS_MAX_CLIENTS_REACHED, "mps max clients reached"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_MPS_MAX_CONNECTIONS_REACHED, "mps max connections reached"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_MPS_CLIENT_TERMINATED, "mps client terminated"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_CDP_NOT_SUPPORTED, "cdp not supported"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_CDP_VERSION_MISMATCH, "cdp version mismatch"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "operation not permitted when stream is capturing"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED,
                         "operation failed due to a previous error during capture"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_STREAM_CAPTURE_MERGE,
                         "operation would result in a merge of separate capture sequences"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, "capture was not ended in the same stream as it began"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_STREAM_CAPTURE_UNJOINED, "capturing stream has unjoined work"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_STREAM_CAPTURE_ISOLATION,
                         "dependency created on uncaptured work in another stream"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT,
                         "operation would make the legacy stream depend on a capturing blocking stream"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_CAPTURED_EVENT,
                         "operation not permitted on an event last recorded in a capturing stream"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD,
                         "attempt to terminate a thread-local capture sequence from another thread"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_TIMEOUT, "timeout"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE, "graph exec update failure"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_EXTERNAL_DEVICE, "external device"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_INVALID_CLUSTER_SIZE, "invalid cluster size"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_FUNCTION_NOT_LOADED, "function not loaded"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_INVALID_RESOURCE_TYPE, "invalid resource type"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION, "invalid resource configuration"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_KEY_ROTATION, "key rotation"),
    NEMOTRON_PTXSIM_CODE(CUDA_ERROR_UNKNOWN, "unknown error"),
};
#undef NEMOTRON_PTXSIM_CODE

CUresult Describe(CUresult code, const char* Code::* what, const char** result) {
  if (result == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  for (const Code& known : kCodes) {
    if (known.code == code) {
      *result = known.*what;
      return CUDA_SUCCESS;
    }
  }
  *result = nullptr;
  return CUDA_ERROR_INVALID_VALUE;
}

}  // namespace
}  // namespace nemotron::ptxsim

using namespace nemotron::ptxsim;

extern "C" {

CUresult CUDAAPI cuGetErrorName(CUresult code, const char** name) { return Describe(code, &Code::name, name); }

CUresult CUDAAPI cuGetErrorString(CUresult code, const char** text) { return Describe(code, &Code::text, text); }

// There are no tables that only NVIDIA's libraries know. NVRTC asks for one where a driver is loaded, and does not
// survive one without this function.
CUresult CUDAAPI cuGetExportTable(const void** table, const CUuuid*) {
  *table = nullptr;
  return CUDA_ERROR_NOT_FOUND;
}

// There is no profiler to start; a program that asks for one runs on.
CUresult CUDAAPI cuProfilerStart() {
  return InContext([](Driver&, ContextState&) { return CUDA_SUCCESS; });
}

CUresult CUDAAPI cuProfilerStop() {
  return InContext([](Driver&, ContextState&) { return CUDA_SUCCESS; });
}

}  // extern "C"
